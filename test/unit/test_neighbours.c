/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/flow_times.h"
#include "daemon/neighbours.h"
#include "test/unit/netlink_faults.h"
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
		/* the kernel gives up in three of these, of a second each elsewhere */
		"sysctl -qw net.ipv4.neigh.lan0.retrans_time_ms=100",
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

/* --- the watch --- */

#define HEARD_MAX 4096

/* What was told, in order. */
static struct heard {
	size_t count;
	uint32_t ifindex[HEARD_MAX];
	struct host_news news[HEARD_MAX];
} heard;

static void take_news(void *user, uint32_t ifindex, const struct host_news *news)
{
	(void)user;
	if (heard.count == HEARD_MAX)
		return;
	heard.ifindex[heard.count] = ifindex;
	heard.news[heard.count++] = *news;
}

static bool has_heard(const char *text, enum host_state state, uint8_t last)
{
	struct ip_addr addr = address(text);
	bool has_card = state != HOST_FORGOTTEN && state != HOST_FAILED;

	for (size_t i = 0; i < heard.count; i++)
		if (heard.ifindex[i] == lab.lan &&
		    addr_equal(&heard.news[i].addr, &addr) &&
		    heard.news[i].state == state &&
		    (!has_card || heard.news[i].mac[LEASE_MAC_SIZE - 1] == last))
			return true;
	return false;
}

/* Reads until it was told so; false at the deadline. */
static bool wait_heard(struct neighbour_watch *watch, const char *text,
		       enum host_state state, uint8_t last)
{
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;
	struct pollfd ready = {.fd = neighbour_watch_get_fd(watch), .events = POLLIN};

	while (!has_heard(text, state, last)) {
		if (clock_now_ms() > deadline_ms)
			return false;
		(void)poll(&ready, 1, 20);
		(void)neighbour_watch_drain(watch, take_news, NULL);
	}
	return true;
}

/* At the start everything, then what changes. */
static void test_watch(void **state)
{
	struct neighbour_watch *watch = neighbour_watch_new();
	struct ip_addr addr = address("192.168.9.3");

	(void)state;
	assert_non_null(watch);
	heard.count = 0;
	assert_true(neighbour_watch_ask_all(watch));
	assert_true(wait_heard(watch, "192.168.9.3", HOST_HEARD, 3));
	assert_true(wait_heard(watch, "fd09::3", HOST_FIXED, 3));
	assert_true(wait_heard(watch, "192.168.9.4", HOST_FAILED, 0));
	while (!neighbour_watch_has_told(watch))
		(void)neighbour_watch_drain(watch, take_news, NULL);
	/* of no card, or none to be asked */
	assert_false(has_heard("fd09::4", HOST_FIXED, 2));
	heard.count = 0;
	assert_true(netns_run("ip neigh replace 192.168.9.5 lladdr 02:00:00:00:09:05 "
			      "dev lan0 nud reachable"));
	assert_true(wait_heard(watch, "192.168.9.5", HOST_ANSWERS, 5));
	assert_true(netns_run("ip neigh replace 192.168.9.5 lladdr 02:00:00:00:09:06 "
			      "dev lan0 nud stale"));
	assert_true(wait_heard(watch, "192.168.9.5", HOST_HEARD, 6));
	assert_true(netns_run("ip neigh del 192.168.9.5 dev lan0"));
	assert_true(wait_heard(watch, "192.168.9.5", HOST_FORGOTTEN, 0));
	heard.count = 0;
	assert_true(neighbour_watch_ask(watch, lab.lan, &addr));
	assert_true(wait_heard(watch, "192.168.9.3", HOST_HEARD, 3));
	assert_int_equal(heard.count, 1);
	neighbour_watch_free(watch);
}

/* The kernel asks: who is there answers, who is not fails. */
static void test_probe(void **state)
{
	struct neighbour_watch *watch = neighbour_watch_new();
	struct ip_addr host = address("192.168.9.2"), gone = address("192.168.9.7");

	(void)state;
	assert_non_null(watch);
	assert_true(netns_run("ip neigh replace 192.168.9.2 lladdr 02:00:00:00:09:02 "
			      "dev lan0 nud stale"));
	assert_true(netns_run("ip neigh replace 192.168.9.7 lladdr 02:00:00:00:09:07 "
			      "dev lan0 nud stale"));
	assert_true(wait_heard(watch, "192.168.9.7", HOST_HEARD, 7));
	heard.count = 0;
	assert_true(neighbour_watch_probe(watch, lab.lan, &host));
	assert_true(neighbour_watch_probe(watch, lab.lan, &gone));
	assert_true(wait_heard(watch, "192.168.9.2", HOST_ANSWERS, 2));
	assert_true(wait_heard(watch, "192.168.9.7", HOST_FAILED, 0));
	/* of what the kernel knows nothing */
	assert_true(netns_run("ip neigh flush dev lan0 nud all"));
	heard.count = 0;
	assert_true(neighbour_watch_probe(watch, lab.lan, &gone));
	assert_true(neighbour_watch_resolve(watch, lab.lan, &host));
	assert_true(neighbour_watch_resolve(watch, lab.lan, &gone));
	assert_true(wait_heard(watch, "192.168.9.2", HOST_ANSWERS, 2));
	assert_true(wait_heard(watch, "192.168.9.7", HOST_FAILED, 0));
	neighbour_watch_free(watch);
}

/* More than the socket holds while nobody reads: it says so, and everything is told
 * again, a bounded number at a time. */
static void test_overrun(void **state)
{
	struct neighbour_watch *watch = neighbour_watch_new();
	bool lost = false;

	(void)state;
	assert_non_null(watch);
	assert_true(netns_run(
		"bash -c 'for n in 1 2 3 4; do for i in {1..250}; do echo neigh "
		"replace "
		"192.168.9.$i lladdr 02:00:00:00:$n:ff dev lan0 nud stale; done; done' "
		"| ip -batch -"));
	for (unsigned int i = 0; i < 1000 && !lost; i++) {
		heard.count = 0;
		lost = neighbour_watch_drain(watch, take_news, NULL);
		assert_in_range(heard.count, 0, HEARD_MAX - 1);
	}
	assert_true(lost);
	heard.count = 0;
	assert_true(neighbour_watch_ask_all(watch));
	assert_true(neighbour_watch_ask_all(watch));
	assert_true(wait_heard(watch, "192.168.9.249", HOST_HEARD, 0xff));
	neighbour_watch_free(watch);
	assert_true(netns_run("ip neigh flush dev lan0 nud all"));
}

/* --- the watch, where something fails --- */

/* As core does it, but at once; false at the deadline. */
static bool ask_until_told(struct neighbour_watch *watch)
{
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;
	struct pollfd ready = {.fd = neighbour_watch_get_fd(watch), .events = POLLIN};
	bool due = true;

	heard.count = 0;
	while (due || !neighbour_watch_has_told(watch)) {
		if (clock_now_ms() > deadline_ms)
			return false;
		due = due && !neighbour_watch_ask_all(watch);
		(void)poll(&ready, 1, 20);
		due = neighbour_watch_drain(watch, take_news, NULL) || due;
	}
	return true;
}

/* True when the call of this number was there to fail. */
static bool try_fault(enum fault_kind kind, size_t call, int error)
{
	struct neighbour_watch *watch = neighbour_watch_new();
	bool happened;

	assert_non_null(watch);
	fault_arm(kind, call, error);
	assert_true(ask_until_told(watch));
	happened = fault_disarm();
	assert_true(has_heard("192.168.9.3", HOST_HEARD, 3));
	assert_true(has_heard("fd09::3", HOST_FIXED, 3));
	neighbour_watch_free(watch);
	return happened;
}

/* Whatever is not sent, refused or lost: in the end everything is told. */
static void test_faults(void **state)
{
	static const enum fault_kind kinds[] = {FAULT_SEND, FAULT_ANSWER,
						FAULT_RECEIVE};
	static const int errors[] = {ENOBUFS, EBUSY, EINTR};

	(void)state;
	assert_true(
		netns_run("ip neigh replace 192.168.9.3 lladdr 02:00:00:00:09:03 dev "
			  "lan0 nud stale"));
	assert_true(netns_run("ip neigh replace fd09::3 lladdr 02:00:00:00:09:03 dev "
			      "lan0 nud permanent"));
	for (size_t kind = 0; kind < COUNT(kinds); kind++) {
		for (size_t error = 0; error < COUNT(errors); error++) {
			size_t call = 1;

			while (try_fault(kinds[kind], call, errors[error]))
				assert_in_range(++call, 2, 100);
			assert_in_range(call, 2, 100);
		}
	}
}

/* --- the watch, where the test is the kernel --- */

static struct played {
	struct neighbour_watch *watch;
	int kernel;
	uint32_t asked; /* number of the last question */
} played;

static int play_setup(void **state)
{
	int ends[2];

	(void)state;
	played.watch = neighbour_watch_new();
	assert_non_null(played.watch);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_true(dup2(ends[0], neighbour_watch_get_fd(played.watch)) >= 0);
	(void)close(ends[0]);
	played.kernel = ends[1];
	heard.count = 0;
	return 0;
}

static int play_teardown(void **state)
{
	(void)state;
	neighbour_watch_free(played.watch);
	(void)close(played.kernel);
	return 0;
}

static void play_be_asked(void)
{
	struct nlmsghdr header;

	assert_true(neighbour_watch_ask_all(played.watch));
	assert_true(recv(played.kernel, &header, sizeof(header), 0) ==
		    (ssize_t)sizeof(header));
	played.asked = header.nlmsg_seq;
}

static void play_tell(const struct nlmsghdr *message)
{
	assert_true(send(played.kernel, message, message->nlmsg_len, 0) ==
		    (ssize_t)message->nlmsg_len);
}

static void play_end(uint16_t type, uint16_t flags, int code)
{
	alignas(struct nlmsghdr) char buffer[64];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	int *error = mnl_nlmsg_put_extra_header(message, sizeof(*error));

	message->nlmsg_type = type;
	message->nlmsg_flags = flags;
	message->nlmsg_seq = played.asked;
	*error = code;
	play_tell(message);
}

static void play_entry(const char *text, uint8_t flags)
{
	alignas(struct nlmsghdr) char buffer[128];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ndmsg *entry = mnl_nlmsg_put_extra_header(message, sizeof(*entry));
	const uint8_t mac[LEASE_MAC_SIZE] = {2, 0, 0, 0, 9, 2};
	struct ip_addr addr = address(text);
	struct in_addr ipv4 = addr_to_ipv4(&addr);

	message->nlmsg_type = RTM_NEWNEIGH;
	entry->ndm_family = AF_INET;
	entry->ndm_ifindex = (int)lab.lan;
	entry->ndm_state = NUD_REACHABLE;
	entry->ndm_flags = flags;
	mnl_attr_put(message, NDA_DST, sizeof(ipv4), &ipv4);
	mnl_attr_put(message, NDA_LLADDR, sizeof(mac), mac);
	play_tell(message);
}

static bool play_drain(void)
{
	return neighbour_watch_drain(played.watch, take_news, NULL);
}

/* What this gateway answers for itself is no machine of the LAN. */
static void test_proxy_entry(void **state)
{
	(void)state;
	play_entry("192.168.9.20", NTF_PROXY);
	play_entry("192.168.9.21", 0);
	assert_false(play_drain());
	assert_false(has_heard("192.168.9.20", HOST_ANSWERS, 2));
	assert_true(has_heard("192.168.9.21", HOST_ANSWERS, 2));
}

/* A table that was told while it changed, or not to its end, is told again. */
static void test_dump_is_disturbed(void **state)
{
	(void)state;
	play_be_asked();
	play_end(NLMSG_DONE, NLM_F_MULTI, -ENOMEM);
	assert_true(play_drain());
	assert_false(neighbour_watch_has_told(played.watch));
	play_be_asked();
	play_end(NLMSG_ERROR, 0, -EBUSY);
	assert_true(play_drain());
	assert_false(neighbour_watch_has_told(played.watch));
	play_be_asked();
	play_end(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, 0);
	assert_true(play_drain());
	assert_true(neighbour_watch_has_told(played.watch));
	play_be_asked();
	/* asked once more while it is telling */
	assert_true(neighbour_watch_ask_all(played.watch));
	play_end(NLMSG_DONE, NLM_F_MULTI, 0);
	assert_true(play_drain());
	play_be_asked();
	play_end(NLMSG_DONE, NLM_F_MULTI, 0);
	assert_false(play_drain());
}

#define PLAYED_TEST(name)                                                              \
	cmocka_unit_test_setup_teardown(name, play_setup, play_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_host), cmocka_unit_test(test_two_hosts),
		cmocka_unit_test(test_unknown),	 cmocka_unit_test(test_flow_times),
		cmocka_unit_test(test_watch),	 cmocka_unit_test(test_probe),
		cmocka_unit_test(test_overrun),	 cmocka_unit_test(test_faults),
		PLAYED_TEST(test_proxy_entry),	 PLAYED_TEST(test_dump_is_disturbed),
	};

	if (netns_make_pair(&lab.pair) != 0) {
		(void)printf("SKIP: no permission to make a network namespace\n");
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
