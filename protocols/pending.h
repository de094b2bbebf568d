/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_PENDING_H
#define PROTOCOLS_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "protocols/natpmp.h"
#include "protocols/pcp.h"

/** Requests that core may be busy with at once; more are dropped, clients ask again. */
#define PENDING_MAX 1024
/** Of these, those of one client ... */
#define PENDING_CLIENT_MAX 256
/** ... and of all sources in the slow lanes together, so that others find room. */
#define PENDING_SLOW_MAX 192
/** After this a request is forgotten: the client has long asked again. */
#define PENDING_TIMEOUT_MS 10000

/** Who asked, and from which of our addresses the answer must come (NP-1, PCP-27). */
struct pending_path {
	uint32_t ifindex;
	struct ip_addr local;
	struct ip_addr peer;
	uint16_t peer_port;
};

/** Everything an answer needs besides what core says. */
struct pending_entry {
	struct pending_path path;
	bool slow; /* it came by the slow lane */
	bool is_pcp;
	struct natpmp_request natpmp; /* unless is_pcp */
	struct pcp_request pcp;
	struct pcp_terms terms;
	size_t length;
	uint8_t bytes[PCP_SIZE_MAX]; /* the request, which an error reply copies */
};

/** What a request found full. */
enum pending_cap { PENDING_CAP_CLIENT, PENDING_CAP_SLOW, PENDING_CAP_ALL };

/** Requests in flight, by the cookie that core gives back. Fixed size, O(1) each. */
struct pending;

/** Owns: caller frees. Errors: NULL, out of memory. */
struct pending *pending_new(void);
void pending_free(struct pending *pending);

/**
 * A place for a request of this path: path and slow are set, the caller fills in the
 * rest before anything else is done here. *cookie is never 0 and never the same again
 * within 2^31 uses of a place. Entries older than PENDING_TIMEOUT_MS make room.
 * Errors: NULL when there is no more room; pending_get_cap() says why.
 */
struct pending_entry *pending_add(struct pending *pending,
				  const struct pending_path *path, bool slow,
				  int64_t now_ms, uint64_t *cookie);

/** What the request found full that was refused last. */
enum pending_cap pending_get_cap(const struct pending *pending);

/**
 * Forget the request again; what is returned is good until the next pending_add().
 * Errors: NULL for an unknown cookie.
 */
const struct pending_entry *pending_take(struct pending *pending, uint64_t cookie);

/** Whether so many more requests of slow lanes would find room. */
bool pending_has_slow_room(struct pending *pending, uint32_t count, int64_t now_ms);

#endif
