/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a worker that was taken over may send: any octets in place of struct request.
 * Core checks them, and what passes goes through policy, table and backend.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "base/log.h"
#include "daemon/admission.h"
#include "daemon/ledger.h"
#include "daemon/table.h"

#define NOW_MS 1000000

static void nothing_lease(void *user, enum lease_event event, const struct lease *lease)
{
	(void)user;
	(void)event;
	(void)lease;
}

static void nothing_disturbed(void *user)
{
	(void)user;
}

static void fill_network(struct network *network)
{
	struct lan_info *lan = &network->lans[0];

	memset(network, 0, sizeof(*network));
	network->wan.present = true;
	network->wan.ifindex = 1;
	network->lan_count = 1;
	lan->ifindex = 2;
	lan->protocols = LAN_PROTOCOL_UPNP | LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP;
	lan->address_count = 1;
	lan->network_count = 3;
	if (!addr_parse("203.0.113.1", &network->wan.address) ||
	    !addr_parse("192.168.77.1", &lan->addresses[0].addr) ||
	    !prefix_parse("192.168.77.0/24", &lan->networks[0]) ||
	    !prefix_parse("2001:db8:77::/64", &lan->networks[1]) ||
	    !prefix_parse("fe80::/64", &lan->networks[2]))
		abort();
	network->wan.external = network->wan.address;
}

struct target {
	struct conf conf;
	struct network network;
	struct ledger *ledger;
};

/* One ledger for all inputs, emptied after each. */
static struct target *get_target(void)
{
	static const struct ledger_events events = {.lease = nothing_lease,
						    .disturbed = nothing_disturbed};
	static struct target target;
	struct ledger_setup setup = {.conf = &target.conf,
				     .network = &target.network,
				     .backend = backend_get_memory(),
				     .events = &events,
				     .at = {.now_ms = NOW_MS, .wall_ms = NOW_MS}};

	if (target.ledger)
		return &target;
	log_init("fuzz", LOG_LEVEL_ERROR);
	conf_init(&target.conf);
	target.conf.global.state_dir[0] = '\0';
	target.conf.limits.requests_per_second = 0;
	fill_network(&target.network);
	if (ledger_open(&setup, &target.ledger) != 0 ||
	    ledger_set_network(target.ledger, &target.network, NOW_MS) != 0)
		abort();
	return &target;
}

static void clear(struct target *target)
{
	const struct store_time at = {.now_ms = NOW_MS, .wall_ms = NOW_MS};
	const struct lease *lease;
	struct lease ended;

	while ((lease = table_get_next(ledger_get_table(target->ledger), NULL)))
		if (ledger_end(target->ledger, lease->id, &at, &ended) != RESULT_OK)
			abort();
}

/* Every port of a set is there, inside and outside one after the other (PCP-116). */
static bool set_is_whole(const struct table *table, const struct lease *lease)
{
	for (uint16_t i = 0; i < lease->set_count; i++) {
		struct lease like = *lease;
		const struct lease *part;

		like.external_port =
			(uint16_t)(lease->external_port - lease->internal_port +
				   lease->set_first + i);
		part = table_get_by_external(table, &like);
		if (!part || part->internal_port != lease->set_first + i ||
		    part->set_first != lease->set_first ||
		    part->set_count != lease->set_count ||
		    part->expires_ms != lease->expires_ms)
			return false;
	}
	return true;
}

/* No policy here grants anything for other hosts, so each lease is its client's. */
static void check_table(const struct target *target)
{
	const struct table *table = ledger_get_table(target->ledger);
	const struct lease *lease = NULL;

	while ((lease = table_get_next(table, lease)))
		if (!addr_equal(&lease->internal, &lease->client) ||
		    addr_is_link_local(&lease->internal) ||
		    lease->filter_count > target->conf.limits.filters_per_lease ||
		    lease->set_count > target->conf.limits.ports_per_request ||
		    (!addr_is_ipv4(&lease->internal) &&
		     lease->external_port != lease->internal_port) ||
		    (lease->pinhole != 0 &&
		     (addr_is_ipv4(&lease->internal) ||
		      table_get_by_pinhole(table, lease->pinhole) != lease)) ||
		    !set_is_whole(table, lease))
			abort();
}

/* A list tells of no other host's lease, and ends. */
static void check_list(struct target *target, const struct request *request,
		       const struct reply *reply)
{
	const struct store_time at = {.now_ms = NOW_MS, .wall_ms = NOW_MS};
	struct reply page[REQUEST_LIST_MAX + 1];
	size_t count = ledger_list(target->ledger, request, reply, &at, page);

	if (count == 0 || count > REQUEST_LIST_MAX + 1 || page[count - 1].more != 0)
		abort();
	for (size_t i = 0; i + 1 < count; i++)
		if (page[i].more != 1 || page[i].protocol != request->protocol ||
		    !addr_equal(&page[i].internal, &request->client))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct store_time at = {.now_ms = NOW_MS, .wall_ms = NOW_MS};
	struct target *target = get_target();
	struct request request;
	struct reply reply;

	for (; size >= sizeof(request);
	     data += sizeof(request), size -= sizeof(request)) {
		memcpy(&request, data, sizeof(request));
		if (admission_check(&target->network,
				    LAN_PROTOCOL_UPNP | LAN_PROTOCOL_NATPMP |
					    LAN_PROTOCOL_PCP,
				    &request) ||
		    !admission_is_host(&target->network, &request))
			continue;
		ledger_decide(target->ledger, &request, 1, &reply, &at);
		/* whatever it asked, nothing may stand that is not the client's own */
		if (reply.result == RESULT_OK &&
		    (request.op == REQUEST_MAP || request.op == REQUEST_PEER) &&
		    !addr_equal(&reply.internal, &request.client))
			abort();
		if (request.op == REQUEST_LIST)
			check_list(target, &request, &reply);
		check_table(target);
	}
	clear(target);
	return 0;
}
