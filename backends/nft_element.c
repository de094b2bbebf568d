/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h> /* libnftnl's headers want it */

#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "backends/rule.h"

static const struct nft_set_shape shapes[NFT_SET_COUNT] = {
	[NFT_WAN_IF] = {"wan_if", IF_NAMESIZE, 0, false, false, 0},
	[NFT_LAN_IF] = {"lan_if", IF_NAMESIZE, 0, false, false, 0},
	[NFT_WAN4] = {"wan4", 4, 0, false, false, 0},
	[NFT_NARROW4] = {"narrow4", 1, 0, false, false, 0},
	[NFT_DNAT4] = {"dnat4", 8, NFT_DATA_LENGTH, false, true, 0},
	[NFT_DNAT4_FLOW] = {"dnat4_flow", 16, NFT_DATA_LENGTH, false, true, 8},
	[NFT_DNAT4_PEER] = {"dnat4_peer", 12, NFT_DATA_LENGTH, false, true, 8},
	[NFT_DNAT4_FROM] = {"dnat4_from", 16, NFT_DATA_LENGTH, true, true, 8},
	[NFT_SNAT4] = {"snat4", 12, NFT_DATA_LENGTH, false, true, 0},
	[NFT_SNAT4_FLOW] = {"snat4_flow", 20, NFT_DATA_LENGTH, false, true, 0},
	[NFT_HELD4] = {"held4", 8, 0, false, true, 0},
	[NFT_COUNT4] = {"count4", 16, 0, false, true, 0},
	[NFT_COUNT4_FLOW] = {"count4_flow", 24, 0, false, true, 16},
	[NFT_COUNT4_PEER] = {"count4_peer", 20, 0, false, true, 16},
	[NFT_COUNT4_FROM] = {"count4_from", 24, 0, true, true, 16},
	[NFT_PINHOLE6] = {"pinhole6", 24, 0, false, true, 0},
	[NFT_PINHOLE6_FLOW] = {"pinhole6_flow", 44, 0, false, true, 24},
	[NFT_PINHOLE6_PEER] = {"pinhole6_peer", 40, 0, false, true, 24},
	[NFT_PINHOLE6_FROM] = {"pinhole6_from", 44, 0, true, true, 24},
};

const struct nft_set_shape *nft_set_get_shape(enum nft_set set)
{
	return &shapes[set];
}

/* Each field of a concatenation begins at a multiple of four octets. */
static uint8_t *put_protocol(uint8_t *at, uint8_t protocol)
{
	*at = protocol;
	return at + 4;
}

static uint8_t *put_port(uint8_t *at, uint16_t port)
{
	at[0] = (uint8_t)(port >> 8);
	at[1] = (uint8_t)port;
	return at + 4;
}

static uint8_t *put_addr(uint8_t *at, const struct ip_addr *addr, bool ipv4)
{
	size_t length = ipv4 ? 4 : 16;

	memcpy(at, addr->bytes + 16 - length, length);
	return at + length;
}

static uint16_t get_port(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static struct ip_addr get_addr(const uint8_t *at, bool ipv4)
{
	struct in_addr short_form;
	struct in6_addr long_form;

	if (ipv4) {
		memcpy(&short_form, at, sizeof(short_form));
		return addr_from_ipv4(short_form);
	}
	memcpy(&long_form, at, sizeof(long_form));
	return addr_from_ipv6(&long_form);
}

static struct nft_element start(enum nft_set set, const struct rule *rule)
{
	return (struct nft_element){.set = set, .timeout_ms = rule->timeout_ms};
}

/* Protocol and the endpoint that packets from the WAN are addressed to. */
static uint8_t *put_target(uint8_t *at, const struct rule *rule, bool ipv4)
{
	at = put_protocol(at, rule->protocol);
	if (!ipv4)
		at = put_addr(at, &rule->internal, false);
	return put_port(at, rule->external_port);
}

static void put_internal(uint8_t *at, const struct rule *rule)
{
	put_port(put_addr(at, &rule->internal, true), rule->internal_port);
}

/* First or last address of a prefix. */
static struct ip_addr prefix_edge(const struct prefix *prefix, bool last)
{
	struct ip_addr edge = prefix->addr;

	for (unsigned int bit = prefix->length; bit < 128; bit++) {
		uint8_t mask = (uint8_t)(0x80U >> bit % 8);
		uint8_t *byte = &edge.bytes[bit / 8];

		*byte = (uint8_t)(last ? *byte | mask : *byte & ~mask);
	}
	return edge;
}

static bool is_flow_set(enum nft_set set)
{
	return set == NFT_DNAT4_FLOW || set == NFT_COUNT4_FLOW ||
	       set == NFT_PINHOLE6_FLOW;
}

/* True when the set's keys end with the peer's port, too. */
static bool has_port(enum nft_set set)
{
	return shapes[set].interval || is_flow_set(set);
}

/* The key holds the target already. */
static void put_box(struct nft_element *element, const struct nft_box *box, bool ipv4)
{
	const struct nft_set_shape *shape = &shapes[element->set];
	struct ip_addr first = prefix_edge(&box->prefix, false);
	struct ip_addr last = prefix_edge(&box->prefix, true);
	uint8_t *port = put_addr(element->key + shape->target_length, &first, ipv4);

	if (has_port(element->set))
		put_port(port, box->first_port);
	memcpy(element->key_end, element->key, NFT_KEY_MAX);
	port = put_addr(element->key_end + shape->target_length, &last, ipv4);
	if (has_port(element->set))
		put_port(port, box->last_port);
}

/* Of the sets that one packet is looked up in: `any` and those that follow it. */
static enum nft_set choose_set(enum nft_set any, const struct rule *rule,
			       const struct nft_box *box)
{
	if (!box)
		return any;
	if (rule->flow)
		return any + (NFT_DNAT4_FLOW - NFT_DNAT4);
	return any + (nft_box_is_peer(box) ? NFT_DNAT4_PEER - NFT_DNAT4
					   : NFT_DNAT4_FROM - NFT_DNAT4);
}

/* The key holds all but the remote peer. */
static void put_peer(struct nft_element *element, const struct nft_box *box, bool ipv4)
{
	if (box)
		put_box(element, box, ipv4);
	else
		memcpy(element->key_end, element->key, NFT_KEY_MAX);
}

struct nft_element nft_element_get_outbound(const struct rule *rule)
{
	struct nft_element element = start(NFT_SNAT4, rule);

	put_internal(put_protocol(element.key, rule->protocol), rule);
	memcpy(element.key_end, element.key, NFT_KEY_MAX);
	put_port(put_addr(element.data, &rule->external, true), rule->external_port);
	return element;
}

/* The same, to the one peer of a rule that keeps a flow: whatever port others have. */
static struct nft_element get_outbound_flow(const struct rule *rule,
					    const struct nft_box *box)
{
	struct nft_element element = nft_element_get_outbound(rule);

	element.set = NFT_SNAT4_FLOW;
	put_port(put_addr(element.key + 12, &box->prefix.addr, true), box->first_port);
	memcpy(element.key_end, element.key, NFT_KEY_MAX);
	return element;
}

uint16_t nft_element_get_external(const struct nft_element *element,
				  struct ip_addr *addr)
{
	*addr = get_addr(element->data, true);
	return get_port(element->data + 4);
}

static struct nft_element get_mapping4(const struct rule *rule,
				       const struct nft_box *box)
{
	struct nft_element element = start(choose_set(NFT_DNAT4, rule, box), rule);

	put_target(element.key, rule, true);
	put_peer(&element, box, true);
	put_internal(element.data, rule);
	return element;
}

struct nft_element nft_element_get_counter(const struct rule *rule,
					   const struct nft_box *box)
{
	bool ipv4 = addr_is_ipv4(&rule->internal);
	struct nft_element element =
		start(choose_set(ipv4 ? NFT_COUNT4 : NFT_PINHOLE6, rule, box), rule);
	uint8_t *at = put_target(element.key, rule, ipv4);

	if (ipv4)
		put_internal(at, rule);
	put_peer(&element, box, ipv4);
	return element;
}

static int from_rule4(const struct rule *rule, const struct nft_boxes *boxes,
		      struct nft_element *elements)
{
	int n = 0;

	if (boxes->any)
		elements[n++] = get_mapping4(rule, NULL);
	for (unsigned int i = 0; i < boxes->count; i++)
		elements[n++] = get_mapping4(rule, &boxes->items[i]);
	if (rule->outbound)
		elements[n++] = nft_element_get_outbound(rule);
	if (rule->flow && rule_is_ipv4_host(&rule->external))
		elements[n++] = get_outbound_flow(rule, &boxes->items[0]);
	if (boxes->any) {
		elements[n] = start(NFT_HELD4, rule);
		put_target(elements[n].key, rule, true);
		memcpy(elements[n].key_end, elements[n].key, NFT_KEY_MAX);
		n++;
		elements[n++] = nft_element_get_counter(rule, NULL);
	}
	for (unsigned int i = 0; i < boxes->count; i++)
		elements[n++] = nft_element_get_counter(rule, &boxes->items[i]);
	return n;
}

static int from_rule6(const struct rule *rule, const struct nft_boxes *boxes,
		      struct nft_element *elements)
{
	int n = 0;

	if (boxes->any)
		elements[n++] = nft_element_get_counter(rule, NULL);
	for (unsigned int i = 0; i < boxes->count; i++)
		elements[n++] = nft_element_get_counter(rule, &boxes->items[i]);
	return n;
}

bool nft_element_is_narrow(const struct nft_element *element)
{
	enum nft_set set = element->set;

	return (set >= NFT_DNAT4_FLOW && set <= NFT_DNAT4_FROM) ||
	       set == NFT_SNAT4_FLOW ||
	       (set >= NFT_COUNT4_FLOW && set <= NFT_COUNT4_FROM);
}

struct nft_element nft_element_get_narrow(uint8_t protocol)
{
	struct nft_element element = {.set = NFT_NARROW4};

	put_protocol(element.key, protocol);
	put_protocol(element.key_end, protocol);
	return element;
}

int nft_element_from_rule(const struct rule *rule, struct nft_element *elements)
{
	struct rule_peers peers;
	struct nft_boxes boxes;
	int error = rule_check(rule, &peers);

	if (error < 0)
		return error;
	nft_boxes_from_peers(&peers, &boxes);
	return addr_is_ipv4(&rule->internal) ? from_rule4(rule, &boxes, elements)
					     : from_rule6(rule, &boxes, elements);
}

void nft_element_to_rule(const struct nft_element *element, struct rule *rule)
{
	const uint8_t *key = element->key;

	*rule = (struct rule){
		.protocol = key[0],
		.flow = is_flow_set(element->set),
		.timeout_ms = element->timeout_ms,
	};
	if (element->set >= NFT_COUNT4 && element->set <= NFT_COUNT4_FROM) {
		rule->external_port = get_port(key + 4);
		rule->internal = get_addr(key + 8, true);
		rule->internal_port = get_port(key + 12);
		return;
	}
	rule->internal = get_addr(key + 4, false);
	rule->external = rule->internal;
	rule->internal_port = get_port(key + 20);
	rule->external_port = rule->internal_port;
}

struct nft_element nft_element_get_mapping(const struct nft_element *counter)
{
	size_t at = shapes[NFT_COUNT4_FROM].target_length;
	size_t rest = shapes[counter->set].key_length - at;
	struct nft_element element = {
		.set = counter->set - NFT_COUNT4 + NFT_DNAT4,
		.timeout_ms = counter->timeout_ms,
	};

	/* Protocol . external port, from here the internal endpoint, or the peer. */
	memcpy(element.key, counter->key, 8);
	memcpy(element.key + 8, counter->key + at, rest);
	memcpy(element.key_end, counter->key_end, 8);
	memcpy(element.key_end + 8, counter->key_end + at, rest);
	memcpy(element.data, counter->key + 8, NFT_DATA_LENGTH);
	return element;
}

bool nft_element_get_box(const struct nft_element *element, struct nft_box *box)
{
	const struct nft_set_shape *shape = &shapes[element->set];
	bool ipv4 = element->set < NFT_PINHOLE6;
	size_t at = shape->target_length;
	size_t port_at = at + (ipv4 ? 4 : 16);
	struct ip_addr first = get_addr(element->key + at, ipv4);
	struct ip_addr last = get_addr(element->key_end + at, ipv4);
	struct prefix prefix = {.addr = first};

	while (prefix.length < 128) {
		unsigned int byte = prefix.length / 8U;
		unsigned int mask = 0x80U >> prefix.length % 8U;

		if ((first.bytes[byte] ^ last.bytes[byte]) & mask)
			break;
		prefix.length++;
	}
	*box = (struct nft_box){.prefix = prefix, .last_port = UINT16_MAX};
	if (has_port(element->set)) {
		box->first_port = get_port(element->key + port_at);
		box->last_port = get_port(element->key_end + port_at);
	}
	prefix.addr = prefix_edge(&box->prefix, false);
	if (!addr_equal(&first, &prefix.addr))
		return false;
	prefix.addr = prefix_edge(&box->prefix, true);
	return addr_equal(&last, &prefix.addr);
}

static struct nft_element from_name(enum nft_set set, const char *name)
{
	struct nft_element element = {.set = set};

	memcpy(element.key, name, strnlen(name, IF_NAMESIZE));
	memcpy(element.key_end, element.key, NFT_KEY_MAX);
	return element;
}

size_t nft_element_from_network(const struct backend_network *network,
				struct nft_element *elements)
{
	size_t n = 0;

	if (network->wan[0] != '\0')
		elements[n++] = from_name(NFT_WAN_IF, network->wan);
	for (size_t i = 0; i < network->lan_count && i < BACKEND_LANS_MAX; i++)
		elements[n++] = from_name(NFT_LAN_IF, network->lans[i]);
	for (size_t i = 0; i < network->address_count && i < BACKEND_ADDRESSES_MAX;
	     i++) {
		if (!addr_is_ipv4(&network->addresses[i]))
			continue;
		elements[n] = (struct nft_element){.set = NFT_WAN4};
		put_addr(elements[n].key, &network->addresses[i], true);
		memcpy(elements[n].key_end, elements[n].key, NFT_KEY_MAX);
		n++;
	}
	return n;
}

bool nft_element_same_key(const struct nft_element *a, const struct nft_element *b)
{
	return a->set == b->set && memcmp(a->key, b->key, NFT_KEY_MAX) == 0 &&
	       memcmp(a->key_end, b->key_end, NFT_KEY_MAX) == 0;
}

int nft_element_compare_target(const struct nft_element *a, const struct nft_element *b)
{
	if (a->set != b->set)
		return a->set < b->set ? -1 : 1;
	return memcmp(a->key, b->key, shapes[a->set].target_length);
}

bool nft_element_holds_peer(const struct nft_element *element,
			    const struct nft_element *point)
{
	size_t at = shapes[element->set].target_length;
	size_t length = element->set == NFT_PINHOLE6_FROM ? 16 : 4;
	const uint8_t *peer = point->key + at;

	/* Address and port are intervals of their own. */
	return memcmp(element->key + at, peer, length) <= 0 &&
	       memcmp(element->key_end + at, peer, length) >= 0 &&
	       memcmp(element->key + at + length, peer + length, 2) <= 0 &&
	       memcmp(element->key_end + at + length, peer + length, 2) >= 0;
}

bool nft_element_equal(const struct nft_element *a, const struct nft_element *b)
{
	return nft_element_same_key(a, b) &&
	       memcmp(a->data, b->data, NFT_DATA_LENGTH) == 0;
}

static bool copy_field(struct nftnl_set_elem *from, uint16_t field, size_t length,
		       uint8_t *out)
{
	uint32_t there = 0;
	const void *octets = nftnl_set_elem_get(from, field, &there);

	if (!octets || there != length)
		return false;
	memcpy(out, octets, length);
	return true;
}

static void parse_counters(struct nftnl_set_elem *from, struct rule_counters *out)
{
	const struct nftnl_expr *expr =
		nftnl_set_elem_get(from, NFTNL_SET_ELEM_EXPR, NULL);

	if (!expr || !nftnl_expr_is_set(expr, NFTNL_EXPR_CTR_PACKETS))
		return;
	out->packets = nftnl_expr_get_u64(expr, NFTNL_EXPR_CTR_PACKETS);
	out->octets = nftnl_expr_get_u64(expr, NFTNL_EXPR_CTR_BYTES);
}

bool nft_element_parse(enum nft_set set, struct nftnl_set_elem *from,
		       struct nft_element *out)
{
	const struct nft_set_shape *shape = &shapes[set];
	struct nft_element element = {.set = set};

	if (!copy_field(from, NFTNL_SET_ELEM_KEY, shape->key_length, element.key))
		return false;
	if (!shape->interval || !copy_field(from, NFTNL_SET_ELEM_KEY_END,
					    shape->key_length, element.key_end))
		memcpy(element.key_end, element.key, NFT_KEY_MAX);
	if (shape->data_length > 0 &&
	    !copy_field(from, NFTNL_SET_ELEM_DATA, shape->data_length, element.data))
		return false;
	if (nftnl_set_elem_is_set(from, NFTNL_SET_ELEM_EXPIRATION)) {
		element.timeout_ms =
			nftnl_set_elem_get_u64(from, NFTNL_SET_ELEM_EXPIRATION);
		if (element.timeout_ms == 0)
			element.timeout_ms = 1; /* 0 would say for ever */
	}
	parse_counters(from, &element.counters);
	*out = element;
	return true;
}
