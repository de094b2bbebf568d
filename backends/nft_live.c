/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>

/* So many questions cost less than reading ten thousand rules. */
#define ASKS_MAX 200

void nft_live_drop(struct nft_live *live)
{
	nft_elements_fini(&live->elements);
	live->loaded = false;
	live->asked = 0;
	live->error = 0;
}

void nft_live_load(struct nft_live *live)
{
	if (live->loaded)
		return;
	live->error = nft_elements_dump_all(&live->elements, live->nft, NFT_SNAT4);
	/* No table, no rules. */
	if (live->error == -ENOENT)
		live->error = 0;
	if (live->error < 0)
		live->elements.count = 0;
	nft_elements_sort(&live->elements);
	live->loaded = true;
}

static struct rule make_rule(const struct nft_flow *flow)
{
	struct rule rule = {
		.protocol = flow->protocol,
		.external_port = flow->external_port,
		.internal_port = flow->internal_port,
		.internal = flow->internal,
	};

	if (!addr_is_ipv4(&flow->internal))
		rule.external = flow->internal;
	return rule;
}

/* First element that is not before `wanted`, which has the lowest key of its target. */
static size_t lower_bound(const struct nft_elements *elements,
			  const struct nft_element *wanted)
{
	size_t low = 0;
	size_t high = elements->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (nft_element_compare_target(&elements->items[middle], wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool admits_peer(const struct nft_elements *elements,
			const struct nft_element *point)
{
	for (size_t i = lower_bound(elements, point);
	     i < elements->count &&
	     nft_element_compare_target(&elements->items[i], point) == 0;
	     i++)
		if (nft_element_holds_peer(&elements->items[i], point))
			return true;
	return false;
}

/* The element with this key, in *wanted or among those that were read. */
static const struct nft_element *find(struct nft_live *live, struct nft_element *wanted)
{
	if (!live->loaded && live->asked < ASKS_MAX) {
		live->asked++;
		return nft_elements_get(live->nft, wanted) == 0 ? wanted : NULL;
	}
	nft_live_load(live);
	return nft_elements_find(&live->elements, wanted);
}

bool nft_live_admits(struct nft_live *live, const struct nft_flow *flow)
{
	struct nft_element made[NFT_ELEMENTS_MAX];
	struct rule rule = make_rule(flow);
	int count = nft_element_from_rule(&rule, made);

	/* The last element of a rule counts, and admits. */
	if (count > 0 && find(live, &made[count - 1]))
		return true;
	rule.filter_count = 1;
	rule.filters[0].prefix.addr = flow->peer;
	rule.filters[0].prefix.length = 128;
	rule.filters[0].port = flow->peer_port;
	count = nft_element_from_rule(&rule, made);
	if (count < 1)
		return false;
	/* Asked for a point, the kernel finds the interval around it. */
	if (!live->loaded && live->asked < ASKS_MAX)
		return find(live, &made[count - 1]) != NULL;
	nft_live_load(live);
	return admits_peer(&live->elements, &made[count - 1]);
}

bool nft_live_is_foreign(struct nft_live *live, const struct nft_flow *flow)
{
	struct nft_element made[NFT_ELEMENTS_MAX];
	struct rule rule = make_rule(flow);
	const struct nft_elements *elements = &live->elements;
	int count = nft_element_from_rule(&rule, made);
	size_t at;

	if (count < 1 || find(live, &made[count - 1]))
		return false;
	nft_live_load(live);
	if (live->error < 0)
		return false;
	/* With the same target, since both sets begin their keys alike. */
	made[count - 1].set = NFT_COUNT4_FROM;
	at = lower_bound(elements, &made[count - 1]);
	return at == elements->count ||
	       nft_element_compare_target(&elements->items[at], &made[count - 1]) != 0;
}

bool nft_live_translates(struct nft_live *live, const struct nft_flow *flow)
{
	struct rule rule = make_rule(flow);
	struct nft_element wanted = nft_element_get_outbound(&rule);
	const struct nft_element *found;
	struct ip_addr address;

	found = find(live, &wanted);
	return found &&
	       nft_element_get_external(found, &address) == flow->external_port;
}
