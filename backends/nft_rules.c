/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>
#include <string.h>

/* The way out, which also tells the external address. */
static void add_outbound(const struct nft_elements *elements,
			 const struct ip_addr *external, struct rule *rule)
{
	struct nft_element wanted = nft_element_get_outbound(rule);
	const struct nft_element *found = nft_elements_find(elements, &wanted);
	struct ip_addr address = {0};

	rule->external = *external;
	rule->outbound = found && nft_element_get_external(found, &address) ==
					  rule->external_port;
	if (rule->outbound)
		rule->external = address;
}

struct walk {
	const struct nft_elements *elements;
	const struct ip_addr *external;
	int (*visit)(void *user, const struct rule *rule);
	void *user;
};

/* True when something translates to what this counter speaks of. */
static bool has_mapping(const struct nft_elements *elements,
			const struct nft_element *counter)
{
	struct nft_element wanted;
	const struct nft_element *found;

	if (counter->set >= NFT_PINHOLE6)
		return true;
	wanted = nft_element_get_mapping(counter);
	found = nft_elements_find(elements, &wanted);
	return found && nft_element_equal(found, &wanted);
}

/* Counters or pinholes of one target, one run in each of the two sets of filters. */
struct group {
	const struct nft_element *runs[2];
	size_t counts[2];
};

/* Last port, from `port` on, that one element leaves open to a prefix; or below it. */
static int find_end(const struct nft_elements *elements, const struct group *group,
		    const struct prefix *prefix, uint16_t port)
{
	for (unsigned int run = 0; run < 2; run++)
		for (size_t i = 0; i < group->counts[run]; i++) {
			const struct nft_element *element = &group->runs[run][i];
			struct nft_box box;

			if (nft_element_get_box(element, &box) &&
			    nft_box_covers(&box, prefix, port) &&
			    has_mapping(elements, element))
				return box.last_port;
		}
	return -1;
}

/*
 * The filter that an element came from. What lacks some ports is a filter without any
 * that was cut, and nothing when not all of its ports are open.
 */
static bool get_filter(const struct nft_elements *elements, const struct group *group,
		       const struct nft_element *element, struct rule_filter *filter)
{
	struct nft_box box;
	bool single;

	if (!nft_element_get_box(element, &box) || !has_mapping(elements, element))
		return false;
	single = box.first_port == box.last_port && box.first_port != 0;
	*filter = (struct rule_filter){.prefix = box.prefix,
				       .port = single ? box.first_port : 0};
	for (int end = -1; !single && end < UINT16_MAX;) {
		int next = find_end(elements, group, &box.prefix, (uint16_t)(end + 1));

		if (next <= end)
			return false;
		end = next;
	}
	return true;
}

static bool is_said(const struct rule *rule, const struct rule_filter *filter)
{
	for (unsigned int i = 0; i < rule->filter_count; i++) {
		const struct rule_filter *other = &rule->filters[i];

		if ((other->port == 0 || other->port == filter->port) &&
		    other->prefix.length <= filter->prefix.length &&
		    prefix_contains(&other->prefix, &filter->prefix.addr))
			return true;
	}
	return false;
}

static int visit_rule(const struct walk *walk, struct rule *rule)
{
	if (addr_is_ipv4(&rule->internal))
		add_outbound(walk->elements, walk->external, rule);
	return walk->visit(walk->user, rule);
}

/* As many rules as it takes: several may differ in nothing but their filters. */
static int visit_group(const struct walk *walk, const struct group *group,
		       struct rule *rule)
{
	int result = 0;

	for (unsigned int run = 0; run < 2; run++)
		for (size_t i = 0; i < group->counts[run] && result == 0; i++) {
			struct rule_filter filter;

			if (!get_filter(walk->elements, group, &group->runs[run][i],
					&filter) ||
			    is_said(rule, &filter))
				continue;
			if (rule->filter_count == RULE_FILTERS_MAX) {
				result = visit_rule(walk, rule);
				rule->filter_count = 0;
			}
			rule->filters[rule->filter_count++] = filter;
		}
	if (result != 0 || rule->filter_count == 0)
		return result;
	return visit_rule(walk, rule);
}

/* Of a target in both sets, the one that is first speaks for both. */
static int visit_filtered(const struct walk *walk, const struct nft_element *element,
			  struct rule *rule, size_t *taken)
{
	bool ipv4 = element->set < NFT_PINHOLE6;
	enum nft_set sets[] = {ipv4 ? NFT_COUNT4_PEER : NFT_PINHOLE6_PEER,
			       ipv4 ? NFT_COUNT4_FROM : NFT_PINHOLE6_FROM};
	struct group group;

	for (unsigned int i = 0; i < 2; i++)
		group.runs[i] = nft_elements_find_target(walk->elements, sets[i],
							 element, &group.counts[i]);
	*taken = group.counts[element->set == sets[1]];
	if (element->set == sets[1] && group.counts[0] > 0)
		return 0;
	return visit_group(walk, &group, rule);
}

static bool is_flow(enum nft_set set)
{
	return set == NFT_COUNT4_FLOW || set == NFT_PINHOLE6_FLOW;
}

/* Each of them is a rule. */
static int visit_flow(const struct walk *walk, const struct nft_element *element,
		      struct rule *rule)
{
	struct nft_box box;

	if (!nft_element_get_box(element, &box) ||
	    !has_mapping(walk->elements, element))
		return 0;
	rule->filter_count = 1;
	rule->filters[0] =
		(struct rule_filter){.prefix = box.prefix, .port = box.first_port};
	return visit_rule(walk, rule);
}

int nft_rules_visit(const struct nft_elements *elements, const struct ip_addr *external,
		    int (*visit)(void *user, const struct rule *rule), void *user)
{
	const struct walk walk = {elements, external, visit, user};
	int result = 0;

	for (size_t at = 0; at < elements->count && result == 0;) {
		const struct nft_element *element = &elements->items[at];
		size_t taken = 1;
		struct rule rule;

		if (element->set < NFT_COUNT4) {
			at++;
			continue;
		}
		nft_element_to_rule(element, &rule);
		if (is_flow(element->set))
			result = visit_flow(&walk, element, &rule);
		else if (nft_set_get_shape(element->set)->target_length > 0)
			result = visit_filtered(&walk, element, &rule, &taken);
		else if (has_mapping(elements, element))
			result = visit_rule(&walk, &rule);
		at += taken;
	}
	return result;
}
