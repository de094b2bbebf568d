/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "doctor/advice.h"
#include "doctor/firewall.h"
#include "doctor/packets.h"

#define SSDP_PORT 1900
#define PCP_PORT 5351
#define PORTS_SIZE 160

/* Bits of struct drop.what. */
#define WHAT_SEARCH 0x1u
#define WHAT_UNICAST 0x2u /* a search to this host alone */
#define WHAT_HTTP 0x4u
#define WHAT_PCP 0x8u

/** A port that hosts of a LAN must reach. */
struct input_row {
	unsigned int what;
	unsigned int protocols; /* that need it, CONF_PROTOCOL_... */
	uint8_t protocol;
	bool multicast;
	uint16_t port; /* 0 = the HTTP port */
	const char *use;
};

static const struct input_row input_rows[] = {
	{WHAT_SEARCH, CONF_PROTOCOL_UPNP, IPPROTO_UDP, true, SSDP_PORT, " (search)"},
	{WHAT_UNICAST, CONF_PROTOCOL_UPNP, IPPROTO_UDP, false, SSDP_PORT,
	 " (search of one host)"},
	{WHAT_PCP, CONF_PROTOCOL_NATPMP | CONF_PROTOCOL_PCP, IPPROTO_UDP, false,
	 PCP_PORT, " (NAT-PMP, PCP)"},
	{WHAT_HTTP, CONF_PROTOCOL_UPNP, IPPROTO_TCP, false, 0, " (UPnP)"},
};
#define INPUT_ROW_COUNT (sizeof(input_rows) / sizeof(input_rows[0]))

static uint16_t row_get_port(const struct facts *facts, const struct input_row *row)
{
	return row->port != 0 ? row->port : facts->conf.global.http_port;
}

static void ask_row(const struct facts *facts, uint32_t index,
		    const struct input_row *row, struct drops *drops)
{
	static const char *const groups[] = {"239.255.255.250", "ff02::c"};
	const struct lan_info *lan = &facts->network.lans[index];
	const struct drops_case which = {.lan = index, .what = row->what};

	for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
		struct packet packet = packets_make_request(lan, row->protocol, ipv6);
		struct ip_addr group;

		if (addr_is_none(&packet.destination))
			continue;
		packet.destination_port = row_get_port(facts, row);
		if (row->multicast && addr_parse(groups[ipv6], &group)) {
			packet.multicast = true;
			packet.destination = group;
		}
		drops_ask(drops, &facts->firewall, &packet, &which);
	}
}

/* "UDP 1900 (search), TCP 49152 (UPnP)", and the ports of a command. */
static const char *format_ports(const struct facts *facts, unsigned int what,
				struct advice_ports *ports, char text[PORTS_SIZE])
{
	size_t used = 0;

	text[0] = '\0';
	/* Both are one port, and there is no need to tell them apart. */
	if ((what & WHAT_SEARCH) != 0)
		what &= ~WHAT_UNICAST;
	for (size_t i = 0; i < INPUT_ROW_COUNT; i++) {
		const struct input_row *row = &input_rows[i];
		uint16_t port = row_get_port(facts, row);

		if ((what & row->what) == 0)
			continue;
		used += (size_t)snprintf(text + used, PORTS_SIZE - used, "%s%s %u%s",
					 used > 0 ? ", " : "",
					 row->protocol == IPPROTO_TCP ? "TCP" : "UDP",
					 port, row->use);
		if (row->protocol == IPPROTO_TCP)
			ports->tcp = port;
		else
			ports->udp[row->port == PCP_PORT] = port;
	}
	return text;
}

static void say_blocked(const struct facts *facts, const struct lan_info *lan,
			const struct drop *drop, struct findings *findings)
{
	struct finding *finding = findings_add(findings, "input-blocked", lan->name);
	struct advice_ports ports = {.interface = lan->name};
	char chain[DROP_CHAIN_SIZE];
	char reason[DROP_CHAIN_SIZE];
	char names[PORTS_SIZE];

	(void)drop_format_chain(drop, chain);
	(void)drop_format_reason(drop, reason);
	(void)format_ports(facts, drop->what, &ports, names);
	if (drop->sure)
		finding_say(finding, FINDING_PROBLEM,
			    "%s keeps hosts on %s from asking (%s): %s: %s", chain,
			    lan->name, drop_get_families(drop->families), names,
			    reason);
	else
		finding_say(finding, FINDING_UNKNOWN,
			    "whether %s lets hosts on %s ask (%s) depends on what is "
			    "not understood here: %s: %s",
			    chain, lan->name, drop_get_families(drop->families), names,
			    reason);
	advice_add_input(facts, drop, &ports, finding);
}

void check_input(const struct facts *facts, struct findings *findings)
{
	if (!firewall_can_ask(facts, "input-blocked", findings))
		return;
	firewall_say_legacy(facts, "input-blocked", findings);
	for (uint32_t i = 0; i < facts->network.lan_count; i++) {
		const struct lan_info *lan = &facts->network.lans[i];
		struct drops drops = {.count = 0};

		if (lan->ifindex == 0)
			continue;
		for (size_t row = 0; row < INPUT_ROW_COUNT; row++)
			if ((input_rows[row].protocols & lan->protocols) != 0)
				ask_row(facts, i, &input_rows[row], &drops);
		for (size_t drop = 0; drop < drops.count; drop++)
			say_blocked(facts, lan, &drops.list[drop], findings);
		if (drops.count == 0)
			finding_say(findings_add(findings, "input-blocked", lan->name),
				    FINDING_OK, "the firewall lets hosts on %s ask",
				    lan->name);
	}
}
