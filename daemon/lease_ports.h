/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LEASE_PORTS_H
#define DAEMON_LEASE_PORTS_H

#include <stdint.h>

#include "daemon/lease.h"

struct ports;

/*
 * What a lease holds of the external ports: its own for IPv4, where hosts share those
 * of one address; nothing for IPv6.
 */

/** Errors: as ports_hold(). */
int lease_hold_port(struct ports *ports, const struct lease *lease)
	__attribute__((warn_unused_result));
/** As ports_release(). */
void lease_release_port(struct ports *ports, const struct lease *lease, int64_t now_ms);
/** Undo a lease_hold_port(). */
void lease_unhold_port(struct ports *ports, const struct lease *lease);

#endif
