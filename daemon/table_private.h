/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_TABLE_PRIVATE_H
#define DAEMON_TABLE_PRIVATE_H

#include "base/index.h"
#include "base/pool.h"
#include "daemon/table.h"
#include "protocols/worker.h"

/*
 * What the files of the table share; nobody else includes this. Leases and hosts refer
 * to each other by handles of their pools, 0 = none.
 */

/** Leases of a host: those that it asked for, and those that lead to it. */
enum table_chain {
	CHAIN_CLIENT,
	CHAIN_HOME,
};
#define CHAIN_COUNT (CHAIN_HOME + 1)

/** Listings by number that a lease may be in: of its LAN, of who asked for it, and of
 * the host it leads to where that is another one. */
enum table_listing {
	LISTING_LAN,
	LISTING_CLIENT,
	LISTING_HOME,
};
#define LISTING_COUNT (LISTING_HOME + 1)

/** Handles, by number. */
struct listing {
	uint32_t *items;
	size_t count, size;
};

struct chain_link {
	uint32_t prev, next;
};

/** Below it in a tree: what comes before it and what comes behind, 0 = nothing. */
struct branches {
	uint32_t before, behind;
};

struct entry {
	struct lease lease; /* first, so that a lease leads back to its entry */
	uint32_t handle;    /* its own */
	uint32_t next_by_id;
	uint32_t next_by_external;
	uint32_t next_by_name; /* flow of PEER, UniqueID of a pinhole: none has both */
	uint32_t next_by_internal; /* only the first of its internal endpoint */
	uint32_t next_of_internal; /* behind it, of the same endpoint */
	uint32_t prev_of_internal; /* before it; of the first, the last */
	uint32_t hosts[CHAIN_COUNT];
	struct chain_link links[CHAIN_COUNT];
	struct branches branches[CHAIN_COUNT]; /* in its hosts' orders */
	uint32_t places[LISTING_COUNT];
	uint32_t expiry; /* its place in the heap, from 1; 0 = it never ends */
};

/** A host that has leases, as client or as home. */
struct host {
	struct ip_addr addr;
	uint32_t handle;
	uint32_t next_by_addr;
	uint32_t first[CHAIN_COUNT]; /* whose prev is the last */
	uint32_t asked;		     /* leases it asked for, those of the owner aside */
	uint32_t wide;		     /* wide filters of all that it asked for */
	struct listing listing;
	uint32_t order; /* of the same leases by port: the top of a tree */
};

struct table {
	struct pool *entries;
	struct pool *hosts;
	struct index *by_id;
	struct index *by_external;
	struct index *by_peer;
	struct index *by_pinhole;
	struct index *by_internal;
	struct index *by_addr; /* hosts */
	struct listing lans[LANS_MAX];
	struct listing expiry; /* a heap: what ends first is at 1 */
	struct ports *ports;
	size_t client_count;
	size_t enabled_count;
	size_t count_of_origin[ORIGIN_COUNT];
	size_t ipv6_count;
	size_t wide_count;
	size_t ipv6_wide_count; /* of them those of IPv6 */
};

/* table_entry.c */
struct entry *table_get_entry(const struct table *table, uint32_t handle);
/** NULL for 0. */
const struct lease *table_get_lease(const struct table *table, uint32_t handle);
/** As whose client or home this host knows it: as client where it is both. */
enum table_chain table_get_chain_of(const struct entry *entry, const struct host *host);

/* table_index.c: by id, keys and UniqueID */
/** Errors: false, out of memory. */
bool table_indexes_init(struct table *table) __attribute__((warn_unused_result));
void table_indexes_fini(struct table *table);
void table_index_entry(struct table *table, struct entry *entry);
void table_unindex_entry(struct table *table, struct entry *entry);
/** It got the outbound port of its endpoint, or gave it up. */
void table_reindex_outbound(struct table *table, struct entry *entry);
struct entry *table_find_id(const struct table *table, uint64_t id);

/* table_hosts.c: by host, and the listings */
/** Errors: false, out of memory. */
bool table_hosts_init(struct table *table) __attribute__((warn_unused_result));
void table_hosts_fini(struct table *table);
/** Room for the entry with its hosts and listings. Errors: false, nothing has changed.
 */
bool table_reserve_hosts(struct table *table, struct entry *entry)
	__attribute__((warn_unused_result));
/** After the room for it was reserved. */
void table_join_hosts(struct table *table, struct entry *entry);
void table_leave_hosts(struct table *table, struct entry *entry);
/** From the listing of its LAN to that of another one, and the lease says so; short of
 * memory it stays. */
void table_move_lan(struct table *table, struct entry *entry, uint16_t lan);
struct host *table_get_host(const struct table *table, const struct entry *entry,
			    enum table_chain chain);

/* table_order.c: by port, of a host */
void table_order_add(const struct table *table, struct host *host, struct entry *entry);
void table_order_remove(const struct table *table, struct host *host,
			struct entry *entry);

/* table_expiry.c: by its end */
/** Room in the heap for one entry more than there are. Errors: false. */
bool table_reserve_expiry(struct table *table) __attribute__((warn_unused_result));
void table_enter_expiry(struct table *table, struct entry *entry);
void table_leave_expiry(struct table *table, struct entry *entry);

#endif
