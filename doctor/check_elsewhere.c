/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>

#include "doctor/drops.h"
#include "doctor/firewall.h"
#include "doctor/packets.h"

#define ID "translated-elsewhere"

static void say_taken(const struct packet_verdict *verdict, struct findings *findings)
{
	const struct drop drop = {.verdict = *verdict};
	struct finding *finding = findings_add(findings, ID, "");
	bool sure = verdict->fate == PACKET_DROPPED;
	char chain[DROP_CHAIN_SIZE];
	char reason[DROP_CHAIN_SIZE];

	finding_say(finding, sure ? FINDING_PROBLEM : FINDING_UNKNOWN,
		    "%s (priority %d) %s what comes in for the address of the WAN to a "
		    "host of its own before portreeve is asked: leases get nothing, %s",
		    drop_format_chain(&drop, chain), (int)verdict->priority,
		    sure ? "translates" : "may translate",
		    drop_format_reason(&drop, reason));
	finding_keep(finding,
		     "give that chain a priority of %d (dstnat) or above: then leases "
		     "come first, and its host has all that is left",
		     NF_IP_PRI_NAT_DST);
}

void check_elsewhere(const struct facts *facts, struct findings *findings)
{
	static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};
	struct packet_verdict worst = {.fate = PACKET_PASSES};

	if (!facts->conf.wan.nat || !firewall_can_ask(facts, ID, findings))
		return;
	for (size_t i = 0; i < facts->network.lan_count * sizeof(protocols); i++) {
		const struct packet packet = packets_make_leased(
			facts, &facts->network.lans[i / sizeof(protocols)],
			protocols[i % sizeof(protocols)], false);
		struct packet_verdict verdict = {.fate = PACKET_PASSES};

		if (facts->firewall.ruleset)
			ruleset_walk_translation(facts->firewall.ruleset, &packet,
						 &verdict);
		if (verdict.fate == PACKET_DROPPED || worst.fate == PACKET_PASSES)
			worst = verdict;
	}
	if (worst.fate == PACKET_PASSES)
		finding_say(findings_add(findings, ID, ""), FINDING_OK,
			    "nobody translates what comes in before portreeve does");
	else
		say_taken(&worst, findings);
}
