/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What WANIPConnection:2 and WANIPv6FirewallControl ask, in the naive table. */
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "daemon/ledger_private.h"
#include "daemon/table.h"
#include "test/model/naive_private.h"

/* --- requests --- */

static uint16_t choose_pinhole(const struct model *model, uint8_t bits)
{
	uint16_t ids[NAIVE_MAX] = {0};
	size_t count = 0;

	for (size_t i = 0; i < model->count; i++)
		if (model->leases[i].pinhole != 0)
			ids[count++] = model->leases[i].pinhole;
	if (count > 0 && bits % 8 != 0)
		return ids[bits % count];
	return (uint16_t)(bits * 256u); /* nobody's, most likely */
}

static void fill_pinhole(const struct model *model, uint8_t ports, uint8_t more,
			 struct request *request)
{
	static const uint16_t internal_ports[] = {22, 5000, 5000, 5001, 5351};
	static const uint32_t lifetimes[] = {1, 2, 60, 7200,
					     REQUEST_PINHOLE_LIFETIME_MAX_S};

	request->client = naive_host(HOSTS_IPV4 + (more & 1));
	request->internal = request->client;
	request->lifetime_s = lifetimes[(more >> 1) % 5];
	if (request->op != REQUEST_PINHOLE) {
		request->pinhole = choose_pinhole(model, ports);
		return;
	}
	request->internal_port = internal_ports[ports % 5];
	if (ports & 0x40)
		request->remote = naive_address(ports & 0x20 ? "2001:db8:96::1"
							     : "2001:db8:99::1");
	if (ports & 0x80)
		request->remote_port = (uint16_t)(443 + (more >> 6 & 1));
}

static void fill_mapping(uint8_t ports, uint8_t more, struct request *request)
{
	static const uint16_t internal_ports[] = {22, 5000, 5001, 5351};
	static const uint16_t external_ports[] = {0, 80, 5000, 5001, 5351, 65535};
	static const uint32_t lifetimes[] = {0, 1, 2, 60, 7200, UINT32_MAX};

	request->client = naive_host((unsigned int)(more >> 4) % HOSTS_IPV4);
	request->internal = request->client;
	request->internal_port = internal_ports[ports % 4];
	request->external_port = external_ports[(ports >> 2) % 6];
	request->lifetime_s = lifetimes[(more & 0x0f) % 6];
	request->enabled = (more & 0x08) == 0;
	if (ports & 0x80)
		request->remote = naive_address("203.0.113.9");
	if (request->op == REQUEST_DELETE_RANGE || request->op == REQUEST_LIST) {
		memset(&request->remote, 0, sizeof(request->remote));
		request->external_last = external_ports[(ports >> 5) % 6];
	}
	request->index = more & 7;
}

void naive_fill_upnp(const struct model *model, const uint8_t **bytes, size_t *length,
		     struct request *request)
{
	static const uint8_t ops[] = {
		REQUEST_ADD_ANY,      REQUEST_ADD_ANY, REQUEST_ADD_ANY,
		REQUEST_PINHOLE,      REQUEST_PINHOLE, REQUEST_PINHOLE,
		REQUEST_PINHOLE,      REQUEST_PINHOLE, REQUEST_PINHOLE_UPDATE,
		REQUEST_GET,	      REQUEST_INDEX,   REQUEST_PINHOLE_DELETE,
		REQUEST_LIST,	      REQUEST_LIST,    REQUEST_PINHOLE_GET,
		REQUEST_DELETE_RANGE,
	};
	uint8_t op = naive_take(bytes, length);
	uint8_t ports = naive_take(bytes, length);
	uint8_t more = naive_take(bytes, length);

	memset(request, 0, sizeof(*request));
	request->op = ops[op % sizeof(ops)];
	request->origin = ORIGIN_IGD;
	request->igd_version = op & 0x40 ? 1 : 2;
	request->protocol = op & 0x80 ? IPPROTO_TCP : IPPROTO_UDP;
	request->enabled = 1;
	if (request->op >= REQUEST_PINHOLE)
		fill_pinhole(model, ports, more, request);
	else
		fill_mapping(ports, more, request);
}

/* --- any port --- */

static bool is_renewable(const struct naive_lease *lease, const struct request *request)
{
	return lease->protocol == request->protocol &&
	       lease->internal_port == request->internal_port &&
	       lease->external_port >= 1024 && lease->remote_port == 0 &&
	       addr_equal(&lease->internal, &request->internal) &&
	       addr_equal(&lease->remote, &request->remote) && !naive_is_guarded(lease);
}

/* The very mapping; else of those that UPnP made for the endpoint the one it told. */
static struct naive_lease *find_renewable(struct model *model,
					  const struct request *request, uint16_t told)
{
	struct naive_lease *found = NULL;

	for (size_t i = 0; i < model->count; i++) {
		struct naive_lease *lease = &model->leases[i];

		if (!is_renewable(lease, request))
			continue;
		if (lease->external_port == request->external_port)
			return lease;
		if (lease->origin == ORIGIN_IGD && lease->filters == 0 &&
		    (!found || lease->external_port == told))
			found = lease;
	}
	return found;
}

static const char *check_any(struct model *model, const struct request *request,
			     const struct naive_lease *lease)
{
	struct request at = *request;
	const char *wrong = naive_check_new(model, lease);

	at.external_port = lease->external_port;
	return wrong || !naive_narrows(model, &at)
		       ? wrong
		       : "a port was granted whose peer is another lease's";
}

static const char *any_grant(struct model *model, const struct request *request,
			     const struct reply *reply)
{
	struct naive_lease lease = naive_from(model, request, reply->external_port);
	struct naive_lease asked = naive_from(model, request, request->external_port);
	enum result result;
	const char *wrong;

	(void)naive_quota(model, request, &result);
	wrong = naive_expect(reply, result);
	if (wrong || result != RESULT_OK)
		return wrong;
	wrong = check_any(model, request, &lease);
	if (!wrong && reply->external_port != request->external_port &&
	    !check_any(model, request, &asked))
		wrong = "a suggestion that could be taken was not";
	model->leases[model->count++] = lease;
	return wrong;
}

static const char *add_any(struct model *model, const struct request *request,
			   const struct reply *reply)
{
	struct naive_lease *lease =
		find_renewable(model, request, reply->external_port);
	const char *wrong;

	if (!lease)
		return any_grant(model, request, reply);
	wrong = naive_expect(reply, RESULT_OK);
	if (!wrong && reply->external_port != lease->external_port)
		wrong = "a renewal changed the port";
	if (!wrong)
		*lease = naive_from(model, request, lease->external_port);
	return wrong;
}

/* --- ranges and lists --- */

static bool is_in_range(const struct naive_lease *lease, const struct request *request)
{
	return lease->protocol == request->protocol && lease->remote_port == 0 &&
	       addr_is_ipv4(&lease->internal) &&
	       addr_equal(&lease->internal, &request->client) &&
	       lease->external_port >= request->external_port &&
	       lease->external_port <= request->external_last;
}

static const char *delete_range(struct model *model, const struct request *request,
				const struct reply *reply)
{
	enum result result = RESULT_NO_ENTRY;

	for (size_t i = model->count; i-- > 0;) {
		if (!is_in_range(&model->leases[i], request) ||
		    naive_is_guarded(&model->leases[i]))
			continue;
		result = RESULT_OK;
		naive_remove(model, &model->leases[i]);
	}
	return naive_expect(reply, result);
}

static const char *list(struct model *model, const struct request *request,
			const struct reply *reply)
{
	struct reply page[REQUEST_LIST_MAX + 1];
	size_t count = ledger_list(model->ledger, request, reply, &model->at, page);
	size_t expected = 0;

	for (size_t i = 0; i < model->count; i++)
		expected += is_in_range(&model->leases[i], request);
	if (count != expected + 1 || page[expected].more != 0)
		return "a list of another length";
	if (page[expected].result != (expected > 0 ? RESULT_OK : RESULT_NO_ENTRY))
		return "a list with another result";
	for (size_t i = 0; i < expected; i++) {
		struct naive_lease like = {.protocol = page[i].protocol,
					   .internal = page[i].internal,
					   .external_port = page[i].external_port,
					   .remote = page[i].remote};
		const struct naive_lease *lease = naive_find_external(model, &like);

		memset(&like.remote, 0, sizeof(like.remote));
		if (!lease) /* of one filter the host is told (PCP-85) */
			lease = naive_find_external(model, &like);
		if (!lease || !is_in_range(lease, request) ||
		    lease->internal_port != page[i].internal_port)
			return "a list with a lease that is not there";
	}
	return NULL;
}

/* --- looking --- */

/* IGD knows a lease with one filter by that host, if at all (PCP-85). */
static bool is_one_host(unsigned int filters)
{
	return filters == 1 || filters == 2 || filters == 8 || filters == 16;
}

static const char *get(struct model *model, const struct request *request,
		       const struct reply *reply)
{
	struct naive_lease like = naive_from(model, request, request->external_port);
	const struct naive_lease *lease = naive_find_external(model, &like);

	if (!lease || is_one_host(lease->filters))
		return naive_expect(reply, RESULT_NO_ENTRY);
	if (request->igd_version == 2 &&
	    !addr_equal(&lease->internal, &request->client))
		return naive_expect(reply, RESULT_FOREIGN);
	if (reply->result == RESULT_OK &&
	    (reply->internal_port != lease->internal_port ||
	     reply->enabled != lease->enabled ||
	     strcmp(reply->description, lease->text) != 0))
		return "an answer tells another lease than there is";
	return naive_expect(reply, RESULT_OK);
}

static const char *get_index(struct model *model, const struct request *request,
			     const struct reply *reply)
{
	size_t count = 0;

	for (size_t i = 0; i < model->count; i++)
		count += model->leases[i].remote_port == 0 &&
			 addr_is_ipv4(&model->leases[i].internal) &&
			 (request->igd_version == 1 ||
			  addr_equal(&model->leases[i].internal, &request->client));
	return naive_expect(reply,
			    request->index < count ? RESULT_OK : RESULT_NO_INDEX);
}

/* --- pinholes --- */

static struct rule get_rule(const struct naive_lease *lease)
{
	struct rule rule = {.internal = lease->internal};
	struct remote_filter filters[REQUEST_FILTERS_MAX];
	bool any = addr_is_none(&lease->remote);

	if (!any || lease->remote_port != 0) {
		rule.flow = !any && lease->remote_port != 0;
		rule.filter_count = 1;
		rule.filters[0].prefix.addr = lease->remote;
		rule.filters[0].prefix.length = any ? 0 : 128;
		rule.filters[0].port = lease->remote_port;
		return rule;
	}
	rule.filter_count = naive_put_filters(lease->filters,
					      addr_is_ipv4(&lease->internal), filters);
	for (uint8_t i = 0; i < rule.filter_count; i++) {
		rule.filters[i].prefix = filters[i].prefix;
		rule.filters[i].port = filters[i].port;
	}
	return rule;
}

bool naive_clashes(const struct model *model, const struct naive_lease *lease)
{
	const struct rule rule = get_rule(lease);

	for (size_t i = 0; i < model->count; i++) {
		const struct naive_lease *other = &model->leases[i];
		const struct rule theirs = get_rule(other);

		if (lease->enabled && other->enabled &&
		    other->protocol == lease->protocol &&
		    other->internal_port == lease->internal_port &&
		    addr_equal(&other->internal, &lease->internal) &&
		    (other->remote_port != lease->remote_port ||
		     !addr_equal(&other->remote, &lease->remote)) &&
		    rule_overlaps(&rule, &theirs))
			return true;
	}
	return false;
}

static enum result get_grant(const struct model *model, const struct request *request,
			     const struct naive_lease *lease)
{
	enum result quota;

	if (request->internal_port < 1024)
		return RESULT_DENIED;
	if (naive_quota(model, request, &quota) == 0)
		return quota;
	if (request->protocol == IPPROTO_UDP &&
	    (request->internal_port == 5350 || request->internal_port == 5351))
		return RESULT_DENIED;
	return naive_clashes(model, lease) ? RESULT_CONFLICT : RESULT_OK;
}

static struct naive_lease *find_pinhole(struct model *model, uint16_t id)
{
	for (size_t i = 0; i < model->count && id != 0; i++)
		if (model->leases[i].pinhole == id)
			return &model->leases[i];
	return NULL;
}

static const char *pinhole_grant(struct model *model, const struct request *request,
				 const struct reply *reply, struct naive_lease *lease)
{
	enum result result = get_grant(model, request, lease);
	const char *wrong = naive_expect(reply, result);

	if (wrong || result != RESULT_OK)
		return wrong;
	if (reply->pinhole == 0 || find_pinhole(model, reply->pinhole))
		return "a UniqueID that is none, or another's";
	lease->pinhole = reply->pinhole;
	model->leases[model->count++] = *lease;
	return NULL;
}

static const char *pinhole(struct model *model, const struct request *request,
			   const struct reply *reply)
{
	struct naive_lease after = naive_from(model, request, request->internal_port);
	struct naive_lease *lease = naive_find_external(model, &after);

	if (!lease)
		return pinhole_grant(model, request, reply, &after);
	if (lease->pinhole == 0 || naive_is_guarded(lease))
		return naive_expect(reply, RESULT_FOREIGN);
	lease->expires_ms = after.expires_ms;
	if (reply->result == RESULT_OK && reply->pinhole != lease->pinhole)
		return "the same pinhole with another UniqueID";
	return naive_expect(reply, RESULT_OK);
}

static const char *pinhole_by_id(struct model *model, const struct request *request,
				 const struct reply *reply)
{
	struct naive_lease *lease = find_pinhole(model, request->pinhole);

	if (!lease)
		return naive_expect(reply, RESULT_NO_ENTRY);
	if (!addr_equal(&lease->internal, &request->client) ||
	    (request->op != REQUEST_PINHOLE_GET && naive_is_guarded(lease)))
		return naive_expect(reply, RESULT_FOREIGN);
	if (request->op == REQUEST_PINHOLE_UPDATE)
		lease->expires_ms = naive_from(model, request, 1).expires_ms;
	if (request->op == REQUEST_PINHOLE_DELETE)
		naive_remove(model, lease);
	return naive_expect(reply, RESULT_OK);
}

const char *naive_upnp(struct model *model, const struct request *request,
		       const struct reply *reply)
{
	switch ((enum request_op)request->op) {
	case REQUEST_ADD_ANY:
		return add_any(model, request, reply);
	case REQUEST_DELETE_RANGE:
		return delete_range(model, request, reply);
	case REQUEST_LIST:
		return list(model, request, reply);
	case REQUEST_GET:
		return get(model, request, reply);
	case REQUEST_INDEX:
		return get_index(model, request, reply);
	case REQUEST_PINHOLE:
		return pinhole(model, request, reply);
	case REQUEST_PINHOLE_UPDATE:
	case REQUEST_PINHOLE_DELETE:
	case REQUEST_PINHOLE_GET:
		return pinhole_by_id(model, request, reply);
	case REQUEST_MAP:
	case REQUEST_UNMAP:
	case REQUEST_UNMAP_ALL:
	case REQUEST_PEER:
	case REQUEST_ADD:
	case REQUEST_DELETE:
	case REQUEST_TRAFFIC:
		break;
	}
	return NULL;
}

/* --- invariants --- */

static uint64_t mix(uint64_t sum, const void *octets, size_t length)
{
	const uint8_t *at = octets;

	while (length-- > 0)
		sum = (sum ^ *at++) * UINT64_C(0x100000001b3);
	return sum;
}

static uint64_t get_lease_face(const struct lease *lease)
{
	uint64_t sum = lease->id;

	sum = mix(sum, &lease->internal_port, sizeof(lease->internal_port));
	sum = mix(sum, &lease->enabled, sizeof(lease->enabled));
	sum = mix(sum, &lease->origin, sizeof(lease->origin));
	for (uint8_t i = 0; i < lease->filter_count; i++) {
		const struct remote_filter *filter = &lease->filters[i];

		sum = mix(sum, &filter->prefix.addr, sizeof(filter->prefix.addr));
		sum = mix(sum, &filter->prefix.length, sizeof(filter->prefix.length));
		sum = mix(sum, &filter->port, sizeof(filter->port));
	}
	return mix(sum, lease_get_description(lease),
		   strlen(lease_get_description(lease)));
}

uint64_t naive_get_face(const struct model *model)
{
	const struct lease *lease = NULL;
	uint64_t sum = 0;

	while ((lease = table_get_next(model->ledger->table, lease)))
		if (addr_is_ipv4(&lease->internal) && !lease_is_peer(lease))
			sum += get_lease_face(lease);
	return sum;
}

/* The same by port: as many, and each behind the one before. */
static const char *check_order(const struct table *table, const struct ip_addr *host,
			       size_t expected)
{
	struct table_cursor cursor = {.host = table_find_host(table, host)};
	const struct lease *lease;
	size_t count = 0;

	while ((lease = table_get_behind(table, &cursor))) {
		if (!addr_equal(&lease->internal, host) &&
		    !addr_equal(&lease->client, host))
			return "another one's lease is among a host's by port";
		if (lease->protocol < cursor.protocol ||
		    (lease->protocol == cursor.protocol &&
		     (lease->external_port < cursor.port ||
		      (lease->external_port == cursor.port && lease->id <= cursor.id))))
			return "a host's leases are not in order of their ports";
		cursor.protocol = lease->protocol;
		cursor.port = lease->external_port;
		cursor.id = lease->id;
		count++;
	}
	return count != expected ? "a host has other leases by port" : NULL;
}

/* The host's listing: its own, each once, without a gap. */
static const char *check_host(const struct model *model, const struct ip_addr *host)
{
	const struct table *table = model->ledger->table;
	const struct lease *lease;
	size_t expected = 0, count = 0;
	uint64_t sum = 0, sum_expected = 0;

	for (lease = table_get_next(table, NULL); lease;
	     lease = table_get_next(table, lease)) {
		if (!addr_is_ipv4(&lease->internal) || lease_is_peer(lease) ||
		    !addr_equal(&lease->internal, host))
			continue;
		expected++;
		sum_expected += lease->id * lease->id;
	}
	while ((lease = table_get_of_host(table, host, count))) {
		if (!addr_equal(&lease->internal, host))
			return "a host is shown another one's lease";
		count++;
		sum += lease->id * lease->id;
	}
	if (count != expected || sum != sum_expected)
		return "a host is not shown each of its leases once";
	return check_order(table, host, count);
}

const char *naive_upnp_check(const struct model *model)
{
	const struct table *table = model->ledger->table;
	const struct lease *lease = NULL;
	size_t listed = 0;

	while ((lease = table_get_next(table, lease))) {
		if (lease->pinhole != 0 &&
		    table_get_by_pinhole(table, lease->pinhole) != lease)
			return "a pinhole is not found by its UniqueID";
		listed += addr_is_ipv4(&lease->internal) && !lease_is_peer(lease);
	}
	if (table_get_listing_count(table, 0) != listed)
		return "the LAN's listing has another length";
	for (unsigned int host = 0; host < HOSTS; host++) {
		const struct ip_addr addr = naive_host(host);
		const char *wrong = check_host(model, &addr);

		if (wrong)
			return wrong;
	}
	return NULL;
}
