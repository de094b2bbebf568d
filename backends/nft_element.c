/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h> /* libnftnl's headers want it */

#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

static const struct nft_set_shape shapes[NFT_SET_COUNT] = {
	[NFT_WAN_IF] = {"wan_if", IF_NAMESIZE, 0, false, false},
	[NFT_LAN_IF] = {"lan_if", IF_NAMESIZE, 0, false, false},
	[NFT_WAN4] = {"wan4", 4, 0, false, false},
	[NFT_DNAT4] = {"dnat4", 8, NFT_DATA_LENGTH, false, true},
	[NFT_DNAT4_FROM] = {"dnat4_from", 16, NFT_DATA_LENGTH, true, true},
	[NFT_SNAT4] = {"snat4", 12, NFT_DATA_LENGTH, false, true},
	[NFT_HELD4] = {"held4", 8, 0, false, true},
	[NFT_COUNT4] = {"count4", 16, 0, false, true},
	[NFT_COUNT4_FROM] = {"count4_from", 24, 0, true, true},
	[NFT_PINHOLE6] = {"pinhole6", 24, 0, false, true},
	[NFT_PINHOLE6_FROM] = {"pinhole6_from", 44, 0, true, true},
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

/* Where in a key the remote peer is; what is before tells the rule. */
static size_t get_target_length(enum nft_set set)
{
	if (set == NFT_DNAT4_FROM)
		return 8;
	return set == NFT_COUNT4_FROM ? 16 : 24;
}

/* The key holds the target already. */
static void put_filter(struct nft_element *element, const struct rule_filter *filter,
		       bool ipv4)
{
	struct ip_addr first = prefix_edge(&filter->prefix, false);
	struct ip_addr last = prefix_edge(&filter->prefix, true);
	size_t at = get_target_length(element->set);

	memcpy(element->key_end, element->key, at);
	put_port(put_addr(element->key + at, &first, ipv4), filter->port);
	put_port(put_addr(element->key_end + at, &last, ipv4),
		 filter->port ? filter->port : UINT16_MAX);
}

/* Copies of a rule's filters in the form that sets can hold, supersets only. */
struct filter_list {
	unsigned int count;
	bool any; /* one of them lets everybody in: the rule has no filter */
	struct rule_filter items[RULE_FILTERS_MAX];
};

static bool port_covers(uint16_t wide, uint16_t narrow)
{
	return wide == 0 || wide == narrow;
}

static bool prefix_covers(const struct prefix *wide, const struct prefix *narrow)
{
	return wide->length <= narrow->length && prefix_contains(wide, &narrow->addr);
}

/*
 * Intervals in a set must not overlap. A filter inside another one says nothing new and
 * goes; two that cross (a wide prefix with a port, a narrow one without) cannot be
 * said.
 */
static int filter_list_add(struct filter_list *list, const struct rule_filter *filter)
{
	for (unsigned int i = 0; i < list->count;) {
		struct rule_filter *other = &list->items[i];
		bool in = prefix_covers(&other->prefix, &filter->prefix);
		bool around = prefix_covers(&filter->prefix, &other->prefix);
		bool port_in = port_covers(other->port, filter->port);
		bool port_around = port_covers(filter->port, other->port);

		if (in && port_in)
			return 0;
		if (around && port_around) {
			*other = list->items[--list->count];
			continue;
		}
		if ((in || around) && (port_in || port_around))
			return -EOPNOTSUPP;
		i++;
	}
	list->items[list->count++] = *filter;
	return 0;
}

static int filter_list_init(struct filter_list *list, const struct rule *rule,
			    bool ipv4)
{
	struct prefix everybody = {.length = ipv4 ? 96 : 0};

	list->count = 0;
	list->any = rule->filter_count == 0;
	if (ipv4)
		everybody.addr = addr_from_ipv4((struct in_addr){0});
	for (unsigned int i = 0; i < rule->filter_count; i++) {
		struct rule_filter filter = rule->filters[i];
		int error;

		if (filter.prefix.length == 0)
			filter.prefix = everybody;
		if (filter.prefix.length > 128 ||
		    !prefix_covers(&everybody, &filter.prefix) ||
		    addr_is_ipv4(&filter.prefix.addr) != ipv4)
			return -EINVAL;
		if (filter.prefix.length == everybody.length && filter.port == 0)
			list->any = true;
		error = filter_list_add(list, &filter);
		if (error < 0)
			return error;
	}
	return 0;
}

struct nft_element nft_element_get_outbound(const struct rule *rule)
{
	struct nft_element element = start(NFT_SNAT4, rule);

	put_internal(put_protocol(element.key, rule->protocol), rule);
	memcpy(element.key_end, element.key, NFT_KEY_MAX);
	put_port(put_addr(element.data, &rule->external, true), rule->external_port);
	return element;
}

uint16_t nft_element_get_external(const struct nft_element *element,
				  struct ip_addr *addr)
{
	*addr = get_addr(element->data, true);
	return get_port(element->data + 4);
}

static int from_rule4(const struct rule *rule, const struct filter_list *filters,
		      struct nft_element *elements)
{
	int n = 0;

	if (filters->any) {
		elements[n] = start(NFT_DNAT4, rule);
		put_target(elements[n].key, rule, true);
		memcpy(elements[n].key_end, elements[n].key, NFT_KEY_MAX);
		put_internal(elements[n++].data, rule);
	}
	for (unsigned int i = 0; i < filters->count && !filters->any; i++) {
		elements[n] = start(NFT_DNAT4_FROM, rule);
		put_target(elements[n].key, rule, true);
		put_filter(&elements[n], &filters->items[i], true);
		put_internal(elements[n++].data, rule);
	}
	if (rule->outbound)
		elements[n++] = nft_element_get_outbound(rule);
	if (filters->any) {
		elements[n] = start(NFT_HELD4, rule);
		put_target(elements[n].key, rule, true);
		memcpy(elements[n].key_end, elements[n].key, NFT_KEY_MAX);
		n++;
		elements[n] = start(NFT_COUNT4, rule);
		put_internal(put_target(elements[n].key, rule, true), rule);
		memcpy(elements[n].key_end, elements[n].key, NFT_KEY_MAX);
		n++;
	}
	for (unsigned int i = 0; i < filters->count && !filters->any; i++) {
		elements[n] = start(NFT_COUNT4_FROM, rule);
		put_internal(put_target(elements[n].key, rule, true), rule);
		put_filter(&elements[n++], &filters->items[i], true);
	}
	return n;
}

static int from_rule6(const struct rule *rule, const struct filter_list *filters,
		      struct nft_element *elements)
{
	int n = 0;

	if (filters->any) {
		elements[n] = start(NFT_PINHOLE6, rule);
		put_target(elements[n].key, rule, false);
		memcpy(elements[n].key_end, elements[n].key, NFT_KEY_MAX);
		return 1;
	}
	for (unsigned int i = 0; i < filters->count; i++) {
		elements[n] = start(NFT_PINHOLE6_FROM, rule);
		put_target(elements[n].key, rule, false);
		put_filter(&elements[n++], &filters->items[i], false);
	}
	return n;
}

static bool is_ipv4_host(const struct ip_addr *addr)
{
	return addr_is_ipv4(addr) && !addr_is_none(addr);
}

int nft_element_from_rule(const struct rule *rule, struct nft_element *elements)
{
	bool ipv4 = addr_is_ipv4(&rule->internal);
	struct filter_list filters;
	int error;

	if ((rule->protocol != IPPROTO_TCP && rule->protocol != IPPROTO_UDP) ||
	    rule->external_port == 0 || rule->internal_port == 0 ||
	    rule->filter_count > RULE_FILTERS_MAX || addr_is_none(&rule->internal))
		return -EINVAL;
	/* Without an address on the WAN a mapping waits for one: it has no way out. */
	if (ipv4 && !(rule->outbound ? is_ipv4_host(&rule->external)
				     : addr_is_none(&rule->external) ||
					       addr_is_ipv4(&rule->external)))
		return -EINVAL;
	if (!ipv4 && (rule->external_port != rule->internal_port ||
		      !addr_equal(&rule->external, &rule->internal)))
		return -EINVAL;
	error = filter_list_init(&filters, rule, ipv4);
	if (error < 0)
		return error;
	return ipv4 ? from_rule4(rule, &filters, elements)
		    : from_rule6(rule, &filters, elements);
}

void nft_element_to_rule(const struct nft_element *element, struct rule *rule)
{
	const uint8_t *key = element->key;

	*rule = (struct rule){.protocol = key[0], .timeout_ms = element->timeout_ms};
	if (element->set == NFT_COUNT4 || element->set == NFT_COUNT4_FROM) {
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

struct rule_filter nft_element_get_filter(const struct nft_element *element)
{
	bool ipv4 = element->set != NFT_PINHOLE6_FROM;
	size_t at = get_target_length(element->set);
	size_t port_at = at + (ipv4 ? 4 : 16);
	struct ip_addr first = get_addr(element->key + at, ipv4);
	struct ip_addr last = get_addr(element->key_end + at, ipv4);
	struct rule_filter filter = {.prefix = {.addr = first}};

	while (filter.prefix.length < 128) {
		unsigned int byte = filter.prefix.length / 8U;
		unsigned int mask = 0x80U >> filter.prefix.length % 8U;

		if ((first.bytes[byte] ^ last.bytes[byte]) & mask)
			break;
		filter.prefix.length++;
	}
	if (memcmp(element->key + port_at, element->key_end + port_at, 2) == 0)
		filter.port = get_port(element->key + port_at);
	return filter;
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
	return memcmp(a->key, b->key, get_target_length(a->set));
}

bool nft_element_holds_peer(const struct nft_element *element,
			    const struct nft_element *point)
{
	size_t at = get_target_length(element->set);
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
