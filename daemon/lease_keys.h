/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LEASE_KEYS_H
#define DAEMON_LEASE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/lease.h"

/** By what a lease is found; without gaps, to be hashed and compared. */
struct internal_key {
	struct ip_addr addr;
	uint16_t port;
	uint16_t protocol;
};

/* For IPv6 the external address is the internal one, so hosts do not share its ports.
 */
struct external_key {
	struct ip_addr external;
	struct ip_addr remote;
	uint16_t wan;
	uint16_t port;
	uint16_t remote_port;
	uint16_t protocol;
};

/* The flow that a PEER lease is about. */
struct peer_key {
	struct ip_addr internal;
	struct ip_addr remote;
	uint16_t wan;
	uint16_t internal_port;
	uint16_t remote_port;
	uint16_t protocol;
};

struct internal_key lease_get_internal_key(const struct lease *lease);
struct external_key lease_get_external_key(const struct lease *lease);
struct peer_key lease_get_peer_key(const struct lease *lease);
/** True when whatever finds the one finds the other, but by id: keys, UniqueID and
 * client. */
bool lease_has_same_keys(const struct lease *a, const struct lease *b);

#endif
