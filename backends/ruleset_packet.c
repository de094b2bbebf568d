/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* Bits of the state as the kernel's expression and match have them. */
#define STATE_INVALID 0x01
#define STATE_ESTABLISHED 0x02
#define STATE_NEW 0x08
#define XT_STATE_SNAT 0x40
#define XT_STATE_DNAT 0x80
/* What a connection's status cannot have before its first packet has passed. */
#define STATUS_LATER                                                                   \
	(IPS_EXPECTED | IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED | IPS_SRC_NAT)
/* Places in the headers. */
#define IPV4_FRAGMENT 6
#define IPV4_PROTOCOL 9
#define IPV4_SOURCE 12
#define IPV6_NEXT 6
#define IPV6_SOURCE 8
#define TCP_FLAGS 13
#define TCP_SYN 0x02
#define TCP_ALL 0x3f /* without those of congestion */

static void set_octets(struct ruleset_octets *octets, size_t at, const void *value,
		       size_t length)
{
	memcpy(octets->value + at, value, length);
	memset(octets->known + at, 0xff, length);
}

/* A number in the order of the host: the rest of its register is zero. */
static void set_number(struct ruleset_view *view, enum ruleset_field field,
		       uint32_t value)
{
	set_octets(&view->fields[field], 0, &value, sizeof(value));
}

static void set_octet(struct ruleset_view *view, enum ruleset_field field,
		      uint8_t value)
{
	const uint8_t octets[4] = {value};

	set_octets(&view->fields[field], 0, octets, sizeof(octets));
}

/* A number of which only some bits are known. */
static void set_bits(struct ruleset_view *view, enum ruleset_field field,
		     uint32_t value, uint32_t known)
{
	struct ruleset_octets *octets = &view->fields[field];

	value &= known;
	memcpy(octets->value, &value, sizeof(value));
	memcpy(octets->known, &known, sizeof(known));
}

/* Before the packet is routed nobody knows where it leaves. */
static bool is_before_route(uint8_t hook)
{
	return hook == NF_INET_INGRESS || hook == NF_INET_PRE_ROUTING;
}

static void set_links(struct ruleset_view *view, const struct ruleset *ruleset,
		      uint8_t hook, const struct packet *packet)
{
	char in[IF_NAMESIZE] = "";
	char out[IF_NAMESIZE] = "";

	memcpy(in, packet->in, strnlen(packet->in, sizeof(in) - 1));
	if (!is_before_route(hook))
		memcpy(out, packet->out, strnlen(packet->out, sizeof(out) - 1));
	set_octets(&view->fields[RULESET_FIELD_IN_NAME], 0, in, sizeof(in));
	set_octets(&view->fields[RULESET_FIELD_OUT_NAME], 0, out, sizeof(out));
	if (in[0] == '\0')
		set_number(view, RULESET_FIELD_IN_INDEX, 0);
	if (out[0] == '\0')
		set_number(view, RULESET_FIELD_OUT_INDEX, 0);
	for (const struct if_nameindex *link = ruleset->links; link && link->if_name;
	     link++) {
		if (strcmp(link->if_name, in) == 0)
			set_number(view, RULESET_FIELD_IN_INDEX, link->if_index);
		if (strcmp(link->if_name, out) == 0)
			set_number(view, RULESET_FIELD_OUT_INDEX, link->if_index);
	}
}

static void set_address(struct ruleset_octets *header, size_t at,
			const struct ip_addr *addr, bool ipv6)
{
	struct in_addr ipv4 = addr_to_ipv4(addr);

	if (addr_is_none(addr))
		return;
	if (ipv6)
		set_octets(header, at, addr->bytes, sizeof(addr->bytes));
	else
		set_octets(header, at, &ipv4, sizeof(ipv4));
}

/* No fragment, no options. */
static void set_network(struct ruleset_view *view, const struct packet *packet)
{
	struct ruleset_octets *header = &view->fields[RULESET_FIELD_NETWORK];
	size_t size = packet->ipv6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
	size_t source = packet->ipv6 ? IPV6_SOURCE : IPV4_SOURCE;
	static const uint8_t version = 0x45;

	set_octets(header, packet->ipv6 ? IPV6_NEXT : IPV4_PROTOCOL, &packet->protocol,
		   1);
	set_address(header, source, &packet->source, packet->ipv6);
	set_address(header, source + size, &packet->destination, packet->ipv6);
	if (packet->ipv6) {
		header->value[0] = 0x60;
		header->known[0] = 0xf0;
		return;
	}
	set_octets(header, 0, &version, 1);
	/* "Do not fragment" may be set. */
	header->known[IPV4_FRAGMENT] = 0xbf;
	header->known[IPV4_FRAGMENT + 1] = 0xff;
}

static void set_transport(struct ruleset_view *view, const struct packet *packet)
{
	struct ruleset_octets *header = &view->fields[RULESET_FIELD_TRANSPORT];
	uint16_t source = htons(packet->source_port);
	uint16_t destination = htons(packet->destination_port);

	if (source != 0)
		set_octets(header, 0, &source, sizeof(source));
	if (destination != 0)
		set_octets(header, sizeof(source), &destination, sizeof(destination));
	if (packet->protocol != IPPROTO_TCP || !packet->is_new)
		return;
	header->value[TCP_FLAGS] = TCP_SYN;
	header->known[TCP_FLAGS] = TCP_ALL;
}

/* Before connections are looked up; what rules ask of one is not understood. */
static void set_no_connection(struct ruleset_view *view)
{
	set_number(view, RULESET_FIELD_STATE, STATE_INVALID);
	set_number(view, RULESET_FIELD_XT_STATE, STATE_INVALID);
}

static void set_connection(struct ruleset_view *view, const struct packet *packet)
{
	uint32_t state = packet->is_new ? STATE_NEW : STATE_ESTABLISHED;
	uint32_t status = packet->translated ? IPS_DST_NAT : 0;
	uint32_t xt_unknown = packet->is_new ? 0 : XT_STATE_SNAT;

	set_number(view, RULESET_FIELD_STATE, state);
	set_bits(view, RULESET_FIELD_XT_STATE,
		 state | (packet->translated ? XT_STATE_DNAT : 0), ~xt_unknown);
	set_bits(view, RULESET_FIELD_STATUS, status,
		 packet->is_new ? IPS_DST_NAT | STATUS_LATER : IPS_DST_NAT);
	set_number(view, RULESET_FIELD_MARK, packet->mark);
	if (packet->is_new)
		set_octet(view, RULESET_FIELD_DIRECTION, 0);
}

/* What a route to the address would say of it, from where the hook is. */
static void set_types(struct ruleset_view *view, uint8_t hook,
		      const struct packet *packet)
{
	struct in_addr ipv4 = addr_to_ipv4(&packet->destination);
	bool forwarded = is_before_route(hook) ? packet->out[0] != '\0'
					       : hook != NF_INET_LOCAL_IN;
	uint32_t type = forwarded ? RTN_UNICAST : RTN_LOCAL;

	if (packet->multicast)
		type = RTN_MULTICAST;
	else if (!packet->ipv6 && ipv4.s_addr == htonl(INADDR_BROADCAST))
		type = RTN_BROADCAST;
	set_number(view, RULESET_FIELD_DESTINATION_TYPE, type);
	set_number(view, RULESET_FIELD_XT_DESTINATION_TYPE, UINT32_C(1) << type);
	if (!addr_is_host(&packet->source))
		return;
	set_number(view, RULESET_FIELD_SOURCE_TYPE, RTN_UNICAST);
	set_number(view, RULESET_FIELD_XT_SOURCE_TYPE, UINT32_C(1) << RTN_UNICAST);
}

/* As it is at that stage, and where it seems to go. */
static struct packet get_staged(const struct packet *packet, enum ruleset_stage stage)
{
	struct packet staged = *packet;
	bool before = stage == RULESET_STAGE_RAW || stage == RULESET_STAGE_TRACKED;

	if (!packet->translated)
		return staged;
	if (before && packet->is_new) {
		staged.translated = false;
		staged.destination = packet->outer_destination;
		staged.destination_port = packet->outer_port;
		staged.out[0] = '\0';
	}
	/* Answers have the address of this host, or not yet. */
	if (stage == RULESET_STAGE_LEAVING && !packet->is_new) {
		staged.source = (struct ip_addr){{0}};
		staged.source_port = 0;
	}
	return staged;
}

static void init_view(struct ruleset_view *view, const struct ruleset *ruleset,
		      uint8_t hook, const struct packet *packet)
{
	uint16_t ethertype = htons(packet->ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	struct ruleset_octets *absent = &view->fields[RULESET_FIELD_ABSENT];

	memset(view, 0, sizeof(*view));
	view->is_new = packet->is_new;
	view->has_ports =
		packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP ||
		packet->protocol == IPPROTO_UDPLITE ||
		packet->protocol == IPPROTO_SCTP || packet->protocol == IPPROTO_DCCP;
	set_links(view, ruleset, hook, packet);
	set_octet(view, RULESET_FIELD_FAMILY,
		  packet->ipv6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	set_octet(view, RULESET_FIELD_PROTOCOL, packet->protocol);
	set_number(view, RULESET_FIELD_ETHERTYPE, 0);
	set_octets(&view->fields[RULESET_FIELD_ETHERTYPE], 0, &ethertype,
		   sizeof(ethertype));
	set_octet(view, RULESET_FIELD_PACKET_TYPE,
		  packet->multicast ? PACKET_MULTICAST : PACKET_HOST);
	/* It did not come through IPsec. */
	set_octet(view, RULESET_FIELD_SECPATH, 0);
	/* It came the way that its answers go. */
	set_octet(view, RULESET_FIELD_ROUTE, 1);
	memset(absent->known, 0xff, sizeof(absent->known));
	set_network(view, packet);
	if (view->has_ports)
		set_transport(view, packet);
	set_types(view, hook, packet);
}

void ruleset_view_init(struct ruleset_view *view, const struct ruleset *ruleset,
		       uint8_t hook, enum ruleset_stage stage,
		       const struct packet *packet)
{
	const struct packet staged = get_staged(packet, stage);

	init_view(view, ruleset, hook, &staged);
	if (stage == RULESET_STAGE_RAW)
		set_no_connection(view);
	else
		set_connection(view, &staged);
}
