/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * That the lease table has changed, for UPnP clients that watch it: told at once, and
 * in a busy time at most every CORE_TABLE_INTERVAL_MS.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/core_private.h"
#include "daemon/table.h"

bool core_table_is_news(const struct core *core)
{
	return memcmp(ledger_get_update_ids(core->ledger), core->table_told_ids,
		      sizeof(core->table_told_ids)) != 0;
}

void core_table_take(struct core *core, struct table_info *out)
{
	const struct table *table = ledger_get_table(core->ledger);

	memset(out, 0, sizeof(*out));
	memcpy(out->update_ids, ledger_get_update_ids(core->ledger),
	       sizeof(out->update_ids));
	for (size_t i = 0; i < core->network.lan_count && i < LANS_MAX; i++)
		out->entries[i] = (uint32_t)table_get_listing_count(table, (uint16_t)i);
	if (core->table_due)
		(void)event_del(core->table_timer);
	core->table_due = false;
	memcpy(core->table_told_ids, out->update_ids, sizeof(core->table_told_ids));
	core->table_told_ms = clock_now_ms();
}

void core_table_follow_up(struct core *core)
{
	struct timeval delay = {0};
	int64_t rest_ms;

	if (core->table_due || !core_table_is_news(core))
		return;
	rest_ms = core->table_told_ms + CORE_TABLE_INTERVAL_MS - clock_now_ms();
	if (rest_ms > 0)
		delay.tv_usec = (suseconds_t)rest_ms * 1000;
	core->table_due = event_add(core->table_timer, &delay) == 0;
}

int core_table_open(struct core *core, event_callback_fn tell)
{
	memcpy(core->table_told_ids, ledger_get_update_ids(core->ledger),
	       sizeof(core->table_told_ids));
	core->table_told_ms = clock_now_ms() - CORE_TABLE_INTERVAL_MS;
	core->table_timer = event_new(core->base, -1, 0, tell, core);
	return core->table_timer ? 0 : -ENOMEM;
}

void core_table_close(struct core *core)
{
	if (core->table_timer)
		event_free(core->table_timer);
	core->table_timer = NULL;
}
