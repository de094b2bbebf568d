/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"

#include <time.h>

static int64_t clock_read_us(clockid_t id)
{
	struct timespec at = {0};

	/* Cannot fail: all clocks exist since Linux 2.6.39 and the pointer is ours. */
	(void)clock_gettime(id, &at);
	return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static int64_t clock_read_ms(clockid_t id)
{
	return clock_read_us(id) / 1000;
}

int64_t clock_monotonic_us(void)
{
	return clock_read_us(CLOCK_MONOTONIC);
}

int64_t clock_now_ms(void)
{
	return clock_read_ms(CLOCK_BOOTTIME);
}

int64_t clock_process_us(void)
{
	return clock_read_us(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t clock_wall_ms(void)
{
	return clock_read_ms(CLOCK_REALTIME);
}
