/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_PLAN_TERMS_H
#define DAEMON_PLAN_TERMS_H

#include "daemon/plan.h"
#include "daemon/ports.h"

/** Ports below are the gateway's and its owner's: never picked unasked (NP-32, NP-38).
 */
#define PORT_UNPRIVILEGED 1024
/** How long a port rests, in seconds: what a client waits beyond a lease's end. */
#define PORT_REST_S ((uint32_t)(PORT_REST_MS / 1000))

/*
 * What a request may have, by policy and by what is free: the lower half of the
 * planner.
 */

/** True when policy lets the request have the external port. */
bool context_allows(const struct plan_context *context, uint16_t port,
		    uint32_t *lifetime_max_s);
/** True when policy treats this internal port as the request's own: it says so of a
 * stretch around that. */
bool context_allows_inside(const struct plan_context *context, uint16_t port);
/**
 * When a lease asked for now ends, by clock_now_ms(). NAT-PMP gets at most what it asks
 * (NP-27), PCP at least the minimum (PCP-64); a lifetime of 0 means the longest there
 * is, for the owner: for ever.
 */
int64_t context_expires(const struct plan_context *context, uint32_t lifetime_max_s);
/** The lease a request would become, its end and outbound aside. */
struct lease lease_from_request(const struct plan_context *context,
				uint16_t external_port);
/** What the lease says of the request's address: it is one of ours, or no matter. */
bool context_has_external(const struct plan_context *context);
/** Seconds from now to the end of a lease, rounded up; 0 = it never ends. */
uint32_t context_get_left_s(const struct plan_context *context,
			    const struct lease *lease);
/**
 * Add the request's filters to those of the lease, each once (PCP-83); they stand in
 * the plan then. Errors: PEERS, NO_MEMORY: the lease is as it was.
 */
enum result lease_take_filters(struct lease *lease, const struct plan_context *context,
			       struct plan *plan);
/**
 * When a port that could not be had may be free, in seconds: whoever has it ends, and
 * it has rested (PCP-76); 0 = not known.
 */
uint32_t port_get_wait_s(const struct table *table, const struct plan_context *context,
			 uint16_t port);
/** True when nothing and nobody else has the external port. */
bool port_is_available(const struct table *table, const struct plan_context *context,
		       uint16_t port);
/**
 * Why a port that is not available is refused: CONFLICT, or WITHHELD where the gateway
 * itself or its owner has it, or nobody ever gets it (IGD-24).
 */
enum result port_get_refusal(const struct table *table,
			     const struct plan_context *context, uint16_t port);
/**
 * The lease, open to everybody and of another internal port, that `like` would take its
 * one peer away from, and must not: what PCP was promised stays so (PCP-58), and what
 * the owner set up; UPnP may do that to its own, and the owner may do all. NULL = none.
 */
const struct lease *port_get_narrowed(const struct table *table,
				      const struct request *request,
				      const struct lease *like);
/**
 * The port a new MAP gets: the suggested one, else that of the internal side, else any
 * (NP-31, NP-32, NP-38). Errors: DENIED, CONFLICT with prefer_failure, NO_PORT.
 */
enum result port_choose(const struct table *table, const struct plan_context *context,
			uint16_t suggested, uint16_t *out);

#endif
