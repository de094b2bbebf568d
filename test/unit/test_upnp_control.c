/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control through the real worker: two faces, who sees what, and long answers. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "protocols/igd_desc.h"
#include "protocols/igd_listing.h"
#include "protocols/soap.h"
#include "protocols/upnp_control.h"
#include "test/unit/log_lab.h"
#include "test/unit/upnp_lab.h"

#define SERVICE "urn:schemas-upnp-org:service:"
#define FIREWALL SERVICE "WANIPv6FirewallControl:1"
#define ENVELOPE_OPEN                                                                  \
	"<?xml version=\"1.0\"?>"                                                      \
	"<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>"
#define ENVELOPE_CLOSE "</s:Body></s:Envelope>"
#define LIST_ARGS                                                                      \
	"<NewStartPort>1</NewStartPort><NewEndPort>65535</NewEndPort>"                 \
	"<NewProtocol>TCP</NewProtocol><NewManage>0</NewManage>"                       \
	"<NewNumberOfPorts>0</NewNumberOfPorts>"

#define KEY_ARGS                                                                       \
	"<NewRemoteHost/><NewExternalPort>80</NewExternalPort>"                        \
	"<NewProtocol>TCP</NewProtocol>"

/* What is sent where. */
struct target {
	const char *path;
	const char *type;
	const char *headers;
};

static const struct target v1_on_1 = {"/igd1/ctl/WANIPConn1",
				      SERVICE "WANIPConnection:1", ""};
static const struct target v1_on_2 = {"/igd2/ctl/WANIPConn1",
				      SERVICE "WANIPConnection:1", ""};
static const struct target v2_on_2 = {"/igd2/ctl/WANIPConn1",
				      SERVICE "WANIPConnection:2", ""};
static const struct target v2_on_1 = {"/igd1/ctl/WANIPConn1",
				      SERVICE "WANIPConnection:2", ""};

static const char *post(const struct target *target, const char *action,
			const char *args)
{
	static char text[8192];
	static char body[4096];
	int used;

	(void)snprintf(body, sizeof(body),
		       ENVELOPE_OPEN "<u:%s xmlns:u=\"%s\">%s</u:%s>" ENVELOPE_CLOSE,
		       action, target->type, args, action);
	used = snprintf(text, sizeof(text),
			"POST %s HTTP/1.1\r\nHost: " GATEWAY ":49152\r\n"
			"Content-Type: text/xml; charset=\"utf-8\"\r\n"
			"SOAPAction: \"%s#%s\"\r\nContent-Length: %zu\r\n%s\r\n%s",
			target->path, target->type, action, strlen(body),
			target->headers, body);
	assert_true(used > 0 && (size_t)used < sizeof(text));
	return text;
}

static void assert_answer(const struct target *target, const char *action,
			  const char *args, const char *holds)
{
	struct lab_client *client = lab_exchange(HOST, post(target, action, args));

	lab_assert_holds(client, holds);
	lab_client_free(client);
}

/* ---- versions ---- */

/* IGD-2, IGD-5, SOAP-2: the namespace says which actions there are, and answers */
static void test_versions(void **state)
{
	(void)state;
	assert_answer(&v1_on_2, "GetExternalIPAddress", "",
		      "<u:GetExternalIPAddressResponse xmlns:u=\"" SERVICE
		      "WANIPConnection:1\">");
	assert_answer(&v2_on_2, "GetExternalIPAddress", "",
		      "<u:GetExternalIPAddressResponse xmlns:u=\"" SERVICE
		      "WANIPConnection:2\">");
	assert_answer(&v2_on_1, "GetExternalIPAddress", "",
		      "<errorCode>401</errorCode>");
	assert_answer(&v1_on_2, "AddAnyPortMapping", "", "<errorCode>401</errorCode>");
	assert_answer(&v1_on_2, "GetListOfPortMappings", LIST_ARGS,
		      "<errorCode>401</errorCode>");
	assert_answer(&v1_on_1, "DeletePortMappingRange", "",
		      "<errorCode>401</errorCode>");
	assert_answer(&v2_on_2, "AddAnyPortMapping", "", "<errorCode>402</errorCode>");
	assert_answer(&v1_on_2, "ForceTermination", "", "<errorCode>501</errorCode>");
	assert_answer(&v2_on_2, "ForceTermination", "", "<errorCode>606</errorCode>");
	/* DESC-6: what is optional and not there */
	assert_answer(&v2_on_2, "RequestTermination", "", "<errorCode>401</errorCode>");
	assert_answer(&v2_on_2, "SetIdleDisconnectTime", "",
		      "<errorCode>401</errorCode>");
	assert_int_equal(lab_get()->request_count, 0);
}

/* IGD-5: the version is kept until core has answered */
static void test_version_of_reply(void **state)
{
	(void)state;
	lab_get()->reply.result = RESULT_FOREIGN;
	assert_answer(&v1_on_2, "DeletePortMapping", KEY_ARGS,
		      "<errorCode>714</errorCode>");
	assert_int_equal(lab_get()->request.igd_version, 1);
	assert_answer(&v2_on_2, "DeletePortMapping", KEY_ARGS,
		      "<errorCode>606</errorCode>");
	assert_int_equal(lab_get()->request.igd_version, 2);
}

static void assert_logs(const char *line)
{
	const char *lines = log_lab_stop();

	if (!strstr(lines, line))
		fail_msg("\"%s\" is not in\n%s", line, lines);
}

/* An owner who asks learns why a client got nothing, also where core never heard of it.
 */
static void test_log_of_refusals(void **state)
{
	static const struct target firewall = {"/igd2/ctl/WANIPv6Firewall1", FIREWALL,
					       ""};
	static const struct {
		const struct target *target;
		const char *action;
		const char *args;
		const char *code;
		const char *line;
	} rows[] = {
		{&v2_on_2, "AddAnyPortMapping", "", "402",
		 "request refused code=402 text=\"Invalid Args\" "
		 "action=AddAnyPortMapping client=" HOST " via=igd\n"},
		{&v2_on_2, "ForceTermination", "", "606",
		 "request refused code=606 text=\"Action not authorized\" "
		 "action=ForceTermination client=" HOST " via=igd\n"},
		{&v1_on_1, "NoSuchAction", "", "401",
		 " action=NoSuchAction client=" HOST " via=igd\n"},
		{&firewall, "DeletePinhole", "<UniqueID>x</UniqueID>", "402",
		 " action=DeletePinhole client=" HOST " via=igd\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char expected[64];

		(void)snprintf(expected, sizeof(expected), "<errorCode>%s</errorCode>",
			       rows[i].code);
		log_lab_start(LOG_LEVEL_INFO);
		assert_answer(rows[i].target, rows[i].action, rows[i].args, expected);
		assert_logs(rows[i].line);
	}
	assert_int_equal(lab_get()->request_count, 0);
}

static unsigned int count_lines(const char *lines, const char *text)
{
	unsigned int count = 0;

	for (const char *at = lines; (at = strstr(at, text)); at++)
		count++;
	return count;
}

/* No LAN host can fill the log, and what core refuses is told by core. */
static void test_log_of_refusals_is_limited(void **state)
{
	(void)state;
	log_lab_start(LOG_LEVEL_INFO);
	lab_get()->reply.result = RESULT_CONFLICT;
	assert_answer(&v1_on_1, "GetGenericPortMappingEntry",
		      "<NewPortMappingIndex>0</NewPortMappingIndex>", "<errorCode>");
	for (int i = 0; i < 2 * LOG_LIMIT_LINES; i++)
		assert_answer(&v1_on_1, "ForceTermination", "", "<errorCode>501<");
	assert_int_equal(count_lines(log_lab_stop(), "request refused "),
			 LOG_LIMIT_LINES);
	log_lab_start(LOG_LEVEL_INFO);
	assert_answer(&v1_on_1, "GetGenericPortMappingEntry",
		      "<NewPortMappingIndex>0</NewPortMappingIndex>", "<errorCode>");
	assert_int_equal(count_lines(log_lab_stop(), "request refused "), 0);
}

/* A place that waits for core is used again; a reply to who had it is for nobody. */
static void test_late_reply(void **state)
{
	struct lab_client *first = lab_dial(HOST, GATEWAY);
	struct lab_client *second;
	struct request request;
	struct reply reply = {.op = REQUEST_DELETE};

	(void)state;
	lab_get()->hold = true;
	lab_say(first, post(&v1_on_1, "DeletePortMapping", KEY_ARGS));
	lab_wait_requests(1);
	request = lab_get()->request;
	reply.cookie = request.cookie;
	lab_core_send(MSG_REPLY, &reply, sizeof(reply));
	assert_true(lab_wait_for(lab_is_closed, first));
	assert_int_equal(lab_status_of(first), 200);
	lab_client_free(first);
	second = lab_dial(HOST_2, GATEWAY);
	lab_say(second, post(&v1_on_1, "DeletePortMapping", KEY_ARGS));
	lab_wait_requests(2);
	assert_int_equal(lab_get()->request.cookie & UINT16_MAX,
			 request.cookie & UINT16_MAX);
	lab_core_send(MSG_REPLY, &reply, sizeof(reply));
	reply.cookie = lab_get()->request.cookie;
	reply.result = RESULT_FOREIGN;
	lab_core_send(MSG_REPLY, &reply, sizeof(reply));
	assert_true(lab_wait_for(lab_is_closed, second));
	lab_assert_holds(second, "<errorCode>714</errorCode>");
	lab_client_free(second);
}

/* V6FW-8, SOAP-6: over both faces, in the words of this service */
static void test_pinholes(void **state)
{
	static const struct target targets[] = {
		{"/igd1/ctl/WANIPv6Firewall1", FIREWALL, ""},
		{"/igd2/ctl/WANIPv6Firewall1", FIREWALL, ""}};

	(void)state;
	lab_get()->reply.result = RESULT_NO_ENTRY;
	for (size_t i = 0; i < 2; i++) {
		assert_answer(&targets[i], "GetFirewallStatus", "",
			      "<FirewallEnabled>1</FirewallEnabled>"
			      "<InboundPinholeAllowed>1</InboundPinholeAllowed>");
		assert_answer(&targets[i], "DeletePinhole", "<UniqueID>7</UniqueID>",
			      "<errorCode>704</errorCode><errorDescription>NoSuchEntry"
			      "</errorDescription>");
		assert_int_equal(lab_get()->request.op, REQUEST_PINHOLE_DELETE);
		assert_int_equal(lab_get()->request.pinhole, 7);
	}
}

/* ---- who sees what ---- */

static int status_of(const char *method, const char *path, const char *agent)
{
	char text[512];
	struct lab_client *client;
	int status;

	(void)snprintf(text, sizeof(text),
		       "%s %s HTTP/1.1\r\nHost: " GATEWAY "\r\nUser-Agent: %s\r\n"
		       "Content-Length: 0\r\n\r\n",
		       method, path, agent);
	client = lab_exchange(HOST, text);
	status = lab_status_of(client);
	lab_client_free(client);
	return status;
}

/* DESC-7, IGD-6: Windows and Xbox find no trace of what makes them stop */
static void test_legacy_agents(void **state)
{
	static const char *const agents[] = {"Microsoft-Windows/10.0 UPnP/1.0",
					     "FDSSDP", "Xbox/2.0.0.0 UPnP/1.0"};
	static const struct {
		const char *method;
		const char *path;
		int status;
	} rows[] = {
		{"GET", "/igd1/root.xml", 200},
		{"GET", "/igd1/scpd/WANIPConn1", 200},
		{"GET", "/igd1/scpd/WANIPv6Firewall1", 404},
		{"POST", "/igd1/ctl/WANIPv6Firewall1", 404},
		{"SUBSCRIBE", "/igd1/evt/WANIPv6Firewall1", 404},
		{"GET", "/igd2/root.xml", 404},
		{"GET", "/igd2/scpd/WANCommonIFC1", 404},
		{"POST", "/igd2/ctl/WANIPConn1", 404},
		{"SUBSCRIBE", "/igd2/evt/WANIPConn1", 404},
	};

	(void)state;
	for (size_t a = 0; a < sizeof(agents) / sizeof(agents[0]); a++)
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			assert_int_equal(
				status_of(rows[i].method, rows[i].path, agents[a]),
				rows[i].status);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_not_equal(
			status_of(rows[i].method, rows[i].path, "miniupnpc/2.2.4"),
			404);
}

static struct lab_client *get_root(const char *agent)
{
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "GET /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY
		       "\r\nUser-Agent: %s\r\n\r\n",
		       agent);
	return lab_exchange(HOST, text);
}

/* IGD-6, SSDP-15: two descriptions, one configId */
static void test_legacy_description(void **state)
{
	struct lab_client *modern = get_root("Linux UPnP/1.1 MiniUPnPc/2.2.4");
	struct lab_client *legacy = get_root("Xbox/2.0.20348.0 UPnP/1.0 Xbox/2.0");
	const char *id = strstr(modern->in, "configId=");
	char expected[32];

	(void)state;
	assert_non_null(id);
	(void)snprintf(expected, sizeof(expected), "%.*s", (int)strcspn(id, ">"), id);
	lab_assert_holds(legacy, expected);
	lab_assert_holds(modern, FIREWALL);
	assert_null(strstr(legacy->in, "IPv6"));
	lab_assert_holds(legacy, SERVICE "WANIPConnection:1");
	lab_client_free(modern);
	lab_client_free(legacy);
}

/* IGD-6: `igd = 1` has no version 2, `igd = 2` nothing else */
static void test_one_face(void **state)
{
	struct lan_info lan = lab_make_lan();

	(void)state;
	lan.igd = 1;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(2);
	assert_int_equal(status_of("GET", "/igd1/root.xml", "x"), 200);
	assert_int_equal(status_of("GET", "/igd2/root.xml", "x"), 404);
	assert_int_equal(status_of("POST", "/igd2/ctl/WANIPConn1", "x"), 404);
	lan.igd = 2;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(3);
	assert_int_equal(status_of("GET", "/igd1/root.xml", "x"), 404);
	assert_int_equal(status_of("GET", "/igd2/root.xml", "x"), 200);
}

/* ---- listings ---- */

static struct reply make_entry(const struct request *request, uint16_t port)
{
	struct reply reply = {
		.cookie = request->cookie,
		.op = REQUEST_LIST,
		.more = 1,
		.protocol = IPPROTO_TCP,
		.enabled = 1,
		.origin = ORIGIN_IGD,
		.external_port = port,
		.internal_port = port,
		.lifetime_s = 60,
	};

	assert_true(addr_parse(HOST, &reply.internal));
	return reply;
}

static void send_reply(const struct reply *reply)
{
	lab_core_send(MSG_REPLY, reply, sizeof(*reply));
}

static void send_end(const struct request *request, enum result result, uint64_t next)
{
	const struct reply reply = {.cookie = request->cookie,
				    .op = REQUEST_LIST,
				    .result = (uint8_t)result,
				    .next = next};

	send_reply(&reply);
}

/* A request for a listing, which core holds. */
static struct lab_client *ask_listing(void)
{
	unsigned int number = lab_get()->request_count + 1;
	struct lab_client *client = lab_dial(HOST, GATEWAY);

	lab_get()->hold = true;
	lab_say(client, post(&v2_on_2, "GetListOfPortMappings", LIST_ARGS));
	lab_wait_requests(number);
	assert_int_equal(lab_get()->request.op, REQUEST_LIST);
	return client;
}

/* IGD-34, IGD-35, SOAP-8: from two pages to one text, a document in the answer */
static void test_listing(void **state)
{
	static struct soap_call call;
	struct lab_client *client = ask_listing();
	struct request request = lab_get()->request;
	struct reply reply = make_entry(&request, 1024);
	const struct soap_arg *arg;
	const char *body;

	(void)state;
	(void)snprintf(reply.description, sizeof(reply.description), "]]> & <b> \"x\"");
	send_reply(&reply);
	send_end(&request, RESULT_OK, 41);
	lab_wait_requests(2);
	assert_int_equal(lab_get()->request.after, 41);
	assert_int_equal(lab_get()->request.cookie, request.cookie);
	reply = make_entry(&request, 1025);
	send_reply(&reply);
	send_end(&request, RESULT_OK, 0);
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(lab_status_of(client), 200);
	body = strstr(client->in, "\r\n\r\n");
	assert_non_null(body);
	assert_true(soap_parse_call_for(body + 4, strlen(body + 4), NULL, &call));
	assert_string_equal(call.action.name, "GetListOfPortMappingsResponse");
	arg = soap_call_get_arg(&call, "NewPortListing");
	assert_non_null(arg);
	assert_non_null(strstr(soap_call_get_value(&call, arg),
			       "<p:NewDescription>]]&gt; &amp; &lt;b&gt; &quot;x&quot;"
			       "</p:NewDescription>"));
	assert_non_null(strstr(client->in, "<p:NewExternalPort>1025<"));
	lab_client_free(client);
}

/* IGD-34: 730, not an empty list; other errors as they are */
static void test_empty_listing(void **state)
{
	static const struct {
		enum result result;
		const char *error;
	} rows[] = {
		{RESULT_NO_ENTRY, "<errorCode>730</errorCode>"},
		{RESULT_OK, "<errorCode>730</errorCode>"},
		{RESULT_RATE, "<errorCode>501</errorCode>"},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lab_client *client = ask_listing();
		struct request request = lab_get()->request;

		send_end(&request, rows[i].result, 0);
		assert_true(lab_wait_for(lab_is_closed, client));
		lab_assert_holds(client, rows[i].error);
		lab_client_free(client);
	}
}

/* A client that leaves in the middle leaves nothing behind, and harms no other. */
static void test_listing_left(void **state)
{
	struct lab_client *client = ask_listing();
	struct request request = lab_get()->request;
	struct reply reply = make_entry(&request, 1024);

	(void)state;
	send_reply(&reply);
	lab_client_free(client);
	client = ask_listing();
	send_reply(&reply);
	send_end(&request, RESULT_OK, 0); /* for nobody */
	request = lab_get()->request;
	reply = make_entry(&request, 2048);
	send_reply(&reply);
	send_end(&request, RESULT_OK, 0);
	assert_true(lab_wait_for(lab_is_closed, client));
	lab_assert_holds(client, "<p:NewExternalPort>2048<");
	assert_null(strstr(client->in, "1024"));
	lab_client_free(client);
}

static void fill_listing(const struct reply *reply)
{
	for (unsigned int i = 0; i < 1200; i++) {
		send_reply(reply);
		if (i % 16 == 0)
			event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	}
}

static bool has_answer(const void *client)
{
	return lab_status_of(client) != 0;
}

/* IGD-34: one that is too long is none, rather than a part of it */
static void test_listing_too_long(void **state)
{
	struct lab_client *client = ask_listing();
	struct request request = lab_get()->request;
	struct reply reply = make_entry(&request, 1024);

	(void)state;
	memset(reply.description, '"', DESCRIPTION_MAX);
	fill_listing(&reply);
	send_end(&request, RESULT_OK, 0);
	assert_true(lab_wait_for(lab_is_closed, client));
	lab_assert_holds(client, "<errorCode>603</errorCode>");
	lab_client_free(client);
}

/* All listings together are bounded: the one too many is told so, the rest go on. */
static void test_listings_bounded(void **state)
{
	enum { COUNT = (int)(UPNP_LISTINGS_OCTETS_MAX / IGD_LISTING_OCTETS_MAX) + 2 };
	static struct lab_client *clients[COUNT];
	unsigned int refused = 0;

	(void)state;
	for (unsigned int i = 0; i < COUNT; i++) {
		struct reply reply;

		clients[i] = ask_listing();
		reply = make_entry(&lab_get()->request, 1024);
		memset(reply.description, '"', DESCRIPTION_MAX);
		fill_listing(&reply);
	}
	assert_true(lab_wait_for(has_answer, clients[COUNT - 1]));
	for (unsigned int i = 0; i < COUNT; i++)
		if (lab_status_of(clients[i]) == 500) {
			lab_assert_holds(clients[i], "<errorCode>603</errorCode>");
			refused++;
		}
	assert_true(refused >= 1 && refused < COUNT / 2);
	for (unsigned int i = 0; i < COUNT; i++)
		lab_client_free(clients[i]);
	/* and when they are gone there is room again */
	test_listing_left(state);
}

#define SERVING(name)                                                                  \
	cmocka_unit_test_setup_teardown(name, lab_setup_serving, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVING(test_versions),
		SERVING(test_version_of_reply),
		SERVING(test_log_of_refusals),
		SERVING(test_log_of_refusals_is_limited),
		SERVING(test_late_reply),
		SERVING(test_pinholes),
		SERVING(test_legacy_agents),
		SERVING(test_legacy_description),
		SERVING(test_one_face),
		SERVING(test_listing),
		SERVING(test_empty_listing),
		SERVING(test_listing_left),
		SERVING(test_listing_too_long),
		SERVING(test_listings_bounded),
	};

	return cmocka_run_group_tests(tests, lab_group_setup, NULL);
}
