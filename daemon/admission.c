/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/admission.h"

#include <string.h>

#include "base/buf.h"

/* What a worker must serve to speak for an origin. */
uint8_t origin_get_protocol(uint8_t origin)
{
	static const uint8_t table[ORIGIN_COUNT] = {
		[ORIGIN_NATPMP] = LAN_PROTOCOL_NATPMP,
		[ORIGIN_PCP] = LAN_PROTOCOL_PCP,
		[ORIGIN_IGD] = LAN_PROTOCOL_UPNP,
		[ORIGIN_STATIC] = 0, /* never by a worker */
	};

	return origin < ORIGIN_COUNT ? table[origin] : 0;
}

/* One remote host, as IGD and PEER know it; a port of it only with PEER and pinholes,
 * which do without the host. */
static bool remote_is_sound(const struct request *request)
{
	bool ipv4 = addr_is_ipv4(&request->internal);

	if (request->op == REQUEST_PINHOLE)
		return addr_is_none(&request->remote) ||
		       (addr_is_host(&request->remote) &&
			addr_is_ipv4(&request->remote) == ipv4);
	if (request->op == REQUEST_PEER)
		return request->remote_port != 0 && addr_is_host(&request->remote) &&
		       addr_is_ipv4(&request->remote) == ipv4;
	return request->remote_port == 0 &&
	       (addr_is_none(&request->remote) || addr_is_host(&request->remote));
}

static bool filter_is_sound(const struct remote_filter *filter, bool ipv4)
{
	return filter->prefix.length <= 128 &&
	       addr_is_ipv4(&filter->prefix.addr) == ipv4 &&
	       (!ipv4 || filter->prefix.length >= 96);
}

/* Filters are PCP's, and those of MAP (PCP-84). */
static bool filters_are_sound(const struct request *request)
{
	bool ipv4 = addr_is_ipv4(&request->internal);

	if (request->filter_count == 0 && !request->filter_clear)
		return true;
	if (request->origin != ORIGIN_PCP || request->op != REQUEST_MAP ||
	    request->filter_count > REQUEST_FILTERS_MAX || request->filter_clear > 1)
		return false;
	for (uint8_t i = 0; i < request->filter_count; i++)
		if (!filter_is_sound(&request->filters[i], ipv4))
			return false;
	return true;
}

/* An interface that we know, and that is not this LAN: no message under way explains
 * it. */
static bool is_foreign(const struct network *network, const struct lan_info *lan,
		       uint32_t ifindex)
{
	const struct lan_info *owner =
		lan_info_find(network->lans, network->lan_count, ifindex);

	return ifindex == 0 || ifindex == network->wan.ifindex ||
	       (owner && owner != lan);
}

static bool op_is_pinhole(uint8_t op)
{
	return op == REQUEST_PINHOLE || op == REQUEST_PINHOLE_UPDATE ||
	       op == REQUEST_PINHOLE_DELETE || op == REQUEST_PINHOLE_GET;
}

static bool op_has_range(uint8_t op)
{
	return op == REQUEST_DELETE_RANGE || op == REQUEST_LIST;
}

/* What only UPnP asks, and fields that only its operations have. */
static bool igd_is_sound(const struct request *request)
{
	bool pinhole = op_is_pinhole(request->op), range = op_has_range(request->op);
	bool asks_lifetime =
		request->op == REQUEST_PINHOLE || request->op == REQUEST_PINHOLE_UPDATE;

	if ((pinhole || range || request->op == REQUEST_ADD_ANY) &&
	    request->origin != ORIGIN_IGD)
		return false;
	if (!range && request->external_last != 0)
		return false;
	if ((!pinhole || request->op == REQUEST_PINHOLE) && request->pinhole != 0)
		return false;
	if (asks_lifetime && (request->lifetime_s == 0 ||
			      request->lifetime_s > REQUEST_PINHOLE_LIFETIME_MAX_S))
		return false;
	return request->op == REQUEST_LIST || request->after == 0;
}

/* Whether the operation is about mappings of one transport protocol. */
static bool op_has_protocol(uint8_t op)
{
	return op != REQUEST_INDEX && op != REQUEST_TRAFFIC &&
	       (op == REQUEST_PINHOLE || !op_is_pinhole(op));
}

static bool fields_are_sound(const struct request *request)
{
	return request->op < REQUEST_OP_COUNT && request->enabled <= 1 &&
	       request->prefer_failure <= 1 && request->igd_version <= 2 &&
	       request->has_description <= 1 && request->port_parity <= 1 &&
	       request->port_count <= REQUEST_PORTS_MAX && igd_is_sound(request) &&
	       (request->protocol == IPPROTO_TCP || request->protocol == IPPROTO_UDP ||
		!op_has_protocol(request->op));
}

const char *admission_check(const struct network *network, uint8_t protocols,
			    struct request *request)
{
	uint8_t needed = origin_get_protocol(request->origin);
	char description[sizeof(request->description)];
	const struct lan_info *lan;

	if (needed == 0 || (needed & protocols) == 0)
		return "an origin that is not its own";
	if (!fields_are_sound(request))
		return "a field out of range";
	if (!filters_are_sound(request) || !remote_is_sound(request))
		return "a remote peer out of range";
	if (request->lan >= network->lan_count)
		return "no such LAN";
	lan = &network->lans[request->lan];
	/* A LAN that has just gone, come back or been given other protocols is no lie:
	 * admission_is_host() refuses. */
	if (is_foreign(network, lan, request->ifindex))
		return "another LAN's interface";
	if (!memchr(request->description, '\0', sizeof(request->description)))
		return "a description without an end";
	text_copy_clean(description, sizeof(description), request->description,
			strlen(request->description));
	memcpy(request->description, description, sizeof(description));
	return NULL;
}

/* IPv6 has no port to translate: PCP has pinholes, and UPnP by a service of its own
 * (CL-18). Each family is asked over itself, but that a host may be known by both
 * (V6FW-7). */
static bool family_is_served(const struct request *request)
{
	bool ipv4 = addr_is_ipv4(&request->internal);

	if (request->op == REQUEST_PINHOLE)
		return !ipv4;
	return addr_is_ipv4(&request->client) == ipv4 &&
	       (ipv4 || request->origin == ORIGIN_PCP);
}

/* A hole for such an address leads nowhere (PCP-95). */
static bool is_link_local_ipv6(const struct ip_addr *addr)
{
	return !addr_is_ipv4(addr) && addr_is_link_local(addr);
}

bool admission_is_host(const struct network *network, const struct request *request)
{
	const struct lan_info *lan = &network->lans[request->lan];

	if (lan->ifindex != request->ifindex ||
	    (lan->protocols & origin_get_protocol(request->origin)) == 0 ||
	    !lan_info_has_host(lan, &request->client) ||
	    (is_link_local_ipv6(&request->client) && request->origin != ORIGIN_IGD))
		return false;
	if (request->op != REQUEST_MAP && request->op != REQUEST_ADD &&
	    request->op != REQUEST_PEER && request->op != REQUEST_ADD_ANY &&
	    request->op != REQUEST_PINHOLE)
		return true;
	if (!family_is_served(request) || is_link_local_ipv6(&request->internal))
		return false;
	if (addr_equal(&request->internal, &request->client))
		return true;
	for (size_t i = 0; i < network->lan_count; i++)
		if (network->lans[i].ifindex != 0 &&
		    lan_info_has_host(&network->lans[i], &request->internal))
			return true;
	return false;
}
