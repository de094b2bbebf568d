/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

/* libiptc tells no more than errno, and some of its errors are none of the kernel's. */
static int get_error(void)
{
	return errno > 0 ? -errno : -EIO;
}

int ipt_table_open(struct ipt_table *table, const struct ipt_family *family,
		   const char *name)
{
	*table = (struct ipt_table){.family = family, .name = name};
	errno = 0;
	table->handle = family->ops->init(name);
	return table->handle ? 0 : get_error();
}

void ipt_table_close(struct ipt_table *table)
{
	if (table->handle)
		table->family->ops->free(table->handle);
	table->handle = NULL;
}

bool ipt_table_has_chain(const struct ipt_table *table, const char *chain)
{
	return table->family->ops->is_chain(chain, table->handle) != 0;
}

int ipt_table_make_chain(struct ipt_table *table, const char *chain)
{
	if (ipt_table_has_chain(table, chain))
		return 0;
	table->changed = true;
	return table->family->ops->create_chain(chain, table->handle) ? 0 : get_error();
}

bool ipt_table_is_stuck(const struct ipt_table *table, const char *chain)
{
	const struct ipt_family *family = table->family;
	unsigned int references = 0;

	return !family->first_rule(chain, table->handle) &&
	       family->get_references(&references, chain, table->handle) &&
	       references > 0;
}

int ipt_table_drop_chain(struct ipt_table *table, const char *chain)
{
	if (!ipt_table_has_chain(table, chain) || ipt_table_is_stuck(table, chain))
		return 0;
	table->changed = true;
	if (!table->family->ops->flush_entries(chain, table->handle))
		return get_error();
	if (!table->family->delete_chain(chain, table->handle) && errno != EMLINK)
		return get_error();
	return 0;
}

/* --- from the rules that are there to those that are wanted --- */

#define NONE SIZE_MAX

/* A rule that is there, and which of the wanted ones it is, or NONE. */
struct line {
	const void *rule;
	size_t kept;
};

struct script {
	size_t count;
	size_t size;
	struct line *lines;
};

static bool note(struct script *script, const void *rule, size_t kept)
{
	struct line *lines = array_reserve(script->lines, script->count, &script->size,
					   sizeof(*lines), IPT_LEAF_PORTS);

	if (!lines)
		return false;
	script->lines = lines;
	script->lines[script->count++] = (struct line){rule, kept};
	return true;
}

static size_t find_from(const struct ipt_table *table, const void *there,
			const struct ipt_list *wanted, size_t from)
{
	const char *target = table->family->get_target(there, table->handle);

	for (size_t i = from; target && i < wanted->count; i++)
		if (ipt_rule_is(table->family, there, target, ipt_list_get(wanted, i)))
			return i;
	return NONE;
}

/* Which of the wanted rules the one that is there is: from here, else from the first.
 */
static size_t find_around(const struct ipt_table *table, const void *there,
			  const struct ipt_list *wanted, size_t from)
{
	const size_t found = find_from(table, there, wanted, from);

	return found != NONE || from == 0 ? found : find_from(table, there, wanted, 0);
}

/* Where in `last` a chain of kept lines ends that this wanted rule can follow. */
static size_t find_length(const struct script *script, const size_t *last, size_t count,
			  size_t wanted)
{
	size_t low = 0;

	while (low < count) {
		const size_t middle = low + (count - low) / 2;

		if (script->lines[last[middle]].kept < wanted)
			low = middle + 1;
		else
			count = middle;
	}
	return low;
}

/* Before each line comes the last one of the longest chain that it can follow. */
static size_t chain_lines(const struct script *script, size_t *last, size_t *before)
{
	size_t count = 0;

	for (size_t i = 0; i < script->count; i++) {
		const size_t kept = script->lines[i].kept;
		const size_t at =
			kept == NONE ? count : find_length(script, last, count, kept);

		before[i] = at > 0 ? last[at - 1] : NONE;
		/* Of two that are the same the first is older. */
		if (kept == NONE ||
		    (at < count && script->lines[last[at]].kept == kept))
			continue;
		last[at] = i;
		if (at == count)
			count++;
	}
	return count > 0 ? last[count - 1] : NONE;
}

/*
 * Keep as many as can be: somebody may have put the last rule first, and what is made
 * anew has counted nothing.
 */
static int keep_most(struct script *script)
{
	size_t *last = calloc(script->count, 2 * sizeof(*last));
	size_t *before = last ? last + script->count : NULL;
	size_t next;

	if (!last)
		return -ENOMEM;
	next = chain_lines(script, last, before);
	for (size_t i = script->count; i-- > 0;)
		if (i == next)
			next = before[i];
		else
			script->lines[i].kept = NONE;
	free(last);
	return 0;
}

static int write_script(const struct ipt_table *table, const char *chain,
			const struct ipt_list *wanted, struct script *script)
{
	const struct ipt_family *family = table->family;
	bool in_order = true;
	size_t from = 0;

	for (const void *there = family->first_rule(chain, table->handle); there;
	     there = family->next_rule(there, table->handle)) {
		size_t found = find_around(table, there, wanted, from);

		if (found != NONE) {
			in_order = in_order && found >= from;
			from = found + 1;
		}
		if (!note(script, there, found))
			return -ENOMEM;
	}
	return in_order ? 0 : keep_most(script);
}

/* libiptc takes the name of a chain that is not there for a target of the kernel. */
static int insert(struct ipt_table *table, const char *chain, const void *rule,
		  size_t at)
{
	const struct ipt_family *family = table->family;
	const char *next = ipt_rule_get_chain(family, rule);

	if (next && !ipt_table_has_chain(table, next))
		return -ENOENT;
	table->changed = true;
	return family->insert(chain, rule, (unsigned int)at, table->handle)
		       ? 0
		       : get_error();
}

static int insert_until(struct ipt_table *table, const char *chain,
			const struct ipt_list *wanted, size_t from, size_t end)
{
	int error = 0;

	for (size_t i = from; i < end && error == 0; i++)
		error = insert(table, chain, ipt_list_get(wanted, i), i);
	return error;
}

/* What is before the rule at hand is as wanted: its index is that of the wanted one. */
static int play_script(struct ipt_table *table, const char *chain,
		       const struct ipt_list *wanted, const struct script *script)
{
	size_t at = 0;
	int error = 0;

	for (size_t i = 0; i < script->count && error == 0; i++) {
		const size_t kept = script->lines[i].kept;

		if (kept != NONE) {
			error = insert_until(table, chain, wanted, at, kept);
			at = kept + 1;
			continue;
		}
		table->changed = true;
		if (!table->family->delete (chain, (unsigned int)at, table->handle))
			error = get_error();
	}
	return error < 0 ? error
			 : insert_until(table, chain, wanted, at, wanted->count);
}

/* Those that are kept are in the order of the wanted ones. */
static void count(struct ipt_table *table, const struct ipt_list *wanted,
		  const struct script *script)
{
	struct ipt_tally tally = {.ipv6 = table->family->ipv6};
	size_t at = 0;

	for (size_t i = 0; i < script->count; i++) {
		const size_t kept = script->lines[i].kept;

		if (kept == NONE) {
			ipt_tally_note(&tally, script->lines[i].rule, false);
			continue;
		}
		while (at < kept)
			ipt_tally_note(&tally, ipt_list_get(wanted, at++), true);
		at = kept + 1;
	}
	while (at < wanted->count)
		ipt_tally_note(&tally, ipt_list_get(wanted, at++), true);
	ipt_tally_finish(&tally, &table->added, &table->removed);
}

static int settle(struct ipt_table *table, const char *chain,
		  const struct ipt_list *wanted, bool change)
{
	struct script script = {0};
	int error = wanted->failed ? -ENOMEM : 0;

	if (error == 0 && !ipt_table_has_chain(table, chain))
		error = -ENOENT;
	if (error == 0)
		error = write_script(table, chain, wanted, &script);
	if (error == 0)
		count(table, wanted, &script);
	if (error == 0 && change)
		error = play_script(table, chain, wanted, &script);
	free(script.lines);
	return error;
}

int ipt_table_make_rules(struct ipt_table *table, const char *chain,
			 const struct ipt_list *wanted)
{
	return settle(table, chain, wanted, true);
}

int ipt_table_compare(struct ipt_table *table, const char *chain,
		      const struct ipt_list *wanted)
{
	return settle(table, chain, wanted, false);
}

int ipt_table_count(const struct ipt_table *table, const char *chain,
		    const struct ipt_list *wanted, struct rule_counters *out)
{
	const struct ipt_family *family = table->family;
	struct rule_counters sum = {0};
	size_t found = 0;

	if (wanted->failed)
		return -ENOMEM;
	for (const void *there = family->first_rule(chain, table->handle); there;
	     there = family->next_rule(there, table->handle)) {
		struct rule_counters seen;

		if (find_from(table, there, wanted, 0) == NONE)
			continue;
		seen = ipt_rule_get_counters(family, there);
		sum.packets += seen.packets;
		sum.octets += seen.octets;
		found++;
	}
	if (found < wanted->count)
		return -ENOENT;
	*out = sum;
	return 0;
}

/* --- one rule in a chain of somebody else --- */

/* What is there of ours: how many rules, and where the wanted one is. */
struct jumps {
	size_t wanted_at; /* the first one */
	size_t wanted;
	size_t strays;
	size_t others;
};

static bool is_wanted(const struct ipt_table *table, const void *there,
		      const struct ipt_list *wanted)
{
	return find_from(table, there, wanted, 0) != NONE;
}

static struct jumps find_jumps(const struct ipt_table *table, const char *chain,
			       const struct ipt_list *wanted)
{
	const struct ipt_family *family = table->family;
	struct jumps jumps = {.wanted_at = NONE};
	size_t at = 0;

	for (const void *there = family->first_rule(chain, table->handle); there;
	     there = family->next_rule(there, table->handle), at++) {
		const char *target = family->get_target(there, table->handle);

		if (is_wanted(table, there, wanted)) {
			jumps.wanted++;
			if (jumps.wanted_at == NONE)
				jumps.wanted_at = at;
		} else if (target && ipt_chain_is_ours(target)) {
			jumps.strays++;
		} else {
			jumps.others++;
		}
	}
	return jumps;
}

bool ipt_table_has_jump(const struct ipt_table *table, const char *chain,
			const struct ipt_list *wanted)
{
	const struct jumps jumps = find_jumps(table, chain, wanted);

	return jumps.strays == 0 && jumps.wanted == wanted->count;
}

/* After these a packet sees no more of the chain: what there is in table nat. */
static bool is_final(const char *target)
{
	static const char *const names[] = {
		"ACCEPT", "DROP", "RETURN",   "QUEUE",	"MASQUERADE",
		"SNAT",	  "DNAT", "REDIRECT", "NETMAP", "NFQUEUE"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(target, names[i]) == 0)
			return true;
	return false;
}

bool ipt_table_is_overtaken(const struct ipt_table *table, const char *chain,
			    const struct ipt_list *wanted)
{
	const struct ipt_family *family = table->family;

	for (const void *there = family->first_rule(chain, table->handle); there;
	     there = family->next_rule(there, table->handle)) {
		const char *target = family->get_target(there, table->handle);

		if (is_wanted(table, there, wanted))
			return false;
		if (target && is_final(target))
			return true;
	}
	return false;
}

/* Errors: -errno; 1 when there was one to take away. jumps: those to our chains, too.
 */
static int delete_one(struct ipt_table *table, const char *chain,
		      const struct ipt_list *wanted, bool jumps)
{
	const struct ipt_family *family = table->family;
	unsigned int at = 0;

	for (const void *there = family->first_rule(chain, table->handle); there;
	     there = family->next_rule(there, table->handle), at++) {
		const char *target = family->get_target(there, table->handle);

		if (!is_wanted(table, there, wanted) &&
		    !(jumps && target && ipt_chain_is_ours(target)))
			continue;
		return family->delete (chain, at, table->handle) ? 1 : get_error();
	}
	return 0;
}

static int replace_all(struct ipt_table *table, const char *chain,
		       const struct ipt_list *wanted, bool jumps)
{
	int error = 1;

	table->changed = true;
	while (error == 1)
		error = delete_one(table, chain, wanted, jumps);
	return error;
}

size_t ipt_table_count_same(const struct ipt_table *table, const char *chain,
			    const struct ipt_list *rule)
{
	return find_jumps(table, chain, rule).wanted;
}

size_t ipt_table_count_others(const struct ipt_table *table, const char *chain,
			      const struct ipt_list *rule)
{
	return find_jumps(table, chain, rule).others;
}

int ipt_table_place(struct ipt_table *table, const char *chain,
		    const struct ipt_list *rule, bool wanted)
{
	int error = rule->failed ? -ENOMEM : replace_all(table, chain, rule, false);

	return error < 0 || !wanted ? error : insert_until(table, chain, rule, 0, 1);
}

int ipt_table_make_jump(struct ipt_table *table, const char *chain,
			const struct ipt_list *wanted, bool first)
{
	const struct jumps jumps = find_jumps(table, chain, wanted);
	int error;

	if (wanted->failed)
		return -ENOMEM;
	if (jumps.strays == 0 && jumps.wanted == wanted->count &&
	    (wanted->count == 0 || !first || jumps.wanted_at == 0))
		return 0;
	error = replace_all(table, chain, wanted, true);
	return error < 0 ? error : insert_until(table, chain, wanted, 0, wanted->count);
}

int ipt_table_commit(struct ipt_table *table)
{
	if (!table->changed)
		return 0;
	errno = 0;
	if (!table->family->ops->commit(table->handle))
		return get_error();
	table->changed = false;
	return 0;
}
