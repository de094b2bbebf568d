/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/throttle.h"

#include <stddef.h>

bool throttle_pass(struct throttle *throttle, const struct ip_addr *peer,
		   int64_t now_ms)
{
	size_t i = addr_get_hash(peer, 0) % THROTTLE_BUCKETS;

	if (throttle->buckets[i].answers == 0 ||
	    now_ms - throttle->buckets[i].window_start_ms >= THROTTLE_WINDOW_MS) {
		throttle->buckets[i].window_start_ms = now_ms;
		throttle->buckets[i].answers = 0;
	}
	if (throttle->buckets[i].answers >= THROTTLE_ANSWERS_MAX)
		return false;
	throttle->buckets[i].answers++;
	return true;
}
