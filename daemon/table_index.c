/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases by id, by their keys and by the UniqueID of pinholes. */
#include <stdlib.h>
#include <string.h>

#include "daemon/lease_keys.h"
#include "daemon/table_private.h"

static const struct lease *item_get_lease(const void *item)
{
	const struct entry *entry = item;

	return &entry->lease;
}

/* --- what each is of --- */

static uint32_t id_get_hash(const void *item, uint64_t seed)
{
	uint64_t id = item_get_lease(item)->id;

	return index_hash(&id, sizeof(id), seed);
}

static bool id_is_of(const void *item, const void *key)
{
	return memcmp(&item_get_lease(item)->id, key, sizeof(uint64_t)) == 0;
}

static uint32_t pinhole_get_hash(const void *item, uint64_t seed)
{
	uint16_t id = item_get_lease(item)->pinhole;

	return index_hash(&id, sizeof(id), seed);
}

static bool pinhole_is_of(const void *item, const void *key)
{
	return memcmp(&item_get_lease(item)->pinhole, key, sizeof(uint16_t)) == 0;
}

static uint32_t external_get_hash(const void *item, uint64_t seed)
{
	const struct external_key key = lease_get_external_key(item_get_lease(item));

	return index_hash(&key, sizeof(key), seed);
}

static bool external_is_of(const void *item, const void *key)
{
	const struct external_key own = lease_get_external_key(item_get_lease(item));

	return memcmp(&own, key, sizeof(own)) == 0;
}

static uint32_t peer_get_hash(const void *item, uint64_t seed)
{
	const struct peer_key key = lease_get_peer_key(item_get_lease(item));

	return index_hash(&key, sizeof(key), seed);
}

static bool peer_is_of(const void *item, const void *key)
{
	const struct peer_key own = lease_get_peer_key(item_get_lease(item));

	return memcmp(&own, key, sizeof(own)) == 0;
}

static uint32_t internal_get_hash(const void *item, uint64_t seed)
{
	const struct internal_key key = lease_get_internal_key(item_get_lease(item));

	return index_hash(&key, sizeof(key), seed);
}

static bool internal_is_of(const void *item, const void *key)
{
	const struct internal_key own = lease_get_internal_key(item_get_lease(item));

	return memcmp(&own, key, sizeof(own)) == 0;
}

#define KIND(NAME, LINK)                                                               \
	static const struct index_kind NAME##_kind = {                                 \
		.link = offsetof(struct entry, LINK),                                  \
		.get_hash = NAME##_get_hash,                                           \
		.is_of = NAME##_is_of,                                                 \
	}

KIND(id, next_by_id);
KIND(external, next_by_external);
KIND(peer, next_by_name);
KIND(pinhole, next_by_name);
KIND(internal, next_by_internal);

bool table_indexes_init(struct table *table)
{
	table->by_id = index_new(table->entries, &id_kind);
	table->by_external = index_new(table->entries, &external_kind);
	table->by_peer = index_new(table->entries, &peer_kind);
	table->by_pinhole = index_new(table->entries, &pinhole_kind);
	table->by_internal = index_new(table->entries, &internal_kind);
	return table->by_id && table->by_external && table->by_peer &&
	       table->by_pinhole && table->by_internal;
}

void table_indexes_fini(struct table *table)
{
	index_free(table->by_internal);
	index_free(table->by_pinhole);
	index_free(table->by_peer);
	index_free(table->by_external);
	index_free(table->by_id);
}

static uint32_t find(const struct index *index, const void *key, size_t size)
{
	return index_find(index, index_hash(key, size, index_get_seed(index)), key);
}

/* --- internal endpoints: the index has the first, the others hang on it --- */

static uint32_t internal_find(const struct table *table, const struct lease *lease)
{
	const struct internal_key key = lease_get_internal_key(lease);

	return find(table->by_internal, &key, sizeof(key));
}

/* Outbound ones come first, so that nobody has to search for them. */
static void internal_link(struct table *table, struct entry *entry)
{
	uint32_t first = internal_find(table, &entry->lease);
	struct entry *head;

	entry->next_of_internal = 0;
	entry->prev_of_internal = entry->handle;
	if (first == 0) {
		index_add(table->by_internal, entry->handle);
		return;
	}
	head = table_get_entry(table, first);
	entry->prev_of_internal = head->prev_of_internal;
	head->prev_of_internal = entry->handle;
	if (entry->lease.outbound) {
		entry->next_of_internal = first;
		index_replace(table->by_internal, first, entry->handle);
	} else {
		table_get_entry(table, entry->prev_of_internal)->next_of_internal =
			entry->handle;
	}
}

static void internal_unlink(struct table *table, struct entry *entry)
{
	uint32_t first = internal_find(table, &entry->lease);
	uint32_t next = entry->next_of_internal;

	if (first != entry->handle) {
		table_get_entry(table, entry->prev_of_internal)->next_of_internal =
			next;
		table_get_entry(table, next != 0 ? next : first)->prev_of_internal =
			entry->prev_of_internal;
	} else if (next != 0) {
		table_get_entry(table, next)->prev_of_internal =
			entry->prev_of_internal;
		index_replace(table->by_internal, first, next);
	} else {
		index_remove(table->by_internal, first);
	}
}

void table_reindex_outbound(struct table *table, struct entry *entry)
{
	internal_unlink(table, entry);
	internal_link(table, entry);
}

/* --- all of them --- */

void table_index_entry(struct table *table, struct entry *entry)
{
	index_add(table->by_id, entry->handle);
	index_add(table->by_external, entry->handle);
	if (lease_is_peer(&entry->lease))
		index_add(table->by_peer, entry->handle);
	else if (entry->lease.pinhole != 0)
		index_add(table->by_pinhole, entry->handle);
	internal_link(table, entry);
}

void table_unindex_entry(struct table *table, struct entry *entry)
{
	internal_unlink(table, entry);
	if (lease_is_peer(&entry->lease))
		index_remove(table->by_peer, entry->handle);
	else if (entry->lease.pinhole != 0)
		index_remove(table->by_pinhole, entry->handle);
	index_remove(table->by_external, entry->handle);
	index_remove(table->by_id, entry->handle);
}

/* --- looking --- */

struct entry *table_find_id(const struct table *table, uint64_t id)
{
	uint32_t handle = find(table->by_id, &id, sizeof(id));

	return handle != 0 ? table_get_entry(table, handle) : NULL;
}

const struct lease *table_get_by_id(const struct table *table, uint64_t id)
{
	return table_get_lease(table, find(table->by_id, &id, sizeof(id)));
}

const struct lease *table_get_by_internal(const struct table *table,
					  const struct ip_addr *internal,
					  uint8_t protocol, uint16_t port)
{
	const struct internal_key key = {
		.addr = *internal, .port = port, .protocol = protocol};

	return table_get_lease(table, find(table->by_internal, &key, sizeof(key)));
}

const struct lease *table_get_next_of_internal(const struct table *table,
					       const struct lease *lease)
{
	const struct entry *entry = (const struct entry *)(const void *)lease;

	return table_get_lease(table, entry->next_of_internal);
}

const struct lease *table_get_by_external(const struct table *table,
					  const struct lease *like)
{
	const struct external_key key = lease_get_external_key(like);

	return table_get_lease(table, find(table->by_external, &key, sizeof(key)));
}

const struct lease *table_get_by_peer(const struct table *table,
				      const struct lease *like)
{
	const struct peer_key key = lease_get_peer_key(like);

	return table_get_lease(table, find(table->by_peer, &key, sizeof(key)));
}

const struct lease *table_get_by_pinhole(const struct table *table, uint16_t id)
{
	return table_get_lease(table, find(table->by_pinhole, &id, sizeof(id)));
}

uint16_t table_find_free_pinhole(const struct table *table, uint16_t start)
{
	uint16_t id = start > 0 ? start : 1;

	if (index_get_count(table->by_pinhole) == UINT16_MAX)
		return 0;
	while (table_get_by_pinhole(table, id))
		id = id < UINT16_MAX ? (uint16_t)(id + 1) : 1;
	return id;
}
