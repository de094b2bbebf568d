/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

#define PLACES_START 64

static const struct {
	const char *name;
	bool ipv6;
} tables[IPT_TABLE_COUNT] = {
	[IPT_MANGLE4] = {"mangle", false},
	[IPT_MANGLE6] = {"mangle", true},
	[IPT_NAT4] = {"nat", false},
};

const char *ipt_sync_get_table(enum ipt_table_name name)
{
	return tables[name].name;
}

bool ipt_sync_is_ipv6(enum ipt_table_name name)
{
	return tables[name].ipv6;
}

/* --- touched leaves --- */

static void touch(struct ipt_touched *touched, enum ipt_tree tree, uint8_t protocol,
		  uint16_t port)
{
	const struct ipt_place place = ipt_tree_get_place(tree, protocol, port);

	struct ipt_place *places;

	for (size_t i = 0; i < touched->count; i++)
		if (touched->places[i].tree == place.tree &&
		    touched->places[i].protocol == place.protocol &&
		    touched->places[i].leaf == place.leaf)
			return;
	places = array_reserve(touched->places, touched->count, &touched->size,
			       sizeof(*places), PLACES_START);
	if (!places) {
		touched->failed = true;
		return;
	}
	touched->places = places;
	touched->places[touched->count++] = place;
}

void ipt_touched_add(struct ipt_touched *touched, const struct rule *rule)
{
	if (!addr_is_ipv4(&rule->internal)) {
		touch(touched, IPT_MARK_TREE6, rule->protocol, rule->external_port);
		return;
	}
	touch(touched, IPT_MARK_TREE4, rule->protocol, rule->external_port);
	touch(touched, IPT_DNAT_TREE, rule->protocol, rule->external_port);
	touch(touched, IPT_SNAT_TREE, rule->protocol, rule->external_port);
	touch(touched, IPT_SNAT_TREE, rule->protocol, rule->internal_port);
}

bool ipt_touched_has(const struct ipt_touched *touched, enum ipt_table_name name)
{
	for (size_t i = 0; i < touched->count; i++)
		if (ipt_tree_get_table(touched->places[i].tree) == name)
			return true;
	return false;
}

void ipt_touched_fini(struct ipt_touched *touched)
{
	free(touched->places);
	*touched = (struct ipt_touched){0};
}

/* --- chains of the layout --- */

/* Names of our chains, to tell strays. */
struct names {
	size_t count;
	size_t size;
	char (*items)[IPT_NAME_MAX];
};

/* A walk over chains: what it does at each. */
enum mode {
	CREATE,	 /* make the chain */
	WRITE,	 /* make its rules */
	COMPARE, /* count what is wrong */
};

struct walk {
	struct ipt_table *table;
	const struct ipt_layout *layout;
	enum ipt_table_name name;
	enum mode mode;
	struct ipt_list list;
	struct names names; /* of what was walked over by CREATE or COMPARE */
	struct ipt_difference difference;
};

static int add_name(struct names *names, const char *name)
{
	char(*items)[IPT_NAME_MAX] = array_reserve(
		names->items, names->count, &names->size, sizeof(*items), PLACES_START);

	if (!items)
		return -ENOMEM;
	names->items = items;
	memset(names->items[names->count], 0, IPT_NAME_MAX);
	strncpy(names->items[names->count++], name, IPT_NAME_MAX - 1);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strncmp(a, b, IPT_NAME_MAX);
}

static bool has_name(const struct names *names, const char *name)
{
	char key[IPT_NAME_MAX] = "";

	strncpy(key, name, IPT_NAME_MAX - 1);
	return names->count > 0 && bsearch(key, names->items, names->count,
					   IPT_NAME_MAX, compare_names) != NULL;
}

/* The rules are in the list already, unless the chain is only to be made. */
static int visit(struct walk *walk, const char *chain)
{
	int error = 0;

	switch (walk->mode) {
	case CREATE:
		error = add_name(&walk->names, chain);
		if (error == 0)
			error = ipt_table_make_chain(walk->table, chain);
		break;
	case WRITE:
		error = ipt_table_make_rules(walk->table, chain, &walk->list);
		break;
	case COMPARE:
		error = add_name(&walk->names, chain);
		if (error == 0)
			error = ipt_table_compare(walk->table, chain, &walk->list);
		break;
	}
	return error;
}

static struct ipt_list *begin_list(struct walk *walk)
{
	ipt_list_begin(&walk->list, tables[walk->name].ipv6, walk->layout->forms);
	return &walk->list;
}

static int visit_jump(struct walk *walk, const struct ipt_fixed *fixed, bool first)
{
	bool overtaken = ipt_table_is_overtaken(walk->table, fixed->chain, &walk->list);

	if (walk->mode == CREATE)
		return 0;
	if (walk->mode == COMPARE)
		return ipt_table_has_jump(walk->table, fixed->chain, &walk->list)
			       ? 0
			       : -ENOENT;
	if (first && overtaken &&
	    ipt_table_has_jump(walk->table, fixed->chain, &walk->list))
		walk->difference.others_added++;
	return ipt_table_make_jump(walk->table, fixed->chain, &walk->list, first);
}

static int visit_fixed(struct walk *walk)
{
	const struct ipt_fixed *fixed;
	int error = 0;

	for (size_t i = 0; error == 0 && (fixed = ipt_fixed_get(i)) != NULL; i++) {
		if (fixed->table != walk->name)
			continue;
		fixed->fill(walk->layout, begin_list(walk));
		error = fixed->jump ? visit_jump(walk, fixed, true)
				    : visit(walk, fixed->chain);
	}
	return error;
}

static int visit_roots(struct walk *walk)
{
	int error = 0;

	for (enum ipt_tree tree = 0; tree < IPT_TREE_COUNT && error == 0; tree++) {
		if (ipt_tree_get_table(tree) != walk->name)
			continue;
		ipt_tree_fill_root(walk->layout, tree, begin_list(walk));
		error = visit(walk, ipt_tree_get_root_name(tree));
	}
	return error;
}

static int visit_branch(struct walk *walk, const struct ipt_place *place)
{
	char name[IPT_NAME_MAX];

	ipt_tree_get_branch_name(place, name);
	if (walk->mode != CREATE)
		ipt_tree_fill_branch(walk->layout, place, begin_list(walk));
	return visit(walk, name);
}

/* What takes the place of another is one that was wrong. */
static void note_difference(struct walk *walk, bool mapping, size_t added,
			    size_t removed)
{
	struct ipt_difference *difference = &walk->difference;

	removed -= added < removed ? added : removed;
	if (mapping) {
		difference->mappings_added += added;
		difference->mappings_removed += removed;
	} else if (walk->name == IPT_MANGLE4) {
		difference->marks_added += added;
		difference->marks_removed += removed;
	} else {
		difference->others_added += added;
		difference->others_removed += removed;
	}
}

static int visit_leaf(struct walk *walk, const struct ipt_place *place)
{
	const size_t added = walk->table->added;
	const size_t removed = walk->table->removed;
	char name[IPT_NAME_MAX];
	int error;

	ipt_tree_get_leaf_name(place, name);
	if (walk->mode != CREATE)
		ipt_tree_fill_leaf(walk->layout, place, begin_list(walk));
	error = visit(walk, name);
	note_difference(walk,
			place->tree == IPT_DNAT_TREE || place->tree == IPT_MARK_TREE6,
			walk->table->added - added, walk->table->removed - removed);
	return error;
}

static int visit_twigs(struct walk *walk, const struct ipt_place *branch)
{
	struct ipt_place place = *branch;
	int error = visit_branch(walk, branch);

	for (unsigned int i = 0; i < IPT_BRANCH_LEAVES && error == 0; i++, place.leaf++)
		if (ipt_tree_has_leaf(walk->layout, &place))
			error = visit_leaf(walk, &place);
	return error;
}

static int visit_tree(struct walk *walk, enum ipt_tree tree)
{
	struct ipt_place place = {.tree = tree};
	int error = 0;

	for (place.protocol = 0; place.protocol < IPT_PROTOCOLS && error == 0;
	     place.protocol++)
		for (place.leaf = 0; place.leaf < IPT_LEAVES && error == 0;
		     place.leaf += IPT_BRANCH_LEAVES)
			if (ipt_tree_has_branch(walk->layout, &place))
				error = visit_twigs(walk, &place);
	return error;
}

static int visit_all(struct walk *walk, enum mode mode)
{
	int error;

	walk->mode = mode;
	error = visit_fixed(walk);
	if (error == 0)
		error = visit_roots(walk);
	for (enum ipt_tree tree = 0; tree < IPT_TREE_COUNT && error == 0; tree++)
		if (ipt_tree_get_table(tree) == walk->name)
			error = visit_tree(walk, tree);
	return error;
}

static void finish(struct walk *walk)
{
	ipt_list_fini(&walk->list);
	free(walk->names.items);
}

/* --- chains that nobody wants --- */

static int find_strays(struct walk *walk, struct names *strays)
{
	const struct xtc_ops *ops = walk->table->family->ops;
	int error = 0;

	if (walk->names.count > 0)
		qsort(walk->names.items, walk->names.count, IPT_NAME_MAX,
		      compare_names);
	for (const char *chain = ops->first_chain(walk->table->handle);
	     chain && error == 0; chain = ops->next_chain(walk->table->handle))
		if (ipt_chain_is_ours(chain) && !has_name(&walk->names, chain))
			error = add_name(strays, chain);
	return error;
}

/* They lead to each other, so that all must be empty before one can go. */
static int drop_strays(struct walk *walk)
{
	struct names strays = {0};
	int error = find_strays(walk, &strays);

	begin_list(walk);
	for (size_t i = 0; i < strays.count && error == 0; i++) {
		const size_t removed = walk->table->removed;
		bool mapping = false;

		error = ipt_table_make_rules(walk->table, strays.items[i], &walk->list);
		if (ipt_tree_is_leaf_name(walk->name, strays.items[i], &mapping))
			note_difference(walk, mapping, 0,
					walk->table->removed - removed);
	}
	for (size_t i = 0; i < strays.count && error == 0; i++)
		error = ipt_table_drop_chain(walk->table, strays.items[i]);
	free(strays.items);
	return error;
}

static bool has_strays(struct walk *walk, int *error)
{
	struct names strays = {0};
	bool found = false;

	*error = find_strays(walk, &strays);
	/* What only a rule of somebody else keeps from going is left to him. */
	for (size_t i = 0; i < strays.count && !found; i++)
		found = !ipt_table_is_stuck(walk->table, strays.items[i]);
	free(strays.items);
	return found;
}

/* --- what the backend asks for --- */

int ipt_sync_all(struct ipt_table *table, const struct ipt_layout *layout,
		 enum ipt_table_name name, struct ipt_difference *difference)
{
	struct walk walk = {.table = table, .layout = layout, .name = name};
	int error = visit_all(&walk, CREATE);

	if (error == 0)
		error = visit_all(&walk, WRITE);
	if (error == 0)
		error = drop_strays(&walk);
	difference->mappings_added += walk.difference.mappings_added;
	difference->mappings_removed += walk.difference.mappings_removed;
	difference->marks_added += walk.difference.marks_added;
	difference->marks_removed += walk.difference.marks_removed;
	difference->others_added += walk.difference.others_added;
	difference->others_removed += walk.difference.others_removed;
	difference->changed = difference->changed || table->changed;
	finish(&walk);
	return error;
}

int ipt_sync_check(struct ipt_table *table, const struct ipt_layout *layout,
		   enum ipt_table_name name)
{
	struct walk walk = {.table = table, .layout = layout, .name = name};
	int error = visit_all(&walk, COMPARE);
	int failed = 0;

	if (error == 0 &&
	    (table->added + table->removed > 0 || has_strays(&walk, &failed)))
		error = -ENOENT;
	finish(&walk);
	return error < 0 ? error : failed;
}

int ipt_sync_remove(struct ipt_table *table, const struct ipt_layout *layout,
		    enum ipt_table_name name)
{
	struct walk walk = {.table = table, .layout = layout, .name = name};
	const struct ipt_fixed *fixed;
	int error = 0;

	begin_list(&walk);
	for (size_t i = 0; error == 0 && (fixed = ipt_fixed_get(i)) != NULL; i++)
		if (fixed->table == name && fixed->jump)
			error = ipt_table_make_jump(table, fixed->chain, &walk.list,
						    false);
	if (error == 0)
		error = drop_strays(&walk);
	finish(&walk);
	return error;
}

int ipt_sync_fixed(struct ipt_table *table, const struct ipt_layout *layout,
		   enum ipt_table_name name)
{
	struct walk walk = {
		.table = table, .layout = layout, .name = name, .mode = WRITE};
	int error = visit_fixed(&walk);

	finish(&walk);
	return error;
}

/* The way from the kernel's chains to the roots. */
static int check_trunk(struct walk *walk)
{
	struct ipt_table *table = walk->table;
	int error;

	walk->mode = COMPARE;
	error = visit_fixed(walk);
	if (error == 0 && table->added + table->removed > 0)
		error = -ENOENT;
	return error;
}

/* A chain that is not wanted has nothing in it, where it is. */
static int survey_chain(struct walk *walk, const char *chain, bool wanted)
{
	if (!wanted && !ipt_table_has_chain(walk->table, chain))
		return 0;
	return ipt_table_compare(walk->table, chain, &walk->list);
}

static int survey_place(struct walk *walk, const struct ipt_place *place)
{
	char name[IPT_NAME_MAX];
	int error;

	ipt_tree_get_leaf_name(place, name);
	ipt_tree_fill_leaf(walk->layout, place, begin_list(walk));
	error = survey_chain(walk, name, walk->list.count > 0);
	if (error < 0)
		return error;
	ipt_tree_get_branch_name(place, name);
	ipt_tree_fill_branch(walk->layout, place, begin_list(walk));
	return survey_chain(walk, name, walk->list.count > 0);
}

/* A chain must be there before a rule leads to it. */
static int sprout(struct walk *walk, const struct ipt_place *place)
{
	int error = 0;

	walk->mode = CREATE;
	if (ipt_tree_has_branch(walk->layout, place))
		error = visit_branch(walk, place);
	if (error == 0 && ipt_tree_has_leaf(walk->layout, place))
		error = visit_leaf(walk, place);
	return error;
}

static int grow(struct walk *walk, const struct ipt_place *place)
{
	int error = 0;

	walk->mode = WRITE;
	if (ipt_tree_has_leaf(walk->layout, place))
		error = visit_leaf(walk, place);
	if (error == 0 && ipt_tree_has_branch(walk->layout, place))
		error = visit_branch(walk, place);
	return error;
}

/* And no rule may lead to it when it goes. */
static int wither(struct walk *walk, const struct ipt_place *place)
{
	char leaf[IPT_NAME_MAX];
	char branch[IPT_NAME_MAX];
	int error = 0;

	ipt_tree_get_leaf_name(place, leaf);
	ipt_tree_get_branch_name(place, branch);
	if (!ipt_tree_has_branch(walk->layout, place))
		error = ipt_table_drop_chain(walk->table, branch);
	if (error == 0 && !ipt_tree_has_leaf(walk->layout, place))
		error = ipt_table_drop_chain(walk->table, leaf);
	return error;
}

static int visit_touched(struct walk *walk, const struct ipt_touched *touched,
			 int (*visit_place)(struct walk *walk,
					    const struct ipt_place *place))
{
	int error = 0;

	for (size_t i = 0; i < touched->count && error == 0; i++)
		if (ipt_tree_get_table(touched->places[i].tree) == walk->name)
			error = visit_place(walk, &touched->places[i]);
	return error;
}

/*
 * Whoever wrote a leaf anew without a look at what was there would mend somebody else's
 * change by the way: nobody would hear of it, and flows would stay that began
 * meanwhile.
 */
int ipt_sync_survey(struct ipt_table *table, const struct ipt_layout *before,
		    enum ipt_table_name name, const struct ipt_touched *touched)
{
	struct walk walk = {
		.table = table, .layout = before, .name = name, .mode = COMPARE};
	int error = visit_touched(&walk, touched, survey_place);

	if (error == 0)
		error = visit_roots(&walk);
	if (error == 0 && table->added + table->removed > 0)
		error = -ENOENT;
	finish(&walk);
	return error;
}

int ipt_sync_touched(struct ipt_table *table, const struct ipt_layout *layout,
		     enum ipt_table_name name, const struct ipt_touched *touched)
{
	struct walk walk = {.table = table, .layout = layout, .name = name};
	int error = check_trunk(&walk);

	if (error == 0)
		error = visit_touched(&walk, touched, sprout);
	if (error == 0)
		error = visit_touched(&walk, touched, grow);
	if (error == 0)
		error = visit_roots(&walk);
	if (error == 0)
		error = visit_touched(&walk, touched, wither);
	finish(&walk);
	return error;
}
