/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_THROTTLE_H
#define PROTOCOLS_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/** Answers one source gets in one window ... */
#define THROTTLE_ANSWERS_MAX 200
/** ... and all sources of one LAN together, however many they make up. */
#define THROTTLE_TOTAL_MAX 16384
#define THROTTLE_WINDOW_MS 1000

struct rate;

/**
 * Bounds the answers that a worker gives on one LAN by itself, without core's request
 * limit: errors and the external address (NP-11). A forged source address must not turn
 * us into somebody's flood, nor cost another host its answers.
 */
struct throttle {
	struct rate *rate;
	int64_t window_start_ms;
	uint32_t answers; /* of all, in the window */
};

/** Owns: throttle_fini() frees. Errors: -ENOMEM. */
int throttle_init(struct throttle *throttle) __attribute__((warn_unused_result));
/** Safe on all zero. */
void throttle_fini(struct throttle *throttle);

/** True, and counted, when the answer may be sent. */
bool throttle_pass(struct throttle *throttle, const struct ip_addr *peer,
		   int64_t now_ms);

#endif
