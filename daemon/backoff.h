/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_BACKOFF_H
#define DAEMON_BACKOFF_H

#include <stdint.h>

/** Second restart in a row waits this long, each one after it twice as long. */
#define BACKOFF_FIRST_MS 50
#define BACKOFF_LONGEST_MS 5000
/** Who lived so long was healthy: the next restart is at once again. */
#define BACKOFF_HEALTHY_MS 10000

/** How long to wait before something that ended is started again. All zero = new. */
struct backoff {
	int64_t started_ms;
	int64_t delay_ms; /* of the next restart */
};

/** What to wait after delay_ms was in vain: twice as long, but not less than the first
 * time nor more than longest_ms. */
int64_t backoff_get_longer(int64_t delay_ms, int64_t first_ms, int64_t longest_ms);

/** It has been started. */
void backoff_start(struct backoff *backoff, int64_t now_ms);

/** It has ended. Units: returns milliseconds until it may start again; 0 = at once. */
int64_t backoff_end(struct backoff *backoff, int64_t now_ms);

#endif
