/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

#include <netinet/in.h>

#include "doctor/advice.h"
#include "doctor/firewall.h"
#include "doctor/packets.h"

#define ID "hairpin-dropped"

/* What hosts of one LAN send to leases of another by the WAN's address. */
struct hairpin {
	const struct facts *facts;
	struct drops plain; /* what comes from the WAN instead */
	struct drops drops;
	bool asked;
};

static bool lan_is_asked(const struct lan_info *lan)
{
	struct ip_addr own = packets_get_own(lan, false);

	return lan->ifindex != 0 && !addr_is_none(&own);
}

static void ask_pair(struct hairpin *hairpin, uint32_t from, uint32_t to)
{
	static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};
	const struct facts *facts = hairpin->facts;
	const struct lan_info *lan = &facts->network.lans[to];
	const struct drops_case which = {.lan = to, .what = 1};

	if (!lan_is_asked(&facts->network.lans[from]) || !lan_is_asked(lan))
		return;
	hairpin->asked = true;
	for (size_t i = 0; i < sizeof(protocols); i++) {
		struct packet plain =
			packets_make_leased(facts, lan, protocols[i], false);
		struct packet inner = packets_make_hairpin(
			facts, &facts->network.lans[from], lan, protocols[i]);

		drops_ask(&hairpin->plain, &facts->firewall, &plain, &which);
		drops_ask(&hairpin->drops, &facts->firewall, &inner, &which);
	}
}

static void say_dropped(const struct hairpin *hairpin, const struct drop *drop,
			struct findings *findings)
{
	struct finding *finding = findings_add(findings, ID, "IPv4");
	char chain[DROP_CHAIN_SIZE];
	char reason[DROP_CHAIN_SIZE];

	finding_say(finding, drop->sure ? FINDING_PROBLEM : FINDING_UNKNOWN,
		    "%s %s what hosts of LANs send to leases by the address of the "
		    "WAN: %s",
		    drop_format_chain(drop, chain), drop->sure ? "drops" : "may drop",
		    drop_format_reason(drop, reason));
	if (drop->verdict.hook == PACKET_HOOK_INGRESS ||
	    drop->verdict.hook == PACKET_HOOK_PREROUTING ||
	    (!drop->legacy && drop->verdict.hook == PACKET_HOOK_FORWARD &&
	     drop->verdict.priority < RULESET_MARK_PRIORITY))
		advice_add_early(hairpin->facts, drop, finding);
	else
		advice_add_forward(hairpin->facts, drop, finding);
}

/* Each LAN with itself and with the next: that meets every LAN in either direction. */
static void ask_all(struct hairpin *hairpin)
{
	uint32_t count = (uint32_t)hairpin->facts->network.lan_count;

	for (uint32_t i = 0; i < count; i++) {
		ask_pair(hairpin, i, i);
		if (count > 1)
			ask_pair(hairpin, i, (i + 1) % count);
	}
}

void check_hairpin(const struct facts *facts, struct findings *findings)
{
	struct hairpin hairpin = {.facts = facts};
	size_t told = 0;

	if (!facts->conf.wan.nat || !firewall_can_ask(facts, ID, findings))
		return;
	ask_all(&hairpin);
	if (!hairpin.asked)
		return;
	/* A chain that keeps out what comes from the WAN is told of already. */
	for (size_t i = 0; i < hairpin.drops.count; i++) {
		if (drops_have(&hairpin.plain, &hairpin.drops.list[i]))
			continue;
		say_dropped(&hairpin, &hairpin.drops.list[i], findings);
		told++;
	}
	if (told == 0)
		finding_say(
			findings_add(findings, ID, "IPv4"), FINDING_OK,
			hairpin.drops.count > 0
				? "hosts of LANs reach leases by the address of the "
				  "WAN as well as others do: see forward-dropped"
				: "hosts of LANs reach leases by the address of the "
				  "WAN");
}
