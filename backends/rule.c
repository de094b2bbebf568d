/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/rule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

bool rule_prefix_covers(const struct prefix *wide, const struct prefix *narrow)
{
	return wide->length <= narrow->length && prefix_contains(wide, &narrow->addr);
}

static bool filter_overlaps(const struct rule_filter *a, const struct rule_filter *b)
{
	return (a->port == 0 || b->port == 0 || a->port == b->port) &&
	       (rule_prefix_covers(&a->prefix, &b->prefix) ||
		rule_prefix_covers(&b->prefix, &a->prefix));
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

static bool port_covers(uint16_t wide, uint16_t narrow)
{
	return wide == 0 || wide == narrow;
}

/* A filter inside another one says nothing new and goes. */
static void add_filter(struct rule_peers *peers, const struct rule_filter *filter)
{
	for (unsigned int i = 0; i < peers->count;) {
		struct rule_filter *other = &peers->items[i];

		if (rule_prefix_covers(&other->prefix, &filter->prefix) &&
		    port_covers(other->port, filter->port))
			return;
		if (rule_prefix_covers(&filter->prefix, &other->prefix) &&
		    port_covers(filter->port, other->port))
			*other = peers->items[--peers->count];
		else
			i++;
	}
	peers->items[peers->count++] = *filter;
}

static int compare_filters(const void *a, const void *b)
{
	const struct rule_filter *left = a;
	const struct rule_filter *right = b;
	int order = memcmp(left->prefix.addr.bytes, right->prefix.addr.bytes,
			   sizeof(left->prefix.addr.bytes));

	if (order == 0)
		order = left->prefix.length - right->prefix.length;
	return order != 0 ? order : left->port - right->port;
}

int rule_get_peers(const struct rule *rule, struct rule_peers *peers)
{
	bool ipv4 = addr_is_ipv4(&rule->internal);
	struct prefix everybody = {.length = ipv4 ? 96 : 0};

	peers->count = 0;
	peers->any = rule->filter_count == 0;
	if (ipv4)
		everybody.addr = addr_from_ipv4((struct in_addr){0});
	for (unsigned int i = 0; i < rule->filter_count; i++) {
		struct rule_filter filter = rule->filters[i];

		if (filter.prefix.length == 0)
			filter.prefix = everybody;
		if (filter.prefix.length > 128 ||
		    !rule_prefix_covers(&everybody, &filter.prefix) ||
		    addr_is_ipv4(&filter.prefix.addr) != ipv4)
			return -EINVAL;
		if (filter.prefix.length == everybody.length && filter.port == 0)
			peers->any = true;
		add_filter(peers, &filter);
	}
	if (peers->any)
		peers->count = 0;
	qsort(peers->items, peers->count, sizeof(peers->items[0]), compare_filters);
	return 0;
}

bool rule_is_ipv4_host(const struct ip_addr *addr)
{
	return addr_is_ipv4(addr) && !addr_is_none(addr);
}

static bool has_endpoints(const struct rule *rule)
{
	bool ipv4 = addr_is_ipv4(&rule->internal);

	if ((rule->protocol != IPPROTO_TCP && rule->protocol != IPPROTO_UDP) ||
	    rule->external_port == 0 || rule->internal_port == 0 ||
	    rule->filter_count > RULE_FILTERS_MAX || addr_is_none(&rule->internal))
		return false;
	if (!ipv4)
		return rule->external_port == rule->internal_port &&
		       addr_equal(&rule->external, &rule->internal);
	/* Without an address on the WAN a mapping waits for one: it has no way out. */
	return rule->outbound
		       ? rule_is_ipv4_host(&rule->external)
		       : addr_is_none(&rule->external) || addr_is_ipv4(&rule->external);
}

int rule_check(const struct rule *rule, struct rule_peers *peers)
{
	int error = has_endpoints(rule) ? rule_get_peers(rule, peers) : -EINVAL;

	if (error < 0)
		return error;
	/* What keeps a flow has one peer, all of it. */
	if (rule->flow && (peers->count != 1 || peers->items[0].port == 0 ||
			   peers->items[0].prefix.length != 128))
		return -EINVAL;
	return 0;
}
