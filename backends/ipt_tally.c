/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much a chain was wrong, in leases: a rule that is missing may be of many, and one
 * that is replaced by a like one may differ by a single port.
 */
#include "backends/ipt.h"

#include <stdlib.h>

#include "base/array.h"

#define MAPPINGS_START 64

static int compare(const void *a, const void *b)
{
	const struct ipt_mapping *left = a;
	const struct ipt_mapping *right = b;

	if (left->port != right->port)
		return left->port - right->port;
	if (left->to_port != right->to_port)
		return left->to_port - right->to_port;
	if (left->host != right->host)
		return left->host < right->host ? -1 : 1;
	return left->added - right->added;
}

static bool is_same(const struct ipt_mapping *a, const struct ipt_mapping *b)
{
	return a->port == b->port && a->to_port == b->to_port && a->host == b->host;
}

static bool note_port(struct ipt_tally *tally, const struct ipt_mapping *mapping)
{
	struct ipt_mapping *mappings =
		array_reserve(tally->mappings, tally->count, &tally->size,
			      sizeof(*mappings), MAPPINGS_START);

	if (!mappings)
		return false;
	tally->mappings = mappings;
	tally->mappings[tally->count++] = *mapping;
	return true;
}

void ipt_tally_note(struct ipt_tally *tally, const void *rule, bool added)
{
	uint16_t ports[IPT_LEAF_PORTS];
	struct ipt_mapping mapping = {0};
	size_t count = tally->ipv6 ? 0 : ipt_rule_parse_mapping(rule, ports, &mapping);
	const bool same_port = mapping.to_port == 0;

	mapping.added = added;
	for (size_t i = 0; i < count; i++) {
		mapping.port = ports[i];
		if (same_port)
			mapping.to_port = ports[i];
		if (!note_port(tally, &mapping))
			break;
	}
	if (count == 0)
		*(added ? &tally->added : &tally->removed) += 1;
}

void ipt_tally_finish(struct ipt_tally *tally, size_t *added, size_t *removed)
{
	if (tally->count > 0)
		qsort(tally->mappings, tally->count, sizeof(tally->mappings[0]),
		      compare);
	for (size_t i = 0; i < tally->count; i++) {
		const struct ipt_mapping *mapping = &tally->mappings[i];

		if (!mapping->added && i + 1 < tally->count && mapping[1].added &&
		    is_same(mapping, mapping + 1))
			i++;
		else
			*(mapping->added ? &tally->added : &tally->removed) += 1;
	}
	*added += tally->added;
	*removed += tally->removed;
	free(tally->mappings);
	*tally = (struct ipt_tally){0};
}
