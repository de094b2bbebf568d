/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases end, a bounded number in one transaction: their time is over, somebody wants
 * it so, or the configuration allows them no more.
 */
#include <errno.h>

#include "backends/backend.h"
#include "daemon/ledger_private.h"
#include "daemon/ports.h"
#include "daemon/table.h"

/* Retry after a failure of the kernel, not to spin. */
#define EXPIRE_RETRY_MS 1000

/* Plan its end into the group. False: not now. */
static bool ledger_stage_end(struct ledger *ledger, uint64_t id, int64_t now_ms)
{
	lease_plan_end(ledger->table, id, &ledger->plan);
	return ledger->plan.result == RESULT_OK && ledger_stage(ledger, now_ms);
}

int ledger_commit_ends(struct ledger *ledger, const struct store_time *at, bool expired)
{
	struct plan *group = &ledger->group;
	int error;

	if (group->count == 0)
		return 0;
	error = ledger_apply(ledger, group->changes, group->count, at->now_ms);
	/* What has expired the kernel ends by itself: nothing to go back to. */
	if (error != 0 && !(expired && ledger->books.backend_ops->has_timeouts)) {
		lease_rollback(ledger->table, group->changes, group->count);
		return error;
	}
	books_write(&ledger->books, group->changes, group->count, at);
	ledger_report_group(ledger, expired, at->now_ms);
	return 0;
}

enum result ledger_end(struct ledger *ledger, uint64_t id, const struct store_time *at,
		       struct lease *out)
{
	enum result result = ledger_revoke(ledger, id, LEASE_END_OWNER, at);

	if (result == RESULT_OK)
		*out = ledger->group.changes[0].before;
	return result;
}

enum result ledger_revoke(struct ledger *ledger, uint64_t id, enum lease_end why,
			  const struct store_time *at)
{
	ledger->end = why;
	ledger_clear_group(ledger);
	lease_plan_end(ledger->table, id, &ledger->plan);
	if (ledger->plan.result != RESULT_OK)
		return ledger->plan.result;
	if (!ledger_stage(ledger, at->now_ms))
		return RESULT_NO_MEMORY;
	return ledger_commit_ends(ledger, at, false) == 0 ? RESULT_OK : RESULT_BACKEND;
}

int64_t ledger_get_due(const struct ledger *ledger)
{
	const struct lease *lease = table_get_first_to_expire(ledger->table);
	int64_t due_ms = ports_get_due(table_get_ports(ledger->table));

	if (lease && lease->expires_ms < due_ms)
		due_ms = lease->expires_ms;
	return ledger->books.sync_due_ms < due_ms ? ledger->books.sync_due_ms : due_ms;
}

int64_t ledger_expire(struct ledger *ledger, const struct store_time *at)
{
	const struct lease *lease;

	ports_reap(table_get_ports(ledger->table), at->now_ms);
	ledger->end = LEASE_END_TIME;
	ledger_clear_group(ledger);
	while ((lease = table_get_first_to_expire(ledger->table)) &&
	       lease->expires_ms <= at->now_ms && ledger->group.count < LEDGER_ENDS_MAX)
		if (!ledger_stage_end(ledger, lease->id, at->now_ms))
			break;
	if (ledger_commit_ends(ledger, at, true) != 0)
		return at->now_ms + EXPIRE_RETRY_MS;
	books_sync_store(&ledger->books, at->now_ms);
	return ledger_get_due(ledger);
}

int ledger_end_forbidden(struct ledger *ledger, const uint64_t *ids, size_t count,
			 const struct store_time *at, size_t *ended)
{
	int staged = 0;
	int error;

	if (count > LEDGER_ENDS_MAX)
		count = LEDGER_ENDS_MAX;
	ledger->end = LEASE_END_POLICY;
	ledger_clear_group(ledger);
	for (size_t i = 0; i < count && staged == 0; i++) {
		/* it may have ended with others of its set */
		const struct lease *lease = table_get_by_id(ledger->table, ids[i]);

		if (lease && ledger_is_forbidden(ledger, lease) &&
		    !ledger_stage_end(ledger, ids[i], at->now_ms))
			staged = -ENOMEM;
	}
	error = ledger_commit_ends(ledger, at, false);
	if (error == 0)
		*ended += ledger->group.count;
	return error == 0 ? staged : error;
}
