/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>

/* A rule's filters, none inside another. Never cleared as a whole: it is large. */
struct filter_list {
	unsigned int count;
	struct rule_filter items[RULE_FILTERS_MAX];
};

static bool port_covers(uint16_t wide, uint16_t narrow)
{
	return wide == 0 || wide == narrow;
}

static bool prefix_covers(const struct prefix *wide, const struct prefix *narrow)
{
	return wide->length <= narrow->length && prefix_contains(wide, &narrow->addr);
}

bool nft_box_covers(const struct nft_box *box, const struct prefix *prefix,
		    uint16_t port)
{
	return box->first_port <= port && port <= box->last_port &&
	       prefix_covers(&box->prefix, prefix);
}

bool nft_box_overlaps(const struct nft_box *a, const struct nft_box *b)
{
	return a->first_port <= b->last_port && b->first_port <= a->last_port &&
	       (prefix_covers(&a->prefix, &b->prefix) ||
		prefix_covers(&b->prefix, &a->prefix));
}

bool nft_box_is_peer(const struct nft_box *box)
{
	return box->prefix.length == 128 && box->first_port == 0 &&
	       box->last_port == UINT16_MAX;
}

/* A filter inside another one says nothing new and goes. */
static void add_filter(struct filter_list *list, const struct rule_filter *filter)
{
	for (unsigned int i = 0; i < list->count;) {
		struct rule_filter *other = &list->items[i];

		if (prefix_covers(&other->prefix, &filter->prefix) &&
		    port_covers(other->port, filter->port))
			return;
		if (prefix_covers(&filter->prefix, &other->prefix) &&
		    port_covers(filter->port, other->port))
			*other = list->items[--list->count];
		else
			i++;
	}
	list->items[list->count++] = *filter;
}

static void add_box(struct nft_boxes *boxes, const struct prefix *prefix,
		    unsigned int first_port, unsigned int last_port)
{
	if (first_port <= last_port)
		boxes->items[boxes->count++] = (struct nft_box){
			.prefix = *prefix,
			.first_port = (uint16_t)first_port,
			.last_port = (uint16_t)last_port,
		};
}

/* Lowest port, from `from` on, of a filter with a port around `prefix`; 0 = none. */
static uint16_t find_port(const struct filter_list *list, const struct prefix *prefix,
			  unsigned int from)
{
	uint16_t lowest = 0;

	for (unsigned int i = 0; i < list->count; i++) {
		const struct rule_filter *other = &list->items[i];

		if (other->port >= from && (lowest == 0 || other->port < lowest) &&
		    prefix_covers(&other->prefix, prefix))
			lowest = other->port;
	}
	return lowest;
}

/*
 * Intervals in a set must not overlap. Of filters that are not inside one another, only
 * two that cross do: a wide prefix with a port, a narrow one without. The narrow one
 * leaves the ports to the wide ones around it, so that every box is a prefix still.
 */
static void cut(const struct filter_list *list, struct nft_boxes *boxes)
{
	for (unsigned int i = 0; i < list->count; i++) {
		const struct rule_filter *filter = &list->items[i];
		unsigned int from = 0;
		uint16_t port;

		if (filter->port != 0) {
			add_box(boxes, &filter->prefix, filter->port, filter->port);
			continue;
		}
		/* The filter itself has no port, so that from 1 on none finds it. */
		for (port = find_port(list, &filter->prefix, 1); port != 0;
		     port = find_port(list, &filter->prefix, from)) {
			add_box(boxes, &filter->prefix, from, port - 1U);
			from = port + 1U;
		}
		add_box(boxes, &filter->prefix, from, UINT16_MAX);
	}
}

int nft_boxes_from_rule(const struct rule *rule, struct nft_boxes *boxes)
{
	bool ipv4 = addr_is_ipv4(&rule->internal);
	struct prefix everybody = {.length = ipv4 ? 96 : 0};
	struct filter_list list;

	boxes->count = 0;
	boxes->any = rule->filter_count == 0;
	if (boxes->any)
		return 0;
	list.count = 0;
	if (ipv4)
		everybody.addr = addr_from_ipv4((struct in_addr){0});
	for (unsigned int i = 0; i < rule->filter_count; i++) {
		struct rule_filter filter = rule->filters[i];

		if (filter.prefix.length == 0)
			filter.prefix = everybody;
		if (filter.prefix.length > 128 ||
		    !prefix_covers(&everybody, &filter.prefix) ||
		    addr_is_ipv4(&filter.prefix.addr) != ipv4)
			return -EINVAL;
		if (filter.prefix.length == everybody.length && filter.port == 0)
			boxes->any = true;
		add_filter(&list, &filter);
	}
	if (!boxes->any)
		cut(&list, boxes);
	return 0;
}
