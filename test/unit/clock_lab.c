/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/clock_lab.h"

#include <time.h>

#include "base/clock.h"

static int64_t passed_ms;

void clock_lab_pass(int64_t ms)
{
	passed_ms += ms;
}

static int64_t read_ms(clockid_t id)
{
	struct timespec at = {0};

	(void)clock_gettime(id, &at);
	return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000 + passed_ms;
}

int64_t clock_now_ms(void)
{
	return read_ms(CLOCK_BOOTTIME);
}

int64_t clock_wall_ms(void)
{
	return read_ms(CLOCK_REALTIME);
}
