/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WANIPv6FirewallControl:1 up to core, and from core back. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/igd.h"
#include "test/unit/igd_lab.h"

static const struct igd_lab_arg add_args[] = {
	{"LeaseTime", "3600"},
	{"RemoteHost", ""},
	{"RemotePort", "0"},
	{"InternalClient", LAB_CLIENT6},
	{"InternalPort", "22000"},
	{"Protocol", "6"},
	{NULL, NULL},
};

/* Those that name a pinhole. */
static const char *const by_id[] = {"UpdatePinhole", "DeletePinhole",
				    "GetPinholePackets", "CheckPinholeWorking"};

#define ID_ARGS(id) "<UniqueID>" id "</UniqueID><NewLeaseTime>60</NewLeaseTime>"

static int setup(void **state)
{
	int error = igd_lab_setup(state);

	igd_lab_get()->client = igd_lab_addr(LAB_CLIENT6);
	return error;
}

static uint16_t add(const char *name, const char *value)
{
	const struct igd_lab_arg instead = {name, value};

	return igd_lab_error(igd_get_v6fc1(), "AddPinhole",
			     igd_lab_args(add_args, &instead));
}

static struct request ask(const char *name, const char *value)
{
	const struct igd_lab_arg instead = {name, value};

	return igd_lab_request(igd_get_v6fc1(), "AddPinhole",
			       igd_lab_args(add_args, &instead));
}

/* V6FW-2, V6FW-7, SOAP-3: in whatever order the arguments come */
static void test_add(void **state)
{
	struct request request = ask("", "");
	struct ip_addr client = igd_lab_addr(LAB_CLIENT6);
	struct ip_addr other = igd_lab_addr("2001:db8:77::21");

	(void)state;
	assert_int_equal(request.op, REQUEST_PINHOLE);
	assert_int_equal(request.origin, ORIGIN_IGD);
	assert_int_equal(request.protocol, IPPROTO_TCP);
	assert_int_equal(request.internal_port, 22000);
	assert_int_equal(request.lifetime_s, 3600);
	assert_int_equal(request.enabled, 1);
	assert_int_equal(request.remote_port, 0);
	assert_true(addr_is_none(&request.remote));
	assert_true(addr_equal(&request.internal, &client));
	assert_true(addr_equal(&request.client, &client));
	/* who may ask for whom is core's to say */
	request = ask("InternalClient", "2001:db8:77::21");
	assert_true(addr_equal(&request.internal, &other));
	assert_true(addr_equal(&request.client, &client));
	assert_int_equal(ask("Protocol", "17").protocol, IPPROTO_UDP);
}

/* V6FW-3, V6FW-4, V6FW-5, SOAP-4, CL-20 */
static void test_add_errors(void **state)
{
	static const struct igd_lab_row rows[] = {
		{{"RemoteHost", NULL}, 402},
		{{"RemoteHost", "198.51.100.7"}, 402},
		{{"RemoteHost", "host.example"}, 402},
		{{"RemoteHost", "ff02::1"}, 402},
		{{"RemoteHost", "ff0e::7"}, 402},
		{{"RemoteHost", "fe80::1"}, 402},
		{{"RemoteHost", "febf::1"}, 402},
		{{"RemoteHost", "fec0::1"}, 0},
		{{"RemoteHost", "2001:db8::/32"}, 402},
		{{"RemotePort", "65536"}, 601},
		{{"RemotePort", "x"}, 402},
		{{"InternalClient", ""}, 708},
		{{"InternalClient", "::"}, 708},
		{{"InternalClient", "*"}, 708},
		{{"InternalClient", LAB_CLIENT}, 402},
		{{"InternalClient", "::ffff:192.168.1.20"}, 402},
		{{"InternalClient", "fe80::1%eth0"}, 402},
		{{"InternalClient", "myhost"}, 402},
		{{"InternalClient", NULL}, 402},
		{{"InternalPort", "0"}, 706},
		{{"InternalPort", "65536"}, 601},
		{{"Protocol", "65535"}, 707},
		{{"Protocol", "132"}, 705},
		{{"Protocol", "0"}, 705},
		{{"Protocol", "TCP"}, 402},
		{{"LeaseTime", "0"}, 601},
		{{"LeaseTime", "86401"}, 601},
		{{"LeaseTime", "4294967295"}, 601},
		{{"LeaseTime", "4294967296"}, 601},
		{{"LeaseTime", NULL}, 402},
		{{"LeaseTime", "1"}, 0},
		{{"LeaseTime", "86400"}, 0},
	};

	(void)state;
	igd_lab_assert_rows(igd_get_v6fc1(), "AddPinhole", add_args, rows,
			    sizeof(rows) / sizeof(rows[0]));
	assert_int_equal(ask("LeaseTime", "86400").lifetime_s, 86400);
	assert_int_equal(ask("LeaseTime", "1").lifetime_s, 1);
}

/* V6FW-2, CL-20: who may come in */
static void test_remote(void **state)
{
	static const char *const any[] = {"", "*", "::", "::/0"};
	struct ip_addr remote = igd_lab_addr("2001:db8:1::9");
	struct request request;

	(void)state;
	for (size_t i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
		request = ask("RemoteHost", any[i]);
		assert_true(addr_is_none(&request.remote));
	}
	request = ask("RemoteHost", "2001:db8:1::9");
	assert_true(addr_equal(&request.remote, &remote));
	assert_int_equal(ask("RemotePort", "22000").remote_port, 22000);
	/* syncthing: its own port in both, from anywhere; any other port is meant */
	request = igd_lab_request(
		igd_get_v6fc1(), "AddPinhole",
		"<RemoteHost>::/0</RemoteHost><RemotePort>22000</RemotePort>"
		"<Protocol>6</Protocol><InternalPort>22000</InternalPort>"
		"<InternalClient>" LAB_CLIENT6 "</InternalClient>"
		"<LeaseTime>86400</LeaseTime>");
	assert_int_equal(request.remote_port, 0);
	request = igd_lab_request(
		igd_get_v6fc1(), "AddPinhole",
		"<RemoteHost>::/0</RemoteHost><RemotePort>22001</RemotePort>"
		"<Protocol>6</Protocol><InternalPort>22000</InternalPort>"
		"<InternalClient>" LAB_CLIENT6 "</InternalClient>"
		"<LeaseTime>86400</LeaseTime>");
	assert_int_equal(request.remote_port, 22001);
}

/* V6FW-8, V6FW-9, V6FW-12 */
static void test_by_id(void **state)
{
	static const enum request_op ops[] = {REQUEST_PINHOLE_UPDATE,
					      REQUEST_PINHOLE_DELETE,
					      REQUEST_PINHOLE_GET, REQUEST_PINHOLE_GET};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct request request =
			igd_lab_request(igd_get_v6fc1(), by_id[i], ID_ARGS("65535"));

		assert_int_equal(request.op, ops[i]);
		assert_int_equal(request.pinhole, 65535);
		assert_int_equal(request.lifetime_s, i == 0 ? 60 : 0);
		assert_int_equal(igd_lab_error(igd_get_v6fc1(), by_id[i], ID_ARGS("0")),
				 704);
		assert_int_equal(
			igd_lab_error(igd_get_v6fc1(), by_id[i], ID_ARGS("65536")),
			601);
		assert_int_equal(igd_lab_error(igd_get_v6fc1(), by_id[i], ""), 402);
	}
	assert_int_equal(igd_lab_error(igd_get_v6fc1(), "UpdatePinhole",
				       "<UniqueID>1</UniqueID>"
				       "<NewLeaseTime>0</NewLeaseTime>"),
			 601);
	assert_int_equal(igd_lab_error(igd_get_v6fc1(), "UpdatePinhole",
				       "<UniqueID>1</UniqueID>"
				       "<NewLeaseTime>86401</NewLeaseTime>"),
			 601);
}

static void assert_all_refused(uint16_t error)
{
	assert_int_equal(add("InternalPort", "0"), error);
	assert_int_equal(add("", ""), error);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(igd_lab_error(igd_get_v6fc1(), by_id[i], ID_ARGS("0")),
				 error);
}

static void assert_status(const char *enabled, const char *allowed)
{
	static struct igd_answer answer;
	const struct igd_action *action;

	igd_lab_run(igd_get_v6fc1(), "GetFirewallStatus", "", &answer);
	assert_int_equal(answer.state, IGD_DONE);
	assert_string_equal(igd_output_get(&answer.output, 0), enabled);
	assert_string_equal(igd_output_get(&answer.output, 1), allowed);
	/* SOAP-9 */
	igd_lab_query(igd_get_v6fc1(), "FirewallEnabled", &action, &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), enabled);
	igd_lab_query(igd_get_v6fc1(), "InboundPinholeAllowed", &action, &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), allowed);
}

static uint16_t timeout_error(const char *protocol)
{
	const struct igd_lab_arg instead = {"Protocol", protocol};

	return igd_lab_error(igd_get_v6fc1(), "GetOutboundPinholeTimeout",
			     igd_lab_args(add_args, &instead));
}

/* V6FW-1: before all else */
static void test_flags(void **state)
{
	(void)state;
	assert_status("1", "1");
	igd_lab_get()->wan.pinholes = WAN_PINHOLES_OFF;
	assert_status("1", "0");
	assert_all_refused(703);
	assert_int_equal(timeout_error("6"), 0); /* nothing inbound about it */
	igd_lab_get()->wan.pinholes = WAN_PINHOLES_NO_FIREWALL;
	assert_status("0", "0");
	assert_all_refused(702);
	assert_int_equal(timeout_error("6"), 702);
}

/* V6FW-15 */
static void test_timeout(void **state)
{
	static struct igd_answer answer;

	(void)state;
	igd_lab_run(igd_get_v6fc1(), "GetOutboundPinholeTimeout",
		    igd_lab_args(add_args, NULL), &answer);
	assert_int_equal(answer.state, IGD_DONE);
	assert_string_equal(igd_output_get(&answer.output, 0), "432000");
	igd_lab_run(igd_get_v6fc1(), "GetOutboundPinholeTimeout",
		    igd_lab_args(add_args, &(struct igd_lab_arg){"Protocol", "17"}),
		    &answer);
	assert_string_equal(igd_output_get(&answer.output, 0), "120");
	assert_int_equal(timeout_error("65535"), 705);
	assert_int_equal(timeout_error("58"), 705);
	igd_lab_get()->wan.flow_timeout_udp_s = 0;
	assert_int_equal(timeout_error("17"), 501);
}

static uint16_t finish(const char *action, struct reply reply, const char *expected)
{
	static struct igd_answer answer;
	uint16_t error = igd_lab_finish(igd_get_v6fc1(), action, &reply, &answer);

	if (error == 0)
		assert_string_equal(igd_output_get(&answer.output, 0), expected);
	return error;
}

/* V6FW-6, V6FW-10, V6FW-11 */
static void test_finish(void **state)
{
	const struct reply silent = {.op = REQUEST_PINHOLE_GET};
	const struct reply busy = {.op = REQUEST_PINHOLE_GET,
				   .packets_in = UINT64_C(0x100000007)};

	(void)state;
	assert_int_equal(finish("AddPinhole",
				(struct reply){.op = REQUEST_PINHOLE, .pinhole = 40000},
				"40000"),
			 0);
	assert_int_equal(finish("GetPinholePackets", silent, "0"), 0);
	assert_int_equal(finish("GetPinholePackets", busy, "7"), 0);
	assert_int_equal(finish("CheckPinholeWorking", silent, ""), 709);
	assert_int_equal(finish("CheckPinholeWorking", busy, "1"), 0);
	assert_int_equal(finish("UpdatePinhole", silent, ""), 0);
	assert_int_equal(finish("DeletePinhole", silent, ""), 0);
}

/* V6FW-3, V6FW-7, V6FW-8, V6FW-9, V6FW-14: the service's own codes, and its words */
static void test_codes(void **state)
{
	static const struct {
		enum result result;
		uint16_t error;
		const char *text;
	} rows[] = {
		{RESULT_DENIED, 606, "Action not authorized"},
		{RESULT_THIRD_PARTY, 606, "Action not authorized"},
		{RESULT_FOREIGN, 606, "Action not authorized"},
		{RESULT_BAD_CLIENT, 606, "Action not authorized"},
		{RESULT_NO_ENTRY, 704, "NoSuchEntry"},
		{RESULT_QUOTA, 701, "PinholeSpaceExhausted"},
		{RESULT_CONFLICT, 701, "PinholeSpaceExhausted"},
		{RESULT_TABLE_FULL, 701, "PinholeSpaceExhausted"},
		{RESULT_BACKEND, 501, "Action Failed"},
	};
	static const char *const texts[] = {"FirewallDisabled",
					    "InboundPinholeNotAllowed"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reply reply = {.op = REQUEST_PINHOLE,
				      .result = (uint8_t)rows[i].result};

		assert_int_equal(finish("AddPinhole", reply, ""), rows[i].error);
		assert_string_equal(
			igd_service_get_error_text(igd_get_v6fc1(), rows[i].error),
			rows[i].text);
	}
	for (uint16_t i = 0; i < 2; i++)
		assert_string_equal(igd_service_get_error_text(igd_get_v6fc1(),
							       (uint16_t)(702 + i)),
				    texts[i]);
	assert_string_equal(igd_service_get_error_text(igd_get_v6fc1(), 709),
			    "NoTrafficReceived");
	/* the same numbers elsewhere mean something else */
	assert_string_equal(igd_service_get_error_text(igd_get_wanip2(), 704),
			    "ConnectionSetupFailed");
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_add),	   TEST(test_add_errors), TEST(test_remote),
		TEST(test_by_id),  TEST(test_flags),	  TEST(test_timeout),
		TEST(test_finish), TEST(test_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
