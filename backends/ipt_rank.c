/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rule of others before our jumps translates packets before ours is asked: leases
 * would mean nothing. So the jumps are put first again; but not for ever, where
 * somebody puts his there as often.
 */
#include "backends/ipt.h"

#include "base/log.h"

/* So often in such a time, and we give way. */
#define RANK_TIMES_MAX 5
#define RANK_TIME_MS INT64_C(60000)

static const char *find_overtaken(const struct ipt_table *table,
				  const struct ipt_layout *layout)
{
	struct ipt_list list = {0};
	const struct ipt_fixed *fixed;
	const char *found = NULL;

	for (size_t i = 0; !found && (fixed = ipt_fixed_get(i)) != NULL; i++) {
		if (fixed->table != IPT_NAT4 || !fixed->jump)
			continue;
		ipt_list_begin(&list, false, layout->forms);
		fixed->fill(layout, &list);
		if (ipt_table_is_overtaken(table, fixed->chain, &list))
			found = fixed->chain;
	}
	ipt_list_fini(&list);
	return found;
}

bool ipt_rank_is_wrong(struct ipt_rank *rank, const struct ipt_table *table,
		       const struct ipt_layout *layout, int64_t now_ms)
{
	const char *chain = find_overtaken(table, layout);

	if (!chain)
		rank->lost = false;
	if (!chain || rank->lost)
		return false;
	if (rank->times == 0 || now_ms - rank->since_ms >= RANK_TIME_MS)
		*rank = (struct ipt_rank){.since_ms = now_ms};
	if (rank->times++ < RANK_TIMES_MAX)
		return true;
	rank->times = 0;
	rank->lost = true;
	log_error("iptables -t nat: somebody puts rules before ours in %s again and "
		  "again, so that ports are not translated as leases say; let him "
		  "append them (iptables -A), or see: iptables -t nat -S %s",
		  chain, chain);
	return false;
}
