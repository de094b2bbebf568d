/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pinholes of WANIPv6FirewallControl in the lease table, beside those of PCP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "test/unit/plan_lab.h"

#define V6_2 "2001:db8:77::3"
#define R1 "2001:db8:99::1"
#define R2 "2001:db8:99::2"
#define ANY NULL
#define PORT 5000
#define IDS_MAX 65535

static struct request *ask(struct plan_lab *lab, enum request_op op, const char *host)
{
	struct request *request = lab_ask(lab, op, host, PORT, 0);

	request->origin = ORIGIN_IGD;
	request->igd_version = 1;
	return request;
}

static enum result open_for(struct plan_lab *lab, const char *host, const char *remote,
			    uint16_t remote_port)
{
	struct request *request = ask(lab, REQUEST_PINHOLE, host);

	if (remote)
		request->remote = lab_address(remote);
	request->remote_port = remote_port;
	lab->context.random = lab->context.random * 1103515245u + 12345u;
	return lab_decide(lab);
}

static uint16_t get_id(const struct plan_lab *lab)
{
	assert_true(lab->plan.has_lease);
	assert_int_not_equal(lab->plan.lease.pinhole, 0);
	return lab->plan.lease.pinhole;
}

static enum result by_id(struct plan_lab *lab, enum request_op op, const char *host,
			 uint16_t id)
{
	ask(lab, op, host)->pinhole = id;
	return lab_decide(lab);
}

/* V6FW-6: the five-tuple is the key; the same one again is the same pinhole. */
static void test_v6fw6_five_tuple(void **state)
{
	struct plan_lab *lab = *state;
	uint16_t id, other;

	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	id = get_id(lab);
	assert_int_equal(lab_get_port(lab), PORT);
	lab->context.now_ms += 1000000;
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	assert_int_equal(get_id(lab), id);
	assert_int_equal(lab_get_lifetime_s(lab), LIFETIME_S);
	assert_int_equal(table_get_count(lab->table), 1);
	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_OK);
	other = get_id(lab);
	assert_int_not_equal(other, id);
	assert_int_equal(open_for(lab, V6, R1, 443), RESULT_OK);
	assert_int_not_equal(get_id(lab), other);
	assert_int_equal(open_for(lab, V6, R1, 444), RESULT_OK);
	assert_int_equal(open_for(lab, V6, R2, 443), RESULT_OK);
	assert_int_equal(open_for(lab, V6_2, ANY, 0), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 6);
	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_OK);
	assert_int_equal(get_id(lab), other);
	ask(lab, REQUEST_PINHOLE, V6)->protocol = IPPROTO_UDP;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 7);
}

/* A host that has moved to another LAN, or its LAN that has another place. */
static void test_v6fw6_lan(void **state)
{
	struct plan_lab *lab = *state;
	uint16_t id;

	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	id = get_id(lab);
	assert_int_equal(lab_find(lab, V6, PORT)->lan, 0);
	ask(lab, REQUEST_PINHOLE, V6)->lan = 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(get_id(lab), id);
	assert_int_equal(lab_find(lab, V6, PORT)->lan, 1);
	ask(lab, REQUEST_PINHOLE_UPDATE, V6)->pinhole = id;
	lab->request.lan = 2;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_find(lab, V6, PORT)->lan, 2);
}

static void test_v6fw4_port(void **state)
{
	struct plan_lab *lab = *state;

	ask(lab, REQUEST_PINHOLE, V6)->internal_port = 0;
	assert_int_equal(lab_decide(lab), RESULT_BAD_PORT);
	ask(lab, REQUEST_PINHOLE, V6)->internal_port = 22; /* V6FW-7 */
	assert_int_equal(lab_decide(lab), RESULT_DENIED);
	assert_int_equal(table_get_count(lab->table), 0);
}

/* V6FW-7: for itself, whatever its address; for others by the owner's leave only. */
static void test_v6fw7_only_for_itself(void **state)
{
	struct plan_lab *lab = *state;

	ask(lab, REQUEST_PINHOLE, V6)->internal = lab_address(V6_2);
	assert_int_equal(lab_decide(lab), RESULT_DENIED);
	ask(lab, REQUEST_PINHOLE, C1)->internal = lab_address(V6);
	assert_int_equal(lab_decide(lab), RESULT_DENIED);
	lab->conf.rules[0].has_third_party = true;
	assert_true(prefix_parse("2001:db8:77::/64", &lab->conf.rules[0].third_party));
	ask(lab, REQUEST_PINHOLE, V6)->internal = lab_address(V6_2);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	/* and is then of both (V6FW-9) */
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_GET, V6_2, get_id(lab)), RESULT_OK);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_GET, V6, get_id(lab)), RESULT_OK);
}

static bool is_c1(void *user, uint16_t lan, const struct ip_addr *a,
		  const struct ip_addr *b)
{
	const struct ip_addr c1 = lab_address(C1), v6 = lab_address(V6);

	(void)user;
	return lan == 0 && addr_equal(a, &c1) && addr_equal(b, &v6);
}

static void test_v6fw9_owner(void **state)
{
	static const enum request_op ops[] = {
		REQUEST_PINHOLE_UPDATE, REQUEST_PINHOLE_GET, REQUEST_PINHOLE_DELETE};
	struct plan_lab *lab = *state;
	uint16_t id;

	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	id = get_id(lab);
	for (size_t i = 0; i < 3; i++) {
		lab->context.is_same_host = NULL;
		assert_int_equal(by_id(lab, ops[i], V6_2, id), RESULT_FOREIGN);
		assert_int_equal(by_id(lab, ops[i], C1, id), RESULT_FOREIGN);
		lab->context.is_same_host = is_c1;
		assert_int_equal(by_id(lab, ops[i], C2, id), RESULT_FOREIGN);
		/* C1 asks of V6's for itself, but the policy is asked of V6 too */
		ask(lab, ops[i], V6)->pinhole = id;
		lab->request.client = lab_address(C1);
		lab->conf.rules[0].has_third_party = true;
		assert_true(prefix_parse("::/0", &lab->conf.rules[0].third_party));
		assert_int_equal(lab_decide(lab), RESULT_OK);
		lab->conf.rules[0].has_third_party = false;
	}
	assert_int_equal(table_get_count(lab->table), 0);
}

/* V6FW-8: what is not there is unknown in every action. */
static void test_v6fw8_unknown(void **state)
{
	static const enum request_op ops[] = {
		REQUEST_PINHOLE_UPDATE, REQUEST_PINHOLE_GET, REQUEST_PINHOLE_DELETE};
	struct plan_lab *lab = *state;
	uint16_t id;

	for (int made = 0; made < 2; made++) {
		for (size_t i = 0; i < 3; i++) {
			assert_int_equal(by_id(lab, ops[i], V6, 0), RESULT_NO_ENTRY);
			assert_int_equal(by_id(lab, ops[i], V6, 77), RESULT_NO_ENTRY);
			assert_int_equal(by_id(lab, ops[i], V6, IDS_MAX),
					 RESULT_NO_ENTRY);
		}
		lab->context.random = 1000;
		ask(lab, REQUEST_PINHOLE, V6);
		assert_int_equal(lab_decide(lab), RESULT_OK);
	}
	id = get_id(lab);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_DELETE, V6, id), RESULT_OK);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_GET, V6, id), RESULT_NO_ENTRY);
}

/* V6FW-8: ids are not handed out twice while they live, nor 0 ever. */
static void test_v6fw8_ids(void **state)
{
	struct plan_lab *lab = *state;
	static const uint32_t draws[] = {7, 7, IDS_MAX, IDS_MAX, 0, 0x10000};
	static const uint16_t ids[] = {7, 8, IDS_MAX, 1, 2, 3};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		ask(lab, REQUEST_PINHOLE, V6)->internal_port = (uint16_t)(PORT + i);
		lab->context.random = draws[i];
		assert_int_equal(lab_decide(lab), RESULT_OK);
		assert_int_equal(get_id(lab), ids[i]);
	}
}

/* All the ids there are: then none is left, which V6FC says as 701. */
static void test_v6fw8_none_left(void **state)
{
	struct plan_lab *lab = *state;

	lab->context.leases_per_client = 0;
	lab->context.leases_total = 0;
	for (uint32_t i = 0; i < IDS_MAX; i++) {
		ask(lab, REQUEST_PINHOLE, V6);
		lab->request.internal.bytes[9] = (uint8_t)(i >> 8);
		lab->request.internal.bytes[10] = (uint8_t)i;
		lab->request.client = lab->request.internal;
		lab->context.random = i + 1;
		assert_int_equal(lab_decide(lab), RESULT_OK);
	}
	assert_int_equal(open_for(lab, V6_2, ANY, 0), RESULT_TABLE_FULL);
	assert_int_equal(table_get_count(lab->table), IDS_MAX);
}

/* V6FW-12: the new end is counted from now, also where that is earlier. */
static void test_v6fw12_update(void **state)
{
	struct plan_lab *lab = *state;
	uint16_t id;

	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	id = get_id(lab);
	lab->context.now_ms += 1000;
	ask(lab, REQUEST_PINHOLE_UPDATE, V6)->pinhole = id;
	lab->request.lifetime_s = 60;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_get_lifetime_s(lab), 60);
	assert_int_equal(lab_find(lab, V6, PORT)->expires_ms,
			 lab->context.now_ms + 60000);
	assert_int_equal(get_id(lab), id);
	lab->conf.rules[0].allow = false; /* the owner has thought better of it */
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_UPDATE, V6, id), RESULT_DENIED);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_DELETE, V6, id), RESULT_OK);
}

/* V6FW-5: AddPinhole does not say how long it gave: less than asked is none. */
static void test_v6fw5_no_less(void **state)
{
	struct plan_lab *lab = *state;
	uint16_t id;

	lab->context.lifetime_max_s = LIFETIME_S - 1;
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_DENIED);
	lab->context.lifetime_max_s = LIFETIME_S;
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	id = get_id(lab);
	lab->conf.rules[0].lifetime_max_s = LIFETIME_S - 1;
	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_DENIED);
	lab->context.now_ms += 1000;
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_DENIED);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_UPDATE, V6, id), RESULT_DENIED);
	assert_int_equal(lab_find(lab, V6, PORT)->expires_ms,
			 lab->context.now_ms + LIFETIME_MS - 1000);
	ask(lab, REQUEST_PINHOLE_UPDATE, V6)->pinhole = id;
	lab->request.lifetime_s = LIFETIME_S - 1;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lab->context.lifetime_max_s = 0; /* no limit but the rule's */
	lab->conf.rules[0].lifetime_max_s = 0;
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_UPDATE, V6, id), RESULT_OK);
}

static void test_v6fw14_quota(void **state)
{
	struct plan_lab *lab = *state;

	lab->context.leases_per_client = 2;
	lab->context.leases_total = 6;
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_OK);
	assert_int_equal(open_for(lab, V6, R2, 0), RESULT_QUOTA);
	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_OK); /* V6FW-6 */
	assert_int_equal(open_for(lab, V6_2, ANY, 0), RESULT_OK);
	/* of all, IPv6 may have half */
	assert_int_equal(open_for(lab, V6_2, R1, 0), RESULT_TABLE_FULL);
}

/* A port of any host is an interval, whose number is bounded. */
static void test_v6fw2_wide(void **state)
{
	struct plan_lab *lab = *state;
	uint16_t port = 1024;

	for (; port < 1024 + PLAN_WIDE_FILTERS_OF_CLIENT_MAX; port++)
		assert_int_equal(open_for(lab, V6, ANY, port), RESULT_OK);
	assert_int_equal(open_for(lab, V6, ANY, port), RESULT_PEERS);
	assert_int_equal(table_get_wide_count(lab->table),
			 PLAN_WIDE_FILTERS_OF_CLIENT_MAX);
	assert_int_equal(open_for(lab, V6, ANY, 1024), RESULT_OK); /* a renewal */
	assert_int_equal(open_for(lab, V6, R1, port), RESULT_OK);
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_DELETE, V6, get_id(lab)),
			 RESULT_OK);
	assert_int_equal(open_for(lab, V6_2, ANY, 1024), RESULT_OK);
}

/* What the firewall cannot tell apart is refused here: one host with any port beside
 * any host with one port. */
static void test_v6fw2_overlap(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(open_for(lab, V6, ANY, 443), RESULT_OK);
	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_CONFLICT);
	assert_int_equal(open_for(lab, V6, R1, 443), RESULT_OK);
	assert_int_equal(open_for(lab, V6, ANY, 444), RESULT_OK);
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	assert_int_equal(open_for(lab, V6_2, R1, 0), RESULT_OK);
	assert_int_equal(open_for(lab, V6_2, ANY, 443), RESULT_CONFLICT);
	assert_int_equal(open_for(lab, V6_2, R2, 0), RESULT_OK);
}

/* --- beside PCP --- */

static enum result map(struct plan_lab *lab, char nonce)
{
	lab_ask(lab, REQUEST_MAP, V6, PORT, 0);
	memset(lab->request.nonce, nonce, sizeof(lab->request.nonce));
	return lab_decide(lab);
}

/* PCP-53: what UPnP opened to everybody, MAP adopts, with what is left of its life. */
static void test_pcp53_adopts_the_open_one(void **state)
{
	struct plan_lab *lab = *state;
	const struct lease *lease;
	uint16_t id;

	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	id = get_id(lab);
	assert_int_equal(map(lab, 'n'), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 1);
	lease = lab_find(lab, V6, PORT);
	assert_int_equal(lease->origin, ORIGIN_PCP);
	assert_true(lease->has_nonce);
	/* its id stays, to be looked at; to change it is PCP's now (IGD-42) */
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_GET, V6, id), RESULT_OK);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_UPDATE, V6, id), RESULT_FOREIGN);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_DELETE, V6, id), RESULT_FOREIGN);
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_FOREIGN);
}

static void test_igd42_guarded(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(map(lab, 'n'), RESULT_OK);
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_FOREIGN);
	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_OK);
	assert_int_equal(open_for(lab, V6, R2, 443), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 3);
	(void)lab_make(lab, ORIGIN_STATIC, V6_2, PORT, PORT);
	assert_int_equal(open_for(lab, V6_2, ANY, 0), RESULT_FOREIGN);
}

/* MAP passes over the pinhole of one host, of one port, of both; UNMAP leaves it. */
static void test_pcp53_passes_over_narrow_ones(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_OK);
	assert_int_equal(open_for(lab, V6, R1, 443), RESULT_OK);
	assert_int_equal(open_for(lab, V6_2, ANY, 443), RESULT_OK);
	assert_int_equal(map(lab, 'n'), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 4);
	lab_ask(lab, REQUEST_MAP, V6_2, PORT, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 5);
	lab_ask(lab, REQUEST_UNMAP, V6, PORT, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lab_ask(lab, REQUEST_UNMAP, V6_2, PORT, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 3);
	lab_ask(lab, REQUEST_UNMAP, V6, PORT, 0); /* nothing of PCP's there */
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(table_get_count(lab->table), 3);
}

/* A pinhole beside the filters of MAP, as far as the two do not meet. */
static void test_pcp81_filters_beside(void **state)
{
	struct plan_lab *lab = *state;

	lab_ask(lab, REQUEST_MAP, V6, PORT, 0);
	lab_filter(lab, "2001:db8:99::/64", 80);
	lab_filter(lab, "2001:db8:98::1/128", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_CONFLICT);
	assert_int_equal(open_for(lab, V6, "2001:db8:97::1", 0), RESULT_OK);
	assert_int_equal(open_for(lab, V6, R1, 80), RESULT_OK);
	assert_int_equal(open_for(lab, V6_2, ANY, 443), RESULT_OK);
	assert_int_equal(open_for(lab, V6, ANY, 443), RESULT_CONFLICT);
}

/* The other way round: filters that meet a pinhole are refused, when MAP is new and
 * when it is renewed; the firewall is not asked in vain. */
static void test_pcp81_filters_on_a_pinhole(void **state)
{
	struct plan_lab *lab = *state;

	assert_int_equal(open_for(lab, V6, R1, 0), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, V6, PORT, 0);
	lab_filter(lab, "2001:db8:99::/64", 80);
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	assert_int_equal(lab->plan.count, 0);
	lab_ask(lab, REQUEST_MAP, V6, PORT, 0);
	lab_filter(lab, "2001:db8:98::/64", 80);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, V6, PORT, 0);
	lab_filter(lab, R1, 0);
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	assert_int_equal(lab->plan.count, 0);
	lab_ask(lab, REQUEST_MAP, V6, PORT, 0);
	lab_filter(lab, R2, 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	/* of a set each port counts; the owner's are no exception */
	lab_ask(lab, REQUEST_MAP, V6, PORT - 1, 0)->port_count = 2;
	lab_filter(lab, R1, 80);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab->plan.port_count, 0);
	lab_ask(lab, REQUEST_ADD, V6, PORT, PORT)->remote = lab_address(R2);
	lab->request.origin = ORIGIN_STATIC;
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	lab->request.enabled = 0;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	lab->request.enabled = 1;
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
	/* for one port of one host there is room beside each */
	assert_int_equal(open_for(lab, V6, R1, 80), RESULT_OK);
}

/* What the owner makes of a pinhole is the owner's, and still has its name. */
static void test_igd24_owner(void **state)
{
	struct plan_lab *lab = *state;
	uint16_t id;

	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_OK);
	id = get_id(lab);
	(void)lab_make(lab, ORIGIN_STATIC, V6, PORT, PORT);
	assert_int_equal(table_get_count(lab->table), 1);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_GET, V6, id), RESULT_OK);
	assert_int_equal(lab->plan.lease.origin, ORIGIN_STATIC);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_DELETE, V6, id), RESULT_FOREIGN);
	lease_plan_end(lab->table, lab_find(lab, V6, PORT)->id, &lab->plan);
	assert_int_equal(lease_commit(lab->table, lab->plan.changes, lab->plan.count,
				      lab->context.now_ms),
			 0);
	assert_int_equal(by_id(lab, REQUEST_PINHOLE_GET, V6, id), RESULT_NO_ENTRY);
	/* one that the owner keeps for one host */
	lab_ask(lab, REQUEST_ADD, V6_2, PORT, PORT)->remote = lab_address(R1);
	lab->request.origin = ORIGIN_STATIC;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(open_for(lab, V6_2, ANY, 443), RESULT_CONFLICT);
	assert_int_equal(open_for(lab, V6_2, R1, 0), RESULT_FOREIGN);
}

/* PEER keeps a flow: a pinhole of that very flow is the same rule. */
static void test_pcp_peer_beside(void **state)
{
	struct plan_lab *lab = *state;

	lab_ask(lab, REQUEST_PEER, V6, PORT, 0)->remote = lab_address(R1);
	lab->request.remote_port = 443;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(open_for(lab, V6, R1, 443), RESULT_FOREIGN);
	assert_int_equal(open_for(lab, V6, R1, 444), RESULT_OK);
	lab_ask(lab, REQUEST_PEER, V6, PORT, 0)->remote = lab_address(R1);
	lab->request.remote_port = 444;
	assert_int_equal(lab_decide(lab), RESULT_CONFLICT);
}

/* V6FW-1: the owner lets no host ask, by whichever protocol. */
static void test_v6fw1_off(void **state)
{
	struct plan_lab *lab = *state;

	lab->conf.wan.pinholes = CONF_PINHOLES_OFF;
	assert_int_equal(open_for(lab, V6, ANY, 0), RESULT_DENIED);
	assert_int_equal(map(lab, 'n'), RESULT_DENIED);
	lab_ask(lab, REQUEST_PEER, V6, PORT, 0)->remote = lab_address(R1);
	lab->request.remote_port = 443;
	assert_int_equal(lab_decide(lab), RESULT_DENIED);
	assert_int_equal(lab_map(lab, C1, PORT, PORT), RESULT_OK); /* IPv4 as ever */
	(void)lab_make(lab, ORIGIN_STATIC, V6, PORT, PORT); /* and the owner himself */
	lab->conf.wan.pinholes = CONF_PINHOLES_NO_FIREWALL;
	assert_int_equal(open_for(lab, V6_2, ANY, 0), RESULT_OK);
}

#define TEST(name)                                                                     \
	cmocka_unit_test_setup_teardown(name, plan_lab_setup, plan_lab_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_v6fw1_off),
		TEST(test_v6fw2_overlap),
		TEST(test_v6fw2_wide),
		TEST(test_v6fw4_port),
		TEST(test_v6fw5_no_less),
		TEST(test_v6fw6_five_tuple),
		TEST(test_v6fw6_lan),
		TEST(test_v6fw7_only_for_itself),
		TEST(test_v6fw8_ids),
		TEST(test_v6fw8_none_left),
		TEST(test_v6fw8_unknown),
		TEST(test_v6fw9_owner),
		TEST(test_v6fw12_update),
		TEST(test_v6fw14_quota),
		TEST(test_pcp53_adopts_the_open_one),
		TEST(test_pcp53_passes_over_narrow_ones),
		TEST(test_igd42_guarded),
		TEST(test_igd24_owner),
		TEST(test_pcp81_filters_beside),
		TEST(test_pcp81_filters_on_a_pinhole),
		TEST(test_pcp_peer_beside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
