/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/http.h"
#include "protocols/http_answer.h"
#include "protocols/upnp.h"

static struct lan_info make_lan(void)
{
	struct lan_info lan = {.ifindex = 1, .address_count = 2};

	assert_true(addr_parse("192.168.1.1", &lan.addresses[0].addr));
	assert_true(addr_parse("2001:db8::1", &lan.addresses[1].addr));
	return lan;
}

/* HTTP-5 */
static void test_methods(void **state)
{
	(void)state;
	assert_int_equal(http_parse_method("GET"), HTTP_GET);
	assert_int_equal(http_parse_method("HEAD"), HTTP_HEAD);
	assert_int_equal(http_parse_method("POST"), HTTP_POST);
	assert_int_equal(http_parse_method("M-POST"), HTTP_M_POST);
	assert_int_equal(http_parse_method("SUBSCRIBE"), HTTP_SUBSCRIBE);
	assert_int_equal(http_parse_method("get"), HTTP_UNKNOWN);
	assert_int_equal(http_parse_method("GETX"), HTTP_UNKNOWN);
	assert_int_equal(http_parse_method(""), HTTP_UNKNOWN);
}

/* IGD-6, DESC-7: whatever it writes large or small */
static void test_legacy_agents(void **state)
{
	static const char *const legacy[] = {
		"FDSSDP", "fdssdp", "Microsoft-Windows/10.0 UPnP/1.0",
		"microsoft-windows/10.0", "UPnP/1.0 XBOX/2.0"};
	static const char *const modern[] = {"", "Microsoft", "FDSS DP", "miniupnpc"};

	(void)state;
	for (size_t i = 0; i < sizeof(legacy) / sizeof(legacy[0]); i++)
		assert_true(http_agent_is_legacy(legacy[i]));
	for (size_t i = 0; i < sizeof(modern) / sizeof(modern[0]); i++)
		assert_false(http_agent_is_legacy(modern[i]));
	assert_false(http_agent_is_legacy(NULL));
}

/* HTTP-4 */
static void test_host(void **state)
{
	static const char *const ours[] = {
		"192.168.1.1",	    "192.168.1.1:49152", "[2001:db8::1]",
		"[2001:db8::1]:80", "192.168.1.1 ",	 " \t192.168.1.1:49152\t ",
	};
	static const char *const others[] = {
		"",
		"evil.example",
		"192.168.1.2",
		"192.168.1.1:",
		"192.168.1.1:80x",
		"192.168.1.1:99999",
		"192.168.1.1.evil.example",
		"192.168.1.1 :80",
		" ",
		"2001:db8::1",
		"[2001:db8::1",
		"[2001:db8::1]x",
		"[192.168.1.1]",
		"[fe80::1%lo]",
		"[",
		"[]",
		"::ffff:192.168.1.1",
		"[::ffff:192.168.1.1]",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct lan_info lan = make_lan();

	(void)state;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		assert_true(http_host_is_ours(ours[i], &lan));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (http_host_is_ours(others[i], &lan))
			print_error("taken for ours: %s\n", others[i]);
		assert_false(http_host_is_ours(others[i], &lan));
	}
}

/* HTTP-4, HTTP-5: a target with a host must name us */
static void test_target(void **state)
{
	static const struct {
		const char *target;
		const char *path; /* NULL = refused */
	} rows[] = {
		{"/a", "/a"},
		{"*", "*"},
		{"", ""},
		{"http://192.168.1.1/a", "/a"},
		{"HTTP://192.168.1.1:49152/a/b", "/a/b"},
		{"http://[2001:db8::1]:80", "/"},
		{"http://evil.example/a", NULL},
		{"http:///a", NULL},
		{"http://u@192.168.1.1/a", NULL},
		{"http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaaaaaa/a",
		 NULL},
		{"https://192.168.1.1/a", "https://192.168.1.1/a"},
	};
	struct lan_info lan = make_lan();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *path = http_target_get_path(rows[i].target, &lan);

		if (rows[i].path)
			assert_string_equal(path, rows[i].path);
		else
			assert_null(path);
	}
}

/* SOAP-7 */
static void test_content_type(void **state)
{
	(void)state;
	assert_true(http_content_type_is_xml(NULL));
	assert_true(http_content_type_is_xml("text/xml"));
	assert_true(http_content_type_is_xml("TEXT/XML; charset=\"utf-8\""));
	assert_true(http_content_type_is_xml("application/soap+xml;action=x"));
	assert_false(http_content_type_is_xml(""));
	assert_false(http_content_type_is_xml("text/xmlx"));
	assert_false(http_content_type_is_xml("application/x-www-form-urlencoded"));
}

#define PART UINT16_MAX
#define LINE "GET / HTTP/1.1\r\n"

/* HTTP-2: where a head ends, and what may not be in it */
static void test_head(void **state)
{
	static const struct {
		const char *text;
		uint16_t status; /* 0 = whole and fine */
	} rows[] = {
		{"", PART},
		{LINE, PART},
		{LINE "\r", PART},
		{LINE "\r\n", 0},
		{"GET / HTTP/1.1\n\n", 0},
		{"GET / HTTP/1.1\rA: b\r\r ", PART},
		{"GET / HTTP/1.1\rA: b\r\n\r\n", 400},
		{LINE "Content-Length: 1\rA: b\r\n\n", 400},
		{"\r\n\r\n\r\n", PART},
		{"\r\n\r\n" LINE "A: b\r\n\r\n c", 0},
		{LINE "A:\r\n\r\n", 0},
		{LINE "A: b\r\n c\r\n\r\n", 400},
		{"GET / HTTP/1.1\nA: b\n\tc: d\n\n", 400},
		{LINE " A: b\r\n\r\n", 400},
		{LINE "A: b\r\n c\r\n", PART},
		{LINE "A : b\r\n\r\n", 400},
		{LINE ": b\r\n\r\n", 400},
		{LINE "A\r\n\r\n", 400},
		{LINE "Content-Length: 12\r\n\r\n", 0},
		{LINE "content-length:\t12\r\n\r\n", 0},
		{LINE "Content-Length:12 \r\n\r\n", 400},
		{LINE "Content-Length:\r\n\r\n", 400},
		{LINE "Content-Length: -1\r\n\r\n", 400},
		{LINE "Content-Length: 0x1\r\n\r\n", 400},
		{LINE "Content-Length: 9999999999999999999\r\n\r\n", 0},
		{LINE "Content-Length: 99999999999999999999\r\n\r\n", 413},
		{LINE "Content-Lengths: x\r\n\r\n", 0},
	};
	uint16_t status;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		status = PART;
		if (!http_head_scan(rows[i].text, strlen(rows[i].text), &status))
			assert_int_equal(status, PART);
		if (status != rows[i].status)
			print_error("%s\n", rows[i].text);
		assert_int_equal(status, rows[i].status);
	}
	assert_true(http_head_scan("GET /\0 HTTP/1.1\n\n", 18, &status));
	assert_int_equal(status, 400);
}

/* A request line that is not whole, of so many octets. */
static uint16_t scan_part(size_t length)
{
	static char text[2 * HTTP_LINE_MAX];
	uint16_t status = PART;

	memset(text, 'x', length);
	(void)http_head_scan(text, length, &status);
	return status;
}

static uint16_t scan_arguments(unsigned int count)
{
	char text[256] = "GET /?";
	uint16_t status = PART;

	for (unsigned int i = 0; i < count; i++)
		memcpy(text + 6 + 2 * i, "a&", 2);
	memcpy(text + 5 + 2 * count, " HTTP/1.1\r\n\r\n", 14);
	(void)http_head_scan(text, strlen(text), &status);
	return status;
}

/* HTTP-3: what libmicrohttpd would leave without an answer */
static void test_request_line(void **state)
{
	(void)state;
	assert_int_equal(scan_part(HTTP_LINE_MAX), PART);
	assert_int_equal(scan_part(HTTP_LINE_MAX + 1), 414);
	assert_int_equal(scan_arguments(HTTP_ARGUMENTS_MAX), 0);
	assert_int_equal(scan_arguments(HTTP_ARGUMENTS_MAX + 1), 414);
}

static uint16_t check(const char *const (*rows)[2], size_t count, bool is_http_1_0)
{
	struct http_headers headers = {.octets = 0};
	struct lan_info lan = make_lan();

	for (size_t i = 0; i < count; i++)
		http_headers_add(&headers, rows[i][0], rows[i][1]);
	return http_headers_check(&headers, is_http_1_0, &lan);
}

#define HOST                                                                           \
	{                                                                              \
		"host", "192.168.1.1"                                                  \
	}
#define CHECK(...)                                                                     \
	check((const char *const[][2]){__VA_ARGS__},                                   \
	      sizeof((const char *const[][2]){__VA_ARGS__}) / sizeof(char *[2]),       \
	      false)

/* HTTP-2, HTTP-3, HTTP-4 */
static void test_check(void **state)
{
	char *big = malloc(HTTP_HEADERS_MAX + 1);

	(void)state;
	assert_non_null(big);
	memset(big, 'x', HTTP_HEADERS_MAX);
	big[HTTP_HEADERS_MAX] = '\0';
	assert_int_equal(CHECK(HOST), 0);
	assert_int_equal(CHECK(HOST, {"ACCEPT", "a"}, {"Accept", "b"}), 0);
	assert_int_equal(CHECK(HOST, HOST), 400);
	assert_int_equal(CHECK(HOST, {"SOAPAction", "a"}, {"SOAPACTION", "b"}), 400);
	assert_int_equal(CHECK(HOST, {"Content-Length", "1"}, {"content-length", "1"}),
			 400);
	assert_int_equal(
		CHECK(HOST, {"Content-Length", "1"}, {"Transfer-Encoding", "chunked"}),
		400);
	assert_int_equal(CHECK(HOST, {"Transfer-Encoding", "Chunked"}), 0);
	assert_int_equal(CHECK(HOST, {"Transfer-Encoding", "gzip"}), 501);
	assert_int_equal(CHECK(HOST, {"Content-Length", "-1"}), 400);
	assert_int_equal(CHECK(HOST, {"Content-Length", "65536"}), 0);
	assert_int_equal(CHECK(HOST, {"Content-Length", " 65536\t"}), 0);
	assert_int_equal(CHECK(HOST, {"Content-Length", "6 5"}), 400);
	assert_int_equal(CHECK(HOST, {"Content-Length", "65537"}), 413);
	assert_int_equal(CHECK(HOST, {"Content-Length", "99999999999999999999"}), 400);
	assert_int_equal(CHECK(HOST, {"X", big}), 431);
	assert_int_equal(CHECK({"Host", "evil.example"}), 403);
	assert_int_equal(CHECK({"Accept", "a"}), 400);
	assert_int_equal(check((const char *const[][2]){{"A", "a"}}, 1, true), 0);
	assert_int_equal(
		check((const char *const[][2]){{"Host", "evil.example"}}, 1, true),
		403);
	free(big);
}

/* SOAP-1: M-POST finds its header by the prefix that MAN names */
static void test_m_post(void **state)
{
	struct http_headers headers = {.octets = 0};

	(void)state;
	http_headers_add(&headers, "01-SOAPACTION", "a");
	assert_null(http_headers_get_soap_action(&headers, HTTP_M_POST));
	http_headers_add(&headers, "Man",
			 "\"http://schemas.xmlsoap.org/soap/envelope/\"; ns=01");
	assert_string_equal(http_headers_get_soap_action(&headers, HTTP_M_POST), "a");
	assert_null(http_headers_get_soap_action(&headers, HTTP_POST));
	headers.man = "\"http://schemas.xmlsoap.org/soap/envelope/\"; ns=02";
	assert_null(http_headers_get_soap_action(&headers, HTTP_M_POST));
	headers.man = "\"http://elsewhere.example/\"; ns=01";
	assert_null(http_headers_get_soap_action(&headers, HTTP_M_POST));
	http_headers_add(&headers, "Soapaction", "b");
	assert_string_equal(http_headers_get_soap_action(&headers, HTTP_POST), "b");
}

#define DATE "Thu, 01 Jan 1970 00:00:00 GMT"

static size_t write_head(const struct http_answer *answer, char *out, size_t size)
{
	struct writer writer = writer_init(out, size - 1);

	http_answer_write_head(answer, DATE, &writer);
	out[writer.used] = '\0';
	return writer.failed ? 0 : writer.used;
}

/* HTTP-1, SOAP-5: every header, and a length even where there is no body */
static void test_answer_head(void **state)
{
	const struct http_answer document = {
		.status = 200,
		.content_type = "text/xml; charset=\"utf-8\"",
		.fields = {{"SID", "uuid:1"}, {"TIMEOUT", "Second-1800"}},
		.length = 1234,
	};
	const struct http_answer refusal = {.status = 405, .allow = "GET, HEAD"};
	char text[512];
	size_t length = write_head(&document, text, sizeof(text));

	(void)state;
	assert_string_equal(text,
			    "HTTP/1.1 200 OK\r\n"
			    "Content-Type: text/xml; charset=\"utf-8\"\r\n"
			    "Date: " DATE "\r\nExt: \r\nServer: " UPNP_SERVER "\r\n"
			    "Connection: close\r\nSID: uuid:1\r\n"
			    "TIMEOUT: Second-1800\r\nContent-Length: 1234\r\n\r\n");
	assert_int_equal(write_head(&document, text, length), 0);
	assert_int_equal(write_head(&document, text, length + 1), length);
	assert_int_not_equal(write_head(&refusal, text, sizeof(text)), 0);
	assert_string_equal(text,
			    "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"
			    "Date: " DATE "\r\nExt: \r\nServer: " UPNP_SERVER "\r\n"
			    "Connection: close\r\nContent-Length: 0\r\n\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_legacy_agents),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_content_type),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_m_post),
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_request_line),
		cmocka_unit_test(test_answer_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
