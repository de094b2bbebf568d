/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_WAN_H
#define DAEMON_WAN_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define LINKS_MAX 128
#define LINK_ADDRESSES_MAX 16

/** One network interface as rtnetlink tells it. */
struct link {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	bool up;      /* administratively up */
	bool carrier; /* RUNNING */
	bool loopback;
	bool tunnel;	 /* no Ethernet of its own to hosts: PPP, a VPN, an overlay */
	bool half_route; /* to 0.0.0.0/1 or 128.0.0.0/1, as of a VPN that takes all */
	bool default_route; /* an IPv4 one, by whatever metric, goes out here */
	/** What that of least metric says: whose address to go out with, and the next
	 * router's; none = it says nothing. */
	struct ip_addr route_source, route_gateway;
	uint32_t route_metric;
	uint64_t octets_in, octets_out, packets_in, packets_out;
	size_t address_count;
	size_t unusable_count; /* of these, the last ones */
	/** With host bits: primary IPv4, other IPv4, IPv6; unusable ones last. */
	struct prefix addresses[LINK_ADDRESSES_MAX];
};

/** Everything rtnetlink knows that we need, now. */
struct links {
	size_t count;
	struct link list[LINKS_MAX];
	/** Of the IPv4 default route of least metric; 0 = none. */
	uint32_t default_ifindex;
	/** There is one, be it in a table of policy routing. */
	bool has_default;
};

/** Watches links, addresses and the default route by rtnetlink; no other module does.
 */
struct wan;

/** Owns: caller frees. Errors: -errno, logged. */
int wan_open(struct wan **out) __attribute__((warn_unused_result));
void wan_close(struct wan *wan);
/** Read everything anew. Errors: -errno, *out untouched. */
int wan_read(struct wan *wan, struct links *out) __attribute__((warn_unused_result));
/** Counters of one interface, a single cheap query. Errors: -errno. */
int wan_read_traffic(struct wan *wan, uint32_t ifindex, struct link *out)
	__attribute__((warn_unused_result));
/** Readable when something changed. */
int wan_get_fd(const struct wan *wan);
/** Drain notifications; true when something that we care about changed: read again. */
bool wan_drain(struct wan *wan);

const struct link *links_find_index(const struct links *links, uint32_t ifindex);
const struct link *links_find_name(const struct links *links, const char *name);

#endif
