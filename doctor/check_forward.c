/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "doctor/advice.h"
#include "doctor/firewall.h"
#include "doctor/packets.h"

/* Bits of struct drop.what. */
#define WHAT_UDP 0x1u
#define WHAT_TCP 0x2u
#define WHAT_ANSWER 0x4u

#define WHERE_SIZE 160

static bool family_is_asked(const struct facts *facts, const struct lan_info *lan,
			    bool ipv6)
{
	struct ip_addr own = packets_get_own(lan, ipv6);

	if (ipv6 && facts->conf.wan.pinholes != CONF_PINHOLES_ON)
		return false;
	return !addr_is_none(&own) && (ipv6 || facts->conf.wan.nat);
}

static void ask_lan(const struct facts *facts, uint32_t index, bool ipv6,
		    struct drops *drops)
{
	static const struct {
		uint8_t protocol;
		unsigned int what;
	} rows[] = {{IPPROTO_UDP, WHAT_UDP}, {IPPROTO_TCP, WHAT_TCP}};
	const struct lan_info *lan = &facts->network.lans[index];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet leased =
			packets_make_leased(facts, lan, rows[i].protocol, ipv6);
		struct packet answer = packets_make_answer(&leased);

		drops_ask(drops, &facts->firewall, &leased,
			  &(struct drops_case){.lan = index, .what = rows[i].what});
		drops_ask(drops, &facts->firewall, &answer,
			  &(struct drops_case){.lan = index, .what = WHAT_ANSWER});
	}
}

/* " (UDP only, to lan0)": what of leased traffic it is, where it is not all. */
static const char *format_part(const struct facts *facts, const struct drop *drop,
			       char text[WHERE_SIZE])
{
	unsigned int new = drop->what &(WHAT_UDP | WHAT_TCP);
	size_t used = 0;
	size_t count = facts->network.lan_count;

	text[0] = '\0';
	if (new == 0)
		used += (size_t)snprintf(text, WHERE_SIZE, ", the answers of hosts");
	else if (new == WHAT_UDP)
		used += (size_t)snprintf(text, WHERE_SIZE, ", UDP only");
	else if (new == WHAT_TCP)
		used += (size_t)snprintf(text, WHERE_SIZE, ", TCP only");
	if (drop->lans == (UINT32_MAX >> (32 - count)))
		return text;
	for (size_t i = 0; i < count && used < WHERE_SIZE - 2 * IF_NAMESIZE; i++)
		if ((drop->lans & (UINT32_C(1) << i)) != 0)
			used += (size_t)snprintf(text + used, WHERE_SIZE - used,
						 ", of %s",
						 facts->network.lans[i].name);
	return text;
}

/* Will portreeved put its rule there as soon as it runs? */
static bool will_integrate(const struct facts *facts, const struct drop *drop)
{
	const struct conf_chain *chain = &facts->conf.backend.integrate;

	if (facts->daemon.state != FACTS_DAEMON_ABSENT ||
	    !drop_is_in_reach(facts, drop) ||
	    drop->verdict.hook != PACKET_HOOK_FORWARD ||
	    drop_is_owned(&facts->firewall, drop))
		return false;
	if (chain->how == CONF_INTEGRATE_CHAIN)
		return strcmp(chain->family, drop->verdict.family) == 0 &&
		       strcmp(chain->table, drop->verdict.table) == 0 &&
		       strcmp(chain->chain, drop->verdict.base_chain) == 0;
	return chain->how == CONF_INTEGRATE_AUTO;
}

static void say_dropped(const struct facts *facts, const struct drop *drop,
			struct finding *finding)
{
	char chain[DROP_CHAIN_SIZE];
	char reason[DROP_CHAIN_SIZE];
	char part[WHERE_SIZE];

	(void)drop_format_chain(drop, chain);
	(void)drop_format_reason(drop, reason);
	(void)format_part(facts, drop, part);
	if (!drop->sure) {
		finding_say(finding, FINDING_UNKNOWN,
			    "whether %s lets leased traffic pass (%s%s) depends on "
			    "what is not understood here: %s",
			    chain, drop_get_families(drop->families), part, reason);
		advice_add_forward(facts, drop, finding);
		return;
	}
	if (will_integrate(facts, drop)) {
		finding_say(finding, FINDING_OK,
			    "%s drops leased traffic (%s%s); portreeved puts its rule "
			    "there when it runs (integrate in [backend])",
			    chain, drop_get_families(drop->families), part);
		return;
	}
	finding_say(finding, FINDING_PROBLEM, "%s drops leased traffic (%s%s): %s",
		    chain, drop_get_families(drop->families), part, reason);
	advice_add_forward(facts, drop, finding);
}

static void say_early(const struct facts *facts, const struct drop *drop,
		      struct finding *finding)
{
	char chain[DROP_CHAIN_SIZE];
	char reason[DROP_CHAIN_SIZE];
	char part[WHERE_SIZE];

	finding_say(
		finding, drop->sure ? FINDING_PROBLEM : FINDING_UNKNOWN,
		"%s (priority %d) %s leased traffic (%s%s) before portreeve has "
		"marked it: %s%s",
		drop_format_chain(drop, chain), (int)drop->verdict.priority,
		drop->sure ? "drops" : "may drop", drop_get_families(drop->families),
		format_part(facts, drop, part), drop_format_reason(drop, reason),
		drop->families == DROP_IPV4 || drop->verdict.hook != PACKET_HOOK_FORWARD
			? ""
			: ". For IPv6 no rule there can tell leases from others");
	advice_add_early(facts, drop, finding);
}

/* Where the mark comes too late for the packets that it keeps out. */
static bool drop_is_early(const struct drop *drop)
{
	bool new = (drop->what & (WHAT_UDP | WHAT_TCP)) != 0;

	if (drop->legacy)
		return false;
	switch (drop->verdict.hook) {
	case PACKET_HOOK_INGRESS:
		return true;
	case PACKET_HOOK_PREROUTING:
		return new || drop->verdict.priority <= NF_IP_PRI_CONNTRACK;
	case PACKET_HOOK_FORWARD:
		return new && drop->verdict.priority < RULESET_MARK_PRIORITY;
	case PACKET_HOOK_INPUT:
	case PACKET_HOOK_POSTROUTING:
		break;
	}
	return false;
}

/* What is left to say: the families that no chain keeps out. */
static void say_rest(const struct drops *drops, unsigned int asked,
		     struct findings *findings)
{
	unsigned int told = 0;
	bool early = false;

	for (size_t i = 0; i < drops->count; i++) {
		if (drop_is_early(&drops->list[i]))
			early = true;
		else
			told |= drops->list[i].families;
	}
	for (unsigned int family = DROP_IPV4; family <= DROP_IPV6; family <<= 1)
		if ((asked & ~told & family) != 0)
			finding_say(findings_add(findings, "forward-dropped",
						 drop_get_families(family)),
				    FINDING_OK,
				    "no chain of the firewall drops leased traffic");
	if (!early)
		finding_say(findings_add(findings, "forward-early", ""), FINDING_OK,
			    "no chain drops it before it has its mark");
}

void check_forward(const struct facts *facts, struct findings *findings)
{
	struct drops drops = {.count = 0};
	unsigned int asked = 0;

	if (!firewall_can_ask(facts, "forward-dropped", findings)) {
		finding_say(findings_add(findings, "forward-early", ""),
			    FINDING_UNKNOWN, "the same holds for the order of chains");
		return;
	}
	firewall_say_legacy(facts, "forward-dropped", findings);
	for (uint32_t i = 0; i < facts->network.lan_count; i++) {
		for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
			if (!family_is_asked(facts, &facts->network.lans[i], ipv6))
				continue;
			asked |= ipv6 ? DROP_IPV6 : DROP_IPV4;
			ask_lan(facts, i, ipv6, &drops);
		}
	}
	for (size_t i = 0; i < drops.count; i++) {
		const struct drop *drop = &drops.list[i];

		if (drop_is_early(drop))
			say_early(facts, drop,
				  findings_add(findings, "forward-early",
					       drop_get_families(drop->families)));
		else
			say_dropped(facts, drop,
				    findings_add(findings, "forward-dropped",
						 drop_get_families(drop->families)));
	}
	say_rest(&drops, asked, findings);
}
