/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules of one lease. */
#include "backends/ipt.h"

#include <string.h>

static struct prefix get_host(const struct ip_addr *addr)
{
	return (struct prefix){.addr = *addr, .length = 128};
}

static struct ipt_ports get_port(uint16_t port)
{
	return (struct ipt_ports){port, port};
}

/* One rule for each peer, or one for all. */
static unsigned int get_peers(const struct rule *rule, struct rule_peers *peers)
{
	if (rule_get_peers(rule, peers) < 0)
		return 0;
	if (peers->any)
		peers->items[0] = (struct rule_filter){0};
	return peers->any ? 1 : peers->count;
}

/*
 * Of both directions, whatever else translates: the connection tells the lease. A goto,
 * so that a packet counts once, and the chain's end is that of the whole walk.
 */
void ipt_lease_add_mark(const struct rule *rule, struct ipt_list *list)
{
	bool ipv4 = addr_is_ipv4(&rule->internal);
	struct rule_peers peers;
	unsigned int count = get_peers(rule, &peers);
	struct ipt_spec spec = {
		.protocol = rule->protocol,
		.original_ports = get_port(rule->external_port),
		.action = IPT_DO_GOTO,
		.chain = rule->flow ? IPT_CHAIN_FLOW : IPT_CHAIN_SET,
	};

	if (ipv4) {
		spec.reply_source = get_host(&rule->internal);
		spec.reply_port = rule->internal_port;
	} else {
		spec.original_destination = get_host(&rule->internal);
	}
	for (unsigned int i = 0; i < count; i++) {
		spec.original_source = peers.items[i].prefix;
		spec.peer_port = peers.items[i].port;
		ipt_list_add(list, &spec);
	}
}

void ipt_lease_add_dnat(const struct rule *rule, struct ipt_list *list)
{
	struct rule_peers peers;
	unsigned int count = get_peers(rule, &peers);
	struct ipt_spec spec = {
		.protocol = rule->protocol,
		.destination_ports = get_port(rule->external_port),
		.action = IPT_DO_DNAT,
		.to = rule->internal,
		.to_port = rule->internal_port,
	};

	for (unsigned int i = 0; i < count; i++) {
		spec.source = peers.items[i].prefix;
		spec.source_ports = get_port(peers.items[i].port);
		ipt_list_add(list, &spec);
	}
}

void ipt_lease_add_snat(const struct rule *rule, bool flow, struct ipt_list *list)
{
	struct ipt_spec spec = {
		.protocol = rule->protocol,
		.source = get_host(&rule->internal),
		.source_ports = get_port(rule->internal_port),
		.action = IPT_DO_SNAT,
		.to = rule->external,
		.to_port = rule->external_port,
	};

	if (flow) {
		spec.destination = rule->filters[0].prefix;
		spec.destination_ports = get_port(rule->filters[0].port);
	}
	ipt_list_add(list, &spec);
}

/* --- many in one rule --- */

/* A rule with what its slots have. */
static void flush(struct ipt_spec *spec, struct ipt_list *list)
{
	if (spec->slot_count == 0)
		return;
	ipt_list_add(list, spec);
	memset(spec->slots, 0, sizeof(spec->slots));
	memset(spec->ranges, 0, sizeof(spec->ranges));
	spec->slot_count = 0;
}

static void add_for_ports(struct ipt_spec *spec, const uint16_t *ports, size_t count,
			  struct ipt_list *list)
{
	for (size_t first = 0, last; first < count; first = last + 1) {
		last = first;
		while (last + 1 < count && ports[last + 1] == ports[last] + 1)
			last++;
		if (spec->slot_count + 2 > IPT_SLOTS_MAX)
			flush(spec, list);
		spec->ranges[spec->slot_count] = last > first;
		spec->slots[spec->slot_count++] = ports[first];
		if (last > first)
			spec->slots[spec->slot_count++] = ports[last];
	}
	flush(spec, list);
}

void ipt_lease_add_held(unsigned int protocol, const uint16_t *ports, size_t count,
			struct ipt_list *list)
{
	struct ipt_spec spec = {
		.protocol = protocol ? IPPROTO_UDP : IPPROTO_TCP,
		.action = IPT_DO_GOTO,
		.chain = IPT_CHAIN_HELD,
	};

	add_for_ports(&spec, ports, count, list);
}

void ipt_lease_add_dnats(const struct rule *rule, const uint16_t *ports, size_t count,
			 struct ipt_list *list)
{
	struct ipt_spec spec = {
		.protocol = rule->protocol,
		.slots_are_destinations = true,
		.action = IPT_DO_DNAT,
		.to = rule->internal,
	};

	add_for_ports(&spec, ports, count, list);
}
