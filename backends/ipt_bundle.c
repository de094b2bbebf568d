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
	struct ipt_bundled *items =
		array_reserve(bundle->items, bundle->count, &bundle->size,
			      sizeof(*items), RULES_START);

	if (!items) {
		bundle->failed = true;
		return;
	}
	bundle->items = items;
	bundle->items[bundle->count++].rule = rule;
}

static int compare(const void *a, const void *b)
{
	const struct ipt_bundled *first = a;
	const struct ipt_bundled *second = b;
	const struct rule *left = first->rule;
	const struct rule *right = second->rule;
	int order = memcmp(left->internal.bytes, right->internal.bytes,
			   sizeof(left->internal.bytes));

	return order != 0 ? order : left->internal_port - right->internal_port;
}

/* One host's. */
static void fill_some(const struct ipt_bundled *items, size_t count,
		      struct ipt_list *list)
{
	uint16_t ports[IPT_LEAF_PORTS];

	for (size_t i = 0; i < count; i++)
		ports[i] = items[i].rule->internal_port;
	ipt_lease_add_dnats(items[0].rule, ports, count, list);
}

static bool is_of_host(const struct ipt_bundled *item, const struct ipt_bundled *other)
{
	return addr_equal(&item->rule->internal, &other->rule->internal);
}

void ipt_bundle_fill(struct ipt_bundle *bundle, struct ipt_list *list)
{
	struct ipt_bundled *items = bundle->items;
	size_t end;

	if (bundle->failed)
		list->failed = true;
	if (bundle->count > 0)
		qsort(items, bundle->count, sizeof(items[0]), compare);
	for (size_t first = 0; first < bundle->count; first = end) {
		end = first + 1;
		while (end < bundle->count && end - first < IPT_LEAF_PORTS &&
		       is_of_host(&items[first], &items[end]))
			end++;
		fill_some(items + first, end - first, list);
	}
	free(items);
	*bundle = (struct ipt_bundle){0};
}
