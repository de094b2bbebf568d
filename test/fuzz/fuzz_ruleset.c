/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of nf_tables as a dump brings them: tables, chains, sets, rules and elements
 * in any order, taken in as they would be read, and then walked. The kernel is not an
 * enemy, but what it hands out was put together by others: lengths must hold.
 */
#include "backends/ruleset_private.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* What nobody could send in one go is not worth the time. */
#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Octets of messages, where they may stand. */
struct input {
	uint32_t words[INPUT_MAX / sizeof(uint32_t)];
	int length;
};

static bool is_about(const struct ruleset *ruleset, const struct nlmsghdr *message,
		     uint32_t index)
{
	const struct ruleset_set *set = ruleset_get_set(ruleset, index);
	struct netlink_attrs attrs;
	const char *name;

	netlink_attrs_read(&attrs, message, sizeof(struct nfgenmsg));
	name = ruleset_attrs_get_text(&attrs, NFTA_SET_ELEM_LIST_SET);
	return name && strcmp(name, ruleset_get_name(ruleset, set->name)) == 0;
}

/** The kernel's framing is right: what is in the messages is looked at. */
static bool is_whole(const struct nlmsghdr *message, int left)
{
	return left >= (int)sizeof(*message) &&
	       message->nlmsg_len >= sizeof(*message) &&
	       message->nlmsg_len <= (uint32_t)left;
}

/** All messages of one type; of elements, those of one set. */
static int take_messages(struct ruleset *ruleset, const struct input *input,
			 uint16_t type, uint32_t set)
{
	const struct nlmsghdr *message = (const void *)input->words;
	int left = input->length;
	int error = 0;

	for (; error == 0 && is_whole(message, left);
	     message = mnl_nlmsg_next(message, &left)) {
		if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | type) ||
		    mnl_nlmsg_get_payload_len(message) < sizeof(struct nfgenmsg) ||
		    (set != RULESET_NONE && !is_about(ruleset, message, set)))
			continue;
		error = ruleset_parse_message(ruleset, message, set);
	}
	return error;
}

static void take_elements(struct ruleset *ruleset, const struct input *input)
{
	for (uint32_t i = 0; i < ruleset->sets.count; i++) {
		struct ruleset_set *set = ruleset_get_set(ruleset, i);

		if (!set->wanted)
			continue;
		set->first_element = (uint32_t)ruleset->elements.count;
		set->known =
			take_messages(ruleset, input, NFT_MSG_NEWSETELEM, i) == 0 &&
			ruleset_close_set(ruleset, i) == 0;
		if (set->known)
			continue;
		ruleset->elements.count = set->first_element;
		set->element_count = 0;
	}
}

static void take_all(struct ruleset *ruleset, const struct input *input)
{
	if (take_messages(ruleset, input, NFT_MSG_NEWTABLE, RULESET_NONE) < 0 ||
	    take_messages(ruleset, input, NFT_MSG_NEWCHAIN, RULESET_NONE) < 0)
		return;
	ruleset_sort_chains(ruleset);
	if (take_messages(ruleset, input, NFT_MSG_NEWSET, RULESET_NONE) < 0)
		return;
	ruleset_sort_sets(ruleset);
	if (take_messages(ruleset, input, NFT_MSG_NEWRULE, RULESET_NONE) < 0)
		return;
	ruleset_sort_rules(ruleset);
	take_elements(ruleset, input);
}

/** Ranges are in order, and none is empty. */
static void note_range(void *user, uint8_t protocol, struct port_range range)
{
	uint32_t *last = user;

	if (range.first == 0 || range.first > range.last ||
	    ((uint32_t)protocol << 16 | range.first) <= *last)
		abort();
	*last = (uint32_t)protocol << 16 | range.last;
}

static void note_rule(void *user, const struct ruleset_chain_view *chain,
		      uint64_t handle, bool first)
{
	(void)handle;
	(void)first;
	if (!ruleset_find_chain(user, chain->family, chain->table, chain->chain,
				&(struct ruleset_chain_view){0}))
		abort();
}

static void walk(const struct ruleset *ruleset, bool ipv6, uint8_t protocol)
{
	struct packet packet = {
		.ipv6 = ipv6,
		.in = "wan0",
		.out = "lan0",
		.protocol = protocol,
		.is_new = true,
		.source_port = 40000,
		.destination_port = 5000,
		.mark = 0x10000000,
	};
	struct packet_verdict verdict;

	for (size_t i = 0;
	     ruleset_walk_one(ruleset, PACKET_HOOK_FORWARD, i, &packet, &verdict); i++)
		if (verdict.base_chain[0] == '\0' && verdict.handle != 0)
			abort();
	ruleset_walk_path(ruleset, &packet, &verdict);
	(void)ruleset_passes_by(ruleset, &verdict, &packet, verdict.chain);
	ruleset_walk_translation(ruleset, &packet, &verdict);
	packet.out[0] = '\0';
	ruleset_walk_path(ruleset, &packet, &verdict);
	if (verdict.fate == PACKET_PASSES && verdict.handle != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct input input;
	struct ruleset *ruleset;
	uint32_t last = 0;

	if (size > sizeof(input.words))
		return 0;
	if (size > 0)
		memcpy(input.words, data, size);
	input.length = (int)size;
	ruleset = ruleset_new();
	if (!ruleset)
		return 0;
	take_all(ruleset, &input);
	walk(ruleset, false, IPPROTO_TCP);
	walk(ruleset, true, IPPROTO_UDP);
	ruleset_visit_dnat(ruleset, "wan0", note_range, &last);
	ruleset_visit_own_rules(ruleset, note_rule, ruleset);
	ruleset_free(ruleset);
	return 0;
}
