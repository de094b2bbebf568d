/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_NEIGHBOURS_H
#define DAEMON_NEIGHBOURS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

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

#endif
