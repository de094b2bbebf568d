/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "protocols/announce.h"

#define START_MS 5000000

/* NP-56: ten copies at 0, .25, .75, 1.75 ... 127.75 s, then silence. */
static void test_times(void **state)
{
	static const int64_t times_ms[ANNOUNCE_COUNT] = {
		0, 250, 750, 1750, 3750, 7750, 15750, 31750, 63750, 127750};
	struct announce_series series = {0};

	(void)state;
	announce_start(&series, START_MS);
	for (int i = 0; i < ANNOUNCE_COUNT; i++) {
		int64_t due_ms = START_MS + times_ms[i];

		assert_int_equal(announce_get_next_ms(&series), due_ms);
		assert_false(announce_take_due(&series, due_ms - 1));
		assert_true(announce_take_due(&series, due_ms));
		assert_false(announce_take_due(&series, due_ms));
	}
	assert_int_equal(announce_get_next_ms(&series), TIME_NEVER);
	assert_false(announce_take_due(&series, TIME_NEVER - 1));
}

/* NP-58: an event amid a series begins it anew; there is one schedule, not two. */
static void test_restart(void **state)
{
	struct announce_series series = {0};
	int sent = 0;

	(void)state;
	announce_start(&series, START_MS);
	assert_true(announce_take_due(&series, START_MS));
	assert_true(announce_take_due(&series, START_MS + 250));
	announce_start(&series, START_MS + 1000);
	assert_int_equal(announce_get_next_ms(&series), START_MS + 1000);
	for (int64_t now_ms = START_MS + 1000; now_ms < START_MS + 200000; now_ms++)
		sent += announce_take_due(&series, now_ms);
	assert_int_equal(sent, ANNOUNCE_COUNT);
}

/* A fresh or finished series never fires. */
static void test_idle(void **state)
{
	struct announce_series series = {0};

	(void)state;
	assert_false(announce_take_due(&series, START_MS));
	assert_int_equal(announce_get_next_ms(&series), TIME_NEVER);
}

/* After a suspend: one copy, not all that were missed, and gaps never shrink. */
static void test_late(void **state)
{
	struct announce_series series = {0};
	int64_t late_ms = START_MS + 3600000;

	(void)state;
	announce_start(&series, START_MS);
	assert_true(announce_take_due(&series, START_MS));
	assert_true(announce_take_due(&series, late_ms));
	assert_false(announce_take_due(&series, late_ms + 499));
	assert_true(announce_take_due(&series, late_ms + 500));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
