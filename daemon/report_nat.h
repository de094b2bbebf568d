/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_REPORT_NAT_H
#define DAEMON_REPORT_NAT_H

#include "daemon/lease.h"

struct json_object;

/** Which packets of the internet a lease lets in (RFC 4787 §5). */
enum nat_filtering {
	NAT_FILTERING_NONE, /* endpoint-independent: anybody's */
	NAT_FILTERING_ADDRESS,
	NAT_FILTERING_PORT, /* of some, or of all, a port alone */
};

/** What games call it. */
enum nat_console {
	NAT_OPEN,
	NAT_MODERATE,
	NAT_STRICT,
};

/** How a lease behaves as a NAT, for those who look for trouble. */
struct nat_behaviour {
	/** The internal port leaves with one port to all destinations, outbound_port;
	 * false: by no lease, or there is nothing to translate (IPv6). */
	bool mapped;
	enum nat_filtering filtering;
	uint16_t outbound_port; /* 0 = no lease says */
	/** Hosts of the LANs that the filters admit reach it by the external address.
	 */
	bool hairpin;
	enum nat_console console;
	const char *text; /* one sentence: why */
};

/**
 * The behaviour of a lease while clients are told `external`; outbound_port: of the
 * lease that has the way out of the internal endpoint, 0 = none.
 * Source: RFC 4787 §4.1, §5, §6.
 */
struct nat_behaviour report_nat_get(const struct lease *lease, uint16_t outbound_port,
				    const struct ip_addr *external);

/** The same as member "nat" of a lease. Owns: caller frees. Errors: NULL, no memory. */
struct json_object *report_nat_new(const struct nat_behaviour *nat);

#endif
