/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_NEIGHBOURS_H
#define DAEMON_NEIGHBOURS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "daemon/hosts.h"

/** Asks the kernel which network card an address was last seen at. */
struct neighbours;

/** Owns: caller frees. Errors: NULL, logged. */
struct neighbours *neighbours_new(void);
/** Safe on NULL. */
void neighbours_free(struct neighbours *neighbours);

/**
 * True when both addresses are on this interface at the same network card: one host
 * that has both, as far as its MAC tells. What the kernel does not know, because the
 * host has not spoken from that address of late, is no: ask later.
 * Cost: a query for each address, of one entry.
 */
bool neighbours_are_one_host(struct neighbours *neighbours, uint32_t ifindex,
			     const struct ip_addr *a, const struct ip_addr *b);

/** What becomes of the kernel's neighbour table, on all interfaces. */
struct neighbour_watch;

/** Told one by one; news is borrowed. */
typedef void neighbour_take(void *user, uint32_t ifindex, const struct host_news *news);

/** Owns: caller frees. Errors: NULL, logged. */
struct neighbour_watch *neighbour_watch_new(void);
/** Safe on NULL. */
void neighbour_watch_free(struct neighbour_watch *watch);
/** Call neighbour_watch_drain() when it is readable. */
int neighbour_watch_get_fd(const struct neighbour_watch *watch);
/**
 * Tell what has come, a bounded number; the descriptor stays readable while there is
 * more. True: some was lost, ask for everything again when it has become quiet.
 */
bool neighbour_watch_drain(struct neighbour_watch *watch, neighbour_take *take,
			   void *user);

/*
 * What the kernel answers comes by neighbour_watch_drain(); nothing waits for it.
 * Errors: false where it could not be asked: ask for everything later.
 */

/** All that it knows. Cheap while it is still telling: it begins again then. */
bool neighbour_watch_ask_all(struct neighbour_watch *watch)
	__attribute__((warn_unused_result));
/** It has told all that it knew, once at least. */
bool neighbour_watch_has_told(const struct neighbour_watch *watch);
/** What it knows of one address; nothing comes where it knows nothing. */
bool neighbour_watch_ask(struct neighbour_watch *watch, uint32_t ifindex,
			 const struct ip_addr *addr)
	__attribute__((warn_unused_result));
/** Have it ask the card that it knows at the address, whether it is still there. */
bool neighbour_watch_probe(struct neighbour_watch *watch, uint32_t ifindex,
			   const struct ip_addr *addr)
	__attribute__((warn_unused_result));
/** Have it find out who is at an address of which it knows nothing. */
bool neighbour_watch_resolve(struct neighbour_watch *watch, uint32_t ifindex,
			     const struct ip_addr *addr)
	__attribute__((warn_unused_result));

#endif
