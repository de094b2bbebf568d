/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/table_private.h"

struct entry *table_get_entry(const struct table *table, uint32_t handle)
{
	return pool_get(table->entries, handle);
}

const struct lease *table_get_lease(const struct table *table, uint32_t handle)
{
	return handle != 0 ? &table_get_entry(table, handle)->lease : NULL;
}

size_t table_get_count(const struct table *table)
{
	return pool_get_count(table->entries);
}

enum table_chain table_get_chain_of(const struct entry *entry, const struct host *host)
{
	return entry->hosts[CHAIN_CLIENT] == host->handle ? CHAIN_CLIENT : CHAIN_HOME;
}
