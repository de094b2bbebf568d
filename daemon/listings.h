/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LISTINGS_H
#define DAEMON_LISTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "daemon/lease.h"

/**
 * The IPv4 mappings, for listing by index: those of each LAN, and those of each host,
 * which it asked for or which lead to it. Flows of PEER and pinholes are none. Removing
 * one moves the last of its listing into its place.
 */
struct listings;

struct listing_host;

/** A place in a listing. */
struct listing_node {
	const struct lease *lease;
	struct listing_host *host; /* whose listing it is; of a LAN's NULL */
	size_t index;
};

/** The places of one lease, in storage of the caller's. */
struct listed {
	struct listing_node of_lan, of_client, of_internal;
};

/** Owns: caller frees. Errors: NULL when out of memory. */
struct listings *listings_new(void);
void listings_free(struct listings *listings);

/**
 * List a lease; one that is to be in no listing is success too. The lease stays where
 * it is. Errors: false when out of memory, nothing changed.
 */
bool listings_add(struct listings *listings, struct listed *listed,
		  const struct lease *lease) __attribute__((warn_unused_result));
void listings_remove(struct listings *listings, struct listed *listed,
		     const struct lease *lease);
/**
 * Out of the listing of its LAN, before that changes, and into one after. The second
 * cannot fail where it has just left. Errors: false when out of memory.
 */
void listings_leave_lan(struct listings *listings, struct listed *listed,
			const struct lease *lease);
bool listings_enter_lan(struct listings *listings, struct listed *listed,
			const struct lease *lease) __attribute__((warn_unused_result));

const struct lease *listings_get_of_lan(const struct listings *listings, uint16_t lan,
					size_t index);
size_t listings_get_count_of_lan(const struct listings *listings, uint16_t lan);
const struct lease *listings_get_of_host(const struct listings *listings,
					 const struct ip_addr *host, size_t index);

#endif
