/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What NAT-PMP and PCP ask: by the internal endpoint. */
#include <string.h>

#include "daemon/plan_private.h"
#include "daemon/table.h"

/* --- MAP of a lease that is there --- */

/* May the request renew the lease as it is? *retry_s where asking later may help. */
static enum result renew_check(const struct plan_context *context,
			       const struct lease *lease, uint32_t *retry_s)
{
	const struct request *request = context->request;
	uint32_t left_s = context_get_left_s(context, lease);

	if (request->origin != ORIGIN_PCP)
		return lease->filter_count > 0 ? RESULT_FOREIGN : RESULT_OK;
	if (!plan_knows_nonce(context, lease)) {
		*retry_s = left_s;
		return RESULT_FOREIGN;
	}
	if (!request->prefer_failure ||
	    (request->external_port == lease->external_port &&
	     context_has_external(context)))
		return RESULT_OK;
	if (left_s > 0 && left_s < UINT32_MAX - PORT_REST_S)
		*retry_s = left_s + PORT_REST_S;
	return RESULT_CONFLICT;
}

/* PCP makes the lease its own, whoever made it (PCP-53). */
static enum result lease_take_pcp(struct lease *lease,
				  const struct plan_context *context, struct plan *plan)
{
	const struct request *request = context->request;

	lease->origin = ORIGIN_PCP;
	lease->has_nonce = true;
	memcpy(lease->nonce, request->nonce, sizeof(lease->nonce));
	lease->exact = request->prefer_failure && !addr_is_none(&request->external);
	if (addr_equal(&lease->client, &request->client)) {
		lease->client_port = request->client_port;
		lease->server = request->server;
	}
	if (request->has_description)
		lease->description = request->description;
	return lease_take_filters(lease, context, plan);
}

/*
 * The owner's lease is there for ever as it is (PCP-51). Filters that it does not have
 * would not be kept to, so that they are refused (PCP-81); nor is its text the client's
 * to read or to write.
 */
static enum result map_answer_static(const struct plan_context *context,
				     const struct lease *lease, struct plan *plan)
{
	struct lease told = *lease;

	if (lease_take_filters(&told, context, plan) != RESULT_OK ||
	    told.filter_count != lease->filter_count)
		return RESULT_FOREIGN;
	told.description = NULL;
	plan_answer(plan, &told);
	return plan->result;
}

/* The shortest of the limits on a lease and the others of its set. */
static bool set_is_allowed(const struct table *table,
			   const struct plan_context *context,
			   const struct lease *lease, uint32_t *lifetime_max_s)
{
	const struct lease *part;
	uint32_t port = 0, limit_s;

	*lifetime_max_s = UINT32_MAX;
	while ((part = plan_get_next_of_set(table, lease, &port))) {
		if (!context_allows_inside(context, part->internal_port) ||
		    !context_allows(context, part->external_port, &limit_s))
			return false;
		if (limit_s < *lifetime_max_s)
			*lifetime_max_s = limit_s;
	}
	return true;
}

static enum result renew_one(const struct table *table,
			     const struct plan_context *context,
			     const struct lease *lease, struct lease *after,
			     struct plan *plan)
{
	bool pcp = context->request->origin == ORIGIN_PCP;
	int64_t expires_ms = after->expires_ms;

	*after = *lease;
	after->enabled = true;
	after->lan = plan_get_lan(lease, context->request);
	after->outbound = lease->outbound || !plan_find_outbound(table, lease);
	after->expires_ms = expires_ms;
	/* whoever made it by another protocol was promised its own end: with the nonce,
	 * or before PCP adopts it (PCP-53) */
	if (lease->has_nonce != pcp && lease->expires_ms > expires_ms)
		after->expires_ms = lease->expires_ms;
	return pcp ? lease_take_pcp(after, context, plan) : RESULT_OK;
}

/* NP-30: the port stays whatever is suggested now; only the end moves. */
static enum result map_renew(const struct table *table,
			     const struct plan_context *context,
			     const struct lease *lease, struct plan *plan)
{
	const struct lease *part;
	struct lease after;
	uint32_t port = 0, lifetime_max_s;
	enum result result = renew_check(context, lease, &plan->retry_s);
	int64_t expires_ms;

	if (result != RESULT_OK)
		return result;
	if (lease->origin == ORIGIN_STATIC)
		return map_answer_static(context, lease, plan);
	if (!set_is_allowed(table, context, lease, &lifetime_max_s))
		return RESULT_DENIED;
	expires_ms = context_expires(context, lifetime_max_s);
	while ((part = plan_get_next_of_set(table, lease, &port))) {
		after.expires_ms = expires_ms;
		result = renew_one(table, context, part, &after, plan);
		if (result != RESULT_OK)
			return result;
		plan_update(plan, part, &after);
		if (part != lease)
			continue;
		/* NP-27: NAT-PMP is told no more than it asked for */
		if (context->request->origin != ORIGIN_PCP)
			after.expires_ms = expires_ms;
		plan_answer(plan, &after);
	}
	return plan->result; /* OK, or out of memory for a step */
}

/* --- MAP of a new lease --- */

/* All mappings of one internal endpoint should show the same face outside: that of a
 * flow that PEER keeps (PCP-54), or of the lease that has the outbound port. */
static uint16_t map_get_face(const struct table *table,
			     const struct plan_context *context)
{
	const struct request *request = context->request;
	const struct lease *lease = table_get_by_internal(
		table, &request->internal, request->protocol, request->internal_port);
	uint16_t port = lease && lease->outbound ? lease->external_port : 0;

	for (; lease; lease = table_get_next_of_internal(table, lease))
		if (lease_is_peer(lease))
			return lease->external_port;
	return port;
}

static void map_grant(const struct table *table, const struct plan_context *context,
		      struct plan *plan)
{
	uint16_t port = context->request->external_port;
	uint16_t face = map_get_face(table, context);
	uint32_t lifetime_max_s;
	struct lease after = lease_from_request(context, port);

	if (face != 0 && !context->request->prefer_failure &&
	    port_is_available(table, context, face))
		port = face;
	plan->result = plan_check_quota(table, context);
	if (plan->result == RESULT_OK)
		plan->result = lease_take_filters(&after, context, plan);
	if (plan->result == RESULT_OK)
		plan->result = port_choose(table, context, port, &after.external_port);
	if (plan->result == RESULT_CONFLICT)
		plan->retry_s = port_get_wait_s(table, context, port);
	if (plan->result != RESULT_OK)
		return;
	(void)context_allows(context, after.external_port, &lifetime_max_s);
	after.outbound = !plan_find_outbound(table, &after);
	after.expires_ms = context_expires(context, lifetime_max_s);
	plan_add(plan, &after);
	plan_answer(plan, &after);
}

/* --- MAP --- */

/* Is the lease one that the client made itself, with this very nonce? */
static bool is_own_of_pcp(const struct lease *lease, const struct request *request)
{
	return lease->has_nonce && lease->origin != ORIGIN_STATIC &&
	       memcmp(lease->nonce, request->nonce, sizeof(lease->nonce)) == 0;
}

/*
 * A lease, with its set, that a PORT_SET runs over but is not answered for: it lasts as
 * long as is asked now where that is longer, and is as it was else. Its client learns
 * of no shorter end before it is there, and asked for no other filters here.
 */
static void map_extend(const struct table *table, const struct plan_context *context,
		       const struct lease *lease, struct plan *plan)
{
	const struct lease *part;
	uint32_t port = 0, lifetime_max_s;
	int64_t expires_ms;

	if (!set_is_allowed(table, context, lease, &lifetime_max_s))
		return;
	expires_ms = context_expires(context, lifetime_max_s);
	while ((part = plan_get_next_of_set(table, lease, &port))) {
		struct lease after = *part;

		if (after.expires_ms < expires_ms)
			after.expires_ms = expires_ms;
		if (addr_equal(&after.client, &context->request->client)) {
			after.client_port = context->request->client_port;
			after.server = context->request->server;
		}
		plan_update(plan, part, &after);
	}
}

/*
 * Of what a PORT_SET asks for, the rest: what the client mapped there before is
 * refreshed, and it is told so; what has another nonce or none is left alone. No port
 * is mapped a second time (PCP-116).
 */
static void map_extend_rest(const struct table *table,
			    const struct plan_context *context, uint16_t size,
			    struct plan *plan)
{
	const struct request *request = context->request;
	const struct lease *answer = &plan->lease;
	const size_t asked = plan->count;
	uint32_t end = (uint32_t)request->internal_port + size;
	uint32_t port = request->internal_port + 1u;

	if (answer->set_count > 0)
		port = (uint32_t)answer->set_first + answer->set_count;
	for (; port < end; port++) {
		const struct lease *lease =
			plan_find_map(table, request, (uint16_t)port);

		if (!lease || !is_own_of_pcp(lease, request))
			continue;
		map_extend(table, context, lease, plan);
		if (lease->set_count > 0)
			port = (uint32_t)lease->set_first + lease->set_count - 1;
	}
	for (size_t i = asked; i < plan->count; i++)
		plan->changes[i].unasked = true;
}

/* Of the set that the lease is in, the part that was asked about. */
static uint16_t map_get_port_count(const struct lease *lease, uint16_t asked)
{
	uint32_t rest =
		(uint32_t)lease->set_first + lease->set_count - lease->internal_port;

	if (lease->set_count == 0 || asked < 2 || rest < 2)
		return 0;
	return rest < asked ? (uint16_t)rest : asked;
}

void plan_map(const struct table *table, const struct plan_context *context,
	      struct plan *plan)
{
	const struct request *request = context->request;
	uint16_t size = plan_set_get_size(context);
	const struct lease *lease;

	if (request->internal_port == 0)
		plan->result = RESULT_BAD_PORT;
	else if (addr_is_ipv4(&request->internal) && addr_is_none(&context->external))
		plan->result = RESULT_NO_ADDRESS; /* PCP-62 */
	else if ((lease = plan_find_map(table, request, request->internal_port)))
		plan->result = map_renew(table, context, lease, plan);
	else if (size < 2 || !plan_set_grant(table, context, size, plan))
		map_grant(table, context, plan);
	if (plan->result != RESULT_OK)
		return;
	plan->port_count = map_get_port_count(&plan->lease, size);
	if (size > 1)
		map_extend_rest(table, context, size, plan);
}

/* --- UNMAP: the end of leases of an internal endpoint --- */

/* What IGD gave to one remote host is no mapping in PCP's eyes, and a flow that PEER
 * keeps is none in NAT-PMP's. */
static bool unmap_passes_over(const struct lease *lease, const struct request *request)
{
	bool peer = lease_is_peer(lease);

	return request->origin == ORIGIN_PCP ? lease_has_peer(lease) && !peer : peer;
}

static bool unmap_may_end(const struct lease *lease, const struct request *request)
{
	return plan_may_change(lease, request) && !unmap_passes_over(lease, request);
}

/*
 * First the removals: the successor's outbound rule needs the place of the old one. A
 * delete of one port that is refused removes nothing; one of all goes as far as it can
 * (NP-48).
 */
static void unmap_endpoint(const struct table *table, const struct request *request,
			   const struct lease *first, struct plan *plan)
{
	const struct lease *survivor = NULL;
	bool lost_outbound = false, kept = false, removed = false;
	size_t count = plan->count;

	for (const struct lease *lease = first; lease;
	     lease = table_get_next_of_internal(table, lease)) {
		if (unmap_may_end(lease, request)) {
			lost_outbound = lost_outbound || lease->outbound;
			plan_remove(plan, lease);
			removed = true;
		} else {
			kept = kept || !unmap_passes_over(lease, request);
			if (!survivor && lease->enabled)
				survivor = lease;
		}
	}
	if (kept && plan->result == RESULT_OK &&
	    !(removed && request->origin == ORIGIN_PCP))
		plan->result = RESULT_FOREIGN;
	if (plan->result != RESULT_OK && request->op == REQUEST_UNMAP)
		plan->count = count;
	else if (survivor && lost_outbound)
		plan_promote(plan, survivor);
}

/*
 * PCP's delete of one internal port: the lease that MAP made, if the nonce is right
 * (PCP-49), with its set; else what other protocols made for the endpoint (PCP-53). The
 * owner's leases, and those of PEER where there is no other, are not its to delete
 * (PCP-67). *next: the first port that may have something else.
 */
static void unmap_pcp(const struct table *table, const struct plan_context *context,
		      uint32_t *next, struct plan *plan)
{
	const struct request *request = context->request;
	const struct lease *lease = plan_find_map(table, request, (uint16_t)*next);
	const struct lease *first = table_get_by_internal(
		table, &request->internal, request->protocol, (uint16_t)*next);

	*next += 1;
	if (lease && lease->has_nonce) {
		if (lease->set_count > 0)
			*next = (uint32_t)lease->set_first + lease->set_count;
		if (plan_knows_nonce(context, lease)) {
			plan_remove_one(table, lease, plan);
			return;
		}
		plan->retry_s = context_get_left_s(context, lease);
		plan->result = RESULT_FOREIGN;
		return;
	}
	for (lease = first; lease; lease = table_get_next_of_internal(table, lease))
		if (lease->origin == ORIGIN_STATIC && addr_is_none(&lease->remote))
			plan->result = RESULT_FOREIGN;
	if (plan->result == RESULT_OK)
		unmap_endpoint(table, request, first, plan);
}

/* The first port decides whether the request is refused; of the others of a set those
 * go that may (PCP-116). */
static void unmap_pcp_all(const struct table *table, const struct plan_context *context,
			  struct plan *plan)
{
	uint32_t port = context->request->internal_port;
	uint32_t end = port + plan_set_get_size(context);

	unmap_pcp(table, context, &port, plan);
	while (port < end && plan->result == RESULT_OK) {
		unmap_pcp(table, context, &port, plan);
		if (plan->result == RESULT_FOREIGN)
			plan->result = RESULT_OK;
	}
	if (plan->result == RESULT_OK)
		plan->retry_s = 0;
}

/* NP-42..46, PCP-65: what is not there counts as deleted. */
void plan_unmap(const struct table *table, const struct plan_context *context,
		struct plan *plan)
{
	const struct request *request = context->request;

	plan->result = RESULT_OK;
	if (request->origin == ORIGIN_PCP) {
		unmap_pcp_all(table, context, plan);
		return;
	}
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
