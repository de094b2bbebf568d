/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plan.h"

#include <stdlib.h>

#include "daemon/plan_private.h"
#include "daemon/table.h"

void plan_fini(struct plan *plan)
{
	free(plan->changes);
	arena_fini(&plan->extras);
	plan->changes = NULL;
	plan->count = 0;
	plan->size = 0;
}

void plan_reset(struct plan *plan)
{
	plan->count = 0;
	plan->has_lease = false;
	plan->port_count = 0;
	plan->retry_s = 0;
	plan->result = RESULT_OK;
	arena_reset(&plan->extras);
}

static void plan_refuse(struct plan *plan, enum result result)
{
	plan->result = result;
	plan->count = 0;
}

/* For another host only by a rule of the policy. PCP asks for that with every operation
 * (PCP-73); what IGD deletes is looked up first, and is then its own or not. */
static bool request_needs_grant(const struct request *request)
{
	enum request_op op = (enum request_op)request->op;
	bool asks = op == REQUEST_MAP || op == REQUEST_ADD || op == REQUEST_PEER ||
		    op == REQUEST_ADD_ANY || op == REQUEST_PINHOLE ||
		    (op == REQUEST_UNMAP && request->origin == ORIGIN_PCP);

	return asks && request->origin != ORIGIN_STATIC &&
	       !addr_equal(&request->internal, &request->client);
}

/* How many wide filters more the plan makes. */
static size_t plan_get_widening(const struct plan *plan)
{
	size_t before = 0, after = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct lease_change *change = &plan->changes[i];

		if (change->kind != LEASE_ADD)
			before += lease_count_wide_filters(&change->before);
		if (change->kind != LEASE_REMOVE)
			after += lease_count_wide_filters(&change->after);
	}
	return after > before ? after - before : 0;
}

static bool plan_is_too_wide(const struct table *table, const struct request *request,
			     const struct plan *plan)
{
	bool widens = request->filter_count > 0 || request->op == REQUEST_PINHOLE;
	size_t more = widens ? plan_get_widening(plan) : 0;

	if (more == 0)
		return false;
	if (!addr_is_ipv4(&request->internal) &&
	    table_get_ipv6_wide_count(table) + more >
		    plan_get_ipv6_share(PLAN_WIDE_FILTERS_MAX))
		return true;
	return table_get_wide_count(table) + more > PLAN_WIDE_FILTERS_MAX ||
	       table_get_wide_count_of_client(table, &request->client) + more >
		       PLAN_WIDE_FILTERS_OF_CLIENT_MAX;
}

/* Both from outside to the same endpoint. */
bool plan_is_clash(const struct table *table, const struct lease *lease)
{
	const struct lease *other = table_get_by_internal(
		table, &lease->internal, lease->protocol, lease->internal_port);

	while (other && (other->id == lease->id ||
			 other->external_port != lease->external_port ||
			 !lease_overlaps(lease, other)))
		other = table_get_next_of_internal(table, other);
	return other != NULL;
}

static bool plan_has_clash(const struct table *table, const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct lease_change *change = &plan->changes[i];

		if (change->kind != LEASE_REMOVE && lease_is_filtered(&change->after) &&
		    plan_is_clash(table, &change->after))
			return true;
	}
	return false;
}

static void plan_run(const struct table *table, const struct plan_context *context,
		     struct plan *plan)
{
	const struct request *request = context->request;

	switch ((enum request_op)request->op) {
	case REQUEST_MAP:
		plan_map(table, context, plan);
		break;
	case REQUEST_UNMAP:
		plan_unmap(table, context, plan);
		break;
	case REQUEST_UNMAP_ALL:
		plan_unmap_all(table, request, plan);
		break;
	case REQUEST_PEER:
		plan_peer(table, context, plan);
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
	case REQUEST_ADD_ANY:
		plan_add_any(table, context, plan);
		break;
	case REQUEST_DELETE_RANGE:
		plan_delete_range(table, request, plan);
		break;
	case REQUEST_PINHOLE:
		plan_pinhole(table, context, plan);
		break;
	case REQUEST_PINHOLE_UPDATE:
		plan_pinhole_update(table, context, plan);
		break;
	case REQUEST_PINHOLE_DELETE:
		plan_pinhole_delete(table, context, plan);
		break;
	case REQUEST_PINHOLE_GET:
		plan_pinhole_get(table, context, plan);
		break;
	case REQUEST_LIST: /* ledger_list() */
	case REQUEST_TRAFFIC:
		break;
	}
}

void lease_plan(const struct table *table, const struct plan_context *context,
		struct plan *plan)
{
	const struct request *request = context->request;

	plan_reset(plan);
	if (request_needs_grant(request) &&
	    (!context->verdict || !context->verdict->third_party)) {
		plan->result = request->origin == ORIGIN_PCP ? RESULT_THIRD_PARTY
							     : RESULT_DENIED;
		return;
	}
	plan_run(table, context, plan);
	if (plan->result == RESULT_OK && plan_has_clash(table, plan))
		plan_refuse(plan, RESULT_CONFLICT);
	if (plan->result == RESULT_OK && plan_is_too_wide(table, request, plan))
		plan_refuse(plan, RESULT_PEERS);
	/* Half a plan is none; PCP's refusals leave all as it is (PCP-16), NAT-PMP's
	 * deletes go as far as they can (NP-48). */
	if (plan->result == RESULT_NO_MEMORY ||
	    (plan->result != RESULT_OK && request->origin == ORIGIN_PCP))
		plan_refuse(plan, plan->result);
}

const struct lease *plan_find_asked(const struct table *table,
				    const struct request *request)
{
	const struct lease like = {.internal = request->internal,
				   .remote = request->remote,
				   .internal_port = request->internal_port,
				   .remote_port = request->remote_port,
				   .protocol = request->protocol};

	if (request->origin != ORIGIN_PCP)
		return NULL;
	if (request->op == REQUEST_PEER)
		return table_get_by_peer(table, &like);
	if (request->op == REQUEST_MAP || request->op == REQUEST_UNMAP)
		return plan_find_map(table, request, request->internal_port);
	return NULL;
}

void lease_plan_end(const struct table *table, uint64_t id, struct plan *plan)
{
	const struct lease *lease = table_get_by_id(table, id);

	plan_reset(plan);
	plan->result = lease ? RESULT_OK : RESULT_NO_ENTRY;
	if (!lease)
		return;
	plan_answer(plan, lease);
	plan_remove_one(table, lease, plan);
	if (plan->result == RESULT_NO_MEMORY)
		plan_refuse(plan, RESULT_NO_MEMORY);
}
