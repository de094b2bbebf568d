/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is answered to PCP requests, what is sent unasked, and reading it. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "test/unit/pcp_packet.h"

static size_t refuse(const struct packet *packet, enum pcp_code code,
		     struct packet *out)
{
	struct pcp_packet in = packet_view(packet);
	struct writer writer = writer_init(out->bytes, PCP_SIZE_MAX);

	out->length = pcp_encode_refusal(&in, code, 0, EPOCH_S, &writer);
	return out->length;
}

static size_t answer(const struct packet *packet, const struct reply *reply,
		     struct packet *out)
{
	struct pcp_terms terms = terms_all();
	struct writer writer = writer_init(out->bytes, ROOM);
	struct pcp_packet in = packet_view(packet);
	struct pcp_request asked;

	assert_int_equal(packet_decode(packet, &asked), 0);
	out->length = pcp_encode_reply(&in, &asked, &terms, reply, &writer);
	assert_int_equal(out->length % 4, 0);
	return out->length;
}

static struct reply make_reply(void)
{
	return (struct reply){.result = RESULT_OK,
			      .internal_port = 3074,
			      .external_port = 40000,
			      .lifetime_s = 7200,
			      .epoch_s = EPOCH_S,
			      .external = to_addr(REMOTE4)};
}

/* PCP-19, PCP-20, PCP-22: at least a whole header of version 2 comes back. */
static void test_version_reply(void **state)
{
	static const uint8_t head[12] = {2, 0x81, 0, 1, 0, 0, 7, 8, 1, 2, 3, 4};
	static const size_t lengths[] = {2, 3, 11, 12, 13, 23, 24, 25, 60, 1100, 1400};
	struct packet packet = {0};
	struct packet out;

	(void)state;
	memset(packet.bytes, 0x5a, sizeof(packet.bytes));
	packet.bytes[0] = 9;
	packet.bytes[1] = 1;
	for (size_t i = 0; i < COUNT(lengths); i++) {
		size_t want = (lengths[i] < 24 ? 24 : lengths[i] + 3) / 4 * 4;

		if (want > PCP_SIZE_MAX)
			want = PCP_SIZE_MAX;
		packet.length = lengths[i];
		assert_int_equal(refuse(&packet, PCP_CODE_UNSUPP_VERSION, &out), want);
		assert_memory_equal(out.bytes, head, sizeof(head));
		for (size_t at = sizeof(head); at < want; at++)
			assert_int_equal(out.bytes[at], at < lengths[i] ? 0x5a : 0);
	}
}

/* PCP-23, PCP-24, PCP-29, PCP-30: what an error changes and what it leaves. */
static void test_refusal(void **state)
{
	static const uint16_t lifetimes[] = {0,	 1800, 1800, 1800, 1800, 1800, 1800,
					     30, 30,   1800, 30,   30,	 1800, 1800};
	struct packet packet = make_peer(CLIENT4, REMOTE4, 53);
	struct packet out;

	(void)state;
	add_option(&packet, 200, "kept", 4);
	add_option(&packet, 60, "kept too", 8);
	for (int code = 1; code <= 13; code++) {
		bool unread = code == 1 || code == 3 || code == 6;

		assert_int_equal(refuse(&packet, (enum pcp_code)code, &out),
				 packet.length);
		assert_int_equal(out.bytes[0], 2);
		assert_int_equal(out.bytes[1], 0x82);
		assert_int_equal(out.bytes[2], 0);
		assert_int_equal(out.bytes[3], code);
		assert_int_equal(out.bytes[6] << 8 | out.bytes[7], lifetimes[code]);
		assert_memory_equal(out.bytes + 4, "\0\0", 2);
		assert_memory_equal(out.bytes + 8, "\1\2\3\4", 4);
		assert_memory_equal(out.bytes + 12, unread ? &CLIENT4[4] : NONE6, 12);
		assert_memory_equal(out.bytes + 24, packet.bytes + 24,
				    packet.length - 24);
	}
}

/* PCP-8, PCP-23: at most 1100 octets, a multiple of 4, or nothing. PCP-49: lifetime. */
static void test_refusal_size(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct pcp_packet in = packet_view(&packet);
	struct packet out = {0};
	struct writer writer = writer_init(out.bytes, 1099);

	(void)state;
	for (in.length = 24; in.length <= ROOM; in.length++) {
		size_t want = in.length > 1100 ? 1100 : (in.length + 3) / 4 * 4;

		writer = writer_init(out.bytes, PCP_SIZE_MAX);
		assert_int_equal(pcp_encode_refusal(&in, PCP_CODE_MALFORMED_REQUEST, 0,
						    EPOCH_S, &writer),
				 want);
		writer = writer_init(out.bytes, want - 1);
		assert_int_equal(pcp_encode_refusal(&in, PCP_CODE_MALFORMED_REQUEST, 0,
						    EPOCH_S, &writer),
				 0);
	}
	in.length = 60;
	writer = writer_init(out.bytes, PCP_SIZE_MAX);
	pcp_encode_refusal(&in, PCP_CODE_NOT_AUTHORIZED, 77, EPOCH_S, &writer);
	assert_int_equal(out.bytes[7], 77);
}

/* PCP-25, PCP-26, PCP-44, PCP-91: exact sizes, and what the request said. */
static void test_success(void **state)
{
	static const uint8_t map_head[24] = {2,	   0x81, 0, 0, 0, 0,
					     0x1c, 0x20, 1, 2, 3, 4};
	static const uint8_t ports[] = {0x0c, 0x02, 0x9c, 0x40};
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct reply reply = make_reply();
	struct packet out;

	(void)state;
	memset(packet.bytes + 37, 0xff, 3);
	assert_int_equal(answer(&packet, &reply, &out), PCP_MAP_SIZE);
	assert_memory_equal(out.bytes, map_head, sizeof(map_head));
	assert_memory_equal(out.bytes + 24, "twelve-bytes\x06\0\0\0", 16);
	assert_memory_equal(out.bytes + 40, ports, sizeof(ports));
	assert_memory_equal(out.bytes + 44, REMOTE4, 16);
	add_option(&packet, 200, "ignored", 7);
	assert_int_equal(answer(&packet, &reply, &out), PCP_MAP_SIZE);

	packet = make_peer(CLIENT4, OTHER4, 53);
	assert_int_equal(answer(&packet, &reply, &out), PCP_PEER_SIZE);
	assert_int_equal(out.bytes[1], 0x82);
	assert_memory_equal(out.bytes + 40, ports, sizeof(ports));
	assert_memory_equal(out.bytes + 44, REMOTE4, 16);
	assert_memory_equal(out.bytes + 60, packet.bytes + 60, 20);
	memset(packet.bytes + 4, 0, 4); /* PCP-90: the answer is what is left */
	assert_int_equal(answer(&packet, &reply, &out), PCP_PEER_SIZE);
	assert_memory_equal(out.bytes + 4, "\0\0\x1c\x20", 4);

	/* PCP-36: lifetime 0 whatever was asked */
	packet = make_head(PCP_OP_ANNOUNCE, CLIENT4, 99);
	assert_int_equal(answer(&packet, &reply, &out), PCP_HEADER_SIZE);
	assert_memory_equal(out.bytes, "\x02\x80\0\0\0\0\0\0\1\2\3\4", 12);
	assert_memory_equal(out.bytes + 12, NONE6, 12);
}

/* The owner's lease has the owner's text: the option was not processed (PCP-25). */
static void test_description_of_static(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct reply reply = make_reply();
	struct packet out;

	(void)state;
	(void)snprintf(reply.description, sizeof(reply.description), "mine");
	reply.origin = ORIGIN_STATIC;
	add_option(&packet, PCP_OPTION_DESCRIPTION, "yours", 5);
	assert_int_equal(answer(&packet, &reply, &out), PCP_MAP_SIZE);
	reply.origin = ORIGIN_PCP;
	assert_int_equal(answer(&packet, &reply, &out), PCP_MAP_SIZE + 8);
}

/* PCP-65: the suggestion unchanged, even one that means nothing, and lifetime 0. */
static void test_delete(void **state)
{
	static const char *const suggestions[] = {NONE4, NONE6, LOOPBACK4, REMOTE6};
	struct reply reply = make_reply();
	struct pcp_terms terms = terms_all();

	(void)state;
	for (size_t i = 0; i < COUNT(suggestions); i++) {
		struct packet packet = make_map(CLIENT4, 0, IPPROTO_TCP);
		struct pcp_packet in = packet_view(&packet);
		struct pcp_request asked;
		struct packet out;
		struct writer writer = writer_init(out.bytes, ROOM);

		memcpy(packet.bytes + 44, suggestions[i], 16);
		assert_int_equal(answer(&packet, &reply, &out), PCP_MAP_SIZE);
		assert_memory_equal(out.bytes + 4, NONE6, 4);
		assert_memory_equal(out.bytes + 24, packet.bytes + 24, 36);
		reply.result = RESULT_NO_ENTRY; /* success all the same */
		assert_int_equal(answer(&packet, &reply, &out), PCP_MAP_SIZE);
		assert_int_equal(out.bytes[3], 0);
		/* PCP-66: of all ports, which is never a mapping of ours */
		memset(packet.bytes + 40, 0, 2);
		assert_int_equal(packet_decode(&packet, &asked), 0);
		assert_int_equal(
			pcp_encode_success(&in, &asked, &terms, EPOCH_S, &writer),
			PCP_MAP_SIZE);
		assert_memory_equal(out.bytes + 24, packet.bytes + 24, 36);
	}
}

/* PCP-12, PCP-25: the options that were processed, in the order they came. */
static void test_success_options(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct packet want = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct reply reply = make_reply();
	struct packet out;

	(void)state;
	(void)snprintf(reply.description, sizeof(reply.description), "as stored");
	reply.port_count = 4;
	add_option(&packet, PCP_OPTION_PORT_SET, "\0\x08\x0c\x02\1", 5);
	add_option(&want, PCP_OPTION_PORT_SET, "\0\4\x0c\x02\1", 5);
	add_option(&packet, 201, "ignored", 7);
	add_filter(&packet, 0, 0, NONE6);
	add_filter(&want, 0, 0, NONE6);
	add_option(&packet, PCP_OPTION_DESCRIPTION, "as asked for", 12);
	add_option(&want, PCP_OPTION_DESCRIPTION, "as stored", 9);
	add_filter(&packet, 120, 53, REMOTE4); /* host bits and all */
	add_filter(&want, 120, 53, REMOTE4);
	add_option(&packet, PCP_OPTION_PREFIX64, "\0\x0c" NONE6, 14);
	add_option(&want, PCP_OPTION_PREFIX64, "\0\x0c\0\x64\xff\x9b" NONE6, 14);
	add_option(&packet, PCP_OPTION_THIRD_PARTY, OTHER4, 16);
	add_option(&want, PCP_OPTION_THIRD_PARTY, OTHER4, 16);
	assert_int_equal(answer(&packet, &reply, &out), want.length);
	assert_memory_equal(out.bytes + 60, want.bytes + 60, want.length - 60);

	reply.external_port = 40001; /* the parity was not kept */
	answer(&packet, &reply, &out);
	assert_int_equal(out.bytes[68], 0);
	reply.internal_port = 3075; /* a set that begins later (RFC 7753 §4.1) */
	answer(&packet, &reply, &out);
	assert_memory_equal(out.bytes + 64, "\0\4\x0c\x03\1", 5);
	assert_memory_equal(out.bytes + 40, "\x0c\x02", 2);
	reply.port_count = 1; /* PCP-116: no set at all */
	assert_int_equal(answer(&packet, &reply, &out), want.length - 12);
	assert_int_equal(out.bytes[60], PCP_OPTION_FILTER);
}

/* PCP-28: known before core is asked; and never more than 1100 octets. */
static void test_too_long(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct packet out;
	struct reply reply = make_reply();
	struct pcp_request asked;

	(void)state;
	while (packet.length + 24 <= PCP_SIZE_MAX - 4)
		add_filter(&packet, 128, 7, REMOTE4);
	assert_int_equal(packet_decode(&packet, &asked), 0);
	assert_int_equal(answer(&packet, &reply, &out), packet.length);
	add_option(&packet, PCP_OPTION_PREFIX64, "", 0); /* 4 octets, 20 in the reply */
	assert_true(packet.length <= PCP_SIZE_MAX);
	assert_int_equal(packet_decode(&packet, &asked), 3);
}

/* PCP-28: every option that comes back counts; each row is one reply of this length. */
static void test_too_long_sums(void **state)
{
	static const struct {
		const char *text; /* NULL = none */
		uint8_t code;
		const char *data;
		size_t data_length;
		size_t want; /* 0 = too long */
	} rows[] = {{NULL, PCP_OPTION_PORT_SET, "\0\4\x0c\x02\0", 5, 1100},
		    {"x", PCP_OPTION_PORT_SET, "\0\4\x0c\x02\0", 5, 0},
		    {NULL, PCP_OPTION_THIRD_PARTY, OTHER4, 16, 0},
		    {"fits", PCP_OPTION_PREFER_FAILURE, "", 0, 1100},
		    {"does not", PCP_OPTION_PREFER_FAILURE, "", 0, 0}};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
		struct reply reply = make_reply();
		struct pcp_request asked;
		struct packet out;

		reply.port_count = 4;
		add_option(&packet, rows[i].code, rows[i].data, rows[i].data_length);
		if (rows[i].text) {
			add_option(&packet, PCP_OPTION_DESCRIPTION, rows[i].text,
				   strlen(rows[i].text));
			(void)snprintf(reply.description, sizeof(reply.description),
				       "%s", rows[i].text);
		}
		for (int k = 0; k < 42; k++)
			add_filter(&packet, 128, 7, REMOTE4);
		add_option(&packet, PCP_OPTION_PREFIX64, "", 0);
		assert_true(packet.length <= PCP_SIZE_MAX);
		assert_int_equal(packet_decode(&packet, &asked),
				 rows[i].want ? 0 : PCP_CODE_MALFORMED_REQUEST);
		if (rows[i].want) {
			assert_int_equal(answer(&packet, &reply, &out), rows[i].want);
			assert_int_equal(out.bytes[3], 0);
		}
	}
}

/* A text longer than the one asked for does not make the reply longer than it may be.
 */
static void test_too_long_description(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct packet out;
	struct reply reply = make_reply();

	(void)state;
	while (packet.length + 24 <= PCP_SIZE_MAX - 8)
		add_filter(&packet, 128, 7, REMOTE4);
	add_option(&packet, PCP_OPTION_DESCRIPTION, "x", 1);
	memset(reply.description, 'x', DESCRIPTION_MAX);
	assert_int_equal(answer(&packet, &reply, &out), packet.length);
	assert_int_equal(out.bytes[3], 3);
}

/* PCP-23: core's refusals, by the one table of codes. PCP-49, PCP-76: its lifetime. */
static void test_core_refusals(void **state)
{
	static const struct {
		enum result result;
		uint32_t lifetime_s;
		uint8_t code;
		uint16_t want_s;
	} rows[] = {{RESULT_DENIED, 0, 2, 1800},      {RESULT_FOREIGN, 600, 2, 600},
		    {RESULT_THIRD_PARTY, 0, 5, 1800}, {RESULT_NO_ADDRESS, 0, 7, 30},
		    {RESULT_NO_PORT, 0, 8, 30},	      {RESULT_QUOTA, 0, 10, 30},
		    {RESULT_CONFLICT, 0, 11, 30},     {RESULT_CONFLICT, 720, 11, 720},
		    {RESULT_PEERS, 0, 13, 1800}};
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct packet out;

	(void)state;
	add_option(&packet, 200, "kept", 4);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct reply reply = {.result = (uint8_t)rows[i].result,
				      .lifetime_s = rows[i].lifetime_s,
				      .epoch_s = EPOCH_S};

		assert_int_equal(answer(&packet, &reply, &out), packet.length);
		assert_int_equal(out.bytes[3], rows[i].code);
		assert_int_equal(out.bytes[6] << 8 | out.bytes[7], rows[i].want_s);
		assert_memory_equal(out.bytes + 24, packet.bytes + 24,
				    packet.length - 24);
	}
}

/* PCP-37 */
static void test_announce(void **state)
{
	static const uint8_t want[24] = {2, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4};
	uint8_t out[24];

	(void)state;
	assert_int_equal(pcp_encode_announce(EPOCH_S, out, sizeof(out)), 24);
	assert_memory_equal(out, want, sizeof(want));
	assert_int_equal(pcp_encode_announce(EPOCH_S, out, 23), 0);
}

/* PCP-40, PCP-41, PCP-42: THIRD_PARTY and FILTER, no optional options, result 11. */
static void test_update(void **state)
{
	struct mapping_update update = {.op = REQUEST_MAP,
					.result = RESULT_OK,
					.protocol = IPPROTO_TCP,
					.filter_count = 2,
					.nonce = "twelve-bytes",
					.internal_port = 3074,
					.external_port = 40000,
					.lifetime_s = 60,
					.client = to_addr(CLIENT4),
					.internal = to_addr(OTHER4),
					.external = to_addr(REMOTE4)};
	struct pcp_response response;
	uint8_t out[PCP_SIZE_MAX];

	(void)state;
	for (int i = 0; i < 2; i++) {
		update.filters[i].prefix = (struct prefix){to_addr(REMOTE4), 128};
		update.filters[i].port = (uint16_t)(i + 1);
	}
	assert_int_equal(pcp_encode_update(&update, EPOCH_S, out, sizeof(out)),
			 60 + 20 + 24 + 24);
	assert_true(pcp_decode_response(out, 60 + 20 + 24 + 24, &response));
	assert_int_equal(response.code, 0);
	assert_int_equal(response.lifetime_s, 60);
	assert_int_equal(response.epoch_s, EPOCH_S);
	assert_true(response.body.has_third_party);
	assert_int_equal(response.body.filter_count, 2);
	assert_int_equal(response.body.external_port, 40000);

	update.internal = update.client;
	update.filter_count = 0;
	update.lifetime_s = 0;
	assert_int_equal(pcp_encode_update(&update, EPOCH_S, out, sizeof(out)), 60);
	assert_memory_equal(out, "\x02\x81\0\0\0\0\0\0", 8);
	update.result = RESULT_CONFLICT;
	assert_int_equal(pcp_encode_update(&update, EPOCH_S, out, sizeof(out)), 64);
	assert_memory_equal(out, "\x02\x81\0\x0b\0\0\0\x1e", 8);
	assert_memory_equal(out + 60, "\x02\0\0\0", 4);
	update.op = REQUEST_PEER;
	update.result = RESULT_OK;
	update.remote = to_addr(REMOTE4);
	update.remote_port = 53;
	assert_int_equal(pcp_encode_update(&update, EPOCH_S, out, sizeof(out)), 80);
	assert_memory_equal(out + 60, "\0\x35\0\0" REMOTE4, 20);
	assert_int_equal(pcp_encode_update(&update, EPOCH_S, out, 79), 0);
}

/* RFC 7225 §4: length of the prefix in octets, the suffix fills it up to twelve. */
static void test_prefix64(void **state)
{
	static const uint8_t lengths[] = {32, 40, 48, 56, 64, 96};
	struct packet packet = make_head(PCP_OP_ANNOUNCE, CLIENT6, 0);

	(void)state;
	add_option(&packet, PCP_OPTION_PREFIX64, "\0\x0c" NONE6, 14);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		struct pcp_terms terms = terms_all();
		struct pcp_packet in = packet_view(&packet);
		struct pcp_request asked;
		struct packet out;
		struct writer writer = writer_init(out.bytes, ROOM);
		uint8_t octets = lengths[i] / 8;

		terms.nat64.length = lengths[i];
		memset(terms.nat64.addr.bytes, 0x77, 16);
		assert_int_equal(decode_by(&packet, &terms, &asked), 0);
		assert_int_equal(pcp_encode_success(&in, &asked, &terms, 0, &writer),
				 44);
		assert_memory_equal(out.bytes + 24, "\x81\0\0\x0e\0", 5);
		assert_int_equal(out.bytes[29], octets);
		for (size_t k = 0; k < 14; k++)
			assert_int_equal(out.bytes[30 + k], k < octets ? 0x77 : 0);
	}
}

/* What is no response of this version, or not all of one. */
static void test_bad_responses(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct packet out;
	struct reply reply = make_reply();
	struct pcp_response response;

	(void)state;
	assert_false(pcp_decode_response(packet.bytes, packet.length, &response));
	add_filter(&packet, 128, 7, REMOTE4);
	answer(&packet, &reply, &out);
	for (size_t length = 0; length < out.length; length++)
		assert_int_equal(pcp_decode_response(out.bytes, length, &response),
				 length == 60);
	assert_true(pcp_decode_response(out.bytes, out.length, &response));
	out.bytes[0] = 1;
	assert_false(pcp_decode_response(out.bytes, out.length, &response));
	/* an option that we do not know, and more than a datagram may hold */
	answer(&packet, &reply, &out);
	add_option(&out, 254, "unknown", 7);
	assert_true(pcp_decode_response(out.bytes, out.length, &response));
	assert_int_equal(response.body.filter_count, 1);
	while (out.length < PCP_SIZE_MAX)
		add_option(&out, 254, "", 0);
	assert_true(pcp_decode_response(out.bytes, out.length, &response));
	add_option(&out, 254, "", 0);
	assert_false(pcp_decode_response(out.bytes, out.length, &response));
	assert_true(
		pcp_decode_response("\x02\xb2\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
				    "\0\0\0\x02\0\0",
				    28, &response));
	assert_false(response.body.prefer_failure);
	/* a refusal of an opcode that nobody knows, and of another version, short */
	assert_true(pcp_decode_response("\x02\xff\0\x04\0\0\0\0\0\0\0\0" NONE6, 24,
					&response));
	assert_int_equal(response.opcode, 127);
	assert_true(pcp_decode_response("\x02\x81\0\x01\0\0\0\0\0\0\0\0" NONE6, 24,
					&response));
	assert_int_equal(response.code, PCP_CODE_UNSUPP_VERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version_reply),
		cmocka_unit_test(test_refusal),
		cmocka_unit_test(test_refusal_size),
		cmocka_unit_test(test_success),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_success_options),
		cmocka_unit_test(test_description_of_static),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_too_long_sums),
		cmocka_unit_test(test_too_long_description),
		cmocka_unit_test(test_core_refusals),
		cmocka_unit_test(test_announce),
		cmocka_unit_test(test_update),
		cmocka_unit_test(test_prefix64),
		cmocka_unit_test(test_bad_responses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
