/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_SSDP_ADDRESS_H
#define PROTOCOLS_SSDP_ADDRESS_H

#include "base/addr.h"
#include "protocols/worker.h"

/**
 * Our address that a peer on this LAN, or a group, is told in LOCATION: of the peer's
 * subnet, else the most public; a link-local IPv6 address only where the peer or group
 * is of the link and there is no other: who comes by a global address speaks for its
 * own (SSDP-12, CL-21). NULL = there is none to tell.
 */
const struct ip_addr *ssdp_address_for_location(const struct lan_info *lan,
						const struct ip_addr *peer);

/**
 * Our address that messages to this peer or group come from: of its scope, as far as we
 * have one. NULL = we have none of its family.
 * Source: RFC 6724 §5, as far as it goes on one link; UDA 1.1 Annex A.
 */
const struct ip_addr *ssdp_address_for_source(const struct lan_info *lan,
					      const struct ip_addr *peer);

#endif
