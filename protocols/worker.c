/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/worker.h"

static uint32_t bounded(uint32_t count)
{
	return count < LAN_ADDRESSES_MAX ? count : LAN_ADDRESSES_MAX;
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

bool lan_info_has_host(const struct lan_info *lan, const struct ip_addr *addr)
{
	if (!addr_is_host(addr) || lan_info_has_address(lan, addr))
		return false;
	for (uint32_t i = 0; i < bounded(lan->network_count); i++)
		if (prefix_contains(&lan->networks[i], addr))
			return true;
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
