/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/table.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/lease_keys.h"
#include "daemon/lease_ports.h"
#include "daemon/ports.h"
#include "daemon/table_private.h"

struct table *table_new(void)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->ports = ports_new();
	table->entries = pool_new(sizeof(struct entry));
	if (table->ports && table->entries && table_indexes_init(table) &&
	    table_hosts_init(table))
		return table;
	table_free(table);
	return NULL;
}

void table_free(struct table *table)
{
	const struct lease *lease = NULL;

	if (!table)
		return;
	while (table->entries && (lease = table_get_next(table, lease)))
		lease_free_extra(lease);
	table_hosts_fini(table);
	table_indexes_fini(table);
	free(table->expiry.items);
	pool_free(table->entries);
	ports_free(table->ports);
	free(table);
}

/* --- entries --- */

static struct entry *entry_add(struct table *table, const struct lease *lease)
{
	uint32_t handle = pool_add(table->entries);
	struct entry *entry;

	if (handle == 0)
		return NULL;
	entry = table_get_entry(table, handle);
	entry->handle = handle;
	entry->lease = *lease;
	if (lease_own_extra(&entry->lease))
		return entry;
	pool_remove(table->entries, handle);
	return NULL;
}

static void entry_remove(struct table *table, struct entry *entry)
{
	lease_free_extra(&entry->lease);
	pool_remove(table->entries, entry->handle);
}

/* By origin, and of the client what it asked for itself. */
static void table_count(struct table *table, const struct entry *entry, int step)
{
	size_t wide = lease_count_wide_filters(&entry->lease) * (size_t)step;
	struct host *client = table_get_host(table, entry, CHAIN_CLIENT);

	table->count_of_origin[entry->lease.origin] += (size_t)step;
	if (!addr_is_ipv4(&entry->lease.internal)) {
		table->ipv6_count += (size_t)step;
		table->ipv6_wide_count += wide;
	}
	table->enabled_count += entry->lease.enabled ? (size_t)step : 0;
	table->wide_count += wide;
	client->wide += (uint32_t)wide;
	if (entry->lease.origin != ORIGIN_STATIC)
		client->asked += (uint32_t)step;
}

static bool table_has_like(const struct table *table, const struct lease *lease)
{
	return table_get_by_id(table, lease->id) ||
	       table_get_by_external(table, lease) || table_get_by_peer(table, lease) ||
	       (lease->pinhole != 0 && table_get_by_pinhole(table, lease->pinhole));
}

/* All that may fail comes first. */
int table_insert(struct table *table, const struct lease *lease)
{
	struct entry *entry;
	int error;

	if (table_has_like(table, lease))
		return -EEXIST;
	if (!table_reserve_expiry(table))
		return -ENOMEM;
	entry = entry_add(table, lease);
	if (!entry)
		return -ENOMEM;
	error = lease_hold_port(table->ports, lease);
	if (error != 0) {
		entry_remove(table, entry);
		return error;
	}
	if (!table_reserve_hosts(table, entry)) {
		lease_unhold_port(table->ports, lease);
		entry_remove(table, entry);
		return -ENOMEM;
	}
	table_join_hosts(table, entry);
	table_index_entry(table, entry);
	table_enter_expiry(table, entry);
	table_count(table, entry, +1);
	return 0;
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
	bool taken, was_outbound;

	if (!entry)
		return 0;
	/* Other keys would stay behind in the indexes, and be read when the entry is
	 * long freed: better to end here. */
	if (!lease_has_same_keys(&entry->lease, lease))
		abort();
	was_outbound = entry->lease.outbound;
	table_leave_expiry(table, entry);
	table_count(table, entry, -1);
	taken = entry_take(entry, lease);
	table_count(table, entry, +1);
	table_enter_expiry(table, entry);
	if (!taken)
		return -ENOMEM;
	if (entry->lease.outbound != was_outbound)
		table_reindex_outbound(table, entry);
	if (entry->lease.lan != lease->lan)
		table_move_lan(table, entry, lease->lan);
	return 0;
}

static void table_unlink(struct table *table, struct entry *entry)
{
	table_count(table, entry, -1);
	table_leave_expiry(table, entry);
	table_unindex_entry(table, entry);
	table_leave_hosts(table, entry);
	entry_remove(table, entry);
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

/* --- looking --- */

const struct lease *table_get_next(const struct table *table, const struct lease *lease)
{
	const struct entry *entry = (const struct entry *)(const void *)lease;
	uint32_t handle = entry ? entry->handle : 0;

	return table_get_lease(table, pool_get_next(table->entries, handle));
}

size_t table_get_enabled_count(const struct table *table)
{
	return table->enabled_count;
}

size_t table_get_wide_count(const struct table *table)
{
	return table->wide_count;
}

size_t table_get_ipv6_wide_count(const struct table *table)
{
	return table->ipv6_wide_count;
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
