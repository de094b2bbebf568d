/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <ctype.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

/* Sorts and finds what was read: qsort_r() hands the ruleset to these. */

static int compare_names(const struct ruleset *ruleset, uint32_t a, uint32_t b)
{
	return strcmp(ruleset_get_name(ruleset, a), ruleset_get_name(ruleset, b));
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_chains(const void *left, const void *right, void *user)
{
	const struct ruleset_chain *a = left;
	const struct ruleset_chain *b = right;
	int order = compare_numbers(a->table, b->table);

	return order ? order : compare_names(user, a->name, b->name);
}

static int compare_sets(const void *left, const void *right, void *user)
{
	const struct ruleset_set *a = left;
	const struct ruleset_set *b = right;
	int order = compare_numbers(a->table, b->table);

	return order ? order : compare_names(user, a->name, b->name);
}

static int compare_rules(const void *left, const void *right, void *user)
{
	const struct ruleset_rule *a = left;
	const struct ruleset_rule *b = right;
	int order = compare_numbers(a->chain, b->chain);

	(void)user;
	return order ? order : compare_numbers(a->sequence, b->sequence);
}

static void sort_list(struct ruleset *ruleset, struct ruleset_list *list, size_t width,
		      int (*compare)(const void *, const void *, void *))
{
	if (list->count > 0)
		qsort_r(list->items, list->count, width, compare, ruleset);
}

void ruleset_sort_chains(struct ruleset *ruleset)
{
	sort_list(ruleset, &ruleset->chains, sizeof(struct ruleset_chain),
		  compare_chains);
}

void ruleset_sort_sets(struct ruleset *ruleset)
{
	sort_list(ruleset, &ruleset->sets, sizeof(struct ruleset_set), compare_sets);
}

/* Names that iptables gives its tables and its built-in chains. */
static bool is_builtin(const struct ruleset *ruleset, const struct ruleset_chain *chain)
{
	static const char *const names[] = {"filter", "mangle", "raw", "nat",
					    "security"};
	const struct ruleset_table *table = ruleset_get_table(ruleset, chain->table);
	const char *name = ruleset_get_name(ruleset, table->name);

	if (!chain->is_base || table->family == NFPROTO_INET ||
	    table->family == NFPROTO_NETDEV)
		return false;
	for (const char *at = ruleset_get_name(ruleset, chain->name); *at; at++)
		if (!isupper((unsigned char)*at))
			return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

void ruleset_sort_rules(struct ruleset *ruleset)
{
	sort_list(ruleset, &ruleset->rules, sizeof(struct ruleset_rule), compare_rules);
	for (uint32_t i = 0; i < ruleset->rules.count; i++) {
		const struct ruleset_rule *rule = ruleset_get_rule(ruleset, i);
		struct ruleset_chain *chain = ruleset_get_chain(ruleset, rule->chain);

		if (chain->rule_count++ == 0)
			chain->first_rule = i;
	}
	for (uint32_t i = 0; i < ruleset->chains.count; i++) {
		const struct ruleset_chain *chain = ruleset_get_chain(ruleset, i);

		if (is_builtin(ruleset, chain))
			ruleset_get_table(ruleset, chain->table)->is_xtables = true;
	}
}

uint32_t ruleset_find_table(const struct ruleset *ruleset, uint8_t family,
			    const char *name)
{
	for (uint32_t i = 0; i < ruleset->tables.count; i++) {
		const struct ruleset_table *table = ruleset_get_table(ruleset, i);

		if (table->family == family &&
		    strcmp(ruleset_get_name(ruleset, table->name), name) == 0)
			return i;
	}
	return RULESET_NONE;
}

/* The table and name of an item; chains and sets are both looked for by these. */
struct place {
	uint32_t table;
	uint32_t name;
};

static struct place get_chain_place(const struct ruleset *ruleset, uint32_t index)
{
	const struct ruleset_chain *chain = ruleset_get_chain(ruleset, index);

	return (struct place){chain->table, chain->name};
}

static struct place get_set_place(const struct ruleset *ruleset, uint32_t index)
{
	const struct ruleset_set *set = ruleset_get_set(ruleset, index);

	return (struct place){set->table, set->name};
}

static uint32_t search(const struct ruleset *ruleset, size_t count,
		       struct place (*get)(const struct ruleset *, uint32_t),
		       uint32_t table, const char *name)
{
	uint32_t low = 0;
	uint32_t high = (uint32_t)count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct place place = get(ruleset, middle);
		int order = compare_numbers(place.table, table);

		if (order == 0)
			order = strcmp(ruleset_get_name(ruleset, place.name), name);
		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return RULESET_NONE;
}

uint32_t ruleset_find_chain_index(const struct ruleset *ruleset, uint32_t table,
				  const char *name)
{
	return search(ruleset, ruleset->chains.count, get_chain_place, table, name);
}

uint32_t ruleset_find_set_index(const struct ruleset *ruleset, uint32_t table,
				const char *name)
{
	return search(ruleset, ruleset->sets.count, get_set_place, table, name);
}

/* Of two with the same priority the kernel calls the younger one first. */
static bool is_before(const struct ruleset_chain *a, const struct ruleset_chain *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	return a->sequence > b->sequence;
}

static bool is_called(const struct ruleset *ruleset, const struct ruleset_chain *chain,
		      enum ruleset_type type, uint8_t hook)
{
	const struct ruleset_table *table = ruleset_get_table(ruleset, chain->table);

	return chain->is_base && chain->type == type && chain->hook == hook &&
	       !table->dormant && !table->own;
}

uint32_t ruleset_find_base(const struct ruleset *ruleset, enum ruleset_type type,
			   uint8_t hook, size_t index)
{
	const struct ruleset_chain *last = NULL;
	uint32_t found = RULESET_NONE;

	/* There are few: each round finds the next one. */
	for (size_t round = 0; round <= index; round++) {
		const struct ruleset_chain *best = NULL;

		for (uint32_t i = 0; i < ruleset->chains.count; i++) {
			const struct ruleset_chain *chain =
				ruleset_get_chain(ruleset, i);

			if (!is_called(ruleset, chain, type, hook) ||
			    (last && !is_before(last, chain)) ||
			    (best && !is_before(chain, best)))
				continue;
			best = chain;
			found = i;
		}
		if (!best)
			return RULESET_NONE;
		last = best;
	}
	return found;
}

bool ruleset_sees_family(const struct ruleset *ruleset,
			 const struct ruleset_chain *chain, bool ipv6)
{
	uint8_t family = ruleset_get_table(ruleset, chain->table)->family;

	if (family == NFPROTO_INET || family == NFPROTO_NETDEV)
		return true;
	return family == (ipv6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
}

/* The elements of one set, while they are put in order. */
struct elements {
	struct ruleset *ruleset;
	uint16_t length; /* of a key */
};

static int compare_elements(const void *left, const void *right, void *user)
{
	const struct ruleset_element *a = left;
	const struct ruleset_element *b = right;
	const struct elements *elements = user;
	int order;

	if (a->catches_all != b->catches_all)
		return a->catches_all ? 1 : -1;
	if (a->catches_all)
		return 0;
	order = memcmp(ruleset_get_bytes(elements->ruleset, a->key),
		       ruleset_get_bytes(elements->ruleset, b->key), elements->length);
	/* One interval ends where the next begins. */
	return order ? order : compare_numbers(b->is_end, a->is_end);
}

/* The last key before `key`, all octets one when there is none. */
static int add_key_before(struct ruleset *ruleset, const uint8_t *key, uint16_t length,
			  uint32_t *at)
{
	uint8_t before[RULESET_DATA_MAX];

	memset(before, 0xff, sizeof(before));
	if (key) {
		memcpy(before, key, length);
		for (size_t i = length; i > 0 && before[i - 1]-- == 0; i--)
			continue;
	}
	return ruleset_add_bytes(ruleset, before, length, at);
}

int ruleset_close_set(struct ruleset *ruleset, uint32_t index)
{
	struct ruleset_set *set = ruleset_get_set(ruleset, index);
	struct elements elements = {ruleset, set->key_length};
	struct ruleset_element *items;
	uint32_t kept = 0;
	int error = 0;

	if (!(set->flags & NFT_SET_INTERVAL) || set->part_count > 0 ||
	    set->element_count == 0)
		return 0;
	items = ruleset_get_element(ruleset, set->first_element);
	qsort_r(items, set->element_count, sizeof(*items), compare_elements, &elements);
	for (uint32_t i = 0; i < set->element_count && error == 0; i++) {
		const struct ruleset_element *next = &items[i + 1];
		const uint8_t *key = NULL;

		if (items[i].is_end)
			continue;
		items[kept] = items[i];
		if (i + 1 < set->element_count && !next->catches_all)
			key = ruleset_get_bytes(ruleset, next->key);
		if (!items[i].catches_all)
			error = add_key_before(ruleset, key, set->key_length,
					       &items[kept].key_end);
		kept++;
	}
	set->element_count = kept;
	ruleset->elements.count = set->first_element + kept;
	return error;
}

/* One expression is as wanted, with a number as its constant. */
static bool is_number(const struct ruleset *ruleset, const struct ruleset_expr *expr,
		      enum ruleset_kind kind, uint32_t *number)
{
	if (expr->kind != kind || expr->length != sizeof(*number))
		return false;
	memcpy(number, ruleset_get_bytes(ruleset, expr->data), sizeof(*number));
	return true;
}

bool ruleset_accepts_mark(const struct ruleset *ruleset,
			  const struct ruleset_rule *rule, uint32_t *mark)
{
	const struct ruleset_expr *exprs;
	uint32_t mask;

	if (rule->expr_count != 4)
		return false;
	exprs = ruleset_get_expr(ruleset, rule->first_expr);
	return exprs[0].kind == RULESET_LOAD && exprs[0].field == RULESET_FIELD_MARK &&
	       is_number(ruleset, &exprs[1], RULESET_BITWISE, &mask) &&
	       is_number(ruleset, &exprs[2], RULESET_COMPARE, mark) &&
	       exprs[2].op == NFT_CMP_EQ && mask == *mark &&
	       exprs[3].kind == RULESET_VERDICT && exprs[3].op == RULESET_ACCEPT;
}
