/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/flow_times.h"
#include "daemon/neighbours.h"
#include "test/unit/netns.h"

#define DEADLINE_MS 5000
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* The host 192.168.9.2 = fd09::2 on lan0; a namespace beside it has other networks. */
static struct lab {
	struct netns_pair pair;
	struct neighbours *neighbours;
	uint32_t lan;
} lab;

static struct ip_addr address(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

static bool is_one(const char *a, const char *b)
{
	struct ip_addr one = address(a), other = address(b);

	return neighbours_are_one_host(lab.neighbours, lab.lan, &one, &other);
}

static bool run_all(const char *const *commands, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!netns_run(commands[i]))
			return false;
	return true;
}

/* Until the kernel has resolved the address, which a datagram to it makes it do. */
static void wait_known(const char *text)
{
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;

	while (!is_one(text, text)) {
		assert_true(clock_now_ms() < deadline_ms);
		(void)poll(NULL, 0, 2);
	}
}

static int setup(void **state)
{
	static const char *const hosts[] = {
		"ip link set host0 address 02:00:00:00:09:02 up",
		"ip address add 192.168.9.2/24 dev host0",
		"ip -6 address add fd09::2/64 dev host0 nodad",
	};
	static const char *const gateway[] = {
		"ip link set lan0 up",
		"ip address add 192.168.9.1/24 dev lan0",
		"ip -6 address add fd09::1/64 dev lan0 nodad",
		"ip neigh add 192.168.9.3 lladdr 02:00:00:00:09:03 dev lan0 nud stale",
		"ip neigh add fd09::3 lladdr 02:00:00:00:09:03 dev lan0 nud permanent",
		"ip neigh add 192.168.9.4 lladdr 02:00:00:00:09:02 dev lan0 nud failed",
		"ip neigh add fd09::4 dev lan0 nud noarp lladdr 02:00:00:00:09:02",
	};

	(void)state;
	if (!netns_make_link(&lab.pair, "lan0", "host0") ||
	    !run_all(hosts, COUNT(hosts)) || !netns_enter(lab.pair.gateway) ||
	    !run_all(gateway, COUNT(gateway)))
		return -1;
	lab.lan = if_nametoindex("lan0");
	lab.neighbours = neighbours_new();
	return lab.neighbours ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	neighbours_free(lab.neighbours);
	return 0;
}

/* V6FW-7: the card that answers for both addresses is one host's. */
static void test_one_host(void **state)
{
	(void)state;
	/* before it has spoken IPv6, nobody can tell: no */
	assert_false(is_one("192.168.9.2", "fd09::2"));
	assert_true(netns_run("bash -c 'echo x > /dev/udp/192.168.9.2/9'"));
	wait_known("192.168.9.2");
	assert_false(is_one("192.168.9.2", "fd09::2"));
	assert_true(netns_run("bash -c 'echo x > /dev/udp/fd09::2/9'"));
	wait_known("fd09::2");
	assert_true(is_one("192.168.9.2", "fd09::2"));
	assert_true(is_one("fd09::2", "192.168.9.2"));
	assert_true(is_one("192.168.9.3", "fd09::3"));
}

static void test_two_hosts(void **state)
{
	(void)state;
	wait_known("192.168.9.2");
	wait_known("fd09::2");
	assert_false(is_one("192.168.9.3", "fd09::2"));
	assert_false(is_one("192.168.9.2", "fd09::3"));
	assert_false(is_one("192.168.9.2", "192.168.9.3"));
}

/* What is gone, what never needed an answer, what is not there, our own address. */
static void test_unknown(void **state)
{
	static const char *const rows[] = {
		"192.168.9.4", "fd09::4",   "192.168.9.9", "fd09::9",
		"192.168.9.1", "fd09::1",   "192.168.8.1", "2001:db8::1",
		"0.0.0.0",     "127.0.0.1", "::1",
	};
	struct ip_addr addr = address("192.168.9.3");

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_false(is_one(rows[i], rows[i]));
		assert_false(is_one("192.168.9.3", rows[i]));
	}
	/* another interface, none, and one that there is not */
	assert_true(is_one("192.168.9.3", "192.168.9.3"));
	assert_false(
		neighbours_are_one_host(lab.neighbours, lab.lan + 1000, &addr, &addr));
	assert_false(neighbours_are_one_host(lab.neighbours, 0, &addr, &addr));
	assert_false(neighbours_are_one_host(lab.neighbours, if_nametoindex("lo"),
					     &addr, &addr));
}

/* V6FW-15: those of this namespace, not of the machine. */
static void test_flow_times(void **state)
{
	static const char *const commands[] = {
		"sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=7441",
		"sysctl -qw net.netfilter.nf_conntrack_udp_timeout_stream=183"};
	struct flow_times times;

	(void)state;
	if (access("/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream", W_OK) !=
	    0)
		skip();
	assert_true(run_all(commands, COUNT(commands)));
	times = flow_times_read();
	assert_int_equal(times.tcp_s, 7441);
	assert_int_equal(times.udp_s, 183);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_host),
		cmocka_unit_test(test_two_hosts),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_flow_times),
	};

	if (netns_make_pair(&lab.pair) != 0) {
		(void)printf("SKIP: no permission to make a network namespace\n");
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
