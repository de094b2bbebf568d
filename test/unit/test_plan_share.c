/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases that share an external port of one host: one peer's, and everybody's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "daemon/ports.h"
#include "test/unit/plan_lab.h"

#define R1 "198.51.100.9"
#define R2 "198.51.100.10"

/* UPnP's RemoteHost, or the owner's. */
static enum result add_remote(struct plan_lab *lab, enum origin origin,
			      uint16_t internal_port, uint16_t external_port,
			      const char *remote)
{
	lab_ask(lab, REQUEST_ADD, C1, internal_port, external_port)->origin =
		(uint8_t)origin;
	lab->request.remote = lab_address(remote);
	return lab_decide(lab);
}

static enum result peer(struct plan_lab *lab, uint16_t internal_port,
			uint16_t external_port, uint16_t remote_port)
{
	lab_ask(lab, REQUEST_PEER, C1, internal_port, external_port);
	lab->request.remote = lab_address(R1);
	lab->request.remote_port = remote_port;
	return lab_decide(lab);
}

static enum result map_exactly(struct plan_lab *lab, uint16_t internal_port,
			       uint16_t external_port)
{
	lab_ask(lab, REQUEST_MAP, C1, internal_port, external_port)->prefer_failure = 1;
	return lab_decide(lab);
}

static enum result map_filtered(struct plan_lab *lab, uint16_t internal_port,
				uint16_t external_port)
{
	lab_ask(lab, REQUEST_MAP, C1, internal_port, external_port);
	lab_filter(lab, R2, 0);
	return lab_decide(lab);
}

/* What MAP grants is open to everybody: not to all but one (PCP-58). */
static void test_pcp58_remote_of_another_port(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5001, 5000, R1), RESULT_OK);
	assert_int_equal(map_exactly(lab, 5000, 5000), RESULT_CONFLICT);
	assert_int_equal(map_filtered(lab, 5000, 5000), RESULT_OK); /* PCP-55 */
	assert_int_not_equal(lab_get_port(lab), 5000);
	assert_int_equal(lab_map(lab, C1, 5002, 5000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5002);
	/* of its own port it is no matter, nor of another protocol */
	lab_ask(lab, REQUEST_MAP, C1, 5000, 5000)->protocol = IPPROTO_UDP;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5000);
	assert_int_equal(lab_map(lab, C1, 5001, 5000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5000);
}

static void test_pcp58_peer_of_another_port(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(peer(lab, 6001, 6000, 443), RESULT_OK);
	assert_int_equal(map_exactly(lab, 6000, 6000), RESULT_CONFLICT);
	assert_int_equal(lab_map(lab, C1, 6000, 6000), RESULT_OK);
	assert_int_not_equal(lab_get_port(lab), 6000);
	/* filters go beside a flow */
	assert_int_equal(map_filtered(lab, 6001, 6000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
}

/* The firewall would not take filters beside a RemoteHost that may be one of them. */
static void test_pcp55_filter_beside_remote(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(add_remote(lab, ORIGIN_STATIC, 5000, 5000, R2), RESULT_OK);
	assert_int_equal(map_filtered(lab, 5000, 5000), RESULT_OK);
	assert_int_not_equal(lab_get_port(lab), 5000);
	lab_ask(lab, REQUEST_MAP, C1, 5100, 5100)->prefer_failure = 1;
	lab_filter(lab, R2, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
}

/* Each part of a set is about its own port inside. */
static void test_pcp58_sets(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5002, 6002, R1), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C1, 5000, 6000)->port_count = 4;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 4);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5100, 6102, R1), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C1, 5100, 6100)->port_count = 4;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 4);
	assert_int_not_equal(lab_get_port(lab), 6100);
}

/* The other way round: UPnP takes no peer away from what PCP or the owner has. */
static void test_pcp58_remote_after_it(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(lab_map(lab, C1, 5000, 5000), RESULT_OK);
	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5001, 5000, R1), RESULT_CONFLICT);
	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5000, 5000, R1), RESULT_OK);
	/* nor by the way of one that leads to the same port first */
	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5001, 5000, R1), RESULT_CONFLICT);
	assert_int_equal(add_remote(lab, ORIGIN_STATIC, 5001, 5000, R2), RESULT_OK);
	(void)lab_make(lab, ORIGIN_STATIC, C1, 5200, 5200);
	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5201, 5200, R1), RESULT_WITHHELD);
	/* to what it made itself it may do as it likes (IGD-13) */
	(void)lab_make(lab, ORIGIN_IGD, C1, 5300, 5300);
	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5301, 5300, R1), RESULT_OK);
	/* one that the owner laid over is renewed all the same */
	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5401, 5400, R1), RESULT_OK);
	(void)lab_make(lab, ORIGIN_STATIC, C1, 5400, 5400);
	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5401, 5400, R1), RESULT_OK);
}

/* When the last one with another port inside has gone, the port is to be had. */
static void test_pcp58_until_it_ends(void **state)
{
	static const uint16_t inside[] = {7001, 7002, 7001, 7000};
	struct plan_lab *lab = *state;
	const struct plan *plan = &lab->plan;

	/* one that was not to be leaves no trace */
	assert_int_equal(peer(lab, 7009, 7000, 442), RESULT_OK);
	lease_rollback(lab->table, plan->changes, plan->count);
	lab->context.next_id = 1;
	for (uint16_t i = 0; i < 4; i++)
		assert_int_equal(peer(lab, inside[i], 7000, (uint16_t)(443 + i)),
				 RESULT_OK);
	for (uint64_t id = 1; id <= 3; id++) {
		assert_int_equal(map_exactly(lab, 7000, 7000), RESULT_CONFLICT);
		lease_plan_end(lab->table, id, &lab->plan);
		assert_int_equal(lease_commit(lab->table, plan->changes, plan->count,
					      lab->context.now_ms),
				 0);
		if (id < 3)
			continue;
		/* undone, and done again */
		lease_rollback(lab->table, plan->changes, plan->count);
		assert_int_equal(map_exactly(lab, 7000, 7000), RESULT_CONFLICT);
		lease_plan_end(lab->table, id, &lab->plan);
		assert_int_equal(lease_commit(lab->table, plan->changes, plan->count,
					      lab->context.now_ms),
				 0);
	}
	assert_int_equal(map_exactly(lab, 7000, 7000), RESULT_OK);
}

static void test_counts(void **state)
{
	struct ports *ports = ports_new();
	struct ip_addr host = lab_address(C1);
	struct ports_narrow narrow = {.port = 5000, .protocol = IPPROTO_TCP};
	uint64_t seed = 1;

	(void)state;
	assert_non_null(ports);
	assert_false(ports_has_remote(ports, &narrow));
	assert_int_equal(ports_hold(ports, 0, 5000, &host), 0);
	for (int i = 0; i < 1000; i++) {
		uint16_t a, b;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		a = (uint16_t)(seed >> 40);
		b = (uint16_t)(a ^ (1u << i % 16));
		narrow.internal_port = a;
		narrow.flow = true;
		for (int n = 0; n < i % 7 + 1; n++)
			assert_int_equal(ports_add_narrow(ports, &narrow), 0);
		assert_false(ports_has_narrow_besides(ports, &narrow));
		assert_false(ports_has_remote(ports, &narrow));
		narrow.internal_port = b;
		assert_true(ports_has_narrow_besides(ports, &narrow));
		narrow.flow = false;
		assert_int_equal(ports_add_narrow(ports, &narrow), 0);
		assert_true(ports_has_remote(ports, &narrow));
		assert_true(ports_has_narrow_besides(ports, &narrow));
		narrow.internal_port = a;
		assert_true(ports_has_narrow_besides(ports, &narrow));
		narrow.protocol = IPPROTO_UDP;
		assert_false(ports_has_narrow_besides(ports, &narrow));
		narrow.protocol = IPPROTO_TCP;
		narrow.internal_port = b;
		ports_remove_narrow(ports, &narrow);
		narrow.internal_port = a;
		assert_false(ports_has_narrow_besides(ports, &narrow));
		narrow.flow = true;
		for (int n = 0; n < i % 7 + 1; n++)
			ports_remove_narrow(ports, &narrow);
	}
	ports_free(ports);
}

static enum result get(struct plan_lab *lab, uint16_t external_port, const char *remote)
{
	lab_ask(lab, REQUEST_GET, C1, 0, external_port)->origin = ORIGIN_IGD;
	if (remote)
		lab->request.remote = lab_address(remote);
	return lab_decide(lab);
}

/*
 * PCP-53, PCP-81: what UPnP or NAT-PMP was promised is open to everybody; a MAP with
 * filters gets a lease beside it, by another port, or none.
 */
static void test_pcp81_not_for_others(void **state)
{
	static const enum origin origins[] = {ORIGIN_IGD, ORIGIN_NATPMP};
	struct plan_lab *lab = *state;

	for (uint16_t i = 0; i < 2; i++) {
		uint16_t port = (uint16_t)(5000 + 100 * i);
		const struct lease *lease = lab_make(lab, origins[i], C1, port, port);
		const uint64_t id = lease->id;

		lab_ask(lab, REQUEST_MAP, C1, port, port)->prefer_failure = 1;
		lab_filter(lab, R2, 0);
		assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
		assert_int_equal(map_filtered(lab, port, (uint16_t)(port + 7)),
				 RESULT_OK);
		assert_int_equal(lab_get_port(lab), port + 7); /* as suggested */
		lease = table_get_by_id(lab->table, id);
		assert_int_equal(lease->filter_count, 0);
		assert_int_equal(lease->origin, origins[i]);
		assert_false(lease->has_nonce);
		assert_true(lease->outbound);
		/* that is its own by now, and widened it is its own still */
		assert_int_equal(map_filtered(lab, port, 0), RESULT_OK);
		assert_int_equal(lab_get_port(lab), port + 7);
		lab_ask(lab, REQUEST_MAP, C1, port, 0)->filter_clear = 1;
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_int_equal(lab_get_port(lab), port + 7);
		/* and it ends alone */
		lab_ask(lab, REQUEST_UNMAP, C1, port, 0)->lifetime_s = 0;
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_non_null(table_get_by_id(lab->table, id));
		/* without filters it is adopted, as ever */
		assert_int_equal(lab_map(lab, C1, port, 0), RESULT_OK);
		assert_true(table_get_by_id(lab->table, id)->has_nonce);
	}
}

/* PCP-93: in IPv6 there is no other port. */
static void test_pcp81_not_for_others_ipv6(void **state)
{
	struct plan_lab *lab = *state;

	lab_ask(lab, REQUEST_PINHOLE, V6, 5000, 0)->origin = ORIGIN_IGD;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	for (uint8_t prefer = 0; prefer < 2; prefer++) {
		lab_ask(lab, REQUEST_MAP, V6, 5000, 5000)->prefer_failure = prefer;
		lab_filter(lab, "2001:db8:99::1", 0);
		assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
		assert_int_equal(lab_find(lab, V6, 5000)->filter_count, 0);
	}
	/* a set ends before it */
	lab_ask(lab, REQUEST_MAP, V6, 4997, 0)->port_count = 5;
	lab_filter(lab, "2001:db8:99::1", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 3);
	/* the owner's is refused as before */
	(void)lab_make(lab, ORIGIN_STATIC, V6, 6000, 6000);
	lab_ask(lab, REQUEST_MAP, V6, 6000, 0);
	lab_filter(lab, "2001:db8:99::1", 0);
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	assert_int_equal(lab_map(lab, V6, 5000, 0), RESULT_OK);
	assert_int_equal(lab_find(lab, V6, 5000)->origin, ORIGIN_PCP);
}

/* UPnP lists mappings, and finds each by what it shows of it (PCP-85, IGD-31). */
static void test_pcp85_listing(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(peer(lab, 6000, 6000, 443), RESULT_OK);
	assert_int_equal(map_filtered(lab, 5000, 5000), RESULT_OK);
	assert_int_equal(map_filtered(lab, 5001, 5001), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, C1, 5001, 0);
	lab_filter(lab, "192.0.2.0/24", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(peer(lab, 6000, 6000, 444), RESULT_OK);
	assert_int_equal(add_remote(lab, ORIGIN_IGD, 5002, 5002, R1), RESULT_OK);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(table_get_by_index(lab->table, 0, i)->external_port,
				 5000 + i);
	assert_null(table_get_by_index(lab->table, 0, 3));
	assert_int_equal(get(lab, 6000, R1), RESULT_NO_ENTRY);
	assert_int_equal(get(lab, 6000, NULL), RESULT_NO_ENTRY);
	assert_int_equal(get(lab, 5000, NULL), RESULT_NO_ENTRY);
	assert_int_equal(get(lab, 5000, R1), RESULT_NO_ENTRY);
	assert_int_equal(get(lab, 5000, R2), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5000);
	assert_int_equal(get(lab, 5001, R2), RESULT_NO_ENTRY);
	assert_int_equal(get(lab, 5001, NULL), RESULT_OK);
	assert_int_equal(get(lab, 5002, NULL), RESULT_NO_ENTRY);
	assert_int_equal(get(lab, 5002, R1), RESULT_OK);
	/* the flows leave the list as they are */
	for (uint64_t id = 1; id <= 4; id += 3) {
		lease_plan_end(lab->table, id, &lab->plan);
		assert_int_equal(lease_commit(lab->table, lab->plan.changes,
					      lab->plan.count, lab->context.now_ms),
				 0);
	}
	assert_non_null(table_get_by_index(lab->table, 0, 2));
}

/* A pinhole has no other port to take instead (PCP-56). */
static void test_pcp56_pinhole(void **state)
{
	struct plan_lab *lab = *state;

	for (uint16_t port = 5350; port < 5352; port++) {
		lab_ask(lab, REQUEST_MAP, V6, port, port)->protocol = IPPROTO_UDP;
		assert_int_equal(lab_decide(lab), RESULT_DENIED);
		lab->request.prefer_failure = 1;
		assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
		assert_int_equal(lab_map(lab, V6, port, port), RESULT_OK); /* TCP */
	}
}

#define TEST(name)                                                                     \
	cmocka_unit_test_setup_teardown(name, plan_lab_setup, plan_lab_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_pcp58_remote_of_another_port),
		TEST(test_pcp58_peer_of_another_port),
		TEST(test_pcp55_filter_beside_remote),
		TEST(test_pcp58_sets),
		TEST(test_pcp58_remote_after_it),
		TEST(test_pcp58_until_it_ends),
		TEST(test_counts),
		TEST(test_pcp56_pinhole),
		TEST(test_pcp81_not_for_others),
		TEST(test_pcp81_not_for_others_ipv6),
		TEST(test_pcp85_listing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
