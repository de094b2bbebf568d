/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "protocols/lanes.h"

#define START_MS 5000000
#define SLOW 1
#define OTHER 0

static struct ip_addr ip(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

static struct ip_addr host(uint32_t number)
{
	return addr_from_ipv4((struct in_addr){htonl(0xc0a80000 + number)});
}

static struct lanes *lanes_new(void)
{
	struct lanes *lanes = malloc(sizeof(*lanes));

	assert_non_null(lanes);
	assert_int_equal(lanes_init(lanes), 0);
	return lanes;
}

static void lanes_free(struct lanes *lanes)
{
	lanes_fini(lanes);
	free(lanes);
}

/* Packets of one source at once; how often the list changed. */
static unsigned int flood(struct lanes *lanes, struct ip_addr source, int64_t now_ms,
			  unsigned int packets)
{
	unsigned int changes = 0;

	for (unsigned int i = 0; i < packets; i++)
		changes += lanes_count(lanes, &source, now_ms);
	return changes;
}

static uint32_t load_word(uint32_t at, const struct ip_addr *source)
{
	uint8_t header[40] = {0};
	uint32_t offset = at - (uint32_t)SKF_NET_OFF;

	if (addr_is_ipv4(source))
		memcpy(header + 12, source->bytes + 12, 4);
	else
		memcpy(header + 8, source->bytes, 16);
	assert_true(offset + 4 <= sizeof(header));
	return (uint32_t)header[offset] << 24 | (uint32_t)header[offset + 1] << 16 |
	       (uint32_t)header[offset + 2] << 8 | header[offset + 3];
}

/* What the kernel would do: the three instructions that there are. */
static uint32_t run(const struct lanes *lanes, struct ip_addr source)
{
	struct sock_filter code[LANES_PROGRAM_MAX];
	int family = addr_is_ipv4(&source) ? AF_INET : AF_INET6;
	size_t length = lanes_write_program(lanes, family,
					    (struct lanes_verdict){SLOW, OTHER}, code);
	uint32_t accumulator = 0;

	assert_in_range(length, 1, LANES_PROGRAM_MAX);
	for (size_t at = 0; at < length; at++) {
		switch (code[at].code) {
		case BPF_LD | BPF_W | BPF_ABS:
			accumulator = load_word(code[at].k, &source);
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			at += accumulator == code[at].k ? code[at].jt : code[at].jf;
			break;
		case BPF_RET | BPF_K:
			return code[at].k;
		default:
			fail_msg("instruction %#x", code[at].code);
		}
	}
	fail_msg("no return");
	return 0;
}

/* PCP-7: who sends more than the limit is steered away, at once; nobody else is. */
static void test_loud(void **state)
{
	struct lanes *lanes = lanes_new();

	(void)state;
	assert_int_equal(flood(lanes, host(1), START_MS, LANES_PACKETS_PER_SECOND), 0);
	assert_int_equal(run(lanes, host(1)), OTHER);
	assert_int_equal(flood(lanes, host(1), START_MS, 1000), 1);
	assert_int_equal(run(lanes, host(1)), SLOW);
	assert_int_equal(run(lanes, host(2)), OTHER);
	assert_int_equal(run(lanes, ip("::ffff:c0a8:0001")), SLOW); /* the same */
	assert_int_equal(run(lanes, ip("fd00::c0a8:1")), OTHER);
	/* As fast as allowed, for ever. */
	for (int64_t i = 0; i < 100; i++)
		assert_int_equal(flood(lanes, host(2), START_MS + i * 100,
				       LANES_PACKETS_PER_SECOND / 10),
				 0);
	lanes_free(lanes);
}

/* IPv6: all four words of the address count, and of several each. */
static void test_ipv6(void **state)
{
	static const char *const neighbours[] = {"fd00::1:0:0:2", "fd01::1:0:0:1",
						 "fd00::1:0:1:1", "fd00::2:0:0:1",
						 "fd00:0:0:1:1::1"};
	struct lanes *lanes = lanes_new();

	(void)state;
	assert_int_equal(flood(lanes, ip("fd00::1:0:0:1"), START_MS, 1000), 1);
	assert_int_equal(flood(lanes, host(1), START_MS, 1000), 1);
	assert_int_equal(flood(lanes, ip("fe80::7"), START_MS, 1000), 1);
	assert_int_equal(run(lanes, ip("fd00::1:0:0:1")), SLOW);
	assert_int_equal(run(lanes, ip("fe80::7")), SLOW);
	assert_int_equal(run(lanes, host(1)), SLOW);
	for (size_t i = 0; i < sizeof(neighbours) / sizeof(neighbours[0]); i++)
		assert_int_equal(run(lanes, ip(neighbours[i])), OTHER);
	lanes_free(lanes);
}

/* It stays while it is loud, also at a rate that alone would not bring it there. */
static void test_quiet(void **state)
{
	struct lanes *lanes = lanes_new();
	int64_t last_ms = START_MS;

	(void)state;
	assert_int_equal(flood(lanes, host(1), START_MS, 1000), 1);
	assert_int_equal(flood(lanes, host(2), START_MS, 1000), 1);
	for (; last_ms < START_MS + 3 * LANES_QUIET_MS; last_ms += 500) {
		(void)flood(lanes, host(1), last_ms, LANES_KEEP_PER_SECOND);
		(void)flood(lanes, host(2), last_ms, 1);
		(void)lanes_expire(lanes, last_ms);
		assert_int_equal(run(lanes, host(1)), SLOW);
		if (last_ms < START_MS + LANES_QUIET_MS)
			assert_int_equal(run(lanes, host(2)), SLOW);
	}
	assert_int_equal(run(lanes, host(2)), OTHER);
	last_ms -= 500;
	assert_false(lanes_expire(lanes, last_ms + LANES_QUIET_MS - 1));
	assert_true(lanes_expire(lanes, last_ms + LANES_QUIET_MS));
	assert_false(lanes_expire(lanes, last_ms + LANES_QUIET_MS));
	assert_int_equal(run(lanes, host(1)), OTHER);
	lanes_free(lanes);
}

/* More loud sources than places: those louder now push out one that went quiet. */
static void test_full(void **state)
{
	struct lanes *lanes = lanes_new();

	(void)state;
	for (uint32_t i = 0; i < LANES_SLOW_MAX; i++)
		assert_int_equal(flood(lanes, host(i), START_MS + i, 1000), 1);
	assert_int_equal(flood(lanes, host(100), START_MS + 500, 1000), 0);
	for (uint32_t i = 1; i < LANES_SLOW_MAX; i++)
		(void)flood(lanes, host(i), START_MS + 900, LANES_KEEP_PER_SECOND);
	assert_int_equal(flood(lanes, host(100), START_MS + LANES_YIELD_MS, 2000), 1);
	assert_int_equal(run(lanes, host(0)), OTHER);
	assert_int_equal(run(lanes, host(100)), SLOW);
	for (uint32_t i = 1; i < LANES_SLOW_MAX; i++)
		assert_int_equal(run(lanes, host(i)), SLOW);
	lanes_free(lanes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loud),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
