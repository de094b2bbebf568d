/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which chains of others want our rule, and what that takes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/foreign_private.h"

/* --- which chains there are, and what they do --- */

static struct foreign_chain *plan_find_chain(struct foreign_plan *plan,
					     const struct nft_place *place)
{
	for (size_t i = 0; i < plan->chain_count; i++)
		if (nft_place_equal(&plan->chains[i].place, place))
			return &plan->chains[i];
	return NULL;
}

static struct foreign_chain *plan_get_chain(struct foreign_plan *plan,
					    const struct nft_place *place)
{
	struct foreign_chain *found = plan_find_chain(plan, place);

	if (found)
		return found;
	if (plan->chain_count == FOREIGN_CHAINS_MAX || place->chain[0] == '\0')
		return NULL;
	plan->chains[plan->chain_count] = (struct foreign_chain){.place = *place};
	return &plan->chains[plan->chain_count++];
}

static struct nft_place place_from_verdict(const struct packet_verdict *verdict)
{
	struct nft_place place = {.xtables = verdict->is_xtables};

	memcpy(place.family, verdict->family, sizeof(place.family));
	memcpy(place.table, verdict->table, sizeof(place.table));
	memcpy(place.chain, verdict->base_chain, sizeof(place.chain));
	return place;
}

static struct nft_place place_from_view(const struct ruleset_chain_view *view)
{
	struct nft_place place = {.xtables = view->is_xtables};

	(void)snprintf(place.family, sizeof(place.family), "%s", view->family);
	(void)snprintf(place.table, sizeof(place.table), "%s", view->table);
	(void)snprintf(place.chain, sizeof(place.chain), "%s", view->chain);
	return place;
}

/*
 * The packet from nobody in particular: one that only some hosts may not send is not
 * kept out, and a rule of ours before a list of them would let them in.
 */
static struct packet sample_without_source(const struct packet *sample)
{
	struct packet packet = *sample;

	packet.source = (struct ip_addr){0};
	return packet;
}

/* Base chains, with what each of them alone does to leased traffic. */
static void plan_add_base_chains(struct foreign_plan *plan,
				 const struct foreign *foreign,
				 const struct ruleset *ruleset)
{
	struct packet_verdict verdict;

	for (size_t s = 0; s < foreign->sample_count; s++) {
		const struct packet packet =
			sample_without_source(&foreign->samples[s]);

		for (size_t i = 0; ruleset_walk_default(ruleset, PACKET_HOOK_FORWARD, i,
							&packet, &verdict);
		     i++) {
			const struct nft_place place = place_from_verdict(&verdict);
			struct foreign_chain *chain = plan_get_chain(plan, &place);

			if (!chain)
				continue;
			chain->is_base = true;
			chain->helpless = verdict.priority < RULESET_MARK_PRIORITY;
			if (foreign->samples_ground && verdict.fate == PACKET_DROPPED)
				chain->keeps_out = true;
		}
	}
}

/*
 * Rules before ours may keep leased traffic out all the same, in the base chain or in
 * the one that is named: the first of them.
 */
static void plan_find_blocked(struct foreign_plan *plan, const struct foreign *foreign,
			      const struct ruleset *ruleset)
{
	struct packet_verdict verdict;

	for (size_t s = 0; foreign->samples_ground && s < foreign->sample_count; s++) {
		const struct packet packet =
			sample_without_source(&foreign->samples[s]);
		struct nft_place place;
		struct foreign_chain *chain;

		ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
		if (verdict.fate != PACKET_DROPPED)
			continue;
		place = place_from_verdict(&verdict);
		chain = plan_get_chain(plan, &place);
		if (chain)
			chain->blocked = true;
		memcpy(place.chain, verdict.chain, sizeof(place.chain));
		chain = plan_find_chain(plan, &place);
		if (chain)
			chain->blocked = true;
	}
}

static void plan_add_own(void *user, const struct ruleset_chain_view *view,
			 uint64_t handle, bool first)
{
	const struct nft_place place = place_from_view(view);

	(void)handle;
	(void)first;
	(void)plan_get_chain(user, &place);
}

static void plan_add_named(struct foreign_plan *plan, struct foreign *foreign,
			   const struct ruleset *ruleset)
{
	const struct foreign_config *config = &foreign->config;
	struct ruleset_chain_view view;
	struct nft_place place;
	struct foreign_chain *chain;

	foreign->figures.chain_missing = !ruleset_find_chain(
		ruleset, config->family, config->table, config->chain, &view);
	if (foreign->figures.chain_missing)
		return;
	place = place_from_view(&view);
	chain = plan_get_chain(plan, &place);
	if (chain)
		chain->named = true;
}

static void plan_find_owned(struct foreign_plan *plan, const struct ruleset *ruleset)
{
	for (size_t i = 0; i < plan->chain_count; i++) {
		const struct nft_place *place = &plan->chains[i].place;
		struct ruleset_chain_view view;

		plan->chains[i].owned =
			ruleset_find_chain(ruleset, place->family, place->table,
					   place->chain, &view) &&
			view.is_owned;
	}
}

void foreign_plan_add_chains(struct foreign_plan *plan, struct foreign *foreign,
			     const struct ruleset *ruleset)
{
	bool on = foreign->config.how != FOREIGN_OFF;

	foreign->figures.chain_missing = false;
	/* Off touches nothing; but what was on a moment ago, or in a run that had no
	 * end, is taken back. */
	for (size_t i = 0; i < foreign->known_count; i++)
		(void)plan_get_chain(plan, &foreign->known[i]);
	if (on)
		plan_add_base_chains(plan, foreign, ruleset);
	if (on || !foreign->settled)
		ruleset_visit_own_rules(ruleset, plan_add_own, plan);
	if (foreign->config.how == FOREIGN_CHAIN)
		plan_add_named(plan, foreign, ruleset);
	if (on)
		plan_find_blocked(plan, foreign, ruleset);
	plan_find_owned(plan, ruleset);
}

/* --- what to do --- */

static void plan_change(struct foreign_plan *plan, const struct foreign_chain *chain,
			uint64_t handle)
{
	if (plan->change_count < NFT_FOREIGN_CHANGES_MAX)
		plan->changes[plan->change_count++] = (struct nft_foreign_change){
			.place = &chain->place,
			.handle = handle,
		};
}

/*
 * A rule that is there stays, in a chain that might not want it any more too: what that
 * would do without it is not asked.
 */
static bool chain_wants(const struct foreign_chain *chain,
			const struct foreign *foreign, bool has)
{
	switch (foreign->config.how) {
	case FOREIGN_OFF:
		return false;
	case FOREIGN_CHAIN:
		return chain->named;
	case FOREIGN_AUTO:
		return chain->is_base && !chain->helpless && (has || chain->keeps_out);
	}
	return false;
}

/* With integrate = off, a rule that looks like ours may be the owner's: it stays. */
static bool accept_is_ours(const struct foreign *foreign,
			   const struct foreign_chain *chain,
			   const struct nft_accept *accept)
{
	return foreign->config.how != FOREIGN_OFF || accept->made ||
	       foreign_is_known(foreign, &chain->place);
}

/*
 * Rules that somebody has put before ours since then stay there, be it a list of
 * addresses to be kept out, unless they keep leased traffic out for certain.
 */
static void plan_change_chain(struct foreign_plan *plan, const struct foreign *foreign,
			      struct foreign_chain *chain,
			      const struct nft_accept *found, size_t count)
{
	bool right = false;

	chain->first_change = plan->change_count;
	for (size_t i = 0; i < count; i++) {
		bool good = chain->holds && !right &&
			    found[i].mark == foreign->config.mark &&
			    (found[i].first || !chain->blocked);

		right = right || good;
		if (!good && accept_is_ours(foreign, chain, &found[i]))
			plan_change(plan, chain, found[i].handle);
	}
	chain->added = chain->holds && !right;
	chain->moved = chain->added && count > 0;
	if (chain->added)
		plan_change(plan, chain, 0);
	chain->change_count = plan->change_count - chain->first_change;
}

static int plan_decide_chain(struct foreign_plan *plan, struct foreign *foreign,
			     struct foreign_chain *chain, size_t *room)
{
	struct nft_accept found[NFT_ACCEPTS_MAX];
	size_t count = 0;
	bool wanted;
	int error = nft_foreign_find(&foreign->socket, &chain->place, found, &count);

	if (error < 0)
		return error;
	wanted = chain_wants(chain, foreign, count > 0);
	if (chain->owned) {
		chain->error = wanted ? -EPERM : 0;
		return 0;
	}
	if (wanted && *room == 0)
		plan->left_out++;
	chain->holds = wanted && *room > 0;
	if (chain->holds)
		(*room)--;
	plan_change_chain(plan, foreign, chain, found, count);
	return 0;
}

int foreign_plan_decide(struct foreign_plan *plan, struct foreign *foreign)
{
	size_t room = FOREIGN_RULES_MAX;
	int error = 0;

	for (size_t i = 0; error == 0 && i < plan->chain_count; i++)
		error = plan_decide_chain(plan, foreign, &plan->chains[i], &room);
	return error;
}

static void plan_commit_chain(struct foreign_plan *plan, struct foreign *foreign,
			      struct foreign_chain *chain)
{
	if (chain->change_count == 0)
		return;
	chain->error = nft_foreign_commit(&foreign->socket, 0, foreign->config.mark,
					  &plan->changes[chain->first_change],
					  chain->change_count);
	if (chain->error == 0) {
		plan->made += chain->change_count;
		return;
	}
	chain->holds = false;
	chain->added = false;
}

int foreign_plan_commit(struct foreign_plan *plan, struct foreign *foreign,
			uint32_t generation)
{
	int error = 0;

	if (plan->change_count > 0)
		error = nft_foreign_commit(&foreign->socket, generation,
					   foreign->config.mark, plan->changes,
					   plan->change_count);
	if (error == 0)
		plan->made = plan->change_count;
	if (error == 0 || error == -ERESTART || error == -ENOMEM)
		return error;
	for (size_t i = 0; i < plan->chain_count; i++)
		plan_commit_chain(plan, foreign, &plan->chains[i]);
	return 0;
}

bool foreign_is_known(const struct foreign *foreign, const struct nft_place *place)
{
	for (size_t i = 0; i < foreign->known_count; i++)
		if (nft_place_equal(&foreign->known[i], place))
			return true;
	return false;
}
