/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PORT_SET (RFC 7753): consecutive ports, inside and outside. Each port is a lease like
 * any other; set_first and set_count hold them together, and whoever renews or ends one
 * does so with all of them (plan_get_next_of_set()).
 */
#include "daemon/plan_private.h"
#include "daemon/ports.h"
#include "daemon/table.h"

/* Ports looked at for one request: each may cost a question to the kernel. */
#define SET_LOOKS_MAX (2 * REQUEST_PORTS_MAX)

/* A search for ports: what was found so far, and how much more it may cost. */
struct search {
	const struct table *table;
	const struct plan_context *context;
	struct request part;	   /* the request, for the part that is looked at */
	struct plan_context asked; /* with that */
	unsigned int looks;
	uint16_t want;
	uint16_t reached;      /* of the last run looked at, how many were to be had */
	uint16_t first, count; /* the longest run so far */
};

uint16_t plan_set_get_size(const struct plan_context *context)
{
	const struct request *request = context->request;
	uint32_t size = request->port_count;

	/* "exactly this port" and "as many as there are" do not go together (PCP-116)
	 */
	if (request->prefer_failure || request->origin != ORIGIN_PCP || size == 0)
		return 1;
	if (size > context->ports_max)
		size = context->ports_max > 0 ? context->ports_max : 1;
	if (size > REQUEST_PORTS_MAX)
		size = REQUEST_PORTS_MAX;
	if (size > UINT16_MAX - request->internal_port + 1u)
		size = UINT16_MAX - request->internal_port + 1u;
	return (uint16_t)size;
}

/* Part i of the set with the external port. */
static bool search_may_have(struct search *search, uint16_t port, uint16_t i)
{
	uint32_t ignored;

	search->looks++;
	search->part.internal_port =
		(uint16_t)(search->context->request->internal_port + i);
	return context_allows(search->context, port, &ignored) &&
	       port_is_available(search->table, &search->asked, port);
}

/* How far the ports from `first` on are to be had; true when that is far enough. */
static bool search_at(struct search *search, uint16_t first)
{
	uint16_t count = 0;

	while (count < search->want && (uint32_t)first + count <= UINT16_MAX &&
	       search->looks < SET_LOOKS_MAX &&
	       search_may_have(search, (uint16_t)(first + count), count))
		count++;
	search->reached = count;
	if (count > search->count) {
		search->first = first;
		search->count = count;
	}
	return search->count == search->want;
}

static enum ports_parity get_parity(const struct request *request)
{
	if (!request->port_parity)
		return PORTS_ANY;
	return request->internal_port % 2 == 0 ? PORTS_EVEN : PORTS_ODD;
}

static bool has_parity(const struct request *request, uint16_t port)
{
	return !request->port_parity || port % 2 == request->internal_port % 2;
}

/*
 * Runs that no lease stands in, from a random place on, once round. Where the gateway
 * itself uses a port in one, the search goes on behind that.
 */
static bool search_runs(struct search *search, const struct ports_wish *wish)
{
	const struct ports *ports = table_get_ports(search->table);
	uint32_t span = wish->range.last - wish->range.first + 1u;
	uint32_t origin = search->context->random % span;
	uint32_t offset = 0, stride = 1;

	while (search->looks < SET_LOOKS_MAX && offset < span) {
		uint32_t start = wish->range.first + (origin + offset) % span;
		uint16_t first = ports_find_free_run(ports, 0, wish, (uint16_t)start);
		uint32_t at = (first - wish->range.first + span - origin) % span;

		if (first == 0 || at < offset || search_at(search, first))
			break;
		/* the owner may have given away thousands of ports in a row */
		stride = search->reached > 0 || span <= SET_LOOKS_MAX ? 1 : stride * 2;
		offset = at + search->reached + stride;
	}
	return search->count == search->want;
}

/* The longest run that the range has, up to what is wanted: by halves. */
static bool search_range(struct search *search, struct port_range range)
{
	const struct ports *ports = table_get_ports(search->table);
	struct ports_wish wish = {.range = range,
				  .parity = get_parity(search->context->request)};
	uint16_t low = search->count, high = search->want;

	if (wish.range.first < PORT_UNPRIVILEGED)
		wish.range.first = PORT_UNPRIVILEGED;
	if (wish.range.first > wish.range.last)
		return false;
	while (low < high) {
		wish.count = (uint16_t)((low + high + 1) / 2);
		if (ports_find_free_run(ports, 0, &wish, 0) != 0)
			low = wish.count;
		else
			high = (uint16_t)(wish.count - 1);
	}
	wish.count = low;
	if (low > search->count && search_runs(search, &wish))
		return true;
	/* the gateway's own ports make runs shorter: then the next best */
	wish.count = (uint16_t)(search->count + 1);
	return wish.count < low && search_runs(search, &wish);
}

/* The same order as for one port (NP-31, NP-32): suggested, as inside, any. */
static void search_ports(struct search *search)
{
	const struct plan_context *context = search->context;
	const struct request *request = context->request;
	const struct verdict *verdict = context->verdict;
	uint16_t suggested = request->external_port, internal = request->internal_port;
	bool done = false;

	if (suggested != 0 && has_parity(request, suggested))
		done = search_at(search, suggested);
	if (!done && internal >= PORT_UNPRIVILEGED && !context->cautious)
		done = search_at(search, internal);
	for (size_t i = 0; !done && verdict && i < verdict->range_count; i++)
		done = search_range(search, verdict->ranges[i].ports);
}

/* A pinhole has the ports of the inside (PCP-93). */
static void search_inside(struct search *search)
{
	uint16_t internal = search->context->request->internal_port;

	(void)search_at(search, internal);
}

/* How many ports from the first on have no mapping yet, and are one to the policy. */
static uint16_t get_unmapped(const struct table *table,
			     const struct plan_context *context, uint16_t size)
{
	const struct request *request = context->request;
	uint16_t count = 1;

	while (count < size &&
	       context_allows_inside(context,
				     (uint16_t)(request->internal_port + count)) &&
	       !plan_find_map(table, request,
			      (uint16_t)(request->internal_port + count)))
		count++;
	return count;
}

static uint32_t get_lifetime_max(const struct search *search)
{
	uint32_t shortest_s = UINT32_MAX, limit_s = UINT32_MAX;

	for (uint16_t i = 0; i < search->count; i++)
		if (context_allows(search->context, (uint16_t)(search->first + i),
				   &limit_s) &&
		    limit_s < shortest_s)
			shortest_s = limit_s;
	return shortest_s;
}

static void grant(const struct search *search, struct plan *plan)
{
	const struct plan_context *context = search->context;
	struct lease after = lease_from_request(context, search->first);

	plan->result = lease_take_filters(&after, context, plan);
	if (plan->result != RESULT_OK)
		return;
	after.expires_ms = context_expires(context, get_lifetime_max(search));
	after.set_first = after.internal_port;
	after.set_count = search->count;
	for (uint16_t i = 0; i < search->count; i++) {
		after.outbound = !plan_find_outbound(search->table, &after);
		plan_add(plan, &after);
		if (i == 0)
			plan_answer(plan, &after);
		after.id++;
		after.internal_port++;
		after.external_port++;
	}
}

bool plan_set_grant(const struct table *table, const struct plan_context *context,
		    uint16_t size, struct plan *plan)
{
	struct search search = {.table = table,
				.context = context,
				.part = *context->request,
				.asked = *context};
	enum result why;
	size_t quota = plan_get_quota(table, context, &why);

	if (size > quota)
		size = (uint16_t)quota;
	if (size < 2)
		return false;
	search.want = get_unmapped(table, context, size);
	if (search.want < 2)
		return false;
	search.asked.request = &search.part;
	if (addr_is_ipv4(&context->request->internal))
		search_ports(&search);
	else
		search_inside(&search);
	if (search.count < 2)
		return false;
	grant(&search, plan);
	return true;
}
