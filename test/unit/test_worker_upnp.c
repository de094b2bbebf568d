/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTTP, SOAP and messages of the worker, over real sockets. */
#include <errno.h>
#include <event2/event.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "protocols/http_server.h"
#include "protocols/igd_desc.h"
#include "protocols/ssdp.h"
#include "test/unit/upnp_lab.h"

#define CONTROL "/igd1/ctl/WANIPConn1"
#define WANIP "urn:schemas-upnp-org:service:WANIPConnection:1"

static const char *body_of(const struct lab_client *client)
{
	const char *end = strstr(client->in, "\r\n\r\n");

	assert_non_null(end);
	return end + 4;
}

/* ---- control requests ---- */

#define ENVELOPE_OPEN                                                                  \
	"<?xml version=\"1.0\"?>\r\n"                                                  \
	"<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" "           \
	"s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>"
#define ENVELOPE_CLOSE "</s:Body></s:Envelope>"

static const char add_body[] = ENVELOPE_OPEN
	"<u:AddPortMapping xmlns:u=\"" WANIP "\">"
	"<NewRemoteHost></NewRemoteHost><NewExternalPort>3074</NewExternalPort>"
	"<NewProtocol>UDP</NewProtocol><NewInternalPort>3074</NewInternalPort>"
	"<NewInternalClient>" HOST "</NewInternalClient><NewEnabled>1</NewEnabled>"
	"<NewPortMappingDescription>Teredo 10.0.0.39:3074-&gt;3074 UDP"
	"</NewPortMappingDescription><NewLeaseDuration>0</NewLeaseDuration>"
	"</u:AddPortMapping>" ENVELOPE_CLOSE;

static const char *post(const char *headers, const char *body)
{
	static char text[8192];
	int used = snprintf(text, sizeof(text),
			    "POST " CONTROL " HTTP/1.1\r\nHost: " GATEWAY ":49152\r\n"
			    "Content-Type: text/xml; charset=\"utf-8\"\r\n"
			    "Content-Length: %zu\r\n%s\r\n%s",
			    strlen(body), headers, body);

	assert_true(used > 0 && (size_t)used < sizeof(text));
	return text;
}

#define ADD_HEADER "SOAPAction: \"" WANIP "#AddPortMapping\"\r\n"

static const char *call(const char *action, const char *args)
{
	static char body[4096];
	static char header[256];

	(void)snprintf(body, sizeof(body),
		       ENVELOPE_OPEN "<u:%s xmlns:u=\"" WANIP
				     "\">%s</u:%s>" ENVELOPE_CLOSE,
		       action, args, action);
	(void)snprintf(header, sizeof(header), "SOAPAction: \"" WANIP "#%s\"\r\n",
		       action);
	return post(header, body);
}

/* ---- HTTP ---- */

#define GET_ROOT "GET /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY ":49152\r\n\r\n"

/* HTTP-1, HTTP-5, CL-13, CL-14 */
static void test_document(void **state)
{
	struct lab_client *client = lab_exchange(HOST, GET_ROOT);
	char length[64];

	(void)state;
	assert_int_equal(lab_status_of(client), 200);
	lab_assert_holds(client, "\r\nContent-Type: text/xml; charset=\"utf-8\"\r\n");
	lab_assert_holds(client, "\r\nConnection: close\r\n");
	lab_assert_holds(client, "\r\nExt:");
	lab_assert_holds(client, "\r\nDate: ");
	lab_assert_holds(client, " UPnP/1.1 portreeve/");
	assert_null(strcasestr(client->in, "transfer-encoding"));
	(void)snprintf(length, sizeof(length), "\r\nContent-Length: %zu\r\n",
		       strlen(body_of(client)));
	lab_assert_holds(client, length);
	lab_assert_holds(client, "<friendlyName>gate &amp; garden</friendlyName>");
	lab_client_free(client);
}

/* HTTP-1: the answer says HTTP/1.1 whatever the client says */
static void test_http_1_0(void **state)
{
	(void)state;
	lab_assert_status("GET /igd1/root.xml HTTP/1.0\r\n\r\n", 200);
	lab_assert_status(
		"GET /igd1/scpd/WANIPConn1 HTTP/1.0\r\nHost: " GATEWAY "\r\n\r\n", 200);
}

/* HTTP-6: nothing is honoured, nothing is echoed */
static void test_language(void **state)
{
	struct lab_client *client =
		lab_exchange(HOST, "GET /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY
				   "\r\nAccept-Language: de, <x>\r\n\r\n");

	(void)state;
	assert_int_equal(lab_status_of(client), 200);
	assert_null(strcasestr(client->in, "language"));
	assert_null(strstr(client->in, "<x>"));
	lab_client_free(client);
}

/* HTTP-5 */
static void test_head(void **state)
{
	struct lab_client *client =
		lab_exchange(HOST, "HEAD /igd1/root.xml HTTP/1.1\r\n"
				   "Host: " GATEWAY "\r\n\r\n");

	(void)state;
	assert_int_equal(lab_status_of(client), 200);
	assert_null(strstr(client->in, "Content-Length: 0\r\n"));
	lab_assert_holds(client, "Content-Length: ");
	assert_string_equal(body_of(client), "");
	lab_client_free(client);
}

/* HTTP-5, DESC-2: the page of presentationURL */
static void test_routes(void **state)
{
	struct lab_client *client;

	(void)state;
	lab_assert_status("GET / HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n", 200);
	lab_assert_status("GET /nothing HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n", 404);
	lab_assert_status("GET /igd1/root.xml%00 HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n",
			  404);
	lab_assert_status("GET http://" GATEWAY ":49152/igd1/root.xml HTTP/1.1\r\n"
			  "Host: " GATEWAY "\r\n\r\n",
			  200);
	lab_assert_status("GET http://evil.example/igd1/root.xml HTTP/1.1\r\n"
			  "Host: " GATEWAY "\r\n\r\n",
			  403);
	lab_assert_status("GET /igd3/root.xml HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n",
			  404);
	lab_assert_status("BREW /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n",
			  501);
	client = lab_exchange(HOST, "POST /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY
				    "\r\nContent-Length: 2\r\n\r\nhi");
	assert_int_equal(lab_status_of(client), 405);
	lab_assert_holds(client, "\r\nAllow: GET, HEAD\r\n");
	lab_client_free(client);
	client = lab_exchange(HOST,
			      "GET " CONTROL " HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n");
	assert_int_equal(lab_status_of(client), 405);
	lab_assert_holds(client, "\r\nAllow: POST, M-POST\r\n");
	lab_client_free(client);
	lab_assert_status("SUBSCRIBE " CONTROL " HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n",
			  405);
}

/* HTTP-4: DNS rebinding */
static void test_host(void **state)
{
	(void)state;
	lab_assert_status("GET /igd1/root.xml HTTP/1.1\r\nHost: evil.example\r\n\r\n",
			  403);
	lab_assert_status("GET /igd1/root.xml HTTP/1.1\r\nHost: " HOST "\r\n\r\n", 403);
	lab_assert_status("GET /igd1/root.xml HTTP/1.1\r\n\r\n", 400);
	lab_assert_status("GET /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY
			  ":49152 \t\r\n\r\n",
			  200);
	/* This one libmicrohttpd reads itself, and refuses. */
	lab_assert_status("POST /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY
			  "\r\nContent-Length: 2 \r\n\r\nhi",
			  400);
	lab_assert_status("GET /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n",
			  200);
}

/* HTTP-2 */
static void test_repeated_headers(void **state)
{
	(void)state;
	lab_assert_status("GET /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY
			  "\r\nHost: " GATEWAY "\r\n\r\n",
			  400);
	lab_assert_status(post(ADD_HEADER ADD_HEADER, add_body), 400);
	assert_int_equal(lab_get()->request_count, 0);
}

/* HTTP-3: too long a body, announced or not, and too long a header */
static void test_oversize(void **state)
{
	(void)state;
	lab_assert_status("POST " CONTROL " HTTP/1.1\r\nHost: " GATEWAY
			  "\r\nContent-Length: 65537\r\n\r\n",
			  413);
}

/* More than the limit by far */
#define OVERSIZE (HTTP_BODY_MAX + 200000)

/* Send while the server reads: no socket takes all of it at once. */
static void say_long(const struct lab_client *client, const char *text)
{
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;
	size_t left = strlen(text);

	while (left > 0 && clock_now_ms() < deadline_ms) {
		ssize_t sent =
			send(client->fd, text, left, MSG_NOSIGNAL | MSG_DONTWAIT);

		assert_true(sent > 0 || errno == EAGAIN);
		text += sent > 0 ? sent : 0;
		left -= sent > 0 ? (size_t)sent : 0;
		event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(left, 0);
}

static void test_oversize_chunked(void **state)
{
	static char text[OVERSIZE + 4096];
	struct lab_client *client = lab_dial(HOST, GATEWAY);
	int used = snprintf(text, sizeof(text),
			    "POST " CONTROL " HTTP/1.1\r\nHost: " GATEWAY
			    "\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
			    OVERSIZE);

	(void)state;
	memset(text + used, 'x', OVERSIZE);
	memcpy(text + used + OVERSIZE, "\r\n0\r\n\r\n", 8);
	say_long(client, text);
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(lab_status_of(client), 413);
	lab_client_free(client);
}

static void test_oversize_header(void **state)
{
	static char text[HTTP_HEADERS_MAX * 2];
	struct lab_client *client;
	int status;
	int used = snprintf(text, sizeof(text),
			    "GET /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY "\r\nX: ");

	(void)state;
	memset(text + used, 'x', HTTP_HEADERS_MAX);
	memcpy(text + used + HTTP_HEADERS_MAX, "\r\n\r\n", 5);
	client = lab_exchange(HOST, text);
	status = lab_status_of(client);
	assert_int_equal(status, 431);
	lab_client_free(client);
}

/* HTTP-2 */
static void test_chunked_request(void **state)
{
	static char text[8192];

	(void)state;
	(void)snprintf(
		text, sizeof(text),
		"POST " CONTROL " HTTP/1.1\r\nHost: " GATEWAY "\r\n" ADD_HEADER
		"Content-Type: text/xml\r\n"
		"Transfer-Encoding: chunked\r\n\r\n5\r\n%.5s\r\n%zx\r\n%s\r\n0\r\n"
		"\r\n",
		add_body, strlen(add_body) - 5, add_body + 5);
	lab_assert_status(text, 200);
	assert_int_equal(lab_get()->request_count, 1);
}

/* HTTP-2, CL-15 */
static bool has_continue(const void *user)
{
	return strstr(((const struct lab_client *)user)->in, "\r\n\r\n") != NULL;
}

static void test_expect(void **state)
{
	struct lab_client *client = lab_dial(HOST, GATEWAY);
	char text[512];

	(void)state;
	(void)snprintf(text, sizeof(text),
		       "POST " CONTROL " HTTP/1.1\r\nHost: " GATEWAY "\r\n" ADD_HEADER
		       "Expect: 100-continue\r\nContent-Length: %zu\r\n\r\n",
		       strlen(add_body));
	lab_say(client, text);
	assert_true(lab_wait_for(has_continue, client));
	assert_memory_equal(client->in, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	client->used = 0;
	lab_say(client, add_body);
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(lab_status_of(client), 200);
	lab_client_free(client);
	/* One that will be refused is refused before the body is sent. */
	lab_assert_status("POST " CONTROL " HTTP/1.1\r\nHost: evil.example\r\n"
			  "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n",
			  403);
}

/* HTTP-4, IGD-1: by source and by destination address, without a word */
static void test_strangers(void **state)
{
	struct lab_client *client = lab_dial(STRANGER, GATEWAY);

	(void)state;
	lab_say(client, GET_ROOT);
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(client->used, 0);
	lab_client_free(client);
	client = lab_dial(HOST, STRANGER);
	lab_say(client, GET_ROOT);
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(client->used, 0);
	lab_client_free(client);
}

/* HTTP-3: half-open connections of some hosts keep nobody out, not even those hosts */
static void test_slow_clients(void **state)
{
	static const char *const hosts[] = {HOST, "10.99.0.4", "10.99.0.5",
					    "10.99.0.6"};
	static struct lab_client *slow[4 * HTTP_CONNECTIONS_PER_CLIENT_MAX];
	const size_t count = sizeof(slow) / sizeof(slow[0]);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		slow[i] = lab_dial(hosts[i % 4], GATEWAY);
		/* It may have been hung up on already. */
		(void)send(slow[i]->fd, "GET / HT", 8, MSG_NOSIGNAL);
		if (i % 16 == 0)
			event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	}
	for (size_t i = 0; i < 2; i++) {
		struct lab_client *client = lab_exchange(i ? HOST : HOST_2, GET_ROOT);

		assert_int_equal(lab_status_of(client), 200);
		lab_client_free(client);
	}
	for (size_t i = 0; i < count; i++)
		lab_client_free(slow[i]);
}

/* ---- SOAP ---- */

/* SOAP-1, SOAP-5, IGD-15, IGD-21: what core is asked, what the client is told */
static void test_add(void **state)
{
	struct lab_client *client = lab_exchange(HOST, post(ADD_HEADER, add_body));
	const struct request *request = &lab_get()->request;
	struct ip_addr host;

	(void)state;
	assert_int_equal(lab_status_of(client), 200);
	lab_assert_holds(client, "\r\nContent-Type: text/xml; charset=\"utf-8\"\r\n");
	lab_assert_holds(client, "<u:AddPortMappingResponse xmlns:u=\"" WANIP
				 "\"></u:AddPortMappingResponse>");
	lab_client_free(client);
	assert_true(addr_parse(HOST, &host));
	assert_int_equal(request->op, REQUEST_ADD);
	assert_int_equal(request->origin, ORIGIN_IGD);
	assert_int_equal(request->igd_version, 1);
	assert_int_equal(request->protocol, IPPROTO_UDP);
	assert_int_equal(request->prefer_failure, 1);
	assert_int_equal(request->enabled, 1);
	assert_int_equal(request->lan, 3);
	assert_int_equal(request->ifindex, if_nametoindex("lo"));
	assert_true(addr_equal(&request->client, &host));
	assert_true(addr_equal(&request->internal, &host));
	assert_int_equal(request->internal_port, 3074);
	assert_int_equal(request->external_port, 3074);
	assert_int_equal(request->lifetime_s, 604800);
	assert_string_equal(request->description, "Teredo 10.0.0.39:3074->3074 UDP");
}

static void assert_fault(const char *text, const char *code)
{
	struct lab_client *client = lab_exchange(HOST, text);
	char element[64];

	(void)snprintf(element, sizeof(element), "<errorCode>%s</errorCode>", code);
	assert_int_equal(lab_status_of(client), 500);
	lab_assert_holds(client, element);
	lab_client_free(client);
}

/* SOAP-3: unknown arguments are ignored, however many */
static void test_extra_arguments(void **state)
{
	static char args[2048];
	size_t used = 0;

	(void)state;
	for (unsigned int i = 0; i < 40; i++)
		used += (size_t)snprintf(args + used, sizeof(args) - used,
					 "<X%u>%u</X%u>", i, i, i);
	(void)snprintf(args + used, sizeof(args) - used,
		       "<NewPortMappingIndex>7</NewPortMappingIndex>");
	lab_assert_status(call("GetGenericPortMappingEntry", args), 200);
	assert_int_equal(lab_get()->request.index, 7);
}

/*
 * IGD-28, IGD-29: the worker asks as it was asked, core refuses who is no client of the
 * LAN, and version 1 hears 402. IGD-28 is a deviation: broadcast is never granted.
 */
static void test_internal_client(void **state)
{
	static const char *const refused[] = {
		"127.0.0.1",	   GATEWAY,	      "203.0.113.9",
		"239.255.255.250", "255.255.255.255",
	};

	(void)state;
	lab_get()->reply.result = RESULT_BAD_CLIENT;
	for (unsigned int i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		char args[1024];
		struct ip_addr internal;

		(void)snprintf(args, sizeof(args),
			       "<NewRemoteHost/><NewExternalPort>80</NewExternalPort>"
			       "<NewProtocol>UDP</NewProtocol>"
			       "<NewInternalPort>80</NewInternalPort>"
			       "<NewInternalClient>%s</NewInternalClient>"
			       "<NewEnabled>1</NewEnabled>"
			       "<NewPortMappingDescription/>"
			       "<NewLeaseDuration>0</NewLeaseDuration>",
			       refused[i]);
		assert_fault(call("AddPortMapping", args), "402");
		assert_true(addr_parse(refused[i], &internal));
		assert_true(addr_equal(&lab_get()->request.internal, &internal));
		assert_int_equal(lab_get()->request_count, i + 1);
	}
}

/* SOAP-6, CL-30 */
static void test_fault(void **state)
{
	struct lab_client *client;

	(void)state;
	lab_get()->reply.result = RESULT_CONFLICT;
	client = lab_exchange(HOST, post(ADD_HEADER, add_body));
	assert_int_equal(lab_status_of(client), 500);
	lab_assert_holds(client,
			 "<s:Fault><faultcode>s:Client</faultcode>"
			 "<faultstring>UPnPError</faultstring><detail><UPnPError "
			 "xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>718"
			 "</errorCode><errorDescription>ConflictInMappingEntry"
			 "</errorDescription></UPnPError></detail></s:Fault>");
	lab_client_free(client);
}

/* SOAP-7 */
static void test_http_errors(void **state)
{
	(void)state;
	lab_assert_status(post("", add_body), 400);
	lab_assert_status(post("SOAPAction: nonsense\r\n", add_body), 400);
	lab_assert_status(post(ADD_HEADER, "<not xml"), 400);
	lab_assert_status(post(ADD_HEADER, ""), 400);
	lab_assert_status("POST " CONTROL " HTTP/1.1\r\nHost: " GATEWAY
			  "\r\n" ADD_HEADER
			  "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
			  415);
	lab_assert_status("POST /igd1/ctl/Nothing HTTP/1.1\r\nHost: " GATEWAY
			  "\r\n" ADD_HEADER "Content-Length: 2\r\n\r\nhi",
			  404);
	assert_int_equal(lab_get()->request_count, 0);
}

/* SOAP-2 */
static void test_wrong_service(void **state)
{
	(void)state;
	assert_fault(
		post("SOAPAction: \"" WANIP "#GetExternalIPAddress\"\r\n", add_body),
		"401");
	assert_fault(call("AddAnyPortMapping", ""), "401");
	assert_fault(
		post("SOAPAction: \"urn:schemas-upnp-org:service:WANIPConnection:2#"
		     "GetExternalIPAddress\"\r\n",
		     ENVELOPE_OPEN
		     "<u:GetExternalIPAddress xmlns:u=\"urn:schemas-upnp-org:service:"
		     "WANIPConnection:2\"/>" ENVELOPE_CLOSE),
		"401");
	assert_fault(call("DeletePortMapping", ""), "402");
}

static void call_action(const char *prefix, const struct igd_service *service,
			const struct igd_action *action)
{
	unsigned int version = service->version;
	char body[1024];
	char request[2048];
	struct lab_client *client;

	(void)snprintf(
		body, sizeof(body),
		ENVELOPE_OPEN
		"<u:%s xmlns:u=\"urn:schemas-upnp-org:service:%s:%u\"/>" ENVELOPE_CLOSE,
		action->name, service->name, version);
	(void)snprintf(request, sizeof(request),
		       "POST %s/ctl/%s HTTP/1.1\r\nHost: " GATEWAY
		       "\r\nSOAPAction: \"urn:schemas-upnp-org:service:%s:%u#%s\"\r\n"
		       "Content-Length: %zu\r\n\r\n%s",
		       prefix, service->id, service->name, version, action->name,
		       strlen(body), body);
	client = lab_exchange(HOST, request);
	/* What takes arguments misses them; everything else works. */
	if (action->in[0].name)
		lab_assert_holds(client, "<errorCode>402</errorCode>");
	else if (strcmp(action->name, "ForceTermination") == 0)
		lab_assert_holds(client, version > 1 ? "<errorCode>606</errorCode>"
						     : "<errorCode>501</errorCode>");
	else
		assert_int_equal(lab_status_of(client), 200);
	lab_client_free(client);
}

static unsigned int call_device(const char *prefix, const struct igd_device *device)
{
	unsigned int count = 0;

	for (size_t i = 0; i < IGD_SERVICES_MAX && device->services[i]; i++) {
		const struct igd_service *service = device->services[i]();

		for (size_t k = 0; k < service->action_count; k++)
			if (service->actions[k].since <= service->version) {
				call_action(prefix, service, &service->actions[k]);
				count++;
			}
	}
	return count;
}

/* DESC-6, CL-24: every action that is advertised is there, on both faces */
static void test_every_action(void **state)
{
	static const unsigned int counts[] = {2 + 5 + 11 + 7, 2 + 5 + 14 + 7};
	const struct igd_face *face;

	(void)state;
	for (size_t f = 0; (face = igd_face_get(f)); f++) {
		unsigned int count = 0;

		for (size_t i = 0; i < face->device_count; i++)
			count += call_device(face->prefix, &face->devices[i]);
		assert_int_equal(count, counts[f]);
	}
}

/* SOAP-1 */
static void test_m_post(void **state)
{
	static char text[8192];

	(void)state;
	(void)snprintf(text, sizeof(text),
		       "M-POST " CONTROL " HTTP/1.1\r\nHost: " GATEWAY
		       "\r\nContent-Type: text/xml\r\nContent-Length: %zu\r\n"
		       "Man: \"http://schemas.xmlsoap.org/soap/envelope/\"; ns=01\r\n"
		       "01-SoapAction: " WANIP "#AddPortMapping\r\n\r\n%s",
		       strlen(add_body), add_body);
	lab_assert_status(text, 200);
	assert_int_equal(lab_get()->request_count, 1);
}

/* IGD-37, IGD-38, IGD-51, SOAP-9: answered without core */
static void test_state(void **state)
{
	struct lab_client *client =
		lab_exchange(HOST, call("GetExternalIPAddress", ""));

	(void)state;
	lab_assert_holds(client,
			 "<NewExternalIPAddress>203.0.113.9</NewExternalIPAddress>");
	lab_client_free(client);
	client = lab_exchange(HOST, call("GetStatusInfo", ""));
	lab_assert_holds(client,
			 "<NewConnectionStatus>Connected</NewConnectionStatus>"
			 "<NewLastConnectionError>ERROR_NONE</NewLastConnectionError>"
			 "<NewUptime>6");
	lab_client_free(client);
	client = lab_exchange(
		HOST,
		post("SOAPACTION: "
		     "\"urn:schemas-upnp-org:control-1-0#QueryStateVariable\"\r\n",
		     ENVELOPE_OPEN "<u:QueryStateVariable "
				   "xmlns:u=\"urn:schemas-upnp-org:control-1-0\">"
				   "<u:varName>ConnectionStatus</u:varName>"
				   "</u:QueryStateVariable>" ENVELOPE_CLOSE));
	assert_int_equal(lab_status_of(client), 200);
	lab_assert_holds(client, "<u:QueryStateVariableResponse "
				 "xmlns:u=\"urn:schemas-upnp-org:control-1-0\"><return>"
				 "Connected</return></u:QueryStateVariableResponse>");
	lab_client_free(client);
	assert_int_equal(lab_get()->request_count, 0);
}

/* SOAP-5, SOAP-8, IGD-30: an entry, its arguments in order and escaped */
static void test_entry(void **state)
{
	struct lab_client *client;

	(void)state;
	lab_get()->reply.protocol = IPPROTO_TCP;
	lab_get()->reply.enabled = 1;
	lab_get()->reply.internal_port = 80;
	lab_get()->reply.external_port = 8080;
	lab_get()->reply.lifetime_s = 1234;
	assert_true(addr_parse(HOST_2, &lab_get()->reply.internal));
	(void)snprintf(lab_get()->reply.description,
		       sizeof(lab_get()->reply.description), "a<b> & \"c\" ]]>");
	client = lab_exchange(HOST,
			      call("GetGenericPortMappingEntry",
				   "<NewPortMappingIndex>7</NewPortMappingIndex>"));
	lab_assert_holds(
		client,
		"<NewRemoteHost></NewRemoteHost>"
		"<NewExternalPort>8080</NewExternalPort>"
		"<NewProtocol>TCP</NewProtocol><NewInternalPort>80</NewInternalPort>"
		"<NewInternalClient>10.99.0.3</NewInternalClient>"
		"<NewEnabled>1</NewEnabled><NewPortMappingDescription>"
		"a&lt;b&gt; &amp; ");
	lab_assert_holds(client, "]]&gt;</NewPortMappingDescription>"
				 "<NewLeaseDuration>1234</NewLeaseDuration>");
	lab_client_free(client);
	assert_int_equal(lab_get()->request.op, REQUEST_INDEX);
	assert_int_equal(lab_get()->request.index, 7);
}

/* A client that left while core thinks: nobody is answered, nothing breaks. */
static void test_vanished_client(void **state)
{
	struct lab_client *client = lab_dial(HOST, GATEWAY);
	struct request first;

	(void)state;
	lab_get()->hold = true;
	lab_say(client, post(ADD_HEADER, add_body));
	lab_wait_requests(1);
	first = lab_get()->request;
	lab_client_free(client);
	lab_core_reply(&first);
	lab_core_reply(&first); /* the second one is for nobody */
	lab_get()->hold = false;
	lab_assert_status(post(ADD_HEADER, add_body), 200);
	assert_int_not_equal(lab_get()->request.cookie, first.cookie);
}

/* Replies that nobody asked for are ignored; more requests than slots are refused. */
static void test_stray_replies(void **state)
{
	struct request request = {.cookie = UINT64_MAX};
	struct lab_client *client = lab_dial(HOST, GATEWAY);

	(void)state;
	lab_core_reply(&request);
	request.cookie = 0;
	lab_core_reply(&request);
	lab_get()->hold = true;
	lab_say(client, post(ADD_HEADER, add_body));
	lab_wait_requests(1);
	request.cookie =
		lab_get()->request.cookie + (1u << 16); /* right slot, wrong time */
	lab_core_reply(&request);
	lab_core_reply(&lab_get()->request);
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(lab_status_of(client), 200);
	lab_client_free(client);
}

/* The LAN goes, and the worker stops, while requests are pending. */
static void test_stop_while_pending(void **state)
{
	struct lan_info lan = lab_make_lan();
	struct lab_client *client = lab_dial(HOST, GATEWAY);
	struct request first;

	(void)state;
	lab_get()->hold = true;
	lab_say(client, post(ADD_HEADER, add_body));
	lab_wait_requests(1);
	first = lab_get()->request;
	lan.ifindex = 0;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_core_reply(&first);
	lab_wait_ready(2);
	assert_int_equal(lab_get()->ready.sockets, 0);
	assert_true(lab_wait_for(lab_is_closed, client));
	lab_client_free(client);
	lan = lab_make_lan();
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(3);
	client = lab_dial(HOST, GATEWAY);
	lab_say(client, post(ADD_HEADER, add_body));
	lab_wait_requests(2);
	worker_get_upnp()->stop(lab_get()->worker);
	lab_get()->worker = NULL;
	assert_true(lab_wait_for(lab_is_closed, client));
	lab_client_free(client);
}

/* ---- LANs and messages ---- */

/* Port taken: one failure reported; once it is free the next chance takes it. */
static void test_port_taken(void **state)
{
	struct lan_info lan = lab_make_lan();
	struct sockaddr_in in = lab_get_address("0.0.0.0", SSDP_PORT);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(1);
	assert_int_equal(lab_get()->ready.sockets, 1);
	assert_int_equal(lab_get()->ready.failed, 1);
	lab_assert_status(GET_ROOT, 200);
	close(fd);
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(2);
	assert_int_equal(lab_get()->ready.sockets, 2);
	assert_int_equal(lab_get()->ready.failed, 0);
}

/* A LAN without UPnP, without IPv4 or with a face that we do not have has no sockets.
 */
static void test_unwanted_lans(void **state)
{
	struct lan_info lan = lab_make_lan();

	(void)state;
	lan.protocols = LAN_PROTOCOL_NATPMP;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lan = lab_make_lan();
	lan.address_count = 0;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lan = lab_make_lan();
	lan.igd = 4;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(1);
	assert_int_equal(lab_get()->ready.sockets, 0);
	assert_int_equal(lab_get()->ready.failed, 0);
}

static bool has_core_ended(const void *user)
{
	(void)user;
	return lab_get()->core_ended;
}

static void test_bad_message(void **state)
{
	struct lan_info lan = lab_make_lan();

	lan.address_count = LAN_ADDRESSES_MAX + 1;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	assert_true(lab_wait_for(has_core_ended, NULL));
	(void)lab_teardown(state);
	lab_start_worker();
	lab_core_send(MSG_WAN, &lan, sizeof(lan));
	assert_true(lab_wait_for(has_core_ended, NULL));
}

/* Nothing is ready before every LAN that was promised is served. */
static void test_ready_after_lans(void **state)
{
	struct lan_info lan = lab_make_lan();

	(void)state;
	lab_get()->lan_count = 2;
	lab_start_worker();
	for (int i = 0; i < 2; i++) {
		for (int turn = 0; turn < 10; turn++)
			event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
		assert_int_equal(lab_get()->ready_count, 0);
		lan.lan = (uint8_t)i;
		lan.protocols = i == 0 ? LAN_PROTOCOL_UPNP : LAN_PROTOCOL_NATPMP;
		lab_core_send(MSG_LAN, &lan, sizeof(lan));
	}
	lab_wait_ready(1);
	assert_int_equal(lab_get()->ready.sockets, 2);
}

#define SERVING(name)                                                                  \
	cmocka_unit_test_setup_teardown(name, lab_setup_serving, lab_teardown)
#define BARE(name) cmocka_unit_test_setup_teardown(name, lab_setup_bare, lab_teardown)
#define OWN(name) cmocka_unit_test_teardown(name, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVING(test_document),
		SERVING(test_http_1_0),
		SERVING(test_language),
		SERVING(test_every_action),
		SERVING(test_head),
		SERVING(test_routes),
		SERVING(test_host),
		SERVING(test_repeated_headers),
		SERVING(test_oversize),
		SERVING(test_oversize_chunked),
		SERVING(test_oversize_header),
		SERVING(test_chunked_request),
		SERVING(test_expect),
		SERVING(test_strangers),
		SERVING(test_slow_clients),
		SERVING(test_add),
		SERVING(test_fault),
		SERVING(test_extra_arguments),
		SERVING(test_internal_client),
		SERVING(test_http_errors),
		SERVING(test_wrong_service),
		SERVING(test_m_post),
		SERVING(test_state),
		SERVING(test_entry),
		SERVING(test_vanished_client),
		SERVING(test_stray_replies),
		SERVING(test_stop_while_pending),
		BARE(test_port_taken),
		BARE(test_unwanted_lans),
		BARE(test_bad_message),
		OWN(test_ready_after_lans),
	};

	return cmocka_run_group_tests(tests, lab_group_setup, NULL);
}
