/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LEASE_H
#define DAEMON_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "protocols/request.h"

/**
 * A promise: until it expires, the internal endpoint has the external port. What stands
 * here is what clients were told and what the kernel does. Plain data, no pointers: it
 * is what the store keeps; the table's own links are in lease.c.
 */
struct lease {
	uint64_t id; /* never used twice, not even over restarts */
	struct ip_addr internal;
	struct ip_addr client; /* who asked: internal, but for third parties */
	struct ip_addr
		remote; /* IGD's RemoteHost, part of the external key; none = any */
	uint16_t internal_port;
	uint16_t external_port;
	uint16_t lan; /* index of the LAN it came from */
	uint16_t wan; /* index of the WAN it is on: 0 today */
	uint8_t protocol;
	uint8_t origin; /* enum origin */
	bool enabled;	/* false: an entry only, no rule in the kernel (IGD-26) */
	bool has_nonce;
	bool outbound; /* this lease gives the internal endpoint its outbound port */
	uint8_t nonce[NONCE_SIZE];
	int64_t created_ms;
	int64_t expires_ms; /* TIME_NEVER = static */
	char description[DESCRIPTION_MAX + 1];
};

#endif
