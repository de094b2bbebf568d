/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What core believes of a worker's request, and whose requests it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "daemon/admission.h"

#define ALL (LAN_PROTOCOL_UPNP | LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP)
#define C1 "192.168.77.2"
#define V6 "2001:db8:77::2"
#define ULA "fd00:77::2"
#define ELSEWHERE "203.0.113.77"

struct fixture {
	struct network network;
	struct request request;
};

static struct ip_addr address(const char *text)
{
	struct ip_addr addr = {{0}};

	assert_true(addr_parse(text, &addr));
	return addr;
}

static void add_network(struct lan_info *lan, const char *prefix)
{
	assert_true(prefix_parse(prefix, &lan->networks[lan->network_count++]));
}

static int setup(void **state)
{
	struct fixture *fixture = test_calloc(1, sizeof(*fixture));
	struct network *network = &fixture->network;

	network->wan.present = true;
	network->wan.ifindex = 1;
	network->lan_count = 3;
	for (uint32_t i = 0; i < 3; i++) {
		network->lans[i].lan = (uint16_t)i;
		network->lans[i].ifindex = 2 + i;
		network->lans[i].protocols = ALL;
	}
	add_network(&network->lans[0], "192.168.77.0/24");
	add_network(&network->lans[0], "2001:db8:77::/64");
	add_network(&network->lans[0], "fd00:77::/64");
	add_network(&network->lans[0], "fe80::/64");
	add_network(&network->lans[1], "192.168.78.0/24");
	add_network(&network->lans[1], "2001:db8:78::/64");
	add_network(&network->lans[2], "192.168.79.0/24");
	network->lans[2].ifindex = 0; /* gone */
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	test_free(*state);
	return 0;
}

static struct request *ask(struct fixture *fixture, enum request_op op,
			   enum origin origin, const char *host)
{
	struct request *request = &fixture->request;

	memset(request, 0, sizeof(*request));
	request->op = (uint8_t)op;
	request->origin = (uint8_t)origin;
	request->protocol = IPPROTO_TCP;
	request->enabled = 1;
	request->ifindex = 2;
	request->client = address(host);
	request->internal = request->client;
	request->internal_port = 5000;
	if (op == REQUEST_PEER) {
		request->remote =
			address(addr_is_ipv4(&request->client) ? "198.51.100.9"
							       : "2001:db8:99::9");
		request->remote_port = 443;
	}
	return request;
}

static bool is_honest(struct fixture *fixture)
{
	return admission_check(&fixture->network, ALL, &fixture->request) == NULL;
}

static bool is_host(const struct fixture *fixture)
{
	return admission_is_host(&fixture->network, &fixture->request);
}

static void test_pcp2_host_of_the_lan(void **state)
{
	static const enum request_op ops[] = {REQUEST_MAP, REQUEST_UNMAP, REQUEST_PEER};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < 3; i++) {
		ask(fixture, ops[i], ORIGIN_PCP, C1);
		assert_true(is_honest(fixture) && is_host(fixture));
		ask(fixture, ops[i], ORIGIN_PCP, "192.168.78.2");
		assert_true(is_honest(fixture)); /* the address may have moved */
		assert_false(is_host(fixture));
		ask(fixture, ops[i], ORIGIN_PCP, C1)->ifindex = 1;
		assert_false(is_honest(fixture));
		ask(fixture, ops[i], ORIGIN_PCP, C1)->ifindex = 3;
		assert_false(is_honest(fixture));
	}
}

/* What a reload takes from a LAN its worker may not know yet: refused, and no lie. */
static void test_protocol_is_taken(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture, REQUEST_MAP, ORIGIN_PCP, C1);
	fixture->network.lans[0].protocols = LAN_PROTOCOL_UPNP;
	assert_true(is_honest(fixture));
	assert_false(is_host(fixture));
	fixture->network.lans[0].protocols = LAN_PROTOCOL_PCP;
	assert_true(is_honest(fixture) && is_host(fixture));
}

static void test_pcp95_ipv6(void **state)
{
	static const enum request_op ops[] = {REQUEST_MAP, REQUEST_UNMAP, REQUEST_PEER};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < 3; i++) {
		ask(fixture, ops[i], ORIGIN_PCP, V6);
		assert_true(is_honest(fixture) && is_host(fixture));
		ask(fixture, ops[i], ORIGIN_PCP, ULA);
		assert_true(is_honest(fixture) && is_host(fixture));
		ask(fixture, ops[i], ORIGIN_PCP, "fe80::2");
		assert_false(is_host(fixture));
		ask(fixture, ops[i], ORIGIN_PCP, "2001:db8:ffff::2");
		assert_false(is_host(fixture));
	}
	/* a link-local address gets none by way of another host either */
	ask(fixture, REQUEST_MAP, ORIGIN_PCP, V6)->internal = address("fe80::3");
	assert_false(is_host(fixture));
	ask(fixture, REQUEST_MAP, ORIGIN_PCP, "fe80::3")->internal = address(V6);
	assert_false(is_host(fixture));
}

/* Only PCP knows pinholes. */
static void test_pcp95_ipv6_of_others(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture, REQUEST_MAP, ORIGIN_NATPMP, V6);
	assert_false(is_host(fixture));
	ask(fixture, REQUEST_ADD, ORIGIN_IGD, V6);
	assert_false(is_host(fixture));
	ask(fixture, REQUEST_ADD, ORIGIN_IGD, C1);
	assert_true(is_host(fixture));
}

static void test_pcp73_third_party(void **state)
{
	static const enum request_op ops[] = {REQUEST_MAP, REQUEST_PEER};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < 2; i++) {
		ask(fixture, ops[i], ORIGIN_PCP, C1)->internal =
			address("192.168.78.9");
		assert_true(is_host(fixture));
		fixture->request.internal =
			address("192.168.79.9"); /* that LAN is gone */
		assert_false(is_host(fixture));
		fixture->request.internal = address(ELSEWHERE);
		assert_false(is_host(fixture));
		fixture->request.internal = address(V6); /* the other family */
		assert_false(is_host(fixture));
		ask(fixture, ops[i], ORIGIN_PCP, V6)->internal =
			address("2001:db8:78::9");
		assert_true(is_host(fixture));
	}
	/* what a host left behind may be deleted when it has gone */
	ask(fixture, REQUEST_UNMAP, ORIGIN_PCP, C1)->internal = address(ELSEWHERE);
	assert_true(is_host(fixture));
}

static void test_pcp84_filters(void **state)
{
	struct fixture *fixture = *state;
	struct request *request = ask(fixture, REQUEST_MAP, ORIGIN_PCP, C1);

	request->filter_count = 1;
	assert_true(prefix_parse("198.51.100.0/24", &request->filters[0].prefix));
	assert_true(is_honest(fixture));
	request->filters[0].prefix.length = 95;
	assert_false(is_honest(fixture));
	request->filters[0].prefix.length = 129;
	assert_false(is_honest(fixture));
	assert_true(prefix_parse("2001:db8::/32", &request->filters[0].prefix));
	assert_false(is_honest(fixture)); /* the other family */
	request->internal = request->client = address(V6);
	assert_true(is_honest(fixture));
	request->filter_count = REQUEST_FILTERS_MAX + 1;
	assert_false(is_honest(fixture));
	request->filter_count = 1;
	request->op = REQUEST_PEER;
	request->remote = address("2001:db8:99::9");
	request->remote_port = 443;
	assert_false(is_honest(fixture)); /* MAP's only */
	request->filter_count = 0;
	assert_true(is_honest(fixture));
	ask(fixture, REQUEST_MAP, ORIGIN_NATPMP, C1)->filter_clear = 1;
	assert_false(is_honest(fixture));
}

static void test_pcp87_peer(void **state)
{
	struct fixture *fixture = *state;
	struct request *request = ask(fixture, REQUEST_PEER, ORIGIN_PCP, C1);

	assert_true(is_honest(fixture));
	request->remote_port = 0;
	assert_false(is_honest(fixture));
	request->remote_port = 443;
	request->remote = address("127.0.0.1");
	assert_false(is_honest(fixture));
	request->remote = address("2001:db8:99::9");
	assert_false(is_honest(fixture));
	request = ask(fixture, REQUEST_MAP, ORIGIN_PCP, C1);
	request->remote_port = 443; /* a port is PEER's */
	assert_false(is_honest(fixture));
}

static void test_pcp116_ports(void **state)
{
	struct fixture *fixture = *state;
	struct request *request = ask(fixture, REQUEST_MAP, ORIGIN_PCP, C1);

	request->port_count = REQUEST_PORTS_MAX;
	request->port_parity = 1;
	assert_true(is_honest(fixture));
	request->port_count++;
	assert_false(is_honest(fixture));
	request->port_count = 1;
	request->port_parity = 2;
	assert_false(is_honest(fixture));
}

/* --- what UPnP adds --- */

static const enum request_op igd_ops[] = {
	REQUEST_ADD_ANY,     REQUEST_DELETE_RANGE,   REQUEST_LIST,
	REQUEST_PINHOLE,     REQUEST_PINHOLE_UPDATE, REQUEST_PINHOLE_DELETE,
	REQUEST_PINHOLE_GET,
};

#define IGD_OPS (sizeof(igd_ops) / sizeof(igd_ops[0]))

static struct request *ask_igd(struct fixture *fixture, enum request_op op,
			       const char *host)
{
	struct request *request = ask(fixture, op, ORIGIN_IGD, host);

	request->lifetime_s = 3600;
	request->igd_version = 2;
	if (op == REQUEST_DELETE_RANGE || op == REQUEST_LIST)
		request->external_last = UINT16_MAX;
	return request;
}

/* Operations of UPnP are UPnP's, and their fields those of no other operation. */
static void test_igd_operations(void **state)
{
	struct fixture *fixture = *state;

	for (size_t i = 0; i < IGD_OPS; i++) {
		const char *host = igd_ops[i] == REQUEST_PINHOLE ? V6 : C1;

		ask_igd(fixture, igd_ops[i], host);
		assert_true(is_honest(fixture) && is_host(fixture));
		fixture->request.origin = ORIGIN_PCP;
		assert_false(is_honest(fixture));
		ask_igd(fixture, igd_ops[i], host)->origin = ORIGIN_NATPMP;
		assert_false(is_honest(fixture));
		ask_igd(fixture, igd_ops[i], host)->after = 1;
		assert_int_equal(is_honest(fixture), igd_ops[i] == REQUEST_LIST);
		ask_igd(fixture, igd_ops[i], host)->external_last = 6000;
		assert_int_equal(is_honest(fixture),
				 igd_ops[i] == REQUEST_DELETE_RANGE ||
					 igd_ops[i] == REQUEST_LIST);
		ask_igd(fixture, igd_ops[i], host)->pinhole = 1;
		assert_int_equal(is_honest(fixture), i > 3);
		ask_igd(fixture, igd_ops[i], host)->igd_version = 3;
		assert_false(is_honest(fixture));
	}
	ask_igd(fixture, REQUEST_TRAFFIC + 1, C1);
	assert_false(is_honest(fixture));
}

/* V6FW-2, V6FW-4, V6FW-5 */
static void test_v6fw5_pinhole(void **state)
{
	struct fixture *fixture = *state;
	struct request *request = ask_igd(fixture, REQUEST_PINHOLE, V6);

	request->remote_port = 443;
	assert_true(is_honest(fixture)); /* of any host */
	request->remote = address("2001:db8:99::9");
	assert_true(is_honest(fixture));
	request->remote = address("198.51.100.9");
	assert_false(is_honest(fixture));
	request->remote = address("ff02::1");
	assert_false(is_honest(fixture));
	ask_igd(fixture, REQUEST_PINHOLE_GET, V6)->remote_port = 443;
	assert_false(is_honest(fixture));
	ask_igd(fixture, REQUEST_PINHOLE, V6)->protocol = 136;
	assert_false(is_honest(fixture));
	ask_igd(fixture, REQUEST_PINHOLE_UPDATE, V6)->protocol = 0;
	assert_true(is_honest(fixture));
	fixture->request.lifetime_s = 0;
	assert_false(is_honest(fixture));
	fixture->request.lifetime_s = REQUEST_PINHOLE_LIFETIME_MAX_S;
	assert_true(is_honest(fixture));
	fixture->request.lifetime_s++;
	assert_false(is_honest(fixture));
	fixture->request.op = REQUEST_PINHOLE_DELETE;
	assert_true(is_honest(fixture));
}

/* CL-18: by WANIPConnection no IPv6, by WANIPv6FirewallControl nothing else. */
static void test_cl18_families(void **state)
{
	struct fixture *fixture = *state;

	ask_igd(fixture, REQUEST_ADD_ANY, V6);
	assert_false(is_host(fixture));
	ask_igd(fixture, REQUEST_ADD_ANY, C1)->internal = address(V6);
	assert_false(is_host(fixture));
	ask_igd(fixture, REQUEST_PINHOLE, C1);
	assert_false(is_host(fixture));
	ask_igd(fixture, REQUEST_PINHOLE, ULA);
	assert_true(is_host(fixture));
}

/* V6FW-3, V6FW-7: for a host of ours, by whichever of its addresses it asks; whether it
 * is the same one is not told here. */
static void test_v6fw3_internal_client(void **state)
{
	struct fixture *fixture = *state;

	ask_igd(fixture, REQUEST_PINHOLE, C1)->internal = address(V6);
	assert_true(is_honest(fixture) && is_host(fixture));
	ask_igd(fixture, REQUEST_PINHOLE, "fe80::2")->internal = address(V6);
	assert_true(is_honest(fixture) && is_host(fixture));
	ask_igd(fixture, REQUEST_PINHOLE, "fe80::2");
	assert_false(is_host(fixture));
	ask_igd(fixture, REQUEST_PINHOLE, V6)->internal = address("2001:db8:ffff::2");
	assert_false(is_host(fixture));
	ask_igd(fixture, REQUEST_PINHOLE, "2001:db8:ffff::2");
	assert_false(is_host(fixture));
	ask_igd(fixture, REQUEST_PINHOLE_GET, "fe80::2");
	assert_true(is_host(fixture));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_pcp2_host_of_the_lan), TEST(test_protocol_is_taken),
		TEST(test_pcp73_third_party),	 TEST(test_pcp84_filters),
		TEST(test_pcp87_peer),		 TEST(test_pcp95_ipv6),
		TEST(test_pcp95_ipv6_of_others), TEST(test_pcp116_ports),
		TEST(test_igd_operations),	 TEST(test_v6fw5_pinhole),
		TEST(test_cl18_families),	 TEST(test_v6fw3_internal_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
