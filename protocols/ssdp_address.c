/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/ssdp_address.h"

/* How well an address of ours serves a peer. */
enum fit {
	FIT_NOT,
	FIT_LINK, /* link-local */
	FIT_PRIVATE,
	FIT_GLOBAL,
	FIT_NEAR, /* of the peer's subnet */
};

/* The peer, or the group, is of the link alone. */
static bool is_of_link(const struct ip_addr *peer)
{
	return addr_is_link_local(peer) ||
	       (peer->bytes[0] == 0xff && (peer->bytes[1] & 0xf) == 2);
}

static enum fit get_fit(const struct prefix *own, const struct ip_addr *peer)
{
	bool ipv4 = addr_is_ipv4(peer);

	if (addr_is_ipv4(&own->addr) != ipv4)
		return FIT_NOT;
	if (!ipv4 && addr_is_link_local(&own->addr))
		return FIT_LINK;
	if (prefix_contains(own, peer))
		return FIT_NEAR;
	/* Of IPv4 the first one is the one, if none is near. */
	return ipv4 || addr_is_private(&own->addr) ? FIT_PRIVATE : FIT_GLOBAL;
}

/* The first of those that fit best, and how well. */
static const struct ip_addr *find_best(const struct lan_info *lan,
				       const struct ip_addr *peer, enum fit *fit)
{
	const struct ip_addr *best = NULL;

	*fit = FIT_NOT;
	for (uint32_t i = 0; i < lan->address_count && i < LAN_ADDRESSES_MAX; i++) {
		enum fit here = get_fit(&lan->addresses[i], peer);

		if (here <= *fit)
			continue;
		*fit = here;
		best = &lan->addresses[i].addr;
	}
	return best;
}

const struct ip_addr *ssdp_address_for_location(const struct lan_info *lan,
						const struct ip_addr *peer)
{
	enum fit fit;
	const struct ip_addr *best = find_best(lan, peer, &fit);

	return fit == FIT_LINK && !is_of_link(peer) ? NULL : best;
}

static const struct ip_addr *find_link_local(const struct lan_info *lan)
{
	for (uint32_t i = 0; i < lan->address_count && i < LAN_ADDRESSES_MAX; i++)
		if (!addr_is_ipv4(&lan->addresses[i].addr) &&
		    addr_is_link_local(&lan->addresses[i].addr))
			return &lan->addresses[i].addr;
	return NULL;
}

const struct ip_addr *ssdp_address_for_source(const struct lan_info *lan,
					      const struct ip_addr *peer)
{
	const struct ip_addr *own = NULL;
	enum fit fit;

	if (!addr_is_ipv4(peer) && is_of_link(peer))
		own = find_link_local(lan);
	return own ? own : find_best(lan, peer, &fit);
}
