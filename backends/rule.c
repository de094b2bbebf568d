/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/backend.h"

static bool filter_equal(const struct rule_filter *a, const struct rule_filter *b)
{
	return a->port == b->port && a->prefix.length == b->prefix.length &&
	       addr_equal(&a->prefix.addr, &b->prefix.addr);
}

bool rule_equal(const struct rule *a, const struct rule *b)
{
	if (a->protocol != b->protocol || a->outbound != b->outbound ||
	    a->flow != b->flow || a->external_port != b->external_port ||
	    a->internal_port != b->internal_port ||
	    a->filter_count != b->filter_count ||
	    !addr_equal(&a->external, &b->external) ||
	    !addr_equal(&a->internal, &b->internal))
		return false;
	for (unsigned int i = 0; i < a->filter_count; i++)
		if (!filter_equal(&a->filters[i], &b->filters[i]))
			return false;
	return true;
}

static bool prefix_covers(const struct prefix *wide, const struct prefix *narrow)
{
	return wide->length <= narrow->length && prefix_contains(wide, &narrow->addr);
}

static bool filter_overlaps(const struct rule_filter *a, const struct rule_filter *b)
{
	return (a->port == 0 || b->port == 0 || a->port == b->port) &&
	       (prefix_covers(&a->prefix, &b->prefix) ||
		prefix_covers(&b->prefix, &a->prefix));
}

/* No filter, or one that lets everybody in. */
static bool is_open(const struct rule *rule)
{
	unsigned int all = addr_is_ipv4(&rule->internal) ? 96 : 0;

	for (unsigned int i = 0; i < rule->filter_count; i++)
		if (rule->filters[i].port == 0 && rule->filters[i].prefix.length <= all)
			return true;
	return rule->filter_count == 0;
}

bool rule_overlaps(const struct rule *a, const struct rule *b)
{
	if (a->flow != b->flow)
		return false;
	if (is_open(a) || is_open(b))
		return is_open(a) && is_open(b);
	for (unsigned int i = 0; i < a->filter_count; i++)
		for (unsigned int j = 0; j < b->filter_count; j++)
			if (filter_overlaps(&a->filters[i], &b->filters[j]))
				return true;
	return false;
}
