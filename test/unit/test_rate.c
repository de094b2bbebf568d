/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rate.h"

#define START_MS 7000000
#define PER_SECOND 50

static struct ip_addr client(uint32_t number)
{
	return addr_from_ipv4((struct in_addr){htonl(0x0a000000 + number)});
}

static unsigned int take(struct rate *rate, uint32_t number, int64_t now_ms,
			 unsigned int count)
{
	struct ip_addr addr = client(number);
	unsigned int passed = 0;

	for (unsigned int i = 0; i < count; i++)
		passed += rate_take(rate, &addr, now_ms);
	return passed;
}

/* A second's worth at once, then as fast as it comes back; no more than that saved. */
static void test_bucket(void **state)
{
	struct rate *rate = rate_new(PER_SECOND);

	(void)state;
	assert_non_null(rate);
	assert_int_equal(take(rate, 1, START_MS, 1000), PER_SECOND);
	assert_int_equal(take(rate, 1, START_MS + 19, 10), 0);
	assert_int_equal(take(rate, 1, START_MS + 20, 10), 1);
	assert_int_equal(take(rate, 1, START_MS + 120, 10), 5);
	assert_int_equal(take(rate, 1, START_MS + 3600000, 1000), PER_SECOND);
	rate_free(rate);
}

/* One client's flood takes nothing from another. */
static void test_apart(void **state)
{
	struct rate *rate = rate_new(PER_SECOND);

	(void)state;
	assert_non_null(rate);
	for (uint32_t i = 0; i < 200; i++) {
		(void)take(rate, 0, START_MS + i, 1000);
		assert_int_equal(take(rate, 1 + i, START_MS + i, 1), 1);
	}
	rate_free(rate);
}

/* Neighbours do not push each other out and begin anew with a full bucket. */
static void test_neighbours(void **state)
{
	struct rate *rate = rate_new(PER_SECOND);
	unsigned int passed = 0;

	(void)state;
	assert_non_null(rate);
	for (uint32_t i = 0; i < 20 * 2 * PER_SECOND; i++)
		passed += take(rate, i % 20, START_MS, 1);
	assert_int_equal(passed, 20 * PER_SECOND);
	rate_free(rate);
}

/* More clients than places: nobody is refused for it. */
static void test_many(void **state)
{
	struct rate *rate = rate_new(PER_SECOND);

	(void)state;
	assert_non_null(rate);
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(take(rate, i, START_MS, 1), 1);
	rate_free(rate);
}

static void test_no_limit(void **state)
{
	struct rate *rate = rate_new(0);

	(void)state;
	assert_non_null(rate);
	assert_int_equal(take(rate, 1, START_MS, 100000), 100000);
	rate_free(rate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bucket),	   cmocka_unit_test(test_apart),
		cmocka_unit_test(test_neighbours), cmocka_unit_test(test_many),
		cmocka_unit_test(test_no_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
