/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_UPDATES_H
#define PROTOCOLS_UPDATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/worker.h"

/** Updates that wait to be sent again. When there are more, the oldest are not. */
#define UPDATES_MAX 4096
/** Between the first and the second copy, and between that and the last (PCP-40). */
#define UPDATES_FIRST_GAP_MS 250
#define UPDATES_SECOND_GAP_MS 500
/** Copies sent in one turn, so that requests get theirs in between. */
#define UPDATES_BURST 64

/**
 * The second and third copy of each PCP Mapping Update; whoever adds one sends the
 * first. Holds no memory worth mentioning while none waits. Source: RFC 6887 §14.2.
 */
struct updates;

/** Which mapping an update, or a client's own request, is about. */
struct updates_key {
	uint16_t lan;
	uint8_t op; /* REQUEST_MAP or REQUEST_PEER */
	uint8_t protocol;
	uint16_t internal_port;
	uint16_t remote_port; /* PEER, else 0 */
	uint8_t nonce[NONCE_SIZE];
	struct ip_addr client;
	struct ip_addr internal; /* the client, but for third parties */
	struct ip_addr remote;	 /* PEER, else all zero */
};

/** Owns: caller frees. Errors: NULL, out of memory. */
struct updates *updates_new(void);
void updates_free(struct updates *updates);

/**
 * Remember an update whose first copy is sent now; an older one of the same mapping is
 * forgotten. Errors: false when another's copies had to be given up for it, or its own
 * for want of memory.
 */
bool updates_add(struct updates *updates, const struct mapping_update *update,
		 int64_t now_ms);

/** The client has asked: it needs no more copies (PCP-40), nor those of the other ports
 * of a set, which is renewed and deleted as one (PCP-115). */
void updates_stop(struct updates *updates, const struct updates_key *key);

/**
 * The next copy that is due; the caller sends it. Good until the next call of any
 * function here. NULL = none is due.
 */
const struct mapping_update *updates_take_due(struct updates *updates, int64_t now_ms);

/** When to ask next; TIME_NEVER when none waits. */
int64_t updates_get_next_ms(const struct updates *updates);

#endif
