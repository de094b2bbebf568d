/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"
#include "backends/rule.h"

bool nft_box_covers(const struct nft_box *box, const struct prefix *prefix,
		    uint16_t port)
{
	return box->first_port <= port && port <= box->last_port &&
	       rule_prefix_covers(&box->prefix, prefix);
}

bool nft_box_overlaps(const struct nft_box *a, const struct nft_box *b)
{
	return a->first_port <= b->last_port && b->first_port <= a->last_port &&
	       (rule_prefix_covers(&a->prefix, &b->prefix) ||
		rule_prefix_covers(&b->prefix, &a->prefix));
}

bool nft_box_is_peer(const struct nft_box *box)
{
	return box->prefix.length == 128 && box->first_port == 0 &&
	       box->last_port == UINT16_MAX;
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
static uint16_t find_port(const struct rule_peers *peers, const struct prefix *prefix,
			  unsigned int from)
{
	uint16_t lowest = 0;

	for (unsigned int i = 0; i < peers->count; i++) {
		const struct rule_filter *other = &peers->items[i];

		if (other->port >= from && (lowest == 0 || other->port < lowest) &&
		    rule_prefix_covers(&other->prefix, prefix))
			lowest = other->port;
	}
	return lowest;
}

/*
 * Intervals in a set must not overlap. Of filters that are not inside one another, only
 * two that cross do: a wide prefix with a port, a narrow one without. The narrow one
 * leaves the ports to the wide ones around it, so that every box is a prefix still.
 */
static void cut(const struct rule_peers *peers, struct nft_boxes *boxes)
{
	for (unsigned int i = 0; i < peers->count; i++) {
		const struct rule_filter *filter = &peers->items[i];
		unsigned int from = 0;
		uint16_t port;

		if (filter->port != 0) {
			add_box(boxes, &filter->prefix, filter->port, filter->port);
			continue;
		}
		/* The filter itself has no port, so that from 1 on none finds it. */
		for (port = find_port(peers, &filter->prefix, 1); port != 0;
		     port = find_port(peers, &filter->prefix, from)) {
			add_box(boxes, &filter->prefix, from, port - 1U);
			from = port + 1U;
		}
		add_box(boxes, &filter->prefix, from, UINT16_MAX);
	}
}

void nft_boxes_from_peers(const struct rule_peers *peers, struct nft_boxes *boxes)
{
	boxes->count = 0;
	boxes->any = peers->any;
	if (!boxes->any)
		cut(peers, boxes);
}
