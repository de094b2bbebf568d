/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What only WANIPConnection:2 asks: any port, and a range of them. */
#include "daemon/plan_private.h"
#include "daemon/table.h"

/* --- AddAnyPortMapping --- */

static bool any_may_renew(const struct plan_context *context, const struct lease *lease)
{
	uint32_t ignored;

	return plan_may_change(lease, context->request) &&
	       context_allows(context, lease->external_port, &ignored);
}

/* This very mapping of the client's. */
static const struct lease *any_find_exact(const struct table *table,
					  const struct plan_context *context)
{
	const struct request *request = context->request;
	const struct lease like = lease_from_request(context, request->external_port);
	const struct lease *lease = table_get_by_external(table, &like);

	return lease && lease->internal_port == request->internal_port &&
			       addr_equal(&lease->internal, &request->internal) &&
			       any_may_renew(context, lease)
		       ? lease
		       : NULL;
}

/* A mapping that UPnP made for the endpoint and remote host, whatever port it has: that
 * it keeps (IGD-25, CL-25). */
static const struct lease *any_find_endpoint(const struct table *table,
					     const struct plan_context *context)
{
	const struct request *request = context->request;
	const struct lease *lease = table_get_by_internal(
		table, &request->internal, request->protocol, request->internal_port);

	while (lease && !(lease->origin == ORIGIN_IGD && lease->filter_count == 0 &&
			  lease->remote_port == 0 &&
			  addr_equal(&lease->remote, &request->remote) &&
			  any_may_renew(context, lease)))
		lease = table_get_next_of_internal(table, lease);
	return lease;
}

static void any_grant(const struct table *table, const struct plan_context *context,
		      struct plan *plan)
{
	uint16_t port = context->request->external_port;

	plan->result = plan_check_quota(table, context);
	if (plan->result == RESULT_OK)
		plan->result = port_choose(table, context, port, &port);
	if (plan->result == RESULT_OK)
		plan_grant(table, context, port, plan);
}

void plan_add_any(const struct table *table, const struct plan_context *context,
		  struct plan *plan)
{
	const struct lease *lease;

	if (context->request->internal_port == 0) {
		plan->result = RESULT_BAD_PORT;
		return;
	}
	if (addr_is_none(&context->external)) {
		plan->result = RESULT_NO_ADDRESS;
		return;
	}
	lease = any_find_exact(table, context);
	if (!lease)
		lease = any_find_endpoint(table, context);
	if (lease)
		plan_overwrite(table, context, lease, plan);
	else
		any_grant(table, context, plan);
}

/* --- DeletePortMappingRange --- */

static bool lease_is_in_range(const struct lease *lease, const struct request *request)
{
	return lease->protocol == request->protocol &&
	       lease->external_port >= request->external_port &&
	       lease->external_port <= request->external_last;
}

/* Manage is no right that a host has here: others' leases are passed over, and its own
 * where they are guarded. */
static bool range_ends(const struct lease *lease, const struct request *request)
{
	return lease_is_in_range(lease, request) && plan_is_own(lease, request) &&
	       plan_may_change(lease, request);
}

/* The next one of the host in the range, from the cursor on, which moves. */
static const struct lease *range_get_next(const struct table *table,
					  const struct request *request,
					  struct table_cursor *cursor)
{
	const struct lease *lease;

	while ((lease = table_get_behind(table, cursor)) &&
	       lease_is_in_range(lease, request)) {
		cursor->port = lease->external_port;
		cursor->id = lease->id;
		if (range_ends(lease, request))
			return lease;
	}
	return NULL;
}

/* Of the endpoint whose outbound lease ends, the first that stays gets that port. */
static void range_pass_outbound(const struct table *table,
				const struct request *request,
				const struct lease *lease, struct plan *plan)
{
	const struct lease *heir = plan_get_heir(table, lease);

	while (heir && (!heir->enabled || range_ends(heir, request)))
		heir = table_get_next_of_internal(table, heir);
	if (heir)
		plan_promote(plan, heir);
}

/* IGD-33: all that may go, as one. First the removals: an heir's outbound rule needs
 * the place of the old one. */
void plan_delete_range(const struct table *table, const struct request *request,
		       struct plan *plan)
{
	const struct table_cursor begin = {
		.host = table_find_host(table, &request->client),
		.protocol = request->protocol,
		.port = request->external_port,
	};
	struct table_cursor cursor = begin;
	const struct lease *lease;

	while ((lease = range_get_next(table, request, &cursor)))
		plan_remove(plan, lease);
	if (plan->count == 0 && plan->result == RESULT_OK)
		plan->result = RESULT_NO_ENTRY;
	cursor = begin;
	while ((lease = range_get_next(table, request, &cursor)))
		if (lease->outbound)
			range_pass_outbound(table, request, lease, plan);
}
