/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_PACKETS_H
#define DOCTOR_PACKETS_H

#include "doctor/facts.h"

/** The port of a client that nothing is known of. */
#define PACKETS_CLIENT_PORT 50321

/** The packets that firewalls are asked about. Pure. */

/** The LAN's own address of that family, which hosts there reach; none = it has none,
 * or a link-local one only. */
struct ip_addr packets_get_own(const struct lan_info *lan, bool ipv6);
/** A request from a host of that LAN to this one, its port left to the caller. */
struct packet packets_make_request(const struct lan_info *lan, uint8_t protocol,
				   bool ipv6);
/** The first packet of a leased flow, on its way from the WAN to a host of that LAN. */
struct packet packets_make_leased(const struct facts *facts, const struct lan_info *lan,
				  uint8_t protocol, bool ipv6);
/** The same from a host of another LAN, or of the same, by the address of the WAN. */
struct packet packets_make_hairpin(const struct facts *facts,
				   const struct lan_info *from,
				   const struct lan_info *lan, uint8_t protocol);
/** What the host answers to it. */
struct packet packets_make_answer(const struct packet *leased);

#endif
