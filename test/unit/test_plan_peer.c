/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of PEER in the lease table: RFC 6887 §12, on virtual time and with flows
 * of straw.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "daemon/plan.h"
#include "daemon/ports.h"
#include "daemon/table.h"

#define C1 "192.168.77.2"
#define C2 "192.168.77.3"
#define V6 "fd77::2"
#define WAN "203.0.113.1"
#define REMOTE "198.51.100.7"
#define REMOTE6 "2001:db8:1::7"
#define REMOTE_PORT 443
#define PORT 5000
#define FLOW_PORT 40000
#define LIFETIME_S 7200
#define LIFETIME_MAX_S 86400
#define LIFETIME_MIN_S 120

/* A table, its policy, one flow, and what the last request came to. */
struct fixture {
	struct table *table;
	struct conf conf;
	struct verdict verdict;
	struct plan_context context;
	struct request request;
	struct plan plan;
	struct flow flow; /* protocol 0: there is none */
	unsigned int looks;
	uint16_t taken_port; /* another host's flow to the same peer leaves with it */
};

static struct ip_addr address(const char *text)
{
	struct ip_addr addr = {{0}};

	assert_true(addr_parse(text, &addr));
	return addr;
}

/* The exact five-tuple, as the kernel asks for it. */
static bool find_flow(void *user, struct flow *flow)
{
	struct fixture *fixture = user;
	const struct flow *there = &fixture->flow;

	fixture->looks++;
	if (flow->protocol != there->protocol ||
	    flow->internal_port != there->internal_port ||
	    flow->remote_port != there->remote_port ||
	    !addr_equal(&flow->internal, &there->internal) ||
	    !addr_equal(&flow->remote, &there->remote))
		return false;
	*flow = *there;
	return true;
}

static bool is_flow_taken(void *user, const struct flow *flow)
{
	const struct fixture *fixture = user;

	return flow->external_port == fixture->taken_port;
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
		.external = address(WAN),
		.leases_per_client = 4,
		.leases_total = 6,
		.lifetime_max_s = LIFETIME_MAX_S,
		.lifetime_min_s = LIFETIME_MIN_S,
		.filters_max = 8,
		.ports_max = 1,
		.next_id = 1,
		.now_ms = 1000000,
		.find_flow = find_flow,
		.is_flow_taken = is_flow_taken,
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

/* A PEER of C1; the test then changes what it is about. */
static struct request *ask(struct fixture *fixture)
{
	struct request *request = &fixture->request;

	memset(request, 0, sizeof(*request));
	request->op = REQUEST_PEER;
	request->origin = ORIGIN_PCP;
	request->protocol = IPPROTO_UDP;
	request->enabled = 1;
	request->client = address(C1);
	request->internal = request->client;
	request->internal_port = PORT;
	request->remote = address(REMOTE);
	request->remote_port = REMOTE_PORT;
	request->lifetime_s = LIFETIME_S;
	memset(request->nonce, 7, sizeof(request->nonce));
	return request;
}

static void move_to(struct request *request, const char *host)
{
	request->client = address(host);
	request->internal = request->client;
}

static struct request *ask6(struct fixture *fixture)
{
	struct request *request = ask(fixture);

	move_to(request, V6);
	request->remote = address(REMOTE6);
	return request;
}

static enum result decide(struct fixture *fixture)
{
	struct plan *plan = &fixture->plan;

	policy_decide(&fixture->conf, &fixture->request, "lan0", &fixture->verdict);
	lease_plan(fixture->table, &fixture->context, plan);
	if (plan->result != RESULT_OK)
		assert_int_equal(plan->count, 0); /* PCP-16 */
	assert_int_equal(lease_commit(fixture->table, plan->changes, plan->count,
				      fixture->context.now_ms),
			 0);
	fixture->context.next_id++;
	return plan->result;
}

/* A MAP of the same host and port, for everybody. */
static enum result map(struct fixture *fixture, const char *host, uint16_t internal,
		       uint16_t external)
{
	struct request *request = ask(fixture);

	request->op = REQUEST_MAP;
	move_to(request, host);
	request->internal_port = internal;
	request->external_port = external;
	request->remote = (struct ip_addr){{0}};
	request->remote_port = 0;
	return decide(fixture);
}

/* The kernel has this flow from now on. */
static void begin_flow(struct fixture *fixture, uint16_t external_port, uint32_t left_s)
{
	const struct request *request = ask(fixture);

	fixture->flow = (struct flow){
		.protocol = request->protocol,
		.internal_port = request->internal_port,
		.remote_port = request->remote_port,
		.internal = request->internal,
		.remote = request->remote,
		.external = fixture->context.external,
		.external_port = external_port,
		.left_s = left_s,
	};
}

static const struct lease *granted(const struct fixture *fixture)
{
	assert_true(fixture->plan.has_lease);
	return &fixture->plan.lease;
}

static int64_t told_s(const struct fixture *fixture)
{
	return (granted(fixture)->expires_ms - fixture->context.now_ms) / 1000;
}

static const struct lease *kept(const struct fixture *fixture)
{
	const struct request *request = &fixture->request;
	const struct lease like = {
		.protocol = request->protocol,
		.internal = request->internal,
		.internal_port = request->internal_port,
		.remote = request->remote,
		.remote_port = request->remote_port,
	};

	return table_get_by_peer(fixture->table, &like);
}

static int64_t kept_s(const struct fixture *fixture)
{
	assert_non_null(kept(fixture));
	return (kept(fixture)->expires_ms - fixture->context.now_ms) / 1000;
}

static size_t count(const struct fixture *fixture)
{
	return table_get_count(fixture->table);
}

/* --- PCP-87: what can be nobody's flow --- */

static void test_pcp87_no_peer(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture)->internal_port = 0;
	assert_int_equal(decide(fixture), RESULT_BAD_PORT);
	ask(fixture)->remote_port = 0;
	assert_int_equal(decide(fixture), RESULT_BAD_PORT);
	ask(fixture)->remote = (struct ip_addr){{0}};
	assert_int_equal(decide(fixture), RESULT_BAD_PORT);
	ask(fixture)->remote = address("127.0.0.1");
	assert_int_equal(decide(fixture), RESULT_BAD_PORT);
	ask(fixture)->remote = address(REMOTE6);
	assert_int_equal(decide(fixture), RESULT_BAD_PORT);
	assert_int_equal(count(fixture), 0);
	assert_int_equal(fixture->looks, 0);
}

/* --- PCP-89: a flow that is there --- */

static void test_pcp89_flow_has_its_endpoint(void **state)
{
	struct fixture *fixture = *state;
	struct request *request;

	begin_flow(fixture, FLOW_PORT, 30);
	request = ask(fixture);
	request->external_port = 6000; /* neither of which can be had */
	request->external = address("198.51.100.1");
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, FLOW_PORT);
	assert_int_equal(told_s(fixture), LIFETIME_S);
	assert_true(lease_is_peer(kept(fixture)));
	assert_int_equal(kept(fixture)->remote_port, REMOTE_PORT);
	assert_true(kept(fixture)->outbound);
	assert_true(kept(fixture)->enabled);
	assert_true(kept(fixture)->has_nonce);
}

static void test_pcp89_flow_without_lease_asked_for(void **state)
{
	struct fixture *fixture = *state;

	begin_flow(fixture, FLOW_PORT, 30);
	ask(fixture)->lifetime_s = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, FLOW_PORT);
	assert_int_equal(told_s(fixture), 30);
	assert_int_equal(count(fixture), 0);
}

static void test_pcp89_other_nonce(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	fixture->context.now_ms += 200000;
	for (uint32_t lifetime_s = 0; lifetime_s <= 9000; lifetime_s += 9000) {
		struct request *request = ask(fixture);

		request->nonce[NONCE_SIZE - 1]++; /* PCP-102 */
		request->lifetime_s = lifetime_s;
		assert_int_equal(decide(fixture), RESULT_FOREIGN);
		assert_int_equal(fixture->plan.retry_s, LIFETIME_S - 200);
	}
	ask(fixture)->lifetime_s = 9000;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(kept_s(fixture), 9000);
}

static void test_pcp50_relaxed_nonce(void **state)
{
	struct fixture *fixture = *state;

	fixture->context.nonce_relaxed = true;
	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	memset(ask(fixture)->nonce, 9, NONCE_SIZE);
	fixture->request.lifetime_s = 9000;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(kept(fixture)->nonce[0], 9);
	/* a question changes nothing */
	ask(fixture)->lifetime_s = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(kept(fixture)->nonce[0], 9);
	/* another host, for whom this one answers, is not the same host */
	move_to(ask(fixture), C2);
	fixture->request.internal = address(C1);
	fixture->request.lifetime_s = 20000;
	assert_int_not_equal(decide(fixture), RESULT_OK);
}

static void test_pcp89_each_flow_for_itself(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	ask(fixture)->remote_port++;
	assert_int_equal(decide(fixture), RESULT_OK);
	memset(ask(fixture)->nonce, 9, NONCE_SIZE);
	fixture->request.remote = address("198.51.100.8");
	assert_int_equal(decide(fixture), RESULT_OK);
	ask(fixture)->protocol = IPPROTO_TCP;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(count(fixture), 4);
}

static void test_pcp89_flow_on_anothers_port(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C2, PORT, FLOW_PORT), RESULT_OK);
	begin_flow(fixture, FLOW_PORT, 30);
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
	assert_int_equal(count(fixture), 1);
}

/* Of the other protocol too: a host has both of a port (NP-34). */
static void test_pcp89_flow_on_anothers_companion(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture)->protocol = IPPROTO_TCP;
	fixture->request.op = REQUEST_MAP;
	fixture->request.external_port = FLOW_PORT;
	fixture->request.remote = (struct ip_addr){{0}};
	fixture->request.remote_port = 0;
	move_to(&fixture->request, C2);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, FLOW_PORT);
	begin_flow(fixture, FLOW_PORT, 30);
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
	assert_int_equal(count(fixture), 1);
}

/* A port that rests is kept from others: not from who has a flow on it. */
static void test_pcp89_flow_on_a_resting_port(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C2, PORT, FLOW_PORT), RESULT_OK);
	table_remove(fixture->table, 1, fixture->context.now_ms);
	begin_flow(fixture, FLOW_PORT, 30);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(kept(fixture)->external_port, FLOW_PORT);
}

static void test_pcp89_flow_beside_a_mapping(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, PORT, 6000), RESULT_OK);
	begin_flow(fixture, FLOW_PORT, 30);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, FLOW_PORT);
	assert_false(kept(fixture)->outbound);
}

/* What is renewed is told where it asked from last, and has the text of then. */
static void test_pcp40_renewal_says_where_from(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	ask(fixture)->lifetime_s = 9000;
	fixture->request.client_port = 40001;
	fixture->request.server = address("192.168.77.1");
	fixture->request.has_description = 1;
	memcpy(fixture->request.description, "a flow", 7);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(kept(fixture)->client_port, 40001);
	assert_true(addr_equal(&kept(fixture)->server, &fixture->request.server));
	assert_string_equal(lease_get_description(kept(fixture)), "a flow");
	ask(fixture)->lifetime_s = 10000; /* PCP-112 */
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_string_equal(lease_get_description(kept(fixture)), "a flow");
	assert_int_equal(kept(fixture)->client_port, 0);
}

/* --- PCP-90: never shorter --- */

static void test_pcp90_never_shorter(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	for (uint32_t lifetime_s = 0; lifetime_s < LIFETIME_S; lifetime_s += 600) {
		fixture->context.now_ms += 1000;
		ask(fixture)->lifetime_s = lifetime_s;
		/* not in the kernel, nor in the store */
		assert_int_equal(decide(fixture), RESULT_OK);
		assert_int_equal(fixture->plan.count, 0);
		assert_int_equal(told_s(fixture), kept_s(fixture));
	}
	ask(fixture);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(kept_s(fixture), LIFETIME_S);
	assert_int_equal(count(fixture), 1);
}

/* A connection that the kernel keeps for days is told so; the lease has its limit. */
static void test_pcp90_long_flow(void **state)
{
	struct fixture *fixture = *state;

	begin_flow(fixture, FLOW_PORT, 432000);
	ask(fixture)->lifetime_s = 600;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(told_s(fixture), 432000);
	assert_int_equal(kept_s(fixture), 600);
	ask(fixture)->lifetime_s = 1200;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(told_s(fixture), 432000);
	assert_int_equal(kept_s(fixture), 1200);
	ask(fixture)->lifetime_s = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(told_s(fixture), 432000);
}

static void test_pcp64_bounds(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture)->lifetime_s = 1;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(told_s(fixture), LIFETIME_MIN_S);
	ask(fixture)->lifetime_s = UINT32_MAX;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(told_s(fixture), LIFETIME_MAX_S);
}

static void test_pcp90_unmap_leaves_it(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	ask(fixture)->op = REQUEST_UNMAP;
	fixture->request.remote = (struct ip_addr){{0}};
	fixture->request.remote_port = 0;
	(void)decide(fixture);
	assert_int_equal(count(fixture), 1); /* PCP-67 */
}

/* --- PCP-88: no flow yet --- */

static void test_pcp88_suggestion(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture)->external_port = 6000;
	fixture->request.external = address(WAN);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, 6000);
	assert_true(kept(fixture)->outbound);
}

static void test_pcp88_no_suggestion(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, PORT);
	move_to(ask(fixture), C2);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_not_equal(granted(fixture)->external_port, PORT);
	assert_true(granted(fixture)->external_port >= 1024);
}

static void test_pcp88_suggestion_that_cannot_be(void **state)
{
	static const char *const addresses[] = {"198.51.100.9", "10.0.0.1", C1, V6};
	static const uint16_t ports[] = {6000, 5350, 5351, 80};
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C2, PORT, 6000), RESULT_OK);
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		ask(fixture)->external_port = ports[i];
		assert_int_equal(decide(fixture), RESULT_CONFLICT);
	}
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		ask(fixture)->external = address(addresses[i]);
		assert_int_equal(decide(fixture), RESULT_CONFLICT);
	}
	assert_int_equal(count(fixture), 1);
	/* none is no suggestion, in either family's words (PCP-92) */
	ask(fixture)->external = address("0.0.0.0");
	assert_int_equal(decide(fixture), RESULT_OK);
}

static void test_pcp88_nothing_asked_nothing_made(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture)->lifetime_s = 0;
	assert_int_equal(decide(fixture), RESULT_NO_ENTRY);
	assert_int_equal(count(fixture), 0);
}

/* One internal endpoint has one face outside. */
static void test_pcp88_port_of_the_mapping(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, PORT, 6000), RESULT_OK);
	ask(fixture)->external_port = 7000;
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
	ask(fixture)->external_port = 6000;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_false(kept(fixture)->outbound);
	ask(fixture)->remote_port++;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, 6000);
	assert_int_equal(count(fixture), 3);
}

static void test_pcp54_mapping_after_it(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture)->external_port = 6000;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(map(fixture, C1, PORT, 7000), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, 6000);
	assert_int_equal(count(fixture), 2);
}

/* The flow's face goes before that of what UPnP made for one peer. */
static void test_pcp54_mapping_after_flow(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture)->op = REQUEST_ADD;
	fixture->request.origin = ORIGIN_IGD;
	fixture->request.external_port = 6000;
	fixture->request.remote = address("198.51.100.8");
	fixture->request.remote_port = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_true(granted(fixture)->outbound);
	begin_flow(fixture, FLOW_PORT, 30);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_false(kept(fixture)->outbound);
	assert_int_equal(map(fixture, C1, PORT, 7000), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, FLOW_PORT);
}

/* What is open to everybody keeps every peer: not one less (PCP-58). */
static void test_pcp58_port_of_another_mapping(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, 80, PORT), RESULT_OK);
	ask(fixture)->external_port = PORT;
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	assert_int_not_equal(granted(fixture)->external_port, PORT);
	assert_true(granted(fixture)->external_port >= 1024);
	assert_int_equal(kept(fixture)->internal_port, PORT);
}

/* Two endpoints of a host cannot both be one port to the same peer. */
static void test_pcp88_same_peer_same_port(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture)->external_port = 6000;
	assert_int_equal(decide(fixture), RESULT_OK);
	ask(fixture)->external_port = 6000;
	fixture->request.internal_port = PORT + 1;
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
}

/* Another host's flow, without any lease, is not ended for it (PCP-90). */
static void test_pcp90_port_of_anothers_flow(void **state)
{
	struct fixture *fixture = *state;

	fixture->taken_port = PORT;
	ask(fixture)->external_port = PORT;
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	assert_int_not_equal(granted(fixture)->external_port, PORT);
	/* nor is one's own, which is there, refused for it */
	fixture->taken_port = FLOW_PORT;
	begin_flow(fixture, FLOW_PORT, 30);
	fixture->flow.remote_port = ++fixture->request.remote_port;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, FLOW_PORT);
}

/* Nor where the endpoint's port is fixed, so that there is none to choose. */
static void test_pcp90_fixed_port_of_anothers_flow(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, PORT, 6000), RESULT_OK);
	fixture->taken_port = 6000;
	assert_int_equal((ask(fixture), decide(fixture)), RESULT_CONFLICT);
	fixture->taken_port = 0;
	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, 6000);
}

/* --- IPv6 --- */

static void test_pcp93_ipv6(void **state)
{
	struct fixture *fixture = *state;

	fixture->context.external = (struct ip_addr){{0}}; /* PCP-62 */
	assert_int_equal((ask6(fixture), decide(fixture)), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, PORT);
	ask6(fixture)->internal_port = 5001;
	fixture->request.external_port = 5001;
	fixture->request.external = fixture->request.internal;
	assert_int_equal(decide(fixture), RESULT_OK);
	ask6(fixture)->internal_port = 5002;
	fixture->request.external_port = 5003;
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
	ask6(fixture)->internal_port = 5002;
	fixture->request.external = address("fd77::3");
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
	assert_int_equal(count(fixture), 2);
}

static void test_pcp89_ipv6_flow(void **state)
{
	struct fixture *fixture = *state;
	const struct request *request = ask6(fixture);

	fixture->flow = (struct flow){
		.protocol = request->protocol,
		.internal_port = request->internal_port,
		.remote_port = request->remote_port,
		.internal = request->internal,
		.remote = request->remote,
		.external = request->internal,
		.external_port = request->internal_port,
		.left_s = 30,
	};
	fixture->request.external_port = 6000;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(granted(fixture)->external_port, PORT);
}

/* --- what holds for all --- */

static void test_pcp62_no_address(void **state)
{
	struct fixture *fixture = *state;

	fixture->context.external = (struct ip_addr){{0}};
	assert_int_equal((ask(fixture), decide(fixture)), RESULT_NO_ADDRESS);
}

static void test_pcp61_quota(void **state)
{
	struct fixture *fixture = *state;

	fixture->context.leases_per_client = 1;
	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	ask(fixture)->remote_port++;
	assert_int_equal(decide(fixture), RESULT_QUOTA);
	begin_flow(fixture, FLOW_PORT, 30);
	fixture->flow.remote_port = ++fixture->request.remote_port;
	assert_int_equal(decide(fixture), RESULT_QUOTA);
	ask(fixture)->lifetime_s = 9000;
	assert_int_equal(decide(fixture), RESULT_OK);
}

static void test_pcp63_policy(void **state)
{
	struct fixture *fixture = *state;

	begin_flow(fixture, 123, 30); /* the host's masquerade keeps low ports */
	assert_int_equal(decide(fixture), RESULT_DENIED);
	/* what is left may be asked all the same */
	fixture->request.lifetime_s = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(count(fixture), 0);
}

static void test_no_kernel(void **state)
{
	struct fixture *fixture = *state;

	fixture->context.find_flow = NULL;
	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	assert_int_equal(kept_s(fixture), LIFETIME_S);
}

static void test_end(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(map(fixture, C1, PORT, 6000), RESULT_OK);
	assert_int_equal((ask(fixture), decide(fixture)), RESULT_OK);
	/* the mapping goes: the endpoint leaves by the same port still */
	lease_plan_end(fixture->table, 1, &fixture->plan);
	assert_int_equal(lease_commit(fixture->table, fixture->plan.changes,
				      fixture->plan.count, fixture->context.now_ms),
			 0);
	assert_true(kept(fixture)->outbound);
	lease_plan_end(fixture->table, 2, &fixture->plan);
	assert_int_equal(lease_commit(fixture->table, fixture->plan.changes,
				      fixture->plan.count, fixture->context.now_ms),
			 0);
	assert_null(kept(fixture));
	assert_int_equal(count(fixture), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pcp87_no_peer),
		TEST(test_pcp89_flow_has_its_endpoint),
		TEST(test_pcp89_flow_without_lease_asked_for),
		TEST(test_pcp89_other_nonce),
		TEST(test_pcp50_relaxed_nonce),
		TEST(test_pcp89_each_flow_for_itself),
		TEST(test_pcp89_flow_on_anothers_port),
		TEST(test_pcp89_flow_on_anothers_companion),
		TEST(test_pcp89_flow_on_a_resting_port),
		TEST(test_pcp89_flow_beside_a_mapping),
		TEST(test_pcp40_renewal_says_where_from),
		TEST(test_pcp90_never_shorter),
		TEST(test_pcp90_long_flow),
		TEST(test_pcp64_bounds),
		TEST(test_pcp90_unmap_leaves_it),
		TEST(test_pcp88_suggestion),
		TEST(test_pcp88_no_suggestion),
		TEST(test_pcp88_suggestion_that_cannot_be),
		TEST(test_pcp88_nothing_asked_nothing_made),
		TEST(test_pcp88_port_of_the_mapping),
		TEST(test_pcp54_mapping_after_it),
		TEST(test_pcp54_mapping_after_flow),
		TEST(test_pcp58_port_of_another_mapping),
		TEST(test_pcp88_same_peer_same_port),
		TEST(test_pcp90_port_of_anothers_flow),
		TEST(test_pcp90_fixed_port_of_anothers_flow),
		TEST(test_pcp93_ipv6),
		TEST(test_pcp89_ipv6_flow),
		TEST(test_pcp62_no_address),
		TEST(test_pcp61_quota),
		TEST(test_pcp63_policy),
		TEST(test_no_kernel),
		TEST(test_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
