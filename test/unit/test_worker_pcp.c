/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker pcp with NAT-PMP, and what it makes of the messages of core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocols/announce.h"
#include "protocols/datagram.h"
#include "protocols/throttle.h"
#include "test/unit/pcp_lab.h"

/* NP-1, NP-20, NP-23: the answer comes from the very address and port that was asked.
 */
static void test_address_and_source(void **state)
{
	static const char *const gateways[] = {"192.168.77.1", "192.168.77.2"};
	struct host *host;

	(void)state;
	lab_begin_served();
	host = lab_host_new("host0", "192.168.77.10", 0);
	for (size_t i = 0; i < 2; i++) {
		struct ip_addr gateway = lab_ip(gateways[i]);
		struct natpmp_reply reply;

		lab_host_send(host, gateways[i], "\0\0", 2);
		lab_wait_packets(host, i + 1);
		assert_true(addr_equal(&host->inbox[i].from, &gateway));
		assert_int_equal(host->inbox[i].from_port, NATPMP_PORT);
		assert_int_equal(host->inbox[i].length, NATPMP_ADDRESS_REPLY_SIZE);
		reply = lab_read_reply(&host->inbox[i]);
		assert_int_equal(reply.code, 0);
		assert_int_equal(ntohl(reply.address.s_addr), 0xcb007105);
		assert_in_range(reply.epoch_s, EPOCH_S, EPOCH_S + 1);
	}
	assert_int_equal(lab_get()->core.requests, 0);
	lab_host_free(host);
}

/* NP-22, NP-25. */
static void test_address_unknown(void **state)
{
	struct host *host;
	struct natpmp_reply reply;

	(void)state;
	lab_begin_served();
	lab_core_send_wan("0.0.0.0", true);
	lab_get()->core.readies = 0;
	lab_wait_ready(2, 0);
	host = lab_host_new("host0", "192.168.77.10", 0);
	lab_host_send(host, "192.168.77.1", "\0\0", 2);
	lab_wait_packets(host, 1);
	assert_int_equal(host->inbox[0].length, NATPMP_ADDRESS_REPLY_SIZE);
	reply = lab_read_reply(&host->inbox[0]);
	assert_int_equal(reply.code, NATPMP_CODE_NETWORK);
	assert_int_equal(reply.address.s_addr, 0);
	lab_host_free(host);
}

/* NP-4: what core learns is what the packet was; NP-1 and NP-24 for its answer. */
static void test_map(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_TCP, 1234, 5678, 7200};
	struct ip_addr client = lab_ip("192.168.78.10");
	struct ip_addr gateway = lab_ip("192.168.78.1");
	const struct request *request = &lab_get()->core.list[0];
	struct natpmp_reply reply;
	struct host *host;

	(void)state;
	lab_begin_served();
	lab_get()->core.answers = true;
	host = lab_host_new("host1", "192.168.78.10", 0);
	lab_host_ask(host, "192.168.78.1", &asked);
	lab_wait_packets(host, 1);
	assert_int_equal(lab_get()->core.requests, 1);
	assert_int_equal(request->op, REQUEST_MAP);
	assert_int_equal(request->lan, LAN1);
	assert_int_equal(request->ifindex, lab_get()->ifindex[LAN1]);
	assert_true(addr_equal(&request->client, &client));
	assert_true(addr_equal(&request->internal, &client));
	assert_int_equal(request->internal_port, 1234);
	assert_int_equal(request->external_port, 5678);
	assert_int_equal(request->lifetime_s, 7200);
	assert_int_equal(host->inbox[0].length, NATPMP_MAP_REPLY_SIZE);
	assert_true(addr_equal(&host->inbox[0].from, &gateway));
	reply = lab_read_reply(&host->inbox[0]);
	assert_int_equal(reply.op, NATPMP_OP_MAP_TCP);
	assert_int_equal(reply.code, 0);
	assert_int_equal(reply.epoch_s, EPOCH_S);
	assert_int_equal(reply.internal_port, 1234);
	assert_int_equal(reply.external_port, 50000);
	assert_int_equal(reply.lifetime_s, 1800);
	lab_host_free(host);
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
	lab_begin_served();
	lab_get()->core.answers = true;
	host = lab_host_new("host0", "192.168.77.10", 0);
	lab_host_ask(host, "192.168.77.1", &one);
	lab_wait_packets(host, 1);
	assert_int_equal(lab_get()->core.list[0].op, REQUEST_UNMAP);
	reply = lab_read_reply(&host->inbox[0]);
	assert_int_equal(reply.code | reply.external_port, 0);
	assert_int_equal(reply.internal_port, 1234);
	assert_int_equal(reply.lifetime_s, 0);
	lab_get()->core.answers = false;
	lab_host_ask(host, "192.168.77.1", &all);
	lab_wait_requests(2);
	assert_int_equal(lab_get()->core.list[1].op, REQUEST_UNMAP_ALL);
	assert_int_equal(lab_get()->core.list[1].protocol, IPPROTO_TCP);
	refusal.cookie = lab_get()->core.list[1].cookie;
	lab_core_send(MSG_REPLY, &refusal, sizeof(refusal));
	lab_wait_packets(host, 2);
	assert_int_equal(host->inbox[1].length, NATPMP_MAP_REPLY_SIZE);
	reply = lab_read_reply(&host->inbox[1]);
	assert_int_equal(reply.code, NATPMP_CODE_REFUSED);
	assert_int_equal(reply.internal_port, 0);
	lab_host_free(host);
}

/* NP-11, NP-30: the same request nine times is asked nine times and answered the same;
 * a burst of many is answered in full. */
static void test_bursts(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_UDP, 9, 9, 60};
	struct host *host;

	(void)state;
	lab_begin_served();
	lab_get()->core.answers = true;
	host = lab_host_new("host0", "192.168.77.10", 0);
	for (int i = 0; i < 9; i++)
		lab_host_ask(host, "192.168.77.1", &asked);
	lab_wait_packets(host, 9);
	for (int i = 1; i < 9; i++)
		assert_memory_equal(host->inbox[i].bytes, host->inbox[0].bytes, 16);
	for (uint16_t i = 0; i < 150; i++)
		lab_host_ask(host, "192.168.77.2",
			     &(struct natpmp_request){NATPMP_OP_MAP_TCP, i + 1, 0, 60});
	lab_wait_packets(host, 159);
	assert_int_equal(lab_get()->core.requests, 159);
	for (uint16_t i = 0; i < 150; i++)
		assert_int_equal(lab_read_reply(&host->inbox[9 + i]).internal_port,
				 i + 1);
	lab_host_free(host);
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
	lab_begin_served();
	host = lab_host_new("host0", "192.168.77.10", 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		lab_host_send(host, "192.168.77.1", rows[i].bytes, rows[i].length);
		lab_assert_silence(host, "192.168.77.1");
	}
	big[1] = 77;
	for (size_t length = 1101; length <= sizeof(big); length += 101) {
		lab_host_send(host, "192.168.77.1", big, length);
		lab_assert_silence(host, "192.168.77.1");
	}
	assert_int_equal(lab_get()->core.requests, 0);
	lab_host_free(host);
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
	lab_begin_served();
	host = lab_host_new("host0", "192.168.77.10", 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		lab_host_send(host, "192.168.77.1", rows[i].bytes, rows[i].length);
		lab_wait_packets(host, i + 1);
		assert_int_equal(host->inbox[i].length, rows[i].want_length);
		assert_memory_equal(host->inbox[i].bytes, rows[i].want, 4);
		/* EPOCH_S, or a second later (NP-20) */
		assert_int_equal(host->inbox[i].bytes[6], EPOCH_S >> 8);
	}
	assert_int_equal(lab_get()->core.requests, 0);
	lab_host_free(host);
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
	lab_begin_served();
	lab_get()->core.answers = true;
	honest = lab_host_new("host0", "192.168.77.10", 0);
	lab_assert_silence(honest, "192.168.77.1");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct host *host = lab_host_new(rows[i].device, rows[i].source, 0);

		/* Twice: the first may wait for the neighbour to be found. */
		for (int k = 0; k < 2; k++) {
			lab_host_ask(host, rows[i].destination, &asked);
			lab_host_send(host, rows[i].destination, "\0\0", 2);
			lab_assert_silence(honest, "192.168.77.1");
		}
		assert_int_equal(host->count, 0);
		lab_host_free(host);
	}
	assert_int_equal(lab_get()->core.requests, 0);
	lab_host_free(honest);
}

/* NP-11: nobody gets more than his share of answers that core does not count. */
static void test_answers_are_bounded(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_UDP, 9, 9, 60};
	struct host *host;
	int64_t start_ms;
	int64_t windows;

	(void)state;
	lab_begin_served();
	host = lab_host_new("host0", "192.168.77.10", 0);
	start_ms = clock_now_ms();
	for (int i = 0; i < 4 * THROTTLE_ANSWERS_MAX; i++)
		lab_host_send(host, "192.168.77.1", "\2\0", 2);
	lab_host_ask(host, "192.168.77.1", &asked);
	lab_wait_requests(1); /* the worker has seen all that came before */
	windows = (clock_now_ms() - start_ms) / THROTTLE_WINDOW_MS + 1;
	lab_core_grant(&lab_get()->core.list[0]);
	/* on a slow machine the answers are those of more than one window */
	lab_wait_packets(host, THROTTLE_ANSWERS_MAX + 1);
	while (host->inbox[host->count - 1].length != NATPMP_MAP_REPLY_SIZE)
		lab_wait_packets(host, host->count + 1);
	assert_true(host->count <= (size_t)(windows + 1) * THROTTLE_ANSWERS_MAX + 1);
	lab_host_free(host);
}

/* NP-55, NP-56, NP-57, NP-59: at start, from each LAN address, port 5351, on LANs only.
 */
static void test_announce_start(void **state)
{
	struct host *listeners[LINKS];
	const struct packet *inbox;
	int64_t start_ms;

	(void)state;
	lab_begin();
	listeners[LAN0] = lab_host_new("host0", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	listeners[LAN1] = lab_host_new("host1", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	listeners[WAN0] = lab_host_new("host2", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	inbox = listeners[LAN1]->inbox;
	start_ms = clock_now_ms();
	lab_core_send_all();
	lab_wait_packets(listeners[LAN1], 4);
	lab_wait_packets(listeners[LAN0], 8);
	lab_assert_gap(start_ms, &inbox[0], 0);
	lab_assert_gap(inbox[0].at_ms, &inbox[1], 250);
	lab_assert_gap(inbox[1].at_ms, &inbox[2], 500);
	lab_assert_gap(inbox[2].at_ms, &inbox[3], 1000);
	for (int i = 0; i < 4; i++) {
		struct natpmp_reply told = lab_read_reply(&inbox[i]);

		assert_true(lab_is_from(&inbox[i], "192.168.78.1"));
		assert_int_equal(inbox[i].from_port, NATPMP_PORT);
		assert_int_equal(inbox[i].length, NATPMP_ADDRESS_REPLY_SIZE);
		assert_int_equal(told.op | told.code, 0);
		assert_int_equal(ntohl(told.address.s_addr), 0xcb007105);
		assert_in_range(told.epoch_s,
				EPOCH_S + (inbox[i].at_ms - start_ms) / 1000,
				EPOCH_S + 1 + (inbox[i].at_ms - start_ms) / 1000);
	}
	assert_true(lab_read_reply(&inbox[3]).epoch_s >
		    lab_read_reply(&inbox[0]).epoch_s);
	assert_true(lab_is_from(&listeners[LAN0]->inbox[0], "192.168.77.1"));
	assert_true(lab_is_from(&listeners[LAN0]->inbox[1], "192.168.77.2"));
	assert_int_equal(listeners[WAN0]->count, 0);
	for (int i = 0; i < LINKS; i++)
		lab_host_free(listeners[i]);
}

/* NP-58, NP-60: a change begins one new series; a lost address is told. */
static void test_announce_change(void **state)
{
	struct announce again = {0};
	struct host *listener;
	const struct packet *inbox;

	(void)state;
	lab_begin();
	listener = lab_host_new("host1", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	inbox = listener->inbox;
	lab_core_send_all();
	lab_wait_packets(listener, 2);
	lab_core_send_wan("203.0.113.6", true);
	lab_wait_packets(listener, 4);
	assert_int_equal(ntohl(lab_read_reply(&inbox[2]).address.s_addr), 0xcb007106);
	lab_assert_gap(inbox[1].at_ms, &inbox[2], 0); /* not 500 */
	lab_assert_gap(inbox[2].at_ms, &inbox[3], 250);
	lab_core_send_wan("0.0.0.0", true);
	lab_wait_packets(listener, 5);
	assert_int_equal(lab_read_reply(&inbox[4]).code, NATPMP_CODE_NETWORK);
	assert_int_equal(lab_read_reply(&inbox[4]).address.s_addr, 0);
	/* The same again is no news, but MSG_ANNOUNCE is. */
	lab_core_send_wan("0.0.0.0", true);
	lab_wait_packets(listener, 6);
	lab_assert_gap(inbox[4].at_ms, &inbox[5], 250);
	lab_core_send(MSG_ANNOUNCE, &again, sizeof(again));
	lab_wait_packets(listener, 8);
	lab_assert_gap(inbox[5].at_ms, &inbox[6], 0);
	lab_assert_gap(inbox[6].at_ms, &inbox[7], 250);
	lab_host_free(listener);
}

/* NP-5, NP-6: without translation there is nobody there, and the kernel says so. */
static void test_no_nat(void **state)
{
	struct ip_addr gateway;
	struct sockaddr_storage peer;
	int64_t deadline_ms = clock_now_ms() + LAB_DEADLINE_MS;
	struct host *host;
	socklen_t size;

	(void)state;
	lab_begin_served();
	lab_core_send_wan("203.0.113.5", false);
	lab_wait_ready(0, 0);
	gateway = lab_ip("192.168.77.1");
	size = addr_to_sockaddr(&gateway, NATPMP_PORT, &peer);
	host = lab_host_new("host0", "192.168.77.10", 0);
	assert_int_equal(connect(host->fd, (struct sockaddr *)&peer, size), 0);
	assert_int_equal(send(host->fd, "\0\0", 2, 0), 2);
	while (host->error == 0)
		assert_true(lab_turn(deadline_ms));
	assert_int_equal(host->error, ECONNREFUSED);
	assert_int_equal(host->count, 0);
	lab_core_send_wan("203.0.113.5", true);
	lab_wait_ready(2, 0);
	lab_assert_silence(host, "192.168.77.1");
	lab_host_free(host);
}

/* A LAN without the protocol, one that goes and one that comes back. */
static void test_lan_lifecycle(void **state)
{
	struct lan_info lan;
	struct host *host;

	(void)state;
	lab_begin_served();
	lan = lab_make_lan(LAN0);
	lan.protocols = LAN_PROTOCOL_UPNP;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(1, 0);
	lan = (struct lan_info){.lan = LAN1};
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(0, 0);
	lab_core_send_lan(LAN0);
	lab_wait_ready(1, 0);
	host = lab_host_new("host0", "192.168.77.10", 0);
	lab_assert_silence(host, "192.168.77.1");
	/* An interface that is not there. */
	lan = lab_make_lan(LAN1);
	lan.ifindex = 9999;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(1, 1);
	lab_core_send_lan(LAN1);
	lab_wait_ready(2, 0);
	lab_host_free(host);
}

/* LANs that change interfaces: the worker's own sockets are in no other's way. */
static void test_lans_swapped(void **state)
{
	int64_t deadline_ms = clock_now_ms() + LAB_DEADLINE_MS;
	const struct core *core = &lab_get()->core;
	struct lan_info lan = {.lan = LAN1};
	size_t before;

	(void)state;
	lab_begin_served();
	before = core->readies;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lan = lab_make_lan(LAN1);
	lan.lan = LAN0;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lan = lab_make_lan(LAN0);
	lan.lan = LAN1;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	while (core->readies == before || core->ready.sockets != 2) {
		assert_true(lab_turn(deadline_ms));
		assert_int_equal(core->ready.failed, 0);
	}
}

/* Another server has the port: told, tried again, served once it is free. */
static void test_port_taken(void **state)
{
	struct datagram_port port = {.family = AF_INET, .port = NATPMP_PORT};
	int taken;

	(void)state;
	lab_begin();
	port.ifindex = lab_get()->ifindex[LAN1];
	assert_int_equal(datagram_open(&port, &taken), 0);
	lab_core_send_all();
	lab_wait_ready(1, 1);
	close(taken);
	lab_wait_ready(2, 0);
}

/* A reply that nobody waits for changes nothing; one for a LAN that went is dropped. */
static void test_stray_replies(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_UDP, 9, 9, 60};
	const struct lan_info gone = {.lan = LAN0};
	struct reply reply = {.cookie = 0x100000001};
	struct host *host;

	(void)state;
	lab_begin_served();
	lab_core_send(MSG_REPLY, &reply, sizeof(reply));
	host = lab_host_new("host0", "192.168.77.10", 0);
	lab_assert_silence(host, "192.168.77.1");
	lab_host_ask(host, "192.168.77.1", &asked);
	lab_wait_requests(1);
	lab_core_grant(&lab_get()->core.list[0]);
	lab_core_grant(&lab_get()->core.list[0]);
	lab_wait_packets(host, 2);
	lab_assert_silence(host, "192.168.77.1");
	lab_host_ask(host, "192.168.77.1", &asked);
	lab_wait_requests(2);
	lab_core_send(MSG_LAN, &gone, sizeof(gone));
	lab_core_grant(&lab_get()->core.list[1]);
	lab_core_send_lan(LAN0);
	lab_get()->core.readies = 0;
	lab_wait_ready(2, 0);
	lab_assert_silence(host, "192.168.77.1");
	assert_false(lab_get()->core.ended);
	lab_host_free(host);
}

/* Messages that core never sends end the channel, and with it the worker's loop. */
static void assert_ends(uint32_t type, const void *body, size_t length)
{
	int64_t deadline_ms = clock_now_ms() + LAB_DEADLINE_MS;

	lab_core_send(type, body, length);
	while (!event_base_got_break(lab_get()->base))
		assert_true(lab_turn(deadline_ms));
}

static void test_bad_reply(void **state)
{
	struct reply reply = {.result = RESULT_COUNT};

	(void)state;
	lab_begin_served();
	assert_ends(MSG_REPLY, &reply, sizeof(reply));
}

static void test_bad_lan(void **state)
{
	struct lan_info lan;

	(void)state;
	lab_begin_served();
	lan = lab_make_lan(LAN0);
	lan.lan = LANS_MAX;
	assert_ends(MSG_LAN, &lan, sizeof(lan));
}

static void test_bad_length(void **state)
{
	(void)state;
	lab_begin_served();
	assert_ends(MSG_WAN, &lab_get()->wan, sizeof(lab_get()->wan) - 1);
}

static void test_bad_type(void **state)
{
	(void)state;
	lab_begin_served();
	assert_ends(MSG_READY, &lab_get()->wan, sizeof(struct worker_ready));
}

/* Nothing is ready before every LAN that was promised is served. */
static void test_ready_after_lans(void **state)
{
	const struct worker_setup setup = {
		.pcp_opcodes = PCP_SERVES_MAP,
		.lan_count = 2,
	};

	(void)state;
	lab_begin();
	lab_core_send(MSG_SETUP, &setup, sizeof(setup));
	lab_core_send_wan("203.0.113.5", true);
	lab_core_send_lan(LAN0);
	for (int turn = 0; turn < 10; turn++)
		event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	assert_int_equal(lab_get()->core.readies, 0);
	lab_core_send_lan(LAN1);
	lab_wait_ready(2, 0);
	assert_int_equal(lab_get()->core.readies, 1);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

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
		LAB_TEST(test_lans_swapped),
		LAB_TEST(test_port_taken),
		LAB_TEST(test_ready_after_lans),
		LAB_TEST(test_stray_replies),
		LAB_TEST(test_bad_reply),
		LAB_TEST(test_bad_lan),
		LAB_TEST(test_bad_length),
		LAB_TEST(test_bad_type),
	};

	if (!lab_make())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
