/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/drops.h"

#include <inttypes.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

/* More base chains at one hook than anybody has. */
#define CHAINS_MAX 256

static bool drop_is_chain(const struct drop *drop, const struct packet_verdict *verdict,
			  bool legacy)
{
	return drop->legacy == legacy &&
	       strcmp(drop->verdict.family, verdict->family) == 0 &&
	       strcmp(drop->verdict.table, verdict->table) == 0 &&
	       strcmp(drop->verdict.base_chain, verdict->base_chain) == 0;
}

static void drops_note(struct drops *drops, const struct packet_verdict *verdict,
		       bool legacy, unsigned int family, const struct drops_case *which)
{
	bool sure = verdict->fate == PACKET_DROPPED;
	struct drop *drop = NULL;

	for (size_t i = 0; i < drops->count && !drop; i++)
		if (drop_is_chain(&drops->list[i], verdict, legacy))
			drop = &drops->list[i];
	if (!drop && drops->count == DROPS_MAX)
		return;
	if (!drop) {
		drop = &drops->list[drops->count++];
		*drop = (struct drop){.verdict = *verdict, .legacy = legacy};
	}
	/* What is certain is told, and for which packets; what is not, if it is all. */
	if (sure && !drop->sure)
		*drop = (struct drop){
			.verdict = *verdict, .legacy = legacy, .sure = true};
	if (sure != drop->sure)
		return;
	drop->families |= family;
	drop->lans |= UINT32_C(1) << which->lan;
	drop->what |= which->what;
}

static void ask_legacy(struct drops *drops, const struct facts_firewall *firewall,
		       enum packet_hook hook, const struct packet *packet,
		       const struct drops_case *which)
{
	bool input = hook == PACKET_HOOK_INPUT;
	struct legacy_verdict found =
		legacy_walk(&firewall->legacy[packet->ipv6],
			    input ? NF_INET_LOCAL_IN : NF_INET_FORWARD, packet);
	struct packet_verdict verdict = {
		.fate = found.fate, .table = "filter", .is_xtables = true};

	if (found.fate == PACKET_PASSES ||
	    firewall->legacy[packet->ipv6].state != LEGACY_READ)
		return;
	(void)snprintf(verdict.family, sizeof(verdict.family), "%s",
		       packet->ipv6 ? "ip6" : "ip");
	(void)snprintf(verdict.base_chain, sizeof(verdict.base_chain), "%s",
		       input ? "INPUT" : "FORWARD");
	memcpy(verdict.chain, verdict.base_chain, sizeof(verdict.chain));
	/* Rules have no handles there: any but 0. */
	verdict.handle = found.by_policy ? 0 : 1;
	drops_note(drops, &verdict, true, packet->ipv6 ? DROP_IPV6 : DROP_IPV4, which);
}

void drops_ask(struct drops *drops, const struct facts_firewall *firewall,
	       enum packet_hook hook, const struct packet *packet,
	       const struct drops_case *which)
{
	struct packet unmarked = *packet;
	struct packet_verdict verdict;

	if (packet->is_new)
		unmarked.mark = 0;
	for (size_t i = 0; firewall->ruleset && i < CHAINS_MAX; i++) {
		if (!ruleset_walk_whole(firewall->ruleset, hook, i, packet, &verdict))
			break;
		if (verdict.priority < DROP_MARK_PRIORITY)
			(void)ruleset_walk_whole(firewall->ruleset, hook, i, &unmarked,
						 &verdict);
		if (verdict.fate != PACKET_PASSES)
			drops_note(drops, &verdict, false,
				   packet->ipv6 ? DROP_IPV6 : DROP_IPV4, which);
	}
	ask_legacy(drops, firewall, hook, packet, which);
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
