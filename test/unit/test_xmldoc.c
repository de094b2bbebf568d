/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "protocols/xmldoc.h"

/* Deeper than any document of ours. */
#define TOO_DEEP 40
/* Elements of a document that grows several times. */
#define MANY 2000

/* What a reader makes of it; the caller's. */
static xmlDocPtr parse(const struct xmldoc *doc)
{
	xmlDocPtr xml = xmlReadMemory(doc->bytes, (int)doc->length, NULL, NULL,
				      XML_PARSE_NONET | XML_PARSE_NOERROR |
					      XML_PARSE_NOWARNING);

	assert_non_null(xml);
	return xml;
}

static void assert_text(xmlNodePtr node, const char *text)
{
	xmlChar *content = xmlNodeGetContent(node);

	assert_string_equal((const char *)content, text);
	xmlFree(content);
}

/* SOAP-8, DESC-4: octet by octet */
static void test_octets(void **state)
{
	struct xml_writer *writer = xml_writer_new();
	struct xmldoc doc;

	(void)state;
	xml_writer_open(writer, "a:list");
	xml_writer_attribute(writer, "xmlns:a", "urn:x");
	xml_writer_attribute(writer, "note", "<\"&'>");
	xml_writer_element(writer, "empty", "");
	xml_writer_element(writer, "text", "a & <b> \"c\" 'd' ]]>\r\n\xc3\xa9");
	xml_writer_document(writer, "doc", "<x y=\"1\">&amp;</x>");
	xml_writer_document(writer, "doc", "<![CDATA[1]]>");
	xml_writer_open(writer, "none");
	xml_writer_close(writer);
	xml_writer_close(writer);
	assert_true(xml_writer_finish(writer, &doc));
	assert_string_equal(
		doc.bytes,
		"<?xml version=\"1.0\"?>\n"
		"<a:list xmlns:a=\"urn:x\" "
		"note=\"&lt;&quot;&amp;'&gt;\"><empty></empty>"
		"<text>a &amp; &lt;b&gt; &quot;c&quot; 'd' ]]&gt;&#13;\n\xc3\xa9</text>"
		"<doc><![CDATA[<x y=\"1\">&amp;</x>]]></doc>"
		"<doc>&lt;![CDATA[1]]&gt;</doc><none></none></a:list>\n");
	assert_int_equal(doc.length, strlen(doc.bytes));
	xmlFreeDoc(parse(&doc));
	xmldoc_fini(&doc);
	assert_null(doc.bytes);
	xmldoc_fini(&doc);
}

/* SOAP-8: every character that XML has comes back as it went in */
static void test_round_trip(void **state)
{
	char text[128] = "\t\n\r";
	size_t used = 3;
	struct xmldoc doc;
	struct xml_writer *writer = xml_writer_new();
	xmlChar *value;
	xmlDocPtr xml;

	(void)state;
	for (char c = ' '; c < 0x7f; c++)
		text[used++] = c;
	text[used] = '\0';
	xml_writer_open(writer, "root");
	xml_writer_attribute(writer, "value", text + 3);
	xml_writer_element(writer, "child", text);
	assert_true(xml_writer_finish(writer, &doc)); /* closes what is open */
	xml = parse(&doc);
	assert_text(xmlDocGetRootElement(xml)->children, text);
	value = xmlGetProp(xmlDocGetRootElement(xml), BAD_CAST "value");
	assert_string_equal((const char *)value, text + 3);
	xmlFree(value);
	xmlFreeDoc(xml);
	xmldoc_fini(&doc);
}

/* IGD-34: a document of many times its first size; its size is told as it grows */
static void test_growth(void **state)
{
	struct xml_writer *writer = xml_writer_new();
	struct xmldoc doc;
	size_t last;
	xmlNodePtr node;
	xmlDocPtr xml;

	(void)state;
	assert_int_equal(xml_writer_get_size(NULL), 0);
	xml_writer_open(writer, "root");
	for (int i = 0; i < MANY; i++) {
		last = xml_writer_get_size(writer);
		xml_writer_element(writer, "p:an-element", "its text & more");
		assert_true(xml_writer_get_size(writer) > last);
	}
	last = xml_writer_get_size(writer);
	xml_writer_close(writer);
	assert_true(xml_writer_finish(writer, &doc));
	assert_int_equal(doc.length, last + strlen("</root>\n"));
	xml = parse(&doc);
	assert_int_equal(xmlChildElementCount(xmlDocGetRootElement(xml)), MANY);
	for (node = xmlDocGetRootElement(xml)->children; node; node = node->next)
		assert_text(node, "its text & more");
	xmlFreeDoc(xml);
	xmldoc_fini(&doc);
}

/* Steps that make no document are an error, and nothing else */
static void test_misuse(void **state)
{
	struct xml_writer *writer = xml_writer_new();
	struct xmldoc doc;

	(void)state;
	for (int i = 0; i < TOO_DEEP; i++)
		xml_writer_open(writer, "deep");
	for (int i = 0; i < TOO_DEEP; i++)
		xml_writer_close(writer);
	assert_false(xml_writer_finish(writer, &doc));
	writer = xml_writer_new();
	xml_writer_element(writer, "one", "");
	xml_writer_close(writer);
	assert_false(xml_writer_finish(writer, &doc));
	writer = xml_writer_new();
	xml_writer_element(writer, "one", "");
	xml_writer_attribute(writer, "late", "");
	assert_false(xml_writer_finish(writer, &doc));
	assert_false(xml_writer_finish(NULL, &doc));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_octets),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_misuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
