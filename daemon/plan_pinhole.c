/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What WANIPv6FirewallControl asks: a pinhole for each five-tuple, by UniqueID. One
 * that is open to everybody is the same lease as a MAP of that endpoint: PCP adopts it,
 * as it adopts IGD's mappings (PCP-53), and what has a nonce is not UPnP's to change
 * (IGD-42). All others stand beside that of MAP.
 */
#include "daemon/plan_private.h"
#include "daemon/table.h"

/* V6FW-7, V6FW-9: whoever it leads to, by whichever of its addresses it asks. */
static bool pinhole_is_own(const struct plan_context *context,
			   const struct lease *lease)
{
	const struct request *request = context->request;

	return plan_is_own(lease, request) ||
	       (context->is_same_host &&
		context->is_same_host(context->user, request->lan, &request->client,
				      &lease->internal));
}

/* The pinhole of the request's UniqueID, for its owner. */
static const struct lease *pinhole_find(const struct table *table,
					const struct plan_context *context,
					struct plan *plan)
{
	const struct lease *lease =
		table_get_by_pinhole(table, context->request->pinhole);

	if (!lease)
		plan->result = RESULT_NO_ENTRY;
	else if (!pinhole_is_own(context, lease))
		plan->result = RESULT_FOREIGN;
	return plan->result == RESULT_OK ? lease : NULL;
}

/* V6FW-5: the client is not told how long it got, so that it gets all or nothing. */
static bool pinhole_is_allowed(const struct plan_context *context, uint16_t port,
			       int64_t *expires_ms)
{
	int64_t asked_ms =
		context->now_ms + (int64_t)context->request->lifetime_s * 1000;
	uint32_t lifetime_max_s;

	if (!context_allows(context, port, &lifetime_max_s))
		return false;
	*expires_ms = context_expires(context, lifetime_max_s);
	return *expires_ms >= asked_ms;
}

/* Its end is counted from now, whatever it was (V6FW-12). */
static void pinhole_renew(const struct table *table, const struct plan_context *context,
			  const struct lease *lease, struct plan *plan)
{
	struct lease after = *lease;

	if (!plan_may_change(lease, context->request)) {
		plan->result = RESULT_FOREIGN;
		return;
	}
	if (!pinhole_is_allowed(context, lease->external_port, &after.expires_ms)) {
		plan->result = RESULT_DENIED;
		return;
	}
	after.lan = plan_get_lan(lease, context->request);
	after.outbound = lease->outbound || !plan_find_outbound(table, lease);
	plan_update(plan, lease, &after);
	plan_answer(plan, &after);
}

static void pinhole_grant(const struct table *table, const struct plan_context *context,
			  struct lease *after, struct plan *plan)
{
	if (!pinhole_is_allowed(context, after->external_port, &after->expires_ms)) {
		plan->result = RESULT_DENIED;
		return;
	}
	plan->result = plan_check_quota(table, context);
	if (plan->result != RESULT_OK)
		return;
	if (!port_is_available(table, context, after->external_port)) {
		plan->result = RESULT_DENIED; /* one that is never mapped */
		return;
	}
	after->pinhole = table_find_free_pinhole(table, (uint16_t)context->random);
	if (after->pinhole == 0) {
		plan->result = RESULT_TABLE_FULL;
		return;
	}
	after->outbound = !plan_find_outbound(table, after);
	plan_add(plan, after);
	plan_answer(plan, after);
}

void plan_pinhole(const struct table *table, const struct plan_context *context,
		  struct plan *plan)
{
	struct lease after =
		lease_from_request(context, context->request->internal_port);
	const struct lease *lease = table_get_by_external(table, &after);

	after.enabled = true;
	if (after.internal_port == 0)
		plan->result = RESULT_BAD_PORT;
	else if (!lease)
		pinhole_grant(table, context, &after, plan);
	else if (lease->pinhole == 0 || !pinhole_is_own(context, lease))
		plan->result = RESULT_FOREIGN;
	else
		pinhole_renew(table, context, lease, plan); /* V6FW-6 */
}

void plan_pinhole_update(const struct table *table, const struct plan_context *context,
			 struct plan *plan)
{
	const struct lease *lease = pinhole_find(table, context, plan);

	if (lease)
		pinhole_renew(table, context, lease, plan);
}

void plan_pinhole_delete(const struct table *table, const struct plan_context *context,
			 struct plan *plan)
{
	const struct lease *lease = pinhole_find(table, context, plan);

	if (!lease)
		return;
	if (!plan_may_change(lease, context->request)) {
		plan->result = RESULT_FOREIGN;
		return;
	}
	plan_answer(plan, lease);
	plan_remove_one(table, lease, plan);
}

void plan_pinhole_get(const struct table *table, const struct plan_context *context,
		      struct plan *plan)
{
	const struct lease *lease = pinhole_find(table, context, plan);

	if (lease)
		plan_answer(plan, lease);
}
