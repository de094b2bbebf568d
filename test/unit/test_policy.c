/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fnmatch.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "daemon/policy.h"

#define RANDOM_ROUNDS 200

static struct ip_addr make_addr(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

static struct request make_request(const char *client, uint16_t internal_port)
{
	struct request request = {
		.op = REQUEST_MAP,
		.protocol = IPPROTO_UDP,
		.internal_port = internal_port,
		.client = make_addr(client),
		.internal = make_addr(client),
	};

	return request;
}

/* The rules as the configuration file has them, from line 2 on. */
static void make_conf(const char *rules, struct conf *conf)
{
	char text[8192], error[CONF_ERROR_MAX] = "";

	(void)snprintf(text, sizeof(text), "[policy]\n%s", rules);
	if (conf_parse("f", text, strlen(text), conf, error) != 0)
		fail_msg("%s", error);
}

static bool is_allowed(const char *rules, const struct request *request, uint16_t port)
{
	struct verdict verdict;
	struct conf conf;
	uint32_t lifetime;

	make_conf(rules, &conf);
	policy_decide(&conf, request, "lan0", &verdict);
	return verdict_allows(&verdict, port, &lifetime);
}

/* NP-5: what the gateway does not translate it has no ports of; pinholes it has. */
static void test_without_translation(void **state)
{
	const struct request request = make_request("192.168.1.2", 8080);
	const struct request pinhole = make_request("2001:db8::2", 8080);
	struct verdict verdict;
	struct conf conf;
	uint32_t lifetime = 0;

	(void)state;
	conf_init(&conf);
	conf.wan.nat = false;
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_int_equal(verdict.range_count, 0);
	assert_false(verdict.third_party);
	policy_decide(&conf, &pinhole, "lan0", &verdict);
	assert_true(verdict_allows(&verdict, 8080, &lifetime));
}

static void test_defaults(void **state)
{
	const struct request request = make_request("192.168.1.2", 80);
	struct verdict verdict;
	struct conf conf;
	uint32_t lifetime = 0;

	(void)state;
	conf_init(&conf);
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_int_equal(verdict.range_count, 1);
	assert_int_equal(verdict.ranges[0].line, 0);
	assert_int_equal(verdict.denied_line, 0);
	assert_false(verdict.third_party);
	assert_false(verdict_allows(&verdict, 0, &lifetime));
	assert_false(verdict_allows(&verdict, 1023, &lifetime));
	assert_int_equal(lifetime, 0);
	assert_true(verdict_allows(&verdict, 1024, &lifetime));
	assert_int_equal(lifetime, UINT32_MAX);
	assert_true(verdict_allows(&verdict, 65535, &lifetime));
}

static void test_no_rules(void **state)
{
	const struct request request = make_request("192.168.1.2", 80);
	struct verdict verdict;
	struct conf conf;

	(void)state;
	conf_init(&conf);
	conf.rule_count = 0;
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_int_equal(verdict.range_count, 0);
}

/* Ranges stand in order of the rules, so that the first rule's ports come first. */
static void test_order(void **state)
{
	struct request request = make_request("192.168.1.2", 80);
	struct verdict verdict;
	struct conf conf;
	uint32_t lifetime;

	(void)state;
	make_conf("rule = allow external 5000-5009 lifetime-max 600\n"
		  "rule = deny external 4000-6000\n"
		  "rule = deny external 7000\n"
		  "rule = allow external 3000-8000\n",
		  &conf);
	request.external_port = 7000;
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_int_equal(verdict.range_count, 4);
	assert_int_equal(verdict.ranges[0].ports.first, 5000);
	assert_int_equal(verdict.ranges[0].ports.last, 5009);
	assert_int_equal(verdict.ranges[0].line, 2);
	assert_int_equal(verdict.ranges[1].ports.first, 3000);
	assert_int_equal(verdict.ranges[1].ports.last, 3999);
	assert_int_equal(verdict.ranges[1].line, 5);
	assert_int_equal(verdict.ranges[2].ports.first, 6001);
	assert_int_equal(verdict.ranges[2].ports.last, 6999);
	assert_int_equal(verdict.ranges[3].ports.first, 7001);
	assert_int_equal(verdict.ranges[3].ports.last, 8000);
	assert_int_equal(verdict.denied_line, 4);
	assert_true(verdict_allows(&verdict, 5000, &lifetime));
	assert_int_equal(lifetime, 600);
	assert_true(verdict_allows(&verdict, 3000, &lifetime));
	assert_int_equal(lifetime, UINT32_MAX);
	assert_false(verdict_allows(&verdict, 6000, &lifetime));
	request.external_port = 0;
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_int_equal(verdict.denied_line, 3);
}

static void test_matching(void **state)
{
	const struct request request = make_request("192.168.1.2", 80);
	struct request tcp = request;
	const struct request ipv6 = make_request("2001:db8::5", 80);

	(void)state;
	tcp.protocol = IPPROTO_TCP;
	assert_true(is_allowed("rule = allow lan lan0\n", &request, 1));
	assert_false(is_allowed("rule = allow lan lan1\n", &request, 1));
	assert_true(is_allowed("rule = allow client 192.168.1.0/30\n", &request, 1));
	assert_false(is_allowed("rule = allow client 192.168.1.4/30\n", &request, 1));
	assert_false(is_allowed("rule = allow client 192.168.1.0/30\n", &ipv6, 1));
	assert_true(is_allowed("rule = allow client 2001:db8::/32\n", &ipv6, 1));
	assert_false(is_allowed("rule = allow client 2001:db9::/32\n", &ipv6, 1));
	assert_true(is_allowed("rule = allow protocol udp\n", &request, 1));
	assert_false(is_allowed("rule = allow protocol tcp\n", &request, 1));
	assert_true(is_allowed("rule = allow protocol tcp\n", &tcp, 1));
	assert_true(is_allowed("rule = allow internal 80\n", &request, 1));
	assert_false(is_allowed("rule = allow internal 81-65535\n", &request, 1));
	assert_false(is_allowed("rule = allow internal 1-79\n", &request, 1));
	assert_true(is_allowed("rule = allow external 9\n", &request, 9));
	assert_false(is_allowed("rule = allow external 9\n", &request, 8));
	assert_false(is_allowed("rule = deny\nrule = allow\n", &request, 1));
	assert_true(is_allowed("rule = deny lan lan1\nrule = allow\n", &request, 1));
}

static void test_third_party(void **state)
{
	struct request request = make_request("192.168.1.2", 80);
	static const char rules[] = "rule = allow external 2000 client 192.168.1.2 "
				    "third-party 192.168.1.16/28\n"
				    "rule = allow\n";
	struct verdict verdict;
	struct conf conf;
	uint32_t lifetime;

	(void)state;
	make_conf(rules, &conf);
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_false(verdict.third_party);
	assert_true(verdict_allows(&verdict, 1, &lifetime));
	/* For another host only the rule with the grant counts, not the plain one. */
	request.internal = make_addr("192.168.1.17");
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_true(verdict.third_party);
	assert_int_equal(verdict.range_count, 1);
	assert_true(verdict_allows(&verdict, 2000, &lifetime));
	assert_false(verdict_allows(&verdict, 1, &lifetime));
	request.internal = make_addr("192.168.1.32");
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_false(verdict.third_party);
	assert_int_equal(verdict.range_count, 0);
	request.internal = make_addr("192.168.1.17");
	request.client = make_addr("192.168.1.3");
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_false(verdict.third_party);
	/* A deny rule before it holds for other hosts too. */
	request.client = make_addr("192.168.1.2");
	assert_false(is_allowed("rule = deny external 7\n"
				"rule = allow third-party 192.168.0.0/16\n",
				&request, 7));
}

static bool pattern_allows(const char *pattern, const char *description)
{
	struct request request = make_request("192.168.1.2", 80);
	char rule[128];

	(void)snprintf(request.description, sizeof(request.description), "%s",
		       description);
	(void)snprintf(rule, sizeof(rule), "rule = allow description \"%s\"\n",
		       pattern);
	return is_allowed(rule, &request, 1);
}

static void test_patterns(void **state)
{
	char longest[64];

	(void)state;
	assert_true(pattern_allows("*", ""));
	assert_true(pattern_allows("***", "abc"));
	assert_false(pattern_allows("?", ""));
	assert_true(pattern_allows("?", "\xc3\xbc"));
	assert_false(pattern_allows("??", "\xc3\xbc"));
	assert_false(pattern_allows("*??", "\xc3\xbc"));
	assert_true(pattern_allows("M?ller", "M\xc3\xbcller"));
	assert_true(pattern_allows("Xbox*", "Xbox One"));
	assert_false(pattern_allows("Xbox*", "xbox One"));
	assert_false(pattern_allows("Xbox", "Xbox One"));
	assert_false(pattern_allows("Xbox One", "Xbox"));
	assert_true(pattern_allows("a[b]\\", "a[b]\\"));
	memset(longest, 'a', 63);
	longest[63] = '\0';
	assert_true(pattern_allows(longest, longest));
	assert_false(pattern_allows(longest, longest + 1));
	longest[62] = '*';
	assert_true(pattern_allows(longest, longest));
}

/* A naive linear congruential generator: the same rounds everywhere. */
static uint32_t next_random(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

/* fnmatch() agrees on every short pattern and text of two letters. */
static void test_patterns_against_fnmatch(void **state)
{
	static const char letters[] = "ab*?";
	uint32_t seed = 7;
	int matches = 0;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		char pattern[8] = "", text[8] = "";
		const uint32_t pattern_length = 1 + next_random(&seed, 6);
		const uint32_t text_length = next_random(&seed, 7);
		bool expected;

		for (uint32_t i = 0; i < pattern_length; i++)
			pattern[i] = letters[next_random(&seed, 4)];
		for (uint32_t i = 0; i < text_length; i++)
			text[i] = letters[next_random(&seed, 2)];
		expected = fnmatch(pattern, text, 0) == 0;
		matches += expected;
		if (pattern_allows(pattern, text) != expected)
			fail_msg("round %d: \"%s\" on \"%s\"", round, pattern, text);
	}
	assert_in_range(matches, 300, 2700);
}

/* What policy_decide() must say for one port, the plain way. */
static const struct conf_rule *find_rule(const struct conf *conf, uint16_t port)
{
	for (size_t i = 0; i < conf->rule_count; i++)
		if (conf->rules[i].external.first <= port &&
		    port <= conf->rules[i].external.last)
			return &conf->rules[i];
	return NULL;
}

static void check_every_port(const struct conf *conf, const struct verdict *verdict,
			     uint32_t seed)
{
	uint32_t total = 0, allowed = 0, lifetime;

	for (uint32_t port = 1; port <= UINT16_MAX; port++) {
		const struct conf_rule *rule = find_rule(conf, (uint16_t)port);
		const bool expected = rule != NULL && rule->allow;

		allowed += expected;
		if (verdict_allows(verdict, (uint16_t)port, &lifetime) != expected)
			fail_msg("seed %u, port %u", seed, port);
		if (expected && lifetime != rule->lifetime_max_s)
			fail_msg("seed %u, port %u: lifetime", seed, port);
	}
	/* No port stands in two ranges. */
	for (size_t i = 0; i < verdict->range_count; i++)
		total += verdict->ranges[i].ports.last -
			 verdict->ranges[i].ports.first + 1u;
	assert_int_equal(total, allowed);
}

static void test_every_port(void **state)
{
	const struct request request = make_request("192.168.1.2", 80);
	struct verdict verdict;
	struct conf conf;

	(void)state;
	for (uint32_t round = 0; round < RANDOM_ROUNDS; round++) {
		uint32_t seed = round;

		conf_init(&conf);
		conf.rule_count = next_random(&seed, CONF_RULES_MAX + 1);
		for (size_t i = 0; i < conf.rule_count; i++) {
			struct conf_rule *rule = &conf.rules[i];
			const uint32_t first = 1 + next_random(&seed, UINT16_MAX);
			const uint32_t width = next_random(&seed, 3) ? 2000 : 65535;
			const uint32_t last = first + next_random(&seed, width);

			*rule = (struct conf_rule){.allow = next_random(&seed, 2),
						   .internal = {1, UINT16_MAX},
						   .lifetime_max_s = 1 + (uint32_t)i,
						   .line = 1 + (unsigned int)i};
			rule->external.first = (uint16_t)first;
			rule->external.last =
				(uint16_t)(last < UINT16_MAX ? last : UINT16_MAX);
		}
		policy_decide(&conf, &request, "lan0", &verdict);
		check_every_port(&conf, &verdict, round);
	}
}

static bool is_same(const struct verdict *a, const struct verdict *b)
{
	bool same = a->range_count == b->range_count;

	for (size_t i = 0; same && i < a->range_count; i++)
		same = memcmp(&a->ranges[i], &b->ranges[i], sizeof(a->ranges[i])) == 0;
	return same;
}

/* PCP-116: what is said of one internal port holds for the stretch that is named. */
static void test_internal_stretch(void **state)
{
	struct request request = make_request("192.168.1.2", 80);
	struct verdict verdict, other;
	struct conf conf;

	(void)state;
	for (uint32_t seed = 0; seed < RANDOM_ROUNDS; seed++) {
		uint32_t random = seed;

		conf_init(&conf);
		conf.rule_count = 1 + next_random(&random, 6);
		for (size_t i = 0; i < conf.rule_count; i++) {
			uint16_t first = (uint16_t)(1 + next_random(&random, 30));

			conf.rules[i] = (struct conf_rule){
				.allow = next_random(&random, 2),
				.internal = {first,
					     (uint16_t)(first +
							next_random(&random, 20))},
				.external = {(uint16_t)(1 + i), UINT16_MAX},
				.line = 1 + (unsigned int)i};
		}
		request.internal_port = (uint16_t)(1 + next_random(&random, 60));
		policy_decide(&conf, &request, "lan0", &verdict);
		assert_in_range(request.internal_port, verdict.internal.first,
				verdict.internal.last);
		for (uint16_t port = 1; port < 60; port++) {
			request.internal_port = port;
			policy_decide(&conf, &request, "lan0", &other);
			if (port >= verdict.internal.first &&
			    port <= verdict.internal.last)
				assert_true(is_same(&verdict, &other));
		}
	}
}

static void test_internal_stretch_ends(void **state)
{
	const struct request request = make_request("192.168.1.2", 80);
	struct verdict verdict;
	struct conf conf;

	(void)state;
	conf_init(&conf);
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_int_equal(verdict.internal.first, 1);
	assert_int_equal(verdict.internal.last, UINT16_MAX);
	conf.rules[0].internal = (struct port_range){70, 90};
	conf.rules[1] = conf.rules[0];
	conf.rules[1].internal = (struct port_range){1, 75};
	conf.rules[2] = conf.rules[0];
	conf.rules[2].internal = (struct port_range){85, UINT16_MAX};
	conf.rule_count = 3;
	policy_decide(&conf, &request, "lan0", &verdict);
	assert_int_equal(verdict.internal.first, 76);
	assert_int_equal(verdict.internal.last, 84);
}

/* As many cuts as there can be, then one rule that takes all that is left. */
static void test_most_ranges(void **state)
{
	const struct request request = make_request("192.168.1.2", 80);
	struct verdict verdict;
	struct conf conf;

	(void)state;
	conf_init(&conf);
	conf.rule_count = CONF_RULES_MAX;
	for (size_t i = 0; i < CONF_RULES_MAX; i++) {
		const uint16_t port = (uint16_t)(2 + 2 * i);

		conf.rules[i] = (struct conf_rule){.allow = true,
						   .external = {port, port},
						   .internal = {1, UINT16_MAX},
						   .lifetime_max_s = 1};
	}
	conf.rules[CONF_RULES_MAX - 1].external = (struct port_range){1, UINT16_MAX};
	policy_decide(&conf, &request, "lan0", &verdict);
	/* 63 single ports, and the 64 gaps around them. */
	assert_int_equal(verdict.range_count, 2 * CONF_RULES_MAX - 1);
	check_every_port(&conf, &verdict, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_without_translation),
		cmocka_unit_test(test_no_rules),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_matching),
		cmocka_unit_test(test_third_party),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_patterns_against_fnmatch),
		cmocka_unit_test(test_every_port),
		cmocka_unit_test(test_most_ranges),
		cmocka_unit_test(test_internal_stretch),
		cmocka_unit_test(test_internal_stretch_ends),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
