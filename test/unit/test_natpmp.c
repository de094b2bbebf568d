/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/natpmp.h"
#include "protocols/throttle.h"

#define NOW_MS 1000000

static enum natpmp_kind kind_of(const char *bytes, size_t length)
{
	struct natpmp_request out;

	return natpmp_decode_request(bytes, length, &out);
}

/* NP-12, NP-13: too short, and responses of any version. */
static void test_silence(void **state)
{
	(void)state;
	assert_int_equal(kind_of("", 0), NATPMP_SILENCE);
	assert_int_equal(kind_of("\x00", 1), NATPMP_SILENCE);
	assert_int_equal(kind_of("\x00\x80", 2), NATPMP_SILENCE);
	assert_int_equal(kind_of("\x00\xff", 2), NATPMP_SILENCE);
	assert_int_equal(kind_of("\x02\x81\x00\x00", 4), NATPMP_SILENCE);
	assert_int_equal(kind_of("\xff\x80", 2), NATPMP_SILENCE);
}

/* NP-15: the first octet decides. NP-16: opcodes 3 to 127. */
static void test_versions_and_opcodes(void **state)
{
	(void)state;
	assert_int_equal(kind_of("\x00\x00", 2), NATPMP_ADDRESS);
	for (int version = 1; version <= 0xff; version++) {
		const char bytes[2] = {(char)version, 0};

		assert_int_equal(kind_of(bytes, 2), NATPMP_BAD_VERSION);
	}
	for (int op = 3; op <= 127; op++) {
		const char bytes[2] = {0, (char)op};

		assert_int_equal(kind_of(bytes, 2), NATPMP_BAD_OPCODE);
	}
}

/* NP-17, NP-18: short map requests are dropped, longer requests lose their tail. */
static void test_lengths(void **state)
{
	static const char map[16] = {0, 1, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 9};

	(void)state;
	for (size_t length = 2; length < 12; length++)
		assert_int_equal(kind_of(map, length), NATPMP_SILENCE);
	for (size_t length = 12; length <= 16; length++)
		assert_int_equal(kind_of(map, length), NATPMP_MAP);
	assert_int_equal(kind_of("\0\0\0\0", 4), NATPMP_ADDRESS);
	assert_int_equal(kind_of("\0\0\0\0\0\0\0\0\0\0\0", 12), NATPMP_ADDRESS);
}

/* NP-19: whatever stands in the reserved field, the request is the same. */
static void test_reserved(void **state)
{
	static const uint8_t map[12] = {0,    2,    0xff, 0xff, 0x12, 0x34,
					0x56, 0x78, 0x01, 0x02, 0x03, 0x04};
	struct natpmp_request out;

	(void)state;
	assert_int_equal(natpmp_decode_request(map, sizeof(map), &out), NATPMP_MAP);
	assert_int_equal(out.op, NATPMP_OP_MAP_TCP);
	assert_int_equal(out.internal_port, 0x1234);
	assert_int_equal(out.external_port, 0x5678);
	assert_int_equal(out.lifetime_s, 0x01020304);
}

/* NP-16: a request of 2 to 1100 octets comes back in max(8, its length) octets. */
static void test_bad_opcode(void **state)
{
	static const size_t lengths[] = {2, 5, 7, 8, 9, 20, 1100};
	uint8_t request[1100];
	uint8_t out[1100];

	(void)state;
	memset(request, 0x5a, sizeof(request));
	request[0] = 0;
	request[1] = 3;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		static const uint8_t head[8] = {0, 0x83, 0, 5, 1, 2, 3, 4};
		size_t length = lengths[i];
		size_t want = length < 8 ? 8 : length;

		assert_int_equal(natpmp_encode_bad_opcode(request, length, 0x01020304,
							  out, sizeof(out)),
				 want);
		assert_memory_equal(out, head, 8);
		assert_memory_equal(out + 8, request + 8, want - 8);
	}
	assert_int_equal(natpmp_encode_bad_opcode(request, 1100, 0, out, 1099), 0);
}

static struct request to_request(struct natpmp_request asked)
{
	struct request request;

	assert_int_equal(natpmp_to_request(&asked, &request), RESULT_OK);
	assert_int_equal(request.origin, ORIGIN_NATPMP);
	return request;
}

/* NP-27: the lifetime asked is core's to shorten. NP-33: one protocol. */
static void test_to_core(void **state)
{
	struct request request = to_request(
		(struct natpmp_request){NATPMP_OP_MAP_UDP, 1000, 2000, UINT32_MAX});

	(void)state;
	assert_int_equal(request.op, REQUEST_MAP);
	assert_int_equal(request.protocol, IPPROTO_UDP);
	assert_int_equal(request.internal_port, 1000);
	assert_int_equal(request.external_port, 2000);
	assert_int_equal(request.lifetime_s, UINT32_MAX);
	assert_int_equal(request.enabled, 1);
	request = to_request((struct natpmp_request){NATPMP_OP_MAP_TCP, 1000, 0, 30});
	assert_int_equal(request.protocol, IPPROTO_TCP);
	assert_int_equal(request.lifetime_s, 30);
}

/* NP-42, NP-47, NP-39 and the combination of which the RFC says nothing. */
static void test_delete_to_core(void **state)
{
	struct natpmp_request asked = {NATPMP_OP_MAP_TCP, 0, 0, 60};
	struct request request;

	(void)state;
	assert_int_equal(natpmp_to_request(&asked, &request), RESULT_BAD_PORT);
	asked = (struct natpmp_request){NATPMP_OP_MAP_TCP, 0, 80, 0};
	assert_int_equal(natpmp_to_request(&asked, &request), RESULT_BAD_PORT);
	request = to_request((struct natpmp_request){NATPMP_OP_MAP_TCP, 80, 999, 0});
	assert_int_equal(request.op, REQUEST_UNMAP);
	assert_int_equal(request.internal_port, 80);
	assert_int_equal(request.external_port, 0);
	request = to_request((struct natpmp_request){NATPMP_OP_MAP_UDP, 0, 0, 0});
	assert_int_equal(request.op, REQUEST_UNMAP_ALL);
	assert_int_equal(request.protocol, IPPROTO_UDP);
}

/* NP-21, NP-23: every result gives a known code and, on error, no mapping. */
static void test_from_core(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_UDP, 700, 800, 60};

	(void)state;
	for (int result = 0; result < RESULT_COUNT; result++) {
		struct reply reply = {.result = (uint8_t)result,
				      .external_port = 900,
				      .lifetime_s = 50,
				      .epoch_s = 7};
		struct natpmp_reply out = natpmp_from_reply(&asked, &reply);
		uint8_t bytes[64];

		assert_true(out.code <= NATPMP_CODE_RESOURCES &&
			    out.code != NATPMP_CODE_VERSION);
		assert_int_equal(out.internal_port, 700);
		assert_int_equal(out.epoch_s, 7);
		assert_int_equal(out.external_port, out.code == 0 ? 900 : 0);
		assert_int_equal(out.lifetime_s, out.code == 0 ? 50 : 0);
		assert_int_equal(natpmp_encode_reply(&out, bytes, sizeof(bytes)), 16);
	}
}

/* NP-43 to NP-46. */
static void test_delete_from_core(void **state)
{
	const struct natpmp_request asked = {NATPMP_OP_MAP_TCP, 700, 800, 0};
	struct reply reply = {.result = RESULT_OK, .external_port = 900};
	struct natpmp_reply out = natpmp_from_reply(&asked, &reply);

	(void)state;
	assert_int_equal(out.code, 0);
	assert_int_equal(out.external_port, 0);
	reply.result = RESULT_NO_ENTRY;
	out = natpmp_from_reply(&asked, &reply);
	assert_int_equal(out.code, 0);
	assert_int_equal(out.external_port, 0);
	reply.result = RESULT_FOREIGN;
	out = natpmp_from_reply(&asked, &reply);
	assert_int_equal(out.code, NATPMP_CODE_REFUSED);
	assert_int_equal(out.internal_port, 700);
	assert_int_equal(out.external_port, 800);
	assert_int_equal(out.lifetime_s, 0);
}

/* NP-22, NP-25, NP-26. */
static void test_address(void **state)
{
	struct ip_addr external = {{0}};
	struct natpmp_reply out = natpmp_tell_address(&external, 3);

	(void)state;
	assert_int_equal(out.code, NATPMP_CODE_NETWORK);
	assert_int_equal(out.address.s_addr, 0);
	assert_true(addr_parse("0.0.0.0", &external));
	assert_int_equal(natpmp_tell_address(&external, 3).code, NATPMP_CODE_NETWORK);
	assert_true(addr_parse("2001:db8::1", &external));
	out = natpmp_tell_address(&external, 3);
	assert_int_equal(out.code, NATPMP_CODE_NETWORK);
	assert_int_equal(out.address.s_addr, 0);
	assert_true(addr_parse("10.0.0.2", &external));
	out = natpmp_tell_address(&external, 3);
	assert_int_equal(out.code, NATPMP_CODE_OK);
	assert_int_equal(out.address.s_addr, htonl(0x0a000002));
	assert_int_equal(out.epoch_s, 3);
}

/* What is no reply of a gateway. */
static void test_bad_replies(void **state)
{
	static const struct {
		size_t length;
		uint8_t bytes[16];
	} rows[] = {
		{0, {0}},	 {7, {0, 0x80, 0, 1}},
		{12, {2, 0x80}}, /* another version */
		{12, {0, 0x00}}, /* a request */
		{11, {0, 0x80}}, /* address, cut */
		{13, {0, 0x80}}, /* address, too long */
		{15, {0, 0x81}}, /* map, cut */
		{16, {0, 0x83}}, /* no such operation */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct natpmp_reply out;

		assert_false(natpmp_decode_reply(rows[i].bytes, rows[i].length, &out));
	}
}

/* A buffer too small is never half filled with success. */
static void test_no_room(void **state)
{
	const struct natpmp_reply map = {.op = NATPMP_OP_MAP_UDP};
	const struct natpmp_reply address = {.op = NATPMP_OP_ADDRESS};
	const struct natpmp_request request = {.op = NATPMP_OP_MAP_UDP};
	uint8_t out[16];

	(void)state;
	assert_int_equal(natpmp_encode_reply(&map, out, 15), 0);
	assert_int_equal(natpmp_encode_reply(&address, out, 11), 0);
	assert_int_equal(natpmp_encode_request(&request, out, 11), 0);
	assert_int_equal(natpmp_encode_bad_version(0, out, 7), 0);
}

/* NP-11: bounded for each source, and for any number of sources together. */
static void test_throttle(void **state)
{
	struct throttle throttle;
	struct ip_addr one;
	struct ip_addr two;
	unsigned int passed = 0;

	(void)state;
	assert_int_equal(throttle_init(&throttle), 0);
	assert_true(addr_parse("192.168.1.10", &one) &&
		    addr_parse("192.168.1.11", &two));
	for (int i = 0; i < THROTTLE_ANSWERS_MAX; i++)
		assert_true(throttle_pass(&throttle, &one, NOW_MS));
	assert_false(throttle_pass(&throttle, &one, NOW_MS));
	assert_true(throttle_pass(&throttle, &two, NOW_MS));
	assert_true(throttle_pass(&throttle, &one, NOW_MS + THROTTLE_WINDOW_MS));
	throttle_fini(&throttle);
	assert_int_equal(throttle_init(&throttle), 0);
	for (uint32_t i = 0; i < 100000; i++) {
		struct ip_addr forged =
			addr_from_ipv4((struct in_addr){htonl(0x0a000000u + i)});

		passed += throttle_pass(&throttle, &forged, NOW_MS);
	}
	assert_int_equal(passed, THROTTLE_TOTAL_MAX);
	assert_true(throttle_pass(&throttle, &two, NOW_MS + THROTTLE_WINDOW_MS));
	throttle_fini(&throttle);
}

/* Whatever place a table gives two addresses, none has its answers taken by another:
 * far more sources than it has sets, each of which takes all that it may. */
static void test_throttle_apart(void **state)
{
	struct throttle throttle;
	struct ip_addr victim;

	(void)state;
	assert_int_equal(throttle_init(&throttle), 0);
	assert_true(addr_parse("192.168.1.10", &victim));
	for (uint32_t i = 0; i < 1000; i++) {
		const int64_t now_ms = NOW_MS + (int64_t)i * THROTTLE_WINDOW_MS;
		struct ip_addr loud =
			addr_from_ipv4((struct in_addr){htonl(0x0a000000u + i)});

		for (int k = 0; k < 2 * THROTTLE_ANSWERS_MAX; k++)
			assert_int_equal(throttle_pass(&throttle, &loud, now_ms),
					 k < THROTTLE_ANSWERS_MAX);
		assert_true(throttle_pass(&throttle, &victim, now_ms));
	}
	throttle_fini(&throttle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_versions_and_opcodes),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_bad_opcode),
		cmocka_unit_test(test_to_core),
		cmocka_unit_test(test_delete_to_core),
		cmocka_unit_test(test_from_core),
		cmocka_unit_test(test_delete_from_core),
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_bad_replies),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_throttle),
		cmocka_unit_test(test_throttle_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
