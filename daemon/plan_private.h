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
/** The lease gives up the outbound port of its endpoint: the next enabled one gets it.
 */
void plan_pass_outbound(const struct table *table, const struct lease *lease,
			struct plan *plan);
/** Remove one lease, and pass on what it had. */
void plan_remove_one(const struct table *table, const struct lease *lease,
		     struct plan *plan);

/** May the client hold one lease more? Renewals are not asked (PCP-61). */
enum result plan_check_quota(const struct table *table,
			     const struct plan_context *context);
/** False for the owner's leases and those that a nonce guards (NP-49, IGD-42). */
bool plan_may_change(const struct lease *lease, const struct request *request);
/** The lease that gives like's internal endpoint its outbound port; NULL = none. */
const struct lease *plan_find_outbound(const struct table *table,
				       const struct lease *like);
/** LAN of a renewed lease: it may have another name since, or the host have moved. */
uint16_t plan_get_lan(const struct lease *lease, const struct request *request);

/* One for each operation; they fill plan->result. */

/* plan_map.c */
void plan_map(const struct table *table, const struct plan_context *context,
	      struct plan *plan);
void plan_unmap(const struct table *table, const struct plan_context *context,
		struct plan *plan);
void plan_unmap_all(const struct table *table, const struct request *request,
		    struct plan *plan);
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

#endif
