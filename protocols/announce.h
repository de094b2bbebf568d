/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_ANNOUNCE_H
#define PROTOCOLS_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>

/** Copies of one announcement (NP-56; PCP-39 allows as many). */
#define ANNOUNCE_COUNT 10
/** Between the first two copies; each gap after it is twice as long. */
#define ANNOUNCE_FIRST_GAP_MS 250

/**
 * When the copies of one announcement leave: at 0, 0.25, 0.75, 1.75 ... 127.75 s. All
 * zero is a series that is over. Units: milliseconds of clock_now_ms().
 * Source: RFC 6886 §3.2.1, RFC 6887 §14.1.3.
 */
struct announce_series {
	unsigned int left; /* copies still to send */
	int64_t gap_ms;	   /* after the next copy */
	int64_t next_ms;
};

/** Begin, now. A series under way begins anew: never two at once (NP-58). */
void announce_start(struct announce_series *series, int64_t now_ms);

/**
 * True when a copy is due: the caller sends one, now. Copies missed while the process
 * did not run are not made up for in a burst; gaps only ever get longer.
 */
bool announce_take_due(struct announce_series *series, int64_t now_ms);

/** When to ask next; TIME_NEVER when the series is over. */
int64_t announce_get_next_ms(const struct announce_series *series);

#endif
