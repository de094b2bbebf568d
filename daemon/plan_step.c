/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps that every kind of request is planned with. */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "daemon/plan_private.h"
#include "daemon/table.h"

#define CHANGES_START 4

bool plan_keep_extra(struct plan *plan, struct lease *lease)
{
	size_t size = lease_get_extra_size(lease);
	void *room = size > 0 ? arena_alloc(&plan->extras, size) : NULL;

	if (size > 0 && !room)
		return false;
	lease_keep_extra(lease, room);
	return true;
}

/* before or after may be NULL. */
static void plan_add_change(struct plan *plan, enum lease_change_kind kind,
			    const struct lease *before, const struct lease *after)
{
	struct lease_change *changes =
		array_reserve(plan->changes, plan->count, &plan->size, sizeof(*changes),
			      CHANGES_START);
	struct lease_change *change;

	if (!changes) {
		plan->result = RESULT_NO_MEMORY;
		return;
	}
	plan->changes = changes;
	change = &changes[plan->count];
	change->kind = kind;
	change->unasked = false;
	if (before)
		change->before = *before;
	if (after)
		change->after = *after;
	if ((before && !plan_keep_extra(plan, &change->before)) ||
	    (after && !plan_keep_extra(plan, &change->after)))
		plan->result = RESULT_NO_MEMORY;
	else
		plan->count++;
}

void plan_add(struct plan *plan, const struct lease *after)
{
	plan_add_change(plan, LEASE_ADD, NULL, after);
}

void plan_update(struct plan *plan, const struct lease *before,
		 const struct lease *after)
{
	plan_add_change(plan, LEASE_UPDATE, before, after);
}

void plan_remove(struct plan *plan, const struct lease *before)
{
	plan_add_change(plan, LEASE_REMOVE, before, NULL);
}

void plan_answer(struct plan *plan, const struct lease *lease)
{
	plan->lease = *lease;
	plan->has_lease = plan_keep_extra(plan, &plan->lease);
	if (!plan->has_lease)
		plan->result = RESULT_NO_MEMORY;
}

/* --- what a request may have --- */

static size_t get_rest(uint32_t limit, size_t used)
{
	if (limit == 0)
		return SIZE_MAX;
	return used < limit ? limit - used : 0;
}

uint32_t plan_get_ipv6_share(uint32_t total)
{
	return total - total / 2;
}

/* Source: RFC 6887 §17.2: renewals are not counted, only a lease more (PCP-61). */
size_t plan_get_quota(const struct table *table, const struct plan_context *context,
		      enum result *why)
{
	size_t total, own, pinholes = SIZE_MAX;

	*why = RESULT_OK;
	if (context->request->origin == ORIGIN_STATIC)
		return SIZE_MAX;
	total = get_rest(context->leases_total, table_get_count(table));
	if (!addr_is_ipv4(&context->request->internal))
		pinholes = get_rest(plan_get_ipv6_share(context->leases_total),
				    table_get_ipv6_count(table));
	if (pinholes < total)
		total = pinholes;
	own = get_rest(context->leases_per_client,
		       table_get_count_of_client(table, &context->request->client));
	if (total == 0)
		*why = RESULT_TABLE_FULL;
	else if (own == 0)
		*why = RESULT_QUOTA;
	return total < own ? total : own;
}

enum result plan_check_quota(const struct table *table,
			     const struct plan_context *context)
{
	enum result why;

	(void)plan_get_quota(table, context, &why);
	return why;
}

bool plan_may_change(const struct lease *lease, const struct request *request)
{
	if (request->origin == ORIGIN_STATIC)
		return true;
	/* A nonce guards against everyone who does not know it (NP-49, IGD-42). */
	return lease->origin != ORIGIN_STATIC && !lease->has_nonce;
}

/*
 * PCP: the lease that a nonce guards is the one it made itself (PCP-52); else with
 * PREFER_FAILURE the one that has the very port (PCP-76). NAT-PMP knows no filters: it
 * takes a filtered one only to see that it may not have it.
 */
static int lease_get_rank(const struct lease *lease, const struct request *request)
{
	if (request->origin != ORIGIN_PCP)
		return lease->filter_count == 0 ? 2 : 1;
	if (lease->has_nonce)
		return 3;
	return request->prefer_failure && lease->external_port == request->external_port
		       ? 2
		       : 1;
}

/*
 * What another protocol was promised is open to everybody: a MAP with filters, which
 * would narrow it, passes it over and is a lease beside it. What the owner made is
 * found, and refused by those who look at it.
 */
static bool map_passes_over(const struct lease *lease, const struct request *request)
{
	return request->filter_count > 0 && lease->filter_count == 0 &&
	       !lease->has_nonce && lease->origin != ORIGIN_STATIC;
}

const struct lease *plan_find_map(const struct table *table,
				  const struct request *request, uint16_t port)
{
	const struct lease *found = NULL;
	const struct lease *lease = table_get_by_internal(table, &request->internal,
							  request->protocol, port);
	int best = 0;

	for (; lease; lease = table_get_next_of_internal(table, lease)) {
		int rank = lease_get_rank(lease, request);

		if (rank <= best || lease_has_peer(lease) ||
		    map_passes_over(lease, request))
			continue;
		best = rank;
		found = lease;
	}
	return found;
}

bool plan_knows_nonce(const struct plan_context *context, const struct lease *lease)
{
	const struct request *request = context->request;

	return !lease->has_nonce ||
	       memcmp(lease->nonce, request->nonce, sizeof(lease->nonce)) == 0 ||
	       (context->nonce_relaxed && request->op != REQUEST_UNMAP &&
		addr_equal(&lease->client, &request->client));
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
const struct lease *plan_get_heir(const struct table *table, const struct lease *lease)
{
	const struct lease *heir = table_get_next_of_internal(table, lease);

	while (heir && !heir->enabled)
		heir = table_get_next_of_internal(table, heir);
	return heir;
}

void plan_pass_outbound(const struct table *table, const struct lease *lease,
			struct plan *plan)
{
	const struct lease *survivor = plan_get_heir(table, lease);

	if (survivor)
		plan_promote(plan, survivor);
}

static const struct lease *find_of_set(const struct table *table,
				       const struct lease *like, uint16_t port)
{
	const struct lease *lease =
		table_get_by_internal(table, &like->internal, like->protocol, port);

	while (lease && (lease->set_first != like->set_first ||
			 lease->set_count != like->set_count))
		lease = table_get_next_of_internal(table, lease);
	return lease;
}

const struct lease *plan_get_next_of_set(const struct table *table,
					 const struct lease *lease, uint32_t *port)
{
	const struct lease *found = NULL;
	uint32_t end = (uint32_t)lease->set_first + lease->set_count;

	if (lease->set_count == 0)
		return (*port)++ == 0 ? lease : NULL;
	if (*port < lease->set_first)
		*port = lease->set_first;
	while (*port < end && !found)
		found = find_of_set(table, lease, (uint16_t)(*port)++);
	return found;
}

void plan_remove_others(const struct table *table, const struct lease *lease,
			struct plan *plan)
{
	const struct lease *part;
	uint32_t port = 0;

	while ((part = plan_get_next_of_set(table, lease, &port))) {
		if (part == lease)
			continue;
		plan_remove(plan, part);
		if (part->outbound)
			plan_pass_outbound(table, part, plan);
	}
}

void plan_remove_one(const struct table *table, const struct lease *lease,
		     struct plan *plan)
{
	plan_remove(plan, lease);
	if (lease->outbound)
		plan_pass_outbound(table, lease, plan);
	plan_remove_others(table, lease, plan);
}
