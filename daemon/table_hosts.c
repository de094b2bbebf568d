/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases by host, and what is listed by number, of hosts and of LANs. */
#include <stdlib.h>

#include "base/array.h"
#include "daemon/table_private.h"

#define LISTING_SIZE_FIRST 4

/* --- hosts --- */

static uint32_t host_get_hash(const void *item, uint64_t seed)
{
	const struct host *host = item;

	return index_hash(&host->addr, sizeof(host->addr), seed);
}

static bool host_is_of(const void *item, const void *key)
{
	const struct host *host = item;

	return addr_equal(&host->addr, key);
}

static const struct index_kind addr_kind = {
	.link = offsetof(struct host, next_by_addr),
	.get_hash = host_get_hash,
	.is_of = host_is_of,
};

bool table_hosts_init(struct table *table)
{
	table->hosts = pool_new(sizeof(struct host));
	if (table->hosts)
		table->by_addr = index_new(table->hosts, &addr_kind);
	return table->by_addr != NULL;
}

void table_hosts_fini(struct table *table)
{
	uint32_t handle = 0;

	while (table->hosts && (handle = pool_get_next(table->hosts, handle)) != 0) {
		struct host *host = pool_get(table->hosts, handle);

		free(host->listing.items);
	}
	for (size_t lan = 0; lan < LANS_MAX; lan++)
		free(table->lans[lan].items);
	index_free(table->by_addr);
	pool_free(table->hosts);
}

static struct host *host_find(const struct table *table, const struct ip_addr *addr)
{
	uint32_t hash = index_hash(addr, sizeof(*addr), index_get_seed(table->by_addr));
	uint32_t handle = index_find(table->by_addr, hash, addr);

	return handle != 0 ? pool_get(table->hosts, handle) : NULL;
}

/* The host, or a new one. Errors: NULL, out of memory. */
static struct host *host_get(struct table *table, const struct ip_addr *addr)
{
	struct host *host = host_find(table, addr);
	uint32_t handle;

	if (host)
		return host;
	handle = pool_add(table->hosts);
	if (handle == 0)
		return NULL;
	host = pool_get(table->hosts, handle);
	host->addr = *addr;
	host->handle = handle;
	index_add(table->by_addr, handle);
	return host;
}

/* It may have no lease any more. */
static void host_put(struct table *table, struct host *host)
{
	if (host->first[CHAIN_CLIENT] != 0 || host->first[CHAIN_HOME] != 0)
		return;
	index_remove(table->by_addr, host->handle);
	free(host->listing.items);
	pool_remove(table->hosts, host->handle);
}

struct host *table_get_host(const struct table *table, const struct entry *entry,
			    enum table_chain chain)
{
	return pool_get(table->hosts, entry->hosts[chain]);
}

/* --- chains, in order of coming --- */

static void chain_append(struct table *table, struct host *host, struct entry *entry,
			 enum table_chain chain)
{
	struct chain_link *link = &entry->links[chain];
	uint32_t *first = &host->first[chain];
	struct chain_link *head;

	entry->hosts[chain] = host->handle;
	link->next = 0;
	if (*first == 0) {
		*first = link->prev = entry->handle;
		return;
	}
	head = &table_get_entry(table, *first)->links[chain];
	link->prev = head->prev;
	table_get_entry(table, head->prev)->links[chain].next = entry->handle;
	head->prev = entry->handle;
}

static void chain_remove(struct table *table, struct host *host, struct entry *entry,
			 enum table_chain chain)
{
	const struct chain_link *link = &entry->links[chain];
	uint32_t *first = &host->first[chain];
	uint32_t behind = link->next != 0 ? link->next : *first;

	/* prev of the first is the last */
	table_get_entry(table, behind)->links[chain].prev = link->prev;
	if (*first == entry->handle)
		*first = link->next;
	else
		table_get_entry(table, link->prev)->links[chain].next = link->next;
}

/* --- listings --- */

static bool listing_reserve(struct listing *listing)
{
	uint32_t *items = array_reserve(listing->items, listing->count, &listing->size,
					sizeof(*items), LISTING_SIZE_FIRST);

	if (items)
		listing->items = items;
	return items != NULL;
}

static void listing_add(struct listing *listing, struct entry *entry,
			enum table_listing which)
{
	entry->places[which] = (uint32_t)listing->count;
	listing->items[listing->count++] = entry->handle;
}

static bool is_third_party(const struct lease *lease)
{
	return !addr_equal(&lease->internal, &lease->client);
}

/* Which of its places in a host's listing a lease has for this host. */
static enum table_listing get_listing_of(const struct entry *entry,
					 const struct host *host)
{
	return table_get_chain_of(entry, host) == CHAIN_CLIENT ? LISTING_CLIENT
							       : LISTING_HOME;
}

/* The last one takes the place; returns it. */
static struct entry *listing_remove(struct table *table, struct listing *listing,
				    uint32_t place)
{
	uint32_t last = listing->items[--listing->count];

	listing->items[place] = last;
	return table_get_entry(table, last);
}

static void host_list(const struct table *table, struct host *host, struct entry *entry)
{
	listing_add(&host->listing, entry, get_listing_of(entry, host));
	table_order_add(table, host, entry);
}

static void host_unlist(struct table *table, struct host *host, struct entry *entry)
{
	uint32_t place = entry->places[get_listing_of(entry, host)];
	struct entry *last = listing_remove(table, &host->listing, place);

	last->places[get_listing_of(last, host)] = place;
	table_order_remove(table, host, entry);
}

static struct listing *get_lan_listing(struct table *table, const struct lease *lease)
{
	return lease_is_listed(lease) && lease->lan < LANS_MAX
		       ? &table->lans[lease->lan]
		       : NULL;
}

static void lan_unlist(struct table *table, struct entry *entry)
{
	struct listing *listing = get_lan_listing(table, &entry->lease);
	uint32_t place = entry->places[LISTING_LAN];

	if (listing)
		listing_remove(table, listing, place)->places[LISTING_LAN] = place;
}

static void lan_list(struct table *table, struct entry *entry)
{
	struct listing *listing = get_lan_listing(table, &entry->lease);

	if (listing)
		listing_add(listing, entry, LISTING_LAN);
}

void table_move_lan(struct table *table, struct entry *entry, uint16_t lan)
{
	if (lease_is_listed(&entry->lease) && lan < LANS_MAX &&
	    !listing_reserve(&table->lans[lan]))
		return;
	lan_unlist(table, entry);
	entry->lease.lan = lan;
	lan_list(table, entry);
}

/* --- entries --- */

static bool reserve_listings(struct table *table, const struct lease *lease,
			     struct host *client, struct host *home)
{
	struct listing *lan = get_lan_listing(table, lease);

	if (!lease_is_listed(lease))
		return true;
	return listing_reserve(&client->listing) &&
	       (client == home || listing_reserve(&home->listing)) &&
	       (!lan || listing_reserve(lan));
}

bool table_reserve_hosts(struct table *table, struct entry *entry)
{
	struct host *client = host_get(table, &entry->lease.client);
	struct host *home = client ? host_get(table, &entry->lease.internal) : NULL;

	if (!client)
		return false;
	if (home && reserve_listings(table, &entry->lease, client, home)) {
		entry->hosts[CHAIN_CLIENT] = client->handle;
		entry->hosts[CHAIN_HOME] = home->handle;
		return true;
	}
	if (home && home != client)
		host_put(table, home);
	host_put(table, client);
	return false;
}

void table_join_hosts(struct table *table, struct entry *entry)
{
	struct host *client = table_get_host(table, entry, CHAIN_CLIENT);
	struct host *home = table_get_host(table, entry, CHAIN_HOME);

	table->client_count += client->first[CHAIN_CLIENT] == 0;
	chain_append(table, client, entry, CHAIN_CLIENT);
	chain_append(table, home, entry, CHAIN_HOME);
	lan_list(table, entry);
	if (!lease_is_listed(&entry->lease))
		return;
	host_list(table, client, entry);
	if (is_third_party(&entry->lease))
		host_list(table, home, entry);
}

void table_leave_hosts(struct table *table, struct entry *entry)
{
	struct host *client = table_get_host(table, entry, CHAIN_CLIENT);
	struct host *home = table_get_host(table, entry, CHAIN_HOME);

	if (lease_is_listed(&entry->lease)) {
		host_unlist(table, client, entry);
		if (is_third_party(&entry->lease))
			host_unlist(table, home, entry);
	}
	lan_unlist(table, entry);
	chain_remove(table, client, entry, CHAIN_CLIENT);
	chain_remove(table, home, entry, CHAIN_HOME);
	table->client_count -= client->first[CHAIN_CLIENT] == 0;
	if (home != client)
		host_put(table, home);
	host_put(table, client);
}

/* --- looking --- */

static const struct lease *listing_get(const struct table *table,
				       const struct listing *listing, size_t number)
{
	return number < listing->count ? table_get_lease(table, listing->items[number])
				       : NULL;
}

const struct lease *table_get_by_index(const struct table *table, uint16_t lan,
				       size_t index)
{
	return lan < LANS_MAX ? listing_get(table, &table->lans[lan], index) : NULL;
}

size_t table_get_listing_count(const struct table *table, uint16_t lan)
{
	return lan < LANS_MAX ? table->lans[lan].count : 0;
}

const struct lease *table_get_of_host(const struct table *table,
				      const struct ip_addr *addr, size_t index)
{
	const struct host *host = host_find(table, addr);

	return host ? listing_get(table, &host->listing, index) : NULL;
}

const struct host *table_find_host(const struct table *table,
				   const struct ip_addr *host)
{
	return host_find(table, host);
}

static const struct lease *get_first(const struct table *table,
				     const struct ip_addr *addr, enum table_chain chain)
{
	const struct host *host = host_find(table, addr);

	return host ? table_get_lease(table, host->first[chain]) : NULL;
}

static const struct lease *get_next(const struct table *table,
				    const struct lease *lease, enum table_chain chain)
{
	const struct entry *entry = (const struct entry *)(const void *)lease;

	return table_get_lease(table, entry->links[chain].next);
}

const struct lease *table_get_first_of_home(const struct table *table,
					    const struct ip_addr *internal)
{
	return get_first(table, internal, CHAIN_HOME);
}

const struct lease *table_get_next_of_home(const struct table *table,
					   const struct lease *lease)
{
	return get_next(table, lease, CHAIN_HOME);
}

const struct lease *table_get_first_of_client(const struct table *table,
					      const struct ip_addr *client)
{
	return get_first(table, client, CHAIN_CLIENT);
}

const struct lease *table_get_next_of_client(const struct table *table,
					     const struct lease *lease)
{
	return get_next(table, lease, CHAIN_CLIENT);
}

size_t table_get_client_count(const struct table *table)
{
	return table->client_count;
}

size_t table_get_count_of_client(const struct table *table,
				 const struct ip_addr *client)
{
	const struct host *host = host_find(table, client);

	return host ? host->asked : 0;
}

size_t table_get_wide_count_of_client(const struct table *table,
				      const struct ip_addr *client)
{
	const struct host *host = host_find(table, client);

	return host ? host->wide : 0;
}
