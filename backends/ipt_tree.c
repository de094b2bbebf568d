/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A packet finds its lease among thousands by a walk over a few dozen rules: of the
 * root, by protocol and a wide range of ports, of a branch, by a narrow one, and of a
 * leaf. Chains are there where they lead to a rule, and only then.
 */
#include <stdio.h>
#include <string.h>

#include "backends/ipt.h"

#define BRANCH_PORTS (IPT_LEAF_PORTS * IPT_BRANCH_LEAVES)

/* Where a packet has the port that the tree goes by. */
enum direction {
	BY_CONNECTION, /* destination of its first packet */
	BY_DESTINATION,
	BY_SOURCE,
};

static const struct shape {
	const char *root;
	const char *name; /* of branches and leaves, without protocol and port */
	enum ipt_table_name table;
	enum direction by;
} shapes[IPT_TREE_COUNT] = {
	[IPT_MARK_TREE4] = {IPT_PREFIX "-MARK", IPT_PREFIX "-MARK", IPT_MANGLE4,
			    BY_CONNECTION},
	[IPT_MARK_TREE6] = {IPT_PREFIX "-MARK", IPT_PREFIX "-MARK", IPT_MANGLE6,
			    BY_CONNECTION},
	[IPT_DNAT_TREE] = {IPT_PREFIX "-DNAT-PORTS", IPT_PREFIX "-DNAT", IPT_NAT4,
			   BY_DESTINATION},
	[IPT_SNAT_TREE] = {IPT_PREFIX "-SNAT-PORTS", IPT_PREFIX "-SNAT", IPT_NAT4,
			   BY_SOURCE},
};

static const char *const protocols[IPT_PROTOCOLS] = {"tcp", "udp"};

enum ipt_table_name ipt_tree_get_table(enum ipt_tree tree)
{
	return shapes[tree].table;
}

void ipt_tree_get_leaf_name(const struct ipt_place *place, char name[IPT_NAME_MAX])
{
	(void)snprintf(name, IPT_NAME_MAX, "%s-%s-%u", shapes[place->tree].name,
		       protocols[place->protocol], place->leaf * IPT_LEAF_PORTS);
}

void ipt_tree_get_branch_name(const struct ipt_place *place, char name[IPT_NAME_MAX])
{
	(void)snprintf(name, IPT_NAME_MAX, "%s-%s-%uk", shapes[place->tree].name,
		       protocols[place->protocol],
		       place->leaf / IPT_BRANCH_LEAVES * BRANCH_PORTS / 1024);
}

/* A leaf's name ends with its port, a branch's with a letter. */
bool ipt_tree_is_leaf_name(enum ipt_table_name table, const char *chain, bool *mapping)
{
	for (enum ipt_tree tree = 0; tree < IPT_TREE_COUNT; tree++) {
		const char *prefix = shapes[tree].name;
		size_t length = strlen(prefix);

		if (shapes[tree].table != table ||
		    strncmp(chain, prefix, length) != 0 || chain[length] != '-' ||
		    chain[strlen(chain) - 1] < '0' || chain[strlen(chain) - 1] > '9')
			continue;
		*mapping = tree == IPT_DNAT_TREE || tree == IPT_MARK_TREE6;
		return true;
	}
	return false;
}

/* What follows the name of a tree: -tcp-5120, -udp-4k. */
static bool is_place(const char *text)
{
	size_t digits;

	if (strncmp(text, "-tcp-", 5) != 0 && strncmp(text, "-udp-", 5) != 0)
		return false;
	digits = strspn(text + 5, "0123456789");
	return digits > 0 &&
	       (text[5 + digits] == '\0' || strcmp(text + 5 + digits, "k") == 0);
}

bool ipt_tree_has_name(const char *chain)
{
	for (enum ipt_tree tree = 0; tree < IPT_TREE_COUNT; tree++) {
		size_t length = strlen(shapes[tree].name);

		if (strcmp(chain, shapes[tree].root) == 0 ||
		    (strncmp(chain, shapes[tree].name, length) == 0 &&
		     is_place(chain + length)))
			return true;
	}
	return false;
}

const char *ipt_tree_get_root_name(enum ipt_tree tree)
{
	return shapes[tree].root;
}

struct ipt_place ipt_tree_get_place(enum ipt_tree tree, uint8_t protocol, uint16_t port)
{
	return (struct ipt_place){.tree = tree,
				  .protocol = protocol == IPPROTO_UDP,
				  .leaf = port / IPT_LEAF_PORTS};
}

static const struct ipt_held *get_outer(const struct ipt_layout *layout,
					const struct ipt_place *place)
{
	if (place->tree == IPT_MARK_TREE6)
		return layout->model.outer6[place->protocol][place->leaf];
	return layout->model.outer4[place->protocol][place->leaf];
}

/* Those of a leaf are many lists. NULL: that was the last. */
static const struct ipt_held *const *get_inner(const struct ipt_layout *layout,
					       const struct ipt_place *place,
					       unsigned int index)
{
	const unsigned int lists = IPT_LEAF_PORTS / IPT_INNER_PORTS;
	struct ipt_held *const *first =
		&layout->model.inner4[place->protocol][place->leaf * lists];

	return index < lists ? (const struct ipt_held *const *)&first[index] : NULL;
}

/* A rule for all keeps its port from other hosts; for the few peers of others it is not
 * worth it. */
static bool is_held(const struct ipt_held *held)
{
	return held->any;
}

static bool has_flow_out(const struct ipt_held *held)
{
	return held->rule.flow && rule_is_ipv4_host(&held->rule.external);
}

static bool has_inner(const struct ipt_layout *layout, const struct ipt_place *place)
{
	const struct ipt_held *const *list;

	for (unsigned int i = 0; (list = get_inner(layout, place, i)) != NULL; i++)
		for (const struct ipt_held *held = *list; held; held = held->next_inner)
			if (held->rule.outbound || has_flow_out(held))
				return true;
	return false;
}

bool ipt_tree_has_leaf(const struct ipt_layout *layout, const struct ipt_place *place)
{
	const struct ipt_held *held = get_outer(layout, place);

	if (place->tree != IPT_SNAT_TREE)
		return held != NULL;
	for (; held; held = held->next_outer)
		if (is_held(held))
			return true;
	return has_inner(layout, place);
}

static struct ipt_place get_sibling(const struct ipt_place *place, unsigned int index)
{
	struct ipt_place sibling = *place;

	sibling.leaf = place->leaf / IPT_BRANCH_LEAVES * IPT_BRANCH_LEAVES + index;
	return sibling;
}

bool ipt_tree_has_branch(const struct ipt_layout *layout, const struct ipt_place *place)
{
	const unsigned int branch = place->leaf / IPT_BRANCH_LEAVES;

	/* Most are empty, and each change asks for all of them. */
	if (place->tree != IPT_MARK_TREE6 &&
	    layout->model.ends4[place->protocol][branch] == 0)
		return false;
	for (unsigned int i = 0; i < IPT_BRANCH_LEAVES; i++) {
		const struct ipt_place sibling = get_sibling(place, i);

		if (ipt_tree_has_leaf(layout, &sibling))
			return true;
	}
	return false;
}

static void fill_held(const struct ipt_layout *layout, const struct ipt_place *place,
		      struct ipt_list *list)
{
	uint16_t ports[IPT_LEAF_PORTS];
	size_t count = 0;

	/* Those for all come last, by port, one for each. */
	for (const struct ipt_held *held = get_outer(layout, place); held;
	     held = held->next_outer)
		if (is_held(held) && count < IPT_LEAF_PORTS)
			ports[count++] = held->rule.external_port;
	ipt_lease_add_held(place->protocol, ports, count, list);
}

/* Flows are first in their list. */
static void fill_inner(const struct ipt_held *first, struct ipt_list *list)
{
	for (const struct ipt_held *held = first; held; held = held->next_inner)
		if (has_flow_out(held))
			ipt_lease_add_snat(&held->rule, true, list);
	for (const struct ipt_held *held = first; held; held = held->next_inner)
		if (held->rule.outbound)
			ipt_lease_add_snat(&held->rule, false, list);
}

static void fill_snat(const struct ipt_layout *layout, const struct ipt_place *place,
		      struct ipt_list *list)
{
	const struct ipt_held *const *inner;

	for (unsigned int i = 0; (inner = get_inner(layout, place, i)) != NULL; i++)
		fill_inner(*inner, list);
	fill_held(layout, place, list);
}

static bool can_share(const struct ipt_held *held)
{
	return held->any && !held->rule.flow &&
	       held->rule.external_port == held->rule.internal_port;
}

/* Whom few may reach comes before what all may: that is the order of the list. */
static void fill_dnat(const struct ipt_layout *layout, const struct ipt_place *place,
		      struct ipt_list *list)
{
	struct ipt_bundle bundle = {0};

	for (const struct ipt_held *held = get_outer(layout, place); held;
	     held = held->next_outer)
		if (can_share(held))
			ipt_bundle_add(&bundle, &held->rule);
		else
			ipt_lease_add_dnat(&held->rule, list);
	ipt_bundle_fill(&bundle, list);
}

void ipt_tree_fill_leaf(const struct ipt_layout *layout, const struct ipt_place *place,
			struct ipt_list *list)
{
	switch (place->tree) {
	case IPT_SNAT_TREE:
		fill_snat(layout, place, list);
		break;
	case IPT_DNAT_TREE:
		fill_dnat(layout, place, list);
		break;
	case IPT_MARK_TREE4:
	case IPT_MARK_TREE6:
		for (const struct ipt_held *held = get_outer(layout, place); held;
		     held = held->next_outer)
			ipt_lease_add_mark(&held->rule, list);
		break;
	}
}

static void add_range(const struct ipt_place *place, unsigned int first,
		      unsigned int ports, const char *chain, struct ipt_list *list)
{
	const struct ipt_ports range = {(uint16_t)first, (uint16_t)(first + ports - 1)};
	struct ipt_spec spec = {
		.protocol = place->protocol ? IPPROTO_UDP : IPPROTO_TCP,
		.action = IPT_DO_GOTO,
		.chain = chain,
	};

	switch (shapes[place->tree].by) {
	case BY_CONNECTION:
		spec.original_ports = range;
		break;
	case BY_DESTINATION:
		spec.destination_ports = range;
		break;
	case BY_SOURCE:
		spec.source_ports = range;
		break;
	}
	ipt_list_add(list, &spec);
}

void ipt_tree_fill_branch(const struct ipt_layout *layout,
			  const struct ipt_place *place, struct ipt_list *list)
{
	for (unsigned int i = 0; i < IPT_BRANCH_LEAVES; i++) {
		const struct ipt_place sibling = get_sibling(place, i);
		char name[IPT_NAME_MAX];

		if (!ipt_tree_has_leaf(layout, &sibling))
			continue;
		ipt_tree_get_leaf_name(&sibling, name);
		add_range(&sibling, sibling.leaf * IPT_LEAF_PORTS, IPT_LEAF_PORTS, name,
			  list);
	}
}

void ipt_tree_fill_root(const struct ipt_layout *layout, enum ipt_tree tree,
			struct ipt_list *list)
{
	struct ipt_place place = {.tree = tree};

	for (place.protocol = 0; place.protocol < IPT_PROTOCOLS; place.protocol++)
		for (place.leaf = 0; place.leaf < IPT_LEAVES;
		     place.leaf += IPT_BRANCH_LEAVES) {
			char name[IPT_NAME_MAX];

			if (!ipt_tree_has_branch(layout, &place))
				continue;
			ipt_tree_get_branch_name(&place, name);
			add_range(&place, place.leaf * IPT_LEAF_PORTS, BRANCH_PORTS,
				  name, list);
		}
}
