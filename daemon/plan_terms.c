/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plan_terms.h"

#include <string.h>

#include "daemon/ports.h"
#include "daemon/table.h"

/* PCP and NAT-PMP themselves: never mapped (RFC 6887 §11.3, NP-37). */
#define PORT_PCP_CLIENT 5350
#define PORT_PCP_SERVER 5351
/* Free ports looked at before giving up, when the gateway itself uses those found. */
#define PICK_TRIES_MAX 64

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

bool context_allows(const struct plan_context *context, uint16_t port,
		    uint32_t *lifetime_max_s)
{
	*lifetime_max_s = UINT32_MAX;
	return !context->verdict ||
	       verdict_allows(context->verdict, port, lifetime_max_s);
}

bool context_allows_inside(const struct plan_context *context, uint16_t port)
{
	return !context->verdict || (context->verdict->internal.first <= port &&
				     port <= context->verdict->internal.last);
}

/*
 * When a lease asked for now ends. NAT-PMP gets at most what it asks (NP-27), PCP at
 * least the minimum (PCP-64); 0 means the longest there is, for the owner: for ever.
 */
int64_t context_expires(const struct plan_context *context, uint32_t lifetime_max_s)
{
	const struct request *request = context->request;
	uint32_t lifetime_s = request->lifetime_s;

	if (request->origin == ORIGIN_STATIC)
		return lifetime_s == 0 ? TIME_NEVER
				       : context->now_ms + (int64_t)lifetime_s * 1000;
	if (context->lifetime_max_s > 0)
		lifetime_max_s = min_u32(lifetime_max_s, context->lifetime_max_s);
	if (lifetime_s == 0)
		lifetime_s = lifetime_max_s;
	lifetime_s = min_u32(lifetime_s, lifetime_max_s);
	if (request->origin == ORIGIN_PCP && lifetime_s < context->lifetime_min_s)
		lifetime_s = context->lifetime_min_s;
	return context->now_ms + (int64_t)lifetime_s * 1000;
}

bool context_has_external(const struct plan_context *context)
{
	const struct request *request = context->request;
	const struct ip_addr *ours = addr_is_ipv4(&request->internal)
					     ? &context->external
					     : &request->internal;

	return addr_is_none(&request->external) || addr_equal(&request->external, ours);
}

uint32_t context_get_left_s(const struct plan_context *context,
			    const struct lease *lease)
{
	uint32_t left_s = lease_get_left_s(lease, context->now_ms);

	if (lease->expires_ms == TIME_NEVER)
		return 0;
	return left_s > 0 ? left_s : 1;
}

struct lease lease_from_request(const struct plan_context *context,
				uint16_t external_port)
{
	const struct request *request = context->request;
	struct lease lease = {
		.id = context->next_id,
		.internal = request->internal,
		.client = request->client,
		.remote = request->remote,
		.server = request->server,
		.internal_port = request->internal_port,
		.external_port = external_port,
		.remote_port = request->remote_port,
		.client_port = request->client_port,
		.lan = request->lan,
		.protocol = request->protocol,
		.origin = request->origin,
		.enabled = request->enabled != 0,
		.created_ms = context->now_ms,
		.description = request->description,
	};

	memcpy(lease.nonce, request->nonce, sizeof(lease.nonce));
	lease.has_nonce = request->origin == ORIGIN_PCP;
	lease.exact = request->prefer_failure && !addr_is_none(&request->external);
	return lease;
}

/* --- filters --- */

/* Two filters that differ in their host bits only are one. */
static struct remote_filter filter_mask(const struct remote_filter *filter)
{
	struct remote_filter masked = *filter;
	unsigned int length = filter->prefix.length;

	for (unsigned int i = length / 8; i < sizeof(masked.prefix.addr.bytes); i++)
		masked.prefix.addr.bytes[i] &=
			i == length / 8 ? (uint8_t)(0xff00u >> length % 8) : 0;
	return masked;
}

static bool filters_have(const struct remote_filter *filters, uint8_t count,
			 const struct remote_filter *filter)
{
	for (uint8_t i = 0; i < count; i++)
		if (filter_equal(&filters[i], filter))
			return true;
	return false;
}

enum result lease_take_filters(struct lease *lease, const struct plan_context *context,
			       struct plan *plan)
{
	const struct request *request = context->request;
	uint32_t max = min_u32(context->filters_max, REQUEST_FILTERS_MAX);
	uint8_t count = request->filter_clear ? 0 : lease->filter_count;
	struct remote_filter *filters;

	if (request->filter_count == 0 && !request->filter_clear)
		return RESULT_OK;
	filters = arena_alloc(&plan->extras, REQUEST_FILTERS_MAX * sizeof(*filters));
	if (!filters)
		return RESULT_NO_MEMORY;
	if (count > 0)
		memcpy(filters, lease->filters, count * sizeof(*filters));
	for (uint8_t i = 0; i < request->filter_count; i++) {
		struct remote_filter filter = filter_mask(&request->filters[i]);

		if (filters_have(filters, count, &filter))
			continue;
		if (count >= max)
			return RESULT_PEERS;
		filters[count++] = filter;
	}
	lease->filters = filters;
	lease->filter_count = count;
	return RESULT_OK;
}

/* --- ports --- */

/*
 * Would a MAP of the port be open to less than it says? A lease of one peer goes first:
 * where it leads to another internal port, that peer never reaches this one (PCP-58).
 * One with the same internal port is no matter, but that the firewall does not take
 * filters beside it, which may be about the same peer.
 */
static bool port_is_narrowed(const struct table *table,
			     const struct plan_context *context, uint16_t port)
{
	const struct request *request = context->request;
	const struct ports *ports = table_get_ports(table);
	const struct ports_narrow like = {.port = port,
					  .internal_port = request->internal_port,
					  .protocol = request->protocol};

	return (request->op == REQUEST_MAP ||
		(request->op == REQUEST_ADD_ANY && addr_is_none(&request->remote))) &&
	       (ports_has_narrow_besides(ports, &like) ||
		(request->filter_count > 0 && ports_has_remote(ports, &like)));
}

const struct lease *port_get_narrowed(const struct table *table,
				      const struct request *request,
				      const struct lease *like)
{
	struct lease key = *like;
	const struct lease *open;

	if (request->origin == ORIGIN_STATIC || addr_is_none(&like->remote))
		return NULL;
	memset(&key.remote, 0, sizeof(key.remote));
	open = table_get_by_external(table, &key);
	if (!open || open->internal_port == like->internal_port ||
	    !addr_equal(&open->internal, &like->internal))
		return NULL;
	return open->has_nonce || open->origin == ORIGIN_STATIC ? open : NULL;
}

/* Ports that are nobody's to map. */
static bool port_is_never_mapped(uint8_t protocol, uint16_t port)
{
	return port == 0 || (protocol == IPPROTO_UDP &&
			     (port == PORT_PCP_CLIENT || port == PORT_PCP_SERVER));
}

bool port_is_available(const struct table *table, const struct plan_context *context,
		       uint16_t port)
{
	struct lease like = lease_from_request(context, port);

	if (port_is_never_mapped(like.protocol, port))
		return false;
	if (table_get_by_external(table, &like) ||
	    (context->request->op == REQUEST_ADD_ANY &&
	     port_get_narrowed(table, context->request, &like)))
		return false;
	if (!addr_is_ipv4(&like.internal))
		return true;
	if (!ports_is_free_for(table_get_ports(table), like.wan, port, &like.internal,
			       context->now_ms) ||
	    port_is_narrowed(table, context, port))
		return false;
	return !context->is_port_used ||
	       !context->is_port_used(context->user, like.protocol, port);
}

/* The owner has a lease of the port, by either protocol (NP-34). */
static bool port_is_owners(const struct table *table,
			   const struct plan_context *context, uint16_t port)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct lease like = lease_from_request(context, port);
	const struct lease *lease = table_get_by_external(table, &like);

	if (lease && lease->origin == ORIGIN_STATIC)
		return true;
	memset(&like.remote, 0, sizeof(like.remote));
	for (size_t i = 0; i < sizeof(protocols); i++) {
		like.protocol = protocols[i];
		lease = table_get_by_external(table, &like);
		if (lease && lease->origin == ORIGIN_STATIC)
			return true;
	}
	return false;
}

enum result port_get_refusal(const struct table *table,
			     const struct plan_context *context, uint16_t port)
{
	const struct request *request = context->request;

	if (request->origin == ORIGIN_STATIC)
		return RESULT_CONFLICT;
	if (port_is_never_mapped(request->protocol, port) ||
	    port_is_owners(table, context, port))
		return RESULT_WITHHELD;
	return context->is_port_used && context->is_port_used(context->user,
							      request->protocol, port)
		       ? RESULT_WITHHELD
		       : RESULT_CONFLICT;
}

/*
 * Where to look after a port that the gateway or the owner uses. They use some, or a
 * range of thousands that are next to each other: so in a large range elsewhere, by a
 * step that is a full period's (Knuth, TAOCP 3.2.1.2), and in a small one at each.
 */
static uint32_t port_get_next_start(struct port_range range, uint16_t port,
				    uint32_t *random)
{
	uint32_t span = range.last - range.first + 1u;

	if (span <= PICK_TRIES_MAX)
		return port < range.last ? port + 1u : range.first;
	*random = *random * 1664525u + 1013904223u;
	/* the high bits are the better ones */
	return range.first + (*random >> 8) % span;
}

/* A free port of one range, from a random place on. */
static uint16_t port_pick_in_range(const struct table *table,
				   const struct plan_context *context,
				   struct port_range range)
{
	uint32_t random = context->random;
	uint32_t start;

	if (range.first < PORT_UNPRIVILEGED)
		range.first = PORT_UNPRIVILEGED;
	if (range.first > range.last)
		return 0;
	start = range.first + random % (uint32_t)(range.last - range.first + 1);
	for (int tries = 0; tries < PICK_TRIES_MAX; tries++) {
		uint16_t port = ports_find_free(table_get_ports(table), 0, range,
						(uint16_t)start);

		if (port == 0 || port_is_available(table, context, port))
			return port;
		start = port_get_next_start(range, port, &random);
	}
	return 0;
}

static uint16_t port_pick(const struct table *table, const struct plan_context *context)
{
	const struct port_range all = {.first = PORT_UNPRIVILEGED, .last = UINT16_MAX};
	uint16_t port = 0;

	if (!context->verdict)
		return port_pick_in_range(table, context, all);
	for (size_t i = 0; i < context->verdict->range_count && port == 0; i++)
		port = port_pick_in_range(table, context,
					  context->verdict->ranges[i].ports);
	return port;
}

uint32_t port_get_wait_s(const struct table *table, const struct plan_context *context,
			 uint16_t port)
{
	struct lease like = lease_from_request(context, port);
	const struct lease *lease = table_get_by_external(table, &like);
	int64_t rest_ms;

	if (!context_has_external(context) || !addr_is_ipv4(&like.internal))
		return 0;
	/* its companion of the other protocol keeps a port too (NP-34) */
	like.protocol = like.protocol == IPPROTO_TCP ? IPPROTO_UDP : IPPROTO_TCP;
	if (!lease)
		lease = table_get_by_external(table, &like);
	if (lease && lease->expires_ms == TIME_NEVER)
		return 0;
	if (lease)
		return (uint32_t)min_u32(context_get_left_s(context, lease),
					 UINT32_MAX - PORT_REST_S) +
		       PORT_REST_S;
	rest_ms = ports_get_rest_until(table_get_ports(table), like.wan, port) -
		  context->now_ms;
	return rest_ms > 0 ? (uint32_t)((rest_ms + 999) / 1000) : 0;
}

/* A pinhole has the port of the internal side (PCP-93), whatever is suggested. */
static enum result port_choose_ipv6(const struct table *table,
				    const struct plan_context *context,
				    uint16_t suggested, uint16_t *out)
{
	struct lease like =
		lease_from_request(context, context->request->internal_port);
	uint32_t ignored;

	*out = context->request->internal_port;
	if (!context_allows(context, *out, &ignored))
		return RESULT_DENIED;
	if (context->request->prefer_failure && suggested != *out)
		return RESULT_CONFLICT; /* PCP-94 */
	if (port_is_available(table, context, *out))
		return RESULT_OK;
	/* another protocol has opened it to everybody, and there is no other to take,
	 * as there is in IPv4; or it is never mapped (PCP-56) */
	return context->request->prefer_failure || table_get_by_external(table, &like)
		       ? RESULT_CONFLICT
		       : RESULT_DENIED;
}

/*
 * The port a new MAP gets: the suggested one, else that of the internal side, else any
 * (NP-31, NP-32, NP-38).
 */
enum result port_choose(const struct table *table, const struct plan_context *context,
			uint16_t suggested, uint16_t *out)
{
	uint16_t internal = context->request->internal_port;
	uint32_t ignored;

	if (context->verdict && context->verdict->range_count == 0)
		return RESULT_DENIED;
	if (context->request->prefer_failure && !context_has_external(context))
		return RESULT_CONFLICT;
	if (!addr_is_ipv4(&context->request->internal))
		return port_choose_ipv6(table, context, suggested, out);
	*out = suggested;
	if (suggested != 0 && context_allows(context, suggested, &ignored) &&
	    port_is_available(table, context, suggested))
		return RESULT_OK;
	if (context->request->prefer_failure)
		return RESULT_CONFLICT;
	*out = internal;
	if (internal >= PORT_UNPRIVILEGED && !context->cautious &&
	    context_allows(context, internal, &ignored) &&
	    port_is_available(table, context, internal))
		return RESULT_OK;
	*out = port_pick(table, context);
	return *out != 0 ? RESULT_OK : RESULT_NO_PORT;
}
