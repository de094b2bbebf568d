/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_PENDING_H
#define PROTOCOLS_PENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "protocols/natpmp.h"

/** Requests that core may be busy with at once; more are dropped, clients ask again. */
#define PENDING_MAX 1024
/** After this a request is forgotten: the client has long asked again. */
#define PENDING_TIMEOUT_MS 10000

/** Who asked, and from which of our addresses the answer must come (NP-1). */
struct pending_path {
	uint32_t ifindex;
	struct ip_addr local;
	struct ip_addr peer;
	uint16_t peer_port;
};

/** Everything an answer needs besides what core says. */
struct pending_entry {
	struct pending_path path;
	struct natpmp_request asked;
};

/** Requests in flight, by the cookie that core gives back. Fixed size, O(1) each. */
struct pending;

/** Owns: caller frees. Errors: NULL, out of memory. */
struct pending *pending_new(void);
void pending_free(struct pending *pending);

/**
 * Remember a request; returns its cookie, never 0 and never the same again within
 * 2^31 uses of a place. Entries older than PENDING_TIMEOUT_MS make room.
 * Errors: 0 when the table is full.
 */
uint64_t pending_add(struct pending *pending, const struct pending_entry *entry,
		     int64_t now_ms);

/** Forget the request again and hand it over. Errors: false for an unknown cookie. */
bool pending_take(struct pending *pending, uint64_t cookie, struct pending_entry *out)
	__attribute__((warn_unused_result));

#endif
