/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LEASE_H
#define DAEMON_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "protocols/request.h"

/** Octets of a network card's address. */
#define LEASE_MAC_SIZE 6
#define LEASE_MAC_TEXT_SIZE ((size_t)3 * LEASE_MAC_SIZE) /* with its NUL */

/**
 * A promise: until it expires, the internal endpoint has the external port. What stands
 * here is what clients were told and what the kernel does.
 *
 * Filters and description stand elsewhere, for most leases have none: a copy borrows
 * them, and is good as long as what it was copied from. The table and a plan keep them
 * for themselves, and so must whoever keeps a lease beyond the next change of these.
 */
struct lease {
	uint64_t id; /* never used twice, not even over restarts */
	struct ip_addr internal;
	struct ip_addr client; /* who asked: internal, but for third parties */
	/** The one peer: IGD's RemoteHost, or PEER's; part of the external key. */
	struct ip_addr remote;
	struct ip_addr server; /* ours that a PCP client asked, for updates */
	uint16_t internal_port;
	uint16_t external_port;
	uint16_t remote_port; /* PEER's, or a pinhole's; 0 = any */
	uint16_t client_port; /* where a PCP client hears of changes; 0 = nowhere */
	/** Internal ports of the set that the lease is a part of, renewed and ended as
	 * one (RFC 7753); set_count 0 = it stands alone. */
	uint16_t set_first;
	uint16_t set_count;
	uint16_t lan; /* index of the LAN it came from */
	uint16_t wan; /* index of the WAN it is on: 0 today */
	/** UniqueID of WANIPv6FirewallControl, no other lease's; 0 = no pinhole of
	 * UPnP. Its peer is `remote`, `remote_port`, either or none (V6FW-2). */
	uint16_t pinhole;
	uint8_t protocol;
	uint8_t origin; /* enum origin */
	bool enabled;	/* false: an entry only, no rule in the kernel (IGD-26) */
	bool has_nonce;
	bool outbound; /* this lease gives the internal endpoint its outbound port */
	bool exact;   /* asked with PREFER_FAILURE for this external address (PCP-41) */
	bool has_mac; /* mac is the internal host's, as it was when last seen */
	uint8_t filter_count; /* 0 = any peer; never where remote is set */
	uint8_t mac[LEASE_MAC_SIZE];
	uint8_t nonce[NONCE_SIZE];
	int64_t created_ms;
	int64_t expires_ms;		     /* TIME_NEVER = static */
	const struct remote_filter *filters; /* filter_count of them */
	const char *description; /* NULL = none; see lease_get_description() */
};

/** Room for the filters and the description of one lease. */
struct lease_room {
	struct remote_filter filters[REQUEST_FILTERS_MAX];
	char description[DESCRIPTION_MAX + 1];
};

/** Its description, "" = none; never NULL. Borrowed, as the lease itself. */
const char *lease_get_description(const struct lease *lease);
/** The same, for where a request or a reply has its own. */
void lease_copy_description(const struct lease *lease, char out[DESCRIPTION_MAX + 1]);
/** Octets that filters and description take; 0 = it has neither. */
size_t lease_get_extra_size(const struct lease *lease);
/** Copy them to `room`, of their size and aligned for filters, and point there. NULL
 * will do where it has neither. */
void lease_keep_extra(struct lease *lease, void *room);
bool filter_equal(const struct remote_filter *a, const struct remote_filter *b);
/** The lease gets filters and description of its own, where it has any, on the heap.
 * Owns: lease_free_extra(). Errors: false, out of memory; the lease is as it was. */
bool lease_own_extra(struct lease *lease) __attribute__((warn_unused_result));
void lease_free_extra(const struct lease *lease);
/** True when both have the same filters, in the same order. */
bool lease_has_same_filters(const struct lease *a, const struct lease *b);
/** The same, and the same description. */
bool lease_has_same_extra(const struct lease *a, const struct lease *b);

/**
 * Seconds until the lease ends, rounded up: 0 only when it has ended. UINT32_MAX:
 * never, or not sooner.
 */
uint32_t lease_get_left_s(const struct lease *lease, int64_t now_ms);
/** True when only some peers may use the lease. */
bool lease_is_filtered(const struct lease *lease);
/** True for a lease of one peer: RemoteHost, PEER's, or a pinhole's address or port. */
bool lease_has_peer(const struct lease *lease);
/** The RemoteHost that IGD shows, who knows one host or everybody (PCP-85). */
struct ip_addr lease_get_remote(const struct lease *lease);
/**
 * Filters of MAP that are not simply one host: a prefix, or a port; and the pinhole of
 * any host that has one port. The kernel looks for them in sets whose every change
 * costs as much as they are long.
 */
size_t lease_count_wide_filters(const struct lease *lease);
/**
 * True where a packet may be let in by both of two leases that are open to some peers
 * only. The firewall keeps their peers as intervals that must not overlap; what is one
 * host with one port it keeps apart from them, like a flow.
 */
bool lease_overlaps(const struct lease *a, const struct lease *b);
/** True for what UPnP lists: a mapping of IPv4, not a flow of PEER. */
bool lease_is_listed(const struct lease *lease);
/** True for a lease that PEER made: one flow, kept (RFC 6887 §12). */
bool lease_is_peer(const struct lease *lease);

/** Write the host's card, "" = not known; returns text. Owns: caller's storage. */
const char *lease_format_mac(const struct lease *lease, char text[LEASE_MAC_TEXT_SIZE]);

#endif
