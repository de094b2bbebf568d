/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_THROTTLE_H
#define PROTOCOLS_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/** Answers one source gets in one window. */
#define THROTTLE_ANSWERS_MAX 200
#define THROTTLE_WINDOW_MS 1000
/** Buckets; sources that fall into the same one share its allowance. */
#define THROTTLE_BUCKETS 256

/**
 * Bounds the answers that a worker gives by itself, without core's request limit:
 * errors and the external address (NP-11). A forged source address must not turn us
 * into somebody's flood; buckets are not per address but hashed, so the sum over all
 * sources is bounded too. All zero is a fresh one.
 */
struct throttle {
	struct {
		int64_t window_start_ms;
		uint32_t answers;
	} buckets[THROTTLE_BUCKETS];
};

/** True, and counted, when the answer may be sent. */
bool throttle_pass(struct throttle *throttle, const struct ip_addr *peer,
		   int64_t now_ms);

#endif
