/* SPDX-License-Identifier: GPL-2.0-or-later */
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

#define WANIP "urn:schemas-upnp-org:service:WANIPConnection:1"
#define DEFAULT_CONNECTION LAB_DEFAULT_CONNECTION
#define CLIENT LAB_CLIENT

static const struct igd_lab_arg add_args[] = {
	{"NewLeaseDuration", "3600"},
	{"NewRemoteHost", ""},
	{"NewExternalPort", "3074"},
	{"NewProtocol", "UDP"},
	{"NewInternalPort", "3075"},
	{"NewInternalClient", CLIENT},
	{"NewEnabled", "1"},
	{"Extra", "ignored"},
	{"NewPortMappingDescription", "game"},
	{NULL, NULL},
};

/* AddPortMapping with one argument replaced; value NULL leaves it out. */
static uint16_t add_with(const char *name, const char *value, struct request *request)
{
	const struct igd_lab_arg instead = {name, value};
	static struct igd_answer answer;

	igd_lab_run(igd_get_wanip1(), "AddPortMapping",
		    igd_lab_args(add_args, &instead), &answer);
	if (answer.state == IGD_FAULT)
		return answer.error;
	assert_int_equal(answer.state, IGD_ASK);
	if (request)
		*request = answer.request;
	return 0;
}

/* IGD-10, IGD-21, SOAP-3: arguments in any order become the request */
static void test_add(void **state)
{
	struct request request = {0};
	struct ip_addr client = igd_lab_addr(CLIENT);

	(void)state;
	assert_int_equal(add_with("", NULL, &request), 0);
	assert_int_equal(request.op, REQUEST_ADD);
	assert_int_equal(request.origin, ORIGIN_IGD);
	assert_int_equal(request.igd_version, 1);
	assert_int_equal(request.prefer_failure, 1);
	assert_int_equal(request.lan, 2);
	assert_int_equal(request.ifindex, 7);
	assert_int_equal(request.protocol, IPPROTO_UDP);
	assert_int_equal(request.external_port, 3074);
	assert_int_equal(request.internal_port, 3075);
	assert_int_equal(request.lifetime_s, 3600);
	assert_true(addr_is_none(&request.remote));
	assert_int_equal(request.enabled, 1);
	assert_true(addr_equal(&request.client, &client));
	assert_true(addr_equal(&request.internal, &client));
	assert_string_equal(request.description, "game");
}

/* SOAP-4, IGD-17, IGD-18, IGD-19, IGD-20, CL-18: what each bad argument is answered */
static void test_add_errors(void **state)
{
	static const struct igd_lab_row rows[] = {
		{{"NewRemoteHost", NULL}, 402},
		{{"NewRemoteHost", "host.example"}, 402},
		{{"NewRemoteHost", "2001:db8::1"}, 402},
		{{"NewRemoteHost", "127.0.0.1"}, 402},
		{{"NewRemoteHost", "224.0.0.1"}, 402},
		{{"NewRemoteHost", "1.2.3"}, 402},
		{{"NewExternalPort", NULL}, 402},
		{{"NewExternalPort", ""}, 402},
		{{"NewExternalPort", "0"}, 716},
		{{"NewExternalPort", "-1"}, 402},
		{{"NewExternalPort", "+80"}, 402},
		{{"NewExternalPort", "0x50"}, 402},
		{{"NewExternalPort", "80 81"}, 402},
		{{"NewExternalPort", "65536"}, 601},
		{{"NewExternalPort", "65616"}, 601},
		{{"NewExternalPort", "99999999999999999999999999"}, 601},
		{{"NewProtocol", NULL}, 402},
		{{"NewProtocol", "FOO"}, 601},
		{{"NewProtocol", ""}, 601},
		{{"NewProtocol", "TCPUDP"}, 601},
		{{"NewInternalPort", NULL}, 402},
		{{"NewInternalPort", "0"}, 402},
		{{"NewInternalPort", "65536"}, 601},
		{{"NewInternalClient", NULL}, 402},
		{{"NewInternalClient", "fe80::1"}, 402},
		{{"NewInternalClient", "0.0.0.0"}, 402},
		{{"NewInternalClient", "myhost"}, 402},
		{{"NewInternalClient", "192.168.1.20:80"}, 402},
		{{"NewEnabled", NULL}, 402},
		{{"NewEnabled", "2"}, 402},
		{{"NewEnabled", ""}, 402},
		{{"NewPortMappingDescription", NULL}, 402},
		{{"NewLeaseDuration", NULL}, 402},
		{{"NewLeaseDuration", ""}, 402},
		{{"NewLeaseDuration", "4294967296"}, 601},
		{{"NewLeaseDuration", "1.5"}, 402},
	};

	(void)state;
	igd_lab_assert_rows(igd_get_wanip1(), "AddPortMapping", add_args, rows,
			    sizeof(rows) / sizeof(rows[0]));
	/* SOAP-3: the same argument twice means nothing */
	assert_int_equal(add_with("Extra",
				  "</Extra><NewProtocol>TCP</NewProtocol><Extra>",
				  NULL),
			 402);
}

/* NP-5: a gateway that does not translate grants nothing, and still lists */
static void test_add_without_nat(void **state)
{
	static struct igd_answer answer;

	(void)state;
	igd_lab_get()->wan.nat = 0;
	assert_int_equal(add_with("", NULL, NULL), 501);
	assert_int_equal(add_with("NewProtocol", "FOO", NULL), 601);
	igd_lab_run(igd_get_wanip1(), "GetGenericPortMappingEntry",
		    "<NewPortMappingIndex>0</NewPortMappingIndex>", &answer);
	assert_int_equal(answer.state, IGD_ASK);
}

/* IGD-14, IGD-15, CL-29 */
static void test_add_lease(void **state)
{
	(void)state;
	igd_lab_assert_leases(igd_get_wanip1(), "AddPortMapping", add_args);
}

/* IGD-16, IGD-17 */
static void test_add_remote_host(void **state)
{
	static const char *const any[] = {"", "*", "0.0.0.0", "  "};
	struct request request = {0};
	struct ip_addr remote = igd_lab_addr("198.51.100.7");

	(void)state;
	for (size_t i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
		assert_int_equal(add_with("NewRemoteHost", any[i], &request), 0);
		assert_true(addr_is_none(&request.remote));
	}
	assert_int_equal(add_with("NewRemoteHost", "198.51.100.7", &request), 0);
	assert_true(addr_equal(&request.remote, &remote));
}

/* IGD-18, IGD-19, IGD-21, IGD-26, SOAP-4: the lenient forms */
static void test_add_forms(void **state)
{
	static const char *const no[] = {"0", "false", "no", "False"};
	static const char *const yes[] = {"1", "true", "yes", "TRUE"};
	struct ip_addr client = igd_lab_addr(CLIENT);
	struct ip_addr other = igd_lab_addr("192.168.1.21");
	struct request request = {0};

	(void)state;
	assert_int_equal(add_with("NewProtocol", "tcp", &request), 0);
	assert_int_equal(request.protocol, IPPROTO_TCP);
	assert_int_equal(add_with("NewInternalClient", "", &request), 0);
	assert_true(addr_equal(&request.internal, &client));
	assert_int_equal(add_with("NewInternalClient", "192.168.1.21", &request), 0);
	assert_true(addr_equal(&request.internal, &other));
	assert_true(addr_equal(&request.client, &client));
	/* CL-18: who asks over IPv6 is no host that an IPv4 port could lead to */
	igd_lab_get()->client = igd_lab_addr(LAB_CLIENT6);
	assert_int_equal(add_with("NewInternalClient", "", &request), 402);
	igd_lab_get()->client = client;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(add_with("NewEnabled", no[i], &request), 0);
		assert_int_equal(request.enabled, 0);
		assert_int_equal(add_with("NewEnabled", yes[i], &request), 0);
		assert_int_equal(request.enabled, 1);
	}
}

/* SOAP-8, CL-17 */
static void test_add_description(void **state)
{
	static char text[4097];
	struct request request = {0};

	(void)state;
	assert_int_equal(add_with("NewPortMappingDescription", "", &request), 0);
	assert_string_equal(request.description, "");
	assert_int_equal(add_with("NewPortMappingDescription",
				  "a&#9;b &amp; &quot;c&quot; &gt;", &request),
			 0);
	assert_string_equal(request.description, "ab & \"c\" >");
	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa9", 3);
	assert_int_equal(add_with("NewPortMappingDescription", text, &request), 0);
	assert_int_equal(strlen(request.description), 254); /* not half a character */
}

/* IGD-10, IGD-30, IGD-31, IGD-32, CL-27, CL-28 */
static void test_keys(void **state)
{
	static const char key[] =
		"<NewRemoteHost/><NewExternalPort>80</NewExternalPort>"
		"<NewProtocol>TCP</NewProtocol>";
	static const char zero[] =
		"<NewRemoteHost/><NewExternalPort>0</NewExternalPort>"
		"<NewProtocol>TCP</NewProtocol>";
	static const char *const names[] = {"GetSpecificPortMappingEntry",
					    "DeletePortMapping"};
	static const enum request_op ops[] = {REQUEST_GET, REQUEST_DELETE};
	static struct igd_answer answer;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		igd_lab_run(igd_get_wanip1(), names[i], key, &answer);
		assert_int_equal(answer.state, IGD_ASK);
		assert_int_equal(answer.request.op, ops[i]);
		assert_int_equal(answer.request.external_port, 80);
		assert_int_equal(answer.request.protocol, IPPROTO_TCP);
		assert_int_equal(igd_lab_error(igd_get_wanip1(), names[i], zero), 714);
		assert_int_equal(igd_lab_error(igd_get_wanip1(), names[i], ""), 402);
	}
	igd_lab_run(igd_get_wanip1(), "GetGenericPortMappingEntry",
		    "<NewPortMappingIndex>65535</NewPortMappingIndex>", &answer);
	assert_int_equal(answer.state, IGD_ASK);
	assert_int_equal(answer.request.op, REQUEST_INDEX);
	assert_int_equal(answer.request.index, 65535);
	assert_int_equal(igd_lab_error(igd_get_wanip1(), "GetGenericPortMappingEntry",
				       "<NewPortMappingIndex>-1</NewPortMappingIndex>"),
			 402);
	assert_int_equal(
		igd_lab_error(igd_get_wanip1(), "GetGenericPortMappingEntry",
			      "<NewPortMappingIndex>65536</NewPortMappingIndex>"),
		713);
}

static uint16_t finish(const char *name, const struct reply *reply,
		       struct igd_answer *answer)
{
	return igd_lab_finish(igd_get_wanip1(), name, reply, answer);
}

/* IGD-5, IGD-21, IGD-22, IGD-24, IGD-32, IGD-42: the codes of version 1, never 606 or
 * 725 */
static void test_finish_errors(void **state)
{
	static struct igd_answer answer;

	(void)state;
	for (unsigned int i = 0; i < RESULT_COUNT; i++) {
		struct reply reply = {.result = (uint8_t)i};
		uint16_t error = finish("AddPortMapping", &reply, &answer);

		assert_int_equal(error == 0, i == RESULT_OK);
		assert_true(error != 606 && (error < 724 || error > 729));
	}
	assert_int_equal(finish("AddPortMapping",
				&(struct reply){.result = RESULT_COUNT}, &answer),
			 501);
	assert_int_equal(finish("AddPortMapping",
				&(struct reply){.result = RESULT_CONFLICT}, &answer),
			 718);
	/* over the lease of another, or one that a nonce guards: both are told */
	assert_int_equal(
		finish("AddPortMapping",
		       &(struct reply){.op = REQUEST_ADD, .result = RESULT_FOREIGN},
		       &answer),
		718);
	assert_int_equal(
		finish("DeletePortMapping",
		       &(struct reply){.op = REQUEST_DELETE, .result = RESULT_FOREIGN},
		       &answer),
		714);
	assert_int_equal(finish("GetGenericPortMappingEntry",
				&(struct reply){.result = RESULT_NO_INDEX}, &answer),
			 713);
	assert_int_equal(finish("DeletePortMapping",
				&(struct reply){.result = RESULT_NO_ENTRY}, &answer),
			 714);
}

/* IGD-27, IGD-31, SOAP-5 */
static void test_finish_entry(void **state)
{
	static const char *const expected[] = {
		"198.51.100.7", "8080", "UDP", "80", "192.168.1.30", "0", "what", "59",
	};
	static struct igd_answer answer;
	struct reply reply = {
		.protocol = IPPROTO_UDP,
		.internal_port = 80,
		.external_port = 8080,
		.lifetime_s = 59,
		.origin = ORIGIN_PCP,
		.description = "what",
	};

	(void)state;
	reply.internal = igd_lab_addr("192.168.1.30");
	reply.remote = igd_lab_addr("198.51.100.7");
	assert_int_equal(finish("GetGenericPortMappingEntry", &reply, &answer), 0);
	assert_int_equal(answer.output.count, 8);
	for (size_t i = 0; i < 8; i++)
		assert_string_equal(igd_output_get(&answer.output, i), expected[i]);
	assert_int_equal(finish("GetSpecificPortMappingEntry", &reply, &answer), 0);
	assert_int_equal(answer.output.count, 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(igd_output_get(&answer.output, i), expected[i + 3]);
	reply.origin = ORIGIN_STATIC;
	assert_int_equal(finish("GetSpecificPortMappingEntry", &reply, &answer), 0);
	assert_string_equal(igd_output_get(&answer.output, 4), "0");
}

/* IGD-37, IGD-38, IGD-40, IGD-51, CL-19, CL-22 */
static void test_state(void **state)
{
	static struct igd_answer answer;

	(void)state;
	igd_lab_run(igd_get_wanip1(), "GetStatusInfo", "", &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), "Connected");
	assert_string_equal(igd_output_get(&answer.output, 1), "ERROR_NONE");
	assert_string_equal(igd_output_get(&answer.output, 2), "10");
	igd_lab_run(igd_get_wanip1(), "GetExternalIPAddress", "", &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), "203.0.113.9");
	igd_lab_run(igd_get_wanip1(), "GetNATRSIPStatus", "", &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), "0");
	assert_string_equal(igd_output_get(&answer.output, 1), "1");
	igd_lab_run(igd_get_wanip1(), "GetConnectionTypeInfo", "", &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), "IP_Routed");
	igd_lab_get()->wan.bit_rate_up = UINT64_C(10000000000);
	igd_lab_run(igd_get_wancic1(), "GetCommonLinkProperties", "", &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), "Ethernet");
	assert_string_equal(igd_output_get(&answer.output, 1), "4294967295");
	assert_string_equal(igd_output_get(&answer.output, 2), "5");
	assert_string_equal(igd_output_get(&answer.output, 3), "Up");
	igd_lab_get()->wan = (struct wan_info){.carrier = 0};
	igd_lab_run(igd_get_wanip1(), "GetStatusInfo", "", &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), "Disconnected");
	assert_string_equal(igd_output_get(&answer.output, 2), "0");
	igd_lab_run(igd_get_wanip1(), "GetExternalIPAddress", "", &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), "");
	igd_lab_get()->wan.external = igd_lab_addr("0.0.0.0");
	igd_lab_run(igd_get_wanip1(), "GetExternalIPAddress", "", &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), "");
}

/* IGD-50, CL-24 */
static void test_counters(void **state)
{
	static const struct {
		const char *name;
		const char *value;
	} rows[] = {
		{"GetTotalBytesSent", "1"},
		{"GetTotalBytesReceived", "4294967295"},
		{"GetTotalPacketsSent", "7"},
		{"GetTotalPacketsReceived", "0"},
	};
	const struct reply reply = {
		.octets_out = UINT64_C(0x100000001),
		.octets_in = UINT64_C(0xffffffff),
		.packets_out = 7,
		.packets_in = UINT64_C(0x200000000),
	};
	static struct igd_answer answer;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const struct igd_service *service = igd_get_wancic1();

		igd_lab_run(service, rows[i].name, "", &answer);
		assert_int_equal(answer.state, IGD_ASK);
		assert_int_equal(answer.request.op, REQUEST_TRAFFIC);
		(void)igd_lab_finish(service, rows[i].name, &reply, &answer);
		assert_string_equal(igd_output_get(&answer.output, 0), rows[i].value);
	}
}

/* IGD-39 */
static void test_connection(void **state)
{
	const struct igd_service *service = igd_get_wanip1();

	(void)state;
	assert_int_equal(igd_lab_error(service, "RequestConnection", ""), 0);
	assert_int_equal(igd_lab_error(service, "ForceTermination", ""), 501);
	assert_int_equal(
		igd_lab_error(service, "SetConnectionType",
			      "<NewConnectionType>IP_Routed</NewConnectionType>"),
		703);
	assert_int_equal(igd_lab_error(service, "SetConnectionType", ""), 402);
	igd_lab_get()->wan.up_since_ms = 0;
	assert_int_equal(igd_lab_error(service, "RequestConnection", ""), 704);
	assert_int_equal(igd_lab_error(service, "ForceTermination", ""), 711);
}

static uint16_t set_default(const char *value)
{
	char args[512];

	(void)snprintf(args, sizeof(args),
		       "<NewDefaultConnectionService>%s</NewDefaultConnectionService>",
		       value);
	return igd_lab_error(igd_get_l3f1(), "SetDefaultConnectionService", args);
}

/* IGD-60, IGD-61 */
static void test_default_connection(void **state)
{
	static struct igd_answer answer;
	static const char device[] =
		"uuid:01000000-0000-0000-0000-000000000012:WANConnectionDevice:1,";
	static const char *const others[] = {"WANCommonIFC1", "L3Forwarding1",
					     "WANIPv6Firewall1"};
	char value[256];

	(void)state;
	igd_lab_run(igd_get_l3f1(), "GetDefaultConnectionService", "", &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), DEFAULT_CONNECTION);
	assert_int_equal(set_default(DEFAULT_CONNECTION), 0);
	assert_int_equal(set_default(""), 402);
	assert_int_equal(set_default("uuid:2:x:1,urn:upnp-org:serviceId:WANIPConn1"),
			 720);
	assert_int_equal(set_default("nonsense"), 720);
	(void)snprintf(value, sizeof(value), "%surn:upnp-org:serviceId:Other1", device);
	assert_int_equal(set_default(value), 721);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		(void)snprintf(value, sizeof(value), "%surn:upnp-org:serviceId:%s",
			       device, others[i]);
		assert_int_equal(set_default(value), 723);
	}
	assert_int_equal(
		igd_lab_error(igd_get_l3f1(), "SetDefaultConnectionService", ""), 402);
}

/* SOAP-2 */
static void test_types(void **state)
{
	const struct igd_service *service = igd_get_wanip1();

	(void)state;
	assert_int_equal(igd_service_parse_type(service, WANIP), 1);
	assert_int_equal(
		igd_service_parse_type(
			service, "urn:schemas-upnp-org:service:WANIPConnection:2"),
		0);
	assert_int_equal(
		igd_service_parse_type(
			service, "urn:schemas-upnp-org:service:WANIPConnection:01"),
		0);
	assert_int_equal(
		igd_service_parse_type(service,
				       "urn:schemas-upnp-org:service:WANIPConnection:"),
		0);
	assert_int_equal(
		igd_service_parse_type(service,
				       "urn:schemas-upnp-org:service:WANIPConnection"),
		0);
	assert_int_equal(
		igd_service_parse_type(
			service, "urn:schemas-upnp-org:service:WANPPPConnection:1"),
		0);
	assert_int_equal(igd_service_parse_type(service, ""), 0);
}

/* SOAP-9 */
static void test_query(void **state)
{
	const struct igd_action *action;
	static struct igd_answer answer;

	(void)state;
	igd_lab_query(igd_get_wanip1(), "ConnectionStatus", &action, &answer);
	assert_int_equal(answer.state, IGD_DONE);
	assert_string_equal(igd_output_get(&answer.output, 0), "Connected");
	igd_lab_query(igd_get_wanip1(), "Nonsense", &action, &answer);
	assert_int_equal(answer.state, IGD_FAULT);
	assert_int_equal(answer.error, 404);
	igd_lab_query(igd_get_wancic1(), "TotalBytesSent", &action, &answer);
	assert_int_equal(answer.state, IGD_ASK);
	assert_non_null(action);
	assert_int_equal(answer.request.op, REQUEST_TRAFFIC);
	igd_lab_query(igd_get_wanip1(), "RemoteHost", &action, &answer);
	assert_int_equal(answer.state, IGD_FAULT);
	assert_int_equal(answer.error, 501);
}

/* An output that is too small gives empty values, never a byte too many. */
static void test_output_full(void **state)
{
	struct igd_output output = {.count = 0};
	char text[sizeof(output.text)];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	igd_output_add(&output, text);
	for (size_t i = 0; i < IGD_ARGS_MAX + 2; i++)
		igd_output_add(&output, "more");
	assert_int_equal(output.count, IGD_ARGS_MAX);
	assert_string_equal(igd_output_get(&output, 0), text);
	assert_string_equal(igd_output_get(&output, IGD_ARGS_MAX - 1), "");
	assert_string_equal(igd_output_get(&output, IGD_ARGS_MAX), "");
}

#define TEST(name) cmocka_unit_test_setup(name, igd_lab_setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_add),
		TEST(test_add_errors),
		TEST(test_add_lease),
		TEST(test_add_without_nat),
		TEST(test_add_remote_host),
		TEST(test_add_forms),
		TEST(test_add_description),
		TEST(test_keys),
		TEST(test_finish_errors),
		TEST(test_finish_entry),
		TEST(test_state),
		TEST(test_counters),
		TEST(test_connection),
		TEST(test_default_connection),
		TEST(test_types),
		TEST(test_query),
		TEST(test_output_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
