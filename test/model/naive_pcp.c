/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What PCP asks, in the naive table: RFC 6887 §11, RFC 7753. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ledger_private.h"
#include "daemon/table.h"
#include "test/model/naive_private.h"

/* Filters that requests choose from; for IPv6 the same below another prefix. */
#define FILTER_POOL 5

static struct remote_filter get_filter(unsigned int i, bool ipv4)
{
	static const char *const peers[2][FILTER_POOL] = {
		{"2001:db8:99::1", "2001:db8:99::2", "2001:db8:98::/48",
		 "2001:db8:97::1", "2001:db8:97::1"},
		{"198.51.100.1", "198.51.100.2", "192.0.2.0/25", "192.0.2.200",
		 "192.0.2.200"},
	};
	struct remote_filter filter = {.port = (uint16_t)(i == 3   ? 80
							  : i == 4 ? 81
								   : 0)};

	if (!prefix_parse(peers[ipv4][i], &filter.prefix))
		abort();
	return filter;
}

unsigned int naive_get_filters(const struct remote_filter *filters, size_t count)
{
	unsigned int bits = 0;

	for (size_t i = 0; i < count; i++) {
		bool ipv4 = addr_is_ipv4(&filters[i].prefix.addr);
		unsigned int known = 0;

		for (unsigned int n = 0; n < FILTER_POOL; n++) {
			struct remote_filter filter = get_filter(n, ipv4);

			if (filter.port == filters[i].port &&
			    filter.prefix.length == filters[i].prefix.length &&
			    addr_equal(&filter.prefix.addr, &filters[i].prefix.addr))
				known |= 1u << n;
		}
		if (known == 0)
			return UINT_MAX;
		bits |= known;
	}
	return bits;
}

uint8_t naive_put_filters(unsigned int bits, bool ipv4, struct remote_filter *out)
{
	uint8_t count = 0;

	for (unsigned int i = 0; i < FILTER_POOL; i++)
		if (bits & 1u << i)
			out[count++] = get_filter(i, ipv4);
	return count;
}

/* --- requests --- */

static void fill_filters(uint8_t bits, struct request *request)
{
	static const uint8_t counts[] = {0, 0, 1, 2};
	bool ipv4 = addr_is_ipv4(&request->internal);

	request->filter_count = counts[bits % 4];
	request->filter_clear = (bits & 0x04) != 0;
	for (uint8_t i = 0; i < request->filter_count; i++)
		request->filters[i] =
			get_filter((unsigned int)(bits >> 3) % FILTER_POOL, ipv4);
	if (request->filter_count > 1) /* the second may be the first again */
		request->filters[1] =
			get_filter((unsigned int)(bits >> 5) % FILTER_POOL, ipv4);
}

/* Peers that no filter names: what overlaps is told by the firewall, not by the table.
 */
static void fill_peer(uint8_t bits, struct request *request)
{
	bool ipv4 = addr_is_ipv4(&request->internal);

	request->remote = naive_address(ipv4 ? "203.0.113.20" : "2001:db8:96::1");
	request->remote_port = (uint16_t)(443 + (bits & 1));
	request->port_count = 0;
	request->port_parity = 0;
	if (bits & 0x10)
		request->lifetime_s = 0;
	if (bits & 0x20)
		request->external_port = 0;
}

void naive_fill_pcp(const uint8_t **bytes, size_t *length, struct request *request)
{
	static const uint16_t internal_ports[] = {22,	5000, 5001, 5002,
						  5003, 5004, 5351, 65534};
	static const uint16_t external_ports[] = {0,	80,   5000, 5001,
						  5002, 5351, 6000, 65535};
	static const uint32_t lifetimes[] = {1, 120, 600, 7200, UINT32_MAX};
	static const uint8_t counts[] = {0, 0, 0, 1, 2, 3, 5, 64};
	uint8_t op = naive_take(bytes, length);
	uint8_t ports = naive_take(bytes, length);
	uint8_t more = naive_take(bytes, length);
	uint8_t extra = naive_take(bytes, length);
	uint8_t set = naive_take(bytes, length);

	memset(request, 0, sizeof(*request));
	request->op = op % 4 == 3 ? REQUEST_UNMAP : REQUEST_MAP;
	if (request->op == REQUEST_MAP && (set & 0xc0) == 0x80)
		request->op = REQUEST_PEER;
	request->origin = ORIGIN_PCP;
	request->protocol = op & 0x80 ? IPPROTO_TCP : IPPROTO_UDP;
	request->enabled = 1;
	request->internal = naive_host((op >> 2 & 0x1f) % HOSTS);
	request->client = request->internal;
	request->client_port = 40000;
	request->internal_port = internal_ports[ports % 8];
	request->port_count = counts[set % 8];
	request->port_parity = (set & 0x08) != 0;
	memset(request->nonce, (more >> 5 & 3) == 3, sizeof(request->nonce));
	if (request->op == REQUEST_UNMAP)
		return;
	request->external_port = external_ports[(ports >> 3) % 8];
	request->lifetime_s = lifetimes[(more & 0x0f) % 5];
	if (request->op == REQUEST_PEER) {
		fill_peer(extra, request);
		return;
	}
	request->prefer_failure = (more & 0x10) != 0;
	if (more & 0x80)
		request->external =
			naive_address(set & 0x10 ? "203.0.113.1" : "203.0.113.7");
	fill_filters(extra, request);
	request->has_description = (set & 0x60) == 0x60;
	if (request->has_description)
		memcpy(request->description, set & 0x80 ? "text" : "",
		       set & 0x80 ? 5 : 1);
}

/* --- finding --- */

static bool is_at(const struct naive_lease *lease, const struct request *request,
		  uint32_t port)
{
	return lease->protocol == request->protocol && lease->internal_port == port &&
	       addr_equal(&lease->internal, &request->internal) &&
	       addr_is_none(&lease->remote) && lease->remote_port == 0;
}

/*
 * The lease a MAP of the port is about. Without a nonce IGD may have made several, and
 * which one is taken is not ours to say: then the one that the ledger took, which bears
 * the nonce by now, or is told in the answer; one that was refused, it looks at the
 * outbound one first.
 */
static struct naive_lease *find_map(struct model *model, const struct request *request,
				    uint32_t port, uint16_t told)
{
	struct naive_lease *found = NULL;

	for (size_t i = 0; i < model->count; i++) {
		struct naive_lease *lease = &model->leases[i];
		struct lease like = {.internal = lease->internal,
				     .external_port = lease->external_port,
				     .protocol = lease->protocol};
		const struct lease *real;

		if (!is_at(lease, request, port))
			continue;
		if (lease->has_nonce)
			return lease;
		/* what others opened to everybody is not narrowed */
		if (request->filter_count > 0 && lease->origin != ORIGIN_STATIC)
			continue;
		real = table_get_by_external(model->ledger->table, &like);
		if (!found || (real && real->has_nonce) ||
		    lease->external_port == told ||
		    (told == 0 && real && real->outbound))
			found = lease;
	}
	return found;
}

static bool knows_nonce(const struct model *model, const struct naive_lease *lease,
			const struct request *request)
{
	return !lease->has_nonce || lease->nonce == request->nonce[0] ||
	       (model->conf.global.pcp_nonce_relaxed && request->op == REQUEST_MAP);
}

static bool has_external(const struct model *model, const struct request *request)
{
	return addr_is_none(&request->external) ||
	       addr_equal(&request->external, addr_is_ipv4(&request->internal)
						      ? &model->network.wan.external
						      : &request->internal);
}

static unsigned int add_filters(unsigned int before, const struct request *request)
{
	return (request->filter_clear ? 0 : before) |
	       naive_get_filters(request->filters, request->filter_count);
}

static bool is_too_many(unsigned int filters)
{
	return __builtin_popcount(filters) > FILTERS;
}

static uint16_t get_size(const struct request *request)
{
	uint32_t size = request->port_count > 0 ? request->port_count : 1;

	if (request->prefer_failure)
		return 1;
	if (size > PORTS)
		size = PORTS;
	if (size > 65536u - request->internal_port)
		size = 65536u - request->internal_port;
	return (uint16_t)size;
}

/* --- renewal --- */

static bool is_of_set(const struct naive_lease *lease, const struct naive_lease *like)
{
	bool set = like->set_count > 0 && lease->set_first == like->set_first &&
		   lease->set_count == like->set_count;

	return lease->protocol == like->protocol &&
	       addr_equal(&lease->internal, &like->internal) &&
	       (set || (lease->external_port == like->external_port &&
			lease->remote_port == like->remote_port &&
			addr_equal(&lease->remote, &like->remote)));
}

static void renew(struct model *model, const struct request *request,
		  const struct naive_lease *chosen)
{
	const struct naive_lease like = *chosen;
	const struct naive_lease after = naive_from(model, request, 1);

	for (size_t i = 0; i < model->count; i++) {
		struct naive_lease *lease = &model->leases[i];

		if (!is_of_set(lease, &like))
			continue;
		lease->origin = ORIGIN_PCP;
		lease->enabled = true;
		if (lease->has_nonce || lease->expires_ms < after.expires_ms)
			lease->expires_ms = after.expires_ms;
		lease->has_nonce = true;
		lease->nonce = after.nonce;
		lease->filters = add_filters(lease->filters, request);
		if (request->has_description)
			memcpy(lease->text, after.text, sizeof(lease->text));
	}
}

/* What was mapped before behind the ports that are answered for: it ends no earlier. */
static void renew_rest(struct model *model, const struct request *request,
		       uint32_t port)
{
	const struct naive_lease after = naive_from(model, request, 1);
	uint32_t end = (uint32_t)request->internal_port + get_size(request);

	while (port < end) {
		const struct naive_lease *lease = find_map(model, request, port++, 0);
		struct naive_lease like;

		if (!lease)
			continue;
		like = *lease;
		if (like.set_count > 0)
			port = (uint32_t)like.set_first + like.set_count;
		if (!like.has_nonce || like.nonce != request->nonce[0])
			continue;
		for (size_t i = 0; i < model->count; i++)
			if (is_of_set(&model->leases[i], &like) &&
			    model->leases[i].expires_ms < after.expires_ms)
				model->leases[i].expires_ms = after.expires_ms;
	}
}

static uint32_t get_left_s(const struct model *model, const struct naive_lease *lease)
{
	return (uint32_t)((lease->expires_ms - model->at.now_ms + 999) / 1000);
}

static enum result get_renewal(const struct model *model,
			       const struct naive_lease *lease,
			       const struct request *request)
{
	if (!knows_nonce(model, lease, request))
		return RESULT_FOREIGN;
	if (request->prefer_failure &&
	    (request->external_port != lease->external_port ||
	     !has_external(model, request)))
		return RESULT_CONFLICT;
	if (lease->origin == ORIGIN_STATIC && request->filter_count > 0)
		return RESULT_FOREIGN;
	if (is_too_many(add_filters(lease->filters, request)))
		return RESULT_PEERS;
	return RESULT_OK;
}

static const char *check_renewal(const struct model *model,
				 const struct naive_lease *lease, enum result result,
				 const struct reply *reply)
{
	const char *wrong = naive_expect(reply, result);

	if (wrong)
		return wrong;
	if (result == RESULT_OK && reply->external_port != lease->external_port)
		return "a renewal changed the port";
	if (result == RESULT_OK && lease->expires_ms == TIME_NEVER &&
	    reply->lifetime_s != UINT32_MAX)
		return "a static lease ends";
	if (result == RESULT_FOREIGN && lease->origin != ORIGIN_STATIC &&
	    reply->lifetime_s != get_left_s(model, lease))
		return "a wrong nonce is not told what is left";
	return NULL;
}

static const char *map_renew(struct model *model, const struct request *request,
			     const struct reply *reply, struct naive_lease *lease)
{
	enum result result = get_renewal(model, lease, request);
	uint32_t next = request->internal_port + 1u;
	uint16_t size = get_size(request), count = 0;
	const char *wrong;

	if (lease->set_count > 0) {
		next = (uint32_t)lease->set_first + lease->set_count;
		count = (uint16_t)(next - request->internal_port);
		count = count < size ? count : size;
	}
	wrong = check_renewal(model, lease, result, reply);
	if (wrong || result != RESULT_OK)
		return wrong;
	if (reply->port_count != (count > 1 ? count : 0))
		return "a renewal of a set has another size";
	if (lease->origin != ORIGIN_STATIC)
		renew(model, request, lease);
	if (size > 1)
		renew_rest(model, request, next);
	return NULL;
}

/* --- new leases --- */

/* A port of an IPv6 host that others have opened to everybody. */
static bool is_opened(struct model *model, const struct request *request, uint32_t port)
{
	struct naive_lease like = naive_from(model, request, (uint16_t)port);

	like.internal_port = (uint16_t)port;
	return !addr_is_ipv4(&request->internal) && naive_find_external(model, &like);
}

/* Ports from the first on that have no lease, as many as the client may have more. */
static uint16_t get_wanted(struct model *model, const struct request *request,
			   size_t quota)
{
	uint16_t size = get_size(request);
	uint16_t count = 1;

	while (count < size && count < quota &&
	       !find_map(model, request, (uint32_t)request->internal_port + count, 0) &&
	       !is_opened(model, request, (uint32_t)request->internal_port + count))
		count++;
	/* the policy as it is by default: nothing below 1024 */
	if (!addr_is_ipv4(&request->internal) && request->internal_port < 1024)
		return 1;
	if (!addr_is_ipv4(&request->internal) && request->protocol == IPPROTO_UDP &&
	    request->internal_port <= 5351 && request->internal_port + count > 5350)
		return request->internal_port < 5350
			       ? (uint16_t)(5350 - request->internal_port)
			       : 1;
	return count;
}

/* The i-th port of what is asked for. */
static bool is_grantable(struct model *model, const struct request *request,
			 uint16_t port, uint16_t i)
{
	struct naive_lease lease = naive_from(model, request, port);

	lease.internal_port = (uint16_t)(lease.internal_port + i);

	return port != 0 && !naive_check_new(model, &lease);
}

/* Whether a single port can be had; where any will do, there is always one. */
static enum result get_grant(struct model *model, const struct request *request)
{
	bool ipv4 = addr_is_ipv4(&request->internal);

	if (is_too_many(naive_get_filters(request->filters, request->filter_count)))
		return RESULT_PEERS;
	if (request->prefer_failure && !has_external(model, request))
		return RESULT_CONFLICT;
	if (!ipv4 && request->internal_port < 1024)
		return RESULT_DENIED;
	if (!ipv4 && !is_grantable(model, request, request->internal_port, 0))
		return request->prefer_failure ||
				       is_opened(model, request, request->internal_port)
			       ? RESULT_CONFLICT
			       : RESULT_DENIED;
	if (request->prefer_failure &&
	    !is_grantable(model, request, request->external_port, 0))
		return RESULT_CONFLICT;
	return RESULT_OK;
}

/* PCP-55: a suggestion is taken where it can be. */
static const char *check_suggestion(struct model *model, const struct request *request,
				    uint16_t count, const struct reply *reply)
{
	uint16_t port = request->external_port;

	if (!addr_is_ipv4(&request->internal) || reply->external_port == port)
		return NULL;
	for (size_t i = 0; i < model->count; i++)
		if (model->leases[i].internal_port == request->internal_port)
			return NULL; /* one face for the endpoint goes before that */
	if (port == 0 || (uint32_t)port + count > 65536 ||
	    (count > 1 && request->port_parity &&
	     (port - request->internal_port) % 2 != 0))
		return NULL;
	for (uint16_t i = 0; i < count; i++)
		if (!is_grantable(model, request, (uint16_t)(port + i), i))
			return NULL;
	return "a suggestion that could be taken was not";
}

static const char *map_grant(struct model *model, const struct request *request,
			     const struct reply *reply)
{
	enum result result;
	size_t quota = naive_quota(model, request, &result);
	uint16_t count = get_wanted(model, request, quota);
	uint32_t next = (uint32_t)request->internal_port + count;
	const char *wrong = NULL;

	if (result == RESULT_OK)
		result = get_grant(model, request);
	wrong = naive_expect(reply, result);
	if (wrong || result != RESULT_OK)
		return wrong;
	if (reply->port_count != (count > 1 ? count : 0))
		return "a set has another size";
	if (count > 1 && request->port_parity && addr_is_ipv4(&request->internal) &&
	    (reply->external_port - request->internal_port) % 2 != 0)
		return "a set without the parity asked for";
	wrong = check_suggestion(model, request, count, reply);
	if (get_size(request) > 1)
		renew_rest(model, request, next);
	for (uint16_t i = 0; i < count && !wrong; i++) {
		struct naive_lease lease = naive_from(
			model, request, (uint16_t)(reply->external_port + i));

		lease.internal_port = (uint16_t)(request->internal_port + i);
		lease.set_first = count > 1 ? request->internal_port : 0;
		lease.set_count = count > 1 ? count : 0;
		wrong = naive_check_new(model, &lease);
		model->leases[model->count++] = lease;
	}
	return wrong;
}

/* Filters that the firewall does not take beside a pinhole of one of the ports, or of
 * the set that they are in. */
static bool is_clash(struct model *model, const struct request *request)
{
	const struct naive_lease *there =
		find_map(model, request, request->internal_port, 0);
	uint32_t port = request->internal_port;
	uint32_t end = port + get_size(request);

	if (addr_is_ipv4(&request->internal))
		return false;
	if (there && there->set_count > 0) {
		port = there->set_first;
		end = port + there->set_count;
	}
	for (; port < end; port++) {
		struct naive_lease lease = naive_from(model, request, (uint16_t)port);

		lease.internal_port = (uint16_t)port;
		if (there)
			lease.filters = add_filters(there->filters, request);
		if (naive_clashes(model, &lease))
			return true;
	}
	return false;
}

const char *naive_pcp_map(struct model *model, const struct request *request,
			  const struct reply *reply)
{
	uint16_t told = reply->result == RESULT_OK || request->prefer_failure
				? reply->external_port
				: 0;
	struct naive_lease *lease;

	if (reply->result == RESULT_CONFLICT && is_clash(model, request))
		return NULL;
	if (reply->result != RESULT_OK && request->prefer_failure)
		told = request->external_port;
	lease = find_map(model, request, request->internal_port, told);
	return lease ? map_renew(model, request, reply, lease)
		     : map_grant(model, request, reply);
}

/* --- delete --- */

/* PCP-67 */
static bool has_peer(const struct model *model, const struct request *request,
		     uint32_t port)
{
	for (size_t i = 0; i < model->count; i++)
		if (model->leases[i].remote_port != 0 &&
		    model->leases[i].pinhole == 0 &&
		    model->leases[i].internal_port == port &&
		    model->leases[i].protocol == request->protocol &&
		    addr_equal(&model->leases[i].internal, &request->internal))
			return true;
	return false;
}

/* *next: the port to go on with. Of a set's ports nothing else is looked at. */
static enum result unmap_one(struct model *model, const struct request *request,
			     uint32_t port, uint32_t *next)
{
	const struct naive_lease *lease = find_map(model, request, port, 0);

	*next = port + 1;
	if (lease && lease->has_nonce) {
		if (lease->set_count > 0)
			*next = (uint32_t)lease->set_first + lease->set_count;
		if (!knows_nonce(model, lease, request))
			return RESULT_FOREIGN;
		naive_remove(model, lease);
		return RESULT_OK;
	}
	for (size_t i = 0; i < model->count; i++)
		if (is_at(&model->leases[i], request, port) &&
		    model->leases[i].origin == ORIGIN_STATIC)
			return RESULT_FOREIGN;
	for (size_t i = model->count; i-- > 0;)
		if (is_at(&model->leases[i], request, port))
			naive_remove(model, &model->leases[i]);
	return !lease && has_peer(model, request, port) ? RESULT_FOREIGN : RESULT_OK;
}

const char *naive_pcp_unmap(struct model *model, const struct request *request,
			    const struct reply *reply)
{
	const struct naive_lease *lease =
		find_map(model, request, request->internal_port, 0);
	uint32_t left_s = lease ? get_left_s(model, lease) : 0;
	bool guarded = lease && lease->has_nonce;
	uint32_t end = (uint32_t)request->internal_port + get_size(request), port;
	enum result result = unmap_one(model, request, request->internal_port, &port);

	if (result == RESULT_FOREIGN && guarded && reply->lifetime_s != left_s)
		return "a wrong nonce is not told what is left";
	while (port < end && result == RESULT_OK)
		(void)unmap_one(model, request, port, &port);
	return naive_expect(reply, result);
}
