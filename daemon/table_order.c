/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases of a host in order of protocol, external port and id: a treap. A lease is
 * above those that a spread of its handle puts below it, which nobody can foresee, so
 * that the depth is that of a random tree whatever the order of coming.
 */
#include "daemon/table_private.h"

/* Where in the order something stands. */
struct order_key {
	uint8_t protocol;
	uint16_t port;
	uint64_t id;
};

static struct order_key get_key(const struct entry *entry)
{
	return (struct order_key){entry->lease.protocol, entry->lease.external_port,
				  entry->lease.id};
}

static bool is_before(const struct order_key *a, const struct order_key *b)
{
	if (a->protocol != b->protocol)
		return a->protocol < b->protocol;
	return a->port != b->port ? a->port < b->port : a->id < b->id;
}

static bool entry_is_before(const struct entry *a, const struct entry *b)
{
	const struct order_key key_a = get_key(a), key_b = get_key(b);

	return is_before(&key_a, &key_b);
}

static uint32_t get_rank(const struct table *table, const struct entry *entry)
{
	return index_hash(&entry->handle, sizeof(entry->handle),
			  index_get_seed(table->by_addr));
}

/* Its branches in this host's tree. */
static struct branches *get_branches(const struct host *host, struct entry *entry)
{
	return &entry->branches[table_get_chain_of(entry, host)];
}

/* The two sides of a tree, what is before the entry and what is behind it. */
static void order_split(const struct table *table, const struct host *host,
			const struct entry *entry, uint32_t rest, struct branches *out)
{
	uint32_t *before = &out->before;
	uint32_t *behind = &out->behind;

	while (rest != 0) {
		struct entry *at = table_get_entry(table, rest);
		struct branches *branches = get_branches(host, at);

		if (entry_is_before(at, entry)) {
			*before = rest;
			before = &branches->behind;
			rest = *before;
		} else {
			*behind = rest;
			behind = &branches->before;
			rest = *behind;
		}
	}
	*before = *behind = 0;
}

void table_order_add(const struct table *table, struct host *host, struct entry *entry)
{
	uint32_t rank = get_rank(table, entry);
	uint32_t *link = &host->order;

	while (*link != 0) {
		struct entry *at = table_get_entry(table, *link);
		struct branches *branches = get_branches(host, at);

		if (get_rank(table, at) < rank)
			break;
		link = entry_is_before(entry, at) ? &branches->before
						  : &branches->behind;
	}
	order_split(table, host, entry, *link, get_branches(host, entry));
	*link = entry->handle;
}

void table_order_remove(const struct table *table, struct host *host,
			struct entry *entry)
{
	struct branches rest = *get_branches(host, entry);
	uint32_t *link = &host->order;

	while (*link != entry->handle) {
		struct entry *at = table_get_entry(table, *link);
		struct branches *branches = get_branches(host, at);

		link = entry_is_before(entry, at) ? &branches->before
						  : &branches->behind;
	}
	while (rest.before != 0 && rest.behind != 0) {
		struct entry *before = table_get_entry(table, rest.before);
		struct entry *behind = table_get_entry(table, rest.behind);

		if (get_rank(table, before) > get_rank(table, behind)) {
			*link = rest.before;
			link = &get_branches(host, before)->behind;
			rest.before = *link;
		} else {
			*link = rest.behind;
			link = &get_branches(host, behind)->before;
			rest.behind = *link;
		}
	}
	*link = rest.before != 0 ? rest.before : rest.behind;
}

const struct lease *table_get_behind(const struct table *table,
				     const struct table_cursor *cursor)
{
	const struct order_key key = {cursor->protocol, cursor->port, cursor->id};
	const struct lease *found = NULL;
	uint32_t handle = cursor->host ? cursor->host->order : 0;

	while (handle != 0) {
		struct entry *at = table_get_entry(table, handle);
		const struct branches *branches = get_branches(cursor->host, at);
		const struct order_key own = get_key(at);

		if (is_before(&key, &own)) {
			found = &at->lease;
			handle = branches->before;
		} else {
			handle = branches->behind;
		}
	}
	return found;
}
