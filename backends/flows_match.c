/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which flows are to be ended. */
#include "backends/flows.h"

#include <arpa/inet.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>

#include "base/sorted.h"

int flows_match_compare(const void *a, const void *b)
{
	const struct flows_ended *left = a;
	const struct flows_ended *right = b;

	if (left->protocol != right->protocol)
		return left->protocol < right->protocol ? -1 : 1;
	return (left->external_port > right->external_port) -
	       (left->external_port < right->external_port);
}

/* True when a rule with this protocol, external port and internal endpoint ended. */
static bool has_ended(const struct flows_endings *endings,
		      const struct flows_ended *wanted)
{
	size_t i =
		sorted_find_first(endings->items, endings->count,
				  sizeof(*endings->items), wanted, flows_match_compare);

	for (; i < endings->count; i++) {
		const struct flows_ended *ended = &endings->items[i];

		if (flows_match_compare(ended, wanted) != 0)
			return false;
		if (ended->internal_port == wanted->internal_port &&
		    addr_equal(&ended->internal, &wanted->internal))
			return true;
	}
	return false;
}

static uint16_t get_port(const struct nf_conntrack *flow, enum nf_conntrack_attr field)
{
	return ntohs(nfct_get_attr_u16(flow, field));
}

/* Came in through a mapping: whom it answers from is the internal endpoint. */
static bool read_inbound(const struct nf_conntrack *flow, struct flows_key *out)
{
	const void *internal;
	const void *peer;

	*out = (struct flows_key){
		.protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO),
		.external_port = get_port(flow, ATTR_ORIG_PORT_DST),
		.internal_port = get_port(flow, ATTR_REPL_PORT_SRC),
		.peer_port = get_port(flow, ATTR_ORIG_PORT_SRC),
	};
	if (nfct_get_attr_u8(flow, ATTR_ORIG_L3PROTO) == AF_INET6) {
		internal = nfct_get_attr(flow, ATTR_REPL_IPV6_SRC);
		peer = nfct_get_attr(flow, ATTR_ORIG_IPV6_SRC);
		if (!internal || !peer)
			return false;
		out->internal = addr_from_ipv6(internal);
		out->peer = addr_from_ipv6(peer);
		return true;
	}
	out->internal = addr_from_ipv4(
		(struct in_addr){nfct_get_attr_u32(flow, ATTR_REPL_IPV4_SRC)});
	out->peer = addr_from_ipv4(
		(struct in_addr){nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_SRC)});
	return (nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) != 0;
}

bool flows_match_has_address(const struct flows *flows, uint32_t address)
{
	for (size_t i = 0; i < flows->address_count; i++)
		if (flows->addresses[i].s_addr == address)
			return true;
	return false;
}

/* Another rule may share port and endpoint, and admit the flow's peer. */
static bool is_admitted(struct flows *flows, const struct nf_conntrack *flow,
			const struct flows_key *key)
{
	if (addr_is_ipv4(&key->internal) &&
	    !flows_match_has_address(flows,
				     nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST)))
		return false;
	return flows->judge->admits(flows->judge_user, key);
}

bool flows_match_inbound(struct flows *flows, const struct nf_conntrack *flow)
{
	struct flows_key key;
	struct flows_ended wanted;

	if (!read_inbound(flow, &key))
		return false;
	wanted = (struct flows_ended){
		.protocol = key.protocol,
		.external_port = key.external_port,
		.internal_port = key.internal_port,
		.internal = key.internal,
	};
	return has_ended(&flows->ended, &wanted) && !is_admitted(flows, flow, &key);
}

/* Left through a mapping: answers are addressed to its external port. */
bool flows_match_outbound(struct flows *flows, const struct nf_conntrack *flow)
{
	struct flows_ended wanted = {
		.protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO),
		.external_port = get_port(flow, ATTR_REPL_PORT_DST),
		.internal_port = get_port(flow, ATTR_ORIG_PORT_SRC),
		.internal = addr_from_ipv4(
			(struct in_addr){nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_SRC)}),
	};
	const struct flows_key key = {
		.protocol = wanted.protocol,
		.external_port = wanted.external_port,
		.internal_port = wanted.internal_port,
		.internal = wanted.internal,
	};

	return (nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_SRC_NAT) &&
	       !(nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) &&
	       has_ended(&flows->left, &wanted) &&
	       !(flows_match_has_address(flows,
					 nfct_get_attr_u32(flow, ATTR_REPL_IPV4_DST)) &&
		 flows->judge->translates(flows->judge_user, &key));
}

/* Let in by a rule of which nothing is known any more: it timed out, or was removed. */
bool flows_match_orphan(struct flows *flows, const struct nf_conntrack *flow)
{
	struct flows_key key;

	if (flows_match_inbound(flows, flow))
		return true;
	if (!(nfct_get_attr_u32(flow, ATTR_MARK) & flows->mark) ||
	    !read_inbound(flow, &key))
		return false;
	/* While the WAN lacks an address, rules for it may be on their way. */
	if (addr_is_ipv4(&key.internal) &&
	    !flows_match_has_address(flows,
				     nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST)))
		return false;
	return flows->judge->rejects(flows->judge_user, &key);
}

uint8_t *flows_match_find_begun(const struct flows *flows, uint8_t protocol,
				uint16_t port)
{
	return flows->begun + (protocol == IPPROTO_UDP ? FLOWS_PORTS_SIZE : 0) +
	       port / 8;
}

bool flows_match_has_begun(const struct flows *flows, uint8_t protocol, uint16_t port)
{
	return (*flows_match_find_begun(flows, protocol, port) & 1U << port % 8) != 0;
}

static bool is_fresh(const struct flows *flows, uint16_t port)
{
	return (flows->fresh[port / 8] & 1U << port % 8) != 0;
}

bool flows_match_fresh(struct flows *flows, const struct nf_conntrack *flow)
{
	return nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO) == IPPROTO_UDP &&
	       flows_match_has_address(flows,
				       nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST)) &&
	       !(nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) &&
	       is_fresh(flows, get_port(flow, ATTR_ORIG_PORT_DST));
}

/*
 * Another host's flow may own the external port already, since the host's masquerade
 * keeps ports where it can. Then the peer's packets go to that host, and packets of the
 * mapped host to the peer are dropped.
 */
bool flows_match_foreign(struct flows *flows, const struct nf_conntrack *flow)
{
	uint32_t status = nfct_get_attr_u32(flow, ATTR_STATUS);
	uint8_t protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO);
	const struct flows_key key = {
		.protocol = protocol,
		.external_port = get_port(flow, ATTR_REPL_PORT_DST),
		.internal_port = get_port(flow, ATTR_ORIG_PORT_SRC),
		.internal = addr_from_ipv4(
			(struct in_addr){nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_SRC)}),
	};

	return (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) &&
	       (status & IPS_SRC_NAT) && !(status & IPS_DST_NAT) &&
	       flows_match_has_address(flows,
				       nfct_get_attr_u32(flow, ATTR_REPL_IPV4_DST)) &&
	       flows_match_has_begun(flows, protocol, key.external_port) &&
	       flows->judge->is_foreign(flows->judge_user, &key);
}

static const struct flows_gone *find_gone(const struct flows *flows, uint32_t address)
{
	for (size_t i = 0; i < flows->gone_count; i++)
		if (flows->gone[i].address.s_addr == address)
			return flows_match_has_address(flows, address)
				       ? NULL
				       : &flows->gone[i];
	return NULL;
}

/* Translated from or to an address that is no more: nothing can come back to it. */
static bool match_gone(struct flows *flows, const struct nf_conntrack *flow)
{
	uint32_t status = nfct_get_attr_u32(flow, ATTR_STATUS);
	const struct flows_gone *gone = NULL;

	if (status & IPS_DST_NAT)
		gone = find_gone(flows, nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST));
	if (gone && nfct_get_attr_u32(flow, ATTR_MARK) & flows->mark)
		return true;
	if (!gone && status & IPS_SRC_NAT)
		gone = find_gone(flows, nfct_get_attr_u32(flow, ATTR_REPL_IPV4_DST));
	return gone && gone->whole;
}

/* The searches above as one, where the kernel has left nothing out. */
bool flows_match_any(struct flows *flows, const struct nf_conntrack *flow)
{
	bool marked = (nfct_get_attr_u32(flow, ATTR_MARK) & flows->mark) != 0;
	bool ipv4 = nfct_get_attr_u8(flow, ATTR_ORIG_L3PROTO) == AF_INET;

	if (marked && flows->has_orphans && flows_match_orphan(flows, flow))
		return true;
	if (marked && flows->ended.count > 0 && flows_match_inbound(flows, flow))
		return true;
	if (!ipv4)
		return false;
	return (flows->left.count > 0 && flows_match_outbound(flows, flow)) ||
	       (flows->has_fresh && flows_match_fresh(flows, flow)) ||
	       (flows->begun_count > 0 && flows_match_foreign(flows, flow)) ||
	       (flows->gone_count > 0 && match_gone(flows, flow));
}
