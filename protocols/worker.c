/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/worker.h"

#include <arpa/inet.h>

#include "base/log.h"

static uint32_t bounded(uint32_t count)
{
	return count < LAN_ADDRESSES_MAX ? count : LAN_ADDRESSES_MAX;
}

bool log_info_apply(const struct log_info *info)
{
	if (info->level > LOG_LEVEL_DEBUG)
		return false;
	log_set_level((enum log_level)info->level);
	return true;
}

const struct lan_info *lan_info_find(const struct lan_info *lans, size_t count,
				     uint32_t ifindex)
{
	if (ifindex == 0)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (lans[i].ifindex == ifindex)
			return &lans[i];
	return NULL;
}

bool lan_info_has_address(const struct lan_info *lan, const struct ip_addr *addr)
{
	for (uint32_t i = 0; i < bounded(lan->address_count); i++)
		if (addr_equal(&lan->addresses[i].addr, addr))
			return true;
	return false;
}

/* RFC 4291 §2.6.1: all of a subnet's routers, and so us. RFC 6164: not on a /127. */
static bool prefix_is_router(const struct prefix *prefix, const struct ip_addr *addr)
{
	if (prefix->length > 126)
		return false;
	for (unsigned int bit = prefix->length; bit < 128; bit++)
		if (addr->bytes[bit / 8] & 0x80u >> bit % 8)
			return false;
	return true;
}

/* The network's own address and its broadcast address are nobody's (RFC 1122 §3.2.1.3).
 */
static bool prefix_is_edge(const struct prefix *prefix, const struct ip_addr *addr)
{
	uint32_t host_mask, host;

	if (!addr_is_ipv4(addr))
		return prefix_is_router(prefix, addr);
	/* an IPv4 /31 or /32 has no such addresses (RFC 3021) */
	if (prefix->length < 96 || prefix->length > 126)
		return false;
	host_mask = UINT32_MAX >> (prefix->length - 96);
	host = ntohl(addr_to_ipv4(addr).s_addr) & host_mask;
	return host == 0 || host == host_mask;
}

bool lan_info_has_host(const struct lan_info *lan, const struct ip_addr *addr)
{
	if (!addr_is_host(addr) || lan_info_has_address(lan, addr))
		return false;
	for (uint32_t i = 0; i < bounded(lan->network_count); i++)
		if (prefix_contains(&lan->networks[i], addr))
			return !prefix_is_edge(&lan->networks[i], addr);
	return false;
}

const struct ip_addr *lan_info_get_address_for(const struct lan_info *lan,
					       const struct ip_addr *client)
{
	const struct ip_addr *same_family = NULL;

	for (uint32_t i = 0; i < bounded(lan->address_count); i++) {
		if (addr_is_ipv4(&lan->addresses[i].addr) != addr_is_ipv4(client))
			continue;
		if (prefix_contains(&lan->addresses[i], client))
			return &lan->addresses[i].addr;
		if (!same_family)
			same_family = &lan->addresses[i].addr;
	}
	return same_family;
}
