/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_ROUTE_H
#define PROBE_ROUTE_H

#include <net/if.h>
#include <stdbool.h>

#include "base/addr.h"

/** Where the way out of this host begins. */
struct route {
	char interface[IF_NAMESIZE];
	struct ip_addr gateway;
};

/**
 * The default route with the least metric of the text of /proc/net/route.
 * Errors: false, out untouched: there is none that has a gateway.
 */
bool route_parse_default(const char *text, struct route *out)
	__attribute__((warn_unused_result));

/** The same of this host. Errors: false: there is none, or it cannot be read. */
bool route_find_default(struct route *out) __attribute__((warn_unused_result));

/** The same of /proc/net/ipv6_route. */
bool route_parse_default6(const char *text, struct route *out)
	__attribute__((warn_unused_result));

/**
 * The IPv6 default router of this host, and in *own a public address of this host on
 * the interface that leads there.
 * Errors: false: it has not got both.
 */
bool route_find_default6(struct route *out, struct ip_addr *own)
	__attribute__((warn_unused_result));

/** How this host reaches an address. */
struct route_way {
	struct ip_addr own;	     /* what our packets to it come from */
	char interface[IF_NAMESIZE]; /* that has this address */
	bool on_link;		     /* no router is in between */
};

/** Errors: -errno: -ENETUNREACH where there is no way. */
int route_find_way(const struct ip_addr *gateway, struct route_way *out)
	__attribute__((warn_unused_result));

#endif
