/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>
#include <string.h>

/* The part of a filtered element's key that says which rule it belongs to. */
static size_t target_length(enum nft_set set)
{
	return set == NFT_DNAT4_FROM ? 8 : 24;
}

static bool same_rule(const struct nft_element *element, enum nft_set set,
		      const uint8_t *target)
{
	return element->set == set &&
	       memcmp(element->key, target, target_length(set)) == 0;
}

/* Filtered elements of one rule lie together, since all are sorted by key. */
static size_t take_filters(const struct nft_elements *elements, size_t at,
			   enum nft_set set, struct rule *rule)
{
	const uint8_t *target = elements->items[at].key;

	for (; at < elements->count && same_rule(&elements->items[at], set, target);
	     at++)
		if (rule->filter_count < RULE_FILTERS_MAX)
			rule->filters[rule->filter_count++] =
				nft_element_get_filter(&elements->items[at]);
	return at;
}

/* First element of `set` whose key is not below that of target. */
static size_t lower_bound(const struct nft_elements *elements, enum nft_set set,
			  const uint8_t *target)
{
	size_t low = 0;
	size_t high = elements->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct nft_element *item = &elements->items[middle];

		if (item->set < set ||
		    (item->set == set &&
		     memcmp(item->key, target, target_length(set)) < 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

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

/* The mapping that a counter speaks of; false when nothing translates to it. */
static bool rule_from_counter(const struct nft_elements *elements,
			      const struct nft_element *counter, struct rule *rule)
{
	struct nft_element wanted[NFT_ELEMENTS_MAX];
	const struct nft_element *found;
	size_t at;

	nft_element_to_rule(counter, rule);
	/* What this rule would look like without filters: dnat4, count4. */
	if (nft_element_from_rule(rule, wanted) != 2)
		return false;
	found = nft_elements_find(elements, &wanted[0]);
	if (found)
		return nft_element_equal(found, &wanted[0]);
	at = lower_bound(elements, NFT_DNAT4_FROM, wanted[0].key);
	if (at == elements->count ||
	    !same_rule(&elements->items[at], NFT_DNAT4_FROM, wanted[0].key) ||
	    memcmp(elements->items[at].data, wanted[0].data, NFT_DATA_LENGTH) != 0)
		return false;
	take_filters(elements, at, NFT_DNAT4_FROM, rule);
	return true;
}

int nft_rules_visit(const struct nft_elements *elements, const struct ip_addr *external,
		    int (*visit)(void *user, const struct rule *rule), void *user)
{
	size_t at = 0;
	int result = 0;

	while (at < elements->count && result == 0) {
		const struct nft_element *element = &elements->items[at++];
		bool whole = false;
		struct rule rule;

		if (element->set == NFT_COUNT4) {
			whole = rule_from_counter(elements, element, &rule);
			add_outbound(elements, external, &rule);
		} else if (element->set == NFT_PINHOLE6) {
			nft_element_to_rule(element, &rule);
			whole = true;
		} else if (element->set == NFT_PINHOLE6_FROM) {
			nft_element_to_rule(element, &rule);
			at = take_filters(elements, at - 1, NFT_PINHOLE6_FROM, &rule);
			whole = true;
		}
		if (whole)
			result = visit(user, &rule);
	}
	return result;
}
