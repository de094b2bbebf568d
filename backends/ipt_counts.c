/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <errno.h>

#include "base/clock.h"

/*
 * To read one counter is to read the whole table. A list of thousands asks for each, so
 * a table that took long to read serves others who ask soon after, once each.
 */
#define REUSE 4 /* times as long as it took */

void ipt_counts_drop(struct ipt_counts *counts)
{
	ipt_table_close(&counts->table);
}

static bool is_fresh(const struct ipt_counts *counts, const struct ipt_family *family,
		     const struct ipt_held *held)
{
	return counts->table.handle && counts->table.family == family &&
	       held->asked != counts->serial && clock_now_ms() < counts->until_ms;
}

static int read_table(struct ipt_counts *counts, const struct ipt_family *family)
{
	const int64_t begin_ms = clock_now_ms();
	int error;

	ipt_counts_drop(counts);
	error = ipt_table_open(
		&counts->table, family,
		ipt_sync_get_table(family->ipv6 ? IPT_MANGLE6 : IPT_MANGLE4));
	counts->until_ms = clock_now_ms();
	counts->until_ms += (counts->until_ms - begin_ms) * REUSE;
	counts->serial++;
	return error;
}

static int sum(const struct ipt_counts *counts, const struct ipt_layout *layout,
	       const struct rule *rule, struct rule_counters *out)
{
	const bool ipv6 = counts->table.family->ipv6;
	const struct ipt_place place =
		ipt_tree_get_place(ipv6 ? IPT_MARK_TREE6 : IPT_MARK_TREE4,
				   rule->protocol, rule->external_port);
	struct ipt_list list = {0};
	char name[IPT_NAME_MAX];
	int error;

	ipt_tree_get_leaf_name(&place, name);
	ipt_list_begin(&list, ipv6, layout->forms);
	ipt_lease_add_mark(rule, &list);
	error = ipt_table_count(&counts->table, name, &list, out);
	ipt_list_fini(&list);
	return error;
}

int ipt_counts_get(struct ipt_counts *counts, struct ipt_layout *layout,
		   const struct rule *rule, struct rule_counters *out)
{
	const struct ipt_family *family =
		ipt_family_get(!addr_is_ipv4(&rule->internal));
	struct ipt_held *held = ipt_model_find(&layout->model, rule);
	int error = 0;

	if (!held)
		return -ENOENT;
	if (!is_fresh(counts, family, held))
		error = read_table(counts, family);
	held->asked = counts->serial;
	return error < 0 ? error : sum(counts, layout, rule, out);
}
