/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Core as its workers see it: this test is both of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/msg.h"
#include "base/msg_queue.h"
#include "daemon/core.h"
#include "test/unit/netns.h"

#define DEADLINE_MS 5000
/* Longer than core may hold a change back. */
#define QUIET_MS 250
/* CORE_TABLE_INTERVAL_MS, with a grain of the clock off. */
#define INTERVAL_MIN_MS 98
/* Of what shall take no time on an idle machine, the best of these counts. */
#define ROUNDS 3
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

struct message {
	uint32_t type;
	size_t length;
	uint8_t body[MSG_BODY_MAX];
};

static const struct worker_ops upnp_ops = {.name = "upnp",
					   .protocols = LAN_PROTOCOL_UPNP};
static const struct worker_ops pcp_ops = {
	.name = "pcp", .protocols = LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP};

/* Descriptors of this test, at the most. */
#define FDS_MAX 256

static struct lab {
	struct netns_pair pair;
	struct event_base *base;
	struct core *core;
	struct conf conf;
	char directory[32];
	int upnp; /* the workers' ends */
	int pcp;
	uint32_t boot_id; /* of the last greeting */
	bool ready;
	unsigned int ended; /* workers that core has given up */
	size_t taken[FDS_MAX];
} lab;

static void on_ready(void *user)
{
	(void)user;
	lab.ready = true;
}

static void on_serving(void *user)
{
	(void)user;
}

static void on_worker_ended(void *user, const struct worker_ops *worker)
{
	(void)user;
	assert_ptr_equal(worker, &upnp_ops);
	lab.ended++;
}

static struct ip_addr address(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

static bool run_all(const char *const *commands, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!netns_run(commands[i]))
			return false;
	return true;
}

/* --- a worker's end --- */

/* How much of the datagram that waits was taken already. */
static size_t *get_taken(int fd)
{
	assert_true(fd >= 0 && fd < FDS_MAX);
	return &lab.taken[fd];
}

/* The next message of the datagram. Errors: false: nothing waits. */
static bool take_message(int fd, struct message *out)
{
	uint8_t bytes[MSG_DATAGRAM_MAX];
	ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK);
	size_t *taken = get_taken(fd);
	struct msg_frame frame;

	if (got < 0) {
		assert_int_equal(errno, EAGAIN);
		return false;
	}
	assert_true((size_t)got >= *taken + sizeof(frame));
	memcpy(&frame, bytes + *taken, sizeof(frame));
	*taken += sizeof(frame);
	assert_true((size_t)got >= *taken + frame.sent);
	memset(out, 0, sizeof(*out));
	out->type = frame.type;
	out->length = frame.length;
	memcpy(out->body, bytes + *taken, frame.sent);
	*taken += frame.sent;
	if (*taken == (size_t)got) {
		assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), got);
		*taken = 0;
	}
	return true;
}

/* Let core work until a message is here, or for so long. */
static bool wait_message(int fd, struct message *out, int64_t patience_ms)
{
	int64_t deadline_ms = clock_now_ms() + patience_ms;
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	for (;;) {
		(void)event_base_loop(lab.base, EVLOOP_NONBLOCK);
		if (take_message(fd, out))
			return true;
		if (clock_now_ms() >= deadline_ms)
			return false;
		(void)poll(&ready, 1, 1);
	}
}

static void expect(int fd, uint32_t type, void *body, size_t length)
{
	struct message message = {0};

	assert_true(wait_message(fd, &message, DEADLINE_MS));
	assert_int_equal(message.type, type);
	assert_int_equal(message.length, length);
	memcpy(body, message.body, length);
}

static void expect_silence(int fd)
{
	struct message message;

	assert_false(wait_message(fd, &message, QUIET_MS));
}

static void expect_table(uint32_t update_id, uint32_t entries)
{
	struct table_info info;

	expect(lab.upnp, MSG_TABLE, &info, sizeof(info));
	assert_int_equal(info.update_ids[0], update_id);
	assert_int_equal(info.entries[0], entries);
	for (size_t i = 1; i < LANS_MAX; i++)
		assert_int_equal(info.entries[i], 0);
}

static void expect_reply(int fd, enum result result)
{
	struct reply reply;

	expect(fd, MSG_REPLY, &reply, sizeof(reply));
	assert_int_equal(reply.result, result);
}

static bool send_message(int fd, uint32_t type, const void *body, size_t length)
{
	const struct msg_frame frame = {
		.type = type, .length = (uint16_t)length, .sent = (uint16_t)length};
	uint8_t bytes[MSG_DATAGRAM_MAX];

	memcpy(bytes, &frame, sizeof(frame));
	memcpy(bytes + sizeof(frame), body, length);
	return send(fd, bytes, sizeof(frame) + length, MSG_DONTWAIT | MSG_NOSIGNAL) >=
	       0;
}

static void send_request(enum origin origin, enum request_op op, uint16_t port,
			 uint32_t lifetime_s)
{
	struct request request;

	memset(&request, 0, sizeof(request));
	request.origin = (uint8_t)origin;
	request.op = (uint8_t)op;
	request.protocol = IPPROTO_UDP;
	request.enabled = 1;
	request.igd_version = origin == ORIGIN_IGD ? 1 : 0;
	request.ifindex = if_nametoindex("lan0");
	request.client = address("192.168.9.2");
	request.server = address("192.168.9.1");
	request.internal = request.client;
	request.internal_port = port;
	request.external_port = port;
	request.lifetime_s = lifetime_s;
	assert_true(send_message(origin == ORIGIN_IGD ? lab.upnp : lab.pcp, MSG_REQUEST,
				 &request, sizeof(request)));
}

static int attach(const struct worker_ops *ops)
{
	int pair[2];

	assert_int_equal(msg_pair(pair), 0);
	assert_int_equal(core_attach_worker(lab.core, ops, pair[0]), 0);
	*get_taken(pair[1]) = 0;
	return pair[1];
}

/* --- core in a namespace --- */

static int make_gateway(void **state)
{
	static const char *const commands[] = {
		"ip link set lo up",
		"ip link set lan0 up",
		"ip address add 192.168.9.1/24 dev lan0",
		"ip link set wan0 up",
		"ip address add 203.0.113.1/24 dev wan0",
	};

	(void)state;
	if (!netns_make_link(&lab.pair, "lan0", "host0") ||
	    !netns_make_link(&lab.pair, "wan0", "remote0") ||
	    !netns_run("ip link set host0 up && ip link set remote0 up") ||
	    !netns_enter(lab.pair.gateway) || !run_all(commands, COUNT(commands)))
		return -1;
	return 0;
}

/* lans: sections of the configuration */
static int start_core_with(const char *lans)
{
	static const struct core_events events = {
		.ready = on_ready,
		.serving = on_serving,
		.worker_ended = on_worker_ended,
	};
	static const char format[] =
		"[wan]\ninterface = wan0\npinholes = off\nbit-rate-up = 40M\n%s"
		"[backend]\ntype = memory\n[limits]\nlifetime-min = "
		"1\nrequests-per-second = 0\n"
		"[global]\nstate-dir =\nlog-level = error\n";
	char error[CONF_ERROR_MAX];
	char text[512];

	assert_true(snprintf(text, sizeof(text), format, lans) < (int)sizeof(text));
	assert_int_equal(conf_parse("f", text, strlen(text), &lab.conf, error), 0);
	memcpy(lab.directory, "/tmp/core-XXXXXX", sizeof("/tmp/core-XXXXXX"));
	assert_non_null(mkdtemp(lab.directory));
	(void)snprintf(lab.conf.global.control_socket,
		       sizeof(lab.conf.global.control_socket), "%s/socket",
		       lab.directory);
	log_init("test", lab.conf.global.log_level);
	lab.ended = 0;
	lab.base = event_base_new();
	assert_non_null(lab.base);
	assert_int_equal(core_new(lab.base, &lab.conf, &events, NULL, &lab.core), 0);
	assert_true(lab.ready);
	lab.upnp = attach(&upnp_ops);
	lab.pcp = attach(&pcp_ops);
	return 0;
}

static int start_core(void **state)
{
	(void)state;
	return start_core_with("[lan lan0]\n");
}

static int start_core_of_two(void **state)
{
	(void)state;
	assert_true(netns_run("ip link add lan1 type bridge"));
	return start_core_with("[lan lan0]\n[lan lan1]\n");
}

static int stop_core(void **state)
{
	(void)state;
	core_free(lab.core);
	event_base_free(lab.base);
	(void)close(lab.upnp);
	(void)close(lab.pcp);
	(void)rmdir(lab.directory);
	return 0;
}

/* What every worker is told first; of the WAN what is in `wan`. */
static void take_greeting(int fd, struct wan_info *wan)
{
	struct worker_setup setup;
	struct lan_info lan;

	expect(fd, MSG_SETUP, &setup, sizeof(setup));
	lab.boot_id = setup.boot_id;
	expect(fd, MSG_WAN, wan, sizeof(*wan));
	expect(fd, MSG_LAN, &lan, sizeof(lan));
	assert_string_equal(lan.name, "lan0");
	assert_int_equal(lan.igd, 3);
}

static void take_greetings(void)
{
	struct wan_info wan;

	take_greeting(lab.upnp, &wan);
	expect_table(0, 0);
	take_greeting(lab.pcp, &wan);
}

/* V6FW-1, V6FW-15: what the owner and the kernel say of the firewall. */
static void test_greeting(void **state)
{
	struct ip_addr external = address("203.0.113.1");
	struct wan_info wan;

	(void)state;
	take_greeting(lab.upnp, &wan);
	assert_int_equal(wan.pinholes, WAN_PINHOLES_OFF);
	assert_true(wan.carrier);
	assert_memory_equal(&wan.external, &external, sizeof(external));
	/* IGD-51: what the owner says, else the card: a veth pair says ten gigabit/s */
	assert_int_equal(wan.bit_rate_up, 40000000);
	assert_int_equal(wan.bit_rate_down, 10000000000);
	if (access("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established",
		   R_OK) == 0) {
		assert_int_not_equal(wan.flow_timeout_tcp_s, 0);
		assert_int_not_equal(wan.flow_timeout_udp_s, 0);
	}
	expect_table(0, 0);
	take_greeting(lab.pcp, &wan);
	expect_silence(lab.pcp); /* the table is UPnP's */
	expect_silence(lab.upnp);
}

/* IGD-36: who changed the table knows of it before it has its answer. */
static void test_table_ahead_of_reply(void **state)
{
	(void)state;
	take_greetings();
	send_request(ORIGIN_IGD, REQUEST_ADD, 5000, 3600);
	expect_table(1, 1);
	expect_reply(lab.upnp, RESULT_OK);
	/* once for each operation, not for each message */
	send_request(ORIGIN_IGD, REQUEST_ADD, 5001, 3600);
	send_request(ORIGIN_IGD, REQUEST_ADD, 5002, 3600);
	expect_table(3, 3);
	expect_reply(lab.upnp, RESULT_OK);
	expect_reply(lab.upnp, RESULT_OK);
	/* neither a renewal nor a look nor a refusal changes anything */
	send_request(ORIGIN_IGD, REQUEST_ADD, 5001, 3600);
	expect_reply(lab.upnp, RESULT_OK);
	send_request(ORIGIN_IGD, REQUEST_GET, 5001, 0);
	expect_reply(lab.upnp, RESULT_OK);
	send_request(ORIGIN_IGD, REQUEST_ADD, 80, 3600);
	expect_reply(lab.upnp, RESULT_DENIED);
	send_request(ORIGIN_IGD, REQUEST_DELETE, 5001, 0);
	expect_table(4, 2);
	expect_reply(lab.upnp, RESULT_OK);
	expect_silence(lab.upnp);
}

/* IGD-36: what others do is told at once, and then not more often than needed. */
static void test_table_of_others(void **state)
{
	int64_t last_ms = 0, began_ms = 0, best_ms = DEADLINE_MS;
	struct table_info info = {0};
	unsigned int told = 0;
	uint16_t port = 6000;

	(void)state;
	take_greetings();
	for (unsigned int i = 1; i <= ROUNDS; i++) {
		expect_silence(lab.upnp);
		began_ms = clock_now_ms();
		send_request(ORIGIN_NATPMP, REQUEST_MAP, port++, 3600);
		expect_table(i, i);
		if (clock_now_ms() - began_ms < best_ms)
			best_ms = clock_now_ms() - began_ms;
		expect_reply(lab.pcp, RESULT_OK);
	}
	assert_true(best_ms < INTERVAL_MIN_MS / 2);
	while (info.update_ids[0] != 40 + ROUNDS) {
		struct message message;

		if (port < 6040 + ROUNDS)
			send_request(ORIGIN_NATPMP, REQUEST_MAP, port++, 3600);
		if (wait_message(lab.pcp, &message, 1))
			assert_int_equal(message.type, MSG_REPLY);
		if (!wait_message(lab.upnp, &message, 8))
			continue;
		assert_int_equal(message.type, MSG_TABLE);
		memcpy(&info, message.body, sizeof(info));
		assert_int_equal(info.entries[0], info.update_ids[0]);
		last_ms = clock_now_ms();
		assert_true(last_ms - began_ms < DEADLINE_MS);
		told++;
	}
	assert_true(told >= 2 && told <= (last_ms - began_ms) / INTERVAL_MIN_MS);
	expect_silence(lab.upnp);
}

/* IGD-36: the end of a lease is a change, and whoever sees nothing else is told. */
static void test_table_of_expiry(void **state)
{
	int idle;

	(void)state;
	take_greetings();
	idle = event_base_get_num_events(lab.base, EVENT_BASE_COUNT_ADDED);
	send_request(ORIGIN_NATPMP, REQUEST_MAP, 6100, 1);
	expect_table(1, 1);
	expect_reply(lab.pcp, RESULT_OK);
	expect_table(2, 0);
	/* nothing to tell any more: only the port's rest, of 120 s, is waited for */
	assert_int_equal(event_base_get_num_events(lab.base, EVENT_BASE_COUNT_ADDED),
			 idle + 1);
}

/* A worker that reads nothing is given up; the next one hears how things are. */
static void test_deaf_worker(void **state)
{
	struct wan_info wan;
	uint32_t boot_id;
	size_t sent = 0;

	(void)state;
	take_greetings();
	boot_id = lab.boot_id;
	send_request(ORIGIN_NATPMP, REQUEST_MAP, 6200, 3600);
	expect_reply(lab.pcp, RESULT_OK);
	for (; lab.ended == 0 && sent < 100000; sent++) {
		struct request request;

		memset(&request, 0, sizeof(request));
		request.origin = ORIGIN_IGD;
		request.op = REQUEST_INDEX;
		request.ifindex = if_nametoindex("lan0");
		request.client = address("192.168.9.2");
		request.internal = request.client;
		(void)send_message(lab.upnp, MSG_REQUEST, &request, sizeof(request));
		(void)event_base_loop(lab.base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(lab.ended, 1);
	(void)close(lab.upnp);
	lab.upnp = attach(&upnp_ops);
	take_greeting(lab.upnp, &wan);
	assert_int_equal(lab.boot_id, boot_id + BOOT_ID_STEP); /* SSDP-15 */
	expect_table(1, 1);
	send_request(ORIGIN_NATPMP, REQUEST_UNMAP, 6200, 0);
	expect_reply(lab.pcp, RESULT_OK);
	expect_table(2, 0);
}

/* Pull the plug of the WAN, or put it in. */
static void plug(const char *state)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "ip link set remote0 %s", state);
	assert_true(netns_enter(lab.pair.hosts));
	assert_true(netns_run(command));
	assert_true(netns_enter(lab.pair.gateway));
}

/* IGD-40, IGD-52: an address that comes back begins a new connection; the link's state
 * is told as it changes. */
static void test_wan(void **state)
{
	struct wan_info wan, again;
	struct message message;

	(void)state;
	take_greeting(lab.upnp, &wan);
	expect_table(0, 0);
	assert_true(wan.up_since_ms > 0);
	assert_true(netns_run("ip address del 203.0.113.1/24 dev wan0"));
	do {
		expect(lab.upnp, MSG_WAN, &again, sizeof(again));
	} while (!addr_is_none(&again.external));
	assert_int_equal(again.up_since_ms, 0);
	assert_true(netns_run("ip address add 203.0.113.1/24 dev wan0"));
	do {
		expect(lab.upnp, MSG_WAN, &again, sizeof(again));
	} while (addr_is_none(&again.external));
	assert_true(again.up_since_ms > wan.up_since_ms);
	plug("down");
	do {
		expect(lab.upnp, MSG_WAN, &again, sizeof(again));
	} while (again.carrier);
	plug("up");
	do {
		expect(lab.upnp, MSG_WAN, &again, sizeof(again));
	} while (!again.carrier);
	while (wait_message(lab.upnp, &message, QUIET_MS))
		assert_int_equal(message.type, MSG_WAN);
}

/* Names are swapped: never has one LAN what the worker still has open for the other. */
static void test_names_swapped(void **state)
{
	uint32_t told[2] = {0, 0};
	uint32_t first = if_nametoindex("lan0");
	struct message message;
	struct lan_info lan;

	(void)state;
	while (wait_message(lab.pcp, &message, QUIET_MS))
		assert_true(message.type != MSG_REPLY);
	told[0] = first;
	told[1] = if_nametoindex("lan1");
	assert_true(netns_run("printf 'link set lan0 down\nlink set lan0 name swap0\n"
			      "link set lan1 name lan0\nlink set swap0 name lan1\n' | "
			      "ip -batch -"));
	while (told[1] != first) {
		expect(lab.pcp, MSG_LAN, &lan, sizeof(lan));
		assert_true(lan.lan < 2);
		assert_true(lan.ifindex == 0 || lan.ifindex != told[1 - lan.lan]);
		assert_true(lan.ifindex != 0 || lan.address_count == 0);
		told[lan.lan] = lan.ifindex;
	}
	while (wait_message(lab.pcp, &message, QUIET_MS))
		assert_true(message.type != MSG_REPLY);
	assert_true(netns_run("ip link del lan0 && ip link set lan1 name lan0 && "
			      "ip link set lan0 up"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_greeting, start_core, stop_core),
		cmocka_unit_test_setup_teardown(test_table_ahead_of_reply, start_core,
						stop_core),
		cmocka_unit_test_setup_teardown(test_table_of_others, start_core,
						stop_core),
		cmocka_unit_test_setup_teardown(test_table_of_expiry, start_core,
						stop_core),
		cmocka_unit_test_setup_teardown(test_deaf_worker, start_core,
						stop_core),
		cmocka_unit_test_setup_teardown(test_wan, start_core, stop_core),
		cmocka_unit_test_setup_teardown(test_names_swapped, start_core_of_two,
						stop_core),
	};

	if (netns_make_pair(&lab.pair) != 0) {
		(void)printf("SKIP: no permission to make a network namespace\n");
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, make_gateway, NULL);
}
