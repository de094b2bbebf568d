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

/*
 * How good an address of the WAN is to be told: what the route goes out with, then what
 * the next router knows us by, then the one that is told now, then one of the internet.
 */
static unsigned int address_rate(const struct link *link, size_t place,
				 const struct ip_addr *now)
{
	const struct prefix *address = &link->addresses[place];
	const struct ip_addr *gateway = &link->route_gateway;
	unsigned int rate = 0;

	if (place + link->unusable_count < link->address_count)
		rate |= 0x10;

	if (addr_equal(&address->addr, &link->route_source))
		rate |= 0x8;
	if (!addr_is_none(gateway) && prefix_contains(address, gateway))
		rate |= 0x4;
	if (addr_equal(&address->addr, now))
		rate |= 0x2;
	if (!addr_is_private(&address->addr) && !addr_is_link_local(&address->addr))
		rate |= 0x1;
	return rate;
}

/* now: what was chosen before, or none. The first of those that are equally good. */
static struct ip_addr link_choose_ipv4(const struct link *link,
				       const struct ip_addr *now)
{
	struct ip_addr best = {{0}};
	unsigned int best_rate = 0;

	for (size_t i = 0; i < link->address_count; i++) {
		const struct ip_addr *address = &link->addresses[i].addr;
		unsigned int rate = address_rate(link, i, now);

		if (!addr_is_ipv4(address) ||
		    (!addr_is_none(&best) && rate <= best_rate))
			continue;
		best = *address;
		best_rate = rate;
	}
	return best;
}

static bool link_has_lan_address(const struct link *link)
{
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

/* --- WAN --- */

const char *wan_source_get_name(enum wan_source source)
{
	static const char *const names[] = {
		[WAN_SOURCE_INTERFACE] = "interface",
		[WAN_SOURCE_CONFIGURATION] = "configuration",
		[WAN_SOURCE_STUN] = "stun",
	};

	return names[source];
}

static const struct conf_lan *conf_find_lan(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->lan_count; i++)
		if (conf->lans[i].protocols != 0 &&
		    strcmp(conf->lans[i].name, name) == 0)
			return &conf->lans[i];
	return NULL;
}

static int refuse_lan(const struct conf *conf, const char *name,
		      char error[CONF_ERROR_MAX])
{
	(void)snprintf(error, CONF_ERROR_MAX,
		       "[lan %s] is the WAN interface %s%s; a LAN and the WAN must be "
		       "two interfaces: remove [lan %s] or set [wan] interface = NAME",
		       name, name,
		       conf->wan.interface[0] != '\0' ? ""
						      : ", which has the default route",
		       name);
	return -EINVAL;
}

/* Errors: -ENODEV, -EINVAL, at start only. */
static int choose_auto_wan(const struct conf *conf, const struct links *links,
			   const struct network *before, struct wan_choice *wan,
			   char error[CONF_ERROR_MAX])
{
	const struct link *way = links_find_index(links, links->default_ifindex);

	if (way && !conf_find_lan(conf, way->name)) {
		memcpy(wan->name, way->name, sizeof(wan->name));
		return 0;
	}
	wan->route = way ? WAN_ROUTE_LAN : WAN_ROUTE_NONE;
	if (before && !conf_find_lan(conf, before->wan.name))
		memcpy(wan->name, before->wan.name, sizeof(wan->name));
	if (before || (!way && conf->lan_count > 0))
		return 0;
	if (way)
		return refuse_lan(conf, way->name, error);
	(void)snprintf(error, CONF_ERROR_MAX,
		       "cannot tell which interface is the WAN: there is no IPv4 "
		       "default route; set [wan] interface = NAME in the "
		       "configuration file");
	return -ENODEV;
}

static int choose_named_wan(const struct conf *conf, const struct links *links,
			    struct wan_choice *wan, char error[CONF_ERROR_MAX])
{
	if (conf_find_lan(conf, conf->wan.interface))
		return refuse_lan(conf, conf->wan.interface, error);
	memcpy(wan->name, conf->wan.interface, sizeof(wan->name));
	if (links->default_ifindex == 0 && !links->has_default)
		wan->route = WAN_ROUTE_NONE;
	return 0;
}

bool wan_choice_equal(const struct wan_choice *a, const struct wan_choice *b)
{
	return a->ifindex == b->ifindex && strcmp(a->name, b->name) == 0 &&
	       a->present == b->present && a->up == b->up && a->carrier == b->carrier &&
	       addr_equal(&a->address, &b->address) &&
	       addr_equal(&a->external, &b->external) && a->source == b->source &&
	       a->private_address == b->private_address && a->route == b->route;
}

void network_set_external(struct wan_choice *wan, const struct ip_addr *external,
			  enum wan_source source)
{
	wan->external = *external;
	wan->source = source;
	wan->private_address = addr_is_private(external);
}

static void fill_wan(const struct conf *conf, const struct links *links,
		     const struct ip_addr *now, struct wan_choice *wan)
{
	const struct link *link = links_find_name(links, wan->name);

	if (link) {
		wan->present = true;
		wan->ifindex = link->ifindex;
		wan->up = link->up;
		wan->carrier = link->carrier;
		wan->address = link_choose_ipv4(link, now);
	}
	network_set_external(wan, &wan->address, WAN_SOURCE_INTERFACE);
	/* An address that is configured is true only while packets can come in at all.
	 */
	if (!addr_is_none(&wan->address) && !addr_is_none(&conf->wan.address))
		network_set_external(wan, &conf->wan.address, WAN_SOURCE_CONFIGURATION);
}

static bool was_wan(const struct network *network, const char *name)
{
	for (size_t i = 0; i < network->former_wan_count; i++)
		if (strcmp(network->former_wans[i], name) == 0)
			return true;
	return false;
}

/* The oldest is forgotten when there are too many, as with a name for each dial-up. */
static void remember_wan(struct network *network)
{
	const size_t size = sizeof(network->former_wans[0]);

	if (network->wan.name[0] == '\0' || was_wan(network, network->wan.name))
		return;
	if (network->former_wan_count == NETWORK_FORMER_WANS_MAX) {
		network->former_wan_count--;
		memmove(network->former_wans[0], network->former_wans[1],
			network->former_wan_count * size);
	}
	memcpy(network->former_wans[network->former_wan_count++], network->wan.name,
	       size);
}

/* --- LANs --- */

/* The next place is this interface's. */
static struct lan_info *lan_append(struct network *network, const char *name)
{
	struct lan_info *lan = &network->lans[network->lan_count];

	lan->lan = (uint16_t)network->lan_count++;
	(void)snprintf(lan->name, sizeof(lan->name), "%s", name);
	return lan;
}

static void choose_named_lans(const struct conf *conf, const struct links *links,
			      struct network *network)
{
	for (size_t i = 0; i < conf->lan_count && i < LANS_MAX; i++) {
		const struct conf_lan *lan = &conf->lans[i];

		lan_fill(lan_append(network, lan->name), lan,
			 lan->protocols != 0 ? links_find_name(links, lan->name)
					     : NULL);
	}
}

/*
 * Where the internet is, or was, or may be next, and where those are who come by a
 * tunnel, nobody is served by a guess.
 */
static bool may_be_lan(const struct network *network, const struct links *links,
		       const struct link *link)
{
	return !link->loopback && !link->tunnel && !link->half_route &&
	       !link->default_route && link->ifindex != links->default_ifindex &&
	       !was_wan(network, link->name);
}

static void fill_auto_lan(struct lan_info *lan, const struct link *link)
{
	struct conf_lan conf = {.protocols = AUTO_PROTOCOLS, .igd = AUTO_IGD};

	memcpy(conf.name, lan->name, sizeof(conf.name));
	lan_fill(lan, &conf, link);
}

/* Would it be one at start? */
static bool qualifies_as_lan(const struct network *network, const struct links *links,
			     const struct link *link)
{
	return link->up && link_has_lan_address(link) &&
	       may_be_lan(network, links, link);
}

/* The place is that of an automatic choice from now on. */
static void guess_lan(struct network *network, size_t place, const struct link *link,
		      bool running)
{
	network->lan_guessed[place] = true;
	network->lan_joined[place] = running;
	fill_auto_lan(&network->lans[place], link);
}

/*
 * Those that were LANs by such a choice are so, there or not, unless the internet is
 * there now. Other places, which a configuration named, have to qualify as new ones.
 */
static void keep_auto_lans(const struct links *links, const struct network *before,
			   struct network *network)
{
	for (size_t i = 0; i < before->lan_count; i++) {
		struct lan_info *lan = lan_append(network, before->lans[i].name);
		const struct link *link = links_find_name(links, lan->name);

		network->lan_joined[i] = before->lan_joined[i];
		network->lan_guessed[i] = before->lan_guessed[i];
		if (!before->lan_guessed[i]) {
			if (link && qualifies_as_lan(network, links, link))
				guess_lan(network, i, link, before->lans_automatic);
		} else if (!was_wan(network, lan->name) &&
			   (!link || may_be_lan(network, links, link))) {
			fill_auto_lan(lan, link);
		}
	}
}

static bool has_lan(const struct network *network, const char *name)
{
	for (size_t i = 0; i < network->lan_count; i++)
		if (strcmp(network->lans[i].name, name) == 0)
			return true;
	return false;
}

static void join_auto_lans(const struct links *links, bool running,
			   struct network *network)
{
	for (size_t i = 0; i < links->count; i++) {
		const struct link *link = &links->list[i];
		size_t place = network->lan_count;

		if (!qualifies_as_lan(network, links, link) ||
		    has_lan(network, link->name))
			continue;
		if (place == LANS_MAX) {
			network->lans_full = true;
			return;
		}
		(void)lan_append(network, link->name);
		guess_lan(network, place, link, running);
	}
}

static int choose_auto_lans(const struct links *links, const struct network *before,
			    struct network *network, char error[CONF_ERROR_MAX])
{
	if (before)
		keep_auto_lans(links, before, network);
	join_auto_lans(links, before && before->lans_automatic, network);
	if (before || network->lan_count > 0)
		return 0;
	(void)snprintf(
		error, CONF_ERROR_MAX,
		"cannot tell which interfaces are LANs: none but the WAN %s is up "
		"with a private IPv4 address; add a section [lan NAME] to the "
		"configuration file",
		network->wan.name);
	return -ENODEV;
}

static int choose_lans(const struct conf *conf, const struct links *links,
		       const struct network *before, struct network *network,
		       char error[CONF_ERROR_MAX])
{
	if (conf->lan_count == 0)
		return choose_auto_lans(links, before, network, error);
	choose_named_lans(conf, links, network);
	return 0;
}

int network_choose(const struct conf *conf, const struct links *links,
		   const struct network *before, struct network *out,
		   char error[CONF_ERROR_MAX])
{
	struct network network = {0};
	const struct ip_addr none = {{0}};
	int code = conf->wan.interface[0] != '\0'
			   ? choose_named_wan(conf, links, &network.wan, error)
			   : choose_auto_wan(conf, links, before, &network.wan, error);

	if (code != 0)
		return code;
	fill_wan(conf, links, before ? &before->wan.address : &none, &network.wan);
	memcpy(network.wan_named, conf->wan.interface, sizeof(network.wan_named));
	network.lans_automatic = conf->lan_count == 0;
	if (before && strcmp(before->wan_named, network.wan_named) == 0) {
		network.former_wan_count = before->former_wan_count;
		memcpy(network.former_wans, before->former_wans,
		       sizeof(network.former_wans));
	}
	remember_wan(&network);
	code = choose_lans(conf, links, before, &network, error);
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
