/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PORT_SET (RFC 7753): PCP-116 in the lease table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ports.h"
#include "test/unit/plan_lab.h"

static struct request *ask_set(struct plan_lab *lab, const char *host,
			       uint16_t internal, uint16_t external, uint16_t count)
{
	struct request *request = lab_ask(lab, REQUEST_MAP, host, internal, external);

	request->port_count = count;
	return request;
}

static enum result map_set(struct plan_lab *lab, uint16_t internal, uint16_t external,
			   uint16_t count)
{
	ask_set(lab, C1, internal, external, count);
	return lab_decide(lab);
}

/* The set stands in the table as it was answered, every part with the same terms. */
static void assert_set(const struct plan_lab *lab, const char *host, uint16_t internal,
		       uint16_t count)
{
	const struct lease *first = lab_find(lab, host, internal);

	assert_non_null(first);
	assert_int_equal(lab->plan.port_count, count);
	assert_int_equal(lab->plan.lease.internal_port, internal);
	assert_int_equal(lab->plan.lease.external_port, first->external_port);
	for (uint16_t i = 0; i < count; i++) {
		const struct lease *lease =
			lab_find(lab, host, (uint16_t)(internal + i));

		assert_non_null(lease);
		assert_int_equal(lease->external_port, first->external_port + i);
		assert_int_equal(lease->set_first, first->set_first);
		assert_int_equal(lease->set_count, first->set_count);
		assert_true(lease->expires_ms == first->expires_ms);
		assert_memory_equal(lease->nonce, first->nonce, NONCE_SIZE);
		assert_int_equal(lease->filter_count, first->filter_count);
		assert_string_equal(lease_get_description(lease),
				    lease_get_description(first));
		assert_true(lease->outbound);
	}
}

static void test_grant(void **state)
{
	struct plan_lab *lab = *state;

	ask_set(lab, C1, 5000, 6000, 8)->has_description = 1;
	(void)snprintf(lab->request.description, sizeof(lab->request.description),
		       "a set");
	lab_filter(lab, "198.51.100.0/24", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_set(lab, C1, 5000, 8);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_int_equal(table_get_count(lab->table), 8);
	assert_int_equal(lab_find(lab, C1, 5000)->set_first, 5000);
	assert_int_equal(lab_find(lab, C1, 5000)->set_count, 8);
}

/* As inside where nothing is suggested; where that is taken, somewhere else. */
static void test_grant_elsewhere(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(map_set(lab, 5000, 0, 4), RESULT_OK);
	assert_set(lab, C1, 5000, 4);
	assert_int_equal(lab_get_port(lab), 5000);
	lab->context.random = 4711;
	ask_set(lab, C2, 5000, 5001, 4);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_set(lab, C2, 5000, 4);
	lab->context.cautious = true;
	assert_int_equal(map_set(lab, 9000, 0, 4), RESULT_OK);
	assert_set(lab, C1, 9000, 4);
	assert_int_not_equal(lab_get_port(lab), 9000);
}

static void test_parity(void **state)
{
	struct plan_lab *lab = *state;

	lab->context.cautious = true;
	for (uint16_t i = 0; i < 8; i++) {
		uint16_t internal = (uint16_t)(5000 + 101 * i);

		lab->context.random = 7u * i + 1; /* by itself it would be wrong */
		ask_set(lab, C1, internal, (uint16_t)(7001 + internal % 2), 3)
			->port_parity = 1;
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_set(lab, C1, internal, 3);
		assert_int_equal(lab_get_port(lab) % 2, internal % 2);
	}
}

static void test_count_is_bounded(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(map_set(lab, 5000, 6000, 64), RESULT_OK);
	assert_set(lab, C1, 5000, 16); /* ports-per-request */
	lab->context.leases_per_client = 19;
	assert_int_equal(map_set(lab, 7000, 0, 8), RESULT_OK);
	assert_set(lab, C1, 7000, 3); /* the rest of the quota */
	assert_int_equal(map_set(lab, 7100, 0, 8), RESULT_QUOTA);
	lab->context.leases_total = 21;
	ask_set(lab, C2, 5000, 0, 8);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_set(lab, C2, 5000, 2);
	lab->context.leases_total = 0;
	lab->context.ports_max = 1; /* off */
	ask_set(lab, C2, 5100, 0, 8);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 0);
	assert_int_equal(lab_find(lab, C2, 5100)->set_count, 0);
	assert_null(lab_find(lab, C2, 5101));
}

static void test_last_ports(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(map_set(lab, 65533, 65533, 8), RESULT_OK);
	assert_set(lab, C1, 65533, 3);
	ask_set(lab, C1, 65535, 0, 8)->protocol = IPPROTO_UDP;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 0);
	assert_int_equal(lab->plan.lease.set_count, 0);
	ask_set(lab, C2, 5000, 65530, 8); /* the end of the ports outside */
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_set(lab, C2, 5000, 8);
}

static void test_what_is_free(void **state)
{
	struct plan_lab *lab = *state;

	/* two gaps, of 3 and of 5 ports */
	lab->conf.rules[0].external = (struct port_range){7000, 7009};
	ask_set(lab, C2, 9000, 7003, 2);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 7003);
	assert_int_equal(map_set(lab, 5000, 0, 8), RESULT_OK);
	assert_set(lab, C1, 5000, 5);
	assert_int_equal(lab_get_port(lab), 7005);
	assert_int_equal(map_set(lab, 5010, 0, 8), RESULT_OK);
	assert_set(lab, C1, 5010, 3);
	assert_int_equal(map_set(lab, 5020, 0, 8), RESULT_NO_PORT);
}

static void test_gateways_own_port(void **state)
{
	struct plan_lab *lab = *state;

	lab->conf.rules[0].external = (struct port_range){7000, 7009};
	lab->used_port = 7004;
	assert_int_equal(map_set(lab, 5000, 0, 8), RESULT_OK);
	assert_set(lab, C1, 5000, 5);
	assert_int_equal(lab_get_port(lab), 7005);
	assert_true(lab->looks <= 2 * REQUEST_PORTS_MAX + 1);
}

/* An owner's rule may take thousands of ports in a row; there are as many others. */
static void test_owners_ports(void **state)
{
	struct plan_lab *lab = *state;

	lab->used = (struct port_range){1024, 30000};
	lab->context.leases_per_client = 1000;
	for (uint32_t i = 0; i < 60; i++) {
		uint16_t port = (uint16_t)(5000 + 16 * i);

		lab->context.random = 1024 + i * 480;
		lab->looks = 0;
		assert_int_equal(map_set(lab, port, 0, 8), RESULT_OK);
		assert_set(lab, C1, port, 8);
		assert_true(lab_get_port(lab) > lab->used.last);
		assert_true(lab->looks <= 2 * REQUEST_PORTS_MAX + 1);
	}
}

/* Work is bounded however the ports lie: here no two free ones are neighbours. */
static void test_no_run_at_all(void **state)
{
	struct plan_lab *lab = *state;
	struct ip_addr host = lab_address(C2);
	struct ports *ports = table_get_ports(lab->table);

	for (uint32_t port = 1024; port <= UINT16_MAX; port += 2)
		assert_int_equal(ports_hold(ports, 0, (uint16_t)port, &host), 0);
	assert_int_equal(map_set(lab, 5000, 0, 16), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 0);
	assert_int_equal(lab->plan.lease.set_count, 0);
	assert_true(lab->looks <= 2 * REQUEST_PORTS_MAX + 64);
}

static void test_policy_tells_ports_apart(void **state)
{
	struct plan_lab *lab = *state;

	lab->conf.rules[0].internal = (struct port_range){5000, 5003};
	assert_int_equal(map_set(lab, 5001, 0, 8), RESULT_OK);
	assert_set(lab, C1, 5001, 3);
	assert_int_equal(map_set(lab, 5003, 0, 8), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 0);
	/* rules that narrow later end the set, not a part of it */
	lab->conf.rules[0].internal = (struct port_range){5000, 5002};
	assert_int_equal(map_set(lab, 5001, 0, 8), RESULT_DENIED);
}

/* A set ends as one: by the shortest of the limits on its ports. */
static void test_shortest_limit(void **state)
{
	struct plan_lab *lab = *state;
	struct conf_rule *rules = lab->conf.rules;

	rules[1] = rules[0];
	lab->conf.rule_count = 2;
	rules[0].external = (struct port_range){6002, 6002};
	rules[0].lifetime_max_s = 600;
	assert_int_equal(map_set(lab, 5000, 6000, 4), RESULT_OK);
	assert_set(lab, C1, 5000, 4);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_int_equal(lab_get_lifetime_s(lab), 600);
	assert_int_equal(lab_map(lab, C1, 5000, 0), RESULT_OK);
	assert_int_equal(lab_get_lifetime_s(lab), 600);
	assert_int_equal(map_set(lab, 5010, 6003, 2), RESULT_OK);
	assert_int_equal(lab_get_lifetime_s(lab), LIFETIME_S);
}

static void test_renewal_of_any_part(void **state)
{
	struct plan_lab *lab = *state;
	int64_t expires_ms;

	assert_int_equal(map_set(lab, 5000, 6000, 8), RESULT_OK);
	lab->context.now_ms += 100000;
	expires_ms = lab->context.now_ms + LIFETIME_MS;
	assert_int_equal(lab_map(lab, C1, 5003, 0), RESULT_OK); /* no option */
	assert_int_equal(lab->plan.port_count, 0);
	assert_int_equal(lab_get_port(lab), 6003);
	for (uint16_t port = 5000; port < 5008; port++)
		assert_true(lab_find(lab, C1, port)->expires_ms == expires_ms);
	lab->context.now_ms += 100000;
	assert_int_equal(map_set(lab, 5002, 0, 3), RESULT_OK);
	assert_set(lab, C1, 5002, 3);
	assert_true(lab_find(lab, C1, 5000)->expires_ms == expires_ms + 100000);
	assert_int_equal(map_set(lab, 5000, 0, 16), RESULT_OK); /* it does not grow */
	assert_set(lab, C1, 5000, 8);
	assert_int_equal(table_get_count(lab->table), 8);
	lab_ask(lab, REQUEST_MAP, C1, 5004, 0)->nonce[0] ^= 1;
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	lab_ask(lab, REQUEST_MAP, C1, 5004, 0)->origin = ORIGIN_NATPMP;
	lab->request.lifetime_s = 2 * LIFETIME_S;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_true(lab_find(lab, C1, 5000)->expires_ms ==
		    lab_find(lab, C1, 5004)->expires_ms);
}

static void test_filters_of_all(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(map_set(lab, 5000, 6000, 4), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C1, 5002, 0);
	lab_filter(lab, "198.51.100.1", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	for (uint16_t port = 5000; port < 5004; port++)
		assert_int_equal(lab_find(lab, C1, port)->filter_count, 1);
	ask_set(lab, C1, 5000, 0, 4);
	for (uint16_t i = 1; i < 5; i++)
		lab_filter(lab, "192.0.2.1", i);
	assert_int_equal(lab_decide(lab), RESULT_PEERS);
	assert_int_equal(lab_find(lab, C1, 5000)->filter_count, 1);
}

static void test_delete_of_any_part(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(map_set(lab, 5000, 6000, 8), RESULT_OK);
	assert_int_equal(map_set(lab, 5008, 0, 2), RESULT_OK);
	lab_ask(lab, REQUEST_UNMAP, C1, 5003, 0)->nonce[0] ^= 1;
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	lab_ask(lab, REQUEST_UNMAP, C1, 5003, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 2);
	assert_int_equal(map_set(lab, 5000, 6000, 8), RESULT_OK);
	lab_ask(lab, REQUEST_UNMAP, C1, 5000, 0)->port_count = 10; /* both */
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 0);
}

static void test_end_of_any_part(void **state)
{
	struct plan_lab *lab = *state;
	const struct plan *plan = &lab->plan;

	for (uint16_t port = 5000; port < 5003; port++) {
		assert_int_equal(map_set(lab, 5000, 6000, 3), RESULT_OK);
		lease_plan_end(lab->table, lab_find(lab, C1, port)->id, &lab->plan);
		assert_int_equal(plan->result, RESULT_OK);
		assert_int_equal(plan->lease.internal_port, port);
		assert_int_equal(lease_commit(lab->table, plan->changes, plan->count,
					      lab->context.now_ms),
				 0);
		assert_int_equal(table_get_count(lab->table), 0);
		lease_rollback(lab->table, plan->changes, plan->count);
		assert_int_equal(table_get_count(lab->table), 3);
		lab_ask(lab, REQUEST_DELETE, C1, 0, (uint16_t)(port + 1000))->origin =
			ORIGIN_STATIC;
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_int_equal(table_get_count(lab->table), 0);
	}
}

/* The owner takes one port of a set: that one is the owner's, the set is no more. */
static void test_owner_takes_a_part(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(map_set(lab, 5000, 6000, 3), RESULT_OK);
	(void)lab_make(lab, ORIGIN_STATIC, C1, 5001, 6001);
	assert_int_equal(table_get_count(lab->table), 1);
	assert_int_equal(lab_find(lab, C1, 5001)->set_count, 0);
	assert_int_equal(map_set(lab, 5010, 6010, 3), RESULT_OK);
	(void)lab_make(lab, ORIGIN_STATIC, C1, 5020, 6011);
	assert_int_equal(table_get_count(lab->table), 2);
}

static void test_overlap(void **state)
{
	struct plan_lab *lab = *state;
	int64_t expires_ms;

	(void)lab_make(lab, ORIGIN_IGD, C1, 5004, 9004);
	assert_int_equal(lab_map(lab, C1, 5006, 9006), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C1, 5007, 9007)->nonce[0] ^= 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lab->context.now_ms += 50000;
	expires_ms = lab->context.now_ms + LIFETIME_MS;
	assert_int_equal(map_set(lab, 5000, 6000, 16), RESULT_OK);
	assert_set(lab, C1, 5000, 4); /* up to the first that is there */
	assert_int_equal(table_get_count(lab->table), 7);
	/* of another protocol: left alone */
	assert_true(lab_find(lab, C1, 5004)->expires_ms == expires_ms - 50000);
	assert_false(lab_find(lab, C1, 5004)->has_nonce);
	assert_int_equal(lab_find(lab, C1, 5004)->external_port, 9004);
	assert_true(lab_find(lab, C1, 5006)->expires_ms == expires_ms);
	assert_true(lab_find(lab, C1, 5007)->expires_ms == expires_ms - 50000);
	/* one that begins with a port that is there is about that */
	assert_int_equal(map_set(lab, 5006, 0, 4), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 0);
	assert_int_equal(lab_get_port(lab), 9006);
	assert_int_equal(map_set(lab, 5007, 0, 4), RESULT_FOREIGN);
	/* the end of one set and more */
	assert_int_equal(map_set(lab, 5002, 0, 3), RESULT_OK);
	assert_set(lab, C1, 5002, 2);
	assert_int_equal(table_get_count(lab->table), 7);
}

static unsigned int count_unasked(const struct plan_lab *lab)
{
	unsigned int count = 0;

	for (size_t i = 0; i < lab->plan.count; i++)
		count += lab->plan.changes[i].unasked;
	return count;
}

/* What a set only runs over ends no earlier, and keeps its terms. */
static void test_overlap_ends_nothing(void **state)
{
	struct plan_lab *lab = *state;
	int64_t expires_ms = lab->context.now_ms + LIFETIME_MS;

	assert_int_equal(map_set(lab, 5002, 9002, 2), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C1, 5005, 9005)->has_description = 1;
	(void)snprintf(lab->request.description, sizeof(lab->request.description),
		       "one");
	lab_filter(lab, "198.51.100.1", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C1, 5006, 9006)->nonce[0] ^= 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	for (unsigned int i = 0; i < 2; i++) {
		ask_set(lab, C1, 5000, 6000, 8)->has_description = 1;
		lab->request.lifetime_s = i == 0 ? 300 : 2 * LIFETIME_S;
		lab->request.client_port = 40001;
		for (uint16_t n = 1; n < 5; n++)
			lab_filter(lab, "192.0.2.1", n);
		lab->context.nonce_relaxed = true;
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_set(lab, C1, 5000, 2);
		assert_int_equal(lab_get_lifetime_s(lab), lab->request.lifetime_s);
		assert_int_equal(count_unasked(lab), 3);
		for (uint16_t port = 5002; port < 5006; port++) {
			const struct lease *lease = lab_find(lab, C1, port);

			if (port == 5004)
				continue;
			assert_true(lease->expires_ms == expires_ms + i * LIFETIME_MS);
			assert_int_equal(lease->filter_count, port == 5005);
			assert_string_equal(lease_get_description(lease),
					    port == 5005 ? "one" : "");
			assert_int_equal(lease->client_port, 40001);
		}
		/* another nonce, though it may be brought with a renewal of its own */
		assert_true(lab_find(lab, C1, 5006)->expires_ms == expires_ms);
	}
}

static void test_pinholes(void **state)
{
	struct plan_lab *lab = *state;

	lab->context.external = (struct ip_addr){{0}};
	ask_set(lab, V6, 5000, 7000, 4);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_set(lab, V6, 5000, 4);
	assert_int_equal(lab_get_port(lab), 5000);
	lab->conf.rules[0].external = (struct port_range){5100, 5102};
	ask_set(lab, V6, 5101, 0, 4);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_set(lab, V6, 5101, 2);
	lab_ask(lab, REQUEST_UNMAP, V6, 5102, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 4);
}

/* PREFER_FAILURE in a set is refused by the worker; one that is not gets one port. */
static void test_never_with_prefer_failure(void **state)
{
	struct plan_lab *lab = *state;

	ask_set(lab, C1, 5000, 6000, 4)->prefer_failure = 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 0);
	assert_int_equal(table_get_count(lab->table), 1);
}

/* --- runs of free ports, against a walk over all --- */

static bool is_run(const bool *taken, const struct ports_wish *wish, uint32_t first)
{
	if (wish->parity != PORTS_ANY && first % 2 != (wish->parity == PORTS_ODD))
		return false;
	for (uint32_t port = first; port < first + wish->count; port++)
		if (port > wish->range.last || taken[port])
			return false;
	return true;
}

static uint16_t walk(const bool *taken, const struct ports_wish *wish, uint16_t start)
{
	uint32_t span = wish->range.last - wish->range.first + 1u;
	uint32_t offset = start >= wish->range.first && start <= wish->range.last
				  ? (uint32_t)(start - wish->range.first)
				  : 0;

	for (uint32_t i = 0; i < span; i++) {
		uint32_t port = wish->range.first + (offset + i) % span;

		if (is_run(taken, wish, port))
			return (uint16_t)port;
	}
	return 0;
}

static void test_free_runs(void **state)
{
	static bool taken[UINT16_MAX + 1];
	struct ports *ports = ports_new();
	struct ip_addr host = lab_address(C1);
	unsigned int seed = 1;

	(void)state;
	for (uint32_t port = 1024; port < 4096; port++) {
		seed = seed * 1103515245 + 12345;
		/* denser towards the end, so that runs of every length are there */
		taken[port] = (seed >> 16) % 3072 < (port - 1024) / 8;
		if (taken[port])
			assert_int_equal(ports_hold(ports, 0, (uint16_t)port, &host),
					 0);
	}
	for (int i = 0; i < 4000; i++) {
		struct ports_wish wish;
		uint16_t start;

		seed = seed * 1103515245 + 12345;
		wish.range.first = (uint16_t)(1024 + (seed >> 16) % 3000);
		wish.range.last = (uint16_t)(wish.range.first + (seed >> 20) % 300);
		wish.count = (uint16_t)(1 + (seed >> 13) % PORTS_RUN_MAX);
		wish.parity = (enum ports_parity)((seed >> 10) % 3);
		start = (uint16_t)(wish.range.first + (seed >> 18) % 310);
		assert_int_equal(ports_find_free_run(ports, 0, &wish, start),
				 walk(taken, &wish, start));
	}
	ports_free(ports);
}

#define TEST(name)                                                                     \
	cmocka_unit_test_setup_teardown(name, plan_lab_setup, plan_lab_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_grant),
		TEST(test_grant_elsewhere),
		TEST(test_parity),
		TEST(test_count_is_bounded),
		TEST(test_last_ports),
		TEST(test_what_is_free),
		TEST(test_gateways_own_port),
		TEST(test_owners_ports),
		TEST(test_no_run_at_all),
		TEST(test_policy_tells_ports_apart),
		TEST(test_shortest_limit),
		TEST(test_renewal_of_any_part),
		TEST(test_filters_of_all),
		TEST(test_delete_of_any_part),
		TEST(test_end_of_any_part),
		TEST(test_owner_takes_a_part),
		TEST(test_overlap),
		TEST(test_overlap_ends_nothing),
		TEST(test_pinholes),
		TEST(test_never_with_prefer_failure),
		cmocka_unit_test(test_free_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
