/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/moment.h"

#include "base/clock.h"

struct store_time moment_now(void)
{
	return (struct store_time){.now_ms = clock_now_ms(),
				   .wall_ms = clock_wall_ms()};
}
