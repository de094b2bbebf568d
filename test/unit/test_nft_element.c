/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "backends/nft.h"

static struct ip_addr make_ipv4(uint32_t addr)
{
	return addr_from_ipv4((struct in_addr){htonl(addr)});
}

/* A mapping of 192.168.77.2, for one peer and port if `narrow`. */
static struct rule make_rule(uint8_t protocol, uint16_t port, bool narrow)
{
	struct rule rule = {
		.protocol = protocol,
		.external_port = port,
		.internal_port = port,
		.external = make_ipv4(0xcb007101),
		.internal = make_ipv4(0xc0a84d02),
		.timeout_ms = 1000,
	};

	if (narrow) {
		rule.filter_count = 1;
		rule.filters[0].prefix = (struct prefix){make_ipv4(0xcb007102), 128};
		rule.filters[0].port = 7;
	}
	return rule;
}

static void append(struct nft_elements *elements, const struct rule *rule)
{
	struct nft_element made[NFT_ELEMENTS_MAX];
	int count = nft_element_from_rule(rule, made);

	assert_true(count > 0);
	for (int i = 0; i < count; i++)
		assert_int_equal(nft_elements_append(elements, &made[i]), 0);
}

/* Sets of the rule's elements, a bit each. */
static uint32_t list_sets(const struct rule *rule, bool narrow)
{
	struct nft_elements elements = {0};
	uint32_t sets = 0;

	append(&elements, rule);
	for (size_t i = 0; i < elements.count; i++)
		if (nft_element_is_narrow(&elements.items[i]) == narrow)
			sets |= 1U << elements.items[i].set;
	nft_elements_fini(&elements);
	return sets;
}

static void test_narrow_elements(void **state)
{
	struct rule rule = make_rule(IPPROTO_UDP, 4000, false);

	(void)state;
	rule.outbound = true;
	assert_int_equal(list_sets(&rule, true), 0);
	rule = make_rule(IPPROTO_UDP, 4000, true);
	rule.outbound = true;
	assert_int_equal(list_sets(&rule, true),
			 1U << NFT_DNAT4_FROM | 1U << NFT_COUNT4_FROM);
	assert_int_equal(list_sets(&rule, false), 1U << NFT_SNAT4);
	rule.filters[0].port = 0;
	assert_int_equal(list_sets(&rule, true),
			 1U << NFT_DNAT4_PEER | 1U << NFT_COUNT4_PEER);
	rule.filters[0].prefix = (struct prefix){make_ipv4(0), 96};
	assert_int_equal(list_sets(&rule, true), 0);
	rule = make_rule(IPPROTO_UDP, 4000, true);
	rule.flow = true;
	assert_int_equal(list_sets(&rule, true), 1U << NFT_DNAT4_FLOW |
							 1U << NFT_SNAT4_FLOW |
							 1U << NFT_COUNT4_FLOW);
	assert_int_equal(list_sets(&rule, false), 0);
}

/* They have no such set: what admits any peer comes first there. */
static void test_pinholes_are_not(void **state)
{
	struct in6_addr host = {.s6_addr = {0xfd, 0x77, [15] = 2}};
	struct rule rule = make_rule(IPPROTO_UDP, 4000, true);

	(void)state;
	rule.internal = addr_from_ipv6(&host);
	rule.external = rule.internal;
	rule.filters[0].prefix.addr = rule.internal;
	assert_int_equal(list_sets(&rule, true), 0);
	assert_int_equal(list_sets(&rule, false), 1U << NFT_PINHOLE6_FROM);
}

/* Each protocol once, behind all others, and only what has rules that need it. */
static void test_protocols_of_narrow_rules(void **state)
{
	struct nft_elements elements = {0};
	struct nft_element narrow;
	size_t count;

	(void)state;
	for (uint16_t port = 1; port < 4; port++) {
		struct rule rule = make_rule(IPPROTO_TCP, port, false);

		append(&elements, &rule);
	}
	count = elements.count;
	assert_int_equal(nft_elements_append_narrow(&elements), 0);
	assert_int_equal(elements.count, count);
	for (uint16_t port = 1; port < 4; port++) {
		struct rule rule = make_rule(IPPROTO_UDP, port, true);

		append(&elements, &rule);
	}
	count = elements.count;
	assert_int_equal(nft_elements_append_narrow(&elements), 0);
	assert_int_equal(elements.count, count + 1);
	narrow = nft_element_get_narrow(IPPROTO_UDP);
	assert_true(nft_element_equal(&elements.items[count], &narrow));
	assert_int_equal(narrow.timeout_ms, 0);
	nft_elements_fini(&elements);
}

static void test_narrow_as_text(void **state)
{
	struct nft_element narrow = nft_element_get_narrow(IPPROTO_TCP);
	char text[NFT_TEXT_MAX];

	(void)state;
	assert_int_equal(nft_element_format(&narrow, text), 1);
	assert_string_equal(text, "6");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_narrow_elements),
		cmocka_unit_test(test_pinholes_are_not),
		cmocka_unit_test(test_protocols_of_narrow_rules),
		cmocka_unit_test(test_narrow_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
