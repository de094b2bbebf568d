/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is there whatever the leases are. The same as in nft_ruleset.nft, with one
 * difference: nothing after the routing decision can ask by which interface a packet
 * came, so that the networks of the LANs stand for their interfaces there.
 *
 * One jump leads out of each chain of the kernel; from there on all is `goto`, so that
 * the end of any chain of ours is the end of the walk.
 */

#include "backends/ipt.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/xt_conntrack.h>
#include <string.h>

#define CHAIN_FORWARD IPT_PREFIX
#define CHAIN_NEW IPT_PREFIX "-NEW"
#define CHAIN_DNAT IPT_PREFIX "-DNAT"
#define CHAIN_SNAT IPT_PREFIX "-SNAT"
#define CHAIN_HAIRPIN IPT_PREFIX "-HAIRPIN"
#define CHAIN_HAIRPIN_FROM IPT_PREFIX "-HAIRPIN-FROM"

#define STATE_NEW XT_CONNTRACK_STATE_BIT(IP_CT_NEW)

/* Addresses that a host translates when they leave for the WAN: RFC 1918, RFC 6598. */
static const struct {
	uint8_t octets[2];
	uint8_t length;
} private_networks[] = {
	{{10, 0}, 8}, {{100, 64}, 10}, {{172, 16}, 12}, {{192, 168}, 16}};

#define PRIVATE_COUNT (sizeof(private_networks) / sizeof(private_networks[0]))

static struct prefix get_private(size_t index)
{
	struct prefix prefix = {.length =
					(uint8_t)(96 + private_networks[index].length)};

	prefix.addr = addr_from_ipv4((struct in_addr){0});
	prefix.addr.bytes[12] = private_networks[index].octets[0];
	prefix.addr.bytes[13] = private_networks[index].octets[1];
	return prefix;
}

static bool is_private(const struct prefix *network)
{
	for (size_t i = 0; i < PRIVATE_COUNT; i++) {
		const struct prefix private = get_private(i);

		if (network->length >= private.length &&
		    prefix_contains(&private, &network->addr))
			return true;
	}
	return false;
}

static struct prefix get_host(const struct ip_addr *addr)
{
	return (struct prefix){.addr = *addr, .length = 128};
}

static void add_jump(const char *chain, struct ipt_list *list)
{
	ipt_list_add(list,
		     &(const struct ipt_spec){.action = IPT_DO_JUMP, .chain = chain});
}

static void fill_forward_jump(const struct ipt_layout *layout, struct ipt_list *list)
{
	(void)layout;
	add_jump(CHAIN_FORWARD, list);
}

static void fill_dnat_jump(const struct ipt_layout *layout, struct ipt_list *list)
{
	(void)layout;
	add_jump(CHAIN_DNAT, list);
}

static void fill_snat_jump(const struct ipt_layout *layout, struct ipt_list *list)
{
	(void)layout;
	add_jump(CHAIN_SNAT, list);
}

/* A packet of an established flow that is not ours costs the two comparisons here. */
static void fill_forward(const struct ipt_layout *layout, struct ipt_list *list)
{
	const struct ipt_spec leased = {
		.mark = layout->mark,
		.action = IPT_DO_GOTO,
		.chain = ipt_tree_get_root_name(list->ipv6 ? IPT_MARK_TREE6
							   : IPT_MARK_TREE4),
	};
	const struct ipt_spec fresh = {
		.states = STATE_NEW, .action = IPT_DO_GOTO, .chain = CHAIN_NEW};

	ipt_list_add(list, &leased);
	ipt_list_add(list, &fresh);
}

static void fill_new4(const struct ipt_layout *layout, struct ipt_list *list)
{
	for (size_t i = 0; i < layout->network.address_count; i++) {
		const struct ip_addr *addr = &layout->network.addresses[i];
		const struct ipt_spec spec = {
			.states = XT_CONNTRACK_STATE_DNAT,
			.original_destination = get_host(addr),
			.action = IPT_DO_GOTO,
			.chain = ipt_tree_get_root_name(IPT_MARK_TREE4),
		};

		if (addr_is_ipv4(addr))
			ipt_list_add(list, &spec);
	}
}

static void fill_new6(const struct ipt_layout *layout, struct ipt_list *list)
{
	const struct ipt_spec spec = {
		.in = layout->network.wan,
		.action = IPT_DO_GOTO,
		.chain = ipt_tree_get_root_name(IPT_MARK_TREE6),
	};

	if (layout->network.wan[0] != '\0')
		ipt_list_add(list, &spec);
}

static void fill_set(const struct ipt_layout *layout, struct ipt_list *list)
{
	ipt_list_add(list, &(const struct ipt_spec){.mark = layout->mark,
						    .action = IPT_DO_SET_MARK});
}

/* Destination, not interface, decides: WAN traffic and hairpin alike. */
static void fill_dnat(const struct ipt_layout *layout, struct ipt_list *list)
{
	for (size_t i = 0; i < layout->network.address_count; i++) {
		const struct ip_addr *addr = &layout->network.addresses[i];
		const struct ipt_spec spec = {
			.destination = get_host(addr),
			.action = IPT_DO_GOTO,
			.chain = ipt_tree_get_root_name(IPT_DNAT_TREE),
		};

		if (addr_is_ipv4(addr))
			ipt_list_add(list, &spec);
	}
}

/* Hairpin flows get our address, or the answer would go straight to the other host. */
static void fill_snat(const struct ipt_layout *layout, struct ipt_list *list)
{
	const struct ipt_spec inward = {
		.mark = layout->mark,
		.states = XT_CONNTRACK_STATE_DNAT,
		.action = IPT_DO_GOTO,
		.chain = CHAIN_HAIRPIN,
	};
	const struct ipt_spec outward = {
		.out = layout->network.wan,
		.action = IPT_DO_GOTO,
		.chain = ipt_tree_get_root_name(IPT_SNAT_TREE),
	};

	ipt_list_add(list, &inward);
	if (layout->network.wan[0] != '\0')
		ipt_list_add(list, &outward);
}

static void fill_hairpin(const struct ipt_layout *layout, struct ipt_list *list)
{
	for (size_t i = 0; i < layout->network.lan_count; i++)
		ipt_list_add(list,
			     &(const struct ipt_spec){.out = layout->network.lans[i],
						      .action = IPT_DO_GOTO,
						      .chain = CHAIN_HAIRPIN_FROM});
}

static void add_lans(const struct backend_network *network, bool only_private,
		     enum ipt_action action, struct ipt_list *list)
{
	for (size_t i = 0; i < network->lan_count; i++)
		for (size_t j = 0; j < network->lan_network_counts[i]; j++) {
			const struct ipt_spec spec = {
				.source = network->lan_networks[i][j],
				.action = action,
			};

			if (addr_is_ipv4(&spec.source.addr) &&
			    (!only_private || is_private(&spec.source)))
				ipt_list_add(list, &spec);
		}
}

static void fill_hairpin_from(const struct ipt_layout *layout, struct ipt_list *list)
{
	add_lans(&layout->network, false, IPT_DO_MASQUERADE, list);
}

/*
 * Other hosts' traffic whose source port is a leased one gets another: see
 * nft_ruleset.nft. Not that of the gateway itself, nor of networks that are routed and
 * no LANs of ours: the host may not translate these at all.
 */
static void fill_held(const struct ipt_layout *layout, struct ipt_list *list)
{
	for (size_t i = 0; i < layout->network.address_count; i++) {
		const struct ipt_spec own = {
			.source = get_host(&layout->network.addresses[i]),
			.action = IPT_DO_RETURN,
		};

		if (addr_is_ipv4(&layout->network.addresses[i]))
			ipt_list_add(list, &own);
	}
	for (size_t i = 0; i < PRIVATE_COUNT; i++)
		ipt_list_add(list,
			     &(const struct ipt_spec){.destination = get_private(i),
						      .action = IPT_DO_RETURN});
	add_lans(&layout->network, true, IPT_DO_MASQUERADE_RANDOM, list);
}

const struct ipt_fixed *ipt_fixed_get(size_t index)
{
	static const struct ipt_fixed rows[] = {
		{IPT_CHAIN_SET, fill_set, IPT_MANGLE4, false},
		{IPT_CHAIN_FLOW, fill_set, IPT_MANGLE4, false},
		{CHAIN_NEW, fill_new4, IPT_MANGLE4, false},
		{CHAIN_FORWARD, fill_forward, IPT_MANGLE4, false},
		{"FORWARD", fill_forward_jump, IPT_MANGLE4, true},
		{IPT_CHAIN_SET, fill_set, IPT_MANGLE6, false},
		{IPT_CHAIN_FLOW, fill_set, IPT_MANGLE6, false},
		{CHAIN_NEW, fill_new6, IPT_MANGLE6, false},
		{CHAIN_FORWARD, fill_forward, IPT_MANGLE6, false},
		{"FORWARD", fill_forward_jump, IPT_MANGLE6, true},
		{IPT_CHAIN_HELD, fill_held, IPT_NAT4, false},
		{CHAIN_HAIRPIN_FROM, fill_hairpin_from, IPT_NAT4, false},
		{CHAIN_HAIRPIN, fill_hairpin, IPT_NAT4, false},
		{CHAIN_DNAT, fill_dnat, IPT_NAT4, false},
		{CHAIN_SNAT, fill_snat, IPT_NAT4, false},
		{"PREROUTING", fill_dnat_jump, IPT_NAT4, true},
		{"POSTROUTING", fill_snat_jump, IPT_NAT4, true},
	};

	return index < sizeof(rows) / sizeof(rows[0]) ? &rows[index] : NULL;
}

bool ipt_chain_is_ours(const char *chain)
{
	const struct ipt_fixed *fixed;

	for (size_t i = 0; (fixed = ipt_fixed_get(i)) != NULL; i++)
		if (!fixed->jump && strcmp(chain, fixed->chain) == 0)
			return true;
	return ipt_tree_has_name(chain);
}
