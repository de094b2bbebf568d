/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/plan_terms.h"
#include "daemon/table.h"

void plan_fini(struct plan *plan)
{
	free(plan->changes);
	plan->changes = NULL;
	plan->count = 0;
	plan->size = 0;
}

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

static void plan_add(struct plan *plan, const struct lease *after)
{
	struct lease_change *change = plan_add_change(plan);

	if (!change)
		return;
	change->kind = LEASE_ADD;
	change->after = *after;
}

static void plan_update(struct plan *plan, const struct lease *before,
			const struct lease *after)
{
	struct lease_change *change = plan_add_change(plan);

	if (!change)
		return;
	change->kind = LEASE_UPDATE;
	change->before = *before;
	change->after = *after;
}

static void plan_remove(struct plan *plan, const struct lease *before)
{
	struct lease_change *change = plan_add_change(plan);

	if (!change)
		return;
	change->kind = LEASE_REMOVE;
	change->before = *before;
}

static void plan_answer(struct plan *plan, const struct lease *lease)
{
	plan->has_lease = true;
	plan->lease = *lease;
}

static void plan_refuse(struct plan *plan, enum result result)
{
	plan->result = result;
	plan->count = 0;
}

/* --- what a request may have --- */

/* Source: RFC 6887 §17.2: renewals are not counted, only a lease more (PCP-61). */
static enum result context_check_quota(const struct table *table,
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

static bool lease_may_change(const struct lease *lease, const struct request *request)
{
	if (request->origin == ORIGIN_STATIC)
		return true;
	/* A nonce guards against everyone who does not know it (NP-49, IGD-42). */
	return lease->origin != ORIGIN_STATIC && !lease->has_nonce;
}

static bool lease_is_filtered(const struct lease *lease)
{
	return !addr_is_none(&lease->remote);
}

static const struct lease *find_outbound(const struct table *table,
					 const struct lease *like)
{
	const struct lease *found = table_get_by_internal(
		table, &like->internal, like->protocol, like->internal_port);

	return found && found->outbound ? found : NULL;
}

/* The LAN may have another name since, or the host have moved: it shows when it asks.
 */
static uint16_t lan_of_renewed(const struct lease *lease, const struct request *request)
{
	return addr_equal(&lease->internal, &request->client) ? request->lan
							      : lease->lan;
}

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
	after.lan = lan_of_renewed(lease, context->request);
	after.outbound = lease->outbound || !find_outbound(table, lease);
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
	outbound = find_outbound(table, &after);
	if (outbound)
		port = outbound->external_port;
	plan->result = context_check_quota(table, context);
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

static void plan_map(const struct table *table, const struct plan_context *context,
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

/* When the outbound lease goes, another one of the endpoint takes its place. */
static void plan_promote(struct plan *plan, const struct lease *survivor)
{
	struct lease after = *survivor;

	after.outbound = true;
	plan_update(plan, survivor, &after);
}

/* First the removals: the successor's outbound rule needs the place of the old one. */
static void unmap_endpoint(const struct table *table, const struct request *request,
			   const struct lease *first, struct plan *plan)
{
	const struct lease *survivor = NULL;
	bool lost_outbound = false;

	for (const struct lease *lease = first; lease;
	     lease = table_get_next_of_internal(table, lease)) {
		if (lease_may_change(lease, request)) {
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
static void plan_unmap(const struct table *table, const struct request *request,
		       struct plan *plan)
{
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
static void plan_unmap_all(const struct table *table, const struct request *request,
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

/* --- ADD, DELETE, GET: by external key, as IGD does --- */

/* The lease gives up the outbound port of its endpoint: the next enabled one gets it.
 */
static void pass_outbound(const struct table *table, const struct lease *lease,
			  struct plan *plan)
{
	const struct lease *survivor = table_get_next_of_internal(table, lease);

	while (survivor && !survivor->enabled)
		survivor = table_get_next_of_internal(table, survivor);
	if (survivor)
		plan_promote(plan, survivor);
}

static void remove_one(const struct table *table, const struct lease *lease,
		       struct plan *plan)
{
	plan_remove(plan, lease);
	if (lease->outbound)
		pass_outbound(table, lease, plan);
}

static bool lease_is_of(const struct lease *lease, const struct request *request)
{
	return request->origin == ORIGIN_STATIC ||
	       addr_equal(&lease->internal, &request->client) ||
	       addr_equal(&lease->client, &request->client);
}

/*
 * IGD-11: same key, same internal host: everything else is overwritten. Another
 * internal port makes it another endpoint, so the old lease ends and one of the same id
 * begins.
 */
static void add_overwrite(const struct table *table, const struct plan_context *context,
			  const struct lease *lease, struct plan *plan)
{
	struct lease after = lease_from_request(context, lease->external_port);
	const struct lease *outbound;
	uint32_t lifetime_max_s;

	if (!addr_equal(&lease->internal, &after.internal)) {
		plan->result = RESULT_CONFLICT;
		return;
	}
	if (!lease_may_change(lease, context->request)) {
		plan->result = RESULT_FOREIGN;
		return;
	}
	(void)context_allows(context, lease->external_port, &lifetime_max_s);
	after.id = lease->id;
	after.client = lease->client;
	after.lan = lan_of_renewed(lease, context->request);
	after.created_ms = lease->created_ms;
	after.expires_ms = context_expires(context, lifetime_max_s);
	outbound = find_outbound(table, &after);
	after.outbound = after.enabled && (!outbound || outbound->id == lease->id);
	if (lease->internal_port == after.internal_port) {
		plan_update(plan, lease, &after);
		if (lease->outbound && !after.outbound)
			pass_outbound(table, lease, plan);
	} else {
		remove_one(table, lease, plan);
		plan_add(plan, &after);
	}
	plan_answer(plan, &after);
}

static void add_grant(const struct table *table, const struct plan_context *context,
		      uint16_t port, struct plan *plan)
{
	struct lease after = lease_from_request(context, port);
	uint32_t lifetime_max_s;

	plan->result = context_check_quota(table, context);
	if (plan->result != RESULT_OK)
		return;
	if (!port_is_available(table, context, port)) {
		plan->result = RESULT_CONFLICT;
		return;
	}
	(void)context_allows(context, port, &lifetime_max_s);
	after.expires_ms = context_expires(context, lifetime_max_s);
	after.outbound = after.enabled && !find_outbound(table, &after);
	plan_add(plan, &after);
	plan_answer(plan, &after);
}

static void plan_add_at(const struct table *table, const struct plan_context *context,
			uint16_t port, struct plan *plan)
{
	const struct request *request = context->request;
	struct lease like = lease_from_request(context, port);
	const struct lease *lease = table_get_by_external(table, &like);
	uint32_t ignored;

	if (request->internal_port == 0 || port == 0)
		plan->result = RESULT_BAD_PORT;
	else if (addr_is_none(&context->external) && request->origin != ORIGIN_STATIC)
		plan->result = RESULT_NO_ADDRESS;
	else if (!context_allows(context, port, &ignored))
		plan->result = RESULT_DENIED;
	else if (lease)
		add_overwrite(table, context, lease, plan);
	else
		add_grant(table, context, port, plan);
}

/* The owner may leave the port to us: that of the internal side, else any. */
static void plan_add_exact(const struct table *table,
			   const struct plan_context *context, struct plan *plan)
{
	const struct request *request = context->request;
	uint16_t port = request->external_port;

	if (port == 0 && request->origin == ORIGIN_STATIC)
		plan->result =
			port_choose(table, context, request->internal_port, &port);
	if (plan->result == RESULT_OK)
		plan_add_at(table, context, port, plan);
}

static void plan_delete(const struct table *table, const struct plan_context *context,
			struct plan *plan)
{
	struct lease like =
		lease_from_request(context, context->request->external_port);
	const struct lease *lease = table_get_by_external(table, &like);

	if (!lease) {
		plan->result = RESULT_NO_ENTRY;
	} else if (!lease_is_of(lease, context->request) ||
		   !lease_may_change(lease, context->request)) {
		plan->result = RESULT_FOREIGN;
	} else {
		plan->result = RESULT_OK;
		plan_answer(plan, lease);
		remove_one(table, lease, plan);
	}
}

/* IGD-31: exact remote peer; hosts of other LANs are not shown. */
static void plan_get(const struct table *table, const struct plan_context *context,
		     struct plan *plan)
{
	struct lease like =
		lease_from_request(context, context->request->external_port);
	const struct lease *lease = table_get_by_external(table, &like);

	if (!lease || lease->lan != context->request->lan) {
		plan->result = RESULT_NO_ENTRY;
		return;
	}
	plan->result = RESULT_OK;
	plan_answer(plan, lease);
}

static void plan_index(const struct table *table, const struct request *request,
		       struct plan *plan)
{
	const struct lease *lease =
		table_get_by_index(table, request->lan, request->index);

	plan->result = lease ? RESULT_OK : RESULT_NO_INDEX;
	if (lease)
		plan_answer(plan, lease);
}

static bool request_is_third_party(const struct request *request)
{
	return request->origin != ORIGIN_STATIC &&
	       !addr_equal(&request->internal, &request->client);
}

void lease_plan(const struct table *table, const struct plan_context *context,
		struct plan *plan)
{
	const struct request *request = context->request;
	enum request_op op = (enum request_op)request->op;

	plan->count = 0;
	plan->has_lease = false;
	plan->result = RESULT_OK;
	if ((op == REQUEST_MAP || op == REQUEST_ADD) &&
	    request_is_third_party(request) &&
	    (!context->verdict || !context->verdict->third_party)) {
		plan->result = RESULT_DENIED;
		return;
	}
	switch (op) {
	case REQUEST_MAP:
		plan_map(table, context, plan);
		break;
	case REQUEST_UNMAP:
		plan_unmap(table, request, plan);
		break;
	case REQUEST_UNMAP_ALL:
		plan_unmap_all(table, request, plan);
		break;
	case REQUEST_ADD:
		plan_add_exact(table, context, plan);
		break;
	case REQUEST_DELETE:
		plan_delete(table, context, plan);
		break;
	case REQUEST_GET:
		plan_get(table, context, plan);
		break;
	case REQUEST_INDEX:
		plan_index(table, request, plan);
		break;
	case REQUEST_TRAFFIC:
		break;
	}
	if (plan->result == RESULT_NO_MEMORY)
		plan_refuse(plan, RESULT_NO_MEMORY);
}

void lease_plan_end(const struct table *table, uint64_t id, struct plan *plan)
{
	const struct lease *lease = table_get_by_id(table, id);

	plan->count = 0;
	plan->has_lease = false;
	plan->result = lease ? RESULT_OK : RESULT_NO_ENTRY;
	if (!lease)
		return;
	plan_answer(plan, lease);
	remove_one(table, lease, plan);
	if (plan->result == RESULT_NO_MEMORY)
		plan_refuse(plan, RESULT_NO_MEMORY);
}
