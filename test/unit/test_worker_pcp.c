/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real worker between real packets and a core of straw. Two network namespaces: the
 * gateway's, in which the worker opens its sockets, and that of all hosts around it:
 *
 *   gateway  lan0 192.168.77.1, .2  ----  host0 192.168.77.10  hosts
 *            lan1 192.168.78.1      ----  host1 192.168.78.10
 *            wan0 198.51.100.1      ----  host2 198.51.100.2
 *
 * A socket stays in the namespace it was made in, so one process can be both sides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/msg.h"
#include "protocols/announce.h"
#include "protocols/datagram.h"
#include "protocols/natpmp.h"
#include "protocols/throttle.h"
#include "protocols/worker.h"
#include "test/unit/netns.h"

#define DEADLINE_MS 5000
#define TICK_US 10000
#define INBOX_MAX 256
#define REQUESTS_MAX 2048
#define EPOCH_S 3600
#define EPOCH_MS 3600000

enum { LAN0, LAN1, WAN0, LINKS };

struct packet {
	struct ip_addr from;
	uint16_t from_port;
	int64_t at_ms;
	size_t length;
	uint8_t bytes[2048];
};

/* One socket of a host, and what it received. */
struct host {
	int fd;
	int error; /* of the last receive */
	struct event *readable;
	size_t count;
	struct packet inbox[INBOX_MAX];
};

/* The straw core, and what it was told. */
struct core {
	struct msg_channel *channel;
	bool answers; /* grants everything at once */
	size_t requests;
	struct request list[REQUESTS_MAX];
	size_t readies;
	struct worker_ready ready;
	bool ended;
};

struct lab {
	struct netns_pair ns;
	uint32_t ifindex[LINKS];
	struct event_base *base;
	struct event *tick;
	struct worker *worker;
	struct core core;
	struct wan_info wan;
};

static struct lab lab;
static const char *skip_reason; /* no permission; anything else is a failure */

/* The lab. Errors: false, told. */
static bool make_lab(void)
{
	if (netns_make_pair(&lab.ns) < 0) {
		skip_reason = "no permission to make network namespaces";
		return false;
	}
	if (!netns_make_link(&lab.ns, "lan0", "host0") ||
	    !netns_make_link(&lab.ns, "lan1", "host1") ||
	    !netns_make_link(&lab.ns, "wan0", "host2") ||
	    !netns_run("ip addr add 192.168.77.10/24 dev host0 && "
		       "ip addr add 192.168.78.10/24 dev host1 && "
		       "ip addr add 198.51.100.2/24 dev host2 && "
		       "ip link set host0 up && ip link set host1 up && "
		       "ip link set host2 up && ip link set lo up && "
		       /* Hosts that forge: every gateway address by every link. */
		       "ip route add 192.168.77.0/24 dev host1 metric 500 && "
		       "ip route add 192.168.77.0/24 dev host2 metric 501 && "
		       "ip route add 198.51.100.0/24 dev host0 metric 500") ||
	    !netns_enter(lab.ns.gateway) ||
	    !netns_run("ip addr add 192.168.77.1/24 dev lan0 && "
		       "ip addr add 192.168.77.2/24 dev lan0 && "
		       "ip addr add 192.168.78.1/24 dev lan1 && "
		       "ip addr add 198.51.100.1/24 dev wan0 && "
		       "ip link set lan0 up && ip link set lan1 up && "
		       "ip link set wan0 up && ip link set lo up && "
		       /* NP-3: the checks are ours, not the kernel's. */
		       "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do "
		       "echo 0 > $f; done"))
		return false;
	lab.ifindex[LAN0] = if_nametoindex("lan0");
	lab.ifindex[LAN1] = if_nametoindex("lan1");
	lab.ifindex[WAN0] = if_nametoindex("wan0");
	return true;
}

/* Turning the loop. */

static void on_tick(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	(void)user;
}

/* One turn of the loop; true while there is time left. */
static bool turn(int64_t deadline_ms)
{
	(void)event_base_loop(lab.base, EVLOOP_ONCE);
	return clock_now_ms() < deadline_ms;
}

static void wait_for_packets(const struct host *host, size_t count)
{
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;

	while (host->count < count)
		assert_true(turn(deadline_ms));
}

static void wait_for_requests(size_t count)
{
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;

	while (lab.core.requests < count)
		assert_true(turn(deadline_ms));
}

static void wait_for_ready(uint32_t sockets, uint32_t failed)
{
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;

	while (lab.core.readies == 0 || lab.core.ready.sockets != sockets ||
	       lab.core.ready.failed != failed)
		assert_true(turn(deadline_ms));
}

/* Hosts. */

static void on_host_readable(evutil_socket_t fd, short what, void *user)
{
	struct host *host = user;
	struct packet *packet = &host->inbox[host->count];
	struct sockaddr_storage from = {0};
	socklen_t size = sizeof(from);
	ssize_t length;

	(void)what;
	length = recvfrom(fd, packet->bytes, sizeof(packet->bytes), MSG_DONTWAIT,
			  (struct sockaddr *)&from, &size);
	if (length < 0) {
		host->error = errno;
		return;
	}
	assert_true(host->count + 1 < INBOX_MAX);
	packet->at_ms = clock_now_ms();
	packet->length = (size_t)length;
	packet->from = addr_from_sockaddr(&from);
	packet->from_port = addr_get_sockaddr_port(&from);
	host->count++;
}

static struct ip_addr ip(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

/* A host's socket on one of its links, with an address that need not belong there. */
static struct host *host_new(const char *device, const char *address, uint16_t port)
{
	struct host *host = calloc(1, sizeof(*host));
	struct ip_addr addr = ip(address);
	struct sockaddr_storage local;
	socklen_t size = addr_to_sockaddr(&addr, port, &local);
	const int on = 1;

	assert_non_null(host);
	assert_true(netns_enter(lab.ns.hosts));
	host->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(netns_enter(lab.ns.gateway));
	assert_true(host->fd >= 0);
	assert_int_equal(setsockopt(host->fd, SOL_SOCKET, SO_BINDTODEVICE, device,
				    (socklen_t)strlen(device) + 1),
			 0);
	assert_int_equal(
		setsockopt(host->fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), 0);
	assert_int_equal(bind(host->fd, (struct sockaddr *)&local, size), 0);
	host->readable = event_new(lab.base, host->fd, EV_READ | EV_PERSIST,
				   on_host_readable, host);
	assert_non_null(host->readable);
	assert_int_equal(event_add(host->readable, NULL), 0);
	return host;
}

static void host_free(struct host *host)
{
	event_free(host->readable);
	close(host->fd);
	free(host);
}

static void host_send(const struct host *host, const char *to, const void *bytes,
		      size_t length)
{
	struct ip_addr addr = ip(to);
	struct sockaddr_storage peer;
	socklen_t size = addr_to_sockaddr(&addr, NATPMP_PORT, &peer);

	assert_int_equal(
		sendto(host->fd, bytes, length, 0, (struct sockaddr *)&peer, size),
		length);
}

static void host_ask(const struct host *host, const char *to,
		     const struct natpmp_request *request)
{
	uint8_t bytes[16];
	size_t length = natpmp_encode_request(request, bytes, sizeof(bytes));

	host_send(host, to, bytes, length);
}

/* Ask for the address on the same socket and see that its answer is the next packet:
 * whatever was sent before was met with silence. */
static void assert_silence(struct host *host, const char *to)
{
	size_t before = host->count;

	host_send(host, to, "\0\0", 2);
	wait_for_packets(host, before + 1);
	assert_int_equal(host->inbox[before].length, 12);
	assert_memory_equal(host->inbox[before].bytes, "\x00\x80\x00\x00", 4);
	assert_int_equal(host->count, before + 1);
}

static struct natpmp_reply read_reply(const struct packet *packet)
{
	struct natpmp_reply reply;

	assert_true(natpmp_decode_reply(packet->bytes, packet->length, &reply));
	return reply;
}

/* Core. */

static void core_send(uint32_t type, const void *body, size_t length)
{
	assert_int_equal(msg_channel_send(lab.core.channel, type, body, length), 0);
}

static void core_grant(const struct request *request)
{
	struct reply reply = {
		.cookie = request->cookie,
		.op = request->op,
		.result = RESULT_OK,
		.protocol = request->protocol,
		.internal_port = request->internal_port,
		.external_port = 50000,
		.lifetime_s = 1800,
		.epoch_s = EPOCH_S,
	};

	if (request->op != REQUEST_MAP) {
		reply.external_port = 0;
		reply.lifetime_s = 0;
	}
	core_send(MSG_REPLY, &reply, sizeof(reply));
}

static int core_on_message(void *user, uint32_t type, const void *body, size_t length,
			   int fd)
{
	struct core *core = user;

	assert_int_equal(fd, -1);
	if (type == MSG_READY) {
		assert_int_equal(length, sizeof(core->ready));
		memcpy(&core->ready, body, length);
		core->readies++;
		return 0;
	}
	assert_int_equal(type, MSG_REQUEST);
	assert_int_equal(length, sizeof(struct request));
	assert_true(core->requests < REQUESTS_MAX);
	memcpy(&core->list[core->requests], body, length);
	if (core->answers)
		core_grant(&core->list[core->requests]);
	core->requests++;
	return 0;
}

static void core_on_ended(void *user, int error)
{
	struct core *core = user;

	(void)error;
	core->ended = true;
}

static void core_send_wan(const char *external, bool nat)
{
	lab.wan.external = ip(external);
	lab.wan.nat = nat;
	core_send(MSG_WAN, &lab.wan, sizeof(lab.wan));
}

static struct prefix prefix_of(const char *address)
{
	return (struct prefix){.addr = ip(address), .length = 120};
}

static struct lan_info lan_of(int i)
{
	struct lan_info lan = {
		.lan = (uint16_t)i,
		.protocols = LAN_PROTOCOL_NATPMP,
		.ifindex = lab.ifindex[i],
		.address_count = i == LAN0 ? 2 : 1,
		.network_count = 1,
	};

	(void)snprintf(lan.name, sizeof(lan.name), "lan%d", i);
	lan.addresses[0] = prefix_of(i == LAN0 ? "192.168.77.1" : "192.168.78.1");
	if (i == LAN0)
		lan.addresses[1] = prefix_of("192.168.77.2");
	lan.networks[0] = prefix_of(i == LAN0 ? "192.168.77.0" : "192.168.78.0");
	return lan;
}

static void core_send_lan(int i)
{
	struct lan_info lan = lan_of(i);

	core_send(MSG_LAN, &lan, sizeof(lan));
}

/* Both LANs served, external address 203.0.113.5. */
static void core_send_all(void)
{
	struct worker_setup setup = {0};

	core_send(MSG_SETUP, &setup, sizeof(setup));
	core_send_wan("203.0.113.5", true);
	core_send_lan(LAN0);
	core_send_lan(LAN1);
}

/* Each test gets its own worker. */

static int setup(void **state)
{
	static const struct msg_handler handler = {core_on_message, NULL,
						   core_on_ended};
	const struct timeval tick = {.tv_usec = TICK_US};
	int pair[2];

	(void)state;
	if (skip_reason)
		return 0;
	lab.base = event_base_new();
	assert_non_null(lab.base);
	lab.tick = event_new(lab.base, -1, EV_PERSIST, on_tick, NULL);
	assert_non_null(lab.tick);
	assert_int_equal(event_add(lab.tick, &tick), 0);
	assert_int_equal(msg_pair(pair), 0);
	memset(&lab.core, 0, sizeof(lab.core));
	memset(&lab.wan, 0, sizeof(lab.wan));
	lab.wan.epoch_origin_ms = clock_now_ms() - EPOCH_MS;
	lab.core.channel = msg_channel_new(lab.base, pair[0], &handler, &lab.core);
	assert_non_null(lab.core.channel);
	lab.worker = worker_get_pcp()->start(lab.base, pair[1]);
	assert_non_null(lab.worker);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (skip_reason)
		return 0;
	worker_get_pcp()->stop(lab.worker);
	msg_channel_free(lab.core.channel);
	event_free(lab.tick);
	event_base_free(lab.base);
	return 0;
}

static void begin(void)
{
	if (skip_reason) {
		print_message("skipped: %s\n", skip_reason);
		skip();
	}
}

static void begin_served(void)
{
	begin();
	core_send_all();
	wait_for_ready(2, 0);
}

/* NP-1, NP-20, NP-23: the answer comes from the very address and port that was asked.
 */
static void test_address_and_source(void **state)
{
	static const char *const gateways[] = {"192.168.77.1", "192.168.77.2"};
	struct host *host;

	(void)state;
	begin_served();
	host = host_new("host0", "192.168.77.10", 0);
	for (size_t i = 0; i < 2; i++) {
		struct ip_addr gateway = ip(gateways[i]);
		struct natpmp_reply reply;

		host_send(host, gateways[i], "\0\0", 2);
		wait_for_packets(host, i + 1);
		assert_true(addr_equal(&host->inbox[i].from, &gateway));
		assert_int_equal(host->inbox[i].from_port, NATPMP_PORT);
		assert_int_equal(host->inbox[i].length, NATPMP_ADDRESS_REPLY_SIZE);
		reply = read_reply(&host->inbox[i]);
		assert_int_equal(reply.code, 0);
		assert_int_equal(ntohl(reply.address.s_addr), 0xcb007105);
		assert_in_range(reply.epoch_s, EPOCH_S, EPOCH_S + 1);
	}
	assert_int_equal(lab.core.requests, 0);
	host_free(host);
}

/* NP-22, NP-25. */
static void test_address_unknown(void **state)
{
	struct host *host;
	struct natpmp_reply reply;

	(void)state;
	begin_served();
	core_send_wan("0.0.0.0", true);
	lab.core.readies = 0;
	wait_for_ready(2, 0);
	host = host_new("host0", "192.168.77.10", 0);
	host_send(host, "192.168.77.1", "\0\0", 2);
	wait_for_packets(host, 1);
	assert_int_equal(host->inbox[0].length, NATPMP_ADDRESS_REPLY_SIZE);
	reply = read_reply(&host->inbox[0]);
	assert_int_equal(reply.code, NATPMP_CODE_NETWORK);
	assert_int_equal(reply.address.s_addr, 0);
	host_free(host);
}

/* NP-4: what core learns is what the packet was; NP-1 and NP-24 for its answer. */
static void test_map(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_TCP, 1234, 5678, 7200};
	struct ip_addr client = ip("192.168.78.10");
	struct ip_addr gateway = ip("192.168.78.1");
	const struct request *request = &lab.core.list[0];
	struct natpmp_reply reply;
	struct host *host;

	(void)state;
	begin_served();
	lab.core.answers = true;
	host = host_new("host1", "192.168.78.10", 0);
	host_ask(host, "192.168.78.1", &asked);
	wait_for_packets(host, 1);
	assert_int_equal(lab.core.requests, 1);
	assert_int_equal(request->op, REQUEST_MAP);
	assert_int_equal(request->lan, LAN1);
	assert_int_equal(request->ifindex, lab.ifindex[LAN1]);
	assert_true(addr_equal(&request->client, &client));
	assert_true(addr_equal(&request->internal, &client));
	assert_int_equal(request->internal_port, 1234);
	assert_int_equal(request->external_port, 5678);
	assert_int_equal(request->lifetime_s, 7200);
	assert_int_equal(host->inbox[0].length, NATPMP_MAP_REPLY_SIZE);
	assert_true(addr_equal(&host->inbox[0].from, &gateway));
	reply = read_reply(&host->inbox[0]);
	assert_int_equal(reply.op, NATPMP_OP_MAP_TCP);
	assert_int_equal(reply.code, 0);
	assert_int_equal(reply.epoch_s, EPOCH_S);
	assert_int_equal(reply.internal_port, 1234);
	assert_int_equal(reply.external_port, 50000);
	assert_int_equal(reply.lifetime_s, 1800);
	host_free(host);
}

/* NP-43, NP-45, NP-47: deletions, of which core grants two and refuses one. */
static void test_delete(void **state)
{
	const struct natpmp_request one = {NATPMP_OP_MAP_UDP, 1234, 0, 0};
	const struct natpmp_request all = {NATPMP_OP_MAP_TCP, 0, 0, 0};
	struct reply refusal = {.result = RESULT_FOREIGN, .epoch_s = EPOCH_S};
	struct natpmp_reply reply;
	struct host *host;

	(void)state;
	begin_served();
	lab.core.answers = true;
	host = host_new("host0", "192.168.77.10", 0);
	host_ask(host, "192.168.77.1", &one);
	wait_for_packets(host, 1);
	assert_int_equal(lab.core.list[0].op, REQUEST_UNMAP);
	reply = read_reply(&host->inbox[0]);
	assert_int_equal(reply.code | reply.external_port, 0);
	assert_int_equal(reply.internal_port, 1234);
	assert_int_equal(reply.lifetime_s, 0);
	lab.core.answers = false;
	host_ask(host, "192.168.77.1", &all);
	wait_for_requests(2);
	assert_int_equal(lab.core.list[1].op, REQUEST_UNMAP_ALL);
	assert_int_equal(lab.core.list[1].protocol, IPPROTO_TCP);
	refusal.cookie = lab.core.list[1].cookie;
	core_send(MSG_REPLY, &refusal, sizeof(refusal));
	wait_for_packets(host, 2);
	assert_int_equal(host->inbox[1].length, NATPMP_MAP_REPLY_SIZE);
	reply = read_reply(&host->inbox[1]);
	assert_int_equal(reply.code, NATPMP_CODE_REFUSED);
	assert_int_equal(reply.internal_port, 0);
	host_free(host);
}

/* NP-11, NP-30: the same request nine times is asked nine times and answered the same;
 * a burst of many is answered in full. */
static void test_bursts(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_UDP, 9, 9, 60};
	struct host *host;

	(void)state;
	begin_served();
	lab.core.answers = true;
	host = host_new("host0", "192.168.77.10", 0);
	for (int i = 0; i < 9; i++)
		host_ask(host, "192.168.77.1", &asked);
	wait_for_packets(host, 9);
	for (int i = 1; i < 9; i++)
		assert_memory_equal(host->inbox[i].bytes, host->inbox[0].bytes, 16);
	for (uint16_t i = 0; i < 150; i++)
		host_ask(host, "192.168.77.2",
			 &(struct natpmp_request){NATPMP_OP_MAP_TCP, i + 1, 0, 60});
	wait_for_packets(host, 159);
	assert_int_equal(lab.core.requests, 159);
	for (uint16_t i = 0; i < 150; i++)
		assert_int_equal(read_reply(&host->inbox[9 + i]).internal_port, i + 1);
	host_free(host);
}

/* NP-12, NP-13, NP-17 and everything else that gets no answer. */
static void test_garbage_silence(void **state)
{
	static const struct {
		size_t length;
		uint8_t bytes[16];
	} rows[] = {
		{0, {0}},	    {1, {0}},
		{1, {2}},	    {2, {0, 0x80}},
		{2, {0, 0xff}},	    {4, {2, 0x81}},
		{16, {0, 0x81}},    {12, {0, 0x80}},
		{2, {0, 1}},	    {11, {0, 2, 0, 0, 1}},
		{16, {0xff, 0xff}},
	};
	static uint8_t big[2000]; /* an unknown opcode, longer than anything ours */
	struct host *host;

	(void)state;
	begin_served();
	host = host_new("host0", "192.168.77.10", 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		host_send(host, "192.168.77.1", rows[i].bytes, rows[i].length);
		assert_silence(host, "192.168.77.1");
	}
	big[1] = 77;
	for (size_t length = 1101; length <= sizeof(big); length += 101) {
		host_send(host, "192.168.77.1", big, length);
		assert_silence(host, "192.168.77.1");
	}
	assert_int_equal(lab.core.requests, 0);
	host_free(host);
}

/* NP-14, NP-16, NP-18, NP-21, NP-39: what the worker answers by itself. */
static void test_garbage_answered(void **state)
{
	static const struct {
		uint8_t length;
		uint8_t bytes[20];
		uint8_t want_length;
		uint8_t want[4];
	} rows[] = {
		{2, {2, 0}, 8, {0, 0x80, 0, 1}},
		{4, {1, 2, 3, 4}, 8, {0, 0x80, 0, 1}},
		{20, {2, 1}, 8, {0, 0x80, 0, 1}},
		{2, {0, 3}, 8, {0, 0x83, 0, 5}},
		{20, {0, 9, 1, 2, 3}, 20, {0, 0x89, 0, 5}},
		{4, {0, 0, 0, 0}, 12, {0, 0x80, 0, 0}},
		{12, {0, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 9}, 16, {0, 0x81, 0, 2}},
		{12, {0, 2, 0, 0, 0, 0, 0, 9}, 16, {0, 0x82, 0, 2}},
	};
	struct host *host;

	(void)state;
	begin_served();
	host = host_new("host0", "192.168.77.10", 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		host_send(host, "192.168.77.1", rows[i].bytes, rows[i].length);
		wait_for_packets(host, i + 1);
		assert_int_equal(host->inbox[i].length, rows[i].want_length);
		assert_memory_equal(host->inbox[i].bytes, rows[i].want, 4);
		/* EPOCH_S, or a second later (NP-20) */
		assert_int_equal(host->inbox[i].bytes[6], EPOCH_S >> 8);
	}
	assert_int_equal(lab.core.requests, 0);
	host_free(host);
}

/* NP-2, NP-3: other interface, other destination, other source. */
static void test_only_lan(void **state)
{
	static const struct {
		const char *device, *source, *destination;
	} rows[] = {
		{"host2", "198.51.100.2", "198.51.100.1"},  /* WAN to WAN */
		{"host2", "198.51.100.2", "192.168.77.1"},  /* WAN to LAN address */
		{"host2", "192.168.77.10", "192.168.77.1"}, /* the same, forged */
		{"host1", "192.168.77.10", "192.168.77.1"}, /* another LAN, forged */
		{"host1", "192.168.78.10", "192.168.77.1"}, /* another LAN's address */
		{"host0", "192.168.77.10", "198.51.100.1"}, /* LAN to WAN address */
		{"host0", "192.168.77.10", "192.168.77.255"},
		{"host0", "192.168.77.10", "255.255.255.255"},
		{"host0", "192.168.77.10", "224.0.0.1"},
		{"host0", "198.51.100.2", "192.168.77.1"}, /* source not of the LAN */
	};
	const struct natpmp_request asked = {NATPMP_OP_MAP_UDP, 9, 9, 60};
	struct host *honest;

	(void)state;
	begin_served();
	lab.core.answers = true;
	honest = host_new("host0", "192.168.77.10", 0);
	assert_silence(honest, "192.168.77.1");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct host *host = host_new(rows[i].device, rows[i].source, 0);

		/* Twice: the first may wait for the neighbour to be found. */
		for (int k = 0; k < 2; k++) {
			host_ask(host, rows[i].destination, &asked);
			host_send(host, rows[i].destination, "\0\0", 2);
			assert_silence(honest, "192.168.77.1");
		}
		assert_int_equal(host->count, 0);
		host_free(host);
	}
	assert_int_equal(lab.core.requests, 0);
	host_free(honest);
}

/* NP-11: nobody gets more than his share of answers that core does not count. */
static void test_answers_are_bounded(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_UDP, 9, 9, 60};
	struct host *host;
	int64_t start_ms;
	int64_t windows;

	(void)state;
	begin_served();
	host = host_new("host0", "192.168.77.10", 0);
	start_ms = clock_now_ms();
	for (int i = 0; i < 2 * THROTTLE_ANSWERS_MAX; i++)
		host_send(host, "192.168.77.1", "\2\0", 2);
	host_ask(host, "192.168.77.1", &asked);
	wait_for_requests(1); /* the worker has seen all that came before */
	windows = (clock_now_ms() - start_ms) / THROTTLE_WINDOW_MS + 1;
	core_grant(&lab.core.list[0]);
	wait_for_packets(host, THROTTLE_ANSWERS_MAX + 1);
	assert_true(host->count <= (size_t)windows * THROTTLE_ANSWERS_MAX + 1);
	assert_int_equal(host->inbox[host->count - 1].length, NATPMP_MAP_REPLY_SIZE);
	host_free(host);
}

static bool is_from(const struct packet *packet, const char *address)
{
	struct ip_addr addr = ip(address);

	return addr_equal(&packet->from, &addr);
}

/* About gap_ms after since_ms; a busy machine may blur it, but a gap and its double
 * stay two things. The exact times are checked on virtual time. */
static void assert_gap(int64_t since_ms, const struct packet *packet, int64_t gap_ms)
{
	int64_t took_ms = packet->at_ms - since_ms;

	assert_true(took_ms >= gap_ms * 6 / 10);
	assert_true(took_ms < (gap_ms > 0 ? gap_ms * 19 / 10 : ANNOUNCE_FIRST_GAP_MS));
}

/* NP-55, NP-56, NP-57, NP-59: at start, from each LAN address, port 5351, on LANs only.
 */
static void test_announce_start(void **state)
{
	struct host *listeners[LINKS];
	const struct packet *inbox;
	int64_t start_ms;

	(void)state;
	begin();
	listeners[LAN0] = host_new("host0", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	listeners[LAN1] = host_new("host1", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	listeners[WAN0] = host_new("host2", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	inbox = listeners[LAN1]->inbox;
	start_ms = clock_now_ms();
	core_send_all();
	wait_for_packets(listeners[LAN1], 4);
	wait_for_packets(listeners[LAN0], 8);
	assert_gap(start_ms, &inbox[0], 0);
	assert_gap(inbox[0].at_ms, &inbox[1], 250);
	assert_gap(inbox[1].at_ms, &inbox[2], 500);
	assert_gap(inbox[2].at_ms, &inbox[3], 1000);
	for (int i = 0; i < 4; i++) {
		struct natpmp_reply told = read_reply(&inbox[i]);

		assert_true(is_from(&inbox[i], "192.168.78.1"));
		assert_int_equal(inbox[i].from_port, NATPMP_PORT);
		assert_int_equal(inbox[i].length, NATPMP_ADDRESS_REPLY_SIZE);
		assert_int_equal(told.op | told.code, 0);
		assert_int_equal(ntohl(told.address.s_addr), 0xcb007105);
		assert_in_range(told.epoch_s,
				EPOCH_S + (inbox[i].at_ms - start_ms) / 1000,
				EPOCH_S + 1 + (inbox[i].at_ms - start_ms) / 1000);
	}
	assert_true(read_reply(&inbox[3]).epoch_s > read_reply(&inbox[0]).epoch_s);
	assert_true(is_from(&listeners[LAN0]->inbox[0], "192.168.77.1"));
	assert_true(is_from(&listeners[LAN0]->inbox[1], "192.168.77.2"));
	assert_int_equal(listeners[WAN0]->count, 0);
	for (int i = 0; i < LINKS; i++)
		host_free(listeners[i]);
}

/* NP-58, NP-60: a change begins one new series; a lost address is told. */
static void test_announce_change(void **state)
{
	struct announce again = {0};
	struct host *listener;
	const struct packet *inbox;

	(void)state;
	begin();
	listener = host_new("host1", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	inbox = listener->inbox;
	core_send_all();
	wait_for_packets(listener, 2);
	core_send_wan("203.0.113.6", true);
	wait_for_packets(listener, 4);
	assert_int_equal(ntohl(read_reply(&inbox[2]).address.s_addr), 0xcb007106);
	assert_gap(inbox[1].at_ms, &inbox[2], 0); /* not 500 */
	assert_gap(inbox[2].at_ms, &inbox[3], 250);
	core_send_wan("0.0.0.0", true);
	wait_for_packets(listener, 5);
	assert_int_equal(read_reply(&inbox[4]).code, NATPMP_CODE_NETWORK);
	assert_int_equal(read_reply(&inbox[4]).address.s_addr, 0);
	/* The same again is no news, but MSG_ANNOUNCE is. */
	core_send_wan("0.0.0.0", true);
	wait_for_packets(listener, 6);
	assert_gap(inbox[4].at_ms, &inbox[5], 250);
	core_send(MSG_ANNOUNCE, &again, sizeof(again));
	wait_for_packets(listener, 8);
	assert_gap(inbox[5].at_ms, &inbox[6], 0);
	assert_gap(inbox[6].at_ms, &inbox[7], 250);
	host_free(listener);
}

/* NP-5, NP-6: without translation there is nobody there, and the kernel says so. */
static void test_no_nat(void **state)
{
	struct ip_addr gateway;
	struct sockaddr_storage peer;
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;
	struct host *host;
	socklen_t size;

	(void)state;
	begin_served();
	core_send_wan("203.0.113.5", false);
	wait_for_ready(0, 0);
	gateway = ip("192.168.77.1");
	size = addr_to_sockaddr(&gateway, NATPMP_PORT, &peer);
	host = host_new("host0", "192.168.77.10", 0);
	assert_int_equal(connect(host->fd, (struct sockaddr *)&peer, size), 0);
	assert_int_equal(send(host->fd, "\0\0", 2, 0), 2);
	while (host->error == 0)
		assert_true(turn(deadline_ms));
	assert_int_equal(host->error, ECONNREFUSED);
	assert_int_equal(host->count, 0);
	core_send_wan("203.0.113.5", true);
	wait_for_ready(2, 0);
	assert_silence(host, "192.168.77.1");
	host_free(host);
}

/* A LAN without the protocol, one that goes and one that comes back. */
static void test_lan_lifecycle(void **state)
{
	struct lan_info lan;
	struct host *host;

	(void)state;
	begin_served();
	lan = lan_of(LAN0);
	lan.protocols = LAN_PROTOCOL_UPNP;
	core_send(MSG_LAN, &lan, sizeof(lan));
	wait_for_ready(1, 0);
	lan = (struct lan_info){.lan = LAN1};
	core_send(MSG_LAN, &lan, sizeof(lan));
	wait_for_ready(0, 0);
	core_send_lan(LAN0);
	wait_for_ready(1, 0);
	host = host_new("host0", "192.168.77.10", 0);
	assert_silence(host, "192.168.77.1");
	/* An interface that is not there. */
	lan = lan_of(LAN1);
	lan.ifindex = 9999;
	core_send(MSG_LAN, &lan, sizeof(lan));
	wait_for_ready(1, 1);
	core_send_lan(LAN1);
	wait_for_ready(2, 0);
	host_free(host);
}

/* Another server has the port: told, tried again, served once it is free. */
static void test_port_taken(void **state)
{
	int taken;

	(void)state;
	begin();
	assert_int_equal(datagram_open(AF_INET, lab.ifindex[LAN1], NATPMP_PORT, &taken),
			 0);
	core_send_all();
	wait_for_ready(1, 1);
	close(taken);
	wait_for_ready(2, 0);
}

/* A reply that nobody waits for changes nothing; one for a LAN that went is dropped. */
static void test_stray_replies(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_UDP, 9, 9, 60};
	const struct lan_info gone = {.lan = LAN0};
	struct reply reply = {.cookie = 0x100000001};
	struct host *host;

	(void)state;
	begin_served();
	core_send(MSG_REPLY, &reply, sizeof(reply));
	host = host_new("host0", "192.168.77.10", 0);
	assert_silence(host, "192.168.77.1");
	host_ask(host, "192.168.77.1", &asked);
	wait_for_requests(1);
	core_grant(&lab.core.list[0]);
	core_grant(&lab.core.list[0]);
	wait_for_packets(host, 2);
	assert_silence(host, "192.168.77.1");
	host_ask(host, "192.168.77.1", &asked);
	wait_for_requests(2);
	core_send(MSG_LAN, &gone, sizeof(gone));
	core_grant(&lab.core.list[1]);
	core_send_lan(LAN0);
	lab.core.readies = 0;
	wait_for_ready(2, 0);
	assert_silence(host, "192.168.77.1");
	assert_false(lab.core.ended);
	host_free(host);
}

/* Messages that core never sends end the channel, and with it the worker's loop. */
static void assert_ends(uint32_t type, const void *body, size_t length)
{
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;

	core_send(type, body, length);
	while (!event_base_got_break(lab.base))
		assert_true(turn(deadline_ms));
}

static void test_bad_reply(void **state)
{
	struct reply reply = {.result = RESULT_COUNT};

	(void)state;
	begin_served();
	assert_ends(MSG_REPLY, &reply, sizeof(reply));
}

static void test_bad_lan(void **state)
{
	struct lan_info lan;

	(void)state;
	begin_served();
	lan = lan_of(LAN0);
	lan.lan = LANS_MAX;
	assert_ends(MSG_LAN, &lan, sizeof(lan));
}

static void test_bad_length(void **state)
{
	(void)state;
	begin_served();
	assert_ends(MSG_WAN, &lab.wan, sizeof(lab.wan) - 1);
}

static void test_bad_type(void **state)
{
	(void)state;
	begin_served();
	assert_ends(MSG_READY, &lab.wan, sizeof(struct worker_ready));
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_address_and_source),
		LAB_TEST(test_address_unknown),
		LAB_TEST(test_map),
		LAB_TEST(test_delete),
		LAB_TEST(test_bursts),
		LAB_TEST(test_garbage_silence),
		LAB_TEST(test_garbage_answered),
		LAB_TEST(test_only_lan),
		LAB_TEST(test_answers_are_bounded),
		LAB_TEST(test_announce_start),
		LAB_TEST(test_announce_change),
		LAB_TEST(test_no_nat),
		LAB_TEST(test_lan_lifecycle),
		LAB_TEST(test_port_taken),
		LAB_TEST(test_stray_replies),
		LAB_TEST(test_bad_reply),
		LAB_TEST(test_bad_lan),
		LAB_TEST(test_bad_length),
		LAB_TEST(test_bad_type),
	};

	if (!make_lab() && !skip_reason)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
