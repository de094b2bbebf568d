/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole worker pcp but for its sockets: any datagrams of NAT-PMP and PCP over IPv4
 * and IPv6, any messages of core, and time that passes. The input is a list of steps,
 * each begun by an octet that says what it is.
 */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "protocols/natpmp.h"
#include "protocols/pcp.h"
#include "protocols/responder.h"
#include "test/fuzz/arrival.h"
#include "test/fuzz/expect.h"

#define LAN 1
#define IFINDEX 7
#define START_MS 1000000
#define ASKED_MAX 64
#define STEPS_MAX 400
#define RATE 100 /* of requests of one client, in every other input; else no limit */
/* The most that one step of time may send: announcements from every address of every
 * LAN by two protocols, and a burst of updates. */
#define TOLD_MAX (LANS_MAX * LAN_ADDRESSES_MAX * 2 + 64)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Who may get an answer, and from where. */
struct way {
	uint32_t ifindex;
	struct ip_addr local, peer;
	uint16_t peer_port;
	uint8_t opcode; /* asked */
	uint8_t nonce[NONCE_SIZE];
};

/* A request that core was asked, and is busy with. */
struct asked {
	uint64_t cookie; /* 0 = none */
	struct way way;
};

enum step { STEP_DATAGRAM, STEP_REPLY, STEP_MESSAGE, STEP_TIME, STEPS };

struct run {
	struct responder *responder;
	int64_t now_ms;
	enum step step;
	struct way way;	       /* of the datagram, the reply or the update */
	bool is_update;	       /* STEP_MESSAGE: only then is anything sent at once */
	bool core_is_busy;     /* takes no request */
	unsigned int sent;     /* in this step */
	unsigned int requests; /* in this step */
	struct asked asked[ASKED_MAX];
	size_t asked_count;
};

static size_t get_size(uint8_t opcode)
{
	if (opcode == PCP_OP_ANNOUNCE)
		return PCP_HEADER_SIZE;
	return opcode == PCP_OP_MAP ? PCP_MAP_SIZE : PCP_PEER_SIZE;
}

/* PCP-9, PCP-10: each is as long as it says, and padded with zeros to four octets. */
static void check_options(struct reader list)
{
	while (list.left > 0) {
		uint16_t length;

		(void)reader_u8(&list);
		expect_true(reader_u8(&list) == 0); /* reserved */
		length = reader_u16(&list);
		reader_skip(&list, length);
		for (; length % 4 != 0; length++)
			expect_true(reader_u8(&list) == 0);
		expect_true(!list.failed);
	}
}

/* A success is whole, as a client reads it; an error may copy anything (PCP-23). */
static void check_pcp(const struct run *run, const struct datagram *out)
{
	struct pcp_response response;
	struct reader list = reader_init(out->bytes, out->length);

	expect_true(out->length >= PCP_HEADER_SIZE && out->length % 4 == 0);
	expect_true(out->bytes[2] == 0); /* reserved */
	expect_true(pcp_decode_response(out->bytes, out->length, &response));
	if (run->step == STEP_TIME || run->is_update)
		expect_true(response.opcode <= PCP_OP_PEER);
	else
		expect_true(response.opcode == (run->way.opcode & ~PCP_RESPONSE_BIT));
	if (run->step == STEP_TIME && out->peer_port == NATPMP_ANNOUNCE_PORT)
		expect_true(out->length == PCP_HEADER_SIZE && response.code == 0);
	if (run->is_update)
		expect_true(response.opcode == PCP_OP_MAP ||
			    response.opcode == PCP_OP_PEER);
	if (response.code != PCP_CODE_SUCCESS)
		return;
	expect_true(response.opcode <= PCP_OP_PEER);
	expect_true(out->length >= get_size(response.opcode));
	reader_skip(&list, get_size(response.opcode));
	check_options(list);
	if ((run->step == STEP_DATAGRAM || run->step == STEP_REPLY) &&
	    response.opcode != PCP_OP_ANNOUNCE)
		expect_true(memcmp(response.body.nonce, run->way.nonce, NONCE_SIZE) ==
			    0);
}

/* Sizes, the response bit, a version that is ours. */
static void check_bytes(const struct run *run, const struct datagram *out)
{
	expect_true(out->length >= NATPMP_REFUSAL_MIN && out->length <= PCP_SIZE_MAX);
	expect_true((out->bytes[1] & PCP_RESPONSE_BIT) != 0);
	if (out->bytes[0] == PCP_VERSION) {
		check_pcp(run, out);
		return;
	}
	expect_true(out->bytes[0] == 0);
	expect_true(addr_is_ipv4(&out->peer)); /* NAT-PMP is of IPv4 */
}

static bool is_group(const struct ip_addr *addr)
{
	return addr_is_ipv4(addr) ? addr->bytes[12] == 224 : addr->bytes[0] == 0xff;
}

static void check_way(const struct run *run, const struct datagram *out)
{
	expect_true(out->ifindex != 0 && out->peer_port != 0);
	expect_true(addr_is_ipv4(&out->local) == addr_is_ipv4(&out->peer));
	if (run->step == STEP_TIME) {
		expect_true(is_group(&out->peer) ==
				    (out->peer_port == NATPMP_ANNOUNCE_PORT) ||
			    !is_group(&out->peer));
		return;
	}
	expect_true(addr_equal(&out->peer, &run->way.peer));
	expect_true(out->peer_port == run->way.peer_port);
	expect_true(addr_equal(&out->local, &run->way.local));
	expect_true(!is_group(&out->peer));
	if (!run->is_update)
		expect_true(out->ifindex == run->way.ifindex);
}

static void on_send(void *user, struct datagram_batch *batch)
{
	struct run *run = user;

	expect_true(batch->count > 0 && batch->count <= DATAGRAM_BATCH_MAX);
	for (size_t i = 0; i < batch->count; i++) {
		check_bytes(run, &batch->list[i]);
		check_way(run, &batch->list[i]);
	}
	run->sent += (unsigned int)batch->count;
}

static bool on_ask(void *user, const struct request *request)
{
	struct run *run = user;
	bool link_local = request->client.bytes[0] == 0xfe;
	struct asked *place = &run->asked[run->asked_count++ % ASKED_MAX];

	expect_true(run->step == STEP_DATAGRAM && ++run->requests == 1);
	expect_true(request->cookie != 0 && !link_local);
	expect_true(request->ifindex == run->way.ifindex);
	expect_true(addr_equal(&request->client, &run->way.peer));
	expect_true(addr_equal(&request->server, &run->way.local));
	expect_true(request->filter_count <= REQUEST_FILTERS_MAX);
	expect_true(request->port_count <= REQUEST_PORTS_MAX);
	expect_true(memchr(request->description, 0, sizeof(request->description)) !=
		    NULL);
	expect_true(request->op == REQUEST_MAP || request->op == REQUEST_UNMAP ||
		    request->op == REQUEST_UNMAP_ALL || request->op == REQUEST_PEER);
	if (request->origin == ORIGIN_PCP)
		expect_true(request->client_port == run->way.peer_port);
	if (run->core_is_busy)
		return false;
	*place = (struct asked){request->cookie, run->way};
	return true;
}

static void open_ports(struct run *run)
{
	for (size_t lan = 0; lan < LANS_MAX; lan++)
		for (int family = 0; family < RESPONDER_FAMILIES; family++) {
			enum responder_family which = (enum responder_family)family;

			responder_set_open(
				run->responder, lan, which,
				responder_is_wanted(run->responder, lan, which),
				run->now_ms);
		}
	(void)responder_steal_changed(run->responder);
}

/* Some of it filled from the input, the rest as it was. */
static void mutate(struct reader *input, void *out, size_t size)
{
	size_t at = reader_u16(input);
	size_t length = reader_u8(input);

	if (at >= size)
		return;
	if (length > size - at)
		length = size - at;
	if (length > input->left)
		length = input->left;
	reader_copy(input, (uint8_t *)out + at, length);
}

static struct ip_addr pick_address(uint8_t number)
{
	static const char *const texts[] = {
		"192.168.1.10", "192.168.1.1", "192.168.1.11", "192.0.0.9",
		"fd00::10",	"fd00::1",     "fe80::10",     "fe80::1",
		"2001:1::1",	"224.0.0.1",   "203.0.113.1",  "192.168.1.255",
	};

	return expect_addr(texts[number % (sizeof(texts) / sizeof(texts[0]))]);
}

static void step_datagram(struct run *run, struct reader *input)
{
	static struct datagram in;
	uint8_t flags = arrival_read(input, IFINDEX, pick_address, &in);

	run->core_is_busy = (flags & 8) != 0;
	in.length = reader_u16(input) % (DATAGRAM_SIZE_MAX + 1);
	reader_copy(input, in.bytes, in.length < input->left ? in.length : input->left);
	/* As a client would write its address, unless it is to lie. */
	if ((flags & 16) == 0 && in.length >= PCP_HEADER_SIZE && in.bytes[0] == 2)
		memcpy(in.bytes + 8, in.peer.bytes, sizeof(in.peer.bytes));
	run->way = (struct way){
		.ifindex = in.ifindex,
		.local = in.local,
		.peer = in.peer,
		.peer_port = in.peer_port,
		.opcode = in.bytes[1],
	};
	memcpy(run->way.nonce, in.bytes + PCP_HEADER_SIZE, NONCE_SIZE);
	(void)responder_take_datagram(run->responder, (flags & 32) != 0 ? 0 : LAN, &in,
				      (flags & 64) != 0, run->now_ms);
	responder_flush(run->responder);
	expect_true(run->sent + run->requests <= 1);
	if (in.length < 2 || (in.bytes[1] & PCP_RESPONSE_BIT) != 0)
		expect_true(run->sent + run->requests == 0); /* PCP-3, PCP-4 */
}

static void step_reply(struct run *run, struct reader *input)
{
	struct asked *asked = &run->asked[reader_u8(input) % ASKED_MAX];
	struct reply reply = {
		.cookie = asked->cookie,
		.op = REQUEST_MAP,
		.result = reader_u8(input) % RESULT_COUNT,
		.internal_port = 7,
		.external_port = 8,
		.lifetime_s = 600,
		.epoch_s = 9,
		.external = expect_addr("203.0.113.1"),
	};

	mutate(input, &reply, sizeof(reply));
	reply.cookie = asked->cookie;
	run->way = asked->way;
	if (responder_take_message(run->responder, MSG_REPLY, &reply, sizeof(reply),
				   run->now_ms) == 0) {
		responder_flush(run->responder);
		expect_true(run->sent <= (asked->cookie != 0 ? 1 : 0));
		asked->cookie = 0; /* a second answer must lead to nothing */
		run->sent = 0;
		expect_true(responder_take_message(run->responder, MSG_REPLY, &reply,
						   sizeof(reply), run->now_ms) == 0);
		responder_flush(run->responder);
		expect_true(run->sent == 0);
	}
}

static struct lan_info get_lan(void)
{
	static const char *const own[] = {"192.168.1.1", "fd00::1", "fe80::1"};
	static const char *const networks[] = {"192.168.1.0", "fd00::", "fe80::"};
	struct lan_info lan = {
		.lan = LAN,
		.protocols = LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP,
		.third_party = 1,
		.anycast = 1,
		.ifindex = IFINDEX,
		.address_count = 3,
		.network_count = 3,
		.name = "lan0",
	};

	for (size_t i = 0; i < 3; i++) {
		uint8_t length = i == 0 ? 120 : 64;

		lan.addresses[i] = (struct prefix){expect_addr(own[i]), length};
		lan.networks[i] = (struct prefix){expect_addr(networks[i]), length};
	}
	return lan;
}

static struct mapping_update get_update(void)
{
	return (struct mapping_update){
		.lan = LAN,
		.op = REQUEST_MAP,
		.protocol = IPPROTO_UDP,
		.client_port = 1234,
		.internal_port = 7,
		.external_port = 8,
		.lifetime_s = 600,
		.client = expect_addr("192.168.1.10"),
		.server = expect_addr("192.168.1.1"),
		.internal = expect_addr("192.168.1.10"),
		.external = expect_addr("203.0.113.1"),
	};
}

static void take_message(struct run *run, uint32_t type, const void *body, size_t size)
{
	expect_true(responder_take_message(run->responder, type, body, size,
					   run->now_ms) <= 0);
	responder_flush(run->responder);
	expect_true(run->sent <= (run->is_update ? 1 : 0));
	if (responder_steal_changed(run->responder))
		open_ports(run);
}

static void step_message(struct run *run, struct reader *input)
{
	const struct worker_setup setup = {.pcp_opcodes = 3, .ports_per_request = 16};
	const struct wan_info wan = {.nat = 1, .external = expect_addr("203.0.113.1")};
	union {
		struct worker_setup setup;
		struct wan_info wan;
		struct lan_info lan;
		struct mapping_update update;
		uint8_t bytes[2048];
	} body = {.bytes = {0}};
	uint8_t type = reader_u8(input) % (MSG_UPDATE + 2);
	size_t size = sizeof(struct announce);

	if (type == MSG_SETUP) {
		body.setup = setup;
		size = sizeof(setup);
	} else if (type == MSG_WAN) {
		body.wan = wan;
		size = sizeof(wan);
	} else if (type == MSG_LAN) {
		body.lan = get_lan();
		size = sizeof(body.lan);
	} else if (type == MSG_UPDATE) {
		body.update = get_update();
		size = sizeof(body.update);
	} else if (type != MSG_ANNOUNCE) {
		size = reader_u16(input) % sizeof(body.bytes);
	}
	mutate(input, body.bytes, size);
	run->is_update = type == MSG_UPDATE;
	run->way = (struct way){
		.local = body.update.server,
		.peer = body.update.client,
		.peer_port = body.update.client_port,
	};
	/* Answers have a step of their own, in which their way is known. */
	if (type != MSG_REPLY)
		take_message(run, type, body.bytes, size);
}

static void step_time(struct run *run, struct reader *input)
{
	int64_t next_ms;

	run->now_ms += reader_u16(input);
	next_ms = responder_run(run->responder, run->now_ms);
	expect_true(next_ms > run->now_ms || next_ms == TIME_NEVER);
	expect_true(run->sent <= TOLD_MAX);
}

static void make_step(struct run *run, struct reader *input)
{
	run->step = (enum step)(reader_u8(input) % STEPS);
	run->sent = 0;
	run->requests = 0;
	run->is_update = false;
	switch (run->step) {
	case STEP_DATAGRAM:
		step_datagram(run, input);
		break;
	case STEP_REPLY:
		step_reply(run, input);
		break;
	case STEP_MESSAGE:
		step_message(run, input);
		break;
	case STEP_TIME:
		step_time(run, input);
		break;
	case STEPS:
		break;
	}
}

/* As core greets a worker. */
static void greet(struct run *run, uint32_t requests_per_second)
{
	const struct worker_setup setup = {
		.pcp_opcodes = PCP_SERVES_MAP | PCP_SERVES_PEER,
		.ports_per_request = 16,
		.requests_per_second = requests_per_second,
		.nat64 = {expect_addr("64:ff9b::"), 96},
	};
	const struct wan_info wan = {.nat = 1, .external = expect_addr("203.0.113.1")};
	const struct lan_info lan = get_lan();

	run->step = STEP_MESSAGE;
	take_message(run, MSG_SETUP, &setup, sizeof(setup));
	take_message(run, MSG_WAN, &wan, sizeof(wan));
	take_message(run, MSG_LAN, &lan, sizeof(lan));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct responder_ops ops = {on_send, on_ask};
	struct reader input = reader_init(data, size);
	struct run run = {.now_ms = START_MS};

	log_init("fuzz", LOG_LEVEL_ERROR);
	run.responder = responder_new(&ops, &run);
	expect_true(run.responder != NULL);
	greet(&run, size % 2 == 0 ? 0 : RATE);
	for (int i = 0; i < STEPS_MAX && input.left > 0; i++)
		make_step(&run, &input);
	responder_free(run.responder);
	return 0;
}
