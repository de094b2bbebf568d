/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_UPNP_CONTROL_H
#define PROTOCOLS_UPNP_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "protocols/http_server.h"
#include "protocols/igd_desc.h"
#include "protocols/request.h"
#include "protocols/worker.h"

struct event_base;
struct upnp_events;

/** Faces served at once. */
#define UPNP_SITES_MAX 2
/** Requests that may wait for core's reply; more are refused with 501. */
#define UPNP_PENDING_MAX 256
/** Octets of all listings together that are gathered or being sent; more: 603. */
#define UPNP_LISTINGS_OCTETS_MAX ((size_t)16 * 1024 * 1024)
/** Units: ms. A reply that has not come by then is 501: SOAP-5 gives us 30 s. */
#define UPNP_REPLY_TIMEOUT_MS 25000

/**
 * What the HTTP servers serve: documents, and control requests, which become requests
 * to core and answers of its replies. What is subscribed to goes to upnp_events.h.
 */
struct upnp_control;

struct upnp_control_config {
	struct event_base *base;
	const struct wan_info *wan;	/* must outlive the control; may change */
	const struct table_info *table; /* the same */
	int64_t reply_timeout_ms;	/* UPNP_REPLY_TIMEOUT_MS, but in tests */
	size_t site_count;
	const struct igd_site *sites[UPNP_SITES_MAX]; /* must outlive the control */
	struct upnp_events *events;		      /* must outlive the control */
	/** Send a request to core. Errors: -errno. */
	int (*ask)(void *user, const struct request *request);
	void *user;
};

/** Owns: caller frees. Errors: NULL (memory). */
struct upnp_control *upnp_control_new(const struct upnp_control_config *config);
/** Safe on NULL. Every server that has it as its handler is closed before. */
void upnp_control_free(struct upnp_control *control);

/** Handler for http_server_open(), with the control as its user. Owns: static. */
const struct http_handler *upnp_control_get_handler(void);

/** Core's reply; one that nobody waits for any more is ignored. */
void upnp_control_take_reply(struct upnp_control *control, const struct reply *reply);

#endif
