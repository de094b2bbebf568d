/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/listings.h"

#define HASH_NONFATAL_OOM 1
#include <assert.h>
#include <stdlib.h>
#include <uthash.h>

#include "base/array.h"
#include "protocols/worker.h"

#define LISTING_SIZE_FIRST 4

struct listing {
	struct listing_node **nodes;
	size_t count;
	size_t size;
};

struct listing_host {
	struct ip_addr addr;
	struct listing listing;
	UT_hash_handle hh;
};

struct listings {
	struct listing lans[LANS_MAX];
	struct listing_host *hosts;
};

struct listings *listings_new(void)
{
	return calloc(1, sizeof(struct listings));
}

void listings_free(struct listings *listings)
{
	struct listing_host *host;

	if (!listings)
		return;
	host = listings->hosts;
	HASH_CLEAR(hh, listings->hosts);
	while (host) {
		struct listing_host *next = host->hh.next;

		free(host->listing.nodes);
		free(host);
		host = next;
	}
	for (size_t lan = 0; lan < LANS_MAX; lan++)
		free(listings->lans[lan].nodes);
	free(listings);
}

/* --- one listing --- */

static bool listing_add(struct listing *listing, struct listing_node *node)
{
	struct listing_node **nodes =
		array_reserve(listing->nodes, listing->count, &listing->size,
			      sizeof(struct listing_node *), LISTING_SIZE_FIRST);

	if (!nodes)
		return false;
	listing->nodes = nodes;
	node->index = listing->count;
	listing->nodes[listing->count++] = node;
	return true;
}

static void listing_remove(struct listing *listing, const struct listing_node *node)
{
	struct listing_node *last = listing->nodes[--listing->count];

	listing->nodes[node->index] = last;
	last->index = node->index;
}

static const struct lease *listing_get(const struct listing *listing, size_t index)
{
	return index < listing->count ? listing->nodes[index]->lease : NULL;
}

/* --- hosts --- */

static struct listing_host *host_find(const struct listings *listings,
				      const struct ip_addr *addr)
{
	struct listing_host *host;

	HASH_FIND(hh, listings->hosts, addr, sizeof(*addr), host);
	return host;
}

static struct listing_host *host_get(struct listings *listings,
				     const struct ip_addr *addr)
{
	struct listing_host *host = host_find(listings, addr);

	if (host)
		return host;
	host = calloc(1, sizeof(*host));
	if (!host)
		return NULL;
	host->addr = *addr;
	HASH_ADD(hh, listings->hosts, addr, sizeof(host->addr), host);
	if (host->hh.tbl)
		return host;
	free(host);
	return NULL;
}

static void host_put(struct listings *listings, struct listing_host *host)
{
	if (host->listing.count > 0)
		return;
	assert(listings->hosts); /* it is one of them */
	HASH_DEL(listings->hosts, host);
	free(host->listing.nodes);
	free(host);
}

static bool host_add(struct listings *listings, const struct ip_addr *addr,
		     struct listing_node *node)
{
	struct listing_host *host = host_get(listings, addr);

	if (!host)
		return false;
	node->host = host;
	if (listing_add(&host->listing, node))
		return true;
	host_put(listings, host);
	return false;
}

static void host_remove(struct listings *listings, const struct listing_node *node)
{
	listing_remove(&node->host->listing, node);
	host_put(listings, node->host);
}

/* --- leases --- */

static bool is_third_party(const struct lease *lease)
{
	return !addr_equal(&lease->internal, &lease->client);
}

bool listings_enter_lan(struct listings *listings, struct listed *listed,
			const struct lease *lease)
{
	return !lease_is_listed(lease) || lease->lan >= LANS_MAX ||
	       listing_add(&listings->lans[lease->lan], &listed->of_lan);
}

void listings_leave_lan(struct listings *listings, struct listed *listed,
			const struct lease *lease)
{
	if (lease_is_listed(lease) && lease->lan < LANS_MAX)
		listing_remove(&listings->lans[lease->lan], &listed->of_lan);
}

static bool hosts_add(struct listings *listings, struct listed *listed,
		      const struct lease *lease)
{
	if (!lease_is_listed(lease))
		return true;
	if (!host_add(listings, &lease->client, &listed->of_client))
		return false;
	if (!is_third_party(lease) ||
	    host_add(listings, &lease->internal, &listed->of_internal))
		return true;
	host_remove(listings, &listed->of_client);
	return false;
}

static void hosts_remove(struct listings *listings, struct listed *listed,
			 const struct lease *lease)
{
	if (!lease_is_listed(lease))
		return;
	host_remove(listings, &listed->of_client);
	if (is_third_party(lease))
		host_remove(listings, &listed->of_internal);
}

bool listings_add(struct listings *listings, struct listed *listed,
		  const struct lease *lease)
{
	listed->of_lan.lease = lease;
	listed->of_client.lease = lease;
	listed->of_internal.lease = lease;
	if (!hosts_add(listings, listed, lease))
		return false;
	if (listings_enter_lan(listings, listed, lease))
		return true;
	hosts_remove(listings, listed, lease);
	return false;
}

void listings_remove(struct listings *listings, struct listed *listed,
		     const struct lease *lease)
{
	hosts_remove(listings, listed, lease);
	listings_leave_lan(listings, listed, lease);
}

const struct lease *listings_get_of_lan(const struct listings *listings, uint16_t lan,
					size_t index)
{
	return lan < LANS_MAX ? listing_get(&listings->lans[lan], index) : NULL;
}

size_t listings_get_count_of_lan(const struct listings *listings, uint16_t lan)
{
	return lan < LANS_MAX ? listings->lans[lan].count : 0;
}

const struct lease *listings_get_of_host(const struct listings *listings,
					 const struct ip_addr *host, size_t index)
{
	const struct listing_host *found = host_find(listings, host);

	return found ? listing_get(&found->listing, index) : NULL;
}
