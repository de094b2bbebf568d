/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/throttle.h"

#include <stddef.h>

/* FNV-1a: neighbours on one LAN differ in the last octet and must not collide. */
static uint32_t hash(const struct ip_addr *addr)
{
	uint32_t value = 2166136261u;

	for (size_t i = 0; i < sizeof(addr->bytes); i++)
		value = (value ^ addr->bytes[i]) * 16777619u;
	return value ^ value >> 16;
}

bool throttle_pass(struct throttle *throttle, const struct ip_addr *peer,
		   int64_t now_ms)
{
	size_t i = hash(peer) % THROTTLE_BUCKETS;

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
