/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/**
 * How fast each client may ask: a token bucket a client, in a table of fixed size, so
 * that made-up source addresses cost no memory. Where too many clients share a place in
 * it, the one idle longest is forgotten, which can only favour a client.
 */
struct rate;

/** per_second 0 = no limit. Owns: caller frees. Errors: NULL when out of memory. */
struct rate *rate_new(uint32_t per_second);
void rate_free(struct rate *rate);
/** Another limit from now on; what clients have used of theirs stays used. */
void rate_set(struct rate *rate, uint32_t per_second);
/** Take one token of the client; false = it asks too fast. One second's worth may
 * burst. */
bool rate_take(struct rate *rate, const struct ip_addr *client, int64_t now_ms);

#endif
