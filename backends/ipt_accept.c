/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One rule of ours in a chain of the host's own, which lets leased flows pass what
 * would refuse them there: the only thing of others that is changed, where the owner
 * wants it.
 */
#include "backends/ipt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define ACCEPT_TABLE "filter"
#define ACCEPT_CHAIN "FORWARD"
#define ACCEPT_COMMENT "portreeve"

static void fill(const struct ipt_layout *layout, bool ipv6, struct ipt_list *list)
{
	ipt_list_begin(list, ipv6, layout->forms);
	ipt_list_add(list, &(const struct ipt_spec){.mark = layout->mark,
						    .comment = ACCEPT_COMMENT,
						    .action = IPT_DO_ACCEPT});
}

/* A chain that holds nothing but our rule, and lets all pass, needs none. */
static bool refuses_some(const struct ipt_table *table, const char *chain,
			 const struct ipt_list *ours)
{
	const struct ipt_family *family = table->family;
	struct xt_counters ignored;
	const char *policy = family->ops->get_policy(chain, &ignored, table->handle);

	if (policy && strcmp(policy, XTC_LABEL_ACCEPT) != 0)
		return true;
	return ipt_table_count_others(table, chain, ours) > 0;
}

static const char *get_table(const struct backend_accept *accept, bool ipv6)
{
	return accept->how == BACKEND_ACCEPT_CHAIN && accept->ipv6 == ipv6
		       ? accept->table
		       : ACCEPT_TABLE;
}

/* True when the rule belongs into this chain. */
static bool is_wanted(const struct ipt_table *table,
		      const struct backend_accept *accept, const char *chain,
		      const struct ipt_list *ours)
{
	switch (accept->how) {
	case BACKEND_ACCEPT_OFF:
		return false;
	case BACKEND_ACCEPT_AUTO:
		return strcmp(chain, ACCEPT_CHAIN) == 0 &&
		       refuses_some(table, chain, ours);
	case BACKEND_ACCEPT_CHAIN:
		return accept->ipv6 == table->family->ipv6 &&
		       strcmp(chain, accept->chain) == 0;
	}
	return false;
}

/* Where it is and where it shall be; *changed: these differ. */
static int settle_chain(struct ipt_table *table, const struct backend_accept *accept,
			const char *chain, const struct ipt_list *ours)
{
	size_t wanted = is_wanted(table, accept, chain, ours) ? 1 : 0;
	size_t there = ipt_table_count_same(table, chain, ours);

	if (there == wanted)
		return 0;
	table->added += wanted > there ? 1 : 0;
	table->removed += there > wanted ? there - wanted : 0;
	return ipt_table_place(table, chain, ours, wanted == 1);
}

static int settle(struct ipt_table *table, const struct ipt_layout *layout,
		  const struct backend_accept *accept)
{
	const struct xtc_ops *ops = table->family->ops;
	struct ipt_list ours = {0};
	int error = 0;

	fill(layout, table->family->ipv6, &ours);
	for (const char *chain = ops->first_chain(table->handle); chain && error == 0;
	     chain = ops->next_chain(table->handle))
		error = settle_chain(table, accept, chain, &ours);
	ipt_list_fini(&ours);
	return error;
}

/* Open it, and change it in memory. Owns: the caller closes it, after errors too. */
static int open_settled(struct ipt_table *table, const struct ipt_layout *layout,
			bool ipv6, const struct backend_accept *accept)
{
	int error =
		ipt_table_open(table, ipt_family_get(ipv6), get_table(accept, ipv6));

	return error < 0 ? error : settle(table, layout, accept);
}

static void tell(const struct ipt_table *table, const struct backend_accept *accept)
{
	const char *chain =
		accept->how == BACKEND_ACCEPT_CHAIN ? accept->chain : ACCEPT_CHAIN;

	if (table->added > 0)
		log_notice("%s -t %s: a rule first in %s lets leased traffic pass",
			   table->family->what, table->name, chain);
	else if (table->removed > 0)
		log_notice("%s -t %s: our rule is taken out", table->family->what,
			   table->name);
	else if (accept->how == BACKEND_ACCEPT_CHAIN &&
		 accept->ipv6 == table->family->ipv6 &&
		 !ipt_table_has_chain(table, chain))
		log_warning("%s -t %s has no chain %s, which integrate names",
			    table->family->what, table->name, chain);
}

int ipt_accept_sync(const struct ipt_layout *layout, bool ipv6,
		    const struct backend_accept *accept, bool *failed)
{
	struct ipt_table table;
	int error = open_settled(&table, layout, ipv6, accept);

	if (error == 0)
		error = ipt_table_commit(&table);
	if (error == 0)
		tell(&table, accept);
	else if (!*failed)
		log_warning("%s -t %s: cannot see to the rule of integrate: %s; it "
			    "needs the modules %stable_filter xt_connmark xt_comment",
			    table.family->what, table.name, strerror(-error),
			    ipv6 ? "ip6" : "ip");
	*failed = error < 0;
	ipt_table_close(&table);
	return error;
}

static bool ipt_accept_is_right(const struct ipt_layout *layout, bool ipv6,
				const struct backend_accept *accept)
{
	struct ipt_table table;
	int error = open_settled(&table, layout, ipv6, accept);

	/* Nothing is committed. */
	ipt_table_close(&table);
	return error < 0 || table.added + table.removed == 0;
}

static bool has_accept(const struct ipt_accept *accept, bool ipv6)
{
	const struct backend_accept *wanted = accept->wanted;

	if (wanted->how == BACKEND_ACCEPT_OFF || (ipv6 && !accept->has_ipv6))
		return false;
	return wanted->how == BACKEND_ACCEPT_AUTO || wanted->ipv6 == ipv6;
}

/* What cannot be done has been logged once, and is tried again at each look. */
void ipt_accept_see_to(struct ipt_accept *accept)
{
	for (int ipv6 = 0; ipv6 < 2; ipv6++)
		if (has_accept(accept, ipv6))
			(void)!ipt_accept_sync(accept->layout, ipv6, accept->wanted,
					       &accept->failed[ipv6]);
}

/* The lock is held. Errors: -errno, logged; the others are out. */
int ipt_accept_take_back(struct ipt_accept *accept)
{
	const struct backend_accept *wanted = accept->wanted;
	int first = 0;

	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		struct backend_accept none = *wanted;
		int error;

		if (!has_accept(accept, ipv6))
			continue;
		if (none.how == BACKEND_ACCEPT_CHAIN)
			none.chain[0] = '\0';
		else
			none.how = BACKEND_ACCEPT_OFF;
		error = ipt_accept_sync(accept->layout, ipv6, &none,
					&accept->failed[ipv6]);
		if (first == 0 && error != -ENOENT)
			first = error;
	}
	return first;
}

/* True when sync() shall see to the rule; what it could not do is tried right here. */
bool ipt_accept_is_missing(struct ipt_accept *accept, bool ipv6, struct ipt_lock *lock)
{
	bool *failed = &accept->failed[ipv6];
	bool right = !has_accept(accept, ipv6) ||
		     ipt_accept_is_right(accept->layout, ipv6, accept->wanted);

	if (right)
		*failed = false;
	if (right || !*failed)
		return !right;
	if (ipt_lock_take(lock) == 0) {
		(void)!ipt_accept_sync(accept->layout, ipv6, accept->wanted, failed);
		ipt_lock_release(lock);
	}
	return false;
}

bool ipt_accept_has_failed(const struct ipt_accept *accept)
{
	return (has_accept(accept, false) && accept->failed[0]) ||
	       (has_accept(accept, true) && accept->failed[1]);
}

static bool is_first(const struct ipt_table *table, const char *chain,
		     const struct ipt_list *ours)
{
	const struct ipt_family *family = table->family;
	const void *rule = family->first_rule(chain, table->handle);
	const char *target = rule ? family->get_target(rule, table->handle) : NULL;

	return target && ipt_rule_is(family, rule, target, ipt_list_get(ours, 0));
}

/* Where we make no rule we do not ask either: to read a table may make it. */
void ipt_accept_get_passage(const struct ipt_accept *accept, bool ipv6,
			    struct backend_passage *out)
{
	const struct backend_accept *wanted = accept->wanted;
	const char *chain =
		wanted->how == BACKEND_ACCEPT_CHAIN ? wanted->chain : ACCEPT_CHAIN;
	struct ipt_list ours = {0};
	struct ipt_table table;

	*out = (struct backend_passage){.passes = false};
	if (!has_accept(accept, ipv6))
		return;
	fill(accept->layout, ipv6, &ours);
	if (ipt_table_open(&table, ipt_family_get(ipv6), get_table(wanted, ipv6)) ==
		    0 &&
	    !ours.failed && ipt_table_has_chain(&table, chain)) {
		if (ipt_table_count_same(&table, chain, &ours) > 0)
			(void)snprintf(out->rule, sizeof(out->rule), "%s %s %s",
				       table.family->what, table.name, chain);
		out->passes = strcmp(chain, ACCEPT_CHAIN) == 0 &&
			      strcmp(table.name, ACCEPT_TABLE) == 0 &&
			      (is_first(&table, chain, &ours) ||
			       !refuses_some(&table, chain, &ours));
	}
	ipt_table_close(&table);
	ipt_list_fini(&ours);
}
