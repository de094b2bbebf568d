/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

#include <errno.h>
#include <string.h>

static bool network_is_known(const struct facts *facts)
{
	return facts->network_error == 0;
}

static void check_route(const struct facts *facts, struct findings *findings)
{
	const struct link *link =
		links_find_index(&facts->links, facts->links.default_ifindex);
	struct finding *finding = findings_add(findings, "no-default-route", "");

	if (facts->links_error != 0) {
		finding_say(finding, FINDING_UNKNOWN, "%s", facts->network_text);
		return;
	}
	if (!link) {
		finding_say(finding, FINDING_PROBLEM,
			    "there is no IPv4 default route, so no way to the "
			    "internet: is the line up, has DHCP or PPP come "
			    "through?%s",
			    facts->conf.wan.interface[0] == '\0'
				    ? " Nor is it known which interface is the WAN"
				    : "");
		return;
	}
	if (network_is_known(facts) && link->ifindex != facts->network.wan.ifindex &&
	    facts->network.wan.present) {
		finding_say(finding, FINDING_UNKNOWN,
			    "the IPv4 default route leaves by %s, not by the WAN %s: "
			    "unless policy routing brings it back there, what hosts "
			    "answer takes another way than it came",
			    link->name, facts->network.wan.name);
		return;
	}
	finding_say(finding, FINDING_OK, "the IPv4 default route leaves by %s",
		    link->name);
}

/* The first public IPv4 address of a LAN; NULL = none. */
static const struct ip_addr *lan_find_public(const struct lan_info *lan)
{
	for (size_t i = 0; i < lan->address_count; i++) {
		const struct ip_addr *addr = &lan->addresses[i].addr;

		if (addr_is_ipv4(addr) && addr_is_host(addr) &&
		    !addr_is_private(addr) && !addr_is_link_local(addr))
			return addr;
	}
	return NULL;
}

static void say_swapped(struct finding *finding, const struct facts *facts,
			const char *lan, const char *why)
{
	const char *wan = facts->network.wan.name;

	finding_say(finding, FINDING_PROBLEM,
		    "LAN and WAN look swapped: %s is a LAN here, but %s, and the WAN "
		    "is %s. Hosts of the internet could ask for ports",
		    lan, why, wan[0] != '\0' ? wan : "not known");
	if (wan[0] == '\0') {
		finding_keep(finding,
			     "set interface = %s in [wan] of %s, and take "
			     "[lan %s] out",
			     lan, facts->conf_file, lan);
		return;
	}
	finding_keep(finding,
		     "set interface = %s in [wan] of %s, and [lan %s] in place "
		     "of [lan %s]",
		     lan, facts->conf_file, wan, lan);
}

static void check_swapped(const struct facts *facts, struct findings *findings)
{
	const struct network *network = &facts->network;
	struct finding *finding = findings_add(findings, "lan-wan-swapped", "");

	if (facts->network_error == -EINVAL) {
		finding_say(finding, FINDING_PROBLEM, "%s", facts->network_text);
		return;
	}
	if (!network_is_known(facts)) {
		finding_say(finding, FINDING_UNKNOWN,
			    "it is not known which interface is which");
		return;
	}
	if (network->wan.name[0] == '\0' && network->wan.route != WAN_ROUTE_LAN) {
		finding_say(finding, FINDING_UNKNOWN,
			    "it is not known yet which interface is the WAN");
		return;
	}
	for (size_t i = 0; i < network->lan_count; i++) {
		const struct lan_info *lan = &network->lans[i];

		if (lan->ifindex != 0 && lan->ifindex == facts->links.default_ifindex) {
			say_swapped(finding, facts, lan->name,
				    "the default route leaves by it");
			return;
		}
		if (lan_find_public(lan) && addr_is_private(&network->wan.address)) {
			say_swapped(finding, facts, lan->name,
				    "it has a public address, and the WAN a private "
				    "one");
			return;
		}
	}
	finding_say(finding, FINDING_OK, "the WAN is %s", network->wan.name);
}

static void check_wan(const struct facts *facts, struct findings *findings)
{
	const struct wan_choice *wan = &facts->network.wan;
	struct finding *finding = findings_add(findings, "wan-missing", wan->name);
	char text[ADDR_TEXT_SIZE];

	if (!network_is_known(facts)) {
		finding_say(finding, FINDING_UNKNOWN,
			    "it is not known which interface is the WAN");
	} else if (wan->name[0] == '\0') {
		finding_say(finding, FINDING_PROBLEM,
			    "the interface of the default route is the WAN, and there "
			    "is none yet; portreeved waits for it, or set interface = "
			    "in [wan] of %s",
			    facts->conf_file);
	} else if (!wan->present) {
		finding_say(finding, FINDING_PROBLEM,
			    "there is no interface %s now; portreeved waits for it",
			    wan->name);
	} else if (!wan->up) {
		finding_say(finding, FINDING_PROBLEM, "the WAN %s is down", wan->name);
		if (name_is_plain(wan->name))
			finding_fix(finding, "ip link set %s up", wan->name);
	} else if (!wan->carrier) {
		finding_say(finding, FINDING_PROBLEM,
			    "the WAN %s has no carrier: is the cable in, the modem on?",
			    wan->name);
	} else if (addr_is_none(&wan->address)) {
		finding_say(finding, FINDING_PROBLEM,
			    "the WAN %s has no IPv4 address: has DHCP or PPP come "
			    "through?",
			    wan->name);
	} else {
		finding_say(finding, FINDING_OK, "the WAN %s has %s", wan->name,
			    addr_format(&wan->address, text));
	}
}

/* What clients are told, by the daemon where it runs. */
static struct ip_addr get_external(const struct facts *facts)
{
	return addr_is_none(&facts->daemon.external) ? facts->network.wan.external
						     : facts->daemon.external;
}

/* A private address of the interface, and a public one that clients are told. */
static void say_behind(struct finding *finding, const struct facts *facts)
{
	struct ip_addr external = get_external(facts);
	char text[2][ADDR_TEXT_SIZE];

	if (!addr_is_none(&facts->conf.wan.address)) {
		finding_say(finding, FINDING_OK,
			    "the WAN has %s, behind the 1:1 NAT that the configuration "
			    "tells of: %s",
			    addr_format(&facts->network.wan.address, text[0]),
			    addr_format(&external, text[1]));
		return;
	}
	finding_say(finding, FINDING_UNKNOWN,
		    "the WAN has %s behind another NAT, whose address is %s: whether "
		    "it lets packets in to this gateway cannot be seen from here; let "
		    "it forward all ports here",
		    addr_format(&facts->network.wan.address, text[0]),
		    addr_format(&external, text[1]));
}

static void check_address(const struct facts *facts, struct findings *findings,
			  bool shared)
{
	struct ip_addr own = facts->network.wan.address;
	struct ip_addr external = get_external(facts);
	struct finding *finding =
		findings_add(findings, shared ? "wan-cgnat" : "wan-private",
			     facts->network.wan.name);
	char text[ADDR_TEXT_SIZE];

	if (!network_is_known(facts) || addr_is_none(&own)) {
		finding_say(finding, FINDING_UNKNOWN,
			    "the address of the WAN is not known");
		return;
	}
	if (!addr_is_private(&own) || addr_is_shared(&own) != shared) {
		finding_say(finding, FINDING_OK, "%s is no %s address",
			    addr_format(&own, text), shared ? "shared" : "private");
		return;
	}
	if (!addr_is_private(&external)) {
		say_behind(finding, facts);
		return;
	}
	if (shared)
		finding_say(finding, FINDING_PROBLEM,
			    "%s is shared by the customers of your provider "
			    "(100.64.0.0/10, CGNAT): the internet does not reach it. "
			    "Ask the provider for a public address, or use IPv6",
			    addr_format(&own, text));
	else
		finding_say(finding, FINDING_PROBLEM,
			    "%s is a private address: another NAT stands in front, and "
			    "the internet does not reach this gateway. Make the box in "
			    "front a bridge or modem only, or let it forward all ports "
			    "here (exposed host, DMZ) and set address = in [wan]",
			    addr_format(&own, text));
}

static void check_lans(const struct facts *facts, struct findings *findings)
{
	size_t missing = 0;

	for (size_t i = 0; i < facts->network.lan_count; i++) {
		const struct lan_info *lan = &facts->network.lans[i];

		if (lan->ifindex != 0)
			continue;
		finding_say(findings_add(findings, "lan-missing", lan->name),
			    FINDING_PROBLEM,
			    "there is no interface %s now; portreeved waits for it",
			    lan->name);
		missing++;
	}
	if (facts->network_error == -ENODEV && facts->links.default_ifindex != 0)
		finding_say(findings_add(findings, "lan-missing", ""), FINDING_PROBLEM,
			    "%s", facts->network_text);
	else if (!network_is_known(facts))
		finding_say(findings_add(findings, "lan-missing", ""), FINDING_UNKNOWN,
			    "%s", facts->network_text);
	else if (facts->network.lan_count == 0)
		finding_say(findings_add(findings, "lan-missing", ""), FINDING_PROBLEM,
			    "no LAN is served: no interface but the WAN is up with a "
			    "private address; add a section [lan NAME] to %s",
			    facts->conf_file);
	else if (missing == 0)
		finding_say(findings_add(findings, "lan-missing", ""), FINDING_OK,
			    "all LANs are there: %zu", facts->network.lan_count);
}

void check_network(const struct facts *facts, struct findings *findings)
{
	check_route(facts, findings);
	check_wan(facts, findings);
	check_address(facts, findings, false);
	check_address(facts, findings, true);
	check_swapped(facts, findings);
	check_lans(facts, findings);
}
