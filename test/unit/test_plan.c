/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of each kind of request: the rows of the specifications that are decided
 * in the lease table, on virtual time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "daemon/plan.h"
#include "daemon/ports.h"
#include "daemon/table.h"

#define C1 "192.168.77.2"
#define C2 "192.168.77.3"
#define SSH 22

/* A table, its policy, and what the last request came to. */
struct fixture {
	struct table *table;
	struct conf conf;
	struct verdict verdict;
	struct plan_context context;
	struct request request;
	struct plan plan;
	uint16_t used_port; /* of the gateway itself */
};

static struct ip_addr address(const char *text)
{
	struct ip_addr addr = {{0}};

	assert_true(addr_parse(text, &addr));
	return addr;
}

static bool is_used(void *user, uint8_t protocol, uint16_t port)
{
	const struct fixture *fixture = user;

	(void)protocol;
	return port == fixture->used_port;
}

static int setup(void **state)
{
	static struct fixture fixture;

	memset(&fixture, 0, sizeof(fixture));
	fixture.table = table_new();
	conf_init(&fixture.conf);
	fixture.context = (struct plan_context){
		.request = &fixture.request,
		.verdict = &fixture.verdict,
		.external = address("203.0.113.1"),
		.leases_per_client = 4,
		.leases_total = 6,
		.lifetime_max_s = 86400,
		.lifetime_min_s = 120,
		.next_id = 1,
		.now_ms = 1000000,
		.is_port_used = is_used,
		.user = &fixture,
	};
	*state = &fixture;
	return fixture.table ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	plan_fini(&fixture->plan);
	table_free(fixture->table);
	return 0;
}

/* Fill in a request of a host; the test then changes what it is about. */
static struct request *ask(struct fixture *fixture, enum request_op op,
			   const char *host, uint16_t internal_port,
			   uint16_t external_port)
{
	struct request *request = &fixture->request;

	memset(request, 0, sizeof(*request));
	request->op = (uint8_t)op;
	request->origin = op == REQUEST_ADD || op == REQUEST_DELETE || op == REQUEST_GET
				  ? ORIGIN_IGD
				  : ORIGIN_NATPMP;
	request->protocol = IPPROTO_TCP;
	request->enabled = 1;
	request->client = address(host);
	request->internal = request->client;
	request->internal_port = internal_port;
	request->external_port = external_port;
	request->lifetime_s = 7200;
	return request;
}

static enum result decide(struct fixture *fixture)
{
	struct plan *plan = &fixture->plan;

	policy_decide(&fixture->conf, &fixture->request, "lan0", &fixture->verdict);
	lease_plan(fixture->table, &fixture->context, plan);
	assert_int_equal(lease_commit(fixture->table, plan->changes, plan->count,
				      fixture->context.now_ms),
			 0);
	fixture->context.next_id++;
	return plan->result;
}

static enum result map(struct fixture *fixture, const char *host,
		       uint16_t internal_port, uint16_t external_port)
{
	ask(fixture, REQUEST_MAP, host, internal_port, external_port);
	return decide(fixture);
}

static enum result add(struct fixture *fixture, const char *host,
		       uint16_t internal_port, uint16_t external_port)
{
	ask(fixture, REQUEST_ADD, host, internal_port, external_port);
	return decide(fixture);
}

static uint16_t granted_port(const struct fixture *fixture)
{
	return fixture->plan.lease.external_port;
}

static int64_t granted_lifetime_s(const struct fixture *fixture)
{
	return (fixture->plan.lease.expires_ms - fixture->context.now_ms) / 1000;
}

static void test_map_takes_suggestion(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 5000, 6000), RESULT_OK);
	assert_int_equal(granted_port(fixture), 6000);
	assert_true(fixture->plan.lease.outbound); /* NP-10 */
}

static void test_np30_renewal_keeps_port(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 80, 8080), RESULT_OK);
	fixture->context.now_ms += 5000;
	assert_int_equal(map(fixture, C1, 80, 9090), RESULT_OK);
	assert_int_equal(granted_port(fixture), 8080);
	assert_int_equal(granted_lifetime_s(fixture), 7200);
	assert_int_equal(table_get_count(fixture->table), 1);
}

static void test_np30_renewal_of_igd_lease(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(add(fixture, C1, 80, 8080), RESULT_OK);
	assert_int_equal(map(fixture, C1, 80, 0), RESULT_OK);
	assert_int_equal(granted_port(fixture), 8080);
	assert_int_equal(table_get_count(fixture->table), 1);
}

static void test_np31_taken_port_gets_another(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 80, 8080), RESULT_OK);
	assert_int_equal(map(fixture, C2, 80, 8080), RESULT_OK);
	assert_int_not_equal(granted_port(fixture), 8080);
}

static void test_np32_any_port_is_high(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, SSH, 0), RESULT_OK);
	assert_true(granted_port(fixture) >= 1024);
}

static void test_np33_np34_companion_port(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_OK);
	assert_int_equal(table_get_count(fixture->table), 1); /* NP-33 */
	ask(fixture, REQUEST_MAP, C2, 5000, 5000)->protocol = IPPROTO_UDP;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_not_equal(granted_port(fixture), 5000);
	ask(fixture, REQUEST_ADD, C2, 5001, 5000)->protocol = IPPROTO_UDP; /* NP-35 */
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
	ask(fixture, REQUEST_MAP, C1, 5000, 5000)->protocol = IPPROTO_UDP;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted_port(fixture), 5000);
}

static void test_np36_cautious_after_loss(void **state)
{
	struct fixture *fixture = *state;

	fixture->context.cautious = true;
	fixture->context.random = 12345;
	assert_int_equal(map(fixture, C2, 5000, 0), RESULT_OK);
	assert_int_not_equal(granted_port(fixture), 5000);
	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_OK);
	assert_int_equal(granted_port(fixture), 5000);
}

static void test_np37_own_ports(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture, REQUEST_MAP, C1, 5351, 5351)->protocol = IPPROTO_UDP;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_not_equal(granted_port(fixture), 5351);
	fixture->used_port = 4000;
	assert_int_equal(map(fixture, C1, 4000, 4000), RESULT_OK);
	assert_int_not_equal(granted_port(fixture), 4000);
	assert_int_equal(add(fixture, C1, 4001, 4000), RESULT_WITHHELD); /* IGD-24 */
}

static void test_np38_privileged_suggestion(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 80, 80), RESULT_OK);
	assert_true(granted_port(fixture) >= 1024);
	assert_int_equal(add(fixture, C1, 80, 80), RESULT_DENIED); /* IGD-22 */
}

static void test_np27_lifetimes(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture, REQUEST_MAP, C1, 5000, 5000)->lifetime_s = 30;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted_lifetime_s(fixture), 30);
	ask(fixture, REQUEST_MAP, C1, 5000, 5000)->lifetime_s = UINT32_MAX; /* NP-28 */
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted_lifetime_s(fixture), 86400);
}

static void test_igd15_lease_zero(void **state)
{
	struct fixture *fixture = *state;

	fixture->context.lifetime_max_s = fixture->conf.limits.igd_lifetime_max_s;
	ask(fixture, REQUEST_ADD, C1, 5000, 5000)->lifetime_s = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted_lifetime_s(fixture), 604800);
	ask(fixture, REQUEST_ADD, C1, 5000, 5000)->lifetime_s = 1;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted_lifetime_s(fixture), 1);
}

static void test_np40_quota(void **state)
{
	struct fixture *fixture = *state;

	for (uint16_t port = 5000; port < 5004; port++)
		assert_int_equal(map(fixture, C1, port, port), RESULT_OK);
	assert_int_equal(map(fixture, C1, 5004, 5004), RESULT_QUOTA);
	assert_int_equal(add(fixture, C1, 5004, 5004), RESULT_QUOTA);
	assert_int_equal(map(fixture, C1, 5000, 0), RESULT_OK); /* a renewal */
	assert_int_equal(map(fixture, C2, 6000, 6000), RESULT_OK);
	assert_int_equal(map(fixture, C2, 6001, 6001), RESULT_OK);
	assert_int_equal(map(fixture, C2, 6002, 6002), RESULT_TABLE_FULL);
}

static void test_np41_freed_port_rests(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_OK);
	ask(fixture, REQUEST_UNMAP, C1, 5000, 0);
	assert_int_equal(decide(fixture), RESULT_OK);
	fixture->context.now_ms += 10000;
	assert_int_equal(add(fixture, C2, 5000, 5000), RESULT_CONFLICT);
	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_OK);
	assert_int_equal(granted_port(fixture), 5000);
	ask(fixture, REQUEST_UNMAP, C1, 5000, 0);
	assert_int_equal(decide(fixture), RESULT_OK);
	fixture->context.now_ms += PORT_REST_MS;
	ports_reap(table_get_ports(fixture->table), fixture->context.now_ms);
	assert_int_equal(add(fixture, C2, 5000, 5000), RESULT_OK);
}

static void test_np42_np44_unmap(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_OK);
	ask(fixture, REQUEST_UNMAP, C2, 5000, 5000);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(table_get_count(fixture->table), 1);
	ask(fixture, REQUEST_UNMAP, C1, 5000, 1234);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(table_get_count(fixture->table), 0);
	ask(fixture, REQUEST_UNMAP, C1, 5000, 0);
	assert_int_equal(decide(fixture), RESULT_OK);
}

static void add_static(struct fixture *fixture, const char *host, uint16_t port)
{
	ask(fixture, REQUEST_ADD, host, port, port);
	fixture->request.origin = ORIGIN_STATIC;
	fixture->request.lifetime_s = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_true(fixture->plan.lease.expires_ms == TIME_NEVER);
}

/* What the owner made for a host is not what the host asked for. */
static void test_np40_static_does_not_count(void **state)
{
	struct fixture *fixture = *state;

	fixture->context.leases_total = 0;
	for (uint16_t port = 5000; port < 5006; port++)
		add_static(fixture, C1, port);
	for (uint16_t port = 6000; port < 6004; port++)
		assert_int_equal(map(fixture, C1, port, port), RESULT_OK);
	assert_int_equal(map(fixture, C1, 6004, 6004), RESULT_QUOTA);
}

/* IGD-30: a lease of a LAN that has another name by now is listed where its host is. */
static void test_igd30_renewal_moves_to_lan(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_OK);
	ask(fixture, REQUEST_MAP, C1, 5000, 0)->lan = 1;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_null(table_get_by_index(fixture->table, 0, 0));
	assert_non_null(table_get_by_index(fixture->table, 1, 0));
	ask(fixture, REQUEST_GET, C1, 0, 5000)->lan = 1;
	assert_int_equal(decide(fixture), RESULT_OK);
}

static void test_np46_np48_static(void **state)
{
	struct fixture *fixture = *state;

	add_static(fixture, C1, 5000);
	assert_int_equal(map(fixture, C1, 5001, 5001), RESULT_OK);
	assert_int_equal(map(fixture, C1, 5002, 5002), RESULT_OK);
	ask(fixture, REQUEST_UNMAP, C1, 5000, 0);
	assert_int_equal(decide(fixture), RESULT_FOREIGN);
	ask(fixture, REQUEST_UNMAP_ALL, C1, 0, 0);
	assert_int_equal(decide(fixture), RESULT_FOREIGN);
	assert_int_equal(table_get_count(fixture->table), 1);
	assert_int_equal(add(fixture, C1, 5009, 5000), RESULT_WITHHELD); /* IGD-24 */
	ask(fixture, REQUEST_DELETE, C1, 0, 5000);
	assert_int_equal(decide(fixture), RESULT_FOREIGN);
}

/* One port is deleted whole or not at all; all, as far as that goes. */
static void test_np48_partly(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 5000, 6000), RESULT_OK);
	ask(fixture, REQUEST_ADD, C1, 5000, 6001)->origin = ORIGIN_STATIC;
	assert_int_equal(decide(fixture), RESULT_OK);
	ask(fixture, REQUEST_UNMAP, C1, 5000, 0);
	assert_int_equal(decide(fixture), RESULT_FOREIGN);
	assert_int_equal(fixture->plan.count, 0);
	assert_int_equal(table_get_count(fixture->table), 2);
	ask(fixture, REQUEST_UNMAP_ALL, C1, 0, 0);
	assert_int_equal(decide(fixture), RESULT_FOREIGN);
	assert_int_equal(table_get_count(fixture->table), 1);
	assert_true(table_get_next(fixture->table, NULL)->outbound);
}

static void test_np47_unmap_all_of_protocol(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_OK);
	ask(fixture, REQUEST_MAP, C1, 5000, 5000)->protocol = IPPROTO_UDP;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(map(fixture, C1, 5001, 5001), RESULT_OK);
	assert_int_equal(map(fixture, C2, 6001, 6001), RESULT_OK);
	ask(fixture, REQUEST_UNMAP_ALL, C1, 0, 0);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(table_get_count(fixture->table), 2);
	assert_int_equal(
		table_get_first_of_client(fixture->table, &fixture->request.client)
			->protocol,
		IPPROTO_UDP);
}

static void test_np49_nonce_guards(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture, REQUEST_MAP, C1, 5000, 5000)->origin = ORIGIN_PCP;
	assert_int_equal(decide(fixture), RESULT_OK);
	ask(fixture, REQUEST_UNMAP, C1, 5000, 0);
	assert_int_equal(decide(fixture), RESULT_FOREIGN);
	assert_int_equal(add(fixture, C1, 5001, 5000), RESULT_FOREIGN); /* IGD-42 */
}

static void test_pcp64_minimum(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture, REQUEST_MAP, C1, 5000, 5000)->origin = ORIGIN_PCP;
	fixture->request.lifetime_s = 1;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted_lifetime_s(fixture), 120);
}

static void test_np25_no_address(void **state)
{
	struct fixture *fixture = *state;

	fixture->context.external = (struct ip_addr){{0}};
	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_NO_ADDRESS);
	assert_int_equal(add(fixture, C1, 5000, 5000), RESULT_NO_ADDRESS);
	assert_int_equal(table_get_count(fixture->table), 0);
}

static void test_igd10_to_13_keys(void **state)
{
	struct fixture *fixture = *state;
	uint64_t id;

	assert_int_equal(add(fixture, C1, 5000, 5000), RESULT_OK);
	id = fixture->plan.lease.id;
	assert_int_equal(add(fixture, C1, 6000, 5000), RESULT_OK); /* IGD-11 */
	assert_int_equal(fixture->plan.lease.id, id);
	assert_int_equal(fixture->plan.lease.internal_port, 6000);
	assert_int_equal(table_get_count(fixture->table), 1);
	assert_int_equal(add(fixture, C2, 5000, 5000), RESULT_CONFLICT); /* IGD-12 */
	ask(fixture, REQUEST_ADD, C1, 7000, 5000)->remote =
		address("203.0.113.9"); /* IGD-13 */
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(table_get_count(fixture->table), 2);
}

static void test_igd26_disabled(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture, REQUEST_ADD, C1, 5000, 5000)->enabled = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_false(fixture->plan.lease.enabled);
	assert_false(fixture->plan.lease.outbound);
	assert_int_equal(add(fixture, C1, 5000, 5000), RESULT_OK);
	assert_true(fixture->plan.lease.enabled);
	assert_true(fixture->plan.lease.outbound);
}

static void test_igd21_third_party(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture, REQUEST_ADD, C1, 5000, 5000)->internal = address(C2);
	assert_int_equal(decide(fixture), RESULT_DENIED);
}

static void test_igd32_delete(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture, REQUEST_DELETE, C1, 0, 5000);
	assert_int_equal(decide(fixture), RESULT_NO_ENTRY);
	assert_int_equal(add(fixture, C1, 5000, 5000), RESULT_OK);
	ask(fixture, REQUEST_DELETE, C2, 0, 5000);
	assert_int_equal(decide(fixture), RESULT_FOREIGN);
	ask(fixture, REQUEST_DELETE, C1, 0, 5000);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(table_get_count(fixture->table), 0);
}

static void test_rollback_restores_rest(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_OK);
	ask(fixture, REQUEST_UNMAP, C1, 5000, 0);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(map(fixture, C1, 5000, 5000), RESULT_OK);
	lease_rollback(fixture->table, fixture->plan.changes, fixture->plan.count);
	assert_int_equal(table_get_count(fixture->table), 0);
	assert_int_equal(add(fixture, C2, 5000, 5000), RESULT_CONFLICT);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_map_takes_suggestion, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np30_renewal_keeps_port, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np30_renewal_of_igd_lease, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np31_taken_port_gets_another,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_np32_any_port_is_high, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np33_np34_companion_port, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np36_cautious_after_loss, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np37_own_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_np38_privileged_suggestion, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np27_lifetimes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_igd15_lease_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(test_np40_quota, setup, teardown),
		cmocka_unit_test_setup_teardown(test_np41_freed_port_rests, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np42_np44_unmap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_np46_np48_static, setup, teardown),
		cmocka_unit_test_setup_teardown(test_np48_partly, setup, teardown),
		cmocka_unit_test_setup_teardown(test_np40_static_does_not_count, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_igd30_renewal_moves_to_lan, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np47_unmap_all_of_protocol, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_np49_nonce_guards, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_pcp64_minimum, setup, teardown),
		cmocka_unit_test_setup_teardown(test_np25_no_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_igd10_to_13_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_igd26_disabled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_igd21_third_party, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_igd32_delete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rollback_restores_rest, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
