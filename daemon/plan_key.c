/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What IGD and the owner ask: by the external key. WANIPConnection:2 has more of it, in
 * plan_any.c. */
#include <string.h>

#include "daemon/plan_private.h"
#include "daemon/table.h"

bool plan_is_own(const struct lease *lease, const struct request *request)
{
	return request->origin == ORIGIN_STATIC ||
	       addr_equal(&lease->internal, &request->client) ||
	       addr_equal(&lease->client, &request->client);
}

static bool is_same_set(const struct lease *a, const struct lease *b)
{
	return a->set_count > 0 && a->set_first == b->set_first &&
	       a->set_count == b->set_count;
}

/* Does `after`, which takes the place of `lease` and of its set, get the outbound port
 * of its endpoint? */
static bool is_outbound(const struct table *table, const struct lease *lease,
			const struct lease *after)
{
	const struct lease *outbound = plan_find_outbound(table, after);

	if (!after->enabled || !outbound || outbound->id == lease->id)
		return after->enabled;
	return is_same_set(outbound, lease) && !plan_get_heir(table, outbound);
}

/*
 * IGD-11: same key, same internal host: everything else is overwritten. Another
 * internal port makes it another endpoint, so the old lease ends and one of the same id
 * begins.
 */
void plan_overwrite(const struct table *table, const struct plan_context *context,
		    const struct lease *lease, struct plan *plan)
{
	struct lease after = lease_from_request(context, lease->external_port);
	uint32_t lifetime_max_s;

	if (lease->origin == ORIGIN_STATIC && context->request->origin != ORIGIN_STATIC)
		plan->result = RESULT_WITHHELD;
	else if (!addr_equal(&lease->internal, &after.internal))
		plan->result = RESULT_CONFLICT;
	else if (!plan_may_change(lease, context->request))
		plan->result = RESULT_FOREIGN;
	if (plan->result != RESULT_OK)
		return;
	(void)context_allows(context, lease->external_port, &lifetime_max_s);
	after.id = lease->id;
	after.client = lease->client;
	after.pinhole = lease->pinhole; /* the owner's by now; its name stays */
	after.lan = plan_get_lan(lease, context->request);
	after.created_ms = lease->created_ms;
	after.expires_ms = context_expires(context, lifetime_max_s);
	after.outbound = is_outbound(table, lease, &after);
	if (lease->internal_port == after.internal_port) {
		plan_update(plan, lease, &after);
		plan_remove_others(table, lease, plan);
		if (lease->outbound && !after.outbound)
			plan_pass_outbound(table, lease, plan);
	} else {
		plan_remove_one(table, lease, plan);
		plan_add(plan, &after);
	}
	plan_answer(plan, &after);
}

void plan_grant(const struct table *table, const struct plan_context *context,
		uint16_t port, struct plan *plan)
{
	struct lease after = lease_from_request(context, port);
	uint32_t lifetime_max_s;

	(void)context_allows(context, port, &lifetime_max_s);
	after.expires_ms = context_expires(context, lifetime_max_s);
	after.outbound = after.enabled && !plan_find_outbound(table, &after);
	plan_add(plan, &after);
	plan_answer(plan, &after);
}

static void add_grant(const struct table *table, const struct plan_context *context,
		      uint16_t port, struct plan *plan)
{
	plan->result = plan_check_quota(table, context);
	if (plan->result != RESULT_OK)
		return;
	if (port_is_available(table, context, port))
		plan_grant(table, context, port, plan);
	else
		plan->result = port_get_refusal(table, context, port);
}

static void plan_add_at(const struct table *table, const struct plan_context *context,
			uint16_t port, struct plan *plan)
{
	const struct request *request = context->request;
	struct lease like = lease_from_request(context, port);
	const struct lease *lease = table_get_by_external(table, &like);
	const struct lease *narrowed = port_get_narrowed(table, request, &like);
	uint32_t ignored;

	if (request->internal_port == 0 || port == 0)
		plan->result = RESULT_BAD_PORT;
	else if (addr_is_none(&context->external) && request->origin != ORIGIN_STATIC)
		plan->result = RESULT_NO_ADDRESS;
	else if (!context_allows(context, port, &ignored))
		plan->result = RESULT_DENIED;
	else if (!(lease && lease->internal_port == like.internal_port) && narrowed)
		plan->result = narrowed->origin == ORIGIN_STATIC ? RESULT_WITHHELD
								 : RESULT_CONFLICT;
	else if (lease)
		plan_overwrite(table, context, lease, plan);
	else
		add_grant(table, context, port, plan);
}

/* The owner may leave the port to us: that of the internal side, else any. */
void plan_add_exact(const struct table *table, const struct plan_context *context,
		    struct plan *plan)
{
	const struct request *request = context->request;
	uint16_t port = request->external_port;

	if (port == 0 && request->origin == ORIGIN_STATIC)
		plan->result =
			port_choose(table, context, request->internal_port, &port);
	if (plan->result == RESULT_OK)
		plan_add_at(table, context, port, plan);
}

/* What IGD means by a key: a mapping of IPv4, even where the control point asks over
 * IPv6. */
static struct lease get_key(const struct plan_context *context)
{
	const struct request *request = context->request;
	struct lease like = lease_from_request(context, request->external_port);

	if (request->origin == ORIGIN_IGD && !addr_is_ipv4(&like.internal))
		like.internal = addr_from_ipv4((struct in_addr){0});
	return like;
}

void plan_delete(const struct table *table, const struct plan_context *context,
		 struct plan *plan)
{
	struct lease like = get_key(context);
	const struct lease *lease = table_get_by_external(table, &like);

	if (!lease) {
		plan->result = RESULT_NO_ENTRY;
	} else if (!plan_is_own(lease, context->request) ||
		   !plan_may_change(lease, context->request)) {
		plan->result = RESULT_FOREIGN;
	} else {
		plan->result = RESULT_OK;
		plan_answer(plan, lease);
		plan_remove_one(table, lease, plan);
	}
}

/* By the remote peer that the listing shows: a lease with filters has none in its key,
 * but may have but one host (PCP-85). */
static const struct lease *find_shown(const struct table *table,
				      const struct plan_context *context)
{
	const struct request *request = context->request;
	struct lease like = get_key(context);
	const struct lease *lease = table_get_by_external(table, &like);
	struct ip_addr remote;

	if (!lease) {
		memset(&like.remote, 0, sizeof(like.remote));
		lease = table_get_by_external(table, &like);
	}
	if (!lease)
		return NULL;
	remote = lease_get_remote(lease);
	return addr_equal(&remote, &request->remote) ? lease : NULL;
}

/*
 * IGD-31: exact remote peer. Version 1 shows what the LAN has, version 2 the host's own
 * (IGD-30); hosts of other LANs are not shown to either.
 */
void plan_get(const struct table *table, const struct plan_context *context,
	      struct plan *plan)
{
	const struct request *request = context->request;
	const struct lease *lease = find_shown(table, context);
	bool version2 = request->igd_version == 2;

	if (lease && version2 && plan_is_own(lease, request))
		plan->result = RESULT_OK;
	else if (!lease || lease->lan != request->lan)
		plan->result = RESULT_NO_ENTRY;
	else
		plan->result = version2 ? RESULT_FOREIGN : RESULT_OK;
	if (plan->result == RESULT_OK)
		plan_answer(plan, lease);
}

void plan_index(const struct table *table, const struct request *request,
		struct plan *plan)
{
	const struct lease *lease =
		request->igd_version == 2
			? table_get_of_host(table, &request->client, request->index)
			: table_get_by_index(table, request->lan, request->index);

	plan->result = lease ? RESULT_OK : RESULT_NO_INDEX;
	if (lease)
		plan_answer(plan, lease);
}
