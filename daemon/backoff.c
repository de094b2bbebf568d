/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/backoff.h"

int64_t backoff_get_longer(int64_t delay_ms, int64_t first_ms, int64_t longest_ms)
{
	if (delay_ms < first_ms)
		return first_ms;
	return delay_ms < longest_ms / 2 ? delay_ms * 2 : longest_ms;
}

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
	backoff->delay_ms =
		backoff_get_longer(delay_ms, BACKOFF_FIRST_MS, BACKOFF_LONGEST_MS);
	return delay_ms;
}
