/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions about flows to the real kernel, which translates what goes from lan0 to
 * wan0 as a gateway does. One process is all hosts, since a socket stays in the
 * namespace it was made in:
 *
 *   host    192.168.77.10 -- lan0 gateway wan0 203.0.113.1 -- remote 203.0.113.2
 *           fd77::10                             2001:db8:1::1        2001:db8:1::2
 */
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
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sandbox.h"
#include "daemon/conntrack.h"
#include "test/unit/netns.h"

#define HOST "192.168.77.10"
#define HOST6 "fd77::10"
#define WAN "203.0.113.1"
#define REMOTE "203.0.113.2"
#define REMOTE6 "2001:db8:1::2"
#define PORT 5000
/* Where the gateway moves what leaves from PORT by UDP. */
#define MOVED_PORT 40000
#define SINK 7000
#define DEADLINE_MS 5000
/* What the kernel gives UDP, and a fresh TCP connection, at most, s. */
#define SHORT_MAX_S 200
#define LIFETIME_S 7200
#define NOBODY 65534

#define RULES                                                                          \
	"add table ip t\n"                                                             \
	"add chain ip t out { type nat hook postrouting priority srcnat; }\n"          \
	"add rule ip t out oifname wan0 udp sport 5000 snat to " WAN ":40000\n"        \
	"add rule ip t out oifname wan0 masquerade\n"                                  \
	"add chain ip t in { type nat hook prerouting priority dstnat; }\n"            \
	"add rule ip t in iifname wan0 udp dport 41000 dnat to " HOST ":5001\n"

static const char *const gateway_commands[] = {
	"ip addr add 192.168.77.1/24 dev lan0 && ip link set lan0 up",
	"ip addr add fd77::1/64 dev lan0 nodad",
	"ip addr add " WAN "/24 dev wan0 && ip link set wan0 up",
	"ip addr add 2001:db8:1::1/64 dev wan0 nodad",
	"echo 1 > /proc/sys/net/ipv4/ip_forward",
	"echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
	"nft '" RULES "'",
	/* IPv6 is tracked where a rule looks at it */
	"nft 'add table ip6 t\n"
	"add chain ip6 t f { type filter hook forward priority filter; }\n"
	"add rule ip6 t f ct state new accept\n'",
};

static const char *const host_commands[] = {
	"ip addr add " HOST "/24 dev host0 && ip link set host0 up",
	"ip addr add " HOST6 "/64 dev host0 nodad",
	"ip route add default via 192.168.77.1",
	"ip -6 route add default via fd77::1",
};

static const char *const remote_commands[] = {
	"ip addr add " REMOTE "/24 dev remote0 && ip link set remote0 up",
	"ip addr add " REMOTE6 "/64 dev remote0 nodad",
	"ip -6 route add default via 2001:db8:1::1",
};

static struct {
	struct netns_pair pair;
	int remote; /* namespace */
	struct conntrack *conntrack;
	bool forbidden; /* no permission to make namespaces: skip */
} lab;

static struct ip_addr address(const char *text)
{
	struct ip_addr addr = {{0}};

	assert_true(addr_parse(text, &addr));
	return addr;
}

static bool run_all(int ns, const char *const *commands, size_t count)
{
	if (!netns_enter(ns))
		return false;
	for (size_t i = 0; i < count; i++)
		if (!netns_run(commands[i]))
			return false;
	return true;
}

#define RUN_ALL(ns, commands)                                                          \
	run_all(ns, commands, sizeof(commands) / sizeof(*(commands)))

static int make_lab(void **state)
{
	char move[128];

	(void)state;
	if (netns_make_pair(&lab.pair) != 0) {
		lab.forbidden = true;
		return 0;
	}
	if (unshare(CLONE_NEWNET) != 0)
		return -1;
	lab.remote = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	(void)snprintf(move, sizeof(move), "ip link set remote0 netns /proc/%d/fd/%d",
		       getpid(), lab.remote);
	if (lab.remote < 0 || !netns_make_link(&lab.pair, "lan0", "host0") ||
	    !netns_make_link(&lab.pair, "wan0", "remote0") || !netns_run(move) ||
	    !RUN_ALL(lab.remote, remote_commands) ||
	    !RUN_ALL(lab.pair.gateway, gateway_commands) ||
	    !RUN_ALL(lab.pair.hosts, host_commands) || !netns_enter(lab.pair.gateway))
		return -1;
	return conntrack_open(&lab.conntrack);
}

static int end_lab(void **state)
{
	(void)state;
	conntrack_close(lab.conntrack);
	return 0;
}

static void need_lab(void **state)
{
	(void)state;
	if (lab.forbidden)
		skip();
}

/* --- hosts --- */

static int make_socket(int ns, int type, const char *text, uint16_t port)
{
	const struct ip_addr addr = address(text);
	struct sockaddr_storage storage;
	socklen_t length = addr_to_sockaddr(&addr, port, &storage);
	int one = 1;
	int fd;

	assert_true(netns_enter(ns));
	fd = socket(storage.ss_family, type | SOCK_CLOEXEC, 0);
	assert_true(netns_enter(lab.pair.gateway));
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)),
			 0);
	assert_int_equal(bind(fd, (const void *)&storage, length), 0);
	return fd;
}

static void send_to(int fd, const char *text, uint16_t port)
{
	const struct ip_addr addr = address(text);
	struct sockaddr_storage storage;
	socklen_t length = addr_to_sockaddr(&addr, port, &storage);

	assert_int_equal(sendto(fd, "x", 1, 0, (const void *)&storage, length), 1);
}

/* Until something is there; where it comes from. */
static struct sockaddr_storage await(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	struct sockaddr_storage from = {0};
	socklen_t length = sizeof(from);
	char byte;

	assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
	assert_int_equal(recvfrom(fd, &byte, 1, 0, (void *)&from, &length), 1);
	return from;
}

static struct flow make_flow(uint8_t protocol, const char *host, uint16_t port,
			     const char *remote, uint16_t remote_port)
{
	return (struct flow){
		.protocol = protocol,
		.internal = address(host),
		.internal_port = port,
		.remote = address(remote),
		.remote_port = remote_port,
	};
}

static uint32_t look(const struct flow *flow)
{
	struct flow now = *flow;

	assert_true(conntrack_find(lab.conntrack, &now));
	return now.left_s;
}

static void assert_addr(const struct ip_addr *addr, const char *text)
{
	char is[ADDR_TEXT_SIZE];

	assert_string_equal(addr_format(addr, is), text);
}

/* --- PCP-89: found, by the exact five-tuple --- */

static void test_pcp89_udp(void **state)
{
	need_lab(state);

	int host = make_socket(lab.pair.hosts, SOCK_DGRAM, HOST, PORT);
	int sink = make_socket(lab.remote, SOCK_DGRAM, REMOTE, SINK);
	struct flow flow = make_flow(IPPROTO_UDP, HOST, PORT, REMOTE, SINK);
	struct sockaddr_storage seen;
	struct flow other;

	assert_false(conntrack_find(lab.conntrack, &flow));
	send_to(host, REMOTE, SINK);
	seen = await(sink);
	assert_int_equal(addr_get_sockaddr_port(&seen), MOVED_PORT);
	assert_true(conntrack_find(lab.conntrack, &flow));
	assert_addr(&flow.external, WAN);
	assert_int_equal(flow.external_port, MOVED_PORT);
	assert_in_range(flow.left_s, 1, SHORT_MAX_S);
	/* what was asked for is untouched, and nothing else is found */
	assert_int_equal(flow.internal_port, PORT);
	assert_addr(&flow.remote, REMOTE);
	for (int i = 0; i < 5; i++) {
		other = flow;
		other.protocol = i == 0 ? IPPROTO_TCP : IPPROTO_UDP;
		other.internal_port = (uint16_t)(PORT + (i == 1));
		other.remote_port = (uint16_t)(SINK + (i == 2));
		other.internal.bytes[15] ^= (uint8_t)(i == 3);
		other.remote.bytes[15] ^= (uint8_t)(i == 4);
		assert_false(conntrack_find(lab.conntrack, &other));
	}
	close(host);
	close(sink);
}

static void test_pcp89_tcp(void **state)
{
	need_lab(state);

	int host = make_socket(lab.pair.hosts, SOCK_STREAM, HOST, PORT);
	int server = make_socket(lab.remote, SOCK_STREAM, REMOTE, SINK);
	struct flow flow = make_flow(IPPROTO_TCP, HOST, PORT, REMOTE, SINK);
	const struct ip_addr remote = address(REMOTE);
	struct sockaddr_storage storage;
	socklen_t length = addr_to_sockaddr(&remote, SINK, &storage);

	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(connect(host, (const void *)&storage, length), 0);
	assert_true(conntrack_find(lab.conntrack, &flow));
	assert_addr(&flow.external, WAN);
	assert_int_equal(flow.external_port, PORT);
	/* PCP-90: what lasts for days is not cut to two hours */
	assert_true(flow.left_s > LIFETIME_S);
	assert_int_equal(conntrack_extend(lab.conntrack, &flow, LIFETIME_S), 0);
	assert_true(look(&flow) > LIFETIME_S);
	close(host);
	close(server);
}

static void test_pcp89_ipv6(void **state)
{
	need_lab(state);

	int host = make_socket(lab.pair.hosts, SOCK_DGRAM, HOST6, PORT);
	int sink = make_socket(lab.remote, SOCK_DGRAM, REMOTE6, SINK);
	struct flow flow = make_flow(IPPROTO_UDP, HOST6, PORT, REMOTE6, SINK);

	assert_false(conntrack_find(lab.conntrack, &flow));
	send_to(host, REMOTE6, SINK);
	(void)await(sink);
	assert_true(conntrack_find(lab.conntrack, &flow));
	assert_addr(&flow.external, HOST6);
	assert_int_equal(flow.external_port, PORT);
	assert_in_range(flow.left_s, 1, SHORT_MAX_S);
	assert_int_equal(conntrack_extend(lab.conntrack, &flow, LIFETIME_S), 0);
	assert_in_range(look(&flow), LIFETIME_S - 60, LIFETIME_S);
	close(host);
	close(sink);
}

/* The peer began it, by a mapping: it is the same flow of the same two endpoints. */
static void test_pcp89_begun_by_the_peer(void **state)
{
	need_lab(state);

	int host = make_socket(lab.pair.hosts, SOCK_DGRAM, HOST, 5001);
	int peer = make_socket(lab.remote, SOCK_DGRAM, REMOTE, 7001);
	struct flow flow = make_flow(IPPROTO_UDP, HOST, 5001, REMOTE, 7001);

	send_to(peer, WAN, 41000);
	(void)await(host);
	assert_true(conntrack_find(lab.conntrack, &flow));
	assert_addr(&flow.external, WAN);
	assert_int_equal(flow.external_port, 41000);
	assert_int_equal(conntrack_extend(lab.conntrack, &flow, LIFETIME_S), 0);
	assert_in_range(look(&flow), LIFETIME_S - 60, LIFETIME_S);
	close(host);
	close(peer);
}

/* The kernel has no room for two flows of one external endpoint to one peer. */
static void test_taken(void **state)
{
	need_lab(state);

	int host = make_socket(lab.pair.hosts, SOCK_DGRAM, HOST, 5004);
	int sink = make_socket(lab.remote, SOCK_DGRAM, REMOTE, 7004);
	struct flow flow = make_flow(IPPROTO_UDP, HOST, 5004, REMOTE, 7004);

	flow.external = address(WAN);
	flow.external_port = 5004;
	assert_false(conntrack_is_taken(lab.conntrack, &flow));
	/* a peer that is early is in nobody's way */
	send_to(sink, WAN, 5004);
	flow.internal_port = 5005;
	assert_false(conntrack_is_taken(lab.conntrack, &flow));
	send_to(host, REMOTE, 7005); /* another one: that port is free for it */
	flow.remote_port = 7005;
	assert_true(conntrack_is_taken(lab.conntrack, &flow));
	flow.internal_port = 5004; /* our own is no other */
	assert_false(conntrack_is_taken(lab.conntrack, &flow));
	flow.internal = address("192.168.77.11");
	assert_true(conntrack_is_taken(lab.conntrack, &flow));
	flow.external_port = 5006;
	assert_false(conntrack_is_taken(lab.conntrack, &flow));
	close(host);
	close(sink);
}

/* --- PCP-89, PCP-90: it lives longer, never shorter --- */

static void test_pcp90_extend(void **state)
{
	need_lab(state);

	int host = make_socket(lab.pair.hosts, SOCK_DGRAM, HOST, 5002);
	int sink = make_socket(lab.remote, SOCK_DGRAM, REMOTE, 7002);
	struct flow flow = make_flow(IPPROTO_UDP, HOST, 5002, REMOTE, 7002);

	assert_int_equal(conntrack_extend(lab.conntrack, &flow, LIFETIME_S), -ENOENT);
	assert_false(conntrack_find(lab.conntrack, &flow)); /* nor was it made */
	send_to(host, REMOTE, 7002);
	(void)await(sink);
	assert_in_range(look(&flow), 1, SHORT_MAX_S);
	assert_int_equal(conntrack_extend(lab.conntrack, &flow, LIFETIME_S), 0);
	assert_in_range(look(&flow), LIFETIME_S - 60, LIFETIME_S);
	assert_int_equal(conntrack_extend(lab.conntrack, &flow, 0), 0);
	assert_int_equal(conntrack_extend(lab.conntrack, &flow, 600), 0);
	assert_in_range(look(&flow), LIFETIME_S - 60, LIFETIME_S);
	assert_int_equal(conntrack_extend(lab.conntrack, &flow, 2 * LIFETIME_S), 0);
	assert_in_range(look(&flow), 2 * LIFETIME_S - 60, 2 * LIFETIME_S);
	/* more than the kernel can count is as much as it can */
	assert_int_equal(conntrack_extend(lab.conntrack, &flow, UINT32_MAX), 0);
	assert_true(look(&flow) > LIFETIME_S);
	close(host);
	close(sink);
}

/* --- as core has it: another user, one capability, the filter --- */

/* The socket is made inside, too: core opens it when it is in its sandbox already. */
static int run_as_core(const struct flow *flow)
{
	struct conntrack *conntrack;
	struct flow now = *flow;

	if (sandbox_enter(SANDBOX_CORE, NOBODY, NOBODY, false) != 0)
		return 1;
	if (conntrack_open(&conntrack) != 0)
		return 2;
	if (!conntrack_find(conntrack, &now) || now.external_port != 5003)
		return 3;
	if (conntrack_extend(conntrack, flow, LIFETIME_S) != 0)
		return 4;
	conntrack_close(conntrack);
	return 0;
}

static void test_core(void **state)
{
	need_lab(state);

	int host = make_socket(lab.pair.hosts, SOCK_DGRAM, HOST, 5003);
	int sink = make_socket(lab.remote, SOCK_DGRAM, REMOTE, 7003);
	const struct flow flow = make_flow(IPPROTO_UDP, HOST, 5003, REMOTE, 7003);
	int status;
	pid_t child;

	if (getuid() != 0)
		skip(); /* in a user namespace there is no other user to become */
	send_to(host, REMOTE, 7003);
	(void)await(sink);
	child = fork();
	if (child == 0)
		_exit(run_as_core(&flow));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_in_range(look(&flow), LIFETIME_S - 60, LIFETIME_S);
	close(host);
	close(sink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pcp89_udp),
		cmocka_unit_test(test_pcp89_tcp),
		cmocka_unit_test(test_pcp89_ipv6),
		cmocka_unit_test(test_pcp89_begun_by_the_peer),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_pcp90_extend),
		cmocka_unit_test(test_core),
	};

	return cmocka_run_group_tests(tests, make_lab, end_lab);
}
