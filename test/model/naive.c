/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/model/naive.h"
#include "test/model/naive_private.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "backends/memory.h"
#include "daemon/ledger_private.h"
#include "daemon/ports.h"
#include "daemon/table.h"

static void nothing_lease(void *user, enum lease_event event, const struct lease *lease)
{
	(void)user;
	(void)event;
	(void)lease;
}

/* Called after each failure too: that is when the next one is planned. */
static void plan_fault(void *user)
{
	struct model *model = user;

	if (model->faults-- > 0)
		memory_plan_fault(model->ledger->books.backend, 1, EBUSY);
}

static const struct ledger_events events = {
	.lease = nothing_lease, .disturbed = plan_fault, .find_mac = naive_find_mac};

struct ip_addr naive_address(const char *text)
{
	struct ip_addr addr = {{0}};

	if (!addr_parse(text, &addr))
		abort();
	return addr;
}

struct ip_addr naive_host(unsigned int host)
{
	static const char *const texts[HOSTS] = {
		"192.168.77.2",	  "192.168.77.3",   "192.168.77.4",
		"2001:db8:77::2", "2001:db8:77::3",
	};

	return naive_address(texts[host % HOSTS]);
}

static void model_open(struct model *model)
{
	struct ledger_setup setup = {.conf = &model->conf,
				     .network = &model->network,
				     .backend = backend_get_memory(),
				     .events = &events,
				     .user = model,
				     .at = model->at};

	if (ledger_open(&setup, &model->ledger) != 0 ||
	    ledger_set_network(model->ledger, &model->network, model->at.now_ms) != 0)
		abort();
}

struct model *model_new(const char *dir)
{
	struct model *model = calloc(1, sizeof(*model));

	if (!model)
		abort();
	conf_init(&model->conf);
	model->conf.limits.leases_per_client = QUOTA;
	model->conf.limits.leases_total = TOTAL;
	model->conf.limits.filters_per_lease = FILTERS;
	model->conf.limits.ports_per_request = PORTS;
	model->conf.limits.requests_per_second = 0;
	(void)snprintf(model->conf.global.state_dir,
		       sizeof(model->conf.global.state_dir), "%s", dir);
	model->network.wan.present = true;
	model->network.wan.ifindex = 1;
	model->network.wan.address = naive_address("203.0.113.1");
	model->network.wan.external = model->network.wan.address;
	model->network.lan_count = 1;
	model->network.lans[0].ifindex = 2;
	model->network.lans[0].protocols =
		LAN_PROTOCOL_UPNP | LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP;
	(void)snprintf(model->network.lans[0].name, sizeof(model->network.lans[0].name),
		       "lan0");
	model->at = (struct store_time){.now_ms = 1000000, .wall_ms = 1700000000000};
	naive_reset_cards(model);
	model_open(model);
	return model;
}

void model_free(struct model *model)
{
	ledger_close(model->ledger);
	free(model);
}

/* --- the naive table --- */

static bool naive_same(const struct naive_lease *a, const struct naive_lease *b)
{
	/* for IPv6 the external address is the internal one */
	bool shared = addr_is_ipv4(&a->internal) && addr_is_ipv4(&b->internal);

	return a->protocol == b->protocol && a->external_port == b->external_port &&
	       addr_equal(&a->remote, &b->remote) && a->remote_port == b->remote_port &&
	       (shared || addr_equal(&a->internal, &b->internal));
}

struct naive_lease *naive_find_external(struct model *model,
					const struct naive_lease *like)
{
	for (size_t i = 0; i < model->count; i++)
		if (naive_same(&model->leases[i], like))
			return &model->leases[i];
	return NULL;
}

/* One of the leases that a MAP may renew: IGD may have given the endpoint several. */
static struct naive_lease *naive_find_open(struct model *model,
					   const struct request *request, uint16_t port,
					   bool filtered)
{
	for (size_t i = 0; i < model->count; i++) {
		struct naive_lease *lease = &model->leases[i];

		if (lease->protocol == request->protocol &&
		    lease->internal_port == request->internal_port &&
		    addr_equal(&lease->internal, &request->internal) &&
		    addr_is_none(&lease->remote) && (lease->filters != 0) == filtered &&
		    (port == 0 || lease->external_port == port))
			return lease;
	}
	return NULL;
}

static size_t naive_count_of(const struct model *model, const struct ip_addr *host)
{
	size_t count = 0;

	for (size_t i = 0; i < model->count; i++)
		count += model->leases[i].origin != ORIGIN_STATIC &&
					 addr_equal(&model->leases[i].internal, host)
				 ? 1
				 : 0;
	return count;
}

bool naive_port_free(const struct model *model, uint16_t port,
		     const struct ip_addr *host)
{
	if (!addr_is_ipv4(host))
		return true;
	for (size_t i = 0; i < model->count; i++)
		if (model->leases[i].external_port == port &&
		    addr_is_ipv4(&model->leases[i].internal))
			return addr_equal(&model->leases[i].internal, host);
	for (size_t i = model->rest_count; i-- > 0;)
		if (model->rests[i].port == port)
			return addr_equal(&model->rests[i].host, host) ||
			       model->rests[i].until_ms <= model->at.now_ms;
	return true;
}

static void naive_rest(struct model *model, uint16_t port, struct ip_addr host)
{
	if (!addr_is_ipv4(&host))
		return;
	for (size_t i = 0; i < model->count; i++)
		if (model->leases[i].external_port == port &&
		    addr_is_ipv4(&model->leases[i].internal))
			return;
	if (model->rest_count == REST_MAX)
		memmove(model->rests, model->rests + 1,
			--model->rest_count * sizeof(model->rests[0]));
	model->rests[model->rest_count++] =
		(struct naive_rest){.port = port,
				    .host = host,
				    .until_ms = model->at.now_ms + PORT_REST_MS};
}

static void naive_remove_at(struct model *model, size_t i)
{
	struct naive_lease lease = model->leases[i];

	model->leases[i] = model->leases[--model->count];
	naive_rest(model, lease.external_port, lease.internal);
}

static bool naive_is_with(const struct naive_lease *a, const struct naive_lease *b)
{
	bool set = a->set_count > 0 && a->set_first == b->set_first &&
		   a->set_count == b->set_count && a->protocol == b->protocol &&
		   addr_equal(&a->internal, &b->internal);

	return set || naive_same(a, b);
}

void naive_remove(struct model *model, const struct naive_lease *lease)
{
	const struct naive_lease like = *lease;

	for (size_t i = model->count; i-- > 0;)
		if (naive_is_with(&model->leases[i], &like))
			naive_remove_at(model, i);
}

static void naive_expire(struct model *model)
{
	for (size_t i = model->count; i-- > 0;)
		if (model->leases[i].expires_ms <= model->at.now_ms)
			naive_remove_at(model, i);
}

static int64_t naive_end(const struct model *model, const struct request *request)
{
	uint32_t max_s = request->origin == ORIGIN_IGD
				 ? model->conf.limits.igd_lifetime_max_s
				 : model->conf.limits.lifetime_max_s;
	uint32_t min_s =
		request->origin == ORIGIN_PCP ? model->conf.limits.lifetime_min_s : 0;
	uint32_t lifetime_s = request->lifetime_s;

	if (request->origin == ORIGIN_STATIC && lifetime_s == 0)
		return TIME_NEVER;
	if (request->origin != ORIGIN_STATIC && (lifetime_s == 0 || lifetime_s > max_s))
		lifetime_s = max_s;
	if (lifetime_s < min_s)
		lifetime_s = min_s;
	return model->at.now_ms + (int64_t)lifetime_s * 1000;
}

struct naive_lease naive_from(const struct model *model, const struct request *request,
			      uint16_t port)
{
	struct naive_lease lease = {
		.protocol = request->protocol,
		.origin = request->origin,
		.enabled = request->enabled,
		.has_nonce = request->origin == ORIGIN_PCP,
		.nonce = request->nonce[0],
		.internal = request->internal,
		.remote = request->remote,
		.internal_port = request->internal_port,
		.external_port = port,
		.remote_port = request->remote_port,
		.filters = naive_get_filters(request->filters, request->filter_count),
		.expires_ms = naive_end(model, request),
	};

	memcpy(lease.text, request->description, TEXT_SIZE - 1);
	return lease;
}

static size_t naive_count_ipv6(const struct model *model)
{
	size_t count = 0;

	for (size_t i = 0; i < model->count; i++)
		count += !addr_is_ipv4(&model->leases[i].internal);
	return count;
}

size_t naive_quota(const struct model *model, const struct request *request,
		   enum result *why)
{
	size_t own = naive_count_of(model, &request->client);
	size_t pinholes = 0, rest;

	*why = RESULT_OK;
	if (request->origin == ORIGIN_STATIC)
		return SIZE_MAX;
	if (!addr_is_ipv4(&request->internal))
		pinholes = naive_count_ipv6(model);
	if (pinholes >= IPV6_TOTAL || model->count >= TOTAL)
		*why = RESULT_TABLE_FULL;
	else if (own >= QUOTA)
		*why = RESULT_QUOTA;
	if (*why != RESULT_OK)
		return 0;
	rest = TOTAL - model->count;
	if (!addr_is_ipv4(&request->internal) && IPV6_TOTAL - pinholes < rest)
		rest = IPV6_TOTAL - pinholes;
	return rest < QUOTA - own ? rest : QUOTA - own;
}

const char *naive_expect(const struct reply *reply, enum result result)
{
	static char text[96];

	if (reply->result == result)
		return NULL;
	(void)snprintf(text, sizeof(text), "answer %s, the naive table says %s",
		       result_get_name((enum result)reply->result),
		       result_get_name(result));
	return text;
}

/* PCP-58: what is open to everybody stays so; and no filters beside RemoteHost. */
static bool naive_is_narrowed(const struct model *model,
			      const struct naive_lease *lease)
{
	for (size_t i = 0; i < model->count; i++) {
		const struct naive_lease *other = &model->leases[i];

		if (addr_is_ipv4(&lease->internal) && addr_is_ipv4(&other->internal) &&
		    !addr_is_none(&other->remote) &&
		    other->protocol == lease->protocol &&
		    other->external_port == lease->external_port &&
		    (other->internal_port != lease->internal_port ||
		     (lease->filters != 0 && other->remote_port == 0)))
			return true;
	}
	return false;
}

const char *naive_check_new(struct model *model, const struct naive_lease *lease)
{
	uint16_t port = lease->external_port;

	if (port < 1024)
		return "a port below 1024 was granted";
	if (lease->protocol == IPPROTO_UDP && (port == 5350 || port == 5351))
		return "PCP's own port was granted";
	if (naive_find_external(model, lease))
		return "an external key was granted twice";
	if (!naive_port_free(model, port, &lease->internal))
		return "another host's port was granted";
	if (addr_is_none(&lease->remote) && naive_is_narrowed(model, lease))
		return "a port was granted that one peer has another use of";
	if (!addr_is_ipv4(&lease->internal) && port != lease->internal_port)
		return "a pinhole with another port";
	return NULL;
}

/* Whoever holds the nonce was promised its own end. */
static void naive_renew(struct model *model, const struct request *request,
			const struct naive_lease *like)
{
	const struct naive_lease chosen = *like;
	int64_t end_ms = naive_end(model, request);

	if (chosen.origin == ORIGIN_STATIC)
		return;
	for (size_t i = 0; i < model->count; i++) {
		struct naive_lease *lease = &model->leases[i];

		if (!naive_is_with(lease, &chosen))
			continue;
		lease->enabled = true;
		if (!lease->has_nonce || lease->expires_ms < end_ms)
			lease->expires_ms = end_ms;
	}
}

static const char *naive_map(struct model *model, const struct request *request,
			     const struct reply *reply)
{
	struct naive_lease *lease = naive_find_open(model, request, 0, false);
	struct naive_lease after = naive_from(model, request, reply->external_port);
	enum result quota;
	const char *wrong;

	(void)naive_quota(model, request, &quota);
	if (lease) {
		wrong = naive_expect(reply, RESULT_OK);
		lease = naive_find_open(model, request, reply->external_port, false);
		if (wrong || !lease)
			return wrong ? wrong : "a renewal changed the port";
		naive_renew(model, request, lease);
		return NULL;
	}
	if (naive_find_open(model, request, 0, true))
		return naive_expect(reply, RESULT_FOREIGN);
	wrong = naive_expect(reply, quota);
	if (wrong || quota != RESULT_OK)
		return wrong;
	wrong = naive_check_new(model, &after);
	if (!wrong)
		model->leases[model->count++] = after;
	return wrong;
}

bool naive_is_guarded(const struct naive_lease *lease)
{
	return lease->origin == ORIGIN_STATIC || lease->has_nonce;
}

/* What PEER keeps is no mapping to NAT-PMP. */
static bool naive_is_asked(const struct naive_lease *lease,
			   const struct request *request)
{
	return lease->protocol == request->protocol &&
	       addr_equal(&lease->internal, &request->internal) &&
	       lease->remote_port == 0 &&
	       (request->op == REQUEST_UNMAP_ALL ||
		lease->internal_port == request->internal_port);
}

static const char *naive_unmap(struct model *model, const struct request *request,
			       const struct reply *reply)
{
	enum result result = RESULT_OK;

	for (size_t i = 0; i < model->count; i++)
		if (naive_is_asked(&model->leases[i], request) &&
		    naive_is_guarded(&model->leases[i]))
			result = RESULT_FOREIGN;
	for (size_t i = model->count; i-- > 0;)
		if (naive_is_asked(&model->leases[i], request) &&
		    !naive_is_guarded(&model->leases[i]) &&
		    (result == RESULT_OK || request->op == REQUEST_UNMAP_ALL))
			naive_remove_at(model, i);
	return naive_expect(reply, result);
}

/* IGD-24: what is the owner's, by either protocol, or nobody's. */
static enum result naive_get_refusal(const struct model *model,
				     const struct request *request)
{
	if (request->origin == ORIGIN_STATIC)
		return RESULT_CONFLICT;
	if (request->protocol == IPPROTO_UDP &&
	    (request->external_port == 5350 || request->external_port == 5351))
		return RESULT_WITHHELD;
	for (size_t i = 0; i < model->count; i++) {
		const struct naive_lease *lease = &model->leases[i];

		if (lease->origin == ORIGIN_STATIC && addr_is_ipv4(&lease->internal) &&
		    lease->external_port == request->external_port &&
		    addr_is_none(&lease->remote))
			return RESULT_WITHHELD;
	}
	return RESULT_CONFLICT;
}

const struct naive_lease *naive_narrows(struct model *model,
					const struct request *request)
{
	struct naive_lease like = naive_from(model, request, request->external_port);
	const struct naive_lease *open;

	if (request->origin == ORIGIN_STATIC || addr_is_none(&request->remote))
		return NULL;
	memset(&like.remote, 0, sizeof(like.remote));
	open = naive_find_external(model, &like);
	return open && (open->has_nonce || open->origin == ORIGIN_STATIC) &&
			       open->internal_port != request->internal_port &&
			       addr_equal(&open->internal, &request->internal)
		       ? open
		       : NULL;
}

static enum result naive_overwrite_result(const struct request *request,
					  const struct naive_lease *lease)
{
	bool owner = request->origin == ORIGIN_STATIC;

	if (!owner && lease->origin == ORIGIN_STATIC)
		return RESULT_WITHHELD;
	if (!addr_equal(&lease->internal, &request->internal))
		return RESULT_CONFLICT;
	return !owner && lease->has_nonce ? RESULT_FOREIGN : RESULT_OK;
}

static enum result naive_add_result(struct model *model, const struct request *request,
				    const struct naive_lease *lease,
				    const struct naive_lease *after)
{
	bool owner = request->origin == ORIGIN_STATIC;
	const struct naive_lease *narrowed = naive_narrows(model, request);
	enum result quota;

	if (!owner && request->external_port < 1024)
		return RESULT_DENIED;
	if (narrowed && !(lease && lease->internal_port == request->internal_port))
		return narrowed->origin == ORIGIN_STATIC ? RESULT_WITHHELD
							 : RESULT_CONFLICT;
	if (!addr_is_ipv4(&request->internal) && naive_clashes(model, after))
		return RESULT_CONFLICT;
	if (lease)
		return naive_overwrite_result(request, lease);
	if (naive_quota(model, request, &quota) == 0)
		return quota;
	if (request->protocol == IPPROTO_UDP &&
	    (request->external_port == 5350 || request->external_port == 5351))
		return naive_get_refusal(model, request);
	return naive_port_free(model, request->external_port, &request->internal)
		       ? RESULT_OK
		       : naive_get_refusal(model, request);
}

static const char *naive_add(struct model *model, const struct request *request,
			     const struct reply *reply)
{
	struct naive_lease after = naive_from(model, request, request->external_port);
	struct naive_lease *lease = naive_find_external(model, &after);
	enum result result = naive_add_result(model, request, lease, &after);

	if (result == RESULT_OK) {
		/* of a set the others end with the one that is overwritten */
		for (size_t i = model->count; lease && i-- > 0;)
			if (&model->leases[i] != lease &&
			    naive_is_with(&model->leases[i], lease))
				model->leases[i].expires_ms = 0;
		if (lease)
			after.pinhole = lease->pinhole;
		else
			lease = &model->leases[model->count++];
		*lease = after;
		naive_expire(model);
	}
	return naive_expect(reply, result);
}

static const char *naive_delete(struct model *model, const struct request *request,
				const struct reply *reply)
{
	struct naive_lease like = naive_from(model, request, request->external_port);
	struct naive_lease *lease = naive_find_external(model, &like);
	enum result result = RESULT_OK;

	if (!lease)
		return naive_expect(reply, RESULT_NO_ENTRY);
	if (request->origin != ORIGIN_STATIC &&
	    (lease->origin == ORIGIN_STATIC || lease->has_nonce ||
	     !addr_equal(&lease->internal, &request->client)))
		result = RESULT_FOREIGN;
	if (result == RESULT_OK)
		naive_remove(model, lease);
	return naive_expect(reply, result);
}

static const char *naive_do(struct model *model, const struct request *request,
			    const struct reply *reply)
{
	switch ((enum request_op)request->op) {
	case REQUEST_MAP:
		return request->origin == ORIGIN_PCP
			       ? naive_pcp_map(model, request, reply)
			       : naive_map(model, request, reply);
	case REQUEST_UNMAP:
	case REQUEST_UNMAP_ALL:
		return request->origin == ORIGIN_PCP
			       ? naive_pcp_unmap(model, request, reply)
			       : naive_unmap(model, request, reply);
	case REQUEST_ADD:
		return naive_add(model, request, reply);
	case REQUEST_DELETE:
		return naive_delete(model, request, reply);
	case REQUEST_PEER:
		return naive_pcp_peer(model, request, reply);
	case REQUEST_TRAFFIC:
		break;
	case REQUEST_GET:
	case REQUEST_INDEX:
	case REQUEST_ADD_ANY:
	case REQUEST_DELETE_RANGE:
	case REQUEST_LIST:
	case REQUEST_PINHOLE:
	case REQUEST_PINHOLE_UPDATE:
	case REQUEST_PINHOLE_DELETE:
	case REQUEST_PINHOLE_GET:
		return naive_upnp(model, request, reply);
	}
	return NULL;
}

/* --- invariants --- */

static uint8_t lease_get_card(const struct lease *lease)
{
	return lease->has_mac ? lease->mac[LEASE_MAC_SIZE - 1] : 0;
}

/* Whose it is, is the ledger's to say; but it stays so over a restart. */
static const char *check_lease(struct model *model, const struct lease *lease,
			       bool restarted)
{
	struct naive_lease like = {.protocol = lease->protocol,
				   .internal = lease->internal,
				   .remote = lease->remote,
				   .external_port = lease->external_port,
				   .remote_port = lease->remote_port};
	struct naive_lease *naive = naive_find_external(model, &like);

	if (!naive)
		return "the table has a lease that the naive one has not";
	if (!addr_equal(&naive->internal, &lease->internal) ||
	    naive->internal_port != lease->internal_port ||
	    naive->enabled != lease->enabled || naive->expires_ms != lease->expires_ms)
		return "a lease differs from the naive one";
	if (naive->origin != lease->origin || naive->has_nonce != lease->has_nonce ||
	    (naive->has_nonce && naive->nonce != lease->nonce[0]) ||
	    naive->pinhole != lease->pinhole || naive->set_first != lease->set_first ||
	    naive->set_count != lease->set_count ||
	    naive->filters != naive_get_filters(lease->filters, lease->filter_count) ||
	    strcmp(naive->text, lease_get_description(lease)) != 0)
		return "a lease has other terms of PCP than the naive one";
	if (restarted && naive->card != lease_get_card(lease))
		return "a lease is another machine's than before the restart";
	naive->card = lease_get_card(lease);
	if (table_get_by_external(model->ledger->table, lease) != lease)
		return "a lease is not found by its external key";
	return NULL;
}

/* A set is whole: consecutive ports inside and outside, with one end. */
static const char *check_set(const struct model *model, const struct lease *lease)
{
	uint32_t first = (uint32_t)(lease->external_port - lease->internal_port +
				    lease->set_first);

	for (uint32_t i = 0; i < lease->set_count; i++) {
		struct lease like = *lease;
		const struct lease *part;

		like.external_port = (uint16_t)(first + i);
		part = table_get_by_external(model->ledger->table, &like);
		if (!part || part->internal_port != lease->set_first + i ||
		    part->set_first != lease->set_first ||
		    part->set_count != lease->set_count ||
		    part->expires_ms != lease->expires_ms)
			return "a set is not whole";
	}
	return NULL;
}

static const char *check_outbound(const struct model *model, const struct lease *lease)
{
	const struct lease *at =
		table_get_by_internal(model->ledger->table, &lease->internal,
				      lease->protocol, lease->internal_port);
	size_t outbound = 0, enabled = 0, seen = 0;

	for (; at; at = table_get_next_of_internal(model->ledger->table, at)) {
		outbound += at->outbound;
		enabled += at->enabled;
		seen += at == lease;
		if (at->outbound && !at->enabled)
			return "an entry that forwards nothing has the outbound port";
	}
	if (seen != 1)
		return "a lease is not found once by its internal endpoint";
	if (outbound != (enabled > 0 ? 1 : 0))
		return "not exactly one lease of an endpoint has the outbound port";
	return NULL;
}

struct dump {
	struct model *model;
	size_t count;
	bool wrong;
};

static int dump_visit(void *user, const struct rule *rule)
{
	struct dump *dump = user;
	const struct table *table = dump->model->ledger->table;
	const struct lease *lease = NULL;

	dump->count++;
	while ((lease = table_get_next(table, lease))) {
		struct rule want = books_get_rule(&dump->model->ledger->books, lease,
						  dump->model->at.now_ms);

		if (lease->enabled && rule_equal(&want, rule))
			return 0;
	}
	dump->wrong = true;
	return 0;
}

static const char *check_all(struct model *model, bool restarted)
{
	const struct table *table = model->ledger->table;
	const struct lease *lease = NULL;
	struct dump dump = {.model = model};
	size_t enabled = 0, listed = 0;
	const char *wrong;

	if (table_get_count(table) != model->count)
		return "the table and the naive one differ in number";
	while ((lease = table_get_next(table, lease))) {
		wrong = check_lease(model, lease, restarted);
		if (!wrong)
			wrong = check_outbound(model, lease);
		if (!wrong)
			wrong = check_set(model, lease);
		if (wrong)
			return wrong;
		enabled += lease->enabled;
		listed += addr_is_ipv4(&lease->internal) && lease->remote_port == 0;
	}
	for (size_t i = 0; i < listed; i++)
		if (!table_get_by_index(table, 0, i))
			return "an index below the number of leases has none";
	if (table_get_by_index(table, 0, listed))
		return "an index beyond the number of leases has one";
	if (table_get_enabled_count(table) != enabled)
		return "the table miscounts those that are enabled";
	wrong = naive_upnp_check(model);
	if (wrong)
		return wrong;
	if (model->ledger->books.backend_ops->dump(model->ledger->books.backend,
						   dump_visit, &dump) != 0 ||
	    dump.wrong || dump.count != enabled)
		return "the backend holds other rules than the table says";
	return NULL;
}

/* Close and open again: what the store held must be what the table was. */
static const char *model_restart(struct model *model)
{
	if (model->conf.global.state_dir[0] == '\0')
		return NULL; /* without a store there is nothing to come back to */
	ledger_close(model->ledger);
	model_open(model);
	/* resting ports are not kept over a restart */
	model->rest_count = 0;
	return check_all(model, true);
}

/* --- operations from bytes --- */

uint8_t naive_take(const uint8_t **bytes, size_t *length)
{
	if (*length == 0)
		return 0;
	(*length)--;
	return *(*bytes)++;
}

/* The owner knows pinholes too, of one remote host or of all. */
static void fill_owners_pinhole(uint8_t bits, struct request *request)
{
	request->internal = naive_host(HOSTS_IPV4 + (bits & 1));
	request->client = request->internal;
	request->external_port = request->internal_port;
	if (bits & 0x80)
		request->remote = naive_address("2001:db8:96::1");
}

static void fill_request(const uint8_t **bytes, size_t *length, struct request *request)
{
	static const uint16_t internal_ports[] = {22, 5000, 5001, 5351};
	static const uint16_t external_ports[] = {0, 80, 5000, 5001, 5351, 65535};
	static const uint32_t lifetimes[] = {0, 1, 2, 60, 7200, UINT32_MAX};
	static const uint8_t ops[] = {REQUEST_MAP,    REQUEST_MAP, REQUEST_UNMAP,
				      REQUEST_ADD,    REQUEST_ADD, REQUEST_UNMAP_ALL,
				      REQUEST_DELETE, REQUEST_ADD};
	uint8_t op = naive_take(bytes, length);
	uint8_t ports = naive_take(bytes, length);
	uint8_t more = naive_take(bytes, length);

	memset(request, 0, sizeof(*request));
	request->op = ops[op % 8];
	request->protocol = op & 0x80 ? IPPROTO_TCP : IPPROTO_UDP;
	request->internal = naive_host((op >> 3 & 0xf) % HOSTS_IPV4);
	request->client = request->internal;
	request->internal_port = internal_ports[ports % 4];
	request->external_port = external_ports[(ports >> 2) % 6];
	request->lifetime_s = lifetimes[(more & 0x0f) % 6];
	request->enabled = 1;
	if (request->op == REQUEST_ADD || request->op == REQUEST_DELETE) {
		request->origin = more & 0x40 ? ORIGIN_STATIC : ORIGIN_IGD;
		request->enabled = more & 0x20 ? 0 : 1;
		if (request->external_port == 0)
			request->external_port = 1;
		if (more & 0x80)
			request->remote = naive_address("203.0.113.9");
		if (request->op == REQUEST_ADD && (more & 0x50) == 0x50)
			fill_owners_pinhole(more, request);
	} else {
		request->origin = ORIGIN_NATPMP;
		request->lifetime_s += request->op == REQUEST_MAP ? 1 : 0;
		if (request->lifetime_s == 0)
			request->lifetime_s = UINT32_MAX;
	}
}

/*
 * faults: how many times the kernel refuses. Once, and the group is tried one by one;
 * twice, and the request is refused and must have changed nothing.
 */
static const char *step_request(struct model *model, const uint8_t **bytes,
				size_t *length, uint8_t kind)
{
	int faults = kind < 34 ? 2 : kind < 40 ? 1 : 0;
	struct request request;
	struct reply reply;
	uint64_t face;
	uint32_t update_id;

	if (kind >= 200 || (kind < 40 && kind % 4 == 1))
		naive_fill_upnp(model, bytes, length, &request);
	else if (kind >= 140 || (kind < 40 && kind % 2 == 0))
		naive_fill_pcp(bytes, length, &request);
	else
		fill_request(bytes, length, &request);
	face = naive_get_face(model);
	update_id = ledger_get_update_ids(model->ledger)[0];
	model->faults = faults;
	plan_fault(model);
	ledger_decide(model->ledger, &request, 1, &reply, &model->at);
	memory_plan_fault(model->ledger->books.backend, 0, 0);
	model->faults = 0;
	update_id = ledger_get_update_ids(model->ledger)[0] - update_id;
	if (update_id != (naive_get_face(model) != face))
		return "an operation was not counted as one, or as none";
	if (faults == 2 && reply.result == RESULT_BACKEND)
		return NULL;
	return naive_do(model, &request, &reply);
}

static const char *step_time(struct model *model, uint8_t amount)
{
	static const int64_t steps_ms[] = {1,	  999,	  1000,	   2000,
					   61000, 121000, 8000000, 90000000};

	model->at.now_ms += steps_ms[amount % 8];
	model->at.wall_ms += steps_ms[amount % 8];
	while (ledger_get_due(model->ledger) <= model->at.now_ms)
		(void)ledger_expire(model->ledger, &model->at);
	naive_expire(model);
	return NULL;
}

static const char *model_step(struct model *model, const uint8_t **bytes,
			      size_t *length)
{
	uint8_t kind = naive_take(bytes, length);

	if (kind < 12)
		return step_time(model, naive_take(bytes, length));
	if (kind < 24)
		return naive_step_machine(model, bytes, length);
	if (kind < 27)
		return model_restart(model);
	if (kind == 27)
		model->conf.global.pcp_nonce_relaxed ^= true;
	return step_request(model, bytes, length, kind);
}

/* Revoking one port of a set revokes all. */
static bool set_is_there(const struct model *model, const struct lease *ended)
{
	const struct lease *lease = NULL;

	while ((lease = table_get_next(model->ledger->table, lease)))
		if (lease->set_first == ended->set_first &&
		    lease->set_count == ended->set_count &&
		    lease->protocol == ended->protocol &&
		    addr_equal(&lease->internal, &ended->internal))
			return true;
	return false;
}

static void model_clear(struct model *model)
{
	struct store_time *at = &model->at;
	const struct lease *lease;
	struct lease ended;

	while ((lease = table_get_next(model->ledger->table, NULL)))
		if (ledger_end(model->ledger, lease->id, at, &ended) != RESULT_OK ||
		    (ended.set_count > 0 && set_is_there(model, &ended)))
			abort();
	at->now_ms += PORT_REST_MS;
	at->wall_ms += PORT_REST_MS;
	(void)ledger_expire(model->ledger, at);
	model->count = 0;
	model->rest_count = 0;
	model->conf.global.pcp_nonce_relaxed = false;
	naive_reset_cards(model);
}

const char *model_run(struct model *model, const uint8_t *bytes, size_t length)
{
	const char *wrong = NULL;

	while (length > 0 && !wrong) {
		wrong = model_step(model, &bytes, &length);
		if (!wrong)
			wrong = check_all(model, false);
	}
	model_clear(model);
	return wrong;
}
