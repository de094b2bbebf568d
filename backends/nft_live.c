/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>

/* So many questions cost less than reading ten thousand rules. */
#define ASKS_MAX 200

static void end(void *user)
{
	struct nft_live *live = user;

	nft_elements_fini(&live->elements);
	live->loaded = false;
	live->asked = 0;
	live->error = 0;
}

static void load(struct nft_live *live)
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

static struct rule make_rule(const struct flows_key *flow)
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

static bool admits_peer(const struct nft_elements *elements,
			const struct nft_element *point)
{
	size_t count;
	const struct nft_element *first =
		nft_elements_find_target(elements, point->set, point, &count);

	for (size_t i = 0; i < count; i++)
		if (nft_element_holds_peer(&first[i], point))
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
	load(live);
	return nft_elements_find(&live->elements, wanted);
}

static bool admits(void *user, const struct flows_key *flow)
{
	struct nft_live *live = user;
	struct rule rule = make_rule(flow);
	struct nft_box peer = {.prefix = {flow->peer, 128}, .last_port = UINT16_MAX};
	struct nft_element wanted = nft_element_get_counter(&rule, NULL);

	/* What counts, admits. */
	if (find(live, &wanted))
		return true;
	wanted = nft_element_get_counter(&rule, &peer);
	if (find(live, &wanted))
		return true;
	peer.first_port = flow->peer_port;
	peer.last_port = flow->peer_port;
	rule.flow = true;
	wanted = nft_element_get_counter(&rule, &peer);
	if (find(live, &wanted))
		return true;
	rule.flow = false;
	wanted = nft_element_get_counter(&rule, &peer);
	/* Asked for a point, the kernel finds the interval around it. */
	if (!live->loaded && live->asked < ASKS_MAX)
		return find(live, &wanted) != NULL;
	load(live);
	return admits_peer(&live->elements, &wanted);
}

static bool rejects(void *user, const struct flows_key *flow)
{
	struct nft_live *live = user;

	load(live);
	return !admits(live, flow) && live->error == 0;
}

static bool is_foreign(void *user, const struct flows_key *flow)
{
	struct nft_live *live = user;
	struct rule rule = make_rule(flow);
	struct nft_element wanted = nft_element_get_counter(&rule, NULL);
	size_t count = 0;

	if (find(live, &wanted))
		return false;
	load(live);
	if (live->error < 0)
		return false;
	for (enum nft_set set = NFT_COUNT4_FLOW; set <= NFT_COUNT4_FROM && count == 0;
	     set++)
		(void)nft_elements_find_target(&live->elements, set, &wanted, &count);
	return count == 0;
}

static bool translates(void *user, const struct flows_key *flow)
{
	struct nft_live *live = user;
	struct rule rule = make_rule(flow);
	struct nft_element wanted = nft_element_get_outbound(&rule);
	const struct nft_element *found;
	struct ip_addr address;

	found = find(live, &wanted);
	return found &&
	       nft_element_get_external(found, &address) == flow->external_port;
}

const struct flows_judge *nft_live_get_judge(void)
{
	static const struct flows_judge judge = {
		.admits = admits,
		.rejects = rejects,
		.translates = translates,
		.is_foreign = is_foreign,
		.end = end,
	};

	return &judge;
}
