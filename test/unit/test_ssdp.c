/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/igd_desc.h"
#include "protocols/ssdp.h"
#include "protocols/ssdp_limit.h"
#include "protocols/ssdp_queue.h"

#define SEARCH "M-SEARCH * HTTP/1.1\r\n"
#define IGD "urn:schemas-upnp-org:device:InternetGatewayDevice"

static bool parse(const char *text, struct ssdp_search *out)
{
	return ssdp_parse_search(text, strlen(text), out);
}

/* SSDP-4, CL-16: what real clients send */
static void test_parse_variants(void **state)
{
	static const char *const searches[] = {
		SEARCH
		"HOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 3\r\n"
		"ST: upnp:rootdevice\r\n\r\n",
		SEARCH "HOST:239.255.255.250:1900\r\nST:upnp:rootdevice\r\n"
		       "MAN:\"ssdp:discover\"\r\nMX:3\r\n\r\n\r\n",
		SEARCH
		"st: \t upnp:rootdevice \t\r\nman: \"SSDP:discover\"\r\nmx: 3\r\n"
		"\r\n",
		SEARCH "ST: upnp:rootdevice\nMAN: \"ssdp:discover\"\nMX: 120\n\n",
		/* of two the first is meant */
		SEARCH "ST: upnp:rootdevice\r\nST: ssdp:all\r\n"
		       "MAN: \"ssdp:discover\"\r\nMX: 3\r\n\r\n",
		SEARCH "nonsense\r\nST: upnp:rootdevice\r\nMAN: \"ssdp:discover\"\r\n"
		       "MX: 5",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(searches) / sizeof(searches[0]); i++) {
		struct ssdp_search search;

		assert_true(parse(searches[i], &search));
		assert_string_equal(search.st, "upnp:rootdevice");
		assert_true(search.has_man);
		assert_true(search.has_mx);
		assert_true(search.mx_s == 3 || search.mx_s == 5);
		assert_true(ssdp_search_is_valid(&search, true));
	}
}

/* SSDP-4, SSDP-5: strict and lenient */
static void test_parse_strict(void **state)
{
	static const struct {
		const char *text;
		bool strict;
		uint8_t mx_s;
	} rows[] = {
		{SEARCH "ST: a:b\r\nMAN: \"ssdp:discover\"\r\nMX: 0\r\n\r\n", true, 0},
		{SEARCH "ST: a:b\r\nMAN: \"ssdp:discover\"\r\nMX: 120\r\n\r\n", true,
		 5},
		{SEARCH "ST: a:b\r\nMAN: \"ssdp:discover\"\r\n\r\n", false, 1},
		{SEARCH "ST: a:b\r\nMAN: \"ssdp:discover\"\r\nMX: abc\r\n\r\n", false,
		 1},
		{SEARCH "ST: a:b\r\nMAN: \"ssdp:discover\"\r\nMX: -1\r\n\r\n", false,
		 1},
		{SEARCH "ST: a:b\r\nMAN: ssdp:discover\r\nMX: 1\r\n\r\n", false, 1},
		{SEARCH "ST: a:b\r\nMX: 2\r\n\r\n", false, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ssdp_search search;

		assert_true(parse(rows[i].text, &search));
		assert_int_equal(search.mx_s, rows[i].mx_s);
		assert_int_equal(ssdp_search_is_valid(&search, true), rows[i].strict);
		assert_true(ssdp_search_is_valid(&search, false));
	}
}

/* SSDP-19 */
static void test_parse_garbage(void **state)
{
	static const char nul[] = SEARCH "ST: upnp\0rootdevice\r\n\r\n";
	static const char *const others[] = {
		"",
		"M-SEARCH",
		"M-SEARCH * HTTP/1.",
		"M-SEARCH * HTTP/2.0\r\nST: ssdp:all\r\n\r\n",
		"m-search * HTTP/1.1\r\nST: ssdp:all\r\n\r\n",
		"NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\n\r\n",
		"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n",
		SEARCH,
		SEARCH "\r\nST: ssdp:all\r\n\r\n",
		SEARCH "ST:\r\n\r\n",
		SEARCH "ST: with space\r\n\r\n",
		SEARCH ":\r\n:::\r\n\r\n",
	};
	size_t huge_size = 65507;
	char *huge = malloc(huge_size);
	struct ssdp_search search;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(parse(others[i], &search));
	assert_false(ssdp_parse_search(nul, sizeof(nul) - 1, &search));
	assert_non_null(huge);
	memset(huge, 'A', huge_size);
	assert_false(ssdp_parse_search(huge, huge_size, &search));
	memcpy(huge, SEARCH "ST: ", sizeof(SEARCH "ST: ") - 1);
	assert_false(ssdp_parse_search(huge, huge_size, &search));
	free(huge);
}

static struct igd_site *make_site(void)
{
	static const struct worker_setup setup = {.uuid = {1}, .friendly_name = "x"};
	struct igd_site *site = igd_site_new(igd_face_get(0), &setup);

	assert_non_null(site);
	return site;
}

static size_t count_matches(const struct igd_site *site, const char *st)
{
	size_t count = 0;
	uint8_t version;

	for (size_t i = 0; i < site->target_count; i++)
		if (ssdp_target_matches(&site->targets[i], st, &version))
			count++;
	return count;
}

/* SSDP-8: 3+2d+k, SSDP-17, SSDP-20, CL-9 */
static void test_targets(void **state)
{
	struct igd_site *site = make_site();
	char st[SSDP_ST_SIZE];

	(void)state;
	assert_int_equal(count_matches(site, "ssdp:all"), 3 + 2 * 2 + 4);
	assert_string_equal(site->targets[0].type, IGD);
	assert_int_equal(count_matches(site, "upnp:rootdevice"), 1);
	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(st, sizeof(st), "uuid:%s", site->uuids[i]);
		assert_int_equal(count_matches(site, st), 1);
	}
	assert_int_equal(
		count_matches(site, "urn:schemas-upnp-org:service:WANIPConnection:1"),
		1);
	assert_int_equal(
		count_matches(site, "urn:schemas-upnp-org:service:WANPPPConnection:1"),
		0);
	assert_int_equal(
		count_matches(site, "uuid:00000000-0000-0000-0000-000000000000"), 0);
	igd_site_free(site);
}

/* SSDP-9, CL-10 */
static void test_versions(void **state)
{
	static const struct ssdp_target target = {
		.kind = SSDP_TYPE,
		.version = 2,
		.type = IGD,
		.uuid = "00000000-0000-0000-0000-000000000001",
	};
	static const char *const others[] = {
		IGD ":3",
		IGD ":0",
		IGD ":01",
		IGD ":",
		IGD,
		IGD ":1 ",
		IGD ":257",
		"",
		"urn:schemas-upnp-org:device:InternetGatewayDevic:1",
		"upnp:rootdevice",
	};
	uint8_t version = 0;

	(void)state;
	assert_true(ssdp_target_matches(&target, IGD ":1", &version));
	assert_int_equal(version, 1);
	assert_true(ssdp_target_matches(&target, IGD ":2", &version));
	assert_int_equal(version, 2);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(ssdp_target_matches(&target, others[i], &version));
}

static struct ssdp_origin make_origin(const char *address)
{
	struct ssdp_origin origin = {
		.http_port = 49152,
		.path = "/igd1/root.xml",
		.boot_id = 7,
		.config_id = 123,
	};

	assert_true(addr_parse(address, &origin.address));
	return origin;
}

/* SSDP-10, SSDP-11, SSDP-12, SSDP-15, SSDP-18 */
static void test_response(void **state)
{
	struct ssdp_origin origin = make_origin("192.168.1.1");
	struct ssdp_target target = {.kind = SSDP_TYPE, .version = 1, .type = IGD};
	char bytes[SSDP_DATAGRAM_MAX + 1] = {0};
	struct writer out = writer_init(bytes, SSDP_DATAGRAM_MAX);

	(void)state;
	(void)snprintf(target.uuid, sizeof(target.uuid),
		       "12345678-1234-1234-1234-123456789abc");
	ssdp_write_response(&out, &origin, &target, 1, INT64_C(784111777000));
	assert_false(out.failed);
	assert_string_equal(
		bytes, "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\n"
		       "DATE: Sun, 06 Nov 1994 08:49:37 GMT\r\nEXT:\r\n"
		       "LOCATION: http://192.168.1.1:49152/igd1/root.xml\r\n"
		       "SERVER: " UPNP_SERVER "\r\nST: " IGD ":1\r\n"
		       "USN: uuid:12345678-1234-1234-1234-123456789abc::" IGD ":1\r\n"
		       "BOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 123\r\n\r\n");
}

/* SSDP-11, SSDP-13, SSDP-14 */
static void test_notify(void **state)
{
	struct ssdp_origin origin = make_origin("192.168.1.1");
	struct ssdp_target target = {.kind = SSDP_UUID};
	char bytes[SSDP_DATAGRAM_MAX + 1] = {0};
	struct writer out = writer_init(bytes, SSDP_DATAGRAM_MAX);

	(void)state;
	(void)snprintf(target.uuid, sizeof(target.uuid),
		       "12345678-1234-1234-1234-123456789abc");
	ssdp_write_notify(&out, ssdp_group_get(0), &origin, &target, SSDP_ALIVE);
	assert_string_equal(bytes,
			    "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
			    "CACHE-CONTROL: max-age=1800\r\n"
			    "LOCATION: http://192.168.1.1:49152/igd1/root.xml\r\n"
			    "SERVER: " UPNP_SERVER
			    "\r\nNT: uuid:12345678-1234-1234-1234-123456789abc\r\n"
			    "NTS: ssdp:alive\r\n"
			    "USN: uuid:12345678-1234-1234-1234-123456789abc\r\n"
			    "BOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 123\r\n\r\n");
	memset(bytes, 0, sizeof(bytes));
	out = writer_init(bytes, SSDP_DATAGRAM_MAX);
	target.kind = SSDP_ROOT;
	ssdp_write_notify(&out, ssdp_group_get(2), &origin, &target, SSDP_BYEBYE);
	assert_string_equal(
		bytes,
		"NOTIFY * HTTP/1.1\r\nHOST: [FF05::C]:1900\r\n"
		"NT: upnp:rootdevice\r\nNTS: ssdp:byebye\r\n"
		"USN: uuid:12345678-1234-1234-1234-123456789abc::upnp:rootdevice\r\n"
		"OPT: \"http://schemas.upnp.org/upnp/1/0/\"; ns=01\r\n01-NLS: 7\r\n"
		"BOOTID.UPNP.ORG: 7\r\nCONFIGID.UPNP.ORG: 123\r\n\r\n");
}

static void check_longest(const struct ssdp_origin *origin,
			  const struct ssdp_target *target, const char *st)
{
	char bytes[SSDP_NOTIFY_MAX + 1] = {0};
	struct writer out = writer_init(bytes, SSDP_DATAGRAM_MAX);
	const struct ssdp_group *group;

	ssdp_write_response(&out, origin, target, 1, 0);
	assert_false(out.failed);
	assert_non_null(strstr(bytes, "LOCATION: http://[2001:db8:1111:2222:3333:4444:"
				      "5555:6666]:49152/igd1/root.xml\r\n"));
	for (size_t i = 0; (group = ssdp_group_get(i)); i++) {
		memset(bytes, 0, sizeof(bytes));
		out = writer_init(bytes, SSDP_NOTIFY_MAX);
		ssdp_write_notify(&out, group, origin, target, SSDP_ALIVE);
		assert_false(out.failed);
		assert_non_null(strstr(bytes, st));
	}
}

/* SSDP-12, SSDP-18: the longest messages of ours fit */
static void test_longest(void **state)
{
	static const struct worker_setup setup = {.uuid = {1}, .friendly_name = "x"};
	struct ssdp_origin origin =
		make_origin("2001:db8:1111:2222:3333:4444:5555:6666");
	const struct igd_face *face;

	(void)state;
	origin.boot_id = INT32_MAX;
	origin.config_id = 0xffffff;
	for (size_t f = 0; (face = igd_face_get(f)); f++) {
		struct igd_site *site = igd_site_new(face, &setup);

		assert_non_null(site);
		for (size_t i = 0; i < site->target_count; i++)
			check_longest(&origin, &site->targets[i],
				      site->targets[i].uuid);
		igd_site_free(site);
	}
}

/* SSDP-1: which addresses are groups of ours */
static void test_groups(void **state)
{
	static const char *const groups[] = {"239.255.255.250", "ff02::c", "ff05::c"};
	static const char *const others[] = {"239.255.255.251", "ff02::1", "ff0e::c",
					     "192.168.1.1", "::"};
	struct ip_addr addr;

	(void)state;
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		assert_true(addr_parse(groups[i], &addr));
		assert_ptr_equal(ssdp_group_find(&addr), ssdp_group_get(i));
	}
	assert_null(ssdp_group_get(sizeof(groups) / sizeof(groups[0])));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_true(addr_parse(others[i], &addr));
		assert_null(ssdp_group_find(&addr));
	}
}

/* IGD-6: the clients that are told nothing of version 2, by what they say they are */
static void test_legacy(void **state)
{
	static const struct {
		const char *text;
		bool legacy;
	} rows[] = {
		{SEARCH
		 "ST: a:b\r\nUser-Agent: Microsoft-Windows/10.0 UPnP/1.0\r\n\r\n",
		 true},
		{SEARCH "USER-AGENT: FDSSDP\r\nST: a:b\r\n\r\n", true},
		{SEARCH "ST: a:b\r\nuser-agent: Xbox/2.0.16202.0 UPnP/1.0\r\n\r\n",
		 true},
		{SEARCH "ST: a:b\r\nUSER-AGENT: Google Chrome/131 Windows\r\n\r\n",
		 false},
		{SEARCH "ST: a:b\r\nUSER-AGENT:\r\n\r\n", false},
		{SEARCH "ST: a:b\r\nX-USER-AGENT: Xbox\r\n\r\n", false},
		{SEARCH "ST: a:b\r\n\r\n", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ssdp_search search;

		assert_true(parse(rows[i].text, &search));
		assert_int_equal(search.legacy, rows[i].legacy);
	}
}

static void test_date(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {
		{0, "Thu, 01 Jan 1970 00:00:00 GMT"},
		{INT64_C(951827696000), "Tue, 29 Feb 2000 12:34:56 GMT"},
		{INT64_C(951868800000), "Wed, 01 Mar 2000 00:00:00 GMT"},
		{INT64_C(1798761599999), "Thu, 31 Dec 2026 23:59:59 GMT"},
		{INT64_C(4107542400000), "Mon, 01 Mar 2100 00:00:00 GMT"},
	};
	char text[UPNP_DATE_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(upnp_format_date(rows[i].ms, text), rows[i].text);
}

static struct ssdp_limit *limit_new(int64_t now_ms)
{
	struct ssdp_limit *limit = calloc(1, sizeof(*limit));

	assert_non_null(limit);
	ssdp_limit_init(limit, 7, now_ms);
	return limit;
}

static struct ip_addr make_source(const char *network, unsigned int number)
{
	struct ip_addr addr;

	assert_true(addr_parse(network, &addr));
	addr.bytes[14] = (uint8_t)(number >> 8);
	addr.bytes[15] = (uint8_t)number;
	return addr;
}

/* SSDP-18: a burst passes, a flood does not, others are not punished, time heals */
static void test_limit(void **state)
{
	struct ssdp_limit *limit = limit_new(1000);
	struct ip_addr one = make_source("192.168.0.0", 2);
	struct ip_addr two = make_source("192.168.0.0", 3);
	unsigned int passed = 0;

	(void)state;
	while (ssdp_limit_take(limit, &one, 10, 1000) == 10)
		passed++;
	assert_int_equal(passed, SSDP_LIMIT_SOURCE_BURST / 10);
	assert_int_equal(ssdp_limit_take(limit, &two, 1, 1000), 1);
	assert_int_equal(ssdp_limit_take(limit, &one, 1, 1001), 0);
	assert_int_equal(ssdp_limit_take(limit, &one, SSDP_LIMIT_SOURCE_RATE, 2000),
			 SSDP_LIMIT_SOURCE_RATE);
	assert_int_equal(ssdp_limit_take(limit, &one, 1, 2000), 0);
	/* A clock that steps back gives nothing away. */
	assert_int_equal(ssdp_limit_take(limit, &one, 1, 0), 0);
	free(limit);
}

/* SSDP-18: sources as many as anybody likes: the totals hold */
static void test_limit_total(void **state)
{
	struct ssdp_limit *limit = limit_new(0);
	unsigned int answers = 0;

	(void)state;
	for (unsigned int i = 0; i < 20000; i++) {
		struct ip_addr source = make_source("fd00::", i);

		answers += ssdp_limit_take(limit, &source, 20, 0);
	}
	assert_true(answers > SSDP_LIMIT_TOTAL_BURST / 2);
	assert_true(answers <= SSDP_LIMIT_TOTAL_BURST + SSDP_LIMIT_SINGLE_BURST);
	answers = 0;
	for (unsigned int i = 0; i < 20000; i++) {
		struct ip_addr source = make_source("fd00::", 20000 + i);

		answers += ssdp_limit_take(limit, &source, 20, i / 10);
	}
	assert_true(answers <= 2 * (SSDP_LIMIT_TOTAL_RATE + SSDP_LIMIT_SINGLE_RATE));
	free(limit);
}

/* SSDP-18: many sources that ask all the time leave something for the others */
static void test_limit_reserve(void **state)
{
	struct ssdp_limit *limit = limit_new(0);
	struct ip_addr quiet = make_source("192.168.0.0", 3);

	(void)state;
	for (int64_t now_ms = 0; now_ms < 20000; now_ms += 50)
		for (unsigned int i = 0; i < 20; i++) {
			struct ip_addr source = make_source("192.168.0.0", 10 + i);

			(void)ssdp_limit_take(limit, &source, 10, now_ms);
		}
	assert_int_equal(ssdp_limit_take(limit, &quiet, 10, 20000), 10);
	assert_int_equal(ssdp_limit_take(limit, &quiet, 10, 20000), 10);
	free(limit);
}

static void check_addresses(unsigned int answers)
{
	struct ssdp_limit *limit = limit_new(0);
	struct ip_addr again = make_source("fd00::", 0xffff);
	unsigned int asked = 0;

	for (int64_t now_ms = 0; now_ms < 12000; now_ms++) {
		for (unsigned int i = 0; i < 4; i++) {
			struct ip_addr source = make_source("fd00::", asked++ % 400);

			(void)ssdp_limit_take(limit, &source, answers, now_ms);
		}
		if (now_ms % 1100 == 1099) {
			struct ip_addr new = make_source("fd00::", 0x1000 + asked);

			assert_true(ssdp_limit_take(limit, &again, 22, now_ms) >= 1);
			assert_int_equal(ssdp_limit_take(limit, &new, 1, now_ms), 1);
		}
	}
	free(limit);
}

/*
 * SSDP-18: one host that asks 4000 times a second, from 400 addresses: whoever else
 * asks at whatever time, for the first time or again, is answered.
 */
static void test_limit_addresses(void **state)
{
	(void)state;
	check_addresses(22);
	check_addresses(1);
}

/* SSDP-18: addresses made up without end take nothing from the hosts that are known */
static void test_limit_known(void **state)
{
	struct ssdp_limit *limit = limit_new(0);
	struct ip_addr known = make_source("fd00::", 0xffff);
	unsigned int answered = 0;

	(void)state;
	assert_int_equal(ssdp_limit_take(limit, &known, 1, 0), 1);
	for (int64_t now_ms = 0; now_ms < 12000; now_ms++) {
		for (unsigned int i = 0; i < 5; i++) {
			struct ip_addr source =
				make_source("fd00::", (unsigned int)now_ms * 5 + i);

			(void)ssdp_limit_take(limit, &source, 22, now_ms);
		}
		if (now_ms % 1000 == 999)
			answered += ssdp_limit_take(limit, &known, 1, now_ms);
	}
	assert_int_equal(limit->newcomers.count, SSDP_LIMIT_NEWCOMERS);
	assert_int_equal(limit->known.count, 1);
	assert_int_equal(answered, 12);
	free(limit);
}

/* A host that asked for a while, then once in 15 s, under a flood; how often it is not
 * answered. sources: as many addresses, in no order, ask together 10,000 times a second
 */
static unsigned int count_missed(unsigned int sources, unsigned int times)
{
	const int64_t gap_ms = 15000, begin_ms = 20000;
	const int64_t end_ms = begin_ms + gap_ms * (int64_t)times;
	struct ssdp_limit *limit = limit_new(0);
	struct ip_addr host = make_source("fd00::", 0xffff);
	uint32_t chance = 1;
	unsigned int missed = 0;

	for (int64_t now_ms = 0; now_ms < begin_ms; now_ms += 1000)
		(void)ssdp_limit_take(limit, &host, 1, now_ms);
	for (int64_t now_ms = begin_ms + 1; now_ms <= end_ms; now_ms++) {
		for (unsigned int i = 0; i < 10; i++) {
			struct ip_addr source = make_source("fd00:0:0:1::", 0);

			chance = chance * 1664525u + 1013904223u;
			memcpy(source.bytes + 12, &(uint32_t){(chance >> 8) % sources},
			       4);
			(void)ssdp_limit_take(limit, &source, 1, now_ms);
		}
		if ((now_ms - begin_ms) % gap_ms == 0 &&
		    ssdp_limit_take(limit, &host, 22, now_ms) == 0)
			missed++;
	}
	free(limit);
	return missed;
}

/* SSDP-18: a host known before is answered, however many sources ask all the time */
static void test_limit_flood(void **state)
{
	(void)state;
	for (unsigned int sources = 1000; sources <= 1000000; sources *= 10)
		assert_int_equal(count_missed(sources, 4), 0);
}

static bool is_among(const struct ssdp_segment *segment, unsigned int number)
{
	struct ip_addr addr = make_source("fd00::", number);

	for (size_t i = 0; i < segment->count; i++)
		if (addr_equal(&segment->sources[i].addr, &addr))
			return true;
	return false;
}

static void take_one(struct ssdp_limit *limit, unsigned int number, int64_t now_ms)
{
	struct ip_addr source = make_source("fd00::", number);

	assert_int_equal(ssdp_limit_take(limit, &source, 1, now_ms), 1);
}

/* SSDP-18: who is forgotten when there is no room */
static void test_limit_room(void **state)
{
	const unsigned int known = SSDP_LIMIT_KNOWN, new = SSDP_LIMIT_NEWCOMERS;
	struct ssdp_limit *limit = limit_new(0);
	int64_t now_ms = 0;

	(void)state;
	for (unsigned int i = 0; i < known; i++)
		take_one(limit, i, now_ms += 10);
	take_one(limit, known - 1, now_ms + SSDP_LIMIT_QUIET_MS - 1);
	assert_int_equal(limit->known.count, 0); /* back too soon */
	now_ms += SSDP_LIMIT_QUIET_MS;
	for (unsigned int i = 1; i < known; i++)
		take_one(limit, i, now_ms += 10);
	assert_int_equal(limit->known.count, known - 1);
	for (unsigned int i = 0; i < new; i++)
		take_one(limit, known + i, now_ms += 10);
	assert_false(is_among(&limit->newcomers, 0)); /* the quietest newcomer */
	take_one(limit, known, now_ms += SSDP_LIMIT_QUIET_MS);
	assert_true(is_among(&limit->known, known)); /* the last room */
	take_one(limit, known + 1, now_ms += 10);
	assert_true(is_among(&limit->newcomers, known + 1)); /* and none left */
	assert_true(is_among(&limit->known, 1));
	for (unsigned int i = 3; i <= known; i++)
		take_one(limit, i, now_ms + SSDP_LIMIT_FORGET_MS - 1000);
	now_ms += SSDP_LIMIT_FORGET_MS;
	take_one(limit, known + 1, now_ms);
	assert_true(is_among(&limit->known, known + 1)); /* of him heard long ago */
	assert_false(is_among(&limit->known, 1));
	assert_true(is_among(&limit->known, 2));
	free(limit);
}

static struct ssdp_wait make_wait(const char *source, uint16_t port, int64_t due_ms)
{
	struct ssdp_wait wait = {
		.due_ms = due_ms,
		.peer_port = port,
		.search = {.st = "ssdp:all"},
	};

	assert_true(addr_parse(source, &wait.peer));
	return wait;
}

/* SSDP-18: an answer waits once, and one address has its share of the queue */
static void test_queue_share(void **state)
{
	static const char other[] = "upnp:rootdevice";
	static struct ssdp_queue queue;
	struct ssdp_wait wait, early;

	(void)state;
	for (uint16_t i = 0; i < SSDP_QUEUE_PER_SOURCE_MAX; i++) {
		wait = make_wait("10.0.0.2", (uint16_t)(1000 + i), 50);
		assert_true(ssdp_queue_admits(&queue, &wait));
		assert_false(ssdp_queue_add(&queue, &wait, &early));
		assert_false(ssdp_queue_admits(&queue, &wait));
	}
	memcpy(wait.search.st, other, sizeof(other));
	assert_false(ssdp_queue_admits(&queue, &wait));
	wait = make_wait("10.0.0.3", 1000, 50);
	assert_true(ssdp_queue_admits(&queue, &wait));
	assert_false(ssdp_queue_add(&queue, &wait, &early));
	memcpy(wait.search.st, other, sizeof(other));
	assert_true(ssdp_queue_admits(&queue, &wait));
}

/* SSDP-6, SSDP-18: by their time; when it is full, the next one goes early */
static void test_queue_order(void **state)
{
	static struct ssdp_queue queue;
	struct ssdp_wait wait, out;
	char source[32];

	(void)state;
	assert_int_equal(ssdp_queue_get_delay_ms(&queue, 0), -1);
	for (unsigned int i = 0; i < SSDP_QUEUE_MAX; i++) {
		(void)snprintf(source, sizeof(source), "10.0.0.%u", 100 + i);
		wait = make_wait(source, 1000, 1000 - (int64_t)i);
		assert_false(ssdp_queue_add(&queue, &wait, &out));
	}
	wait = make_wait("10.0.0.2", 1000, 5000);
	assert_true(ssdp_queue_add(&queue, &wait, &out));
	assert_int_equal(out.due_ms, 1000 - (SSDP_QUEUE_MAX - 1));
	assert_int_equal(ssdp_queue_get_delay_ms(&queue, 900), 38);
	assert_false(ssdp_queue_take_due(&queue, 937, &out));
	for (int64_t due_ms = 938; due_ms <= 1000; due_ms++) {
		assert_true(ssdp_queue_take_due(&queue, 1000, &out));
		assert_int_equal(out.due_ms, due_ms);
	}
	assert_false(ssdp_queue_take_due(&queue, 1000, &out));
	assert_int_equal(ssdp_queue_get_delay_ms(&queue, 6000), 0);
	assert_int_equal(queue.count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_variants),
		cmocka_unit_test(test_parse_strict),
		cmocka_unit_test(test_parse_garbage),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_response),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_legacy),
		cmocka_unit_test(test_date),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_limit_total),
		cmocka_unit_test(test_limit_reserve),
		cmocka_unit_test(test_limit_addresses),
		cmocka_unit_test(test_limit_known),
		cmocka_unit_test(test_limit_flood),
		cmocka_unit_test(test_limit_room),
		cmocka_unit_test(test_queue_share),
		cmocka_unit_test(test_queue_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
