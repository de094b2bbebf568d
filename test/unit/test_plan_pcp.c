/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of PCP's MAP and delete in the lease table, on virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "daemon/ports.h"
#include "test/unit/plan_lab.h"

#define STRANGER 's' /* fills a nonce that is not the lease's */
#define REST_S 120

static void use_nonce(struct plan_lab *lab, char with)
{
	memset(lab->request.nonce, with, sizeof(lab->request.nonce));
}

static void pass(struct plan_lab *lab, uint32_t seconds)
{
	lab->context.now_ms += (int64_t)seconds * 1000;
}

static enum result unmap(struct plan_lab *lab, const char *host, uint16_t internal_port)
{
	lab_ask(lab, REQUEST_UNMAP, host, internal_port, 0)->lifetime_s = 0;
	return lab_decide(lab);
}

/* A lease to one remote host, as IGD makes it, or to one flow, as PEER does. */
static void make_of_peer(struct plan_lab *lab, enum origin origin, uint16_t remote_port,
			 uint16_t external_port)
{
	struct lease lease = {.id = lab->context.next_id++,
			      .internal = lab_address(C1),
			      .client = lab_address(C1),
			      .remote = lab_address("198.51.100.9"),
			      .internal_port = 5000,
			      .external_port = external_port,
			      .remote_port = remote_port,
			      .protocol = IPPROTO_TCP,
			      .origin = (uint8_t)origin,
			      .enabled = true,
			      .has_nonce = origin == ORIGIN_PCP,
			      .outbound = true,
			      .expires_ms = lab->context.now_ms + 600000};

	assert_int_equal(table_insert(lab->table, &lease), 0);
}

static void test_pcp49_nonce_of_renewal(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	pass(lab, 200);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000);
	lab->request.nonce[NONCE_SIZE - 1] ^= 1; /* PCP-102: all 96 bits count */
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	assert_int_equal(lab->plan.retry_s, LIFETIME_S - 200);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->nonce[0] ^= 1;
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	assert_int_equal(lab_get_lifetime_s(lab), LIFETIME_S);
}

static void test_pcp49_nonce_of_delete(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	pass(lab, 100);
	lab_ask(lab, REQUEST_UNMAP, C1, 5000, 0);
	use_nonce(lab, STRANGER);
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	assert_int_equal(lab->plan.retry_s, LIFETIME_S - 100);
	assert_non_null(lab_find(lab, C1, 5000));
	assert_int_equal(unmap(lab, C1, 5000), RESULT_OK);
	assert_null(lab_find(lab, C1, 5000));
}

static void test_pcp49_nonce_zero(void **state)
{
	struct plan_lab *lab = *state;

	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000);
	use_nonce(lab, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_FOREIGN);
	lab_ask(lab, REQUEST_UNMAP, C1, 5000, 0);
	use_nonce(lab, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
}

static void test_pcp50_relaxed(void **state)
{
	struct plan_lab *lab = *state;

	lab->context.nonce_relaxed = true;
	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	lab_ask(lab, REQUEST_UNMAP, C1, 5000, 0);
	use_nonce(lab, STRANGER);
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 0);
	use_nonce(lab, STRANGER);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_find(lab, C1, 5000)->nonce[0], STRANGER);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_FOREIGN);
	lab_ask(lab, REQUEST_UNMAP, C1, 5000, 0);
	use_nonce(lab, STRANGER);
	assert_int_equal(lab_decide(lab), RESULT_OK);
}

/* Another host's word is not that of the one that made the lease, relaxed or not. */
static void test_pcp50_relaxed_third_party(void **state)
{
	struct plan_lab *lab = *state;
	struct conf_rule *rule = &lab->conf.rules[0];

	lab->context.nonce_relaxed = true;
	rule->has_third_party = true;
	assert_true(prefix_parse("192.168.77.0/24", &rule->third_party));
	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C2, 5000, 0)->internal = lab_address(C1);
	use_nonce(lab, STRANGER);
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
}

static void test_pcp51_static(void **state)
{
	struct plan_lab *lab = *state;

	(void)lab_make(lab, ORIGIN_STATIC, C1, 5000, 80);
	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 80);
	assert_true(lab->plan.lease.expires_ms == TIME_NEVER);
	assert_int_equal(lab->changes_last, 0);
	assert_false(lab_find(lab, C1, 5000)->has_nonce);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_FOREIGN); /* PCP-67 */
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->prefer_failure = 1;
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 80)->prefer_failure = 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
}

/* Success would be a lie about filters; and the owner's text is the owner's. */
static void test_pcp51_static_as_it_is(void **state)
{
	struct plan_lab *lab = *state;

	lab_ask(lab, REQUEST_ADD, C1, 5000, 80)->origin = ORIGIN_STATIC;
	lab->request.lifetime_s = 0;
	memcpy(lab->request.description, "mine", 5);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	for (unsigned int i = 0; i < 2; i++) {
		lab_ask(lab, REQUEST_MAP, C1, 5000, 0)->has_description = (uint8_t)i;
		lab->request.filter_clear = 1;
		memcpy(lab->request.description, "yours", 6);
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_int_equal(lab->plan.lease.origin, ORIGIN_STATIC);
		assert_string_equal(lease_get_description(&lab->plan.lease), "");
		assert_string_equal(lease_get_description(lab_find(lab, C1, 5000)),
				    "mine");
	}
	for (unsigned int i = 0; i < 6; i++) {
		lab_filter(lab, "198.51.100.9", (uint16_t)i);
		assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
		assert_int_equal(lab->plan.retry_s, 0);
	}
}

static void test_pcp52_renewal_keeps_port(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	pass(lab, 1000);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 7000)->client_port = 40001;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_int_equal(lab_get_lifetime_s(lab), LIFETIME_S);
	assert_int_equal(table_get_count(lab->table), 1);
	assert_int_equal(lab_find(lab, C1, 5000)->client_port, 40001); /* PCP-40 */
	assert_true(addr_equal(&lab_find(lab, C1, 5000)->server, &lab->server));
}

static void test_pcp53_adopts(void **state)
{
	struct plan_lab *lab = *state;

	(void)lab_make(lab, ORIGIN_IGD, C1, 5000, 6000);
	(void)lab_make(lab, ORIGIN_NATPMP, C1, 5001, 6001);
	for (uint16_t port = 5000; port < 5002; port++) {
		assert_int_equal(lab_map(lab, C1, port, 7000), RESULT_OK);
		assert_int_equal(lab_get_port(lab), port + 1000);
		assert_true(lab_find(lab, C1, port)->has_nonce);
		assert_int_equal(lab_find(lab, C1, port)->origin, ORIGIN_PCP);
		lab_ask(lab, REQUEST_MAP, C1, port, 0);
		use_nonce(lab, STRANGER);
		assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	}
	assert_int_equal(table_get_count(lab->table), 2);
	assert_int_equal(table_get_count_of_origin(lab->table, ORIGIN_PCP), 2);
	assert_int_equal(table_get_count_of_origin(lab->table, ORIGIN_IGD), 0);
}

/* What was promised by the other protocol stays so, until PCP asks again. */
static void test_pcp53_adopts_no_earlier_end(void **state)
{
	struct plan_lab *lab = *state;
	int64_t expires_ms = lab->context.now_ms + LIFETIME_MS;

	(void)lab_make(lab, ORIGIN_IGD, C1, 5000, 6000);
	(void)lab_make(lab, ORIGIN_NATPMP, C1, 5001, 6001);
	for (uint16_t port = 5000; port < 5002; port++) {
		lab_ask(lab, REQUEST_MAP, C1, port, 0)->lifetime_s = 300;
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_true(lab_find(lab, C1, port)->expires_ms == expires_ms);
		assert_int_equal(lab_get_lifetime_s(lab), LIFETIME_S); /* PCP-64 */
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_int_equal(lab_get_lifetime_s(lab), 300);
	}
	(void)lab_make(lab, ORIGIN_IGD, C1, 5002, 6002);
	lab_ask(lab, REQUEST_MAP, C1, 5002, 0)->lifetime_s = 2 * LIFETIME_S;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_lifetime_s(lab), 2 * LIFETIME_S);
}

/* Of several that IGD made for one endpoint the very one that is asked for. */
static void test_pcp53_adopts_exactly(void **state)
{
	struct plan_lab *lab = *state;

	(void)lab_make(lab, ORIGIN_IGD, C1, 5000, 6000);
	(void)lab_make(lab, ORIGIN_IGD, C1, 5000, 6001);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6001)->prefer_failure = 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6001);
	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6001);
	assert_int_equal(table_get_count(lab->table), 2);
}

/* Delete takes what other protocols made; what is to one remote host stays. */
static void test_pcp53_delete_of_others(void **state)
{
	struct plan_lab *lab = *state;

	(void)lab_make(lab, ORIGIN_IGD, C1, 5000, 6000);
	(void)lab_make(lab, ORIGIN_IGD, C1, 5000, 6001);
	make_of_peer(lab, ORIGIN_IGD, 0, 6002);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 1);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_OK);
	assert_int_equal(lab_find(lab, C1, 5000)->external_port, 6002);
}

static void test_pcp53_natpmp_on_pcp(void **state)
{
	struct plan_lab *lab = *state;
	struct lease before;

	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	before = *lab_find(lab, C1, 5000);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 0)->origin = ORIGIN_NATPMP;
	lab->request.lifetime_s = 60;
	use_nonce(lab, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_int_equal(lab_get_lifetime_s(lab), 60); /* NP-27: it holds longer */
	assert_memory_equal(lab_find(lab, C1, 5000), &before, sizeof(before));
	lab_ask(lab, REQUEST_MAP, C1, 5000, 0)->origin = ORIGIN_NATPMP;
	lab->request.lifetime_s = 2 * LIFETIME_S;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	before.expires_ms += LIFETIME_MS;
	assert_memory_equal(lab_find(lab, C1, 5000), &before, sizeof(before));
	lab_ask(lab, REQUEST_UNMAP, C1, 5000, 0)->origin = ORIGIN_NATPMP;
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN); /* NP-49 */
	lab_ask(lab, REQUEST_UNMAP_ALL, C1, 0, 0)->origin = ORIGIN_NATPMP;
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	lab_ask(lab, REQUEST_ADD, C1, 5000, 6000)->origin = ORIGIN_IGD;
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN); /* IGD-42 */
	assert_int_equal(table_get_count(lab->table), 1);
}

static void test_pcp53_natpmp_on_filtered(void **state)
{
	struct plan_lab *lab = *state;

	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000);
	lab_filter(lab, "198.51.100.0/24", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 0)->origin = ORIGIN_NATPMP;
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	assert_int_equal(table_get_count(lab->table), 1);
}

static void test_pcp54_port_of_peer(void **state)
{
	struct plan_lab *lab = *state;

	make_of_peer(lab, ORIGIN_PCP, 443, 6000);
	assert_int_equal(lab_map(lab, C1, 5000, 7000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_int_equal(table_get_count(lab->table), 2);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 1);
	assert_true(lease_is_peer(lab_find(lab, C1, 5000)));
	/* exactly another one is another one */
	lab_ask(lab, REQUEST_MAP, C1, 5000, 7000)->prefer_failure = 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 7000);
}

static void test_pcp55_bad_suggestion(void **state)
{
	static const char *const addresses[] = {C1, "10.0.0.2", "127.0.0.1",
						"224.0.0.1", "2001:db8::1"};
	struct plan_lab *lab = *state;

	for (uint16_t i = 0; i < 5; i++) {
		lab_ask(lab, REQUEST_MAP, C1, (uint16_t)(5000 + i),
			(uint16_t)(6000 + i))
			->external = lab_address(addresses[i]);
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_int_equal(lab_get_port(lab), 6000 + i);
		assert_false(lab->plan.lease.exact);
	}
	assert_int_equal(lab_map(lab, C2, 5000, 6000), RESULT_OK);
	assert_int_not_equal(lab_get_port(lab), 6000);
	lab->used_port = 6100;
	assert_int_equal(lab_map(lab, C2, 5001, 6100), RESULT_OK);
	assert_int_not_equal(lab_get_port(lab), 6100);
}

static void test_pcp56_own_ports(void **state)
{
	struct plan_lab *lab = *state;

	for (uint16_t port = 5350; port < 5352; port++) {
		lab_ask(lab, REQUEST_MAP, C1, port, port)->protocol = IPPROTO_UDP;
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_true(lab_get_port(lab) != 5350 && lab_get_port(lab) != 5351);
		lab_ask(lab, REQUEST_MAP, C2, 5000, port)->protocol = IPPROTO_UDP;
		lab->request.prefer_failure = 1;
		assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	}
}

/* An owner's rule may take thousands of ports in a row; there are as many others. */
static void test_owners_ports(void **state)
{
	struct plan_lab *lab = *state;

	lab->used = (struct port_range){1024, 30000};
	for (uint32_t i = 0; i < 100; i++) {
		lab->context.random = i * 655;
		lab->looks = 0;
		assert_int_equal(lab_map(lab, C1, (uint16_t)(2000 + i), 0), RESULT_OK);
		assert_true(lab_get_port(lab) > lab->used.last);
		assert_true(lab->looks <= 66);
	}
	/* the one that is left of a small range is found, wherever the search begins */
	lab->conf.rules[0].external = (struct port_range){40000, 40063};
	lab->used = (struct port_range){40001, 40063};
	lab_ask(lab, REQUEST_MAP, C2, 5000, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 40000);
}

static void test_pcp61_quota(void **state)
{
	struct plan_lab *lab = *state;

	lab->context.leases_per_client = 2;
	assert_int_equal(lab_map(lab, C1, 5000, 0), RESULT_OK);
	assert_int_equal(lab_map(lab, C1, 5001, 0), RESULT_OK);
	assert_int_equal(lab_map(lab, C1, 5002, 0), RESULT_QUOTA);
	assert_int_equal(lab_map(lab, C1, 5001, 0), RESULT_OK);
	lab->context.leases_total = 2;
	assert_int_equal(lab_map(lab, C2, 5000, 0), RESULT_TABLE_FULL);
}

static void test_pcp62_no_address(void **state)
{
	struct plan_lab *lab = *state;

	lab->context.external = (struct ip_addr){{0}};
	assert_int_equal(lab_map(lab, C1, 5000, 0), RESULT_NO_ADDRESS);
	assert_int_equal(lab_map(lab, V6, 5000, 0), RESULT_OK);
}

static void test_pcp63_policy(void **state)
{
	struct plan_lab *lab = *state;
	struct conf_rule *rule = &lab->conf.rules[0];

	assert_int_equal(lab_map(lab, C1, 5000, 80), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5000);
	rule->external = (struct port_range){7000, 7001};
	assert_int_equal(lab_map(lab, C1, 5001, 6001), RESULT_OK);
	assert_true(lab_get_port(lab) == 7000 || lab_get_port(lab) == 7001);
	assert_int_equal(lab_map(lab, C1, 5002, 0), RESULT_OK);
	assert_int_equal(lab_map(lab, C1, 5003, 0), RESULT_NO_PORT);
	lab->conf.rule_count = 0;
	assert_int_equal(lab_map(lab, C1, 5004, 0), RESULT_DENIED);
	assert_int_equal(lab_map(lab, C1, 5000, 0), RESULT_DENIED); /* a renewal */
}

static void test_pcp64_lifetimes(void **state)
{
	static const uint32_t asked_s[] = {1, 119, 120, 3600, 86401, UINT32_MAX};
	static const uint32_t granted_s[] = {120, 120, 120, 3600, 86400, 86400};
	struct plan_lab *lab = *state;

	for (size_t i = 0; i < 6; i++) {
		lab_ask(lab, REQUEST_MAP, C1, 5000, 0)->lifetime_s = asked_s[i];
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_int_equal(lab_get_lifetime_s(lab), granted_s[i]);
	}
	lab->conf.rules[0].lifetime_max_s = 60; /* the minimum is a promise too */
	assert_int_equal(lab_map(lab, C1, 5000, 0), RESULT_OK);
	assert_int_equal(lab_get_lifetime_s(lab), 120);
}

static void test_pcp65_delete_of_nothing(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(unmap(lab, C1, 5000), RESULT_OK);
	assert_int_equal(lab_map(lab, C1, 5001, 0), RESULT_OK);
	assert_int_equal(unmap(lab, C2, 5001), RESULT_OK);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 1);
}

static void test_pcp67_delete_of_peer(void **state)
{
	struct plan_lab *lab = *state;

	make_of_peer(lab, ORIGIN_PCP, 443, 6000);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_FOREIGN);
	/* to NAT-PMP it is no mapping: there is none, or what there is goes (NP-44) */
	for (unsigned int i = 0; i < 2; i++) {
		lab_ask(lab, REQUEST_UNMAP, C1, 5000, 0)->origin = ORIGIN_NATPMP;
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_int_equal(table_get_count(lab->table), 1);
		assert_true(lease_is_peer(lab_find(lab, C1, 5000)));
		(void)lab_make(lab, ORIGIN_NATPMP, C1, 5000, 6000);
	}
}

static void test_pcp70_freed_port(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_OK);
	assert_int_equal(lab_map(lab, C2, 5000, 6000), RESULT_OK);
	assert_int_not_equal(lab_get_port(lab), 6000);
	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
}

static void test_pcp73_third_party(void **state)
{
	struct plan_lab *lab = *state;
	struct conf_rule *rule = &lab->conf.rules[0];
	static const enum request_op ops[] = {REQUEST_MAP, REQUEST_UNMAP, REQUEST_PEER};

	for (size_t i = 0; i < 3; i++) {
		lab_ask(lab, ops[i], C1, 5000, 0)->internal = lab_address(C2);
		lab->request.remote = lab_address("198.51.100.9");
		lab->request.remote_port = 443;
		assert_int_equal(lab_decide(lab), RESULT_THIRD_PARTY);
	}
	rule->has_third_party = true;
	assert_true(prefix_parse(C2 "/32", &rule->third_party));
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->internal = lab_address(C2);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_non_null(lab_find(lab, C2, 5000));
	lab_ask(lab, REQUEST_MAP, C1, 5000, 0)->internal = lab_address("192.168.77.4");
	assert_int_equal(lab_decide(lab), RESULT_THIRD_PARTY);
	lab_ask(lab, REQUEST_UNMAP, C1, 5000, 0)->internal = lab_address(C2);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_null(lab_find(lab, C2, 5000));
}

static void test_pcp76_exactly(void **state)
{
	struct plan_lab *lab = *state;

	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->prefer_failure = 1;
	lab->request.external = lab_address(WAN);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_true(lab_find(lab, C1, 5000)->exact);
	pass(lab, 100);
	lab_ask(lab, REQUEST_MAP, C2, 5000, 6000)->prefer_failure = 1; /* taken */
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	assert_int_equal(lab->plan.retry_s, LIFETIME_S - 100 + REST_S);
	lab_ask(lab, REQUEST_MAP, C2, 5000, 6000)->prefer_failure = 1;
	lab->request.protocol = IPPROTO_UDP; /* the companion of that port */
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	assert_int_equal(lab->plan.retry_s, LIFETIME_S - 100 + REST_S);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6001)->prefer_failure = 1; /* elsewhere */
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	assert_int_equal(lab->plan.retry_s, LIFETIME_S - 100 + REST_S);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->prefer_failure = 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_map(lab, C1, 5000, 0), RESULT_OK);
	assert_false(lab_find(lab, C1, 5000)->exact);
}

static void test_pcp76_exactly_not_ours(void **state)
{
	struct plan_lab *lab = *state;

	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->prefer_failure = 1;
	lab->request.external = lab_address("203.0.113.2");
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT); /* an address not ours */
	assert_int_equal(lab->plan.retry_s, 0);
	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->prefer_failure = 1;
	lab->request.external = lab_address("203.0.113.2");
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	lab_ask(lab, REQUEST_MAP, C1, 5001, 80)->prefer_failure = 1; /* forbidden */
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	lab->used_port = 7000;
	lab_ask(lab, REQUEST_MAP, C1, 5001, 7000)->prefer_failure = 1;
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_OK);
	pass(lab, 20);
	lab_ask(lab, REQUEST_MAP, C2, 5000, 6000)->prefer_failure = 1; /* it rests */
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	assert_int_equal(lab->plan.retry_s, REST_S - 20);
}

/* PCP-41: only who names the address loses the lease with it; the last word counts. */
static void test_pcp41_exact(void **state)
{
	struct plan_lab *lab = *state;

	for (unsigned int i = 0; i < 6; i++) {
		lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->prefer_failure = i % 3 != 0;
		if (i % 3 != 1)
			lab->request.external = lab_address(WAN);
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_int_equal(lab_find(lab, C1, 5000)->exact, i % 3 == 2);
	}
}

static void test_pcp80_filter_limit(void **state)
{
	struct plan_lab *lab = *state;
	struct lease before;

	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000);
	lab_filter(lab, "198.51.100.1", 0);
	lab_filter(lab, "198.51.100.2", 0);
	lab_filter(lab, "198.51.100.3", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	before = *lab_find(lab, C1, 5000);
	pass(lab, 10);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000);
	lab_filter(lab, "198.51.100.4", 0);
	lab_filter(lab, "198.51.100.5", 0);
	assert_int_equal(lab_decide(lab), RESULT_PEERS);
	assert_memory_equal(lab_find(lab, C1, 5000), &before, sizeof(before));
	for (int i = 0; i < 5; i++) {
		lab_ask(lab, REQUEST_MAP, C1, 5001, 6001);
		for (int n = 0; n <= i; n++)
			lab_filter(lab, "198.51.100.0/24", (uint16_t)n);
		assert_int_equal(lab_decide(lab), i < 4 ? RESULT_OK : RESULT_PEERS);
	}
}

static void test_pcp83_filters(void **state)
{
	struct plan_lab *lab = *state;
	const struct lease *lease;

	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000);
	lab_filter(lab, "198.51.100.0/24", 0);
	lab_filter(lab, "198.51.100.0/24", 0); /* the same once more */
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lease = lab_find(lab, C1, 5000);
	assert_int_equal(lease->filter_count, 1);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 0);
	lab_filter(lab, "198.51.100.0/24", 443);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lease->filter_count, 2); /* added */
	assert_int_equal(lab_map(lab, C1, 5000, 0), RESULT_OK);
	assert_int_equal(lease->filter_count, 2); /* kept */
	lab_ask(lab, REQUEST_MAP, C1, 5000, 0)->filter_clear = 1;
	lab_filter(lab, "192.0.2.1", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lease->filter_count, 1); /* replaced */
	assert_int_equal(lease->filters[0].prefix.length, 128);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 0);
	lab->request.filter_count = 1; /* host bits say nothing */
	lab->request.filters[0].prefix =
		(struct prefix){lab_address("192.0.2.99"), 121};
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_true(addr_equal(&lease->filters[1].prefix.addr,
			       &(struct ip_addr){{[10] = 0xff, 0xff, 192, 0, 2, 0}}));
	lab_ask(lab, REQUEST_MAP, C1, 5000, 0)->filter_clear = 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lease->filter_count, 0);
}

static void describe(struct plan_lab *lab, const char *text)
{
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->has_description = 1;
	(void)snprintf(lab->request.description, sizeof(lab->request.description), "%s",
		       text);
}

static void test_pcp112_description(void **state)
{
	struct plan_lab *lab = *state;

	describe(lab, "one");
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_map(lab, C1, 5000, 0), RESULT_OK);
	assert_string_equal(lease_get_description(lab_find(lab, C1, 5000)), "one");
	describe(lab, "two");
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_string_equal(lease_get_description(&lab->plan.lease), "two");
	describe(lab, "");
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_string_equal(lease_get_description(lab_find(lab, C1, 5000)), "");
}

static void test_pcp93_pinhole(void **state)
{
	struct plan_lab *lab = *state;

	for (uint16_t suggested = 0; suggested < 9000; suggested += 3000) {
		assert_int_equal(lab_map(lab, V6, 5000, suggested), RESULT_OK);
		assert_int_equal(lab_get_port(lab), 5000);
	}
	lab_ask(lab, REQUEST_MAP, V6, 5000, 7000)->external = lab_address(WAN);
	assert_int_equal(lab_decide(lab), RESULT_OK); /* PCP-97 */
	assert_int_equal(table_get_count(lab->table), 1);
	assert_int_equal(lab_map(lab, V6, 80, 8080), RESULT_DENIED); /* by policy */
	assert_int_equal(lab_map(lab, "2001:db8:77::3", 5000, 0), RESULT_OK);
	assert_int_equal(lab_map(lab, C1, 5001, 5000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5000); /* families share no port */
	assert_int_equal(unmap(lab, V6, 5000), RESULT_OK);
	assert_null(lab_find(lab, V6, 5000));
}

static void test_pcp94_pinhole_exactly(void **state)
{
	struct plan_lab *lab = *state;

	lab_ask(lab, REQUEST_MAP, V6, 5000, 5001)->prefer_failure = 1;
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	lab_ask(lab, REQUEST_MAP, V6, 5000, 5000)->prefer_failure = 1;
	lab->request.external = lab_address("2001:db8:77::3");
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	lab->request.external = lab_address(V6);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lab->request.external_port = 5001; /* on renewal as well */
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
}

/* A lease that MAP made and the owner's are not NAT-PMP's, IGD's or each other's. */
static void test_pcp67_own_beside_static(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(lab_map(lab, C1, 5000, 6000), RESULT_OK);
	(void)lab_make(lab, ORIGIN_STATIC, C1, 5000, 6001);
	assert_int_equal(lab_map(lab, C1, 5000, 0), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_OK);
	assert_int_equal(unmap(lab, C1, 5000), RESULT_FOREIGN);
	assert_true(lab_find(lab, C1, 5000)->outbound);
}

#define TEST(name)                                                                     \
	cmocka_unit_test_setup_teardown(name, plan_lab_setup, plan_lab_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_pcp49_nonce_of_renewal),
		TEST(test_pcp49_nonce_of_delete),
		TEST(test_pcp49_nonce_zero),
		TEST(test_pcp50_relaxed),
		TEST(test_pcp50_relaxed_third_party),
		TEST(test_pcp51_static),
		TEST(test_pcp51_static_as_it_is),
		TEST(test_pcp52_renewal_keeps_port),
		TEST(test_pcp53_adopts),
		TEST(test_pcp53_adopts_no_earlier_end),
		TEST(test_pcp53_adopts_exactly),
		TEST(test_pcp53_delete_of_others),
		TEST(test_pcp53_natpmp_on_pcp),
		TEST(test_pcp53_natpmp_on_filtered),
		TEST(test_pcp54_port_of_peer),
		TEST(test_pcp55_bad_suggestion),
		TEST(test_pcp56_own_ports),
		TEST(test_owners_ports),
		TEST(test_pcp61_quota),
		TEST(test_pcp62_no_address),
		TEST(test_pcp63_policy),
		TEST(test_pcp64_lifetimes),
		TEST(test_pcp65_delete_of_nothing),
		TEST(test_pcp67_delete_of_peer),
		TEST(test_pcp67_own_beside_static),
		TEST(test_pcp70_freed_port),
		TEST(test_pcp73_third_party),
		TEST(test_pcp76_exactly),
		TEST(test_pcp76_exactly_not_ours),
		TEST(test_pcp41_exact),
		TEST(test_pcp80_filter_limit),
		TEST(test_pcp83_filters),
		TEST(test_pcp93_pinhole),
		TEST(test_pcp94_pinhole_exactly),
		TEST(test_pcp112_description),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
