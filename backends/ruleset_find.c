/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <linux/netfilter.h>
#include <string.h>

static struct ruleset_chain_view make_view(const struct ruleset *ruleset,
					   const struct ruleset_chain *chain)
{
	const struct ruleset_table *table = ruleset_get_table(ruleset, chain->table);

	return (struct ruleset_chain_view){
		.family = ruleset_get_family(table->family),
		.table = ruleset_get_name(ruleset, table->name),
		.chain = ruleset_get_name(ruleset, chain->name),
		.is_xtables = table->is_xtables,
		.is_base = chain->is_base,
		.is_owned = table->is_owned,
		.priority = chain->priority,
	};
}

bool ruleset_find_chain(const struct ruleset *ruleset, const char *family,
			const char *table, const char *chain,
			struct ruleset_chain_view *out)
{
	for (uint32_t i = 0; i < ruleset->tables.count; i++) {
		const struct ruleset_table *at = ruleset_get_table(ruleset, i);
		uint32_t index;

		if (strcmp(ruleset_get_name(ruleset, at->name), table) != 0)
			continue;
		/* What is bound to devices is found by its full name only. */
		if (!family && at->family == NFPROTO_NETDEV)
			continue;
		if (family && strcmp(ruleset_get_family(at->family), family) != 0)
			continue;
		index = ruleset_find_chain_index(ruleset, i, chain);
		if (index == RULESET_NONE)
			continue;
		*out = make_view(ruleset, ruleset_get_chain(ruleset, index));
		return true;
	}
	return false;
}

void ruleset_visit_own_rules(const struct ruleset *ruleset,
			     void (*visit)(void *user,
					   const struct ruleset_chain_view *chain,
					   uint64_t handle, bool first),
			     void *user)
{
	for (uint32_t i = 0; i < ruleset->rules.count; i++) {
		const struct ruleset_rule *rule = ruleset_get_rule(ruleset, i);
		const struct ruleset_chain *chain =
			ruleset_get_chain(ruleset, rule->chain);
		struct ruleset_chain_view view;
		uint32_t mark;

		if (!rule->commented || !ruleset_accepts_mark(ruleset, rule, &mark))
			continue;
		view = make_view(ruleset, chain);
		visit(user, &view, rule->handle, i == chain->first_rule);
	}
}

uint32_t ruleset_get_accepted_mark(const struct ruleset *ruleset,
				   const struct ruleset_chain_view *view,
				   uint64_t handle)
{
	for (uint32_t i = 0; i < ruleset->rules.count; i++) {
		const struct ruleset_rule *rule = ruleset_get_rule(ruleset, i);
		const struct ruleset_chain *chain =
			ruleset_get_chain(ruleset, rule->chain);
		const struct ruleset_table *table =
			ruleset_get_table(ruleset, chain->table);
		uint32_t mark;

		if (rule->handle == handle &&
		    ruleset_get_name(ruleset, chain->name) == view->chain &&
		    ruleset_get_name(ruleset, table->name) == view->table &&
		    ruleset_accepts_mark(ruleset, rule, &mark))
			return mark;
	}
	return 0;
}
