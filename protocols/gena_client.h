/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_GENA_CLIENT_H
#define PROTOCOLS_GENA_CLIENT_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/gena_table.h"
#include "protocols/xmldoc.h"

struct event_base;

/** Units: ms that a subscriber has to answer, all its URLs together (GENA-10). */
#define GENA_DELIVERY_TIMEOUT_MS 30000

/**
 * Carries events to subscribers: a connection each, so that none waits for another. The
 * table of subscriptions bounds their number.
 */
struct gena_client;

/** One event on its way. */
struct gena_delivery;

struct gena_client_config {
	struct event_base *base;
	int64_t timeout_ms; /* GENA_DELIVERY_TIMEOUT_MS, but in tests */
	/**
	 * The event has arrived, or was given up; the delivery is no more. Never
	 * called from inside gena_client_deliver().
	 */
	void (*done)(void *user, uint64_t tag, enum gena_outcome outcome);
	void *user;
};

/** An event; all that is borrowed must outlive the delivery. */
struct gena_event {
	uint64_t tag;	  /* the caller's; not 0 */
	int64_t delay_ms; /* until it leaves */
	char device[IF_NAMESIZE];
	const struct gena_subscriber *subscriber;
	const struct gena_callback *callback;
	const char *sid;
	uint32_t seq;
	struct xmldoc body; /* taken */
};

/** Owns: caller frees. Errors: NULL (memory). */
struct gena_client *gena_client_new(const struct gena_client_config *config);
/** Safe on NULL. What is under way ends without a word. */
void gena_client_free(struct gena_client *client);

/**
 * Send an event to the first URL that takes it; each URL has its share of the time.
 * Owns: takes event->body, also on error. Errors: -ENOMEM; -EBUSY: one with this tag is
 * under way.
 */
int gena_client_deliver(struct gena_client *client, const struct gena_event *event)
	__attribute__((warn_unused_result));

/** End the delivery with this tag without a word; nothing happens when there is none.
 */
void gena_client_cancel(struct gena_client *client, uint64_t tag);

/** Deliveries under way. */
size_t gena_client_get_count(const struct gena_client *client);

#endif
