/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WANIPConnection:2 in the lease table: any port, ranges, and what each host is shown.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "daemon/ports.h"
#include "test/unit/plan_lab.h"

#define R1 "198.51.100.7"
#define OPEN NULL /* to every remote host */
#define PORTS_ALL 65535

static struct request *ask(struct plan_lab *lab, enum request_op op, const char *host,
			   uint16_t internal_port, uint16_t external_port)
{
	struct request *request = lab_ask(lab, op, host, internal_port, external_port);

	request->origin = ORIGIN_IGD;
	request->igd_version = 2;
	return request;
}

static enum result any(struct plan_lab *lab, const char *host, uint16_t internal_port,
		       uint16_t external_port)
{
	ask(lab, REQUEST_ADD_ANY, host, internal_port, external_port);
	return lab_decide(lab);
}

static enum result any_from(struct plan_lab *lab, uint16_t internal_port,
			    uint16_t external_port, const char *remote)
{
	ask(lab, REQUEST_ADD_ANY, C1, internal_port, external_port);
	if (remote)
		lab->request.remote = lab_address(remote);
	return lab_decide(lab);
}

static enum result add_from(struct plan_lab *lab, uint16_t internal_port,
			    uint16_t external_port, const char *remote)
{
	ask(lab, REQUEST_ADD, C1, internal_port, external_port);
	if (remote)
		lab->request.remote = lab_address(remote);
	return lab_decide(lab);
}

static enum result sweep(struct plan_lab *lab, const char *host, uint16_t first,
			 uint16_t last)
{
	ask(lab, REQUEST_DELETE_RANGE, host, 0, first)->external_last = last;
	return lab_decide(lab);
}

static enum result get(struct plan_lab *lab, const char *host, uint8_t version,
		       uint16_t external_port)
{
	ask(lab, REQUEST_GET, host, 0, external_port)->igd_version = version;
	return lab_decide(lab);
}

static enum result get_index(struct plan_lab *lab, const char *host, uint8_t version,
			     uint32_t index)
{
	ask(lab, REQUEST_INDEX, host, 0, 0)->igd_version = version;
	lab->request.index = index;
	return lab_decide(lab);
}

/* The suggested port where it can be had; 0 is no suggestion (IGD-20). */
static void test_igd25_suggested(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(any(lab, C1, 5000, 6000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_int_equal(any(lab, C1, 5001, 0), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5001);
	/* a port below 1024 is not picked unasked, but one is found */
	assert_int_equal(any(lab, C1, 22, 0), RESULT_OK);
	assert_true(lab_get_port(lab) >= 1024);
}

/* Never a conflict: whoever has the port, another one is granted. */
static void test_igd25_taken(void **state)
{
	struct plan_lab *lab = *state;

	(void)lab_make(lab, ORIGIN_IGD, C2, 6000, 6000);
	assert_int_equal(any(lab, C1, 5000, 6000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5000);
	(void)lab_make(lab, ORIGIN_STATIC, C2, 6001, 6001);
	assert_int_equal(any(lab, C1, 6001, 6001), RESULT_OK);
	assert_true(lab_get_port(lab) >= 1024 && lab_get_port(lab) != 6001);
	lab->used_port = 7000; /* of the gateway itself */
	assert_int_equal(any(lab, C1, 5002, 7000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5002);
	ask(lab, REQUEST_ADD_ANY, C1, 5351, 5351)->protocol = IPPROTO_UDP;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_true(lab_get_port(lab) >= 1024 && lab_get_port(lab) != 5351);
}

/* IGD-22: a port that policy withholds is not granted, nor is it a reason to refuse. */
static void test_igd22_privileged(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(any(lab, C1, 5000, 80), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5000);
	lab->conf.rules[0].allow = false;
	assert_int_equal(any(lab, C1, 5001, 5001), RESULT_DENIED);
	assert_int_equal(table_get_count(lab->table), 1);
}

/* CL-25: a renewal keeps the port, whatever is suggested by then. */
static void test_cl25_renewal_keeps_the_port(void **state)
{
	struct plan_lab *lab = *state;
	uint64_t id;

	(void)lab_make(lab, ORIGIN_IGD, C2, 6000, 6000);
	assert_int_equal(any(lab, C1, 5000, 6000), RESULT_OK);
	id = lab->plan.lease.id;
	lab->context.now_ms += 1000000;
	for (uint16_t suggested = 5999; suggested <= 6002; suggested++) {
		assert_int_equal(any(lab, C1, 5000, suggested), RESULT_OK);
		assert_int_equal(lab_get_port(lab), 5000);
		assert_int_equal(lab->plan.lease.id, id);
		assert_int_equal(lab_get_lifetime_s(lab), LIFETIME_S);
	}
	assert_int_equal(any(lab, C1, 5000, 0), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 5000);
	assert_int_equal(table_get_count(lab->table), 2);
	/* Of several the one that was asked for. */
	assert_int_equal(add_from(lab, 5000, 7000, OPEN), RESULT_OK);
	assert_int_equal(any(lab, C1, 5000, 7000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 7000);
}

/* In place means all of it: description and Enabled as they are asked for now. */
static void test_igd25_in_place(void **state)
{
	struct plan_lab *lab = *state;
	const struct lease *lease;

	assert_int_equal(any(lab, C1, 5000, 6000), RESULT_OK);
	ask(lab, REQUEST_ADD_ANY, C1, 5000, 6000)->enabled = 0;
	memcpy(lab->request.description, "again", 6);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lease = lab_find(lab, C1, 5000);
	assert_false(lease->enabled);
	assert_string_equal(lease_get_description(lease), "again");
	/* renewals are not counted (PCP-61) */
	lab->context.leases_per_client = 1;
	assert_int_equal(any(lab, C1, 5000, 0), RESULT_OK);
	assert_true(lab_find(lab, C1, 5000)->enabled);
	assert_int_equal(any(lab, C1, 5001, 0), RESULT_QUOTA);
}

/* IGD-13, IGD-42: what is another remote host's, guarded or not UPnP's is left alone.
 */
static void test_igd42_beside_others(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(any_from(lab, 5000, 6000, R1), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
	assert_int_equal(any_from(lab, 5000, 6000, OPEN), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000); /* same inside: nobody loses */
	assert_int_equal(any_from(lab, 5000, 0, R1), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 2);
	assert_int_equal(lab_map(lab, C1, 5100, 6100), RESULT_OK);
	assert_int_equal(any_from(lab, 5100, 6100, OPEN), RESULT_OK);
	assert_int_not_equal(lab_get_port(lab), 6100);
	/* what PCP was promised is for every peer: none of them is taken away */
	assert_int_equal(any_from(lab, 5101, 6100, R1), RESULT_OK);
	assert_int_not_equal(lab_get_port(lab), 6100);
	/* and what is open to everybody does not begin where one peer is elsewhere */
	assert_int_equal(any_from(lab, 5001, 6000, OPEN), RESULT_OK);
	assert_int_not_equal(lab_get_port(lab), 6000);
}

/* 728 only when none is left; another host's port rests first (NP-41). */
static void test_igd25_none_left(void **state)
{
	struct plan_lab *lab = *state;

	lab->conf.rules[0].external = (struct port_range){6000, 6001};
	assert_int_equal(any(lab, C1, 5000, 0), RESULT_OK);
	assert_int_equal(any(lab, C1, 5001, 0), RESULT_OK);
	assert_int_equal(any(lab, C1, 5002, 6000), RESULT_NO_PORT);
	ask(lab, REQUEST_DELETE, C1, 0, 6000);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(any(lab, C2, 5002, 6000), RESULT_NO_PORT);
	lab->context.now_ms += PORT_REST_MS;
	assert_int_equal(any(lab, C2, 5002, 6000), RESULT_OK);
	assert_int_equal(lab_get_port(lab), 6000);
}

static void test_igd21_third_party(void **state)
{
	struct plan_lab *lab = *state;

	ask(lab, REQUEST_ADD_ANY, C1, 5000, 0)->internal = lab_address(C2);
	assert_int_equal(lab_decide(lab), RESULT_DENIED);
	ask(lab, REQUEST_ADD_ANY, C1, 0, 5000);
	assert_int_equal(lab_decide(lab), RESULT_BAD_PORT);
	memset(&lab->context.external, 0, sizeof(lab->context.external));
	assert_int_equal(any(lab, C1, 5000, 0), RESULT_NO_ADDRESS);
}

/* IGD-24 */
static void test_igd24_withheld(void **state)
{
	struct plan_lab *lab = *state;

	lab->used_port = 4000;
	assert_int_equal(add_from(lab, 5000, 4000, OPEN), RESULT_WITHHELD);
	(void)lab_make(lab, ORIGIN_STATIC, C2, 4001, 4001);
	assert_int_equal(add_from(lab, 5000, 4001, OPEN), RESULT_WITHHELD);
	ask(lab, REQUEST_ADD, C1, 5000, 4001)->protocol = IPPROTO_UDP;
	assert_int_equal(lab_decide(lab), RESULT_WITHHELD); /* NP-34 */
	(void)lab_make(lab, ORIGIN_STATIC, C1, 4002, 4002);
	assert_int_equal(add_from(lab, 4002, 4002, OPEN), RESULT_WITHHELD);
	ask(lab, REQUEST_ADD, C1, 5351, 5351)->protocol = IPPROTO_UDP;
	assert_int_equal(lab_decide(lab), RESULT_WITHHELD);
	/* not what another host has, or what PCP guards */
	(void)lab_make(lab, ORIGIN_IGD, C2, 4003, 4003);
	assert_int_equal(add_from(lab, 5000, 4003, OPEN), RESULT_CONFLICT);
	assert_int_equal(lab_map(lab, C1, 4004, 4004), RESULT_OK);
	assert_int_equal(add_from(lab, 4004, 4004, OPEN), RESULT_FOREIGN);
}

/* IGD-33: one's own, of the protocol, in the range, as one; guarded ones are skipped.
 */
static void test_igd33_range(void **state)
{
	struct plan_lab *lab = *state;

	for (uint16_t port = 5000; port < 5005; port++)
		(void)lab_make(lab, port % 2 ? ORIGIN_IGD : ORIGIN_NATPMP, C1, port,
			       port);
	(void)lab_make(lab, ORIGIN_IGD, C2, 5010, 5010);
	(void)lab_make(lab, ORIGIN_STATIC, C1, 5011, 5011);
	assert_int_equal(lab_map(lab, C1, 5012, 5012), RESULT_OK);
	ask(lab, REQUEST_ADD, C1, 5002, 5002)->protocol = IPPROTO_UDP;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(sweep(lab, C1, 5001, 5003), RESULT_OK);
	assert_int_equal(lab->changes_last, 3);
	assert_int_equal(table_get_count(lab->table), 6);
	assert_non_null(lab_find(lab, C1, 5000));
	assert_null(lab_find(lab, C1, 5002));
	assert_int_equal(sweep(lab, C1, 5001, 5003), RESULT_NO_ENTRY);
	assert_int_equal(sweep(lab, C1, 1, PORTS_ALL), RESULT_OK);
	assert_int_equal(lab->changes_last, 2);
	assert_non_null(lab_find(lab, C2, 5010));
	assert_non_null(lab_find(lab, C1, 5011));
	assert_non_null(lab_find(lab, C1, 5012));
	assert_int_equal(sweep(lab, C1, 1, PORTS_ALL), RESULT_NO_ENTRY);
	assert_int_equal(sweep(lab, "192.168.77.9", 1, PORTS_ALL), RESULT_NO_ENTRY);
	assert_int_equal(sweep(lab, C2, 6000, 1), RESULT_NO_ENTRY);
}

/* The outbound port goes to a lease that stays, never to one that ends as well. */
static void test_igd33_outbound_heir(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(add_from(lab, 5000, 6000, OPEN), RESULT_OK);
	assert_int_equal(add_from(lab, 5000, 6001, OPEN), RESULT_OK);
	ask(lab, REQUEST_ADD, C1, 5000, 6002)->enabled = 0;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(add_from(lab, 5000, 6003, OPEN), RESULT_OK);
	assert_int_equal(lab_find(lab, C1, 5000)->external_port, 6000);
	assert_int_equal(sweep(lab, C1, 6000, 6001), RESULT_OK);
	assert_int_equal(lab->changes_last, 3);
	for (size_t i = 0; i < lab->plan.count; i++)
		assert_int_equal(lab->plan.changes[i].kind,
				 i < 2 ? LEASE_REMOVE : LEASE_UPDATE);
	assert_int_equal(lab_find(lab, C1, 5000)->external_port, 6003);
	assert_true(lab_find(lab, C1, 5000)->outbound);
}

/* IGD-30: version 2 is shown its own, by an index without gaps, of every origin. */
static void test_igd30_own_index(void **state)
{
	struct plan_lab *lab = *state;
	static const char *const hosts[] = {C1, C2};
	uint32_t seen = 0;

	for (uint16_t port = 5000; port < 5008; port++)
		(void)lab_make(lab, port % 3 ? ORIGIN_IGD : ORIGIN_NATPMP,
			       hosts[port % 2], port, port);
	(void)lab_make(lab, ORIGIN_STATIC, C1, 5008, 5008);
	assert_int_equal(lab_map(lab, C1, 5009, 5009), RESULT_OK);
	assert_int_equal(lab_map(lab, V6, 5010, 0), RESULT_OK); /* no mapping */
	ask(lab, REQUEST_DELETE, C1, 0, 5002);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	while (get_index(lab, C1, 2, seen) == RESULT_OK) {
		struct ip_addr c1 = lab_address(C1);

		assert_true(addr_equal(&lab->plan.lease.internal, &c1));
		seen++;
	}
	assert_int_equal(lab->plan.result, RESULT_NO_INDEX);
	assert_int_equal(seen, 5);
	assert_int_equal(get_index(lab, C2, 2, 3), RESULT_OK);
	assert_int_equal(get_index(lab, C2, 2, 4), RESULT_NO_INDEX);
	assert_int_equal(get_index(lab, C2, 1, 8), RESULT_OK); /* the whole LAN */
	assert_int_equal(get_index(lab, C2, 1, 9), RESULT_NO_INDEX);
	assert_int_equal(get_index(lab, "192.168.77.9", 2, 0), RESULT_NO_INDEX);
	assert_int_equal(get_index(lab, V6, 2, 0), RESULT_NO_INDEX);
}

/* What one host asked for another is either's own. */
static void test_igd30_third_party_is_of_both(void **state)
{
	struct plan_lab *lab = *state;

	lab->conf.rules[0].has_third_party = true;
	assert_true(prefix_parse("192.168.77.0/24", &lab->conf.rules[0].third_party));
	ask(lab, REQUEST_ADD, C1, 5000, 5000)->internal = lab_address(C2);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(get_index(lab, C1, 2, 0), RESULT_OK);
	assert_int_equal(get_index(lab, C2, 2, 0), RESULT_OK);
	assert_int_equal(get_index(lab, C1, 2, 1), RESULT_NO_INDEX);
	assert_int_equal(sweep(lab, C2, 5000, 5000), RESULT_OK);
	assert_int_equal(get_index(lab, C1, 2, 0), RESULT_NO_INDEX);
	assert_int_equal(get_index(lab, C2, 2, 0), RESULT_NO_INDEX);
}

static void test_igd30_specific(void **state)
{
	struct plan_lab *lab = *state;

	(void)lab_make(lab, ORIGIN_IGD, C1, 5000, 5000);
	assert_int_equal(get(lab, C1, 2, 5000), RESULT_OK);
	assert_int_equal(get(lab, C2, 2, 5000), RESULT_FOREIGN);
	assert_int_equal(get(lab, C2, 1, 5000), RESULT_OK);
	assert_int_equal(get(lab, C2, 2, 5001), RESULT_NO_ENTRY);
	/* a control point that asks over IPv6 sees the same mappings */
	assert_int_equal(get(lab, V6, 1, 5000), RESULT_OK);
	assert_int_equal(get(lab, V6, 2, 5000), RESULT_FOREIGN);
}

/* A pinhole of PCP is no mapping that IGD could name by a port. */
static void test_igd32_ipv6(void **state)
{
	struct plan_lab *lab = *state;

	ask(lab, REQUEST_PINHOLE, V6, 5000, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	ask(lab, REQUEST_DELETE, V6, 0, 5000);
	assert_int_equal(lab_decide(lab), RESULT_NO_ENTRY);
	assert_int_equal(get(lab, V6, 2, 5000), RESULT_NO_ENTRY);
	assert_int_equal(sweep(lab, V6, 1, PORTS_ALL), RESULT_NO_ENTRY);
	assert_int_equal(table_get_count(lab->table), 1);
	(void)lab_make(lab, ORIGIN_IGD, C1, 5000, 5000);
	ask(lab, REQUEST_DELETE, V6, 0, 5000);
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN);
	ask(lab, REQUEST_DELETE, C2, 0, 5000);
	assert_int_equal(lab_decide(lab), RESULT_FOREIGN); /* IGD-32 */
}

#define TEST(name)                                                                     \
	cmocka_unit_test_setup_teardown(name, plan_lab_setup, plan_lab_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_igd25_suggested),
		TEST(test_igd25_taken),
		TEST(test_igd22_privileged),
		TEST(test_cl25_renewal_keeps_the_port),
		TEST(test_igd25_in_place),
		TEST(test_igd42_beside_others),
		TEST(test_igd25_none_left),
		TEST(test_igd21_third_party),
		TEST(test_igd24_withheld),
		TEST(test_igd33_range),
		TEST(test_igd33_outbound_heir),
		TEST(test_igd30_own_index),
		TEST(test_igd30_third_party_is_of_both),
		TEST(test_igd30_specific),
		TEST(test_igd32_ipv6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
