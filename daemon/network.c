/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What an interface gets that no [lan] section names. */
#define AUTO_PROTOCOLS CONF_PROTOCOLS_DEFAULT
#define AUTO_IGD 3
/* A shorter prefix than this leaves room for hosts: /32 and /31 are tunnels. */
#define LAN_PREFIX_MAX (96 + 30)

static_assert(CONF_FILTERS_MAX == REQUEST_FILTERS_MAX &&
		      CONF_PORTS_MAX == REQUEST_PORTS_MAX,
	      "the configuration allows what a request can hold");
static_assert((int)CONF_PINHOLES_ON == (int)WAN_PINHOLES_ON &&
		      (int)CONF_PINHOLES_OFF == (int)WAN_PINHOLES_OFF &&
		      (int)CONF_PINHOLES_NO_FIREWALL == (int)WAN_PINHOLES_NO_FIREWALL,
	      "the same numbers here and there");
static_assert(CONF_PCP_MAP == PCP_SERVES_MAP && CONF_PCP_PEER == PCP_SERVES_PEER,
	      "the same bits here and there");

static struct ip_addr link_get_ipv4(const struct link *link)
{
	for (size_t i = 0; i < link->address_count; i++)
		if (addr_is_ipv4(&link->addresses[i].addr))
			return link->addresses[i].addr;
	return (struct ip_addr){{0}};
}

static bool link_is_lan(const struct link *link, const struct wan_choice *wan)
{
	if (!link->up || link->loopback || strcmp(link->name, wan->name) == 0)
		return false;
	for (size_t i = 0; i < link->address_count; i++) {
		const struct prefix *prefix = &link->addresses[i];

		if (addr_is_ipv4(&prefix->addr) && addr_is_private(&prefix->addr) &&
		    prefix->length <= LAN_PREFIX_MAX)
			return true;
	}
	return false;
}

static struct prefix prefix_mask(const struct prefix *prefix)
{
	struct prefix masked = *prefix;

	for (unsigned int bit = prefix->length; bit < 128; bit++)
		masked.addr.bytes[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
	return masked;
}

/* Add a network unless it is there; *count stays at most limit. */
static void lan_add_network(struct lan_info *lan, const struct prefix *network,
			    size_t limit)
{
	for (uint32_t i = 0; i < lan->network_count; i++)
		if (lan->networks[i].length == network->length &&
		    addr_equal(&lan->networks[i].addr, &network->addr))
			return;
	if (lan->network_count < limit)
		lan->networks[lan->network_count++] = *network;
}

/* Without any such rule nobody there gets THIRD_PARTY at all (PCP-73). */
static bool lan_has_third_party(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->rule_count; i++) {
		const struct conf_rule *rule = &conf->rules[i];

		if (rule->allow && rule->has_third_party &&
		    (rule->lan[0] == '\0' || strcmp(rule->lan, name) == 0))
			return true;
	}
	return false;
}

static void lan_fill(struct lan_info *lan, const struct conf_lan *conf,
		     const struct link *link)
{
	/* What is written in the configuration is never crowded out. */
	size_t room = LAN_ADDRESSES_MAX - conf->network_count;

	lan->protocols = conf->protocols;
	lan->igd = conf->igd;
	lan->anycast = conf->pcp_anycast && (conf->protocols & CONF_PROTOCOL_PCP) != 0;
	memcpy(lan->name, conf->name, sizeof(lan->name));
	if (!link)
		return;
	lan->ifindex = link->ifindex;
	for (size_t i = 0; i < link->address_count && i < LAN_ADDRESSES_MAX; i++) {
		struct prefix network = prefix_mask(&link->addresses[i]);

		lan->addresses[lan->address_count++] = link->addresses[i];
		lan_add_network(lan, &network, room);
	}
	for (size_t i = 0; i < conf->network_count; i++)
		lan_add_network(lan, &conf->networks[i], LAN_ADDRESSES_MAX);
}

static int choose_wan(const struct conf *conf, const struct links *links,
		      struct wan_choice *wan, char error[CONF_ERROR_MAX])
{
	const struct link *link;

	if (conf->wan.interface[0] != '\0') {
		link = links_find_name(links, conf->wan.interface);
		memcpy(wan->name, conf->wan.interface, sizeof(wan->name));
	} else {
		link = links_find_index(links, links->default_ifindex);
		if (!link) {
			(void)snprintf(
				error, CONF_ERROR_MAX,
				"cannot tell which interface is the WAN: there is no "
				"IPv4 default route; set [wan] interface = NAME in %s",
				CONF_DEFAULT_FILE);
			return -ENODEV;
		}
		memcpy(wan->name, link->name, sizeof(wan->name));
	}
	if (link) {
		wan->present = true;
		wan->ifindex = link->ifindex;
		wan->up = link->up;
		wan->carrier = link->carrier;
		wan->address = link_get_ipv4(link);
	}
	/* An address that is configured is true only while packets can come in at all.
	 */
	wan->external = wan->address;
	if (!addr_is_none(&wan->address) && !addr_is_none(&conf->wan.address))
		wan->external = conf->wan.address;
	wan->private_address = addr_is_private(&wan->external);
	return 0;
}

static int choose_named_lans(const struct conf *conf, const struct links *links,
			     struct network *network, char error[CONF_ERROR_MAX])
{
	for (size_t i = 0; i < conf->lan_count && i < LANS_MAX; i++) {
		const struct conf_lan *lan = &conf->lans[i];

		if (strcmp(lan->name, network->wan.name) == 0) {
			(void)snprintf(error, CONF_ERROR_MAX,
				       "[lan %s] is the WAN interface %s%s; a LAN and "
				       "the WAN must be two interfaces: remove [lan "
				       "%s] or set [wan] interface = NAME",
				       lan->name, network->wan.name,
				       conf->wan.interface[0] != '\0'
					       ? ""
					       : ", which has the default route",
				       lan->name);
			return -EINVAL;
		}
		network->lans[network->lan_count].lan = (uint16_t)network->lan_count;
		lan_fill(&network->lans[network->lan_count++], lan,
			 links_find_name(links, lan->name));
	}
	return 0;
}

static int choose_auto_lans(const struct links *links, struct network *network,
			    char error[CONF_ERROR_MAX])
{
	for (size_t i = 0; i < links->count && network->lan_count < LANS_MAX; i++) {
		const struct link *link = &links->list[i];
		struct conf_lan lan = {.protocols = AUTO_PROTOCOLS, .igd = AUTO_IGD};

		if (!link_is_lan(link, &network->wan))
			continue;
		memcpy(lan.name, link->name, sizeof(lan.name));
		network->lans[network->lan_count].lan = (uint16_t)network->lan_count;
		lan_fill(&network->lans[network->lan_count++], &lan, link);
	}
	if (network->lan_count > 0)
		return 0;
	(void)snprintf(
		error, CONF_ERROR_MAX,
		"cannot tell which interfaces are LANs: none but the WAN %s is up "
		"with a private IPv4 address; add a section [lan NAME] to %s",
		network->wan.name, CONF_DEFAULT_FILE);
	return -ENODEV;
}

int network_choose(const struct conf *conf, const struct links *links,
		   struct network *out, char error[CONF_ERROR_MAX])
{
	struct network network = {0};
	int code = choose_wan(conf, links, &network.wan, error);

	if (code == 0)
		code = conf->lan_count > 0
			       ? choose_named_lans(conf, links, &network, error)
			       : choose_auto_lans(links, &network, error);
	if (code != 0)
		return code;
	for (size_t i = 0; i < network.lan_count; i++)
		network.lans[i].third_party =
			lan_has_third_party(conf, network.lans[i].name);
	*out = network;
	return 0;
}

void network_pin(const struct network *network, struct conf *conf)
{
	memcpy(conf->wan.interface, network->wan.name, sizeof(conf->wan.interface));
	if (conf->lan_count > 0)
		return;
	for (size_t i = 0; i < network->lan_count && i < CONF_LANS_MAX; i++) {
		struct conf_lan *lan = &conf->lans[conf->lan_count++];

		memset(lan, 0, sizeof(*lan));
		memcpy(lan->name, network->lans[i].name, sizeof(lan->name));
		lan->protocols = network->lans[i].protocols;
		lan->igd = network->lans[i].igd;
	}
}
