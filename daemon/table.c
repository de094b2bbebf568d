/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/table.h"

#define HASH_NONFATAL_OOM 1
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "daemon/expiry.h"
#include "daemon/homes.h"
#include "daemon/lease_keys.h"
#include "daemon/lease_ports.h"
#include "daemon/listings.h"
#include "daemon/pinholes.h"
#include "daemon/ports.h"

struct entry {
	struct lease lease; /* first, so that a lease leads back to its entry */
	struct expiry_node expiry;
	struct internal_key internal;
	struct external_key external;
	struct peer_key peer;
	UT_hash_handle hh_id;
	UT_hash_handle hh_external;
	UT_hash_handle hh_peer;	    /* only of PEER leases */
	UT_hash_handle hh_internal; /* only while first of its internal endpoint */
	struct entry *next_of_internal;
	struct holder *holder;
	struct entry *prev, *next; /* of the same client */
	struct listed listed;
	struct home_node home;
};

/** A client that has leases. */
struct holder {
	struct ip_addr client;
	size_t count;
	size_t asked; /* of them not made by the owner */
	size_t wide;  /* their wide filters */
	struct entry *entries;
	UT_hash_handle hh;
};

struct table {
	struct entry *by_id;
	struct entry *by_external;
	struct entry *by_peer;
	struct entry *by_internal;
	struct holder *holders;
	struct expiry *expiry;
	struct ports *ports;
	struct listings *listings;
	struct pinholes *pinholes;
	struct homes *homes;
	size_t count_of_origin[ORIGIN_COUNT];
	size_t ipv6_count;
	size_t wide_count;
	size_t ipv6_wide_count; /* of them those of IPv6 */
};

static const struct entry *entry_of(const struct lease *lease)
{
	return (const struct entry *)(const void *)lease;
}

static const struct lease *lease_of(const struct entry *entry)
{
	return entry ? &entry->lease : NULL;
}

static struct entry *entry_new(const struct lease *lease)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->lease = *lease;
	entry->external = lease_get_external_key(lease);
	entry->peer = lease_get_peer_key(lease);
	entry->internal = lease_get_internal_key(lease);
	if (lease_own_extra(&entry->lease))
		return entry;
	free(entry);
	return NULL;
}

static void entry_free(struct entry *entry)
{
	lease_free_extra(&entry->lease);
	free(entry);
}

struct table *table_new(void)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->ports = ports_new();
	table->expiry = expiry_new();
	table->listings = listings_new();
	table->pinholes = pinholes_new();
	table->homes = homes_new();
	if (!table->ports || !table->expiry || !table->listings || !table->pinholes ||
	    !table->homes) {
		table_free(table);
		return NULL;
	}
	return table;
}

void table_free(struct table *table)
{
	struct entry *entry, *next;
	struct holder *holder, *next_holder;

	if (!table)
		return;
	HASH_CLEAR(hh_internal, table->by_internal);
	HASH_CLEAR(hh_external, table->by_external);
	HASH_CLEAR(hh_peer, table->by_peer);
	HASH_ITER (hh_id, table->by_id, entry, next) {
		HASH_DELETE(hh_id, table->by_id, entry);
		entry_free(entry);
	}
	HASH_ITER (hh, table->holders, holder, next_holder) {
		HASH_DEL(table->holders, holder);
		free(holder);
	}
	homes_free(table->homes);
	pinholes_free(table->pinholes);
	listings_free(table->listings);
	expiry_free(table->expiry);
	ports_free(table->ports);
	free(table);
}

/* --- internal endpoints: the hash holds the first, the others hang on it --- */

static struct entry *internal_find(const struct table *table,
				   const struct internal_key *key)
{
	struct entry *entry;

	HASH_FIND(hh_internal, table->by_internal, key, sizeof(*key), entry);
	return entry;
}

static bool internal_add_first(struct table *table, struct entry *entry)
{
	HASH_ADD(hh_internal, table->by_internal, internal, sizeof(entry->internal),
		 entry);
	return entry->hh_internal.tbl != NULL;
}

static bool internal_link(struct table *table, struct entry *entry)
{
	struct entry *first = internal_find(table, &entry->internal);

	entry->next_of_internal = NULL;
	if (!first)
		return internal_add_first(table, entry);
	LL_APPEND2(first, entry, next_of_internal);
	return true;
}

static void internal_unlink(struct table *table, struct entry *entry)
{
	struct entry *first = internal_find(table, &entry->internal);
	struct entry *second = entry->next_of_internal;

	if (first != entry) {
		LL_DELETE2(first, entry, next_of_internal);
		return;
	}
	HASH_DELETE(hh_internal, table->by_internal, entry);
	/* The hash has just lost an item, so taking this one in needs no memory but
	 * when it was the only one; then we are out of memory for a few octets: start
	 * again from the store rather than go on with a table that is not whole. */
	if (second && !internal_add_first(table, second))
		abort();
}

/* --- clients --- */

static struct holder *holder_find(const struct table *table,
				  const struct ip_addr *client)
{
	struct holder *holder;

	HASH_FIND(hh, table->holders, client, sizeof(*client), holder);
	return holder;
}

static bool holder_link(struct table *table, struct entry *entry)
{
	struct holder *holder = holder_find(table, &entry->lease.client);

	if (!holder) {
		holder = calloc(1, sizeof(*holder));
		if (!holder)
			return false;
		holder->client = entry->lease.client;
		HASH_ADD(hh, table->holders, client, sizeof(holder->client), holder);
		if (!holder->hh.tbl) {
			free(holder);
			return false;
		}
	}
	DL_APPEND(holder->entries, entry);
	holder->count++;
	entry->holder = holder;
	return true;
}

static void holder_unlink(struct table *table, struct entry *entry)
{
	struct holder *holder = entry->holder;

	DL_DELETE(holder->entries, entry);
	if (--holder->count > 0)
		return;
	HASH_DEL(table->holders, holder);
	free(holder);
}

/* --- the rows of insert and remove --- */

static bool id_link(struct table *table, struct entry *entry)
{
	HASH_ADD(hh_id, table->by_id, lease.id, sizeof(entry->lease.id), entry);
	return entry->hh_id.tbl != NULL;
}

static void id_unlink(struct table *table, struct entry *entry)
{
	HASH_DELETE(hh_id, table->by_id, entry);
}

static bool external_link(struct table *table, struct entry *entry)
{
	HASH_ADD(hh_external, table->by_external, external, sizeof(entry->external),
		 entry);
	return entry->hh_external.tbl != NULL;
}

static void external_unlink(struct table *table, struct entry *entry)
{
	HASH_DELETE(hh_external, table->by_external, entry);
}

static bool peer_link(struct table *table, struct entry *entry)
{
	if (!lease_is_peer(&entry->lease))
		return true;
	HASH_ADD(hh_peer, table->by_peer, peer, sizeof(entry->peer), entry);
	return entry->hh_peer.tbl != NULL;
}

static void peer_unlink(struct table *table, struct entry *entry)
{
	if (lease_is_peer(&entry->lease))
		HASH_DELETE(hh_peer, table->by_peer, entry);
}

static bool expiry_link(struct table *table, struct entry *entry)
{
	return expiry_insert(table->expiry, &entry->expiry, entry->lease.expires_ms);
}

static void expiry_unlink(struct table *table, struct entry *entry)
{
	expiry_remove(table->expiry, &entry->expiry);
}

static bool listing_link(struct table *table, struct entry *entry)
{
	return listings_add(table->listings, &entry->listed, &entry->lease);
}

static void listing_unlink(struct table *table, struct entry *entry)
{
	listings_remove(table->listings, &entry->listed, &entry->lease);
}

static bool pinhole_link(struct table *table, struct entry *entry)
{
	return entry->lease.pinhole == 0 ||
	       pinholes_add(table->pinholes, entry->lease.pinhole, &entry->lease);
}

static void pinhole_unlink(struct table *table, struct entry *entry)
{
	if (entry->lease.pinhole != 0)
		pinholes_remove(table->pinholes, entry->lease.pinhole);
}

static bool home_link(struct table *table, struct entry *entry)
{
	return homes_add(table->homes, &entry->home, &entry->lease);
}

static void home_unlink(struct table *table, struct entry *entry)
{
	homes_remove(table->homes, &entry->home);
}

static const struct {
	bool (*link)(struct table *table, struct entry *entry);
	void (*unlink)(struct table *table, struct entry *entry);
} table_indexes[] = {
	{id_link, id_unlink},
	{external_link, external_unlink},
	{holder_link, holder_unlink},
	{listing_link, listing_unlink},
	{expiry_link, expiry_unlink},
	{peer_link, peer_unlink},
	{pinhole_link, pinhole_unlink},
	{home_link, home_unlink},
	{internal_link, internal_unlink},
};

#define INDEX_COUNT (sizeof(table_indexes) / sizeof(table_indexes[0]))

static bool table_link(struct table *table, struct entry *entry)
{
	size_t done = 0;

	while (done < INDEX_COUNT && table_indexes[done].link(table, entry))
		done++;
	if (done == INDEX_COUNT)
		return true;
	while (done-- > 0)
		table_indexes[done].unlink(table, entry);
	return false;
}

/* By origin, and of the client what it asked for itself. */
static void table_count(struct table *table, const struct entry *entry, int step)
{
	size_t wide = lease_count_wide_filters(&entry->lease) * (size_t)step;

	table->count_of_origin[entry->lease.origin] += (size_t)step;
	if (!addr_is_ipv4(&entry->lease.internal)) {
		table->ipv6_count += (size_t)step;
		table->ipv6_wide_count += wide;
	}
	table->wide_count += wide;
	entry->holder->wide += wide;
	if (entry->lease.origin != ORIGIN_STATIC)
		entry->holder->asked += (size_t)step;
}

int table_insert(struct table *table, const struct lease *lease)
{
	struct entry *entry = entry_new(lease);
	int error;

	if (!entry)
		return -ENOMEM;
	if (table_get_by_id(table, lease->id) || table_get_by_external(table, lease) ||
	    table_get_by_peer(table, lease) ||
	    (lease->pinhole != 0 && table_get_by_pinhole(table, lease->pinhole)))
		error = -EEXIST;
	else
		error = lease_hold_port(table->ports, lease);
	if (error != 0) {
		entry_free(entry);
		return error;
	}
	if (!table_link(table, entry)) {
		lease_release_port(table->ports, lease, 0);
		entry_free(entry);
		return -ENOMEM;
	}
	table_count(table, entry, +1);
	return 0;
}

static struct entry *table_find_id(const struct table *table, uint64_t id)
{
	struct entry *entry;

	HASH_FIND(hh_id, table->by_id, &id, sizeof(id), entry);
	return entry;
}

/* Short of memory the lease keeps its place in the list of its old LAN. */
static void table_move_lan(struct table *table, struct entry *entry, uint16_t lan)
{
	uint16_t before = entry->lease.lan;

	listings_leave_lan(table->listings, &entry->listed, &entry->lease);
	entry->lease.lan = lan;
	if (listings_enter_lan(table->listings, &entry->listed, &entry->lease))
		return;
	entry->lease.lan = before;
	/* the place it has just left is free: this needs no memory */
	if (!listings_enter_lan(table->listings, &entry->listed, &entry->lease))
		abort();
}

/* All but its LAN; most renewals change neither filters nor description. */
static bool entry_take(struct entry *entry, const struct lease *lease)
{
	struct lease after = *lease;

	after.lan = entry->lease.lan;
	if (lease_has_same_extra(&entry->lease, lease)) {
		after.filters = entry->lease.filters;
		after.description = entry->lease.description;
	} else if (lease_own_extra(&after)) {
		lease_free_extra(&entry->lease);
	} else {
		return false;
	}
	entry->lease = after;
	return true;
}

int table_update(struct table *table, const struct lease *lease)
{
	struct entry *entry = table_find_id(table, lease->id);
	bool taken;

	if (!entry)
		return 0;
	/* other keys would stay behind in the indexes: better to end here */
	assert(lease_has_same_keys(&entry->lease, lease));
	table_count(table, entry, -1);
	taken = entry_take(entry, lease);
	table_count(table, entry, +1);
	if (!taken)
		return -ENOMEM;
	if (entry->lease.lan != lease->lan)
		table_move_lan(table, entry, lease->lan);
	expiry_move(table->expiry, &entry->expiry, lease->expires_ms);
	return 0;
}

static void table_unlink(struct table *table, struct entry *entry)
{
	table_count(table, entry, -1);
	for (size_t i = INDEX_COUNT; i-- > 0;)
		table_indexes[i].unlink(table, entry);
	entry_free(entry);
}

void table_remove(struct table *table, uint64_t id, int64_t now_ms)
{
	struct entry *entry = table_find_id(table, id);

	if (!entry)
		return;
	lease_release_port(table->ports, &entry->lease, now_ms);
	table_unlink(table, entry);
}

void table_take_back(struct table *table, uint64_t id)
{
	struct entry *entry = table_find_id(table, id);

	if (!entry)
		return;
	lease_unhold_port(table->ports, &entry->lease);
	table_unlink(table, entry);
}

const struct lease *table_get_by_id(const struct table *table, uint64_t id)
{
	return lease_of(table_find_id(table, id));
}

const struct lease *table_get_by_internal(const struct table *table,
					  const struct ip_addr *internal,
					  uint8_t protocol, uint16_t port)
{
	struct internal_key key = {
		.addr = *internal, .port = port, .protocol = protocol};
	const struct entry *first = internal_find(table, &key);

	for (const struct entry *entry = first; entry; entry = entry->next_of_internal)
		if (entry->lease.outbound)
			return &entry->lease;
	return lease_of(first);
}

const struct lease *table_get_next_of_internal(const struct table *table,
					       const struct lease *lease)
{
	const struct lease *outbound = table_get_by_internal(
		table, &lease->internal, lease->protocol, lease->internal_port);
	const struct entry *next;

	/* The outbound one comes first whatever its place in the chain. */
	next = lease == outbound ? internal_find(table, &entry_of(lease)->internal)
				 : entry_of(lease)->next_of_internal;
	if (next && &next->lease == outbound)
		next = next->next_of_internal;
	return lease_of(next);
}

const struct lease *table_get_by_external(const struct table *table,
					  const struct lease *like)
{
	struct external_key key = lease_get_external_key(like);
	struct entry *entry;

	HASH_FIND(hh_external, table->by_external, &key, sizeof(key), entry);
	return lease_of(entry);
}

const struct lease *table_get_by_peer(const struct table *table,
				      const struct lease *like)
{
	struct peer_key key = lease_get_peer_key(like);
	struct entry *entry;

	HASH_FIND(hh_peer, table->by_peer, &key, sizeof(key), entry);
	return lease_of(entry);
}

const struct lease *table_get_by_index(const struct table *table, uint16_t lan,
				       size_t index)
{
	return listings_get_of_lan(table->listings, lan, index);
}

size_t table_get_listing_count(const struct table *table, uint16_t lan)
{
	return listings_get_count_of_lan(table->listings, lan);
}

const struct lease *table_get_of_host(const struct table *table,
				      const struct ip_addr *host, size_t index)
{
	return listings_get_of_host(table->listings, host, index);
}

const struct lease *table_get_first_of_home(const struct table *table,
					    const struct ip_addr *internal)
{
	const struct home_node *node = homes_get(table->homes, internal);

	return node ? node->lease : NULL;
}

const struct lease *table_get_next_of_home(const struct table *table,
					   const struct lease *lease)
{
	const struct home_node *node = entry_of(lease)->home.next;

	(void)table;
	return node ? node->lease : NULL;
}

const struct lease *table_get_by_pinhole(const struct table *table, uint16_t id)
{
	return pinholes_get(table->pinholes, id);
}

uint16_t table_find_free_pinhole(const struct table *table, uint16_t start)
{
	return pinholes_find_free(table->pinholes, start);
}

const struct lease *table_get_first_of_client(const struct table *table,
					      const struct ip_addr *client)
{
	const struct holder *holder = holder_find(table, client);

	return holder ? &holder->entries->lease : NULL;
}

const struct lease *table_get_next_of_client(const struct table *table,
					     const struct lease *lease)
{
	(void)table;
	return lease_of(entry_of(lease)->next);
}

const struct lease *table_get_first_to_expire(const struct table *table)
{
	const struct expiry_node *node = expiry_get_first(table->expiry);
	const char *at = (const char *)node;

	if (!node)
		return NULL;
	return (const struct lease *)(const void *)(at -
						    offsetof(struct entry, expiry));
}

const struct lease *table_get_next(const struct table *table, const struct lease *lease)
{
	return lease ? lease_of(entry_of(lease)->hh_id.next) : lease_of(table->by_id);
}

size_t table_get_count(const struct table *table)
{
	return HASH_CNT(hh_id, table->by_id);
}

size_t table_get_client_count(const struct table *table)
{
	return HASH_COUNT(table->holders);
}

size_t table_get_count_of_client(const struct table *table,
				 const struct ip_addr *client)
{
	const struct holder *holder = holder_find(table, client);

	return holder ? holder->asked : 0;
}

size_t table_get_wide_count(const struct table *table)
{
	return table->wide_count;
}

size_t table_get_ipv6_wide_count(const struct table *table)
{
	return table->ipv6_wide_count;
}

size_t table_get_wide_count_of_client(const struct table *table,
				      const struct ip_addr *client)
{
	const struct holder *holder = holder_find(table, client);

	return holder ? holder->wide : 0;
}

size_t table_get_ipv6_count(const struct table *table)
{
	return table->ipv6_count;
}

size_t table_get_count_of_origin(const struct table *table, enum origin origin)
{
	return table->count_of_origin[origin];
}

struct ports *table_get_ports(const struct table *table)
{
	return table->ports;
}
