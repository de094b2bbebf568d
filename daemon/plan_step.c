/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps that every kind of request is planned with. */
#include <stdlib.h>

#include "daemon/plan_private.h"
#include "daemon/table.h"

static struct lease_change *plan_add_change(struct plan *plan)
{
	if (plan->count == plan->size) {
		size_t size = plan->size > 0 ? 2 * plan->size : 4;
		struct lease_change *grown =
			reallocarray(plan->changes, size, sizeof(*grown));

		if (!grown) {
			plan->result = RESULT_NO_MEMORY;
			return NULL;
		}
		plan->changes = grown;
		plan->size = size;
	}
	return &plan->changes[plan->count++];
}

void plan_add(struct plan *plan, const struct lease *after)
{
	struct lease_change *change = plan_add_change(plan);

	if (!change)
		return;
	change->kind = LEASE_ADD;
	change->after = *after;
}

void plan_update(struct plan *plan, const struct lease *before,
		 const struct lease *after)
{
	struct lease_change *change = plan_add_change(plan);

	if (!change)
		return;
	change->kind = LEASE_UPDATE;
	change->before = *before;
	change->after = *after;
}

void plan_remove(struct plan *plan, const struct lease *before)
{
	struct lease_change *change = plan_add_change(plan);

	if (!change)
		return;
	change->kind = LEASE_REMOVE;
	change->before = *before;
}

void plan_answer(struct plan *plan, const struct lease *lease)
{
	plan->has_lease = true;
	plan->lease = *lease;
}

/* --- what a request may have --- */

/* Source: RFC 6887 §17.2: renewals are not counted, only a lease more (PCP-61). */
enum result plan_check_quota(const struct table *table,
			     const struct plan_context *context)
{
	if (context->request->origin == ORIGIN_STATIC)
		return RESULT_OK;
	if (context->leases_total > 0 &&
	    table_get_count(table) >= context->leases_total)
		return RESULT_TABLE_FULL;
	if (context->leases_per_client > 0 &&
	    table_get_count_of_client(table, &context->request->client) >=
		    context->leases_per_client)
		return RESULT_QUOTA;
	return RESULT_OK;
}

bool plan_may_change(const struct lease *lease, const struct request *request)
{
	if (request->origin == ORIGIN_STATIC)
		return true;
	/* A nonce guards against everyone who does not know it (NP-49, IGD-42). */
	return lease->origin != ORIGIN_STATIC && !lease->has_nonce;
}

const struct lease *plan_find_outbound(const struct table *table,
				       const struct lease *like)
{
	const struct lease *found = table_get_by_internal(
		table, &like->internal, like->protocol, like->internal_port);

	return found && found->outbound ? found : NULL;
}

/* The LAN may have another name since, or the host have moved: it shows when it asks.
 */
uint16_t plan_get_lan(const struct lease *lease, const struct request *request)
{
	return addr_equal(&lease->internal, &request->client) ? request->lan
							      : lease->lan;
}

/* When the outbound lease goes, another one of the endpoint takes its place. */
void plan_promote(struct plan *plan, const struct lease *survivor)
{
	struct lease after = *survivor;

	after.outbound = true;
	plan_update(plan, survivor, &after);
}

/* The lease gives up the outbound port of its endpoint: the next enabled one gets it.
 */
void plan_pass_outbound(const struct table *table, const struct lease *lease,
			struct plan *plan)
{
	const struct lease *survivor = table_get_next_of_internal(table, lease);

	while (survivor && !survivor->enabled)
		survivor = table_get_next_of_internal(table, survivor);
	if (survivor)
		plan_promote(plan, survivor);
}

void plan_remove_one(const struct table *table, const struct lease *lease,
		     struct plan *plan)
{
	plan_remove(plan, lease);
	if (lease->outbound)
		plan_pass_outbound(table, lease, plan);
}
