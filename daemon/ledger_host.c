/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases belong to machines: they end when their address is another machine's, and go
 * where their machine goes.
 */
#include <errno.h>
#include <string.h>

#include "daemon/ledger_private.h"
#include "daemon/table.h"

static bool move_is_allowed(void *user, const struct lease *lease)
{
	return ledger_allows(user, lease);
}

/* All of them in one transaction; what is of their sets with them. */
static int ledger_end_all(struct ledger *ledger, const uint64_t *ids, size_t count,
			  const struct store_time *at)
{
	ledger->end = LEASE_END_HOST;
	ledger_clear_group(ledger);
	for (size_t i = 0; i < count; i++) {
		lease_plan_end(ledger->table, ids[i], &ledger->plan);
		if (ledger->plan.result == RESULT_NO_ENTRY)
			continue; /* with others of its set */
		if (ledger->plan.result == RESULT_OK &&
		    ledger_stage(ledger, at->now_ms))
			continue;
		lease_rollback(ledger->table, ledger->group.changes,
			       ledger->group.count);
		return -ENOMEM;
	}
	return ledger_commit_ends(ledger, at, false);
}

/* Some leases of an address, of its machine or of others; returns how many. */
static size_t find_of_machine(const struct ledger *ledger, const struct ip_addr *host,
			      const uint8_t *mac, bool theirs,
			      uint64_t ids[LEDGER_ENDS_MAX])
{
	const struct lease *lease = table_get_first_of_home(ledger->table, host);
	size_t count = 0;

	for (; lease && count < LEDGER_ENDS_MAX;
	     lease = table_get_next_of_home(ledger->table, lease))
		if (lease->has_mac && lease->origin != ORIGIN_STATIC &&
		    lease_is_of_machine(lease, mac) == theirs)
			ids[count++] = lease->id;
	return count;
}

/* -EAGAIN: there may be more. */
static int ledger_end_some(struct ledger *ledger, const uint64_t *ids, size_t count,
			   const struct store_time *at)
{
	int error = ledger_end_all(ledger, ids, count, at);

	return error == 0 && count == LEDGER_ENDS_MAX ? -EAGAIN : error;
}

int ledger_end_strangers(struct ledger *ledger, const struct ip_addr *host,
			 const uint8_t mac[LEASE_MAC_SIZE], const struct store_time *at)
{
	uint64_t ids[LEDGER_ENDS_MAX];
	size_t count = find_of_machine(ledger, host, mac, false, ids);

	return ledger_end_some(ledger, ids, count, at);
}

void ledger_note_machine(struct ledger *ledger, const struct ip_addr *host,
			 const uint8_t mac[LEASE_MAC_SIZE], const struct store_time *at)
{
	struct plan *plan = &ledger->plan;

	lease_plan_machine(ledger->table, host, mac, plan);
	/* neither kernel nor clients know of it: nothing to undo, nothing to tell */
	if (plan->count > 0 &&
	    lease_commit(ledger->table, plan->changes, plan->count, at->now_ms) == 0)
		books_write(&ledger->books, plan->changes, plan->count, at);
}

static int ledger_move_all(struct ledger *ledger, const struct plan_move *move,
			   const struct store_time *at)
{
	struct plan *plan = &ledger->plan;

	ledger->end = LEASE_END_MOVED;
	ledger_clear_group(ledger);
	lease_plan_move(ledger->table, move, plan);
	if (plan->result != RESULT_OK)
		return -ENOMEM;
	for (size_t i = 0; i < plan->count; i++)
		if (plan->changes[i].kind == LEASE_REMOVE)
			ledger_look_at_pinhole(ledger, &plan->changes[i].before,
					       at->now_ms);
	if (plan->count > 0 && !ledger_stage(ledger, at->now_ms))
		return -ENOMEM;
	return ledger_commit_ends(ledger, at, false);
}

int ledger_move_machine(struct ledger *ledger, const struct ledger_move *asked,
			const struct store_time *at)
{
	struct plan_move move = {.from = asked->from,
				 .to = asked->to,
				 .lan = asked->lan,
				 .is_allowed = move_is_allowed,
				 .user = ledger};
	uint64_t ids[LEDGER_ENDS_MAX];
	size_t count;
	int error;

	memcpy(move.mac, asked->mac, sizeof(move.mac));
	count = lease_find_left(ledger->table, &move, ids, LEDGER_ENDS_MAX);
	error = ledger_end_some(ledger, ids, count, at);
	if (error != 0)
		return error;
	move.next_id = ledger->next_id;
	error = ledger_move_all(ledger, &move, at);
	if (error == 0 || error == -ENOMEM || ledger->figures.backend_failed)
		return error;
	/* the firewall has no place for them, and will have none */
	count = find_of_machine(ledger, &move.from, move.mac, true, ids);
	return ledger_end_some(ledger, ids, count, at);
}
