/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/foreign.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/nft.h"
#include "backends/nft_foreign.h"
#include "base/log.h"

/* Tries of a refresh that other people's changes keep interrupting. */
#define REFRESH_TRIES 5
/* Chains of others that are looked at. */
#define CHAINS_MAX 64
/* Packets that stand for all of leases: each LAN, IPv4 and IPv6, TCP and UDP. */
#define SAMPLES_MAX ((size_t)BACKEND_LANS_MAX * 4)
#define PORT_COUNT 65536
#define CHAINS_TEXT_SIZE 512

struct foreign {
	struct foreign_config config;
	struct nft_socket socket;
	struct nft_watch watch;
	struct foreign_figures figures;
	/* Chains that have had a rule of ours in this run. */
	size_t known_count;
	struct nft_place known[FOREIGN_RULES_MAX];
	int last_error;	     /* told of last */
	bool missing_told;   /* that there is no such chain */
	bool leaving;	     /* no rule of ours shall stay */
	bool samples_ground; /* of a WAN and a LAN, not only to find chains by */
	size_t sample_count;
	struct packet samples[SAMPLES_MAX];
	uint8_t taken[2][PORT_COUNT / 8]; /* TCP, UDP */
};

/* A chain of others, and what becomes of our rule there. */
struct chain {
	struct nft_place place;
	enum packet_fate fate; /* of leased traffic there, but for a rule of ours */
	bool blocked;	       /* it drops that although it has one */
	bool helpless;	       /* there is no mark yet */
	bool is_base;
	bool named; /* by the configuration */
	bool holds; /* afterwards it has a rule of ours */
	bool added;
	bool moved; /* it had one, in a place that was no good or for another mark */
};

/* What a refresh has found and is about to do. */
struct plan {
	size_t chain_count;
	struct chain chains[CHAINS_MAX];
	size_t change_count;
	struct nft_foreign_change changes[NFT_FOREIGN_CHANGES_MAX];
};

/* --- packets that stand for leased traffic --- */

static void make_samples(struct foreign *foreign, const struct backend_network *network)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	size_t count = 0;

	for (size_t i = 0; i < network->lan_count * 4 && count < SAMPLES_MAX; i++) {
		const struct foreign_sample sample = {
			.lan = i / 4,
			.ipv6 = (i & 2) != 0,
			.protocol = protocols[i & 1],
			.mark = foreign->config.mark,
		};

		if (sample.ipv6 && foreign->config.ipv4_only)
			continue;
		if (foreign_make_packet(&sample, network, &foreign->samples[count]))
			count++;
	}
	foreign->samples_ground = count > 0;
	if (count == 0)
		foreign->samples[count++] = (struct packet){.protocol = IPPROTO_UDP};
	foreign->sample_count = count;
}

static bool fate_is_worse(enum packet_fate a, enum packet_fate b)
{
	return a != PACKET_PASSES && b != PACKET_DROPPED && a != b;
}

/* --- which chains there are, and what they do --- */

static struct chain *plan_get_chain(struct plan *plan, const struct nft_place *place)
{
	for (size_t i = 0; i < plan->chain_count; i++)
		if (nft_place_equal(&plan->chains[i].place, place))
			return &plan->chains[i];
	if (plan->chain_count == CHAINS_MAX || place->chain[0] == '\0')
		return NULL;
	plan->chains[plan->chain_count] = (struct chain){.place = *place};
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

/* Base chains, with what each of them alone does to leased traffic. */
static void plan_add_base_chains(struct plan *plan, const struct foreign *foreign,
				 const struct ruleset *ruleset)
{
	struct packet_verdict verdict;

	for (size_t s = 0; s < foreign->sample_count; s++)
		for (size_t i = 0; ruleset_walk_one(ruleset, PACKET_HOOK_FORWARD, i,
						    &foreign->samples[s], &verdict);
		     i++) {
			const struct nft_place place = place_from_verdict(&verdict);
			struct chain *chain = plan_get_chain(plan, &place);

			if (!chain)
				continue;
			chain->is_base = true;
			chain->helpless = verdict.priority < RULESET_MARK_PRIORITY;
			if (foreign->samples_ground &&
			    fate_is_worse(verdict.fate, chain->fate))
				chain->fate = verdict.fate;
		}
}

/* Rules before ours may keep leased traffic out all the same: the first chain of them.
 */
static void plan_find_blocked(struct plan *plan, const struct foreign *foreign,
			      const struct ruleset *ruleset)
{
	struct packet_verdict verdict;

	for (size_t s = 0; foreign->samples_ground && s < foreign->sample_count; s++) {
		struct nft_place place;
		struct chain *chain;

		ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &foreign->samples[s],
			     &verdict);
		if (verdict.fate != PACKET_DROPPED)
			continue;
		place = place_from_verdict(&verdict);
		chain = plan_get_chain(plan, &place);
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

static void plan_add_named(struct plan *plan, struct foreign *foreign,
			   const struct ruleset *ruleset)
{
	const struct foreign_config *config = &foreign->config;
	struct ruleset_chain_view view;
	struct nft_place place;
	struct chain *chain;

	foreign->figures.chain_missing = !ruleset_find_chain(
		ruleset, config->family, config->table, config->chain, &view);
	if (foreign->figures.chain_missing)
		return;
	place = place_from_view(&view);
	chain = plan_get_chain(plan, &place);
	if (chain)
		chain->named = true;
}

static void plan_add_chains(struct plan *plan, struct foreign *foreign,
			    const struct ruleset *ruleset)
{
	bool on = foreign->config.how != FOREIGN_OFF;

	foreign->figures.chain_missing = false;
	/* Off touches nothing; but what was on a moment ago is taken back. */
	for (size_t i = 0; i < foreign->known_count; i++)
		(void)plan_get_chain(plan, &foreign->known[i]);
	if (!on)
		return;
	plan_add_base_chains(plan, foreign, ruleset);
	plan_find_blocked(plan, foreign, ruleset);
	ruleset_visit_own_rules(ruleset, plan_add_own, plan);
	if (foreign->config.how == FOREIGN_CHAIN && !foreign->leaving)
		plan_add_named(plan, foreign, ruleset);
}

/* --- what to do --- */

static void plan_change(struct plan *plan, const struct chain *chain, uint64_t handle)
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
static bool chain_wants(const struct chain *chain, const struct foreign *foreign,
			bool has)
{
	if (foreign->leaving)
		return false;
	switch (foreign->config.how) {
	case FOREIGN_OFF:
		return false;
	case FOREIGN_CHAIN:
		return chain->named;
	case FOREIGN_AUTO:
		return chain->is_base && !chain->helpless &&
		       (has || chain->fate != PACKET_PASSES);
	}
	return false;
}

/*
 * Rules that somebody has put before ours since then stay there, be it a list of
 * addresses to be kept out, unless they keep leased traffic out for certain.
 */
static int plan_decide_chain(struct plan *plan, struct foreign *foreign,
			     struct chain *chain, size_t *room)
{
	struct nft_accept found[NFT_ACCEPTS_MAX];
	size_t count = 0;
	bool right = false;
	bool wanted;
	int error = nft_foreign_find(&foreign->socket, &chain->place, found, &count);

	if (error < 0)
		return error;
	wanted = chain_wants(chain, foreign, count > 0) && *room > 0;
	for (size_t i = 0; i < count; i++) {
		bool good = wanted && !right && found[i].mark == foreign->config.mark &&
			    (found[i].first || !chain->blocked);

		right = right || good;
		if (!good)
			plan_change(plan, chain, found[i].handle);
	}
	chain->holds = wanted;
	chain->added = wanted && !right;
	chain->moved = chain->added && count > 0;
	if (chain->added)
		plan_change(plan, chain, 0);
	if (wanted)
		(*room)--;
	return 0;
}

static int plan_decide(struct plan *plan, struct foreign *foreign)
{
	size_t room = FOREIGN_RULES_MAX;
	int error = 0;

	for (size_t i = 0; error == 0 && i < plan->chain_count; i++)
		error = plan_decide_chain(plan, foreign, &plan->chains[i], &room);
	return error;
}

/* --- what was done --- */

static void chain_format(char *text, size_t size, const struct nft_place *place)
{
	(void)snprintf(text, size, "%s %s %s", place->family, place->table,
		       place->chain);
}

static bool foreign_knows(struct foreign *foreign, const struct nft_place *place)
{
	for (size_t i = 0; i < foreign->known_count; i++)
		if (nft_place_equal(&foreign->known[i], place))
			return true;
	if (foreign->known_count < FOREIGN_RULES_MAX)
		foreign->known[foreign->known_count++] = *place;
	return false;
}

static void list_add(char *text, size_t size, const struct nft_place *place)
{
	size_t used = strlen(text);

	if (used > 0 && used + 2 < size)
		used += (size_t)snprintf(text + used, size - used, ", ");
	chain_format(text + used, size - used, place);
}

enum report_kind { REPORT_ADDED, REPORT_RESTORED, REPORT_MOVED };

/* One line for all chains of a kind. */
static void report_log(enum report_kind kind, const char *chains)
{
	if (chains[0] == '\0')
		return;
	switch (kind) {
	case REPORT_ADDED:
		log_notice("a rule that accepts leased traffic was put into chain %s",
			   chains);
		break;
	case REPORT_RESTORED:
		log_notice("the rule that accepts leased traffic was gone from chain "
			   "%s; put back",
			   chains);
		break;
	case REPORT_MOVED:
		log_notice("the rule that accepts leased traffic was of no use in "
			   "chain %s; put first",
			   chains);
		break;
	}
}

static void foreign_report(struct foreign *foreign, const struct plan *plan)
{
	struct foreign_figures *figures = &foreign->figures;
	char texts[REPORT_MOVED + 1][CHAINS_TEXT_SIZE] = {{0}};

	figures->rule_count = 0;
	for (size_t i = 0; i < plan->chain_count; i++) {
		const struct chain *chain = &plan->chains[i];
		enum report_kind kind = REPORT_ADDED;

		if (!chain->holds)
			continue;
		chain_format(figures->rules[figures->rule_count],
			     sizeof(figures->rules[0]), &chain->place);
		figures->rule_count++;
		if (foreign_knows(foreign, &chain->place))
			kind = REPORT_RESTORED;
		if (chain->moved)
			kind = REPORT_MOVED;
		if (!chain->added)
			continue;
		figures->restored += kind == REPORT_RESTORED ? 1 : 0;
		list_add(texts[kind], CHAINS_TEXT_SIZE, &chain->place);
	}
	for (int kind = REPORT_ADDED; kind <= REPORT_MOVED; kind++)
		report_log((enum report_kind)kind, texts[kind]);
}

static void foreign_report_missing(struct foreign *foreign)
{
	const struct foreign_config *config = &foreign->config;

	if (foreign->figures.chain_missing && !foreign->missing_told)
		log_warning("there is no chain %s %s %s for [backend] integrate; "
			    "waiting for it",
			    config->family, config->table, config->chain);
	foreign->missing_told = foreign->figures.chain_missing;
}

/* --- what it comes to --- */

static void take_port(void *user, uint8_t protocol, struct port_range range)
{
	struct foreign *foreign = user;

	for (uint32_t port = range.first; port <= range.last; port++) {
		if (protocol != IPPROTO_UDP)
			foreign->taken[0][port / 8] |= (uint8_t)(1U << port % 8);
		if (protocol != IPPROTO_TCP)
			foreign->taken[1][port / 8] |= (uint8_t)(1U << port % 8);
	}
}

static void verdict_log(const struct packet_verdict *before,
			const struct packet_verdict *now, const char *family)
{
	if (now->fate == PACKET_DROPPED &&
	    (before->fate != PACKET_DROPPED || strcmp(before->table, now->table) != 0 ||
	     strcmp(before->base_chain, now->base_chain) != 0))
		log_warning(
			"chain %s %s %s drops leased traffic (%s); portreeve doctor "
			"tells what to do",
			now->family, now->table, now->base_chain, family);
	if (before->fate == PACKET_DROPPED && now->fate != PACKET_DROPPED)
		log_notice("leased traffic (%s) is not dropped any more", family);
}

static void foreign_judge(struct foreign *foreign, const struct ruleset *ruleset)
{
	struct packet_verdict worst[2] = {{0}};
	struct packet_verdict taken = {0};
	struct packet_verdict verdict;

	for (size_t i = 0; foreign->samples_ground && i < foreign->sample_count; i++) {
		struct packet_verdict *family = &worst[foreign->samples[i].ipv6];

		ruleset_walk_path(ruleset, &foreign->samples[i], &verdict);
		if (fate_is_worse(verdict.fate, family->fate))
			*family = verdict;
		if (foreign->samples[i].ipv6)
			continue;
		ruleset_walk_translation(ruleset, &foreign->samples[i], &verdict);
		if (fate_is_worse(verdict.fate, taken.fate))
			taken = verdict;
	}
	foreign->figures.translation = taken;
	verdict_log(&foreign->figures.verdicts[0], &worst[0], "IPv4");
	verdict_log(&foreign->figures.verdicts[1], &worst[1], "IPv6");
	memcpy(foreign->figures.verdicts, worst, sizeof(worst));
}

static int foreign_integrate(struct foreign *foreign, struct plan *plan,
			     const struct ruleset *ruleset, uint32_t generation)
{
	int error;

	plan_add_chains(plan, foreign, ruleset);
	error = plan_decide(plan, foreign);
	if (error == 0 && plan->change_count > 0)
		error = nft_foreign_commit(&foreign->socket, generation,
					   foreign->config.mark, plan->changes,
					   plan->change_count);
	if (error < 0)
		return error;
	foreign_report(foreign, plan);
	foreign_report_missing(foreign);
	return 0;
}

static void foreign_conclude(struct foreign *foreign, const struct ruleset *ruleset,
			     const char *wan)
{
	memset(foreign->taken, 0, sizeof(foreign->taken));
	if (wan[0] != '\0')
		ruleset_visit_dnat(ruleset, wan, take_port, foreign);
	foreign_judge(foreign, ruleset);
	foreign->figures.readable = true;
}

/* 1 = there were changes: what they have come to is to be looked at. */
static int foreign_look(struct foreign *foreign, struct plan *plan, const char *wan)
{
	struct ruleset *ruleset = NULL;
	uint32_t generation = 0;
	int error = nft_foreign_get_generation(&foreign->socket, &generation);

	if (error == 0)
		error = ruleset_read(&ruleset);
	if (error == 0)
		error = foreign_integrate(foreign, plan, ruleset, generation);
	if (error == 0 && !foreign->leaving && plan->change_count > 0)
		error = 1;
	else if (ruleset && !foreign->leaving && error != -ERESTART)
		foreign_conclude(foreign, ruleset, wan);
	ruleset_free(ruleset);
	return error;
}

static int foreign_look_again(struct foreign *foreign, const char *wan)
{
	struct plan *plan = malloc(sizeof(*plan));
	int error = -ENOMEM;

	/* -EINTR was tried again already, and costs most */
	for (int i = 0; plan && i < REFRESH_TRIES; i++) {
		memset(plan, 0, sizeof(*plan));
		error = foreign_look(foreign, plan, wan);
		if (error != 1 && error != -ERESTART && error != -ENOENT)
			break;
	}
	free(plan);
	if (error == 1)
		error = 0;
	if (error != 0 && error != foreign->last_error)
		log_warning("cannot look after the firewall besides our table: %s",
			    strerror(-error));
	foreign->last_error = error;
	return error;
}

/* --- the seam --- */

int foreign_open(const struct foreign_config *config, struct foreign **out)
{
	struct foreign *foreign = calloc(1, sizeof(*foreign));
	uint32_t generation;
	int error;

	if (!foreign)
		return -ENOMEM;
	foreign->config = *config;
	error = nft_socket_open(&foreign->socket);
	if (error == 0) {
		error = nft_foreign_get_generation(&foreign->socket, &generation);
		/* nfnetlink says so of a part that is not there */
		if (error == -EINVAL)
			error = -EPROTONOSUPPORT;
	}
	if (error == 0)
		error = nft_watch_open_others(&foreign->watch, foreign->socket.port_id);
	if (error < 0) {
		nft_socket_close(&foreign->socket);
		free(foreign);
		return error;
	}
	foreign->samples[0] = (struct packet){.protocol = IPPROTO_UDP};
	foreign->sample_count = 1;
	*out = foreign;
	return 0;
}

void foreign_close(struct foreign *foreign, bool keep)
{
	if (!foreign)
		return;
	foreign->leaving = true;
	if (!keep && (foreign->config.how != FOREIGN_OFF || foreign->known_count > 0))
		(void)foreign_look_again(foreign, "");
	nft_watch_close(&foreign->watch);
	nft_socket_close(&foreign->socket);
	free(foreign);
}

void foreign_set_config(struct foreign *foreign, const struct foreign_config *config)
{
	foreign->config = *config;
	foreign->missing_told = false;
}

int foreign_get_fd(const struct foreign *foreign)
{
	return nft_watch_get_fd(&foreign->watch);
}

bool foreign_drain(struct foreign *foreign)
{
	return nft_watch_drain_others(&foreign->watch);
}

int foreign_refresh(struct foreign *foreign, const struct backend_network *network)
{
	make_samples(foreign, network);
	foreign->figures.readable = false;
	return foreign_look_again(foreign, network->wan);
}

bool foreign_has_port(const struct foreign *foreign, uint8_t protocol, uint16_t port)
{
	return (foreign->taken[protocol == IPPROTO_UDP][port / 8] >> port % 8 & 1) != 0;
}

const struct foreign_figures *foreign_get_figures(const struct foreign *foreign)
{
	return &foreign->figures;
}
