/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_WAN_H
#define DAEMON_WAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/links.h"

/** Watches links, addresses and the default route by rtnetlink; no other module does.
 */
struct wan;

/** Owns: caller frees. Errors: -errno, logged. */
int wan_open(struct wan **out) __attribute__((warn_unused_result));
void wan_close(struct wan *wan);
/** Read everything anew. Owns: out, caller's, by links_fini(). Errors: -errno, *out
 * untouched. */
int wan_read(struct wan *wan, struct links *out) __attribute__((warn_unused_result));
/** Counters of one interface, a single cheap query. Errors: -errno. */
int wan_read_traffic(struct wan *wan, uint32_t ifindex, struct link *out)
	__attribute__((warn_unused_result));
/** Readable when something changed. */
int wan_get_fd(const struct wan *wan);
/** Drain notifications; true when something that we care about changed: read again. */
bool wan_drain(struct wan *wan);

#endif
