/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_UPNP_EVENTS_H
#define PROTOCOLS_UPNP_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "protocols/http_server.h"
#include "protocols/igd_desc.h"
#include "protocols/worker.h"

struct event_base;

/** Evented variables of one service. */
#define UPNP_EVENTED_MAX 8
/**
 * Units: ms from the answer to a SUBSCRIBE until the first event. One that comes before
 * the client has read its SID is lost in some (GUPnP 1.6), which then wait for ever.
 */
#define UPNP_FIRST_EVENT_DELAY_MS 50
/** Units: ms between events that only the lease table causes; the first one leaves at
 * once. */
#define UPNP_TABLE_INTERVAL_MS 100

/**
 * Eventing of all services on all LANs: who is subscribed, and what was told last. An
 * event holds what has changed, with the values of the moment in which it leaves.
 */
struct upnp_events;

struct upnp_events_config {
	struct event_base *base;
	const struct wan_info *wan;	/* must outlive the events; may change */
	const struct table_info *table; /* the same */
	int64_t delivery_timeout_ms;	/* GENA_DELIVERY_TIMEOUT_MS, but in tests */
};

/** Owns: caller frees. Errors: NULL (memory). */
struct upnp_events *upnp_events_new(const struct upnp_events_config *config);
/** Safe on NULL. The servers whose requests it is given are closed before. */
void upnp_events_free(struct upnp_events *events);

/**
 * Answer a request for the event URL of a service: SUBSCRIBE and UNSUBSCRIBE, 405 for
 * other methods. request->lan and site must outlive the events.
 */
void upnp_events_serve(struct upnp_events *events, struct http_exchange *exchange,
		       const struct http_request *request, const struct igd_site *site,
		       const struct igd_service *service);
/** http_handler.sent(): now the first event may leave (GENA-6). */
void upnp_events_take_sent(struct upnp_events *events, uint64_t tag);

/** The WAN has changed: what is evented of it leaves at once (IGD-37, IGD-52). */
void upnp_events_take_wan(struct upnp_events *events);
/** The lease table has changed (IGD-36). */
void upnp_events_take_table(struct upnp_events *events);
/**
 * A LAN has changed: subscriptions end whose face, address of ours or host is no longer
 * there (GENA-12).
 */
void upnp_events_take_lan(struct upnp_events *events, const struct lan_info *lan);
/** Byebye was said on the LAN in AF_INET or AF_INET6: what was subscribed to in that
 * family is void (GENA-13). */
void upnp_events_end(struct upnp_events *events, const struct lan_info *lan,
		     int family);

#endif
