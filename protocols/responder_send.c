/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is served where, and the batch that waits to be sent. */
#include "protocols/responder_private.h"

/* 192.0.0.9 and 2001:1::1: PCP's anycast addresses (RFC 7723 §4). */
static const struct ip_addr anycast[RESPONDER_FAMILIES] = {
	{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 0, 9}},
	{{0x20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
};

/* SSSoE, the same formula as core's so that it never goes back between them (NP-20). */
uint32_t responder_get_epoch_s(const struct responder *responder, int64_t now_ms)
{
	int64_t epoch_s = (now_ms - responder->wan.epoch_origin_ms) / 1000;

	if (epoch_s < 0)
		return 0;
	return epoch_s < UINT32_MAX ? (uint32_t)epoch_s : UINT32_MAX;
}

enum responder_family responder_get_family(const struct ip_addr *addr)
{
	return addr_is_ipv4(addr) ? RESPONDER_IPV4 : RESPONDER_IPV6;
}

/* NAT-PMP is of IPv4, and of gateways that translate (NP-5). */
bool responder_serves_natpmp(const struct responder *responder,
			     const struct responder_lan *lan)
{
	return responder->wan.nat != 0 &&
	       (lan->info.protocols & LAN_PROTOCOL_NATPMP) != 0;
}

bool responder_serves_pcp(const struct responder_lan *lan)
{
	return (lan->info.protocols & LAN_PROTOCOL_PCP) != 0;
}

/* An address that hosts of this LAN may ask, and are answered from (PCP-119). */
bool responder_is_own_address(const struct responder_lan *lan,
			      const struct ip_addr *addr)
{
	return lan_info_has_address(&lan->info, addr) ||
	       (lan->info.anycast != 0 && responder_serves_pcp(lan) &&
		addr_equal(addr, &anycast[responder_get_family(addr)]));
}

bool responder_is_link_local(const struct ip_addr *addr)
{
	return addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

static bool is_multicast(const struct ip_addr *addr)
{
	return addr_is_ipv4(addr) ? (addr->bytes[12] & 0xf0) == 0xe0
				  : addr->bytes[0] == 0xff;
}

/* Sending. What is sent waits in responder->out until the end of the wake-up. */

void responder_flush(struct responder *responder)
{
	if (responder->out.count > 0)
		responder->ops->send(responder->user, &responder->out);
	responder->out.count = 0;
}

/* A place in the burst with the way filled in; the caller adds bytes and length. */
struct datagram *responder_add_datagram(struct responder *responder,
					const struct pending_path *path)
{
	struct datagram *out;

	if (responder->out.count == DATAGRAM_BATCH_MAX)
		responder_flush(responder);
	out = &responder->out.list[responder->out.count++];
	out->ifindex = path->ifindex;
	out->local = path->local;
	out->peer = path->peer;
	out->peer_port = path->peer_port;
	out->use = is_multicast(&path->peer) ? DATAGRAM_MULTICAST : DATAGRAM_REPLY;
	out->hops = 0; /* of the port: no further than the link */
	out->left = false;
	out->truncated = false;
	out->length = 0;
	return out;
}

/* The datagram added last is complete. length 0: there is nothing to send after all. */
void responder_end_datagram(struct responder *responder, struct datagram *out,
			    size_t length)
{
	out->length = (uint16_t)length;
	if (length == 0)
		responder->out.count--;
}

void responder_send_natpmp(struct responder *responder, const struct pending_path *path,
			   const struct natpmp_reply *reply)
{
	struct datagram *out = responder_add_datagram(responder, path);

	responder_end_datagram(responder, out,
			       natpmp_encode_reply(reply, out->bytes, PCP_SIZE_MAX));
}
