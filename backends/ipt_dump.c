/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <errno.h>
#include <string.h>

/* Rules as the leaves that mark have them, one for each peer, put together again. */
struct dump {
	const struct ipt_layout *layout;
	struct ipt_table mark;
	struct ipt_table nat; /* IPv4 */
	struct ipt_list list;
	int (*visit)(void *user, const struct rule *rule);
	void *user;
	struct rule rule; /* in the making; no protocol: none */
};

/* True when a rule of the kernel is one for many ports, that of the lease among them.
 */
static bool is_shared(struct dump *dump, const void *there, const struct rule *rule)
{
	const struct ipt_family *family = dump->nat.family;
	const char *target = family->get_target(there, dump->nat.handle);
	uint16_t ports[IPT_LEAF_PORTS];
	const size_t count = ipt_rule_parse_ports(there, ports);
	bool found = false;

	for (size_t i = 0; i < count && !found; i++)
		found = ports[i] == rule->external_port;
	if (!found || !target)
		return false;
	ipt_list_begin(&dump->list, false, dump->layout->forms);
	ipt_lease_add_dnats(rule, ports, count, &dump->list);
	return !dump->list.failed && dump->list.count == 1 &&
	       ipt_rule_is(family, there, target, ipt_list_get(&dump->list, 0));
}

static bool has_shared(struct dump *dump, const char *chain, const struct rule *rule)
{
	const struct ipt_family *family = dump->nat.family;

	if (rule->filter_count > 0 || rule->external_port != rule->internal_port ||
	    !ipt_table_has_chain(&dump->nat, chain))
		return false;
	for (const void *there = family->first_rule(chain, dump->nat.handle); there;
	     there = family->next_rule(there, dump->nat.handle))
		if (is_shared(dump, there, rule))
			return true;
	return false;
}

/* True when something translates to what this rule marks. */
static bool has_mapping(struct dump *dump, const struct rule *rule)
{
	const struct ipt_place place =
		ipt_tree_get_place(IPT_DNAT_TREE, rule->protocol, rule->external_port);
	struct rule_counters ignored;
	char name[IPT_NAME_MAX];

	if (!addr_is_ipv4(&rule->internal))
		return true;
	ipt_tree_get_leaf_name(&place, name);
	ipt_list_begin(&dump->list, false, dump->layout->forms);
	ipt_lease_add_dnat(rule, &dump->list);
	return ipt_table_count(&dump->nat, name, &dump->list, &ignored) == 0 ||
	       has_shared(dump, name, rule);
}

static struct ip_addr get_external(const struct backend_network *network)
{
	for (size_t i = 0; i < network->address_count; i++)
		if (addr_is_ipv4(&network->addresses[i]))
			return network->addresses[i];
	return (struct ip_addr){0};
}

/* The way out, which also tells the external address. */
static void add_outbound(struct dump *dump, struct rule *rule)
{
	const struct ipt_family *family = dump->nat.family;
	const struct ipt_place place =
		ipt_tree_get_place(IPT_SNAT_TREE, rule->protocol, rule->internal_port);
	char name[IPT_NAME_MAX];

	rule->external = get_external(&dump->layout->network);
	ipt_tree_get_leaf_name(&place, name);
	if (!ipt_table_has_chain(&dump->nat, name))
		return;
	for (const void *there = family->first_rule(name, dump->nat.handle); there;
	     there = family->next_rule(there, dump->nat.handle)) {
		const char *target = family->get_target(there, dump->nat.handle);
		struct rule wanted = *rule;

		if (!target || !ipt_rule_parse_snat(there, rule, &wanted.external))
			continue;
		ipt_list_begin(&dump->list, false, dump->layout->forms);
		ipt_lease_add_snat(&wanted, false, &dump->list);
		/* Flows and other hosts may have the port outside, too. */
		if (dump->list.failed ||
		    !ipt_rule_is(family, there, target, ipt_list_get(&dump->list, 0)))
			continue;
		rule->outbound = true;
		rule->external = wanted.external;
		return;
	}
}

static int tell(struct dump *dump)
{
	struct rule *rule = &dump->rule;
	int result = 0;

	if (rule->protocol == 0)
		return 0;
	if (addr_is_ipv4(&rule->internal))
		add_outbound(dump, rule);
	result = dump->visit(dump->user, rule);
	rule->protocol = 0;
	return result;
}

static bool continues(const struct rule *rule, const struct rule *next)
{
	return rule->protocol == next->protocol && !rule->flow && !next->flow &&
	       rule->external_port == next->external_port &&
	       rule->internal_port == next->internal_port && rule->filter_count > 0 &&
	       rule->filter_count < RULE_FILTERS_MAX && next->filter_count > 0 &&
	       addr_equal(&rule->internal, &next->internal);
}

static int add_part(struct dump *dump, const struct rule *part)
{
	struct rule *rule = &dump->rule;
	int result;

	if (continues(rule, part)) {
		rule->filters[rule->filter_count++] = part->filters[0];
		return 0;
	}
	result = tell(dump);
	*rule = *part;
	return result;
}

static int visit_leaf(struct dump *dump, const char *chain)
{
	const struct ipt_family *family = dump->mark.family;
	int result = 0;

	for (const void *there = family->first_rule(chain, dump->mark.handle);
	     there && result == 0;
	     there = family->next_rule(there, dump->mark.handle)) {
		const char *target = family->get_target(there, dump->mark.handle);
		struct rule part;

		if (target && ipt_rule_parse(family, there, target, &part) &&
		    has_mapping(dump, &part))
			result = add_part(dump, &part);
	}
	return result != 0 ? result : tell(dump);
}

int ipt_dump_visit(const struct ipt_layout *layout, bool ipv6,
		   int (*visit)(void *user, const struct rule *rule), void *user)
{
	struct dump dump = {.layout = layout, .visit = visit, .user = user};
	const enum ipt_table_name name = ipv6 ? IPT_MANGLE6 : IPT_MANGLE4;
	bool mapping;
	int result = ipt_table_open(&dump.mark, ipt_family_get(ipv6),
				    ipt_sync_get_table(name));

	if (result == 0)
		result = ipt_table_open(&dump.nat, ipt_family_get(false),
					ipt_sync_get_table(IPT_NAT4));
	for (const char *chain =
		     result == 0 ? dump.mark.family->ops->first_chain(dump.mark.handle)
				 : NULL;
	     chain && result == 0;
	     chain = dump.mark.family->ops->next_chain(dump.mark.handle))
		if (ipt_tree_is_leaf_name(name, chain, &mapping))
			result = visit_leaf(&dump, chain);
	ipt_list_fini(&dump.list);
	ipt_table_close(&dump.mark);
	ipt_table_close(&dump.nat);
	return result;
}
