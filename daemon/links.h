/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LINKS_H
#define DAEMON_LINKS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/** A host of containers has a thousand; more than this is a mistake. */
#define LINKS_MAX 4096
#define LINK_ADDRESSES_MAX 16

/** Order of the addresses of a link: good ones first. */
enum address_rank {
	RANK_IPV4_PRIMARY,
	RANK_IPV4_SECONDARY,
	RANK_IPV6,
	RANK_IPV6_LINK_LOCAL,
	RANK_IPV6_TEMPORARY,
	RANK_UNUSABLE, /* tentative, deprecated, failed */
};

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
	enum address_rank ranks[LINK_ADDRESSES_MAX];
};

/** Everything rtnetlink knows that we need, now. All zero = empty. */
struct links {
	size_t count;
	size_t size; /* room in the list */
	struct link *list;
	/** Of the IPv4 default route of least metric; 0 = none. */
	uint32_t default_ifindex;
	/** There is one, be it in a table of policy routing. */
	bool has_default;
};

void links_fini(struct links *links);
/** Forget all, but keep the room. */
void links_clear(struct links *links);
/** Errors: -ENOMEM; -ENOSPC, there are LINKS_MAX of them. */
int links_add(struct links *links, const struct link *link)
	__attribute__((warn_unused_result));
/** Errors: -ENOMEM, *to untouched. */
int links_copy(struct links *to, const struct links *from)
	__attribute__((warn_unused_result));

/** The place in the list, count when there is none. hint: where it may well be. */
size_t links_find_place(const struct links *links, uint32_t ifindex, size_t hint);
const struct link *links_find_index(const struct links *links, uint32_t ifindex);
const struct link *links_find_name(const struct links *links, const char *name);

/** Insert behind its equals; when there is no room, the last falls out. */
void link_add_address(struct link *link, const struct prefix *address,
		      enum address_rank rank);

#endif
