/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_GENA_TABLE_H
#define PROTOCOLS_GENA_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/addr.h"
#include "protocols/gena.h"

/** Subscriptions of everybody together, of one LAN, and of one host (GENA-12). */
#define GENA_SUBSCRIPTIONS_MAX 256
#define GENA_SUBSCRIPTIONS_PER_LAN_MAX 96
#define GENA_SUBSCRIPTIONS_PER_HOST_MAX 16
/** Those of one LAN that IPv6 may have: there a host has as many addresses as it likes,
 * and each is a host here. */
#define GENA_SUBSCRIPTIONS_PER_LAN_IPV6_MAX (GENA_SUBSCRIPTIONS_PER_LAN_MAX / 2)
/** Events in a row that do not arrive until a subscription is given up (GENA-10). */
#define GENA_FAILURES_MAX 8

/**
 * The same while none has ever arrived: who cannot be reached at all is tried again so
 * often, and keeps no place for the day that it may have asked for (GENA-12).
 */
#define GENA_UNHEARD_FAILURES_MAX 4
/** Units: ms until it is tried again. */
#define GENA_RETRY_MS 10000

/** What became of an event. */
enum gena_outcome {
	GENA_DELIVERED,
	GENA_FAILED,
	GENA_REFUSED, /* 412: the subscriber does not know of the subscription */
};

/** Who subscribes, to what, and the way to it. */
struct gena_subscriber {
	struct ip_addr host;
	struct ip_addr local; /* our address that events come from */
	uint32_t ifindex;
	void *subject; /* the owner's: what is watched; one SID is good for one */
};

/**
 * One subscription. The variables of its subject are bits. Its owner sets `changed` and
 * `answered`; all else is written here.
 */
struct gena_subscription {
	TAILQ_ENTRY(gena_subscription) link;
	uint64_t id; /* not 0, never used twice */
	struct gena_subscriber subscriber;
	struct gena_callback callback;
	char sid[GENA_SID_SIZE];
	int64_t expires_ms;
	uint32_t seq;	  /* of the next event */
	uint32_t changed; /* since the last event was made */
	uint32_t missed;  /* in events that did not arrive */
	uint32_t sent;	  /* in the event under way */
	unsigned int failures;
	bool answered;	/* the answer to its SUBSCRIBE has gone out (GENA-6) */
	bool in_flight; /* an event is under way */
	bool told;	/* its first event has arrived, or was given up */
	bool heard;	/* an event has arrived */
	bool leaving;	/* unsubscribed: ends when the first event has (GENA-6) */
};

TAILQ_HEAD(gena_subscription_list, gena_subscription);

struct gena_table {
	struct gena_subscription_list list; /* the oldest first */
	unsigned int count;
	uint64_t last_id;
};

void gena_table_init(struct gena_table *table);
/** Free every subscription. */
void gena_table_fini(struct gena_table *table);

/**
 * A new subscription to variables, whose first event holds all of them. random: of the
 * SID. Owns: the table's. Errors: NULL, a limit or memory: 503.
 */
struct gena_subscription *gena_table_add(struct gena_table *table,
					 const struct gena_call *call,
					 const struct gena_subscriber *subscriber,
					 const uint8_t random[16], int64_t now_ms);
/** Free it. */
void gena_table_remove(struct gena_table *table, struct gena_subscription *sub);

/** The live subscription of that SID, host and subject; NULL = none: 412. */
struct gena_subscription *gena_table_find(struct gena_table *table, const char *sid,
					  const struct gena_subscriber *subscriber,
					  int64_t now_ms);
struct gena_subscription *gena_table_find_id(struct gena_table *table, uint64_t id);
/** One whose time is over and that waits for nothing, to be removed; NULL = none. */
struct gena_subscription *gena_table_find_expired(struct gena_table *table,
						  int64_t now_ms);

/** It lives timeout_s from now on. */
void gena_subscription_renew(struct gena_subscription *sub, uint32_t timeout_s,
			     int64_t now_ms);
/** UNSUBSCRIBE. True: remove it now; false: it ends after its first event. */
bool gena_subscription_leave(struct gena_subscription *sub)
	__attribute__((warn_unused_result));

/** True when an event is to be made now: there is a change, and none is under way. */
bool gena_subscription_is_due(const struct gena_subscription *sub, int64_t now_ms);
/**
 * Make the next event of one that is due. Returns the variables that it holds: those
 * that changed, and those that the subscriber missed. Its number is in *seq.
 */
uint32_t gena_subscription_begin(struct gena_subscription *sub, uint32_t *seq);
/** The event under way has ended. True: remove the subscription. */
bool gena_subscription_end(struct gena_subscription *sub, enum gena_outcome outcome)
	__attribute__((warn_unused_result));

/** True when nothing that was sent has arrived: tell it again what it missed. */
bool gena_subscription_is_unheard(const struct gena_subscription *sub);
/** What it missed is to be told, without waiting for a change. */
void gena_subscription_retry(struct gena_subscription *sub);

#endif
