/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/soap.h"

#define WANIP "urn:schemas-upnp-org:service:WANIPConnection:1"
#define OPEN                                                                           \
	"<?xml version=\"1.0\"?><s:Envelope "                                          \
	"xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>"
#define CLOSE "</s:Body></s:Envelope>"

static bool parse(const char *text, struct soap_call *call)
{
	return soap_parse_call_for(text, strlen(text), NULL, call);
}

static void assert_value(const struct soap_call *call, const char *name,
			 const char *value)
{
	const struct soap_arg *arg = soap_call_get_arg(call, name);

	assert_non_null(arg);
	assert_string_equal(soap_call_get_value(call, arg), value);
	assert_int_equal(arg->length, strlen(value));
}

/* SOAP-1 */
static void test_action_header(void **state)
{
	static const char *const good[] = {
		"\"" WANIP "#AddPortMapping\"",
		"'" WANIP "#AddPortMapping'",
		WANIP "#AddPortMapping",
		" \t\"" WANIP "#AddPortMapping\" ",
	};
	static const char *const bad[] = {
		"",
		"\"\"",
		"#",
		"\"" WANIP "\"",
		"\"" WANIP "#\"",
		"\"#AddPortMapping\"",
		"\"" WANIP "#AddPortMapping",
		"\"" WANIP "#AddPortMapping'",
		"\"" WANIP "#Add PortMapping\"",
		"\"" WANIP "#Add<b>\"",
		"\"" WANIP "\r\n#AddPortMapping\"",
		"\"" WANIP "#AddPortMapping\" x",
		"\"" WANIP "#"
		"AddPortMappingAddPortMappingAddPortMappingAddPortMapping\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct soap_action action;

		assert_true(soap_parse_action(good[i], &action));
		assert_string_equal(action.type, WANIP);
		assert_string_equal(action.name, "AddPortMapping");
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct soap_action action = {.name = "untouched"};

		assert_false(soap_parse_action(bad[i], &action));
		assert_string_equal(action.name, "untouched");
	}
}

/* SOAP-3: any prefix, any order, trimmed, CDATA and entities decoded once, extras kept
 */
static void test_call(void **state)
{
	static const char *const calls[] = {
		OPEN "<u:Act xmlns:u=\"" WANIP
		     "\"><A>1</A><B>two &amp; &lt;three&gt;</B>"
		     "</u:Act>" CLOSE,
		OPEN "<Act xmlns=\"" WANIP
		     "\"><B><![CDATA[two & <three>]]></B><A>\r\n 1\t"
		     "</A><Extra/></Act>" CLOSE,
		"<SOAP-ENV:Envelope "
		"xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\">"
		"<SOAP-ENV:Header><x>9</x></SOAP-ENV:Header><SOAP-ENV:Body>"
		"<m:Act xmlns:m=\"" WANIP "\"><m:A a=\"b\">1</m:A>"
		"<!-- no --><B>two &#38; &#x3c;three></B></m:Act>"
		"</SOAP-ENV:Body></SOAP-ENV:Envelope>",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct soap_call call;

		assert_true(parse(calls[i], &call));
		assert_string_equal(call.action.type, WANIP);
		assert_string_equal(call.action.name, "Act");
		assert_value(&call, "A", "1");
		assert_value(&call, "B", "two & <three>");
		assert_null(soap_call_get_arg(&call, "C"));
	}
}

static void assert_bad(const char *text)
{
	struct soap_call call;

	if (parse(text, &call))
		print_error("accepted: %s\n", text);
	assert_false(parse(text, &call));
}

/* SOAP-7, SOAP-10: nothing is expanded, nothing is fetched */
static void test_bad_xml(void **state)
{
	(void)state;
	assert_bad("");
	assert_bad("x");
	assert_bad("<a/>");
	assert_bad("<Envelope/>");
	assert_bad(OPEN CLOSE);
	assert_bad(OPEN "<u:Act/>" CLOSE);
	assert_bad(OPEN "<Act/>" CLOSE);
	assert_bad(OPEN "<u:Act xmlns:u=\"" WANIP "\"><A>1</u:Act>" CLOSE);
	assert_bad("<!DOCTYPE a>" OPEN "<u:Act xmlns:u=\"" WANIP "\"/>" CLOSE);
	assert_bad("<!DOCTYPE a [<!ENTITY b \"c\"><!ENTITY d \"&b;&b;\">]>"
		   "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">"
		   "<s:Body><u:Act xmlns:u=\"" WANIP "\"><A>&d;</A></u:Act>" CLOSE);
	assert_bad("<!DOCTYPE a SYSTEM \"file:///etc/passwd\">"
		   "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">"
		   "<s:Body><u:Act xmlns:u=\"" WANIP "\"/>" CLOSE);
	assert_bad(OPEN "<u:Act xmlns:u=\"" WANIP
			"\"><A><a><b><c><d><e><f/></e></d></c>"
			"</b></a></A></u:Act>" CLOSE);
}

/* SOAP-10: depth */
static void test_deep(void **state)
{
	static char text[60000];
	size_t used = 0;

	(void)state;
	while (used + 3 < sizeof(text)) {
		memcpy(text + used, "<a>", 3);
		used += 3;
	}
	text[used] = '\0';
	assert_bad(text);
}

/* Repeats are marked, long values cut and marked, too many arguments ignored. */
static void test_limits(void **state)
{
	static char text[40000];
	static struct soap_call call;
	const struct soap_arg *arg;
	int used;

	(void)state;
	assert_true(parse(OPEN "<u:Act xmlns:u=\"" WANIP
			       "\"><A>1</A><A>2</A></u:Act>" CLOSE,
			  &call));
	assert_value(&call, "A", "1");
	assert_true(soap_call_get_arg(&call, "A")->repeated);
	used = snprintf(text, sizeof(text), OPEN "<u:Act xmlns:u=\"" WANIP "\"><A>");
	memset(text + used, 'x', 5000);
	(void)snprintf(text + used + 5000, sizeof(text) - (size_t)used - 5000,
		       "</A><B>1</B></u:Act>" CLOSE);
	assert_true(parse(text, &call));
	arg = soap_call_get_arg(&call, "A");
	assert_non_null(arg);
	assert_true(arg->truncated);
	assert_int_equal(arg->length, SOAP_VALUE_MAX);
	assert_value(&call, "B", "1");
	used = snprintf(text, sizeof(text), OPEN "<u:Act xmlns:u=\"" WANIP "\">");
	for (int i = 0; i < 100; i++)
		used += snprintf(text + used, sizeof(text) - (size_t)used, "<A%d/>", i);
	(void)snprintf(text + used, sizeof(text) - (size_t)used, "</u:Act>" CLOSE);
	assert_true(parse(text, &call));
	assert_int_equal(call.arg_count, SOAP_ARGS_MAX);
}

static bool keep_z(const void *user, const struct soap_action *action, const char *name)
{
	assert_string_equal(user, "for us");
	assert_string_equal(action->name, "Act");
	return strcmp(name, "Z") == 0;
}

/* SOAP-3: unknown arguments, many, long and repeated, take no room */
static void test_filter(void **state)
{
	static const struct soap_filter filter = {keep_z, "for us"};
	static char text[20000];
	static struct soap_call call;
	int used = snprintf(text, sizeof(text), OPEN "<u:Act xmlns:u=\"" WANIP "\">");

	(void)state;
	for (int i = 0; i < 100; i++)
		used += snprintf(text + used, sizeof(text) - (size_t)used,
				 "<A>%0100d</A>", i);
	(void)snprintf(text + used, sizeof(text) - (size_t)used,
		       "<Z>1</Z></u:Act>" CLOSE);
	assert_true(soap_parse_call_for(text, strlen(text), &filter, &call));
	assert_int_equal(call.arg_count, 1);
	assert_value(&call, "Z", "1");
}

/* What sloppy clients send around the document */
static void test_padding(void **state)
{
	static const char text[] =
		"\r\n " OPEN "<u:Act xmlns:u=\"" WANIP "\"/>" CLOSE "\r\n\0\0";
	struct soap_call call;

	(void)state;
	assert_true(soap_parse_call_for(text, sizeof(text) - 1, NULL, &call));
	assert_false(soap_parse_call_for(" \0", 2, NULL, &call));
}

/* CL-17: miniupnpc does not escape what its user typed */
static void test_naked_ampersand(void **state)
{
	struct soap_call call;

	(void)state;
	assert_true(parse(OPEN "<u:Act xmlns:u=\"" WANIP
			       "\"><A>Tom & Jerry &amp; &#65; "
			       "AT&T&</A></u:Act>" CLOSE,
			  &call));
	assert_value(&call, "A", "Tom & Jerry & A AT&T&");
	/* Only the references of XML itself are any. */
	assert_true(parse(OPEN "<u:Act xmlns:u=\"" WANIP
			       "\"><A>a &b; c &nbsp; &lt;&#x41; &amp</A></u:Act>" CLOSE,
			  &call));
	assert_value(&call, "A", "a &b; c &nbsp; <A &amp");
	assert_bad(OPEN "<u:Act xmlns:u=\"" WANIP "\"><A>& &#0;</A></u:Act>" CLOSE);
	assert_bad("<!DOCTYPE a>" OPEN "<u:Act xmlns:u=\"" WANIP
		   "\"><A>&</A></u:Act>" CLOSE);
}

/* Another declared encoding makes nobody look for a converter: it is UTF-8 or an error.
 */
static void test_encodings(void **state)
{
	struct soap_call call;

	(void)state;
	assert_true(
		parse("<?xml version=\"1.0\" encoding=\"EBCDIC-CP-US\"?><s:Envelope "
		      "xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>"
		      "<u:Act xmlns:u=\"" WANIP "\"><A>\xc3\xa9</A></u:Act>" CLOSE,
		      &call));
	assert_value(&call, "A", "\xc3\xa9");
	assert_bad(OPEN "<u:Act xmlns:u=\"" WANIP "\"><A>\xe9</A></u:Act>" CLOSE);
}

/* SOAP-5, SOAP-8 */
static void test_write_response(void **state)
{
	static const struct soap_action action = {WANIP, "Act"};
	static const struct soap_out args[] = {
		{.name = "A", .value = ""},
		{.name = "B", .value = "<&>\"' ]]> \xf0\x9f\x8e\xae"}};
	struct xmldoc doc;
	struct soap_call call;

	(void)state;
	assert_true(soap_write_response(&action, args, 2, &doc));
	assert_int_equal(doc.length, strlen(doc.bytes));
	assert_non_null(strstr(doc.bytes,
			       "<u:ActResponse xmlns:u=\"" WANIP "\"><A></A><B>"
			       "&lt;&amp;&gt;"));
	assert_true(soap_parse_call_for(doc.bytes, doc.length, NULL, &call));
	assert_string_equal(call.action.name, "ActResponse");
	assert_value(&call, "B", args[1].value);
	xmldoc_fini(&doc);
	assert_null(doc.bytes);
}

/* SOAP-6 */
static void test_write_fault(void **state)
{
	struct xmldoc doc;

	(void)state;
	assert_true(soap_write_fault(714, "NoSuchEntryInArray", &doc));
	assert_string_equal(
		doc.bytes,
		"<?xml version=\"1.0\"?>\n<s:Envelope "
		"xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" "
		"s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>"
		"<s:Fault><faultcode>s:Client</faultcode>"
		"<faultstring>UPnPError</faultstring><detail><UPnPError "
		"xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>714</errorCode>"
		"<errorDescription>NoSuchEntryInArray</errorDescription></UPnPError>"
		"</detail></s:Fault></s:Body></s:Envelope>\n");
	xmldoc_fini(&doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_action_header),
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_bad_xml),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_encodings),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_naked_ampersand),
		cmocka_unit_test(test_write_response),
		cmocka_unit_test(test_write_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
