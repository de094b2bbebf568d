/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_HOMES_H
#define DAEMON_HOMES_H

#include <stdbool.h>

#include "daemon/lease.h"

/** All leases by the host that they lead to, whoever asked for them. */
struct homes;

struct home;

/** The place of one lease, in storage of the caller's. */
struct home_node {
	const struct lease *lease;
	struct home *home;
	struct home_node *prev, *next;
};

/** Owns: caller frees. Errors: NULL when out of memory. */
struct homes *homes_new(void);
void homes_free(struct homes *homes);

/** The lease stays where it is. Errors: false when out of memory. */
bool homes_add(struct homes *homes, struct home_node *node, const struct lease *lease)
	__attribute__((warn_unused_result));
void homes_remove(struct homes *homes, struct home_node *node);
/** The first lease of a host, the others hang on it; NULL = it has none. */
const struct home_node *homes_get(const struct homes *homes,
				  const struct ip_addr *host);

#endif
