/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "daemon/network.h"

/* A prefix with its host bits, "192.168.1.1/24" as (text, 24). */
static struct prefix address(const char *text, unsigned int length)
{
	struct prefix prefix;

	assert_true(addr_parse(text, &prefix.addr));
	prefix.length = (uint8_t)(length + (addr_is_ipv4(&prefix.addr) ? 96 : 0));
	return prefix;
}

static struct link *add_link(struct links *links, const char *name)
{
	struct link *link;

	assert_int_equal(links_add(links, &(struct link){0}), 0);
	link = &links->list[links->count - 1];
	memcpy(link->name, name, strlen(name) + 1);
	link->ifindex = (uint32_t)links->count;
	link->up = true;
	link->carrier = true;
	return link;
}

static struct link *add_link_with(struct links *links, const char *name,
				  const char *text, unsigned int length)
{
	struct link *link = add_link(links, name);

	link->addresses[link->address_count++] = address(text, length);
	return link;
}

/* What there is, what is wanted, and what was chosen of it. */
struct gateway {
	struct links links;
	struct conf conf;
	struct network network;
	char error[CONF_ERROR_MAX];
};

/* lo, wan0 with the default route, lan0, guest0 (down), vpn0 (a /32), public0. */
static int setup(void **state)
{
	struct gateway *gateway = test_calloc(1, sizeof(*gateway));
	struct links *links = &gateway->links;
	struct link *lan;

	add_link_with(links, "lo", "127.0.0.1", 8)->loopback = true;
	add_link_with(links, "wan0", "203.0.113.5", 24);
	lan = add_link_with(links, "lan0", "192.168.1.1", 24);
	lan->addresses[lan->address_count++] = address("192.168.1.2", 24);
	lan->addresses[lan->address_count++] = address("2001:db8:1::1", 64);
	add_link_with(links, "guest0", "10.9.0.1", 16)->up = false;
	add_link_with(links, "vpn0", "100.64.0.9", 32);
	add_link_with(links, "public0", "198.51.100.1", 24);
	links->default_ifindex = 2;
	*state = gateway;
	return 0;
}

static int teardown(void **state)
{
	struct gateway *gateway = *state;

	links_fini(&gateway->links);
	test_free(gateway);
	return 0;
}

/* As at start. */
static int choose(struct gateway *gateway)
{
	return network_choose(&gateway->conf, &gateway->links, NULL, &gateway->network,
			      gateway->error);
}

/* What the interfaces are now, after what was chosen last. */
static void choose_again(struct gateway *gateway)
{
	assert_int_equal(network_choose(&gateway->conf, &gateway->links,
					&gateway->network, &gateway->network,
					gateway->error),
			 0);
}

static void name_lan(struct conf *conf, const char *name)
{
	struct conf_lan *lan = &conf->lans[conf->lan_count++];

	memcpy(lan->name, name, strlen(name) + 1);
	lan->protocols = CONF_PROTOCOL_PCP;
	lan->igd = 1;
}

static void assert_prefix(const struct prefix *prefix, const char *text)
{
	char buffer[PREFIX_TEXT_SIZE];

	assert_string_equal(prefix_format(prefix, buffer), text);
}

static void test_auto(void **state)
{
	struct gateway *gateway = *state;
	const struct lan_info *lan = &gateway->network.lans[0];

	assert_int_equal(choose(gateway), 0);
	assert_string_equal(gateway->network.wan.name, "wan0");
	assert_int_equal(gateway->network.wan.ifindex, 2);
	assert_true(gateway->network.wan.present && gateway->network.wan.up &&
		    gateway->network.wan.carrier);
	assert_false(gateway->network.wan.private_address);
	assert_true(addr_equal(&gateway->network.wan.external,
			       &gateway->links.list[1].addresses[0].addr));
	assert_true(addr_equal(&gateway->network.wan.address,
			       &gateway->network.wan.external));
	assert_int_equal(gateway->network.lan_count, 1);
	assert_string_equal(lan->name, "lan0");
	assert_int_equal(lan->lan, 0);
	assert_int_equal(lan->ifindex, 3);
	assert_int_equal(lan->protocols,
			 LAN_PROTOCOL_UPNP | LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP);
	assert_false(lan->third_party || lan->anycast);
	assert_int_equal(lan->igd, 3);
	assert_int_equal(lan->address_count, 3);
	assert_prefix(&lan->addresses[1], "192.168.1.2/24");
	assert_int_equal(lan->network_count, 2);
	assert_prefix(&lan->networks[0], "192.168.1.0/24");
	assert_prefix(&lan->networks[1], "2001:db8:1::/64");
}

static void assert_external(struct gateway *gateway, const char *text)
{
	char buffer[ADDR_TEXT_SIZE];

	assert_string_equal(addr_format(&gateway->network.wan.external, buffer), text);
}

/* The WAN's addresses, in the kernel's order. */
static void give_wan(struct gateway *gateway, const char *first, const char *second)
{
	struct link *wan = &gateway->links.list[1];

	wan->addresses[0] = address(first, 24);
	wan->addresses[1] = address(second, 24);
	wan->address_count = 2;
}

/* Of several addresses the one that the default route goes out with. */
static void test_wan_with_several_addresses(void **state)
{
	struct gateway *gateway = *state;
	struct link *wan = &gateway->links.list[1];

	/* the modem's own net is no way out */
	give_wan(gateway, "192.168.100.10", "203.0.113.1");
	assert_int_equal(choose(gateway), 0);
	assert_external(gateway, "203.0.113.1");
	assert_false(gateway->network.wan.private_address);
	give_wan(gateway, "198.51.100.7", "203.0.113.1");
	assert_int_equal(choose(gateway), 0);
	assert_external(gateway, "198.51.100.7");
	wan->route_gateway = address("203.0.113.254", 32).addr;
	assert_int_equal(choose(gateway), 0);
	assert_external(gateway, "203.0.113.1");
	wan->route_source = address("198.51.100.7", 32).addr;
	assert_int_equal(choose(gateway), 0);
	assert_external(gateway, "198.51.100.7");
	/* it is not here: the next best */
	wan->route_source = address("198.51.100.8", 32).addr;
	assert_int_equal(choose(gateway), 0);
	assert_external(gateway, "203.0.113.1");
	/* an internet that is private, with the gateway in it */
	give_wan(gateway, "203.0.113.1", "10.64.0.2");
	wan->route_gateway = address("10.64.0.1", 32).addr;
	assert_int_equal(choose(gateway), 0);
	assert_external(gateway, "10.64.0.2");
	/* in vain: it is not used any more */
	wan->unusable_count = 1;
	assert_int_equal(choose(gateway), 0);
	assert_external(gateway, "203.0.113.1");
	wan->unusable_count = 0;
	give_wan(gateway, "169.254.1.1", "100.64.0.9");
	wan->address_count = 1;
	assert_int_equal(choose(gateway), 0);
	assert_external(gateway, "169.254.1.1");
}

/* What others come and go beside it is no news to anybody. */
static void test_wan_address_stays(void **state)
{
	struct gateway *gateway = *state;
	struct link *wan = &gateway->links.list[1];

	assert_int_equal(choose(gateway), 0);
	assert_external(gateway, "203.0.113.5");
	give_wan(gateway, "198.51.100.7", "203.0.113.5");
	choose_again(gateway);
	assert_external(gateway, "203.0.113.5");
	/* while the way out is being set up anew */
	wan->route_gateway = address("198.51.100.1", 32).addr;
	choose_again(gateway);
	assert_external(gateway, "198.51.100.7");
	memset(&wan->route_gateway, 0, sizeof(wan->route_gateway));
	choose_again(gateway);
	assert_external(gateway, "198.51.100.7");
	/* a router that both reach */
	give_wan(gateway, "203.0.113.9", "203.0.113.5");
	wan->route_gateway = address("203.0.113.254", 32).addr;
	choose_again(gateway);
	assert_external(gateway, "203.0.113.9");
	give_wan(gateway, "203.0.113.5", "203.0.113.9");
	choose_again(gateway);
	assert_external(gateway, "203.0.113.9");
	wan->address_count = 1;
	choose_again(gateway);
	assert_external(gateway, "203.0.113.5");
}

static void test_auto_without_default_route(void **state)
{
	struct gateway *gateway = *state;

	gateway->links.default_ifindex = 0;
	gateway->network.lan_count = 77;
	assert_int_equal(choose(gateway), -ENODEV);
	assert_non_null(strstr(gateway->error, "there is no IPv4 default route"));
	assert_non_null(strstr(gateway->error, "[wan] interface = NAME in "
					       "the configuration file"));
	assert_int_equal(gateway->network.lan_count, 77);
}

static void test_auto_without_lan(void **state)
{
	struct gateway *gateway = *state;

	gateway->links.list[2].up = false;
	assert_int_equal(choose(gateway), -ENODEV);
	assert_non_null(strstr(gateway->error, "but the WAN wan0"));
	assert_non_null(strstr(gateway->error, "[lan NAME]"));
}

static void test_auto_private_wan_is_no_lan(void **state)
{
	struct gateway *gateway = *state;

	gateway->links.list[1].addresses[0] = address("100.64.7.7", 24);
	assert_int_equal(choose(gateway), 0);
	assert_true(gateway->network.wan.private_address);
	assert_int_equal(gateway->network.lan_count, 1);
	assert_string_equal(gateway->network.lans[0].name, "lan0");
	/* 1:1 NAT before us: the address by configuration is what is told */
	gateway->conf.wan.address = address("203.0.113.77", 32).addr;
	assert_int_equal(choose(gateway), 0);
	assert_false(gateway->network.wan.private_address);
	assert_true(
		addr_equal(&gateway->network.wan.external, &gateway->conf.wan.address));
	assert_false(
		addr_equal(&gateway->network.wan.address, &gateway->conf.wan.address));
}

static void test_named_and_missing(void **state)
{
	struct gateway *gateway = *state;

	memcpy(gateway->conf.wan.interface, "ppp0", 5);
	name_lan(&gateway->conf, "usb0");
	name_lan(&gateway->conf, "lan0");
	assert_int_equal(choose(gateway), 0);
	assert_string_equal(gateway->network.wan.name, "ppp0");
	assert_false(gateway->network.wan.present);
	assert_int_equal(gateway->network.wan.ifindex, 0);
	assert_true(addr_is_none(&gateway->network.wan.external));
	assert_false(gateway->network.wan.private_address);
	assert_int_equal(gateway->network.lan_count, 2);
	assert_string_equal(gateway->network.lans[0].name, "usb0");
	assert_int_equal(gateway->network.lans[0].ifindex, 0);
	assert_int_equal(gateway->network.lans[0].address_count, 0);
	assert_int_equal(gateway->network.lans[0].network_count, 0);
	assert_int_equal(gateway->network.lans[1].lan, 1);
	assert_int_equal(gateway->network.lans[1].ifindex, 3);
	assert_int_equal(gateway->network.lans[1].protocols, CONF_PROTOCOL_PCP);
	assert_int_equal(gateway->network.lans[1].igd, 1);
	/* it comes: the index of no LAN moves */
	add_link_with(&gateway->links, "usb0", "192.168.8.1", 24);
	assert_int_equal(choose(gateway), 0);
	assert_int_equal(gateway->network.lans[0].ifindex, 7);
	assert_int_equal(gateway->network.lans[1].ifindex, 3);
}

static void test_configured_networks_are_kept(void **state)
{
	struct gateway *gateway = *state;
	struct link *lan;
	char text[] = "10.10.0.1";

	name_lan(&gateway->conf, "lan0");
	gateway->conf.lans[0].network_count = 2;
	assert_true(prefix_parse("172.16.0.0/12", &gateway->conf.lans[0].networks[0]));
	assert_true(prefix_parse("192.168.1.0/24", &gateway->conf.lans[0].networks[1]));
	assert_int_equal(choose(gateway), 0);
	/* one of them twice */
	assert_int_equal(gateway->network.lans[0].network_count, 3);
	assert_prefix(&gateway->network.lans[0].networks[2], "172.16.0.0/12");
	/* more addresses than fit crowd nothing out that was configured */
	lan = &gateway->links.list[2];
	while (lan->address_count < LINK_ADDRESSES_MAX) {
		text[3] = (char)('1' + lan->address_count / 10);
		text[4] = (char)('0' + lan->address_count % 10);
		lan->addresses[lan->address_count++] = address(text, 24);
	}
	assert_int_equal(choose(gateway), 0);
	assert_int_equal(gateway->network.lans[0].address_count, LAN_ADDRESSES_MAX);
	assert_int_equal(gateway->network.lans[0].network_count, LAN_ADDRESSES_MAX - 1);
	assert_prefix(&gateway->network.lans[0].networks[LAN_ADDRESSES_MAX - 2],
		      "172.16.0.0/12");
}

/* PCP-73, PCP-119: what the worker needs of rules and keys, LAN by LAN */
static void test_third_party_and_anycast(void **state)
{
	struct gateway *gateway = *state;

	name_lan(&gateway->conf, "lan0");
	name_lan(&gateway->conf, "guest0");
	gateway->conf.lans[1].pcp_anycast = true;
	gateway->conf.rule_count = 2;
	gateway->conf.rules[0] = (struct conf_rule){.allow = true, .lan = "guest0"};
	gateway->conf.rules[1] = (struct conf_rule){.has_third_party = true};
	assert_int_equal(choose(gateway), 0);
	assert_false(gateway->network.lans[0].anycast);
	assert_true(gateway->network.lans[1].anycast);
	/* then there is no PCP at all */
	gateway->conf.lans[1].protocols = CONF_PROTOCOL_NATPMP;
	assert_int_equal(choose(gateway), 0);
	assert_false(gateway->network.lans[1].anycast);
	/* one allows without, the other has it, but denies */
	assert_false(gateway->network.lans[0].third_party ||
		     gateway->network.lans[1].third_party);
	gateway->conf.rules[0].has_third_party = true;
	assert_int_equal(choose(gateway), 0);
	assert_false(gateway->network.lans[0].third_party);
	assert_true(gateway->network.lans[1].third_party);
	gateway->conf.rules[1].allow = true;
	assert_int_equal(choose(gateway), 0);
	assert_true(gateway->network.lans[0].third_party &&
		    gateway->network.lans[1].third_party);
}

static void test_lan_is_wan(void **state)
{
	struct gateway *gateway = *state;

	name_lan(&gateway->conf, "wan0");
	assert_int_equal(choose(gateway), -EINVAL);
	assert_non_null(strstr(gateway->error, "[lan wan0] is the WAN interface wan0"));
	/* missing or not, the names say it */
	memcpy(gateway->conf.wan.interface, "ppp0", 5);
	memcpy(gateway->conf.lans[0].name, "ppp0", 5);
	assert_int_equal(choose(gateway), -EINVAL);
	assert_non_null(strstr(gateway->error, "[lan ppp0] is the WAN interface ppp0"));
}

/* With all automatic, LANs lan0 and guest0, as chosen at start. */
static void choose_two_lans(struct gateway *gateway)
{
	gateway->links.list[3].up = true;
	assert_int_equal(choose(gateway), 0);
	assert_int_equal(gateway->network.lan_count, 2);
}

static void test_automatic_choice_stays(void **state)
{
	struct gateway *gateway = *state;

	choose_two_lans(gateway);
	/* lan0 goes down and loses its addresses, the default route goes: nothing moves
	 */
	gateway->links.list[2].up = false;
	gateway->links.list[2].address_count = 0;
	gateway->links.default_ifindex = 0;
	choose_again(gateway);
	assert_string_equal(gateway->network.wan.name, "wan0");
	assert_int_equal(gateway->network.wan.route, WAN_ROUTE_NONE);
	assert_int_equal(gateway->network.lan_count, 2);
	assert_string_equal(gateway->network.lans[0].name, "lan0");
	assert_int_equal(gateway->network.lans[0].ifindex, 3);
	assert_string_equal(gateway->network.lans[1].name, "guest0");
	assert_int_equal(gateway->network.lans[1].lan, 1);
	assert_int_equal(gateway->network.lans[1].igd, 3);
	/* the interfaces themselves go: their places stay, the others' too */
	memcpy(gateway->links.list[1].name, "other0", 7);
	memcpy(gateway->links.list[2].name, "other1", 7);
	choose_again(gateway);
	assert_string_equal(gateway->network.wan.name, "wan0");
	assert_false(gateway->network.wan.present);
	assert_int_equal(gateway->network.lan_count, 2);
	assert_string_equal(gateway->network.lans[0].name, "lan0");
	assert_int_equal(gateway->network.lans[0].ifindex, 0);
	assert_int_not_equal(gateway->network.lans[0].protocols, 0);
	assert_int_equal(gateway->network.lans[1].ifindex, 4);
}

static void test_automatic_wan_follows_the_default_route(void **state)
{
	struct gateway *gateway = *state;

	choose_two_lans(gateway);
	(void)add_link_with(&gateway->links, "wwan0", "10.64.0.2", 30);
	gateway->links.default_ifindex = 7;
	choose_again(gateway);
	assert_string_equal(gateway->network.wan.name, "wwan0");
	assert_int_equal(gateway->network.wan.ifindex, 7);
	assert_int_equal(gateway->network.wan.route, WAN_ROUTE_THERE);
	assert_true(gateway->network.wan.private_address);
	assert_int_equal(gateway->network.lan_count, 2);
	/* what was the WAN is never a LAN, even with an address that looks so */
	gateway->links.list[1].addresses[0] = address("192.168.7.7", 24);
	choose_again(gateway);
	assert_int_equal(gateway->network.lan_count, 2);
	gateway->links.default_ifindex = 2;
	choose_again(gateway);
	assert_string_equal(gateway->network.wan.name, "wan0");
	assert_int_equal(gateway->network.lan_count, 2);
	/* the way out by a LAN that was chosen: the owner wants it to be the WAN */
	gateway->links.default_ifindex = 4;
	choose_again(gateway);
	assert_string_equal(gateway->network.wan.name, "guest0");
	assert_int_equal(gateway->network.lan_count, 2);
	assert_int_equal(gateway->network.lans[1].protocols, 0);
	assert_int_equal(gateway->network.lans[1].ifindex, 0);
	gateway->links.default_ifindex = 2;
	choose_again(gateway);
	assert_int_equal(gateway->network.lans[1].protocols, 0);
	assert_int_equal(gateway->network.lans[0].ifindex, 3);
	/* nor is it waited for as a LAN when it goes */
	memcpy(gateway->links.list[3].name, "other0", 7);
	choose_again(gateway);
	assert_string_equal(gateway->network.lans[1].name, "guest0");
	assert_int_equal(gateway->network.lans[1].protocols, 0);
}

static void test_automatic_wan_is_no_configured_lan(void **state)
{
	struct gateway *gateway = *state;

	name_lan(&gateway->conf, "lan0");
	gateway->links.default_ifindex = 3;
	assert_int_equal(choose(gateway), -EINVAL);
	assert_non_null(strstr(gateway->error, "[lan lan0] is the WAN interface lan0"));
	/* without any route at start it is waited for */
	gateway->links.default_ifindex = 0;
	assert_int_equal(choose(gateway), 0);
	assert_string_equal(gateway->network.wan.name, "");
	assert_false(gateway->network.wan.present);
	assert_int_equal(gateway->network.wan.route, WAN_ROUTE_NONE);
	gateway->links.default_ifindex = 3;
	choose_again(gateway);
	assert_string_equal(gateway->network.wan.name, "");
	assert_int_equal(gateway->network.wan.route, WAN_ROUTE_LAN);
	gateway->links.default_ifindex = 2;
	choose_again(gateway);
	assert_string_equal(gateway->network.wan.name, "wan0");
	assert_int_equal(gateway->network.wan.route, WAN_ROUTE_THERE);
	gateway->links.default_ifindex = 3;
	choose_again(gateway);
	assert_string_equal(gateway->network.wan.name, "wan0");
	assert_int_equal(gateway->network.wan.route, WAN_ROUTE_LAN);
}

static void test_automatic_lans_grow(void **state)
{
	struct gateway *gateway = *state;
	struct link *link;
	char name[IF_NAMESIZE] = "br00";

	choose_two_lans(gateway);
	(void)add_link_with(&gateway->links, "usb0", "192.168.8.1", 24);
	add_link_with(&gateway->links, "down0", "192.168.9.1", 24)->up = false;
	(void)add_link_with(&gateway->links, "public1", "198.51.100.9", 24);
	add_link_with(&gateway->links, "backup0", "10.0.0.9", 24)->default_route = true;
	choose_again(gateway);
	assert_int_equal(gateway->network.lan_count, 3);
	assert_string_equal(gateway->network.lans[2].name, "usb0");
	assert_int_equal(gateway->network.lans[2].lan, 2);
	assert_int_equal(gateway->network.lans[2].igd, 3);
	assert_true(gateway->network.lan_joined[2]);
	assert_false(gateway->network.lan_joined[0] || gateway->network.lan_joined[1]);
	/* it goes and comes */
	link = &gateway->links.list[6];
	memcpy(link->name, "gone0", 6);
	link->address_count = 0;
	choose_again(gateway);
	assert_int_equal(gateway->network.lan_count, 3);
	assert_int_equal(gateway->network.lans[2].ifindex, 0);
	assert_true(gateway->network.lan_joined[2]);
	memcpy(link->name, "usb0", 5);
	choose_again(gateway);
	assert_int_equal(gateway->network.lan_count, 3);
	assert_int_equal(gateway->network.lans[2].ifindex, link->ifindex);
	assert_false(gateway->network.lans_full);
	while (gateway->links.count < 60) {
		name[2] = (char)('0' + gateway->links.count / 10);
		name[3] = (char)('0' + gateway->links.count % 10);
		(void)add_link_with(&gateway->links, name, "192.168.8.1", 24);
	}
	choose_again(gateway);
	assert_int_equal(gateway->network.lan_count, LANS_MAX);
	assert_true(gateway->network.lans_full);
}

/* A VPN's peers are no hosts of ours, whatever the addresses look like. */
static void test_automatic_lans_are_no_tunnels(void **state)
{
	struct gateway *gateway = *state;
	struct links *links = &gateway->links;

	add_link_with(links, "wg0", "10.8.0.2", 24)->tunnel = true;
	add_link_with(links, "tap0", "10.9.0.2", 24)->half_route = true;
	choose_two_lans(gateway);
	assert_string_equal(gateway->network.lans[0].name, "lan0");
	assert_string_equal(gateway->network.lans[1].name, "guest0");
	/* as they come while we run, or become so */
	add_link_with(links, "wg1", "10.8.1.2", 24)->tunnel = true;
	links->list[3].half_route = true;
	choose_again(gateway);
	assert_int_equal(gateway->network.lan_count, 2);
	assert_int_equal(gateway->network.lans[1].protocols, 0);
	/* who names them wants them */
	name_lan(&gateway->conf, "wg0");
	assert_int_equal(choose(gateway), 0);
	assert_int_equal(gateway->network.lan_count, 1);
	assert_int_equal(gateway->network.lans[0].ifindex, 7);
}

static void assert_served(const struct gateway *gateway, size_t place, const char *name,
			  bool served)
{
	const struct lan_info *lan = &gateway->network.lans[place];

	assert_true(place < gateway->network.lan_count);
	assert_string_equal(lan->name, name);
	assert_int_equal(lan->protocols, served ? CONF_PROTOCOLS_DEFAULT : 0);
	assert_int_equal(lan->ifindex != 0, served);
}

/* A reload to a file without [lan]: who is served then is served after a start too. */
static void test_named_lans_become_automatic(void **state)
{
	struct gateway *gateway = *state;
	struct links *links = &gateway->links;
	struct lan_info *lan = gateway->network.lans;

	name_lan(&gateway->conf, "public0");
	name_lan(&gateway->conf, "guest0"); /* it is down */
	name_lan(&gateway->conf, "lan0");
	name_lan(&gateway->conf, "left0");
	name_lan(&gateway->conf, "gone0");
	gateway->conf.lans[3].protocols = 0;
	add_link_with(links, "left0", "192.168.5.1", 24);
	assert_int_equal(choose(gateway), 0);
	gateway->conf.lan_count = 0;
	for (int round = 0; round < 3; round++) {
		choose_again(gateway);
		assert_int_equal(gateway->network.lan_count, 5);
		assert_served(gateway, 0, "public0", false);
		assert_served(gateway, 1, "guest0", false);
		assert_served(gateway, 2, "lan0", true);
		assert_served(gateway, 3, "left0", true);
		assert_served(gateway, 4, "gone0", false);
		assert_int_equal(lan[2].igd, 3);
	}
	assert_false(gateway->network.lan_joined[2]);
	/* it comes to qualify, and is as one that joins */
	links->list[3].up = true;
	choose_again(gateway);
	assert_served(gateway, 1, "guest0", true);
	assert_true(gateway->network.lan_joined[1]);
	/* then it stays one; what was never one does not begin to be */
	links->list[3].up = false;
	memcpy(links->list[2].name, "other0", 7);
	choose_again(gateway);
	assert_served(gateway, 1, "guest0", true);
	assert_int_equal(lan[2].protocols, CONF_PROTOCOLS_DEFAULT);
	assert_served(gateway, 4, "gone0", false);
}

/* An owner who named the wrong interface, and names none now. */
static void test_wan_by_name_becomes_automatic(void **state)
{
	struct gateway *gateway = *state;

	gateway->links.list[3].up = true;
	memcpy(gateway->conf.wan.interface, "lan0", 5);
	assert_int_equal(choose(gateway), 0);
	assert_int_equal(gateway->network.lan_count, 1);
	memset(gateway->conf.wan.interface, 0, sizeof(gateway->conf.wan.interface));
	choose_again(gateway);
	assert_string_equal(gateway->network.wan.name, "wan0");
	assert_served(gateway, 0, "guest0", true);
	assert_served(gateway, 1, "lan0", true);
}

/* Many names of dial-ups: the last ones are known. */
static void test_former_wans_are_bounded(void **state)
{
	struct gateway *gateway = *state;
	char name[IF_NAMESIZE] = "ppp00";

	choose_two_lans(gateway);
	for (int i = 0; i < 40; i++) {
		name[3] = (char)('0' + i / 10);
		name[4] = (char)('0' + i % 10);
		memcpy(gateway->links.list[1].name, name, sizeof(name));
		choose_again(gateway);
		assert_string_equal(gateway->network.wan.name, name);
	}
	assert_int_equal(gateway->network.former_wan_count, NETWORK_FORMER_WANS_MAX);
	assert_string_equal(gateway->network.former_wans[NETWORK_FORMER_WANS_MAX - 1],
			    "ppp39");
	assert_string_equal(gateway->network.former_wans[0], "ppp24");
}

/* A place that a reload has emptied serves nobody, and is no LAN to speak of. */
static void test_place_without_protocols(void **state)
{
	struct gateway *gateway = *state;

	name_lan(&gateway->conf, "wan0");
	gateway->conf.lans[0].protocols = 0;
	name_lan(&gateway->conf, "lan0");
	assert_int_equal(choose(gateway), 0);
	assert_string_equal(gateway->network.wan.name, "wan0");
	assert_int_equal(gateway->network.lans[0].ifindex, 0);
	assert_int_equal(gateway->network.lans[0].protocols, 0);
	assert_int_equal(gateway->network.lans[1].ifindex, 3);
}

static void test_named_wan_without_a_route(void **state)
{
	struct gateway *gateway = *state;

	memcpy(gateway->conf.wan.interface, "wan0", 5);
	assert_int_equal(choose(gateway), 0);
	assert_int_equal(gateway->network.wan.route, WAN_ROUTE_THERE);
	gateway->links.default_ifindex = 0;
	choose_again(gateway);
	assert_int_equal(gateway->network.wan.route, WAN_ROUTE_NONE);
	assert_false(addr_is_none(&gateway->network.wan.external));
	gateway->links.has_default = true; /* of policy routing */
	choose_again(gateway);
	assert_int_equal(gateway->network.wan.route, WAN_ROUTE_THERE);
}

static void test_pin(void **state)
{
	struct gateway *gateway = *state;

	choose_two_lans(gateway);
	network_pin(&gateway->network, &gateway->conf);
	assert_int_equal(gateway->conf.lan_count, 2);
	assert_string_equal(gateway->conf.lans[1].name, "guest0");
	assert_int_equal(gateway->conf.lans[1].protocols, CONF_PROTOCOLS_DEFAULT);
	assert_string_equal(gateway->conf.wan.interface, "");
	choose_again(gateway);
	assert_int_equal(gateway->network.lan_count, 2);
	assert_int_equal(gateway->network.lans[1].igd, 3);
}

#define GATEWAY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		GATEWAY_TEST(test_auto),
		GATEWAY_TEST(test_wan_with_several_addresses),
		GATEWAY_TEST(test_wan_address_stays),
		GATEWAY_TEST(test_auto_without_default_route),
		GATEWAY_TEST(test_auto_without_lan),
		GATEWAY_TEST(test_auto_private_wan_is_no_lan),
		GATEWAY_TEST(test_named_and_missing),
		GATEWAY_TEST(test_configured_networks_are_kept),
		GATEWAY_TEST(test_third_party_and_anycast),
		GATEWAY_TEST(test_lan_is_wan),
		GATEWAY_TEST(test_automatic_choice_stays),
		GATEWAY_TEST(test_automatic_wan_follows_the_default_route),
		GATEWAY_TEST(test_automatic_wan_is_no_configured_lan),
		GATEWAY_TEST(test_automatic_lans_grow),
		GATEWAY_TEST(test_automatic_lans_are_no_tunnels),
		GATEWAY_TEST(test_named_lans_become_automatic),
		GATEWAY_TEST(test_wan_by_name_becomes_automatic),
		GATEWAY_TEST(test_former_wans_are_bounded),
		GATEWAY_TEST(test_place_without_protocols),
		GATEWAY_TEST(test_named_wan_without_a_route),
		GATEWAY_TEST(test_pin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
