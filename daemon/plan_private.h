/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_PLAN_PRIVATE_H
#define DAEMON_PLAN_PRIVATE_H

#include "daemon/plan_terms.h"

/*
 * What the files of the planner share; nobody else includes this. The first part writes
 * steps into a plan; out of memory is plan->result.
 */

void plan_add(struct plan *plan, const struct lease *after);
void plan_update(struct plan *plan, const struct lease *before,
		 const struct lease *after);
void plan_remove(struct plan *plan, const struct lease *before);
/** The answer is about this lease. */
void plan_answer(struct plan *plan, const struct lease *lease);
/** The lease becomes its endpoint's outbound one. */
void plan_promote(struct plan *plan, const struct lease *survivor);
/** The lease that gets the outbound port when `lease`, which has it, ends; NULL = none.
 */
const struct lease *plan_get_heir(const struct table *table, const struct lease *lease);
/** The lease gives up the outbound port of its endpoint: the next enabled one gets it.
 */
void plan_pass_outbound(const struct table *table, const struct lease *lease,
			struct plan *plan);
/**
 * The parts of the set that `lease` belongs to, by internal port; it alone where it is
 * in none. *port: 0 to start, then left alone. NULL = no more.
 */
const struct lease *plan_get_next_of_set(const struct table *table,
					 const struct lease *lease, uint32_t *port);
/** Remove one lease, with all of its set, and pass on what they had. */
void plan_remove_one(const struct table *table, const struct lease *lease,
		     struct plan *plan);
/** Remove the others of the lease's set: it leaves them. */
void plan_remove_others(const struct table *table, const struct lease *lease,
			struct plan *plan);

/** True when the firewall could not say which of the lease and another one of its
 * endpoint a packet is for. */
bool plan_is_clash(const struct table *table, const struct lease *lease);
/** May the client hold one lease more? Renewals are not asked (PCP-61). */
enum result plan_check_quota(const struct table *table,
			     const struct plan_context *context);
/** How many leases more the client may hold; *why it may not hold another. */
size_t plan_get_quota(const struct table *table, const struct plan_context *context,
		      enum result *why);
/** False for the owner's leases and those that a nonce guards (NP-49, IGD-42). */
bool plan_may_change(const struct lease *lease, const struct request *request);
/** The lease that gives like's internal endpoint its outbound port; NULL = none. */
const struct lease *plan_find_outbound(const struct table *table,
				       const struct lease *like);
/** LAN of a renewed lease: it may have another name since, or the host have moved. */
uint16_t plan_get_lan(const struct lease *lease, const struct request *request);

/**
 * The lease that a MAP of this internal port is about: not one that is open to one peer
 * only, IGD's or PEER's, nor, for a MAP with filters, what another protocol opened to
 * everybody. Of several PCP's own. NULL = none.
 */
const struct lease *plan_find_map(const struct table *table,
				  const struct request *request, uint16_t port);
/** May the request renew or end the lease, for its nonce (PCP-49, PCP-50)? */
bool plan_knows_nonce(const struct plan_context *context, const struct lease *lease);

/* One for each operation; they fill plan->result. */

/* plan_map.c */
void plan_map(const struct table *table, const struct plan_context *context,
	      struct plan *plan);
void plan_unmap(const struct table *table, const struct plan_context *context,
		struct plan *plan);
void plan_unmap_all(const struct table *table, const struct request *request,
		    struct plan *plan);
/* plan_set.c: PORT_SET */
/** Ports that the request may have at most, by what it asks and what is configured. */
uint16_t plan_set_get_size(const struct plan_context *context);
/** Grant a set of at most `size` ports; false: one port is all there is, nothing done.
 */
bool plan_set_grant(const struct table *table, const struct plan_context *context,
		    uint16_t size, struct plan *plan);
/* plan_peer.c */
void plan_peer(const struct table *table, const struct plan_context *context,
	       struct plan *plan);
/* plan_key.c */
void plan_add_exact(const struct table *table, const struct plan_context *context,
		    struct plan *plan);
void plan_delete(const struct table *table, const struct plan_context *context,
		 struct plan *plan);
void plan_get(const struct table *table, const struct plan_context *context,
	      struct plan *plan);
void plan_index(const struct table *table, const struct request *request,
		struct plan *plan);
/** True for a lease that leads to the client or that it asked for; all are the owner's.
 */
bool plan_is_own(const struct lease *lease, const struct request *request);
/** The request takes the place of the lease, if it may (IGD-11). */
void plan_overwrite(const struct table *table, const struct plan_context *context,
		    const struct lease *lease, struct plan *plan);
/** A lease more, of a port that is to be had. */
void plan_grant(const struct table *table, const struct plan_context *context,
		uint16_t port, struct plan *plan);
/* plan_any.c */
void plan_add_any(const struct table *table, const struct plan_context *context,
		  struct plan *plan);
void plan_delete_range(const struct table *table, const struct request *request,
		       struct plan *plan);
/* plan_pinhole.c */
void plan_pinhole(const struct table *table, const struct plan_context *context,
		  struct plan *plan);
void plan_pinhole_update(const struct table *table, const struct plan_context *context,
			 struct plan *plan);
void plan_pinhole_delete(const struct table *table, const struct plan_context *context,
			 struct plan *plan);
void plan_pinhole_get(const struct table *table, const struct plan_context *context,
		      struct plan *plan);

#endif
