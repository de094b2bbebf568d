/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_TABLE_H
#define DAEMON_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/lease.h"

struct host;
struct ports;

/**
 * The lease table: every lease of every protocol, found by its internal endpoint, by
 * its external key, by id, by client and by its end, each at a cost that does not grow
 * with the table. It keeps; it does not decide (plan.h does).
 *
 * Leases handed out are borrowed until the next change of the table.
 */
struct table;

/** Owns: caller frees. Errors: NULL when out of memory. */
struct table *table_new(void);
void table_free(struct table *table);

/**
 * Take in a copy. Errors: -ENOMEM; -EEXIST when its id or external key is there, or
 * for a PEER lease its flow, for a pinhole its UniqueID; -EADDRINUSE when another host
 * holds the external port. Nothing changed then.
 */
int table_insert(struct table *table, const struct lease *lease)
	__attribute__((warn_unused_result));
/**
 * Overwrite the lease of the same id; its keys, UniqueID and client must be the same,
 * all else may differ. Errors: -ENOMEM, nothing changed, for another text or filters
 * only; the process is ended where keys differ.
 */
int table_update(struct table *table, const struct lease *lease)
	__attribute__((warn_unused_result));
/** Take out; its external port rests from now_ms on when it was the port's last lease.
 */
void table_remove(struct table *table, uint64_t id, int64_t now_ms);

/** Undo a table_insert(): the port is as it was before. */
void table_take_back(struct table *table, uint64_t id);

const struct lease *table_get_by_id(const struct table *table, uint64_t id);
/** First of the leases of an internal endpoint: the outbound one when there is one. */
const struct lease *table_get_by_internal(const struct table *table,
					  const struct ip_addr *internal,
					  uint8_t protocol, uint16_t port);
const struct lease *table_get_next_of_internal(const struct table *table,
					       const struct lease *lease);
/**
 * By its external key: WAN, protocol, external port and remote peer of `like` (remote
 * none and port 0 = the lease that is not one peer's), for IPv6 its internal address
 * too.
 */
const struct lease *table_get_by_external(const struct table *table,
					  const struct lease *like);
/** The PEER lease of a flow: WAN, protocol, internal and remote endpoint of `like`. */
const struct lease *table_get_by_peer(const struct table *table,
				      const struct lease *like);
/** The index-th IPv4 mapping of a LAN, flows of PEER aside; removing one moves the last
 * into its place. */
const struct lease *table_get_by_index(const struct table *table, uint16_t lan,
				       size_t index);
/** How many table_get_by_index() finds. */
size_t table_get_listing_count(const struct table *table, uint16_t lan);
/** The same, of those that a host asked for or that lead to it, whichever the LAN. */
const struct lease *table_get_of_host(const struct table *table,
				      const struct ip_addr *host, size_t index);
/** A place among those of table_get_of_host(), in order of protocol, external port and
 * id. */
struct table_cursor {
	const struct host *host; /* table_find_host(); borrowed as leases are */
	uint8_t protocol;
	uint16_t port;
	uint64_t id;
};
/** NULL = it has no leases. */
const struct host *table_find_host(const struct table *table,
				   const struct ip_addr *host);
/** The first behind that place, whether or not something stands there; NULL = none. */
const struct lease *table_get_behind(const struct table *table,
				     const struct table_cursor *cursor);
/** Every lease that leads to this host, whoever asked for it; any order. */
const struct lease *table_get_first_of_home(const struct table *table,
					    const struct ip_addr *internal);
const struct lease *table_get_next_of_home(const struct table *table,
					   const struct lease *lease);
/** The pinhole of a UniqueID; NULL = none. */
const struct lease *table_get_by_pinhole(const struct table *table, uint16_t id);
/** A UniqueID that none has, the first from `start` on, going round; 0 = none is left.
 */
uint16_t table_find_free_pinhole(const struct table *table, uint16_t start);
const struct lease *table_get_first_of_client(const struct table *table,
					      const struct ip_addr *client);
const struct lease *table_get_next_of_client(const struct table *table,
					     const struct lease *lease);
/** The lease that ends first; NULL when none ever ends. */
const struct lease *table_get_first_to_expire(const struct table *table);
/** Any order, each once; NULL starts and ends. For the admin and for start only. */
const struct lease *table_get_next(const struct table *table,
				   const struct lease *lease);

size_t table_get_count(const struct table *table);
/** Leases that are enabled: those that the firewall has a rule for. */
size_t table_get_enabled_count(const struct table *table);
/** Filters that lease_count_wide_filters() counts, of all leases, of those of IPv6 and
 * of one client's. */
size_t table_get_wide_count(const struct table *table);
size_t table_get_ipv6_wide_count(const struct table *table);
size_t table_get_wide_count_of_client(const struct table *table,
				      const struct ip_addr *client);
size_t table_get_ipv6_count(const struct table *table);	  /* pinholes */
size_t table_get_client_count(const struct table *table); /* clients that hold leases */
/** Leases a client asked for; those that the owner made for it do not count. */
size_t table_get_count_of_client(const struct table *table,
				 const struct ip_addr *client);
size_t table_get_count_of_origin(const struct table *table, enum origin origin);

/** Who holds which external port: changes with insert and remove. */
struct ports *table_get_ports(const struct table *table);

#endif
