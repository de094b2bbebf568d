/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker pcp with PCP, over IPv4 and IPv6, and with hosts that are too loud. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocols/datagram.h"
#include "protocols/lanes.h"
#include "protocols/pcp.h"
#include "test/unit/pcp_lab.h"

#define GATEWAY "192.168.77.1"
#define GATEWAY6 "fd77::1"
#define HOST "192.168.77.10"
#define HOST6 "fd77::10"
/* LAN0 by both families, LAN1 by IPv4 */
#define SOCKETS 3

static void serve(uint8_t protocols)
{
	lab_begin();
	lab_get()->protocols = protocols;
	lab_get()->ipv6 = true;
	lab_core_send_all();
	lab_wait_ready((protocols & LAN_PROTOCOL_PCP) != 0 ? SOCKETS : 2, 0);
}

static struct pcp_request map_of(const char *client, uint16_t port)
{
	return (struct pcp_request){
		.opcode = PCP_OP_MAP,
		.protocol = IPPROTO_UDP,
		.lifetime_s = 600,
		.client = lab_ip(client),
		.nonce = {1, 2, 3},
		.internal_port = port,
		.external_port = 8080,
	};
}

static void ask(const struct host *host, const char *to,
		const struct pcp_request *asked)
{
	uint8_t bytes[PCP_SIZE_MAX];
	size_t length = pcp_encode_request(asked, bytes, sizeof(bytes));

	assert_true(length > 0);
	lab_host_send(host, to, bytes, length);
}

static void ask_announce(const struct host *host, const char *from, const char *to)
{
	struct pcp_request asked = {.opcode = PCP_OP_ANNOUNCE, .client = lab_ip(from)};

	ask(host, to, &asked);
}

static struct pcp_response read_response(const struct packet *packet)
{
	struct pcp_response response;

	assert_true(pcp_decode_response(packet->bytes, packet->length, &response));
	return response;
}

/* Whatever came before was met with silence: the answer to this comes next. */
static void assert_silence(struct host *host, const char *from, const char *to)
{
	size_t before = host->count;

	ask_announce(host, from, to);
	lab_wait_packets(host, before + 1);
	assert_int_equal(host->inbox[before].length, PCP_HEADER_SIZE);
	assert_int_equal(read_response(&host->inbox[before]).opcode, PCP_OP_ANNOUNCE);
	assert_int_equal(host->count, before + 1);
}

static void check_map(const char *device, const char *from, const char *to)
{
	struct pcp_request asked = map_of(from, 80);
	struct ip_addr client = lab_ip(from);
	struct ip_addr server = lab_ip(to);
	const struct request *request;
	struct pcp_response response;
	struct host *host = lab_host_new(device, from, 4242);

	request = &lab_get()->core.list[lab_get()->core.requests];
	ask(host, to, &asked);
	lab_wait_packets(host, 1);
	assert_int_equal(request->op, REQUEST_MAP);
	assert_int_equal(request->origin, ORIGIN_PCP);
	assert_int_equal(request->lan, LAN0);
	assert_int_equal(request->ifindex, lab_get()->ifindex[LAN0]);
	assert_int_equal(request->client_port, 4242);
	assert_true(addr_equal(&request->client, &client));
	assert_true(addr_equal(&request->internal, &client));
	assert_true(addr_equal(&request->server, &server));
	assert_memory_equal(request->nonce, asked.nonce, NONCE_SIZE);
	assert_int_equal(host->inbox[0].length, PCP_MAP_SIZE);
	assert_true(lab_is_from(&host->inbox[0], to));
	assert_int_equal(host->inbox[0].from_port, NATPMP_PORT);
	response = read_response(&host->inbox[0]);
	assert_int_equal(response.code, 0);
	assert_int_equal(response.lifetime_s, 1800);
	assert_int_equal(response.epoch_s, EPOCH_S);
	assert_int_equal(response.body.external_port, 50000);
	lab_host_free(host);
}

/* PCP-1, PCP-26, PCP-27: by both families, from the very address that was asked. */
static void test_map(void **state)
{
	(void)state;
	serve(LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP);
	lab_get()->core.answers = true;
	check_map("host0", HOST, GATEWAY);
	check_map("host0", HOST, "192.168.77.2");
	check_map("host0", HOST6, GATEWAY6);
	check_map("host0", HOST6, "fe80::1");
}

/* PCP-23, PCP-30: what core refuses comes back whole. */
static void test_refused_by_core(void **state)
{
	struct pcp_request asked = map_of(HOST6, 80);
	struct reply reply = {.result = RESULT_QUOTA};
	struct host *host;

	(void)state;
	serve(LAN_PROTOCOL_PCP);
	host = lab_host_new("host0", HOST6, 0);
	asked.prefer_failure = true;
	ask(host, GATEWAY6, &asked);
	lab_wait_requests(1);
	reply.cookie = lab_get()->core.list[0].cookie;
	lab_core_send(MSG_REPLY, &reply, sizeof(reply));
	lab_wait_packets(host, 1);
	assert_int_equal(host->inbox[0].length, PCP_MAP_SIZE + 4);
	assert_int_equal(read_response(&host->inbox[0]).code, PCP_CODE_USER_EX_QUOTA);
	assert_in_range(read_response(&host->inbox[0]).epoch_s, EPOCH_S, EPOCH_S + 2);
	assert_int_equal(host->inbox[0].bytes[PCP_MAP_SIZE], PCP_OPTION_PREFER_FAILURE);
	lab_host_free(host);
}

/* PCP-95: who asks from a link-local address is heard, but gets no hole. */
static void test_link_local(void **state)
{
	struct pcp_request asked = map_of("fe80::10", 80);
	struct host *host;

	(void)state;
	serve(LAN_PROTOCOL_PCP);
	host = lab_host_new("host0", "fe80::10", 0);
	assert_silence(host, "fe80::10", "fe80::1");
	assert_silence(host, "fe80::10", GATEWAY6);
	ask(host, "fe80::1", &asked);
	lab_wait_packets(host, 3);
	assert_int_equal(host->inbox[2].length, PCP_MAP_SIZE);
	assert_int_equal(read_response(&host->inbox[2]).code, PCP_CODE_NOT_AUTHORIZED);
	assert_int_equal(read_response(&host->inbox[2]).lifetime_s, PCP_ERROR_LONG_S);
	assert_int_equal(lab_get()->core.requests, 0);
	lab_host_free(host);
}

/* PCP-5, PCP-18..21, NP-15: the first octet decides, and what is served. */
static void test_versions(void **state)
{
	static const struct {
		uint8_t protocols;
		uint8_t first;
		size_t length;
		uint8_t want[4];
	} rows[] = {
		{LAN_PROTOCOL_NATPMP, 0, 12, {0, 0x80, 0, 0}},
		{LAN_PROTOCOL_NATPMP, 1, 8, {0, 0x80, 0, 1}},
		{LAN_PROTOCOL_NATPMP, 2, 8, {0, 0x80, 0, 1}},
		{LAN_PROTOCOL_PCP, 0, 24, {2, 0x80, 0, 1}},
		{LAN_PROTOCOL_PCP, 1, 24, {2, 0x80, 0, 1}},
		{LAN_PROTOCOL_PCP, 9, 24, {2, 0x80, 0, 1}},
		{LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP, 0, 12, {0, 0x80, 0, 0}},
		{LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP, 1, 24, {2, 0x80, 0, 1}},
		{LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP, 3, 24, {2, 0x80, 0, 1}},
	};
	struct host *host;

	(void)state;
	lab_begin_served();
	host = lab_host_new("host0", HOST, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const uint8_t request[2] = {rows[i].first, 0};

		lab_get()->protocols = rows[i].protocols;
		lab_get()->core.readies = 0;
		lab_core_send_lan(LAN0);
		lab_wait_ready(2, 0);
		lab_host_send(host, GATEWAY, request, sizeof(request));
		lab_wait_packets(host, i + 1);
		assert_int_equal(host->inbox[i].length, rows[i].length);
		assert_memory_equal(host->inbox[i].bytes, rows[i].want, 4);
	}
	lab_host_free(host);
}

/* PCP-2, PCP-3, PCP-4, PCP-6: other interface, other destination, no request at all. */
static void test_silence(void **state)
{
	static const struct {
		const char *device, *from, *to;
	} rows[] = {
		{"host2", "198.51.100.2", "198.51.100.1"},
		{"host2", "192.168.77.10", "192.168.77.1"},
		{"host1", "192.168.77.10", "192.168.77.1"},
		{"host0", "192.168.77.10", "192.168.77.255"},
		{"host0", "192.168.77.10", "192.0.0.9"}, /* PCP-119, not asked for */
	};
	static const struct {
		size_t length;
		uint8_t bytes[24];
	} garbage[] = {
		{0, {0}},	 {1, {2}},    {24, {2, 0x80}}, {24, {2, 0x81}},
		{24, {9, 0xff}}, {4, {2, 1}}, {20, {2, 1}},
	};
	struct host *honest;

	(void)state;
	serve(LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP);
	honest = lab_host_new("host0", HOST, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct host *host = lab_host_new(rows[i].device, rows[i].from, 0);
		struct pcp_request asked = map_of(rows[i].from, 80);

		for (int k = 0; k < 2; k++) {
			ask(host, rows[i].to, &asked);
			assert_silence(honest, HOST, GATEWAY);
		}
		assert_int_equal(host->count, 0);
		lab_host_free(host);
	}
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		lab_host_send(honest, GATEWAY, garbage[i].bytes, garbage[i].length);
		assert_silence(honest, HOST, GATEWAY);
	}
	assert_int_equal(lab_get()->core.requests, 0);
	lab_host_free(honest);
}

/* PCP-1, PCP-8: too long is seen, not cut to something valid. */
static void test_too_long(void **state)
{
	uint8_t bytes[2000] = {2, 0};
	const struct ip_addr client = lab_ip(HOST6);
	struct host *host;

	(void)state;
	serve(LAN_PROTOCOL_PCP);
	memcpy(bytes + 8, client.bytes, sizeof(client.bytes));
	host = lab_host_new("host0", HOST6, 0);
	lab_host_send(host, GATEWAY6, bytes, PCP_SIZE_MAX + 4);
	lab_host_send(host, GATEWAY6, bytes, sizeof(bytes));
	lab_wait_packets(host, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(host->inbox[i].length, PCP_SIZE_MAX);
		assert_int_equal(host->inbox[i].bytes[3], PCP_CODE_MALFORMED_REQUEST);
	}
	lab_host_free(host);
}

/* PCP-119: the anycast addresses, answered from there. */
static void test_anycast(void **state)
{
	(void)state;
	lab_begin();
	lab_get()->anycast = true;
	lab_get()->protocols = LAN_PROTOCOL_PCP;
	lab_get()->ipv6 = true;
	lab_core_send_all();
	lab_wait_ready(SOCKETS, 0);
	lab_get()->core.answers = true;
	check_map("host0", HOST, "192.0.0.9");
	check_map("host0", HOST6, "2001:1::1");
}

/* NP-5, PCP-19: without translation there is no NAT-PMP, and PCP says so. */
static void test_no_nat(void **state)
{
	struct host *host;

	(void)state;
	lab_begin();
	lab_get()->protocols = LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP;
	lab_core_send_all();
	lab_core_send_wan("203.0.113.5", false);
	lab_wait_ready(2, 0);
	host = lab_host_new("host0", HOST, 0);
	lab_host_send(host, GATEWAY, "\0\0", 2);
	lab_wait_packets(host, 1);
	assert_int_equal(host->inbox[0].length, PCP_HEADER_SIZE);
	assert_memory_equal(host->inbox[0].bytes, "\2\200\0\1", 4);
	lab_host_free(host);
}

static bool is_announce(const struct packet *packet)
{
	return packet->length == PCP_HEADER_SIZE && packet->bytes[0] == 2 &&
	       packet->bytes[1] == PCP_RESPONSE_BIT && packet->bytes[3] == 0;
}

/* PCP-37, PCP-38, PCP-39: both protocols in one series, from every address of the LAN,
 * by both families, and never on the WAN. */
static void test_announcements(void **state)
{
	struct host *lan4;
	struct host *lan6;
	struct host *wan[2];
	int64_t start_ms;

	(void)state;
	lab_begin();
	lan4 = lab_host_new("host0", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	lan6 = lab_host_new("host0", "::", NATPMP_ANNOUNCE_PORT);
	wan[0] = lab_host_new("host2", "0.0.0.0", NATPMP_ANNOUNCE_PORT);
	wan[1] = lab_host_new("host2", "::", NATPMP_ANNOUNCE_PORT);
	lab_get()->protocols = LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP;
	lab_get()->ipv6 = true;
	start_ms = clock_now_ms();
	lab_core_send_all();
	lab_wait_packets(lan4, 8);
	lab_wait_packets(lan6, 6);
	for (int i = 0; i < 8; i++) {
		assert_true(lab_is_from(&lan4->inbox[i],
					i % 4 < 2 ? GATEWAY : "192.168.77.2"));
		assert_int_equal(lan4->inbox[i].from_port, NATPMP_PORT);
		assert_int_equal(is_announce(&lan4->inbox[i]), i % 2);
	}
	for (int i = 0; i < 6; i++) {
		assert_true(lab_is_from(&lan6->inbox[i],
					i % 2 == 0 ? GATEWAY6 : "fe80::1"));
		assert_int_equal(lan6->inbox[i].from_port, NATPMP_PORT);
		assert_true(is_announce(&lan6->inbox[i]));
	}
	lab_assert_gap(start_ms, &lan6->inbox[1], 0);
	lab_assert_gap(lan6->inbox[1].at_ms, &lan6->inbox[3], 250);
	lab_assert_gap(lan6->inbox[3].at_ms, &lan6->inbox[5], 500);
	assert_int_equal(wan[0]->count + wan[1]->count, 0);
	lab_host_free(lan4);
	lab_host_free(lan6);
	lab_host_free(wan[0]);
	lab_host_free(wan[1]);
}

static struct mapping_update update_of(const char *client, const char *server)
{
	return (struct mapping_update){
		.lan = LAN0,
		.op = REQUEST_MAP,
		.protocol = IPPROTO_UDP,
		.nonce = {1, 2, 3},
		.client_port = 4242,
		.internal_port = 80,
		.external_port = 8081,
		.lifetime_s = 500,
		.client = lab_ip(client),
		.server = lab_ip(server),
		.internal = lab_ip(client),
		.external = lab_ip("203.0.113.6"),
	};
}

/* PCP-40: three copies, to the socket that asked, from the address that it asked. */
static void check_update(const char *client, const char *server)
{
	struct mapping_update update = update_of(client, server);
	struct host *host = lab_host_new("host0", client, 4242);
	struct pcp_response told;
	int64_t start_ms = clock_now_ms();

	lab_core_send(MSG_UPDATE, &update, sizeof(update));
	lab_wait_packets(host, 3);
	lab_assert_gap(start_ms, &host->inbox[0], 0);
	lab_assert_gap(host->inbox[0].at_ms, &host->inbox[1], 250);
	lab_assert_gap(host->inbox[1].at_ms, &host->inbox[2], 500);
	for (int i = 0; i < 3; i++) {
		assert_true(lab_is_from(&host->inbox[i], server));
		assert_int_equal(host->inbox[i].from_port, NATPMP_PORT);
		assert_int_equal(host->inbox[i].length, PCP_MAP_SIZE);
		told = read_response(&host->inbox[i]);
		assert_int_equal(told.code, 0);
		assert_int_equal(told.body.external_port, 8081);
		assert_in_range(told.epoch_s, EPOCH_S, EPOCH_S + 3);
	}
	lab_host_free(host);
}

static void test_updates(void **state)
{
	(void)state;
	serve(LAN_PROTOCOL_PCP);
	check_update(HOST, "192.168.77.2");
	check_update(HOST6, GATEWAY6);
}

/* PCP-40: whoever asks needs no more copies; others get theirs. */
static void test_update_ends(void **state)
{
	struct mapping_update update = update_of(HOST, GATEWAY);
	struct mapping_update other = update_of(HOST, GATEWAY);
	struct mapping_update nobody = update_of("192.168.77.99", GATEWAY);
	struct pcp_request asked = map_of(HOST, 80);
	struct host *host;

	(void)state;
	serve(LAN_PROTOCOL_PCP);
	lab_get()->core.answers = true;
	host = lab_host_new("host0", HOST, 4242);
	other.internal_port = 81;
	nobody.server = lab_ip("203.0.113.6");
	lab_core_send(MSG_UPDATE, &update, sizeof(update));
	lab_core_send(MSG_UPDATE, &other, sizeof(other));
	lab_core_send(MSG_UPDATE, &nobody, sizeof(nobody));
	lab_wait_packets(host, 2);
	ask(host, GATEWAY, &asked);
	lab_wait_packets(host, 5);
	assert_int_equal(read_response(&host->inbox[2]).body.external_port, 50000);
	assert_int_equal(read_response(&host->inbox[3]).body.internal_port, 81);
	assert_int_equal(read_response(&host->inbox[4]).body.internal_port, 81);
	assert_int_equal(host->count, 5);
	assert_false(lab_get()->core.ended);
	lab_host_free(host);
}

/* PCP-7: what one client asks too fast does not reach core, and costs no other. */
static void test_rate(void **state)
{
	struct pcp_request asked;
	struct host *loud;
	struct host *other;
	int64_t start_ms;
	int64_t passed;

	(void)state;
	lab_begin();
	lab_get()->requests_per_second = 20;
	lab_get()->protocols = LAN_PROTOCOL_PCP;
	lab_core_send_all();
	lab_wait_ready(2, 0);
	lab_get()->core.answers = true;
	loud = lab_host_new("host0", HOST, 0);
	other = lab_host_new("host0", "192.168.77.11", 0);
	start_ms = clock_now_ms();
	for (uint16_t i = 1; i <= 300; i++) {
		asked = map_of(HOST, i);
		ask(loud, GATEWAY, &asked);
	}
	asked = map_of("192.168.77.11", 7);
	ask(other, GATEWAY, &asked);
	lab_wait_packets(other, 1);
	assert_int_equal(read_response(&other->inbox[0]).code, 0);
	passed = (int64_t)lab_get()->core.requests - 1;
	assert_in_range(passed, 20, 21 + (clock_now_ms() - start_ms) * 20 / 1000);
	lab_host_free(loud);
	lab_host_free(other);
}

static void flood(const struct host *host, const char *from, const char *to, int count)
{
	struct pcp_request asked = map_of(from, 80);
	uint8_t bytes[PCP_SIZE_MAX];
	size_t length = pcp_encode_request(&asked, bytes, sizeof(bytes));

	for (int i = 0; i < count; i++)
		lab_host_send(host, to, bytes, length);
}

/* PCP-7: the queue of a loud host is its own: however full, another's request is not
 * lost. `broadcast` goes to both lanes, and fills neither for others. */
static void check_lanes(const char *loud_from, const char *from, const char *to,
			const char *broadcast)
{
	struct host *loud = lab_host_new("host0", loud_from, 0);
	struct host *other = lab_host_new("host0", from, 0);

	/* Until the kernel has been told. */
	flood(loud, loud_from, to, 2 * LANES_PACKETS_PER_SECOND);
	assert_silence(other, from, to);
	/* More than any queue holds, while the worker does not run. */
	flood(loud, loud_from, to, 20000);
	if (broadcast)
		flood(loud, loud_from, broadcast, 20000);
	assert_silence(other, from, to);
	lab_host_free(loud);
	lab_host_free(other);
}

static void test_lanes(void **state)
{
	(void)state;
	lab_begin();
	lab_get()->requests_per_second = 20;
	lab_get()->protocols = LAN_PROTOCOL_PCP;
	lab_get()->ipv6 = true;
	lab_core_send_all();
	lab_wait_ready(SOCKETS, 0);
	check_lanes(HOST, "192.168.77.11", GATEWAY, "192.168.77.255");
	check_lanes(HOST6, "fe80::10", GATEWAY6, "ff02::1");
}

/* A loud host that is within its limits is served by the slow lane too. */
static void test_slow_is_served(void **state)
{
	struct pcp_request asked = map_of(HOST, 80);
	struct host *host;

	(void)state;
	serve(LAN_PROTOCOL_PCP);
	lab_get()->core.answers = true;
	host = lab_host_new("host0", HOST, 0);
	for (size_t i = 0; i < 2 * LANES_PACKETS_PER_SECOND; i++) {
		ask(host, GATEWAY, &asked);
		lab_wait_packets(host, 1);
		host->count = 0;
	}
	assert_int_equal(lab_get()->core.requests, 2 * LANES_PACKETS_PER_SECOND);
	lab_host_free(host);
}

/* The kernel takes the longest programs, without any privilege that is not there in a
 * worker: as many loud sources as there may be, of both families. */
static void check_longest(int family, const char *network)
{
	struct lanes lanes;
	struct sock_filter code[LANES_PROGRAM_MAX];
	struct sock_fprog program = {.filter = code};
	struct ip_addr source = lab_ip(network);
	const struct datagram_port port = {
		.family = family,
		.ifindex = lab_get()->ifindex[LAN0],
		.port = NATPMP_PORT,
	};
	int fds[2];

	assert_int_equal(lanes_init(&lanes), 0);
	for (size_t i = 0; i < LANES_SLOW_MAX; i++) {
		source.bytes[15] = (uint8_t)(i + 1);
		for (int k = 0; k < 2 * LANES_PACKETS_PER_SECOND; k++)
			(void)lanes_count(&lanes, &source, 0);
	}
	assert_int_equal(lanes.count, LANES_SLOW_MAX);
	program.len = (unsigned short)lanes_write_program(
		&lanes, family, (struct lanes_verdict){1, 0}, code);
	assert_int_equal(datagram_open(&port, &fds[0]), 0);
	assert_int_equal(datagram_open_second(fds[0], &port, &fds[1]), 0);
	assert_int_equal(datagram_select(fds[0], &program, &program), 0);
	close(fds[0]);
	close(fds[1]);
	lanes_fini(&lanes);
}

static void test_longest_programs(void **state)
{
	(void)state;
	lab_begin();
	check_longest(AF_INET, "192.168.77.0");
	check_longest(AF_INET6, "fd77::");
}

static int take_port(int family, bool shared)
{
	const struct sockaddr_in6 any6 = {.sin6_family = AF_INET6,
					  .sin6_port = htons(NATPMP_PORT)};
	const struct sockaddr_in any = {.sin_family = AF_INET,
					.sin_port = htons(NATPMP_PORT)};
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const int on = shared;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
	if (family == AF_INET)
		assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof(any)),
				 0);
	else
		assert_int_equal(bind(fd, (const struct sockaddr *)&any6, sizeof(any6)),
				 0);
	return fd;
}

/* Another server on the port is noticed, also one that would share it. */
static void test_port_taken(void **state)
{
	int taken;

	(void)state;
	lab_begin();
	lab_get()->protocols = LAN_PROTOCOL_PCP;
	lab_get()->ipv6 = true;
	taken = take_port(AF_INET6, true);
	lab_core_send_all();
	lab_wait_ready(0, SOCKETS);
	close(taken);
	lab_wait_ready(SOCKETS, 0);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_map),
		LAB_TEST(test_refused_by_core),
		LAB_TEST(test_link_local),
		LAB_TEST(test_versions),
		LAB_TEST(test_silence),
		LAB_TEST(test_too_long),
		LAB_TEST(test_anycast),
		LAB_TEST(test_no_nat),
		LAB_TEST(test_announcements),
		LAB_TEST(test_updates),
		LAB_TEST(test_update_ends),
		LAB_TEST(test_rate),
		LAB_TEST(test_lanes),
		LAB_TEST(test_slow_is_served),
		LAB_TEST(test_longest_programs),
		LAB_TEST(test_port_taken),
	};

	if (!lab_make())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
