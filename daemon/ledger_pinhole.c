/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets of pinholes, which survive renewals (V6FW-11). A firewall may begin to count
 * anew with each renewal, as Linux before 6.12 does, or when our rules are put right:
 * what it had counted before is kept here.
 */
#include <stdlib.h>

#include "backends/backend.h"
#include "daemon/ledger_private.h"

struct pinhole_count {
	uint64_t before; /* by rules that are no more */
	uint64_t seen;	 /* by the rule of now, when it was last looked at */
};

static struct pinhole_count *get_count(struct ledger *ledger, uint16_t id)
{
	if (!ledger->pinhole_counts)
		ledger->pinhole_counts =
			calloc(UINT16_MAX + 1, sizeof(struct pinhole_count));
	return ledger->pinhole_counts ? &ledger->pinhole_counts[id] : NULL;
}

uint64_t ledger_count_pinhole(struct ledger *ledger, const struct lease *lease,
			      int64_t now_ms)
{
	struct pinhole_count *count = get_count(ledger, lease->pinhole);
	struct rule_counters traffic;

	ledger_get_traffic(ledger, lease, now_ms, &traffic);
	if (!count)
		return traffic.packets; /* out of memory: as good as there is */
	if (traffic.packets < count->seen)
		count->before += count->seen;
	count->seen = traffic.packets;
	return count->before + count->seen;
}

void ledger_look_at_pinhole(struct ledger *ledger, const struct lease *lease,
			    int64_t now_ms)
{
	if (lease->pinhole != 0)
		(void)ledger_count_pinhole(ledger, lease, now_ms);
}

/* Another rule counts from now on, from zero. */
static void move_count(struct pinhole_count *count)
{
	*count = (struct pinhole_count){.before = count->before + count->seen};
}

void ledger_follow_pinhole(struct ledger *ledger, const struct lease_change *change,
			   int64_t now_ms)
{
	const struct lease *lease =
		change->kind == LEASE_ADD ? &change->after : &change->before;
	struct pinhole_count *count;

	if (lease->pinhole == 0)
		return;
	if (change->kind == LEASE_UPDATE) {
		(void)ledger_count_pinhole(ledger, lease, now_ms);
		return;
	}
	count = get_count(ledger, lease->pinhole);
	if (count && ledger->end == LEASE_END_MOVED)
		move_count(count);
	else if (count)
		*count = (struct pinhole_count){.seen = 0};
}
