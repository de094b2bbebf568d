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
	    a->external_port != b->external_port ||
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
