/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/backoff.h"

void backoff_start(struct backoff *backoff, int64_t now_ms)
{
	backoff->started_ms = now_ms;
}

int64_t backoff_end(struct backoff *backoff, int64_t now_ms)
{
	int64_t delay_ms;

	if (now_ms - backoff->started_ms >= BACKOFF_HEALTHY_MS)
		backoff->delay_ms = 0;
	delay_ms = backoff->delay_ms;
	if (delay_ms == 0)
		backoff->delay_ms = BACKOFF_FIRST_MS;
	else if (delay_ms * 2 < BACKOFF_LONGEST_MS)
		backoff->delay_ms = delay_ms * 2;
	else
		backoff->delay_ms = BACKOFF_LONGEST_MS;
	return delay_ms;
}
