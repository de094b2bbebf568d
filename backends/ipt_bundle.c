/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every change writes a table anew, rule by rule, so that few rules make it fast. Most
 * leases have the internal port outside, too: inwards the kernel then translates the
 * address alone, and cannot choose another port, so that one rule does for many leases
 * of a host. Not outwards: there it could, where the port is taken by another flow to
 * the same peer, and would keep to that choice for all peers.
 */
#include "backends/ipt.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"

#define RULES_START 64

void ipt_bundle_add(struct ipt_bundle *bundle, const struct rule *rule)
{
	const struct rule **rules =
		array_reserve(bundle->rules, bundle->count, &bundle->size,
			      sizeof(*rules), RULES_START);

	if (!rules) {
		bundle->failed = true;
		return;
	}
	bundle->rules = rules;
	bundle->rules[bundle->count++] = rule;
}

static int compare(const void *a, const void *b)
{
	const struct rule *left = *(const struct rule *const *)a;
	const struct rule *right = *(const struct rule *const *)b;
	int order = memcmp(left->internal.bytes, right->internal.bytes,
			   sizeof(left->internal.bytes));

	return order != 0 ? order : left->internal_port - right->internal_port;
}

/* One host's. */
static void fill_some(const struct rule *const *rules, size_t count,
		      struct ipt_list *list)
{
	uint16_t ports[IPT_LEAF_PORTS];

	for (size_t i = 0; i < count; i++)
		ports[i] = rules[i]->internal_port;
	ipt_lease_add_dnats(rules[0], ports, count, list);
}

void ipt_bundle_fill(struct ipt_bundle *bundle, struct ipt_list *list)
{
	const struct rule **rules = bundle->rules;
	size_t end;

	if (bundle->failed)
		list->failed = true;
	if (bundle->count > 0)
		qsort(rules, bundle->count, sizeof(rules[0]), compare);
	for (size_t first = 0; first < bundle->count; first = end) {
		end = first + 1;
		while (end < bundle->count && end - first < IPT_LEAF_PORTS &&
		       addr_equal(&rules[first]->internal, &rules[end]->internal))
			end++;
		fill_some(rules + first, end - first, list);
	}
	free(rules);
	*bundle = (struct ipt_bundle){0};
}
