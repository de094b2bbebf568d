/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/announce.h"

#include "base/clock.h"

void announce_start(struct announce_series *series, int64_t now_ms)
{
	series->left = ANNOUNCE_COUNT;
	series->gap_ms = ANNOUNCE_FIRST_GAP_MS;
	series->next_ms = now_ms;
}

bool announce_take_due(struct announce_series *series, int64_t now_ms)
{
	if (series->left == 0 || now_ms < series->next_ms)
		return false;
	series->left--;
	series->next_ms = now_ms + series->gap_ms;
	series->gap_ms *= 2;
	return true;
}

int64_t announce_get_next_ms(const struct announce_series *series)
{
	return series->left > 0 ? series->next_ms : TIME_NEVER;
}
