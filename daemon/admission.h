/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_ADMISSION_H
#define DAEMON_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/network.h"
#include "protocols/request.h"

/** The bit LAN_PROTOCOL_... that leases of this origin are asked by; 0 = none. */
uint8_t origin_get_protocol(uint8_t origin);

/**
 * Check every field of a request that a worker sent: a worker reads bytes of strangers,
 * so core believes nothing it says. protocols: what the worker serves, LAN_PROTOCOL_...
 * Pure. The description is cut at its first NUL and made printable.
 * Errors: what no honest worker would send, in words for the log; NULL = none.
 */
const char *admission_check(const struct network *network, uint8_t protocols,
			    struct request *request);

/**
 * True when the client and the internal host are hosts of our LANs now. An honest
 * worker may not know yet that an address has gone, so this is no lie but a refusal.
 */
bool admission_is_host(const struct network *network, const struct request *request);

#endif
