/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clients are told of leases. */
#include <string.h>

#include "daemon/ledger_private.h"
#include "daemon/table.h"

/* What a client is told of a lease: whole seconds, never 0 for a live one. What the
 * owner made for ever is what it asks for to NAT-PMP, and for ever to PCP (PCP-51). */
static uint32_t lease_get_lifetime_s(const struct lease *lease,
				     const struct request *request, int64_t now_ms)
{
	uint32_t left_s = lease_get_left_s(lease, now_ms);

	if (lease->expires_ms == TIME_NEVER)
		return request->origin == ORIGIN_PCP ? UINT32_MAX
		       : request->op == REQUEST_MAP  ? request->lifetime_s
						     : 0;
	return left_s > 0 ? left_s : 1;
}

static void reply_fill_lease(const struct ledger *ledger, const struct lease *lease,
			     struct reply *reply)
{
	reply->protocol = lease->protocol;
	reply->enabled = lease->enabled;
	reply->origin = lease->origin;
	reply->pinhole = lease->pinhole;
	reply->internal = lease->internal;
	reply->internal_port = lease->internal_port;
	reply->external = ledger_get_external(ledger, lease);
	reply->external_port = lease->external_port;
	reply->remote = lease_get_remote(lease);
	lease_copy_description(lease, reply->description);
}

void ledger_answer(struct ledger *ledger, const struct request *request, int64_t now_ms,
		   struct reply *reply)
{
	const struct plan *plan = &ledger->plan;

	*reply = (struct reply){
		.cookie = request->cookie,
		.op = request->op,
		.result = (uint8_t)plan->result,
		.protocol = request->protocol,
		.internal_port = request->internal_port,
		.epoch_s =
			(uint32_t)((now_ms - ledger->figures.epoch_origin_ms) / 1000),
	};
	if (plan->result != RESULT_OK)
		reply->lifetime_s = plan->retry_s;
	if (plan->result != RESULT_OK || !plan->has_lease ||
	    request->op == REQUEST_DELETE || request->op == REQUEST_PINHOLE_DELETE)
		return;
	if (request->op == REQUEST_PINHOLE_GET)
		reply->packets_in = ledger_count_pinhole(ledger, &plan->lease, now_ms);
	reply_fill_lease(ledger, &plan->lease, reply);
	reply->lifetime_s = lease_get_lifetime_s(&plan->lease, request, now_ms);
	reply->port_count = plan->port_count;
}

/* --- pages of REQUEST_LIST --- */

/*
 * Where a lease stands in a listing: by its port, so that a control point with a limit
 * goes on at the port behind the last one (IGD-34), then by id. Ids count from 1 and
 * never reach so far up.
 */
#define PLACE_PORT_SHIFT 48
#define PLACE_ID_MASK ((UINT64_C(1) << PLACE_PORT_SHIFT) - 1)

static uint64_t lease_get_place(const struct lease *lease)
{
	return (uint64_t)lease->external_port << PLACE_PORT_SHIFT |
	       (lease->id & PLACE_ID_MASK);
}

/* Leases of a page, ascending by place. */
struct page {
	size_t count;
	const struct lease *leases[REQUEST_LIST_MAX];
	bool more; /* there are others behind the last one */
};

/* Where the page begins: behind the former one, or with the first port. */
static struct table_cursor page_get_begin(const struct table *table,
					  const struct request *request)
{
	struct table_cursor cursor = {
		.host = table_find_host(table, &request->client),
		.protocol = request->protocol,
		.port = (uint16_t)(request->after >> PLACE_PORT_SHIFT),
		.id = request->after & PLACE_ID_MASK,
	};

	if (cursor.port < request->external_port) {
		cursor.port = request->external_port;
		cursor.id = 0;
	}
	return cursor;
}

static void page_fill(struct page *page, const struct table *table,
		      const struct request *request)
{
	struct table_cursor cursor = page_get_begin(table, request);
	const struct lease *lease;

	while ((lease = table_get_behind(table, &cursor)) &&
	       lease->protocol == request->protocol &&
	       lease->external_port <= request->external_last) {
		page->more = page->count == REQUEST_LIST_MAX;
		if (page->more)
			return;
		page->leases[page->count++] = lease;
		cursor.port = lease->external_port;
		cursor.id = lease->id;
	}
}

size_t ledger_list(struct ledger *ledger, const struct request *request,
		   const struct reply *decided, const struct store_time *at,
		   struct reply out[REQUEST_LIST_MAX + 1])
{
	struct page page = {.count = 0};

	out[0] = *decided;
	if (decided->result != RESULT_OK)
		return 1;
	page_fill(&page, ledger->table, request);
	for (size_t i = 0; i < page.count; i++) {
		out[i] = *decided;
		out[i].more = 1;
		reply_fill_lease(ledger, page.leases[i], &out[i]);
		out[i].lifetime_s =
			lease_get_lifetime_s(page.leases[i], request, at->now_ms);
	}
	out[page.count] = *decided;
	if (page.more)
		out[page.count].next = lease_get_place(page.leases[page.count - 1]);
	if (page.count == 0 && request->after == 0)
		out[0].result = RESULT_NO_ENTRY;
	return page.count + 1;
}
