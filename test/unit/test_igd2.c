/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WANIPConnection:2, and what a request of version 1 is answered beside it. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/igd.h"
#include "test/unit/igd_lab.h"

#define WANIP "urn:schemas-upnp-org:service:WANIPConnection:"

static const struct igd_lab_arg add_args[] = {
	{"NewRemoteHost", ""},
	{"NewExternalPort", "3074"},
	{"NewProtocol", "UDP"},
	{"NewInternalPort", "3075"},
	{"NewInternalClient", LAB_CLIENT},
	{"NewEnabled", "1"},
	{"NewPortMappingDescription", "game"},
	{"NewLeaseDuration", "3600"},
	{NULL, NULL},
};

static const struct igd_lab_arg range_args[] = {
	{"NewStartPort", "1024"}, {"NewEndPort", "2048"},    {"NewProtocol", "TCP"},
	{"NewManage", "1"},	  {"NewNumberOfPorts", "0"}, {NULL, NULL},
};

static uint16_t call(const char *action, const struct igd_lab_arg *args,
		     struct igd_lab_arg instead)
{
	return igd_lab_error(igd_get_wanip2(), action, igd_lab_args(args, &instead));
}

static struct request ask(const char *action, const struct igd_lab_arg *args,
			  struct igd_lab_arg instead)
{
	return igd_lab_request(igd_get_wanip2(), action, igd_lab_args(args, &instead));
}

/* IGD-5, IGD-16, IGD-20, IGD-25: what core is asked */
static void test_add_any(void **state)
{
	struct request request =
		ask("AddAnyPortMapping", add_args, (struct igd_lab_arg){"", ""});
	struct ip_addr client = igd_lab_addr(LAB_CLIENT);

	(void)state;
	assert_int_equal(request.op, REQUEST_ADD_ANY);
	assert_int_equal(request.igd_version, 2);
	assert_int_equal(request.prefer_failure, 0);
	assert_int_equal(request.external_port, 3074);
	assert_int_equal(request.internal_port, 3075);
	assert_int_equal(request.lifetime_s, 3600);
	assert_true(addr_equal(&request.internal, &client));
	assert_string_equal(request.description, "game");
	request = ask("AddAnyPortMapping", add_args,
		      (struct igd_lab_arg){"NewExternalPort", "0"});
	assert_int_equal(request.external_port, 0);
	request = ask("AddPortMapping", add_args, (struct igd_lab_arg){"", ""});
	assert_int_equal(request.op, REQUEST_ADD);
	assert_int_equal(request.igd_version, 2);
	assert_int_equal(request.prefer_failure, 1);
}

/* SOAP-4, IGD-17, IGD-18, IGD-19, IGD-20, CL-18: the codes of version 2 */
static void test_add_errors(void **state)
{
	static const char *const actions[] = {"AddPortMapping", "AddAnyPortMapping"};
	static const struct igd_lab_row rows[] = {
		{{"NewRemoteHost", "host.example"}, 402},
		{{"NewRemoteHost", "2001:db8::1"}, 402},
		{{"NewExternalPort", "65536"}, 601},
		{{"NewProtocol", "FOO"}, 601},
		{{"NewProtocol", NULL}, 402},
		{{"NewInternalPort", "0"}, 732},
		{{"NewInternalPort", "65536"}, 601},
		{{"NewInternalClient", "fe80::1"}, 402},
		{{"NewInternalClient", "myhost"}, 402},
		{{"NewEnabled", "2"}, 402},
		{{"NewLeaseDuration", "4294967296"}, 601},
		{{"NewLeaseDuration", "-1"}, 402},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++)
		igd_lab_assert_rows(igd_get_wanip2(), actions[i], add_args, rows,
				    sizeof(rows) / sizeof(rows[0]));
	assert_int_equal(call("AddPortMapping", add_args,
			      (struct igd_lab_arg){"NewExternalPort", "0"}),
			 716);
	igd_lab_get()->wan.nat = 0;
	assert_int_equal(
		call("AddAnyPortMapping", add_args, (struct igd_lab_arg){"", ""}), 501);
}

/* SOAP-4: what is behind much white space is not lost without a word */
static void test_long_arguments(void **state)
{
	static const struct {
		const char *name, *start;
		uint16_t error;
	} rows[] = {
		{"NewRemoteHost", "203.0.113.9", 402},
		{"NewRemoteHost", "", 402},
		{"NewProtocol", "UDP", 402},
		{"NewInternalPort", "80", 402},
		{"NewInternalClient", LAB_CLIENT, 402},
		{"NewEnabled", "1", 402},
		{"NewPortMappingDescription", "game", 0},
	};
	char value[SOAP_VALUE_MAX + 64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct igd_lab_arg arg = {rows[i].name, value};

		/* as much as is kept, then one more */
		(void)snprintf(value, sizeof(value), "%-*s", SOAP_VALUE_MAX,
			       rows[i].start);
		assert_int_equal(call("AddPortMapping", add_args, arg), 0);
		(void)snprintf(value, sizeof(value), "%-*sx", SOAP_VALUE_MAX,
			       rows[i].start);
		assert_int_equal(call("AddPortMapping", add_args, arg), rows[i].error);
		assert_int_equal(call("AddAnyPortMapping", add_args, arg),
				 rows[i].error);
	}
}

/* IGD-14: both ways to add, both versions */
static void test_lease(void **state)
{
	(void)state;
	igd_lab_assert_leases(igd_get_wanip2(), "AddPortMapping", add_args);
	igd_lab_assert_leases(igd_get_wanip2(), "AddAnyPortMapping", add_args);
}

/* IGD-33, IGD-34: Manage is nobody's here; the range reaches core as it is */
static void test_ranges(void **state)
{
	static const struct {
		const char *action;
		enum request_op op;
	} rows[] = {
		{"DeletePortMappingRange", REQUEST_DELETE_RANGE},
		{"GetListOfPortMappings", REQUEST_LIST},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct request request =
			ask(rows[i].action, range_args, (struct igd_lab_arg){"", ""});

		assert_int_equal(request.op, rows[i].op);
		assert_int_equal(request.external_port, 1024);
		assert_int_equal(request.external_last, 2048);
		assert_int_equal(request.protocol, IPPROTO_TCP);
		assert_int_equal(request.igd_version, 2);
		assert_int_equal(request.after, 0);
		request = ask(rows[i].action, range_args,
			      (struct igd_lab_arg){"NewStartPort", "0"});
		assert_int_equal(request.external_port, 1);
		request = ask(rows[i].action, range_args,
			      (struct igd_lab_arg){"NewStartPort", "2048"});
		assert_int_equal(request.external_port, 2048);
	}
	assert_int_equal(ask("GetListOfPortMappings", range_args,
			     (struct igd_lab_arg){"NewNumberOfPorts", "77"})
				 .index,
			 77);
}

/* IGD-33, SOAP-4 */
static void test_range_errors(void **state)
{
	static const char *const actions[] = {"DeletePortMappingRange",
					      "GetListOfPortMappings"};
	static const struct igd_lab_row rows[] = {
		{{"NewStartPort", "2049"}, 733}, {{"NewEndPort", "0"}, 733},
		{{"NewStartPort", NULL}, 402},	 {{"NewEndPort", "65536"}, 601},
		{{"NewProtocol", "ICMP"}, 601},	 {{"NewManage", "maybe"}, 402},
		{{"NewManage", NULL}, 402},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		igd_lab_assert_rows(igd_get_wanip2(), actions[i], range_args, rows,
				    sizeof(rows) / sizeof(rows[0]));
		assert_int_equal(igd_lab_error(igd_get_wanip2(), actions[i],
					       "<NewStartPort>0</NewStartPort>"
					       "<NewEndPort>0</NewEndPort>"
					       "<NewProtocol>UDP</NewProtocol>"
					       "<NewManage>0</NewManage>"
					       "<NewNumberOfPorts>0"
					       "</NewNumberOfPorts>"),
				 730);
	}
}

static uint16_t reply_error(const char *action, enum request_op op, enum result result)
{
	static struct igd_answer answer;
	struct reply reply = {.op = (uint8_t)op, .result = (uint8_t)result};

	return igd_lab_finish(igd_get_wanip2(), action, &reply, &answer);
}

/* IGD-21, IGD-22, IGD-23, IGD-24, IGD-25, IGD-32, IGD-33, IGD-34, IGD-42 */
static void test_codes(void **state)
{
	static const struct {
		const char *action;
		enum request_op op;
		enum result result;
		uint16_t error;
	} rows[] = {
		{"AddPortMapping", REQUEST_ADD, RESULT_OK, 0},
		{"AddPortMapping", REQUEST_ADD, RESULT_DENIED, 606},
		{"AddPortMapping", REQUEST_ADD, RESULT_THIRD_PARTY, 606},
		{"AddPortMapping", REQUEST_ADD, RESULT_FOREIGN, 606},
		{"AddPortMapping", REQUEST_ADD, RESULT_BAD_CLIENT, 606},
		{"AddPortMapping", REQUEST_ADD, RESULT_CONFLICT, 718},
		{"AddAnyPortMapping", REQUEST_ADD_ANY, RESULT_NO_PORT, 728},
		{"AddAnyPortMapping", REQUEST_ADD_ANY, RESULT_QUOTA, 728},
		{"DeletePortMapping", REQUEST_DELETE, RESULT_FOREIGN, 606},
		{"DeletePortMapping", REQUEST_DELETE, RESULT_NO_ENTRY, 714},
		{"DeletePortMappingRange", REQUEST_DELETE_RANGE, RESULT_NO_ENTRY, 730},
		{"GetListOfPortMappings", REQUEST_LIST, RESULT_NO_ENTRY, 730},
		{"GetSpecificPortMappingEntry", REQUEST_GET, RESULT_FOREIGN, 606},
		{"GetSpecificPortMappingEntry", REQUEST_GET, RESULT_NO_ENTRY, 714},
		{"GetGenericPortMappingEntry", REQUEST_INDEX, RESULT_NO_INDEX, 713},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(
			reply_error(rows[i].action, rows[i].op, rows[i].result),
			rows[i].error);
	for (unsigned int i = 0; i < RESULT_COUNT; i++) {
		uint16_t error =
			reply_error("AddPortMapping", REQUEST_ADD, (enum result)i);

		assert_true(error < 724 || error > 727);
	}
}

/* IGD-5: a call of version 1 has version 1's rules wherever it arrives */
static void test_version_1_rules(void **state)
{
	static struct igd_answer answer;
	struct reply reply = {.op = REQUEST_DELETE, .result = RESULT_FOREIGN};

	(void)state;
	igd_lab_get()->version = 1;
	assert_int_equal(call("AddPortMapping", add_args,
			      (struct igd_lab_arg){"NewInternalPort", "0"}),
			 402);
	assert_int_equal(ask("AddPortMapping", add_args, (struct igd_lab_arg){"", ""})
				 .igd_version,
			 1);
	assert_int_equal(
		igd_lab_finish(igd_get_wanip2(), "DeletePortMapping", &reply, &answer),
		714);
	reply = (struct reply){.op = REQUEST_ADD, .result = RESULT_DENIED};
	assert_int_equal(
		igd_lab_finish(igd_get_wanip2(), "AddPortMapping", &reply, &answer),
		718);
}

/* IGD-25, IGD-27, IGD-31 */
static void test_finish(void **state)
{
	static struct igd_answer answer;
	struct reply reply = {
		.op = REQUEST_ADD_ANY,
		.external_port = 51413,
		.lifetime_s = 77,
		.origin = ORIGIN_IGD,
	};

	(void)state;
	reply.internal = igd_lab_addr(LAB_CLIENT);
	assert_int_equal(
		igd_lab_finish(igd_get_wanip2(), "AddAnyPortMapping", &reply, &answer),
		0);
	assert_int_equal(answer.output.count, 1);
	assert_string_equal(igd_output_get(&answer.output, 0), "51413");
	reply.op = REQUEST_GET;
	(void)igd_lab_finish(igd_get_wanip2(), "GetSpecificPortMappingEntry", &reply,
			     &answer);
	assert_string_equal(igd_output_get(&answer.output, 4), "77");
	/* without an end: the longest that version 2 knows */
	reply.origin = ORIGIN_STATIC;
	(void)igd_lab_finish(igd_get_wanip2(), "GetSpecificPortMappingEntry", &reply,
			     &answer);
	assert_string_equal(igd_output_get(&answer.output, 4), "604800");
}

/* IGD-39 */
static void test_connection(void **state)
{
	const struct igd_service *service = igd_get_wanip2();

	(void)state;
	assert_int_equal(
		igd_lab_error(service, "SetConnectionType",
			      "<NewConnectionType>IP_Routed</NewConnectionType>"),
		731);
	assert_int_equal(igd_lab_error(service, "SetConnectionType",
				       "<NewConnectionType>PPPoE</NewConnectionType>"),
			 601);
	assert_int_equal(igd_lab_error(service, "RequestConnection", ""), 0);
	assert_int_equal(igd_lab_error(service, "ForceTermination", ""), 606);
	igd_lab_get()->wan.up_since_ms = 0;
	assert_int_equal(igd_lab_error(service, "RequestConnection", ""), 704);
	assert_int_equal(igd_lab_error(service, "ForceTermination", ""), 711);
}

/* IGD-2, SOAP-2 */
static void test_types(void **state)
{
	const struct igd_service *service = igd_get_wanip2();

	(void)state;
	assert_int_equal(igd_service_parse_type(service, WANIP "1"), 1);
	assert_int_equal(igd_service_parse_type(service, WANIP "2"), 2);
	assert_int_equal(igd_service_parse_type(service, WANIP "3"), 0);
	assert_int_equal(igd_service_parse_type(service, WANIP "0"), 0);
	assert_int_equal(igd_service_parse_type(service, WANIP "02"), 0);
	assert_int_equal(igd_service_parse_type(igd_get_wanip1(), WANIP "2"), 0);
}

/* DESC-7: version 1 does not know what came later */
static void test_since(void **state)
{
	static const char *const names[] = {
		"AddAnyPortMapping", "DeletePortMappingRange", "GetListOfPortMappings"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_null(igd_service_find_action(igd_get_wanip1(), names[i]));
		assert_non_null(igd_service_find_action(igd_get_wanip2(), names[i]));
	}
	assert_null(igd_service_find_var(igd_get_wanip1(), "SystemUpdateID"));
	assert_null(igd_service_find_var(igd_get_wanip1(), "A_ARG_TYPE_Manage"));
}

static const char *query(const struct igd_service *service, const char *name)
{
	static struct igd_answer answer;
	const struct igd_action *action;

	igd_lab_query(service, name, &action, &answer);
	assert_int_equal(answer.state, IGD_DONE);
	return igd_output_get(&answer.output, 0);
}

/* IGD-36, SOAP-9: the table as core told of it */
static void test_table(void **state)
{
	static struct igd_answer answer;
	const struct igd_action *action;

	(void)state;
	igd_lab_get()->table.update_ids[igd_lab_get()->lan.lan] = UINT32_MAX;
	igd_lab_get()->table.entries[2] = 12;
	igd_lab_get()->table.entries[1] = 99;
	assert_string_equal(query(igd_get_wanip2(), "SystemUpdateID"), "4294967295");
	assert_string_equal(query(igd_get_wanip2(), "PortMappingNumberOfEntries"),
			    "12");
	assert_string_equal(query(igd_get_wanip1(), "PortMappingNumberOfEntries"),
			    "12");
	igd_lab_get()->table.entries[2] = 70000;
	assert_string_equal(query(igd_get_wanip1(), "PortMappingNumberOfEntries"),
			    "65535");
	igd_lab_query(igd_get_wanip1(), "SystemUpdateID", &action, &answer);
	assert_int_equal(answer.error, 404);
}

/* SOAP-8: 255 octets of what is hard to write, in what lists one entry */
static void test_description(void **state)
{
	static char expected[DESCRIPTION_MAX + 1];
	static struct igd_answer answer;
	struct reply reply = {.op = REQUEST_GET, .origin = ORIGIN_IGD};
	size_t used = 0;

	(void)state;
	while (used + 8 <= DESCRIPTION_MAX)
		used += (size_t)snprintf(expected + used, sizeof(expected) - used,
					 "]]>&\"'\xc3\xa9");
	memset(expected + used, 'x', DESCRIPTION_MAX - used);
	memcpy(reply.description, expected, sizeof(expected));
	reply.internal = igd_lab_addr(LAB_CLIENT);
	(void)igd_lab_finish(igd_get_wanip2(), "GetSpecificPortMappingEntry", &reply,
			     &answer);
	assert_string_equal(igd_output_get(&answer.output, 3), expected);
	(void)igd_lab_finish(igd_get_wanip1(), "GetGenericPortMappingEntry", &reply,
			     &answer);
	assert_string_equal(igd_output_get(&answer.output, 6), expected);
	/* what another protocol let in is cleaned on the way out */
	(void)snprintf(reply.description, sizeof(reply.description),
		       "a\x01\x7f"
		       "b\xef\xbf\xbf");
	(void)igd_lab_finish(igd_get_wanip1(), "GetGenericPortMappingEntry", &reply,
			     &answer);
	assert_string_equal(igd_output_get(&answer.output, 6), "ab");
}

#define TEST(name) cmocka_unit_test_setup(name, igd_lab_setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_add_any),	    TEST(test_add_errors),
		TEST(test_lease),	    TEST(test_ranges),
		TEST(test_range_errors),    TEST(test_codes),
		TEST(test_version_1_rules), TEST(test_finish),
		TEST(test_connection),	    TEST(test_types),
		TEST(test_since),	    TEST(test_table),
		TEST(test_description),	    TEST(test_long_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
