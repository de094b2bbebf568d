/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a lease behaves as a NAT, as `portreeve show` tells (RFC 4787 §4.1, §5, §6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <string.h>

#include "daemon/report_nat.h"

static struct ip_addr get_addr(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

static struct lease make_lease(const char *internal)
{
	return (struct lease){
		.internal = get_addr(internal),
		.client = get_addr(internal),
		.protocol = IPPROTO_UDP,
		.internal_port = 3074,
		.external_port = strchr(internal, ':') ? 3074 : 4074,
		.enabled = true,
		.outbound = true,
	};
}

static struct remote_filter make_filter(const char *text, uint16_t port)
{
	struct remote_filter filter = {.port = port};

	assert_true(prefix_parse(text, &filter.prefix));
	return filter;
}

static void check(const struct nat_behaviour *nat, enum nat_console console,
		  const char *words)
{
	assert_int_equal(nat->console, console);
	assert_non_null(strstr(nat->text, words));
}

static void test_open(void **state)
{
	struct ip_addr external = get_addr("203.0.113.1");
	struct lease lease = make_lease("192.168.1.20");
	struct nat_behaviour nat = report_nat_get(&lease, 4074, &external);

	(void)state;
	assert_true(nat.mapped && nat.hairpin);
	assert_int_equal(nat.filtering, NAT_FILTERING_NONE);
	assert_int_equal(nat.outbound_port, 4074);
	check(&nat, NAT_OPEN, "the same port");
}

static void test_way_out(void **state)
{
	struct ip_addr external = get_addr("203.0.113.1");
	struct lease lease = make_lease("192.168.1.20");
	struct nat_behaviour nat = report_nat_get(&lease, 5000, &external);

	(void)state;
	assert_true(nat.mapped);
	assert_int_equal(nat.outbound_port, 5000);
	check(&nat, NAT_MODERATE, "another port");
	nat = report_nat_get(&lease, 0, &external);
	assert_false(nat.mapped);
	check(&nat, NAT_MODERATE, "any port");
}

static void test_filters(void **state)
{
	struct ip_addr external = get_addr("203.0.113.1");
	struct lease lease = make_lease("192.168.1.20");
	struct remote_filter filters[2];
	struct nat_behaviour nat;

	(void)state;
	filters[0] = make_filter("198.51.100.0/24", 443);
	filters[1] = make_filter("198.51.100.9/32", 0);
	lease.filters = filters;
	lease.filter_count = 1;
	nat = report_nat_get(&lease, 4074, &external);
	assert_int_equal(nat.filtering, NAT_FILTERING_PORT);
	lease.filter_count = 2;
	nat = report_nat_get(&lease, 4074, &external);
	assert_int_equal(nat.filtering, NAT_FILTERING_ADDRESS);
	check(&nat, NAT_MODERATE, "that it names");
	assert_true(nat.mapped && nat.hairpin);
	lease.filter_count = 0;
	lease.remote = get_addr("198.51.100.9");
	nat = report_nat_get(&lease, 4074, &external);
	assert_int_equal(nat.filtering, NAT_FILTERING_ADDRESS);
}

static void test_flow(void **state)
{
	struct ip_addr external = get_addr("203.0.113.1");
	struct lease lease = make_lease("192.168.1.20");
	struct nat_behaviour nat;

	(void)state;
	lease.remote = get_addr("198.51.100.9");
	lease.remote_port = 3478;
	nat = report_nat_get(&lease, 4074, &external);
	assert_int_equal(nat.filtering, NAT_FILTERING_PORT);
	assert_true(nat.mapped);
	assert_false(nat.hairpin);
	check(&nat, NAT_STRICT, "one flow");
}

static void test_pinhole(void **state)
{
	struct lease lease = make_lease("2001:db8::20");
	struct nat_behaviour nat = report_nat_get(&lease, 0, &lease.internal);

	(void)state;
	assert_false(nat.mapped || nat.hairpin);
	assert_int_equal(nat.outbound_port, 3074);
	check(&nat, NAT_OPEN, "the same port");
	/* a unique local address is told as it is; there is no NAT in front */
	lease.internal = get_addr("fd77::2");
	nat = report_nat_get(&lease, 0, &lease.internal);
	check(&nat, NAT_OPEN, "the same port");
	lease.pinhole = 7;
	lease.remote_port = 53;
	nat = report_nat_get(&lease, 0, &lease.internal);
	assert_int_equal(nat.filtering, NAT_FILTERING_PORT);
	check(&nat, NAT_MODERATE, "that it names");
}

static void test_works_not(void **state)
{
	const struct ip_addr none = {0};
	struct ip_addr external = get_addr("100.64.7.8");
	struct lease lease = make_lease("192.168.1.20");
	struct nat_behaviour nat = report_nat_get(&lease, 4074, &none);

	(void)state;
	assert_false(nat.mapped || nat.hairpin);
	assert_int_equal(nat.outbound_port, 0);
	check(&nat, NAT_STRICT, "no external address");
	nat = report_nat_get(&lease, 4074, &external);
	assert_true(nat.mapped && nat.hairpin);
	check(&nat, NAT_STRICT, "private");
	lease.enabled = false;
	nat = report_nat_get(&lease, 4074, &external);
	assert_false(nat.mapped || nat.hairpin);
	check(&nat, NAT_STRICT, "disabled");
}

static void test_json(void **state)
{
	struct ip_addr external = get_addr("203.0.113.1");
	struct lease lease = make_lease("192.168.1.20");
	struct nat_behaviour nat = report_nat_get(&lease, 4074, &external);
	struct json_object *object = report_nat_new(&nat);

	(void)state;
	assert_non_null(object);
	assert_string_equal(
		json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN),
		"{\"mapping\":\"endpoint-independent\","
		"\"filtering\":\"endpoint-independent\",\"outbound_port\":4074,"
		"\"hairpin\":true,\"console\":\"open\",\"text\":\"anybody can reach "
		"it, and what it sends leaves with the same port\"}");
	json_object_put(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),	cmocka_unit_test(test_way_out),
		cmocka_unit_test(test_filters), cmocka_unit_test(test_flow),
		cmocka_unit_test(test_pinhole), cmocka_unit_test(test_works_not),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
