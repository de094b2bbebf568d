/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_STATUS_H
#define PROTOCOLS_STATUS_H

#include <stdint.h>

#include "base/result.h"

/** How each protocol says a result. One table, in status.c. */
struct status {
	uint16_t natpmp; /* RFC 6886 §3.5 */
	uint8_t pcp;	 /* RFC 6887 §7.4 */
	uint16_t igd1;	 /* UPnPError, WANIPConnection:1; 0 = success */
	uint16_t igd2;	 /* UPnPError, WANIPConnection:2 */
	uint16_t v6fc;	 /* UPnPError, WANIPv6FirewallControl:1 */
};

/** Owns: static. */
const struct status *status_get(enum result result);

/** errorDescription of a UPnPError code, "Action Failed" for one we never send. */
const char *status_get_upnp_text(uint16_t code);

#endif
