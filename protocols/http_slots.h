/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_HTTP_SLOTS_H
#define PROTOCOLS_HTTP_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/addr.h"

/*
 * Connections that wait for their client: for the rest of a request, or until it reads
 * the answer. They cost a client nothing, so they are few, and he who has most of them
 * gives way; where each has one, the oldest does. So half-open connections keep nobody
 * out, be they of one address or of a host that has thousands in IPv6 (HTTP-3).
 */

/** Room for such connections in one list. */
#define HTTP_SLOTS_MAX 96

struct http_holder {
	struct ip_addr client;
	unsigned int count; /* 0 = free */
};

/** One such connection. The caller's storage; fields are the module's but for fd. */
struct http_slot {
	TAILQ_ENTRY(http_slot) link;
	struct http_holder *holder; /* NULL = not, or no longer, in the list */
	int64_t started_ms;
	int fd;
};

TAILQ_HEAD(http_slot_list, http_slot);

struct http_slots {
	struct http_slot_list list; /* the oldest first */
	unsigned int count;
	unsigned int max;
	unsigned int per_client_max;
	struct http_holder holders[HTTP_SLOTS_MAX + 1];
};

/** max: of all, at most HTTP_SLOTS_MAX; per_client_max: of one address. */
void http_slots_init(struct http_slots *slots, unsigned int max,
		     unsigned int per_client_max);

/**
 * Take a new connection in.
 * Returns the one that has to go for it, already out of the list; NULL = none: the
 * oldest of this client when it has its share, else, when the LAN is full, the oldest
 * of the client that has most.
 */
struct http_slot *http_slots_add(struct http_slots *slots, struct http_slot *slot,
				 const struct ip_addr *client, int64_t now_ms)
	__attribute__((warn_unused_result));

/** Make room at once: take out the oldest of the client that has most; NULL = empty. */
struct http_slot *http_slots_take_most(struct http_slots *slots)
	__attribute__((warn_unused_result));

/** It waits no more, or it is gone. Nothing happens to one not in the list. */
void http_slots_remove(struct http_slots *slots, struct http_slot *slot);

/** Take out one that is as old as limit_ms, the oldest first; NULL = none. */
struct http_slot *http_slots_take_late(struct http_slots *slots, int64_t limit_ms,
				       int64_t now_ms);

/** Units: ms until http_slots_take_late() has work; -1 = the list is empty. */
int64_t http_slots_get_delay_ms(const struct http_slots *slots, int64_t limit_ms,
				int64_t now_ms);

#endif
