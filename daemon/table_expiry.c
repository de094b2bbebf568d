/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A heap of the leases that end, in an array: what ends first is on top. */
#include "base/array.h"
#include "base/clock.h"
#include "daemon/table_private.h"

#define EXPIRY_SIZE_MIN 64

static int64_t heap_get_end(const struct table *table, size_t place)
{
	return table_get_entry(table, table->expiry.items[place])->lease.expires_ms;
}

static void heap_put(struct table *table, size_t place, uint32_t handle)
{
	table->expiry.items[place] = handle;
	table_get_entry(table, handle)->expiry = (uint32_t)place;
}

static void heap_rise(struct table *table, size_t place)
{
	uint32_t handle = table->expiry.items[place];
	int64_t end_ms = heap_get_end(table, place);

	for (; place > 1 && heap_get_end(table, place / 2) > end_ms; place /= 2)
		heap_put(table, place, table->expiry.items[place / 2]);
	heap_put(table, place, handle);
}

static void heap_sink(struct table *table, size_t place)
{
	uint32_t handle = table->expiry.items[place];
	int64_t end_ms = heap_get_end(table, place);
	size_t count = table->expiry.count;
	size_t child;

	for (; (child = 2 * place) <= count; place = child) {
		if (child < count &&
		    heap_get_end(table, child + 1) < heap_get_end(table, child))
			child++;
		if (heap_get_end(table, child) >= end_ms)
			break;
		heap_put(table, place, table->expiry.items[child]);
	}
	heap_put(table, place, handle);
}

bool table_reserve_expiry(struct table *table)
{
	/* the first place is nobody's */
	uint32_t *items =
		array_reserve(table->expiry.items, table_get_count(table) + 1,
			      &table->expiry.size, sizeof(*items), EXPIRY_SIZE_MIN);

	if (items)
		table->expiry.items = items;
	return items != NULL;
}

void table_enter_expiry(struct table *table, struct entry *entry)
{
	if (entry->lease.expires_ms == TIME_NEVER)
		return;
	heap_put(table, ++table->expiry.count, entry->handle);
	heap_rise(table, table->expiry.count);
}

void table_leave_expiry(struct table *table, struct entry *entry)
{
	size_t place = entry->expiry;
	uint32_t last;

	if (place == 0)
		return;
	entry->expiry = 0;
	last = table->expiry.items[table->expiry.count--];
	if (last == entry->handle)
		return;
	heap_put(table, place, last);
	heap_rise(table, place);
	heap_sink(table, table_get_entry(table, last)->expiry);
}

const struct lease *table_get_first_to_expire(const struct table *table)
{
	return table->expiry.count > 0 ? table_get_lease(table, table->expiry.items[1])
				       : NULL;
}
