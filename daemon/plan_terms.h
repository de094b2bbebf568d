/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_PLAN_TERMS_H
#define DAEMON_PLAN_TERMS_H

#include "daemon/plan.h"

/*
 * What a request may have, by policy and by what is free: the lower half of the
 * planner.
 */

/** True when policy lets the request have the external port. */
bool context_allows(const struct plan_context *context, uint16_t port,
		    uint32_t *lifetime_max_s);
/**
 * When a lease asked for now ends, by clock_now_ms(). NAT-PMP gets at most what it asks
 * (NP-27), PCP at least the minimum (PCP-64); a lifetime of 0 means the longest there
 * is, for the owner: for ever.
 */
int64_t context_expires(const struct plan_context *context, uint32_t lifetime_max_s);
/** The lease a request would become, its end and outbound aside. */
struct lease lease_from_request(const struct plan_context *context,
				uint16_t external_port);
/** True when nothing and nobody else has the external port. */
bool port_is_available(const struct table *table, const struct plan_context *context,
		       uint16_t port);
/**
 * The port a new MAP gets: the suggested one, else that of the internal side, else any
 * (NP-31, NP-32, NP-38). Errors: DENIED, CONFLICT with prefer_failure, NO_PORT.
 */
enum result port_choose(const struct table *table, const struct plan_context *context,
			uint16_t suggested, uint16_t *out);

#endif
