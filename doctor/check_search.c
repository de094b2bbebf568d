/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

#include <linux/netfilter.h>
#include <string.h>

#include "doctor/packets.h"

/* Answers to a search are no answers to the kernel's connection tracking. */
static bool answers_get_in(const struct facts *facts, const struct lan_info *lan)
{
	struct packet packet = packets_make_request(lan, IPPROTO_UDP, false);
	struct packet_verdict verdict = {.fate = PACKET_PASSES};

	packet.source_port = 1900;
	packet.destination_port = PACKETS_CLIENT_PORT;
	if (facts->firewall.ruleset)
		ruleset_walk_path(facts->firewall.ruleset, &packet, &verdict);
	return verdict.fate == PACKET_PASSES &&
	       legacy_walk(&facts->firewall.legacy[0], NF_INET_LOCAL_IN, &packet)
			       .fate == PACKET_PASSES;
}

static void check_lan(const struct facts *facts, uint32_t index,
		      struct findings *findings)
{
	const struct lan_info *lan = &facts->network.lans[index];
	struct finding *finding = findings_add(findings, "other-igd", lan->name);
	char text[ADDR_TEXT_SIZE];

	for (size_t i = 0; i < facts->search.count; i++) {
		const struct facts_answer *answer = &facts->search.answers[i];

		if (answer->lan != index)
			continue;
		finding_say(finding, FINDING_PROBLEM,
			    "another UPnP gateway answers on %s: %s. Hosts that ask "
			    "it open ports there, not here: switch UPnP off there, or "
			    "take it off this LAN",
			    lan->name, addr_format(&answer->host, text));
		return;
	}
	if (!facts->search.done[index])
		finding_say(finding, FINDING_UNKNOWN,
			    "%s was not searched for other UPnP gateways", lan->name);
	else if (facts->search.flooded[index])
		finding_say(finding, FINDING_UNKNOWN,
			    "%s was flooded while other UPnP gateways were searched "
			    "for: one may be there that was not heard",
			    lan->name);
	else if (!facts->firewall.ruleset && !facts->root)
		finding_say(finding, FINDING_OK,
			    "no other UPnP gateway answers on %s (as far as the "
			    "firewall of this host lets answers in: root can look)",
			    lan->name);
	else if (!answers_get_in(facts, lan))
		finding_say(finding, FINDING_UNKNOWN,
			    "no other UPnP gateway was heard on %s, but the firewall "
			    "of this host keeps answers out, or may",
			    lan->name);
	else
		finding_say(finding, FINDING_OK, "no other UPnP gateway answers on %s",
			    lan->name);
}

void check_search(const struct facts *facts, struct findings *findings)
{
	if (facts->network_error != 0) {
		finding_say(findings_add(findings, "other-igd", ""), FINDING_UNKNOWN,
			    "it is not known which interfaces are LANs");
		return;
	}
	for (size_t i = 0; i < facts->network.lan_count; i++)
		if (facts->network.lans[i].ifindex != 0)
			check_lan(facts, (uint32_t)i, findings);
}
