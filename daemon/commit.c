/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Doing a plan in the table, and undoing it. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/plan.h"
#include "daemon/table.h"

static int change_do(struct table *table, const struct lease_change *change,
		     int64_t now_ms)
{
	switch (change->kind) {
	case LEASE_ADD:
		return table_insert(table, &change->after);
	case LEASE_UPDATE:
		return table_update(table, &change->after);
	case LEASE_REMOVE:
		table_remove(table, change->before.id, now_ms);
		return 0;
	}
	return -EINVAL;
}

static void change_undo(struct table *table, const struct lease_change *change)
{
	switch (change->kind) {
	case LEASE_ADD:
		table_take_back(table, change->after.id);
		break;
	/* Out of memory for a few octets here would leave a table that is not whole; a
	 * new start from the store is. */
	case LEASE_UPDATE:
		if (table_update(table, &change->before) != 0)
			abort();
		break;
	case LEASE_REMOVE:
		if (table_insert(table, &change->before) != 0)
			abort();
		break;
	}
}

int lease_commit(struct table *table, const struct lease_change *changes, size_t count,
		 int64_t now_ms)
{
	for (size_t i = 0; i < count; i++) {
		int error = change_do(table, &changes[i], now_ms);

		if (error != 0) {
			lease_rollback(table, changes, i);
			return error;
		}
	}
	return 0;
}

void lease_rollback(struct table *table, const struct lease_change *changes,
		    size_t count)
{
	while (count-- > 0)
		change_undo(table, &changes[count]);
}
