/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/foreign_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* Tries of a refresh that other people's changes keep interrupting, and after how many
 * of them our change is made whatever they do meanwhile. */
#define REFRESH_TRIES 5
#define PATIENT_TRIES 2
/* Tries to take our rule out of a chain that somebody changes meanwhile. */
#define LEAVE_TRIES 3
#define CHAINS_TEXT_SIZE 512

/* --- packets that stand for leased traffic --- */

static void make_samples(struct foreign *foreign, const struct backend_network *network)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	size_t count = 0;

	for (size_t i = 0; i < network->lan_count * 4 && count < FOREIGN_SAMPLES_MAX;
	     i++) {
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

/* --- what was done --- */

static void chain_format(char *text, size_t size, const struct nft_place *place)
{
	(void)snprintf(text, size, "%s %s %s", place->family, place->table,
		       place->chain);
}

/* True when it was known before. */
static bool foreign_knows(struct foreign *foreign, const struct nft_place *place)
{
	if (foreign_is_known(foreign, place))
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

static void foreign_note_refused(struct foreign *foreign,
				 const struct foreign_plan *plan)
{
	struct foreign_figures *figures = &foreign->figures;
	size_t before = figures->refused_count;

	figures->refused_count = 0;
	for (size_t i = 0; i < plan->chain_count; i++) {
		const struct foreign_chain *chain = &plan->chains[i];
		struct foreign_refusal *refusal =
			&figures->refused[figures->refused_count];

		if (chain->error == 0 || chain->error == -ENOENT ||
		    figures->refused_count == FOREIGN_REFUSED_MAX)
			continue;
		figures->refused_count++;
		chain_format(refusal->chain, sizeof(refusal->chain), &chain->place);
		refusal->error = chain->error;
		refusal->owned = chain->owned;
		if (figures->refused_count > before)
			log_warning("no rule can be put into chain %s: %s",
				    refusal->chain,
				    chain->owned ? "its table has the flag owner"
						 : strerror(-chain->error));
	}
	if (plan->left_out > figures->left_out)
		log_warning("leased traffic is kept out by %zu chains more than the %d "
			    "that rules are put into",
			    plan->left_out, FOREIGN_RULES_MAX);
	figures->left_out = plan->left_out;
}

static void foreign_report(struct foreign *foreign, const struct foreign_plan *plan)
{
	struct foreign_figures *figures = &foreign->figures;
	char texts[REPORT_MOVED + 1][CHAINS_TEXT_SIZE] = {{0}};

	figures->rule_count = 0;
	for (size_t i = 0; i < plan->chain_count; i++) {
		const struct foreign_chain *chain = &plan->chains[i];
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

static int foreign_integrate(struct foreign *foreign, struct foreign_plan *plan,
			     const struct ruleset *ruleset, uint32_t generation)
{
	int error;

	foreign_plan_add_chains(plan, foreign, ruleset);
	error = foreign_plan_decide(plan, foreign);
	if (error == 0)
		error = foreign_plan_commit(plan, foreign, generation);
	if (error < 0)
		return error;
	foreign->settled = true;
	foreign_report(foreign, plan);
	foreign_note_refused(foreign, plan);
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
static int foreign_look(struct foreign *foreign, struct foreign_plan *plan,
			const char *wan, bool patient)
{
	struct ruleset *ruleset = NULL;
	int error = ruleset_read(&ruleset);

	if (error < 0)
		return error;
	foreign->figures.partial = ruleset_is_partial(ruleset);
	error = foreign_integrate(foreign, plan, ruleset,
				  patient ? ruleset_get_generation(ruleset) : 0);
	if (error == 0 && plan->made > 0)
		error = 1;
	else if (error != -ERESTART)
		foreign_conclude(foreign, ruleset, wan);
	ruleset_free(ruleset);
	return error;
}

static int foreign_look_again(struct foreign *foreign, const char *wan)
{
	struct foreign_plan *plan = malloc(sizeof(*plan));
	int error = -ENOMEM;

	for (int i = 0; plan && i < REFRESH_TRIES; i++) {
		memset(plan, 0, sizeof(*plan));
		error = foreign_look(foreign, plan, wan, i < PATIENT_TRIES);
		if (error != 1 && error != -ERESTART)
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

/* Whatever else goes on: a rule that was just seen to be ours has its handle for good.
 */
static void foreign_leave_chain(struct foreign *foreign, const struct nft_place *place)
{
	struct nft_foreign_change changes[NFT_ACCEPTS_MAX];
	struct nft_accept found[NFT_ACCEPTS_MAX];
	int error = -ENOENT;

	for (int i = 0; i < LEAVE_TRIES && error == -ENOENT; i++) {
		size_t count = 0;

		error = nft_foreign_find(&foreign->socket, place, found, &count);
		if (error == 0 && count == 0)
			return;
		for (size_t k = 0; k < count; k++)
			changes[k] = (struct nft_foreign_change){
				.place = place, .handle = found[k].handle};
		if (error == 0)
			error = nft_foreign_commit(&foreign->socket, 0,
						   foreign->config.mark, changes,
						   count);
	}
	if (error < 0 && error != -ENOENT)
		log_warning("our rule stays in chain %s %s %s: %s", place->family,
			    place->table, place->chain, strerror(-error));
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
	for (size_t i = 0; !keep && i < foreign->known_count; i++)
		foreign_leave_chain(foreign, &foreign->known[i]);
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

void foreign_set_quiet(struct foreign *foreign, bool on)
{
	int error =
		on ? nft_watch_leave(&foreign->watch) : nft_watch_join(&foreign->watch);

	/* To hear more than is needed costs time only. */
	if (error < 0 && !on)
		log_error("cannot listen for changes of other tables any more: %s",
			  strerror(-error));
}

int foreign_refresh(struct foreign *foreign, const struct backend_network *network,
		    int64_t now_ms)
{
	struct foreign_figures *figures = &foreign->figures;
	int error;

	make_samples(foreign, network);
	figures->readable = false;
	error = foreign_look_again(foreign, network->wan);
	if (error != 0 && figures->error == 0)
		figures->failed_since_ms = now_ms;
	figures->error = error;
	/* what was there may have gone since */
	if (error != 0)
		figures->rule_count = 0;
	return error;
}

bool foreign_has_port(const struct foreign *foreign, uint8_t protocol, uint16_t port)
{
	return (foreign->taken[protocol == IPPROTO_UDP][port / 8] >> port % 8 & 1) != 0;
}

const struct foreign_figures *foreign_get_figures(const struct foreign *foreign)
{
	return &foreign->figures;
}
