/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the log says of the network, and what of it is missing. */
#include <stdio.h>
#include <string.h>

#include "daemon/core_private.h"

/* RFC 7723 §4. */
#define ANYCAST_IPV4 "192.0.0.9"
#define ANYCAST_IPV6 "2001:1::1"

/* A line, and its level. */
struct line {
	enum log_level level;
	char text[64 + (LAN_ADDRESSES_MAX + 1) * PREFIX_TEXT_SIZE];
};

static const char *wan_get_note(const struct wan_choice *wan)
{
	if (wan->route == WAN_ROUTE_NONE)
		return " (there is no IPv4 default route)";
	if (wan->route == WAN_ROUTE_LAN)
		return " (the default route goes out by a LAN)";
	if (addr_is_shared(&wan->external))
		return " (shared by the provider: the internet may not reach it)";
	return wan->private_address ? " (private: the internet may not reach it)" : "";
}

/* Where there is no address to tell. */
static void line_format_no_wan(const struct wan_choice *wan, struct line *out)
{
	const size_t size = sizeof(out->text);

	if (wan->name[0] == '\0' && wan->route == WAN_ROUTE_LAN)
		(void)snprintf(out->text, size,
			       "the default route goes out by a LAN; waiting for "
			       "another one to tell which interface is the WAN");
	else if (wan->name[0] == '\0')
		(void)snprintf(out->text, size,
			       "there is no default route yet; waiting for one to "
			       "tell which interface is the WAN");
	else if (!wan->present)
		(void)snprintf(out->text, size,
			       "the WAN interface %s does not exist; waiting for it",
			       wan->name);
	else
		(void)snprintf(out->text, size,
			       "the WAN interface %s has no IPv4 address; waiting for "
			       "one",
			       wan->name);
}

static void line_format_wan(const struct wan_choice *wan, struct line *out)
{
	const bool down = !wan->up || !wan->carrier;
	char text[ADDR_TEXT_SIZE];

	out->level = LOG_LEVEL_WARNING;
	if (addr_is_none(&wan->external)) {
		line_format_no_wan(wan, out);
		return;
	}
	if (!down && wan->route == WAN_ROUTE_THERE)
		out->level = LOG_LEVEL_NOTICE;
	(void)snprintf(out->text, sizeof(out->text),
		       "wan interface=%s external=%s source=%s%s%s", wan->name,
		       addr_format(&wan->external, text),
		       wan_source_get_name(wan->source), down ? " link=down" : "",
		       wan_get_note(wan));
}

static const char *lan_format_ipv4(const struct lan_info *lan,
				   char text[PREFIX_TEXT_SIZE])
{
	for (uint32_t i = 0; i < lan->address_count; i++)
		if (addr_is_ipv4(&lan->addresses[i].addr))
			return prefix_format(&lan->addresses[i], text);
	return "none";
}

/*
 * IPv6 by its networks: that a temporary address comes and another goes, every day or
 * every minute, changes nothing that anybody needs to know.
 */
static void line_add_ipv6(const struct lan_info *lan, struct line *out)
{
	char text[PREFIX_TEXT_SIZE];
	const char *glue = " ipv6=";

	for (uint32_t i = 0; i < lan->network_count; i++) {
		const struct prefix *network = &lan->networks[i];
		size_t used = strlen(out->text);
		uint32_t same = 0;

		while (same < i &&
		       memcmp(&lan->networks[same], network, sizeof(*network)) != 0)
			same++;
		if (same < i || addr_is_ipv4(&network->addr) ||
		    addr_is_link_local(&network->addr))
			continue;
		(void)snprintf(out->text + used, sizeof(out->text) - used, "%s%s", glue,
			       prefix_format(network, text));
		glue = ",";
	}
}

static void line_format_lan(const struct lan_info *lan, struct line *out)
{
	char text[PREFIX_TEXT_SIZE];

	out->level = LOG_LEVEL_WARNING;
	if (lan->protocols == 0) {
		out->level = LOG_LEVEL_NOTICE;
		(void)snprintf(out->text, sizeof(out->text),
			       "the interface %s is no LAN any more", lan->name);
		return;
	}
	if (lan->ifindex == 0) {
		(void)snprintf(out->text, sizeof(out->text),
			       "the LAN interface %s does not exist; waiting for it",
			       lan->name);
		return;
	}
	out->level = LOG_LEVEL_NOTICE;
	(void)snprintf(out->text, sizeof(out->text), "lan interface=%s address=%s",
		       lan->name, lan_format_ipv4(lan, text));
	line_add_ipv6(lan, out);
}

/* Say it, unless it was said. */
static void line_log(const struct line *before, const struct line *now)
{
	if (!before || strcmp(before->text, now->text) != 0)
		log_write(now->level, "%s", now->text);
}

void core_log_network(const struct network *before, const struct network *now)
{
	struct line was, is;

	line_format_wan(&now->wan, &is);
	if (before)
		line_format_wan(&before->wan, &was);
	line_log(before ? &was : NULL, &is);
	for (size_t i = 0; i < now->lan_count; i++) {
		bool known = before && i < before->lan_count;

		line_format_lan(&now->lans[i], &is);
		if (known)
			line_format_lan(&before->lans[i], &was);
		line_log(known ? &was : NULL, &is);
	}
	if (now->lans_full && !(before && before->lans_full))
		log_warning("there are more interfaces that look like LANs than the %d "
			    "that can be served; add sections [lan NAME]",
			    LANS_MAX);
}

/* --- anycast addresses of PCP --- */

static bool links_have_address(const struct links *links, const struct ip_addr *addr)
{
	for (size_t i = 0; i < links->count; i++)
		for (size_t a = 0; a < links->list[i].address_count; a++)
			if (addr_equal(&links->list[i].addresses[a].addr, addr))
				return true;
	return false;
}

static bool lan_speaks_ipv6(const struct lan_info *lan)
{
	for (uint32_t i = 0; i < lan->address_count; i++)
		if (!addr_is_ipv4(&lan->addresses[i].addr) &&
		    !addr_is_link_local(&lan->addresses[i].addr))
			return true;
	return false;
}

/* Packets to an anycast address are the gateway's only when it has the address
 * (PCP-119). */
static bool core_misses(const struct core *core, const char *text, bool ipv6)
{
	bool wanted = false;
	struct ip_addr addr;

	for (size_t i = 0; i < core->network.lan_count; i++) {
		const struct lan_info *lan = &core->network.lans[i];

		if (lan->anycast && (!ipv6 || lan_speaks_ipv6(lan)))
			wanted = true;
	}
	return wanted && addr_parse(text, &addr) &&
	       !links_have_address(core->links, &addr);
}

static void anycast_warn(const char *text, int length)
{
	log_warning("pcp-anycast is on, but no interface has %s, so that no request "
		    "comes in there; do: ip address add %s/%d dev lo",
		    text, text, length);
}

bool core_misses_anycast(const struct core *core)
{
	return core_misses(core, ANYCAST_IPV4, false) ||
	       core_misses(core, ANYCAST_IPV6, true);
}

void core_log_anycast(const struct core *core)
{
	if (core_misses(core, ANYCAST_IPV4, false))
		anycast_warn(ANYCAST_IPV4, 32);
	if (core_misses(core, ANYCAST_IPV6, true))
		anycast_warn(ANYCAST_IPV6, 128);
}
