/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What PCP's PEER asks: one flow, from the internal endpoint to one remote endpoint. A
 * flow that is there keeps the external endpoint it has; for one to come an external
 * endpoint is reserved. Never does PEER end anything earlier. Source: RFC 6887 §12.
 */
#include <string.h>

#include "daemon/plan_private.h"
#include "daemon/ports.h"
#include "daemon/table.h"

/* What the kernel does for the request's flow already. */
struct peer_flow {
	bool found;
	uint16_t external_port;
	int64_t ends_ms; /* when nothing more passes */
};

/* Workers have answered PCP-87 already: what comes here is a lie. */
static bool peer_is_sound(const struct request *request)
{
	return request->internal_port != 0 && request->remote_port != 0 &&
	       addr_is_host(&request->remote) &&
	       addr_is_ipv4(&request->remote) == addr_is_ipv4(&request->internal);
}

static struct peer_flow peer_find_flow(const struct plan_context *context)
{
	const struct request *request = context->request;
	struct flow flow = {
		.protocol = request->protocol,
		.internal_port = request->internal_port,
		.remote_port = request->remote_port,
		.internal = request->internal,
		.remote = request->remote,
	};
	struct peer_flow out = {.found = false};

	if (!context->find_flow || !context->find_flow(context->user, &flow))
		return out;
	out.found = true;
	/* IPv6 is not translated (PCP-93). */
	out.external_port =
		addr_is_ipv4(&flow.internal) ? flow.external_port : flow.internal_port;
	out.ends_ms = context->now_ms + (int64_t)flow.left_s * 1000;
	return out;
}

static struct lease peer_make(const struct plan_context *context, uint16_t port)
{
	struct lease lease = lease_from_request(context, port);

	/* One flow: what only MAP knows does not concern it. */
	lease.filter_count = 0;
	lease.set_first = 0;
	lease.set_count = 0;
	lease.exact = false;
	lease.enabled = true;
	return lease;
}

/*
 * The answer says what is left of lease or flow, whichever lasts longer: the kernel
 * keeps idle connections for days, and we do not end them with the lease.
 */
static void peer_answer(const struct lease *lease, const struct peer_flow *flow,
			struct plan *plan)
{
	struct lease told = *lease;

	if (flow->found && flow->external_port == told.external_port &&
	    told.expires_ms < flow->ends_ms)
		told.expires_ms = flow->ends_ms;
	plan->result = RESULT_OK;
	plan_answer(plan, &told);
}

static bool peer_is_allowed(const struct plan_context *context,
			    const struct lease *lease, uint32_t *lifetime_max_s)
{
	return context_allows_inside(context, lease->internal_port) &&
	       context_allows(context, lease->external_port, lifetime_max_s);
}

/* --- a lease of the flow is there --- */

/* Of the same keys, as the client asks for it now. */
static struct lease peer_refresh(const struct table *table,
				 const struct plan_context *context,
				 const struct lease *lease)
{
	const struct request *request = context->request;
	struct lease after = *lease;

	after.lan = plan_get_lan(lease, request);
	after.outbound = lease->outbound || !plan_find_outbound(table, lease);
	after.server = request->server;
	after.client_port = request->client_port;
	memcpy(after.nonce, request->nonce, sizeof(after.nonce));
	after.has_nonce = true;
	if (request->has_description)
		after.description = request->description;
	return after;
}

/* PCP-90: neither 0 nor a shorter lifetime moves the end. */
static void peer_renew(const struct table *table, const struct plan_context *context,
		       const struct lease *lease, struct plan *plan)
{
	const struct peer_flow flow = peer_find_flow(context);
	uint32_t lifetime_max_s;
	struct lease after;

	if (!plan_knows_nonce(context, lease)) {
		plan->result = RESULT_FOREIGN;
		plan->retry_s = context_get_left_s(context, lease);
		return;
	}
	if (context->request->lifetime_s == 0) {
		peer_answer(lease, &flow, plan);
		return;
	}
	if (!peer_is_allowed(context, lease, &lifetime_max_s)) {
		plan->result = RESULT_DENIED;
		return;
	}
	after = peer_refresh(table, context, lease);
	after.expires_ms = context_expires(context, lifetime_max_s);
	if (after.expires_ms <= lease->expires_ms) {
		peer_answer(lease, &flow, plan);
		return;
	}
	peer_answer(&after, &flow, plan);
	plan_update(plan, lease, &after);
}

/* --- a lease more --- */

/*
 * The port is another endpoint's: of another host, or, for everybody or by filters, of
 * another port of the same host, whose peer this lease would take away.
 */
static bool peer_is_held(const struct table *table, const struct lease *lease)
{
	struct lease like = *lease;
	const struct lease *open;

	if (table_get_by_external(table, lease))
		return true;
	if (!addr_is_ipv4(&lease->internal))
		return false;
	memset(&like.remote, 0, sizeof(like.remote));
	like.remote_port = 0;
	open = table_get_by_external(table, &like);
	if (open && (open->internal_port != lease->internal_port ||
		     !addr_equal(&open->internal, &lease->internal)))
		return true;
	/* A flow that is there does not wait until a port has rested. */
	return !ports_is_free_for(table_get_ports(table), lease->wan,
				  lease->external_port, &lease->internal, TIME_NEVER);
}

/*
 * Nor may another host have a flow to the very peer by this port, without any lease:
 * the first packet of ours would go nowhere, and PEER ends nothing (PCP-90).
 */
static bool peer_is_taken(const struct table *table, const struct plan_context *context,
			  const struct lease *lease)
{
	const struct flow flow = {
		.protocol = lease->protocol,
		.internal_port = lease->internal_port,
		.remote_port = lease->remote_port,
		.internal = lease->internal,
		.remote = lease->remote,
		.external_port = lease->external_port,
	};

	return peer_is_held(table, lease) ||
	       (addr_is_ipv4(&lease->internal) && context->is_flow_taken &&
		context->is_flow_taken(context->user, &flow));
}

static void peer_grant(const struct table *table, const struct plan_context *context,
		       struct lease *lease, const struct peer_flow *flow,
		       struct plan *plan)
{
	uint32_t lifetime_max_s;

	if (!peer_is_allowed(context, lease, &lifetime_max_s)) {
		plan->result = RESULT_DENIED;
		return;
	}
	if (flow->found ? peer_is_held(table, lease)
			: peer_is_taken(table, context, lease)) {
		plan->result = RESULT_CONFLICT;
		return;
	}
	lease->outbound = !plan_find_outbound(table, lease);
	lease->expires_ms = context_expires(context, lifetime_max_s);
	peer_answer(lease, flow, plan);
	plan_add(plan, lease);
}

/* PCP-89: a flow that is there has its external endpoint, whatever is suggested. */
static void peer_keep(const struct table *table, const struct plan_context *context,
		      const struct peer_flow *flow, struct plan *plan)
{
	struct lease lease = peer_make(context, flow->external_port);

	if (context->request->lifetime_s == 0) {
		lease.expires_ms = flow->ends_ms;
		peer_answer(&lease, flow, plan);
		return;
	}
	plan->result = plan_check_quota(table, context);
	if (plan->result == RESULT_OK)
		peer_grant(table, context, &lease, flow, plan);
}

/* PCP-88: the suggestion or nothing; without one, any port. */
static enum result peer_choose(const struct table *table,
			       const struct plan_context *context, uint16_t *port)
{
	struct request request = *context->request;
	struct plan_context asked = *context;
	enum result result;
	struct lease lease;

	asked.request = &request;
	request.prefer_failure = request.external_port != 0;
	result = port_choose(table, &asked, request.external_port, port);
	lease = peer_make(context, *port);
	if (result != RESULT_OK || !peer_is_taken(table, context, &lease))
		return result;
	if (request.external_port != 0)
		return RESULT_CONFLICT;
	/* Not that of the internal side either, but one that nobody has. */
	request.internal_port = 0;
	return port_choose(table, &asked, 0, port);
}

/* The port that packets of the internal endpoint leave with already; 0 = none yet. */
static uint16_t peer_get_fixed_port(const struct table *table,
				    const struct lease *lease)
{
	const struct lease *outbound;

	if (!addr_is_ipv4(&lease->internal))
		return lease->internal_port; /* PCP-93 */
	outbound = plan_find_outbound(table, lease);
	return outbound ? outbound->external_port : 0;
}

/* No flow yet: the endpoint that it will have. */
static void peer_reserve(const struct table *table, const struct plan_context *context,
			 struct plan *plan)
{
	const struct request *request = context->request;
	const struct peer_flow none = {.found = false};
	const uint16_t wanted = request->external_port;
	struct lease lease = peer_make(context, wanted);
	uint16_t port = peer_get_fixed_port(table, &lease);

	if (request->lifetime_s == 0) {
		plan->result = RESULT_NO_ENTRY;
		return;
	}
	plan->result = plan_check_quota(table, context);
	if (plan->result != RESULT_OK)
		return;
	if (!context_has_external(context) ||
	    (port != 0 && wanted != 0 && wanted != port))
		plan->result = RESULT_CONFLICT;
	else if (port == 0)
		plan->result = peer_choose(table, context, &port);
	lease.external_port = port;
	if (plan->result == RESULT_OK)
		peer_grant(table, context, &lease, &none, plan);
}

void plan_peer(const struct table *table, const struct plan_context *context,
	       struct plan *plan)
{
	const struct request *request = context->request;
	const struct lease like = peer_make(context, request->external_port);
	const struct lease *lease = table_get_by_peer(table, &like);
	struct peer_flow flow;

	if (!peer_is_sound(request)) {
		plan->result = RESULT_BAD_PORT;
		return;
	}
	if (addr_is_ipv4(&request->internal) && addr_is_none(&context->external)) {
		plan->result = RESULT_NO_ADDRESS;
		return;
	}
	if (lease) {
		peer_renew(table, context, lease, plan);
		return;
	}
	flow = peer_find_flow(context);
	if (flow.found)
		peer_keep(table, context, &flow, plan);
	else
		peer_reserve(table, context, plan);
}
