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

/* True when something translates to what this counter speaks of. */
static bool has_mapping(const struct nft_elements *elements, const struct rule *rule)
{
	struct nft_element wanted[NFT_ELEMENTS_MAX];
	const struct nft_element *found;

	/* Of such a rule the first element translates. */
	if (nft_element_from_rule(rule, wanted) < 1)
		return false;
	found = nft_elements_find(elements, &wanted[0]);
	return found && nft_element_equal(found, &wanted[0]);
}

/*
 * Filtered elements of one rule lie together, since all are sorted by key. An IPv4
 * filter counts when its mapping is there, too. Returns how many elements it took.
 */
static size_t take_filters(const struct nft_elements *elements, size_t at,
			   struct rule *rule)
{
	const struct nft_element *first = &elements->items[at];
	size_t taken = 0;

	for (; at + taken < elements->count && rule->filter_count < RULE_FILTERS_MAX &&
	       nft_element_compare_target(first + taken, first) == 0;
	     taken++) {
		struct rule single;

		nft_element_to_rule(first, &single);
		single.filter_count = 1;
		single.filters[0] = nft_element_get_filter(first + taken);
		if (first->set == NFT_PINHOLE6_FROM || has_mapping(elements, &single))
			rule->filters[rule->filter_count++] = single.filters[0];
	}
	return taken;
}

int nft_rules_visit(const struct nft_elements *elements, const struct ip_addr *external,
		    int (*visit)(void *user, const struct rule *rule), void *user)
{
	int result = 0;

	for (size_t at = 0; at < elements->count && result == 0;) {
		const struct nft_element *element = &elements->items[at];
		size_t taken = 1;
		struct rule rule;
		bool whole = false;

		if (element->set < NFT_COUNT4) {
			at++;
			continue;
		}
		nft_element_to_rule(element, &rule);
		if (element->set == NFT_COUNT4_FROM ||
		    element->set == NFT_PINHOLE6_FROM) {
			taken = take_filters(elements, at, &rule);
			whole = rule.filter_count > 0;
		} else {
			whole = element->set == NFT_PINHOLE6 ||
				has_mapping(elements, &rule);
		}
		if (addr_is_ipv4(&rule.internal))
			add_outbound(elements, external, &rule);
		if (whole)
			result = visit(user, &rule);
		at += taken;
	}
	return result;
}
