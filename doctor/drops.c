/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/drops.h"

#include <inttypes.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

static bool drop_is_chain(const struct drop *drop, const struct packet_verdict *verdict,
			  bool legacy)
{
	return drop->legacy == legacy &&
	       strcmp(drop->verdict.family, verdict->family) == 0 &&
	       strcmp(drop->verdict.table, verdict->table) == 0 &&
	       strcmp(drop->verdict.base_chain, verdict->base_chain) == 0;
}

bool drops_have(const struct drops *drops, const struct drop *drop)
{
	for (size_t i = 0; i < drops->count; i++)
		if (drop_is_chain(&drops->list[i], &drop->verdict, drop->legacy))
			return true;
	return false;
}

/* One packet while chains are asked. */
struct question {
	struct drops *drops;
	const struct facts_firewall *firewall;
	const struct packet *packet;
	const struct drops_case *which;
};

static struct drop *drops_find(struct drops *drops,
			       const struct packet_verdict *verdict, bool legacy)
{
	for (size_t i = 0; i < drops->count; i++)
		if (drop_is_chain(&drops->list[i], verdict, legacy))
			return &drops->list[i];
	if (drops->count == DROPS_MAX)
		return NULL;
	drops->list[drops->count] = (struct drop){
		.verdict = *verdict, .legacy = legacy, .docker_passes = !legacy};
	return &drops->list[drops->count++];
}

static void drops_note(const struct question *question,
		       const struct packet_verdict *verdict, bool legacy)
{
	const struct packet *packet = question->packet;
	bool sure = verdict->fate == PACKET_DROPPED;
	struct drop *drop = drops_find(question->drops, verdict, legacy);

	if (!drop)
		return;
	/* What is certain is told, and for which packets; what is not, if it is all. */
	if (sure && !drop->sure)
		*drop = (struct drop){.verdict = *verdict,
				      .legacy = legacy,
				      .sure = true,
				      .docker_passes = !legacy};
	if (sure != drop->sure)
		return;
	drop->families |= packet->ipv6 ? DROP_IPV6 : DROP_IPV4;
	drop->lans |= UINT32_C(1) << question->which->lan;
	drop->what |= question->which->what;
	drop->docker_passes = drop->docker_passes &&
			      ruleset_passes_by(question->firewall->ruleset, verdict,
						packet, DROP_DOCKER_CHAIN);
}

static void ask_legacy(const struct question *question)
{
	const struct packet *packet = question->packet;
	const struct legacy_table *table = &question->firewall->legacy[packet->ipv6];
	bool input = packet->out[0] == '\0';
	struct legacy_verdict found =
		legacy_walk(table, input ? NF_INET_LOCAL_IN : NF_INET_FORWARD, packet);
	struct packet_verdict verdict = {
		.fate = found.fate,
		.hook = input ? PACKET_HOOK_INPUT : PACKET_HOOK_FORWARD,
		.table = "filter",
		.is_xtables = true,
	};

	if (found.fate == PACKET_PASSES || table->state != LEGACY_READ)
		return;
	(void)snprintf(verdict.family, sizeof(verdict.family), "%s",
		       packet->ipv6 ? "ip6" : "ip");
	(void)snprintf(verdict.base_chain, sizeof(verdict.base_chain), "%s",
		       input ? "INPUT" : "FORWARD");
	memcpy(verdict.chain, verdict.base_chain, sizeof(verdict.chain));
	/* Rules have no handles there: any but 0. */
	verdict.handle = found.by_policy ? 0 : 1;
	drops_note(question, &verdict, true);
}

static void take_verdict(void *user, const struct packet_verdict *verdict)
{
	const struct question *question = user;

	drops_note(question, verdict, false);
}

void drops_ask(struct drops *drops, const struct facts_firewall *firewall,
	       const struct packet *packet, const struct drops_case *which)
{
	struct question question = {drops, firewall, packet, which};

	if (firewall->ruleset)
		ruleset_visit_path(firewall->ruleset, packet, take_verdict, &question);
	ask_legacy(&question);
}

const char *drop_get_families(unsigned int families)
{
	if (families == DROP_IPV4)
		return "IPv4";
	return families == DROP_IPV6 ? "IPv6" : "IPv4 and IPv6";
}

const char *drop_format_chain(const struct drop *drop, char text[DROP_CHAIN_SIZE])
{
	const struct packet_verdict *verdict = &drop->verdict;

	if (drop->legacy)
		(void)snprintf(text, DROP_CHAIN_SIZE,
			       "chain %s of %s (table %s, iptables-legacy)",
			       verdict->base_chain,
			       verdict->family[2] == '6' ? "ip6tables" : "iptables",
			       verdict->table);
	else
		(void)snprintf(text, DROP_CHAIN_SIZE, "chain %s of table %s %s",
			       verdict->base_chain, verdict->family, verdict->table);
	return text;
}

const char *drop_format_reason(const struct drop *drop, char text[DROP_CHAIN_SIZE])
{
	const struct packet_verdict *verdict = &drop->verdict;

	if (verdict->handle == 0)
		(void)snprintf(text, DROP_CHAIN_SIZE, "its policy is drop");
	else if (drop->legacy)
		(void)snprintf(text, DROP_CHAIN_SIZE, "by a rule");
	else if (strcmp(verdict->chain, verdict->base_chain) == 0)
		(void)snprintf(text, DROP_CHAIN_SIZE,
			       "by its rule with handle %" PRIu64, verdict->handle);
	else
		(void)snprintf(text, DROP_CHAIN_SIZE,
			       "by the rule with handle %" PRIu64
			       " of chain %s, which it calls",
			       verdict->handle, verdict->chain);
	return text;
}
