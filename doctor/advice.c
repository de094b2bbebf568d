/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/advice.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COMMAND_SIZE 256

static bool has_chain(const struct facts_firewall *firewall, const struct drop *drop,
		      const char *chain)
{
	struct ruleset_chain_view view;

	return firewall->ruleset && !drop->legacy &&
	       ruleset_find_chain(firewall->ruleset, drop->verdict.family,
				  drop->verdict.table, chain, &view);
}

bool drop_is_owned(const struct facts_firewall *firewall, const struct drop *drop)
{
	struct ruleset_chain_view view;

	return firewall->ruleset && !drop->legacy &&
	       ruleset_find_chain(firewall->ruleset, drop->verdict.family,
				  drop->verdict.table, drop->verdict.base_chain,
				  &view) &&
	       view.is_owned;
}

enum advice_kind advice_get_kind(const struct facts_firewall *firewall,
				 const struct drop *drop)
{
	const struct packet_verdict *verdict = &drop->verdict;

	/* What tools look after is where packets come in and are forwarded. */
	if (verdict->hook != PACKET_HOOK_INPUT && verdict->hook != PACKET_HOOK_FORWARD)
		return verdict->is_xtables ? ADVICE_IPTABLES : ADVICE_NFT;
	if (strcmp(verdict->table, "fw4") == 0)
		return ADVICE_FW4;
	if (strcmp(verdict->table, "firewalld") == 0 ||
	    has_chain(firewall, drop, "FORWARD_direct") ||
	    has_chain(firewall, drop, "FWD_POLICIES") ||
	    has_chain(firewall, drop, "FORWARD_POLICIES_pre"))
		return ADVICE_FIREWALLD;
	if (!verdict->is_xtables)
		return ADVICE_NFT;
	if (strcmp(verdict->base_chain, "FORWARD") == 0 && drop->docker_passes)
		return ADVICE_DOCKER;
	if (has_chain(firewall, drop, "ufw-before-forward") ||
	    has_chain(firewall, drop, "ufw6-before-forward"))
		return ADVICE_UFW;
	return ADVICE_IPTABLES;
}

/* "iptables", "ip6tables-legacy -t mangle", ... Returns text. */
static const char *format_iptables(const struct drop *drop, char text[COMMAND_SIZE])
{
	const struct packet_verdict *verdict = &drop->verdict;
	bool ipv6 = strcmp(verdict->family, "ip6") == 0;

	(void)snprintf(text, COMMAND_SIZE, "%s%s%s%s", ipv6 ? "ip6tables" : "iptables",
		       drop->legacy ? "-legacy" : "",
		       strcmp(verdict->table, "filter") == 0 ? "" : " -t ",
		       strcmp(verdict->table, "filter") == 0 ? "" : verdict->table);
	return text;
}

/* "nft insert rule inet filter forward". Returns text. */
static const char *format_nft(const struct drop *drop, char text[COMMAND_SIZE])
{
	(void)snprintf(text, COMMAND_SIZE, "nft insert rule %s %s %s",
		       drop->verdict.family, drop->verdict.table,
		       drop->verdict.base_chain);
	return text;
}

static bool drop_is_plain(const struct drop *drop)
{
	return name_is_plain(drop->verdict.table) &&
	       name_is_plain(drop->verdict.base_chain);
}

/* Whoever made that table has to do it; integrate cannot help. */
static void keep_owned(const struct facts *facts, const struct drop *drop,
		       struct finding *finding)
{
	uint32_t mark = facts->conf.backend.mark;

	if (advice_get_kind(&facts->firewall, drop) == ADVICE_FIREWALLD)
		finding_keep(finding,
			     "NftablesTableOwner=no in /etc/firewalld/firewalld.conf, "
			     "and restart firewalld: until then nobody else may put a "
			     "rule there. Then integrate = auto in [backend] of %s",
			     facts->conf_file);
	else
		finding_keep(
			finding,
			"have the program that owns this table (flags owner) put "
			"ct mark and %#x == %#x accept first in that chain: nobody "
			"else may, and integrate cannot help",
			mark, mark);
}

bool drop_is_in_reach(const struct facts *facts, const struct drop *drop)
{
	return !drop->legacy || facts_use_iptables(facts);
}

/* How the rule stays where it was put. */
static void keep_forward(const struct facts *facts, const struct drop *drop,
			 struct finding *finding)
{
	uint32_t mark = facts->conf.backend.mark;
	bool ipv6 = strcmp(drop->verdict.family, "ip6") == 0;

	switch (advice_get_kind(&facts->firewall, drop)) {
	case ADVICE_NFT:
		finding_keep(finding,
			     "the same rule in /etc/nftables.conf, or integrate = auto "
			     "in [backend] of %s",
			     facts->conf_file);
		break;
	case ADVICE_IPTABLES:
		finding_keep(finding,
			     "the same rule where yours are kept (iptables-save)%s%s",
			     drop_is_in_reach(facts, drop)
				     ? ", or integrate = auto in [backend] of "
				     : "",
			     drop_is_in_reach(facts, drop) ? facts->conf_file : "");
		break;
	case ADVICE_UFW:
		finding_keep(finding,
			     "-A %s-before-forward -m connmark --mark %#x/%#x -j "
			     "ACCEPT before COMMIT in /etc/ufw/before%s.rules, or "
			     "integrate = auto in [backend] of %s",
			     ipv6 ? "ufw6" : "ufw", mark, mark, ipv6 ? "6" : "",
			     facts->conf_file);
		break;
	case ADVICE_FIREWALLD:
		finding_keep(finding,
			     "integrate = auto in [backend] of %s: firewalld takes the "
			     "rule away when it reloads, portreeved puts it back",
			     facts->conf_file);
		break;
	case ADVICE_DOCKER:
		finding_keep(finding,
			     "run that at each start: Docker leaves DOCKER-USER alone; "
			     "or integrate = auto in [backend] of %s",
			     facts->conf_file);
		break;
	case ADVICE_FW4:
		finding_keep(finding,
			     "ct mark and %#x == %#x accept in "
			     "/usr/share/nftables.d/chain-pre/forward/portreeve.nft, "
			     "or integrate = auto in [backend] of %s",
			     mark, mark, facts->conf_file);
		break;
	}
}

void advice_add_forward(const struct facts *facts, const struct drop *drop,
			struct finding *finding)
{
	enum advice_kind kind = advice_get_kind(&facts->firewall, drop);
	uint32_t mark = facts->conf.backend.mark;
	char command[COMMAND_SIZE];

	if (drop_is_owned(&facts->firewall, drop)) {
		keep_owned(facts, drop, finding);
		return;
	}
	if (!drop_is_plain(drop))
		return;
	if (drop->verdict.is_xtables)
		finding_fix(finding, "%s -I %s -m connmark --mark %#x/%#x -j ACCEPT",
			    format_iptables(drop, command),
			    kind == ADVICE_DOCKER ? DROP_DOCKER_CHAIN
						  : drop->verdict.base_chain,
			    mark, mark);
	else
		finding_fix(finding, "%s ct mark and %#x == %#x accept",
			    format_nft(drop, command), mark, mark);
	if (drop->verdict.hook == PACKET_HOOK_FORWARD)
		keep_forward(facts, drop, finding);
	else
		finding_keep(finding, "the same rule where yours are kept: integrate "
				      "is for chains at the forward hook");
}

void advice_add_early(const struct facts *facts, const struct drop *drop,
		      struct finding *finding)
{
	char command[COMMAND_SIZE];
	bool is_owned = drop_is_owned(&facts->firewall, drop);
	bool forward = drop->verdict.hook == PACKET_HOOK_FORWARD;

	if (forward)
		finding_keep(finding,
			     "give that chain a priority of %d or above: then the "
			     "mark of leases is set before it is asked",
			     RULESET_MARK_PRIORITY + 1);
	else
		finding_keep(finding, "have that chain let new traffic to the ports of "
				      "leases (portreeve list) pass, or drop at the "
				      "forward hook, where leases are known");
	if (!drop_is_plain(drop) || (drop->families & DROP_IPV4) == 0 ||
	    (!forward && drop->verdict.priority <= RULESET_NAT_PRIORITY) ||
	    drop->verdict.hook == PACKET_HOOK_INGRESS || is_owned)
		return;
	if (drop->verdict.is_xtables)
		finding_fix(finding, "%s -I %s -m conntrack --ctstate DNAT -j ACCEPT",
			    format_iptables(drop, command), drop->verdict.base_chain);
	else
		finding_fix(finding, "%s ct status dnat accept",
			    format_nft(drop, command));
}

/* Append to a text what a list has next. */
static void list_add(char text[COMMAND_SIZE], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void list_add(char text[COMMAND_SIZE], const char *format, ...)
{
	size_t used = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text + used, COMMAND_SIZE - used, format, arguments);
	va_end(arguments);
}

/* "1900,5351". */
static void list_udp(const struct advice_ports *ports, char text[COMMAND_SIZE])
{
	text[0] = '\0';
	for (size_t i = 0; i < 2; i++)
		if (ports->udp[i] != 0)
			list_add(text, "%s%u", text[0] == '\0' ? "" : ",",
				 ports->udp[i]);
}

static void fix_nft(const struct drop *drop, const struct advice_ports *ports,
		    struct finding *finding)
{
	char elements[COMMAND_SIZE] = "";

	for (size_t i = 0; i < 2; i++)
		if (ports->udp[i] != 0)
			list_add(elements, "%s udp . %u",
				 elements[0] == '\0' ? "" : ",", ports->udp[i]);
	if (ports->tcp != 0)
		list_add(elements, "%s tcp . %u", elements[0] == '\0' ? "" : ",",
			 ports->tcp);
	/* In one pair of quotes: braces mean something to a shell, and nft wants names
	 * of interfaces that begin with a digit quoted. */
	finding_fix(finding,
		    "nft 'insert rule %s %s %s iifname \"%s\" meta l4proto . th dport "
		    "{%s } accept'",
		    drop->verdict.family, drop->verdict.table, drop->verdict.base_chain,
		    ports->interface, elements);
}

static void fix_iptables(const struct drop *drop, const struct advice_ports *ports,
			 struct finding *finding)
{
	char command[COMMAND_SIZE];
	char udp[COMMAND_SIZE];
	char all[COMMAND_SIZE] = "";

	list_udp(ports, udp);
	(void)format_iptables(drop, command);
	if (udp[0] != '\0')
		list_add(all,
			 "%s -I %s -i %s -p udp -m multiport --dports %s -j ACCEPT",
			 command, drop->verdict.base_chain, ports->interface, udp);
	if (ports->tcp != 0)
		list_add(all, "%s%s -I %s -i %s -p tcp --dport %u -j ACCEPT",
			 all[0] == '\0' ? "" : "; ", command, drop->verdict.base_chain,
			 ports->interface, ports->tcp);
	finding_fix(finding, "%s", all);
}

static void fix_ufw(const struct advice_ports *ports, struct finding *finding)
{
	char udp[COMMAND_SIZE];
	char all[COMMAND_SIZE] = "";

	list_udp(ports, udp);
	if (udp[0] != '\0')
		list_add(all, "ufw allow in on %s to any port %s proto udp",
			 ports->interface, udp);
	if (ports->tcp != 0)
		list_add(all, "%sufw allow in on %s to any port %u proto tcp",
			 all[0] == '\0' ? "" : "; ", ports->interface, ports->tcp);
	finding_fix(finding, "%s", all);
}

static void fix_firewalld(const struct advice_ports *ports, struct finding *finding)
{
	char all[COMMAND_SIZE] = "";

	for (size_t i = 0; i < 2; i++)
		if (ports->udp[i] != 0)
			list_add(all, " --add-port=%u/udp", ports->udp[i]);
	if (ports->tcp != 0)
		list_add(all, " --add-port=%u/tcp", ports->tcp);
	finding_fix(finding,
		    "firewall-cmd --zone=$(firewall-cmd --get-zone-of-interface=%s || "
		    "firewall-cmd --get-default-zone)%s",
		    ports->interface, all);
	finding_keep(finding, "firewall-cmd --runtime-to-permanent");
}

void advice_add_input(const struct facts *facts, const struct drop *drop,
		      const struct advice_ports *ports, struct finding *finding)
{
	if (!drop_is_plain(drop) || !name_is_plain(ports->interface))
		return;
	if (drop_is_owned(&facts->firewall, drop) &&
	    advice_get_kind(&facts->firewall, drop) != ADVICE_FIREWALLD) {
		finding_keep(finding, "have the program that owns this table (flags "
				      "owner) accept them: nobody else may");
		return;
	}
	switch (advice_get_kind(&facts->firewall, drop)) {
	case ADVICE_NFT:
		fix_nft(drop, ports, finding);
		finding_keep(finding, "the same rule in /etc/nftables.conf");
		break;
	case ADVICE_FW4:
		fix_nft(drop, ports, finding);
		finding_keep(finding,
			     "option input ACCEPT in the zone of %s in "
			     "/etc/config/firewall, or a rule there for these ports",
			     ports->interface);
		break;
	case ADVICE_IPTABLES:
	case ADVICE_DOCKER:
		fix_iptables(drop, ports, finding);
		finding_keep(finding,
			     "the same rules where yours are kept (iptables-save)");
		break;
	case ADVICE_UFW:
		fix_ufw(ports, finding);
		break;
	case ADVICE_FIREWALLD:
		fix_firewalld(ports, finding);
		break;
	}
}
