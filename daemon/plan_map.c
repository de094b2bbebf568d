/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What NAT-PMP and PCP ask: by the internal endpoint. */
#include "daemon/plan_private.h"
#include "daemon/table.h"

/* --- MAP: by internal endpoint --- */

/*
 * Of the leases an endpoint has, the one a MAP renews: a filtered one is not what
 * NAT-PMP promises, so it is passed over.
 */
static const struct lease *map_find(const struct table *table,
				    const struct request *request)
{
	const struct lease *lease = table_get_by_internal(
		table, &request->internal, request->protocol, request->internal_port);

	while (lease && lease_is_filtered(lease))
		lease = table_get_next_of_internal(table, lease);
	return lease;
}

/* NP-30: the port stays whatever is suggested now; only the end moves. */
static void map_renew(const struct table *table, const struct plan_context *context,
		      const struct lease *lease, struct plan *plan)
{
	struct lease after = *lease;
	uint32_t lifetime_max_s;

	plan->result = RESULT_OK;
	if (lease->origin == ORIGIN_STATIC) {
		plan_answer(plan, lease);
		return;
	}
	if (!context_allows(context, lease->external_port, &lifetime_max_s)) {
		plan->result = RESULT_DENIED;
		return;
	}
	after.enabled = true;
	after.lan = plan_get_lan(lease, context->request);
	after.outbound = lease->outbound || !plan_find_outbound(table, lease);
	after.expires_ms = context_expires(context, lifetime_max_s);
	plan_update(plan, lease, &after);
	plan_answer(plan, &after);
}

static void map_grant(const struct table *table, const struct plan_context *context,
		      struct plan *plan)
{
	const struct lease *outbound;
	uint16_t port = context->request->external_port;
	uint32_t lifetime_max_s;
	struct lease after = lease_from_request(context, port);

	/* All mappings of one internal endpoint should show the same face outside. */
	outbound = plan_find_outbound(table, &after);
	if (outbound)
		port = outbound->external_port;
	plan->result = plan_check_quota(table, context);
	if (plan->result == RESULT_OK)
		plan->result = port_choose(table, context, port, &after.external_port);
	if (plan->result != RESULT_OK)
		return;
	(void)context_allows(context, after.external_port, &lifetime_max_s);
	after.outbound = !outbound;
	after.expires_ms = context_expires(context, lifetime_max_s);
	plan_add(plan, &after);
	plan_answer(plan, &after);
}

void plan_map(const struct table *table, const struct plan_context *context,
	      struct plan *plan)
{
	const struct lease *lease;

	if (context->request->internal_port == 0)
		plan->result = RESULT_BAD_PORT;
	else if (addr_is_none(&context->external))
		plan->result = RESULT_NO_ADDRESS;
	else if ((lease = map_find(table, context->request)))
		map_renew(table, context, lease, plan);
	else
		map_grant(table, context, plan);
}

/* --- UNMAP: the end of leases of an internal endpoint --- */

/* First the removals: the successor's outbound rule needs the place of the old one. */
static void unmap_endpoint(const struct table *table, const struct request *request,
			   const struct lease *first, struct plan *plan)
{
	const struct lease *survivor = NULL;
	bool lost_outbound = false;

	for (const struct lease *lease = first; lease;
	     lease = table_get_next_of_internal(table, lease)) {
		if (plan_may_change(lease, request)) {
			lost_outbound = lost_outbound || lease->outbound;
			plan_remove(plan, lease);
		} else {
			plan->result = RESULT_FOREIGN;
			if (!survivor && lease->enabled)
				survivor = lease;
		}
	}
	if (survivor && lost_outbound)
		plan_promote(plan, survivor);
}

/* NP-42..46: what is not there counts as deleted. */
void plan_unmap(const struct table *table, const struct plan_context *context,
		struct plan *plan)
{
	const struct request *request = context->request;

	plan->result = RESULT_OK;
	unmap_endpoint(table, request,
		       table_get_by_internal(table, &request->internal,
					     request->protocol, request->internal_port),
		       plan);
}

/* Of the client's leases of one endpoint the first: so each endpoint is done once. */
static bool is_first_of_client(const struct table *table, const struct lease *lease)
{
	const struct lease *first = table_get_by_internal(
		table, &lease->internal, lease->protocol, lease->internal_port);

	while (first && !addr_equal(&first->client, &lease->client))
		first = table_get_next_of_internal(table, first);
	return first == lease;
}

/* NP-47, NP-48: all of one protocol, as many as possible. */
void plan_unmap_all(const struct table *table, const struct request *request,
		    struct plan *plan)
{
	const struct lease *lease = table_get_first_of_client(table, &request->client);

	plan->result = RESULT_OK;
	for (; lease; lease = table_get_next_of_client(table, lease)) {
		if (lease->protocol != request->protocol ||
		    !addr_equal(&lease->internal, &request->client) ||
		    !is_first_of_client(table, lease))
			continue;
		unmap_endpoint(table, request,
			       table_get_by_internal(table, &lease->internal,
						     lease->protocol,
						     lease->internal_port),
			       plan);
	}
}
