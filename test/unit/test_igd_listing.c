/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PortListing, held against its schema by libxml2's validator (IGD-34, IGD-35). */
#include <limits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xmlschemas.h>

#include "protocols/igd_listing.h"

#define SCHEMA SOURCE_ROOT "/test/golden/igd/WANIPConnection-v2.xsd"

static struct igd_listing *listing;
static xmlSchemaPtr schema;

static struct reply make_entry(uint16_t port)
{
	struct reply reply = {
		.op = REQUEST_LIST,
		.more = 1,
		.protocol = IPPROTO_TCP,
		.enabled = 1,
		.origin = ORIGIN_IGD,
		.external_port = port,
		.internal_port = 80,
		.lifetime_s = 3600,
		.description = "web",
	};

	assert_true(addr_parse("192.168.1.20", &reply.internal));
	return reply;
}

static int make(void **state)
{
	const struct request request = {.op = REQUEST_LIST, .cookie = 77};

	(void)state;
	listing = igd_listing_new(&request);
	return listing ? 0 : -1;
}

static int unmake(void **state)
{
	(void)state;
	igd_listing_free(listing);
	listing = NULL;
	return 0;
}

static void limit(uint32_t entries)
{
	const struct request request = {.op = REQUEST_LIST, .index = entries};

	igd_listing_free(listing);
	listing = igd_listing_new(&request);
	assert_non_null(listing);
}

static void give(struct reply reply)
{
	assert_int_equal(igd_listing_take(listing, &reply), IGD_LISTING_READS);
}

static enum igd_listing_state end(enum result result, uint64_t next)
{
	const struct reply reply = {
		.op = REQUEST_LIST, .result = (uint8_t)result, .next = next};

	return igd_listing_take(listing, &reply);
}

/* The document, which must be valid. */
static xmlDocPtr finish(void)
{
	xmlSchemaValidCtxtPtr valid = xmlSchemaNewValidCtxt(schema);
	struct xmldoc doc;
	xmlDocPtr xml;

	assert_non_null(valid);
	assert_true(igd_listing_finish(listing, &doc));
	xml = xmlReadMemory(doc.bytes, (int)doc.length, NULL, NULL, XML_PARSE_NONET);
	assert_non_null(xml);
	if (xmlSchemaValidateDoc(valid, xml) != 0) {
		print_error("%s\n", doc.bytes);
		fail();
	}
	assert_null(strstr(doc.bytes, "]]>")); /* it travels in a CDATA section */
	xmlSchemaFreeValidCtxt(valid);
	xmldoc_fini(&doc);
	return xml;
}

static const xmlNode *entry_at(const xmlDoc *xml, unsigned int index)
{
	const xmlNode *at = xmlDocGetRootElement(xml)->children;

	for (; at && index > 0; index--)
		at = at->next;
	return at;
}

static unsigned int count_entries(const xmlDoc *xml)
{
	unsigned int count = 0;

	while (entry_at(xml, count))
		count++;
	return count;
}

static void assert_value(const xmlNode *entry, const char *name, const char *value)
{
	const xmlNode *at = entry->children;
	xmlChar *text;

	while (at && strcmp((const char *)at->name, name) != 0)
		at = at->next;
	assert_non_null(at);
	text = xmlNodeGetContent(at);
	assert_non_null(text);
	assert_string_equal((const char *)text, value);
	xmlFree(text);
}

/* IGD-35: names and order of the elements, of every kind of entry */
static void test_entries(void **state)
{
	struct reply reply = make_entry(8080);
	const xmlNode *entry;
	xmlDocPtr xml;

	(void)state;
	give(reply);
	reply.protocol = IPPROTO_UDP;
	reply.enabled = 0;
	reply.origin = ORIGIN_STATIC;
	reply.lifetime_s = UINT32_MAX;
	reply.description[0] = '\0';
	assert_true(addr_parse("198.51.100.7", &reply.remote));
	give(reply);
	assert_int_equal(end(RESULT_OK, 0), IGD_LISTING_DONE);
	xml = finish();
	assert_int_equal(count_entries(xml), 2);
	entry = entry_at(xml, 0);
	assert_value(entry, "NewRemoteHost", "");
	assert_value(entry, "NewExternalPort", "8080");
	assert_value(entry, "NewProtocol", "TCP");
	assert_value(entry, "NewInternalPort", "80");
	assert_value(entry, "NewInternalClient", "192.168.1.20");
	assert_value(entry, "NewEnabled", "1");
	assert_value(entry, "NewDescription", "web");
	assert_value(entry, "NewLeaseTime", "3600");
	entry = entry_at(xml, 1);
	assert_value(entry, "NewRemoteHost", "198.51.100.7");
	assert_value(entry, "NewProtocol", "UDP");
	assert_value(entry, "NewEnabled", "0");
	assert_value(entry, "NewDescription", "");
	assert_value(entry, "NewLeaseTime", "604800");
	xmlFreeDoc(xml);
}

/* The schema itself refuses what is no listing: the other tests could fail. */
static void test_schema(void **state)
{
	static const char *const bad[] = {
		"<PortMappingList xmlns=\"urn:schemas-upnp-org:gw:WANIPConnection\"/>",
		"<PortMappingList/>",
		"<PortMappingList xmlns=\"urn:schemas-upnp-org:gw:WANIPConnection\">"
		"<PortMappingEntry><NewRemoteHost/></PortMappingEntry>"
		"</PortMappingList>",
	};
	xmlSchemaValidCtxtPtr valid = xmlSchemaNewValidCtxt(schema);

	(void)state;
	xmlSchemaSetValidErrors(valid, NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		xmlDocPtr xml = xmlReadMemory(bad[i], (int)strlen(bad[i]), NULL, NULL,
					      XML_PARSE_NONET);

		assert_non_null(xml);
		assert_int_not_equal(xmlSchemaValidateDoc(valid, xml), 0);
		xmlFreeDoc(xml);
	}
	xmlSchemaFreeValidCtxt(valid);
}

/* SOAP-8: 255 octets of what is hard to write come back as they were */
static void test_description(void **state)
{
	static char expected[DESCRIPTION_MAX + 1];
	struct reply reply = make_entry(1024);
	size_t used = 0;
	xmlDocPtr xml;

	(void)state;
	while (used + 11 <= DESCRIPTION_MAX)
		used += (size_t)snprintf(expected + used, sizeof(expected) - used,
					 "]]>&<\"'\xf0\x9f\x8e\xae");
	memset(expected + used, '>', DESCRIPTION_MAX - used);
	memcpy(reply.description, expected, sizeof(expected));
	give(reply);
	(void)snprintf(reply.description, sizeof(reply.description),
		       "a\x02\x7f"
		       "b\xef\xbf\xbe");
	give(reply);
	assert_int_equal(end(RESULT_OK, 0), IGD_LISTING_DONE);
	xml = finish();
	assert_value(entry_at(xml, 0), "NewDescription", expected);
	assert_value(entry_at(xml, 1), "NewDescription", "ab");
	xmlFreeDoc(xml);
}

/* IGD-34: page after page, the number counted down */
static void test_pages(void **state)
{
	const struct request *request;
	xmlDocPtr xml;

	(void)state;
	limit(70);
	request = igd_listing_get_request(listing);
	for (uint16_t page = 0; page < 2; page++) {
		for (uint16_t i = 0; i < REQUEST_LIST_MAX; i++)
			give(make_entry((uint16_t)(1024 + i)));
		assert_int_equal(end(RESULT_OK, 100u + page), IGD_LISTING_ASKS);
		assert_int_equal(request->after, 100u + page);
		assert_int_equal(request->op, REQUEST_LIST);
	}
	assert_int_equal(request->index, 70 - 2 * REQUEST_LIST_MAX);
	/* more than asked for is not listed, and ends it */
	for (uint16_t i = 0; i < REQUEST_LIST_MAX; i++)
		give(make_entry((uint16_t)(2000 + i)));
	assert_int_equal(end(RESULT_OK, 999), IGD_LISTING_DONE);
	xml = finish();
	assert_int_equal(count_entries(xml), 70);
	xmlFreeDoc(xml);
}

/* IGD-34: nothing is an error, but not when the rest of a list has gone */
static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(end(RESULT_NO_ENTRY, 0), IGD_LISTING_FAILS);
	assert_int_equal(end(RESULT_OK, 0), IGD_LISTING_FAILS);
	give(make_entry(1024));
	assert_int_equal(end(RESULT_BACKEND, 0), IGD_LISTING_FAILS);
	assert_int_equal(end(RESULT_OK, 5), IGD_LISTING_ASKS);
	assert_int_equal(end(RESULT_NO_ENTRY, 0), IGD_LISTING_DONE);
	/* a page that does not lead on would be asked for ever */
	assert_int_equal(end(RESULT_OK, 5), IGD_LISTING_DONE);
}

/* Give up to that many of the same; what becomes of the listing. */
static enum igd_listing_state fill(const struct reply *reply, unsigned int entries)
{
	enum igd_listing_state state = IGD_LISTING_ASKS;
	uint64_t pages = 0;

	while (state == IGD_LISTING_ASKS) {
		unsigned int n = 0;

		for (; n < REQUEST_LIST_MAX && entries > 0; n++, entries--)
			give(*reply);
		state = end(n > 0 ? RESULT_OK : RESULT_NO_ENTRY,
			    n == REQUEST_LIST_MAX ? ++pages : 0);
	}
	return state;
}

/* However many there are, a listing ends; and a part is not taken for the whole. */
static void test_bounds(void **state)
{
	struct reply reply = make_entry(1024);
	xmlDocPtr xml;

	(void)state;
	memset(reply.description, '"', DESCRIPTION_MAX);
	assert_int_equal(fill(&reply, UINT_MAX), IGD_LISTING_TOO_LONG);
	assert_true(igd_listing_get_size(listing) < IGD_LISTING_OCTETS_MAX + 65536);
	limit(IGD_LISTING_MAX);
	assert_int_equal(fill(&reply, IGD_LISTING_MAX), IGD_LISTING_TOO_LONG);
	limit(1000);
	assert_int_equal(fill(&reply, UINT_MAX), IGD_LISTING_DONE);
	xml = finish();
	assert_int_equal(count_entries(xml), 1000);
	xmlFreeDoc(xml);
}

/* IGD-34: 0 is all of them or an error, and a number is not more than that */
static void test_most_entries(void **state)
{
	static const struct {
		uint32_t wanted;
		unsigned int there;
		enum igd_listing_state state;
	} rows[] = {
		{0, IGD_LISTING_MAX, IGD_LISTING_DONE},
		{0, IGD_LISTING_MAX + 1, IGD_LISTING_TOO_LONG},
		{IGD_LISTING_MAX, UINT_MAX, IGD_LISTING_DONE},
		{IGD_LISTING_MAX + 1, IGD_LISTING_MAX, IGD_LISTING_DONE},
		{IGD_LISTING_MAX + 1, IGD_LISTING_MAX + 1, IGD_LISTING_TOO_LONG},
		{UINT16_MAX, IGD_LISTING_MAX - 1, IGD_LISTING_DONE},
		{UINT16_MAX, UINT_MAX, IGD_LISTING_TOO_LONG},
	};
	struct reply reply = make_entry(1024);

	(void)state;
	reply.description[0] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		limit(rows[i].wanted);
		assert_int_equal(fill(&reply, rows[i].there), rows[i].state);
		if (rows[i].state == IGD_LISTING_DONE) {
			xmlDocPtr xml = finish();

			assert_int_equal(count_entries(xml),
					 rows[i].there < IGD_LISTING_MAX
						 ? rows[i].there
						 : IGD_LISTING_MAX);
			xmlFreeDoc(xml);
		}
	}
}

static int group_setup(void **state)
{
	xmlSchemaParserCtxtPtr parser = xmlSchemaNewParserCtxt(SCHEMA);

	(void)state;
	schema = xmlSchemaParse(parser);
	xmlSchemaFreeParserCtxt(parser);
	return schema ? 0 : -1;
}

static int group_teardown(void **state)
{
	(void)state;
	xmlSchemaFree(schema);
	xmlCleanupParser();
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, unmake)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_entries),	 TEST(test_schema),  TEST(test_description),
		TEST(test_pages),	 TEST(test_nothing), TEST(test_bounds),
		TEST(test_most_entries),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
