/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/wan.h"

#define DEADLINE_MS 5000

/* Everything happens in a network namespace of this process. */
struct fixture {
	struct wan *wan;
	struct links links;
};

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return done;
}

/* A namespace as root, or as root of a user namespace of our own. */
static bool enter_namespace(void)
{
	char map[64];
	unsigned int uid = geteuid();

	if (unshare(CLONE_NEWNET) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return false;
	(void)snprintf(map, sizeof(map), "0 %u 1", uid);
	return write_file("/proc/self/uid_map", map);
}

static void run(const char *command)
{
	assert_int_equal(system(command), 0);
}

/* Read anew when there is news, until `done`; fails after the deadline. */
static void wait_until(struct fixture *fixture, bool (*done)(const struct links *))
{
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;

	for (;;) {
		struct pollfd ready = {.fd = wan_get_fd(fixture->wan),
				       .events = POLLIN};
		int64_t left_ms = deadline_ms - clock_now_ms();

		assert_true(left_ms > 0);
		assert_true(poll(&ready, 1, (int)left_ms) >= 0);
		if (!wan_drain(fixture->wan))
			continue;
		assert_int_equal(wan_read(fixture->wan, &fixture->links), 0);
		if (done(&fixture->links))
			return;
	}
}

/* After this everything the kernel had to say about the past has been drained. */
static void settle(struct fixture *fixture)
{
	while (wan_drain(fixture->wan))
		assert_int_equal(wan_read(fixture->wan, &fixture->links), 0);
	assert_int_equal(wan_read(fixture->wan, &fixture->links), 0);
}

static void assert_address(const struct link *link, size_t place, const char *text)
{
	char buffer[PREFIX_TEXT_SIZE];

	assert_true(place < link->address_count);
	assert_string_equal(prefix_format(&link->addresses[place], buffer), text);
}

static const struct link *tw0(const struct links *links)
{
	return links_find_name(links, "tw0");
}

static bool tw0_is_there(const struct links *links)
{
	return tw0(links) != NULL;
}

static bool tw0_has_carrier(const struct links *links)
{
	return tw0(links) && tw0(links)->up && tw0(links)->carrier;
}

static bool tw0_is_down(const struct links *links)
{
	return tw0(links) && !tw0(links)->up;
}

static bool tw0_has_address(const struct links *links)
{
	return tw0(links) && tw0(links)->address_count == 1;
}

static bool tw0_has_no_address(const struct links *links)
{
	return tw0(links) && tw0(links)->address_count == 0;
}

static bool tw0_is_default(const struct links *links)
{
	return tw0(links) && links->default_ifindex == tw0(links)->ifindex;
}

static bool other_is_default(const struct links *links)
{
	const struct link *other = links_find_name(links, "tw1");

	return other && links->default_ifindex == other->ifindex;
}

static bool no_default(const struct links *links)
{
	return links->default_ifindex == 0;
}

static bool tw0_is_gone(const struct links *links)
{
	return tw0(links) == NULL;
}

static bool tw9_is_there(const struct links *links)
{
	return links_find_name(links, "tw9") != NULL;
}

static int setup(void **state)
{
	struct fixture *fixture = test_calloc(1, sizeof(*fixture));

	*state = fixture;
	/* no link-local addresses: the tests count addresses */
	(void)write_file("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1");
	assert_int_equal(wan_open(&fixture->wan), 0);
	assert_int_equal(wan_read(fixture->wan, &fixture->links), 0);
	run("ip link add tw0 type veth peer name tw1");
	wait_until(fixture, tw0_is_there);
	run("ip link set tw0 up && ip link set tw1 up");
	wait_until(fixture, tw0_has_carrier);
	settle(fixture);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	run("ip link del tw0 2>/dev/null || ip link del tw9 2>/dev/null || true");
	wan_close(fixture->wan);
	links_fini(&fixture->links);
	test_free(fixture);
	return 0;
}

static void test_links(void **state)
{
	struct fixture *fixture = *state;
	const struct link *lo = links_find_name(&fixture->links, "lo");

	assert_non_null(lo);
	assert_true(lo->loopback);
	assert_false(tw0(&fixture->links)->loopback);
	assert_ptr_equal(links_find_index(&fixture->links, lo->ifindex), lo);
	assert_null(links_find_index(&fixture->links, 0));
	assert_null(links_find_name(&fixture->links, "tw7"));
	run("ip link set tw0 down");
	wait_until(fixture, tw0_is_down);
	run("ip link set tw0 name tw9");
	wait_until(fixture, tw9_is_there);
	run("ip link del tw9");
	wait_until(fixture, tw0_is_gone);
}

static bool last_is_there(const struct links *links)
{
	const struct link *last = links_find_name(links, "zz0");

	return last && last->address_count == 1 &&
	       links->default_ifindex == last->ifindex;
}

/* A host of containers: what comes last is seen as what was there first. */
static void test_many_links(void **state)
{
	struct fixture *fixture = *state;

	run("for i in $(seq 200); do echo link add many$i type bridge; done | "
	    "ip -batch -");
	run("ip link add zz0 type bridge && ip link set zz0 up && "
	    "ip addr add 192.0.2.1/24 dev zz0 && ip route add default dev zz0");
	wait_until(fixture, last_is_there);
	assert_true(fixture->links.count > 200);
	run("ip link del zz0");
	settle(fixture);
	assert_null(links_find_name(&fixture->links, "zz0"));
	run("for i in $(seq 200); do echo link del many$i; done | ip -batch -");
	settle(fixture);
}

static void test_links_are_bounded(void **state)
{
	struct links links = {.default_ifindex = 7, .has_default = true};
	struct links copy = {.count = 0};
	struct link link = {.ifindex = 1};

	(void)state;
	for (; link.ifindex <= LINKS_MAX; link.ifindex++)
		assert_int_equal(links_add(&links, &link), 0);
	assert_int_equal(links_add(&links, &link), -ENOSPC);
	assert_int_equal(links_copy(&copy, &links), 0);
	links_clear(&links);
	assert_null(links_find_index(&links, 1));
	assert_int_equal(links.default_ifindex, 0);
	assert_int_equal(copy.count, LINKS_MAX);
	assert_int_equal(copy.default_ifindex, 7);
	assert_int_equal(links_find_place(&copy, LINKS_MAX, 3), LINKS_MAX - 1);
	assert_int_equal(links_find_place(&copy, LINKS_MAX + 1, 3), LINKS_MAX);
	links_fini(&links);
	links_fini(&copy);
}

static bool is_tunnel(const struct links *links, const char *name)
{
	const struct link *link = links_find_name(links, name);

	assert_non_null(link);
	return link->tunnel;
}

static void test_tunnels(void **state)
{
	struct fixture *fixture = *state;
	static const char *const tunnels[] = {"arp0", "tun7", "tap7", "vx7"};

	run("ip link add arp0 type veth peer name arp1 && ip link set arp0 arp off");
	run("ip link add br7 type bridge");
	settle(fixture);
	assert_true(is_tunnel(&fixture->links, "arp0"));
	assert_false(is_tunnel(&fixture->links, "arp1"));
	assert_false(is_tunnel(&fixture->links, "br7"));
	assert_false(is_tunnel(&fixture->links, "lo"));
	/* not every kernel has these */
	(void)!system("{ ip tuntap add tun7 mode tun; ip tuntap add tap7 mode tap; "
		      "ip link add vx7 type vxlan id 7 dstport 4789; } 2>/dev/null");
	settle(fixture);
	for (size_t i = 0; i < sizeof(tunnels) / sizeof(tunnels[0]); i++)
		if (links_find_name(&fixture->links, tunnels[i]))
			assert_true(is_tunnel(&fixture->links, tunnels[i]));
	run("ip link del arp0 && ip link del br7");
	(void)!system("for each in tun7 tap7 vx7; do ip link del $each; done "
		      "2>/dev/null");
	settle(fixture);
}

static void test_addresses(void **state)
{
	struct fixture *fixture = *state;

	run("ip addr add 192.0.2.1/24 dev tw0");
	wait_until(fixture, tw0_has_address);
	assert_address(tw0(&fixture->links), 0, "192.0.2.1/24");
	run("ip addr del 192.0.2.1/24 dev tw0");
	wait_until(fixture, tw0_has_no_address);
	run("ip addr add 10.1.2.3 peer 10.1.2.4/32 dev tw0");
	wait_until(fixture, tw0_has_address);
	assert_address(tw0(&fixture->links), 0, "10.1.2.3/32");
}

/* The good ones first, in whichever order they came. */
static void test_address_order(void **state)
{
	struct fixture *fixture = *state;
	const struct link *link;

	run("ip -6 addr add 2001:db8::d/64 dev tw0 nodad preferred_lft 0");
	run("ip -6 addr add fe80::1/64 dev tw0 nodad");
	run("ip -6 addr add 2001:db8::1/64 dev tw0 nodad");
	run("ip addr add 192.0.2.1/24 dev tw0");
	run("ip addr add 192.0.2.2/24 dev tw0");
	run("ip addr add 198.51.100.1/24 dev tw0");
	settle(fixture);
	link = tw0(&fixture->links);
	assert_int_equal(link->address_count, 6);
	assert_address(link, 0, "192.0.2.1/24");
	assert_address(link, 1, "198.51.100.1/24");
	assert_address(link, 2, "192.0.2.2/24");
	assert_address(link, 3, "2001:db8::1/64");
	assert_address(link, 4, "fe80::1/64");
	assert_address(link, 5, "2001:db8::d/64");
}

static void test_more_addresses_than_fit(void **state)
{
	struct fixture *fixture = *state;
	char command[96];

	for (unsigned int i = 1; i <= LINK_ADDRESSES_MAX + 2; i++) {
		(void)snprintf(command, sizeof(command),
			       "ip -6 addr add 2001:db8::%u/64 dev tw0 nodad", i);
		run(command);
	}
	run("ip addr add 192.0.2.1/24 dev tw0");
	settle(fixture);
	assert_int_equal(tw0(&fixture->links)->address_count, LINK_ADDRESSES_MAX);
	assert_address(tw0(&fixture->links), 0, "192.0.2.1/24");
}

static bool both_lead_out(const struct links *links)
{
	return tw0(links)->default_route &&
	       links_find_name(links, "tw1")->default_route && tw0_is_default(links);
}

static bool only_tw0_leads_out(const struct links *links)
{
	return tw0(links)->default_route &&
	       !links_find_name(links, "tw1")->default_route;
}

static bool none_anywhere(const struct links *links)
{
	return !links->has_default && !tw0(links)->default_route;
}

static bool one_anywhere(const struct links *links)
{
	return links->has_default && links->default_ifindex == 0;
}

static void test_default_route(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture->links.default_ifindex, 0);
	run("ip addr add 192.0.2.1/24 dev tw0");
	run("ip addr add 198.51.100.1/24 dev tw1");
	run("ip route add default via 192.0.2.254 dev tw0 metric 200");
	wait_until(fixture, tw0_is_default);
	run("ip route add default via 198.51.100.254 dev tw1 metric 100");
	wait_until(fixture, other_is_default);
	run("ip route del default via 198.51.100.254 dev tw1 metric 100");
	wait_until(fixture, tw0_is_default);
	/* each interface with a way out is marked, the better one or not */
	run("ip route add default via 198.51.100.254 dev tw1 metric 300");
	wait_until(fixture, both_lead_out);
	run("ip route del default via 198.51.100.254 dev tw1 metric 300");
	wait_until(fixture, only_tw0_leads_out);
	/* neither another table nor a route that leads nowhere is the default route */
	run("ip route del default");
	wait_until(fixture, none_anywhere);
	run("ip route add default dev tw1 table 100");
	run("ip route add blackhole default");
	wait_until(fixture, no_default);
	/* but policy routing may lead out by it */
	assert_true(one_anywhere(&fixture->links));
	run("ip route del blackhole default");
	run("ip route add default nexthop via 198.51.100.254 dev tw1 weight 1 "
	    "nexthop via 192.0.2.254 dev tw0 weight 1");
	wait_until(fixture, other_is_default);
}

static bool tw0_route_is(const struct links *links, const char *gateway,
			 const char *source)
{
	struct ip_addr expected[2] = {{{0}}, {{0}}};

	assert_true(gateway == NULL || addr_parse(gateway, &expected[0]));
	assert_true(source == NULL || addr_parse(source, &expected[1]));
	return addr_equal(&tw0(links)->route_gateway, &expected[0]) &&
	       addr_equal(&tw0(links)->route_source, &expected[1]);
}

static bool tw0_route_tells_the_router(const struct links *links)
{
	return tw0_route_is(links, "192.0.2.254", NULL);
}

static bool tw0_route_tells_both(const struct links *links)
{
	return tw0_route_is(links, "192.0.2.253", "192.0.2.2");
}

static bool tw0_route_tells_nothing(const struct links *links)
{
	return tw0(links)->default_route && tw0_route_is(links, NULL, NULL);
}

/* Whose address it goes out with, by the best route of those by this interface. */
static void test_default_route_details(void **state)
{
	struct fixture *fixture = *state;

	run("ip addr add 192.0.2.1/24 dev tw0 && ip addr add 192.0.2.2/24 dev tw0");
	run("ip route add default via 192.0.2.254 dev tw0 metric 200");
	wait_until(fixture, tw0_route_tells_the_router);
	run("ip route add default via 192.0.2.253 dev tw0 src 192.0.2.2 metric 100");
	wait_until(fixture, tw0_route_tells_both);
	run("ip route add default via 192.0.2.252 dev tw0 metric 300");
	settle(fixture);
	assert_true(tw0_route_tells_both(&fixture->links));
	run("ip route flush default && ip route add default dev tw0");
	wait_until(fixture, tw0_route_tells_nothing);
	run("ip route del default");
	run("ip route add default nexthop via 192.0.2.254 dev tw0 weight 1 "
	    "nexthop via 192.0.2.253 dev tw0 weight 1");
	wait_until(fixture, tw0_route_tells_the_router);
}

/* The kernel says nothing of the routes that go with a nexthop. */
static void test_nexthop_objects(void **state)
{
	struct fixture *fixture = *state;

	run("ip addr add 192.0.2.1/24 dev tw0");
	wait_until(fixture, tw0_has_address);
	if (system("ip nexthop add id 7 via 192.0.2.254 dev tw0 2>/dev/null") != 0)
		skip(); /* the kernel has none */
	run("ip route add default nhid 7");
	wait_until(fixture, tw0_is_default);
	assert_true(tw0_route_tells_the_router(&fixture->links));
	run("ip nexthop del id 7");
	wait_until(fixture, no_default);
	/* others than that of a way out are noise */
	run("ip nexthop add id 8 via 192.0.2.253 dev tw0 && ip nexthop del id 8");
	assert_false(wan_drain(fixture->wan));
}

static bool tw0_has_half_a_route(const struct links *links)
{
	return tw0(links)->half_route;
}

static bool no_half_routes(const struct links *links)
{
	return !tw0(links)->half_route;
}

/* What a VPN puts before the default route, which stays what it is. */
static void test_half_routes(void **state)
{
	struct fixture *fixture = *state;

	run("ip addr add 192.0.2.1/24 dev tw0 && ip addr add 198.51.100.1/24 dev tw1");
	run("ip route add default via 198.51.100.254 dev tw1");
	wait_until(fixture, other_is_default);
	run("ip route add 128.0.0.0/1 via 192.0.2.254 dev tw0");
	wait_until(fixture, tw0_has_half_a_route);
	assert_true(other_is_default(&fixture->links));
	assert_false(tw0(&fixture->links)->default_route);
	run("ip route del 128.0.0.0/1");
	wait_until(fixture, no_half_routes);
	run("ip route add 0.0.0.0/1 dev tw0");
	wait_until(fixture, tw0_has_half_a_route);
}

/* What does not concern us wakes core, but makes it read nothing. */
static void test_noise(void **state)
{
	struct fixture *fixture = *state;
	struct pollfd ready = {.fd = wan_get_fd(fixture->wan), .events = POLLIN};

	run("ip addr add 192.0.2.1/24 dev tw0");
	run("ip -6 addr add 2001:db8::1/64 dev tw0 nodad valid_lft 900 preferred_lft "
	    "900");
	settle(fixture);
	run("ip link set tw0 txqueuelen 77");
	run("ip -6 addr change 2001:db8::1/64 dev tw0 valid_lft 800 preferred_lft 800");
	run("ip route add 203.0.113.0/24 dev tw0");
	assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
	assert_false(wan_drain(fixture->wan));
	/* but this is news */
	run("ip -6 addr change 2001:db8::1/64 dev tw0 valid_lft 800 preferred_lft 0");
	assert_true(wan_drain(fixture->wan));
}

/* Messages that were dropped count as news. */
static void test_overrun(void **state)
{
	struct fixture *fixture = *state;
	int small = 1;

	assert_int_equal(setsockopt(wan_get_fd(fixture->wan), SOL_SOCKET, SO_RCVBUF,
				    &small, sizeof(small)),
			 0);
	run("for i in 1 2 3 4 5 6 7 8; do ip link set tw0 txqueuelen $i; done");
	assert_true(wan_drain(fixture->wan));
	assert_int_equal(wan_read(fixture->wan, &fixture->links), 0);
	assert_false(wan_drain(fixture->wan));
}

static void test_traffic(void **state)
{
	struct fixture *fixture = *state;
	struct link before;
	struct link after;
	uint32_t ifindex = tw0(&fixture->links)->ifindex;

	run("ip addr add 192.0.2.1/24 dev tw0");
	run("ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev tw0");
	assert_int_equal(wan_read_traffic(fixture->wan, ifindex, &before), 0);
	assert_string_equal(before.name, "tw0");
	run("bash -c 'echo -n 0123456789 > /dev/udp/192.0.2.9/9'");
	assert_int_equal(wan_read_traffic(fixture->wan, ifindex, &after), 0);
	assert_true(after.packets_out > before.packets_out);
	assert_true(after.octets_out >= before.octets_out + 38);
	assert_int_equal(wan_read_traffic(fixture->wan, 99999, &after), -ENODEV);
	/* the error left nothing behind that the next question trips over */
	settle(fixture);
	assert_non_null(tw0(&fixture->links));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_links, setup, teardown),
		cmocka_unit_test(test_links_are_bounded),
		cmocka_unit_test_setup_teardown(test_tunnels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_address_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_addresses_than_fit, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_default_route, setup, teardown),
		cmocka_unit_test_setup_teardown(test_default_route_details, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_nexthop_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_routes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overrun, setup, teardown),
		cmocka_unit_test_setup_teardown(test_traffic, setup, teardown),
	};

	if (!enter_namespace()) {
		(void)printf("SKIP: no permission to make a network namespace: %s\n",
			     strerror(errno));
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
