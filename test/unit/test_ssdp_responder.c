/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Discovery without sockets: who is answered what, from where, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "protocols/igd_desc.h"
#include "protocols/ssdp_address.h"
#include "protocols/ssdp_limit.h"
#include "protocols/ssdp_responder.h"
#include "protocols/upnp_lan.h"

#define IFINDEX 7
#define START_MS 1000000
#define MESSAGES_MAX 512
#define IGD "urn:schemas-upnp-org:device:InternetGatewayDevice"
#define WANIP "urn:schemas-upnp-org:service:WANIPConnection"
#define V6FC "urn:schemas-upnp-org:service:WANIPv6FirewallControl"
/* What one root announces: 3+2d+k. */
#define SET 11
#define FACES 2

struct message {
	struct datagram head;
	char text[SSDP_NOTIFY_MAX + 1];
};

struct fixture {
	struct igd_site *sites[FACES];
	struct lan_info lan;
	struct ssdp_config config;
	struct ssdp_responder *responder;
	struct ssdp_moment moment;
	uint32_t chance; /* what draw() says, if it is below the limit */
	size_t count;
	struct message *messages;
};

static struct ip_addr ip(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

/* ---- fixture ---- */

static void take_batch(void *user, struct datagram_batch *batch)
{
	struct fixture *fixture = user;

	for (size_t i = 0; i < batch->count; i++) {
		struct message *message = &fixture->messages[fixture->count++];

		assert_true(fixture->count < MESSAGES_MAX);
		message->head = batch->list[i];
		assert_true(message->head.length <= SSDP_NOTIFY_MAX);
		memcpy(message->text, message->head.bytes, message->head.length);
		message->text[message->head.length] = '\0';
	}
}

static uint32_t draw(void *user, uint32_t limit)
{
	const struct fixture *fixture = user;

	assert_true(limit > 0);
	return fixture->chance < limit ? fixture->chance : limit - 1;
}

static void add_address(struct lan_info *lan, const char *text, uint8_t length)
{
	struct prefix prefix = {ip(text), length};

	lan->addresses[lan->address_count++] = prefix;
	for (unsigned int bit = length; bit < 128; bit++)
		prefix.addr.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
	lan->networks[lan->network_count++] = prefix;
}

static void begin(struct fixture *fixture, int family, uint8_t igd)
{
	static const struct ssdp_responder_ops ops = {.send = take_batch, .draw = draw};
	struct ssdp_config *config = &fixture->config;

	ssdp_responder_free(fixture->responder);
	fixture->lan.igd = igd;
	*config = (struct ssdp_config){
		.lan = &fixture->lan,
		.family = family,
		.http_port = 49152,
		.boot_id = 77,
	};
	upnp_lan_fill_roots(fixture->sites, FACES, igd, config);
	fixture->count = 0;
	fixture->responder =
		ssdp_responder_new(config, &ops, fixture, fixture->moment.now_ms);
	assert_non_null(fixture->responder);
}

static int setup(void **state)
{
	static const struct worker_setup worker = {.uuid = {1}, .friendly_name = "x"};
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->messages = calloc(MESSAGES_MAX, sizeof(*fixture->messages));
	assert_non_null(fixture->messages);
	for (size_t i = 0; i < FACES; i++) {
		fixture->sites[i] = igd_site_new(igd_face_get(i), &worker);
		assert_non_null(fixture->sites[i]);
	}
	fixture->moment = (struct ssdp_moment){START_MS, 0};
	fixture->lan.ifindex = IFINDEX;
	add_address(&fixture->lan, "192.168.1.1", 96 + 24);
	add_address(&fixture->lan, "10.9.0.1", 96 + 16);
	add_address(&fixture->lan, "fd00::1", 64);
	add_address(&fixture->lan, "2001:db8::1", 64);
	add_address(&fixture->lan, "fe80::1", 64);
	begin(fixture, AF_INET, 3);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	ssdp_responder_free(fixture->responder);
	for (size_t i = 0; i < FACES; i++)
		igd_site_free(fixture->sites[i]);
	free(fixture->messages);
	free(fixture);
	return 0;
}

/* ---- asking ---- */

static struct datagram make_search(const char *from, const char *to, const char *st,
				   const char *more)
{
	struct datagram in = {
		.ifindex = IFINDEX,
		.local = ip(to),
		.peer = ip(from),
		.peer_port = 4000,
	};
	char text[512];
	int length = snprintf(text, sizeof(text),
			      "M-SEARCH * HTTP/1.1\r\nST: %s\r\nMX: 5\r\n"
			      "MAN: \"ssdp:discover\"\r\n%s\r\n",
			      st, more);

	assert_true(length > 0 && (size_t)length < sizeof(text));
	memcpy(in.bytes, text, (size_t)length);
	in.length = (uint16_t)length;
	return in;
}

static void take(struct fixture *fixture, const struct datagram *in)
{
	ssdp_responder_take(fixture->responder, in, &fixture->moment);
	(void)ssdp_responder_run(fixture->responder, &fixture->moment);
}

static void pass(struct fixture *fixture, int64_t ms)
{
	fixture->moment.now_ms += ms;
	(void)ssdp_responder_run(fixture->responder, &fixture->moment);
}

/* Let what is announced at first go by. */
static void settle(struct fixture *fixture)
{
	for (int i = 0; i < 10; i++)
		pass(fixture, 100);
	fixture->count = 0;
}

/* How many answers a unicast search gets. */
static size_t ask(struct fixture *fixture, const char *from, const char *to,
		  const char *st)
{
	struct datagram in = make_search(from, to, st, "");

	fixture->moment.now_ms += 5000; /* all limits are far */
	(void)ssdp_responder_run(fixture->responder, &fixture->moment);
	fixture->count = 0;
	take(fixture, &in);
	return fixture->count;
}

static bool holds(const struct message *message, const char *text)
{
	return strstr(message->text, text) != NULL;
}

static void assert_holds(const struct message *message, const char *text)
{
	if (!holds(message, text))
		print_error("no \"%s\" in:\n%s\n", text, message->text);
	assert_true(holds(message, text));
}

/* ---- IGD-6, SSDP-9, SSDP-20: the two faces ---- */

static size_t ask_type(struct fixture *fixture, const char *st)
{
	return ask(fixture, "192.168.1.5", "192.168.1.1", st);
}

/* igd = both: version 1 answers for everything of version 1, version 2 for itself */
static void test_both(void **state)
{
	struct fixture *fixture = *state;
	char st[SSDP_ST_SIZE];

	settle(fixture);
	assert_int_equal(ask_type(fixture, "ssdp:all"), SET);
	assert_holds(&fixture->messages[0], "\r\nST: " IGD ":1\r\n"); /* CL-9 */
	for (size_t i = 0; i < fixture->count; i++)
		assert_holds(&fixture->messages[i], "/igd1/");
	assert_int_equal(ask_type(fixture, "upnp:rootdevice"), 1);
	assert_holds(&fixture->messages[0], "/igd1/");
	for (int version = 1; version <= 2; version++) {
		static const char *const types[] = {IGD, WANIP};

		for (size_t i = 0; i < 2; i++) {
			char path[16];

			(void)snprintf(st, sizeof(st), "%s:%d", types[i], version);
			(void)snprintf(path, sizeof(path), "/igd%d/", version);
			assert_int_equal(ask_type(fixture, st), 1);
			assert_holds(&fixture->messages[0], st);
			assert_holds(&fixture->messages[0], path);
		}
	}
	assert_int_equal(ask_type(fixture, V6FC ":1"), 1);
	assert_holds(&fixture->messages[0], "/igd1/");
	assert_int_equal(ask_type(fixture, V6FC ":2"), 0);
	assert_int_equal(ask_type(fixture, IGD ":3"), 0);
	for (size_t i = 0; i < FACES; i++) {
		(void)snprintf(st, sizeof(st), "uuid:%s", fixture->sites[i]->uuids[0]);
		assert_int_equal(ask_type(fixture, st), 1);
		assert_holds(&fixture->messages[0], fixture->sites[i]->documents->path);
	}
}

/* igd = 1 and igd = 2: one root, which answers everything that it can */
static void test_one_face(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture, AF_INET, 1);
	settle(fixture);
	assert_int_equal(ask_type(fixture, "ssdp:all"), SET);
	assert_int_equal(ask_type(fixture, IGD ":1"), 1);
	assert_int_equal(ask_type(fixture, IGD ":2"), 0);
	assert_int_equal(ask_type(fixture, WANIP ":2"), 0);
	begin(fixture, AF_INET, 2);
	settle(fixture);
	assert_int_equal(ask_type(fixture, "ssdp:all"), SET);
	assert_holds(&fixture->messages[0], "\r\nST: " IGD ":2\r\n");
	assert_int_equal(ask_type(fixture, "upnp:rootdevice"), 1);
	assert_int_equal(ask_type(fixture, IGD ":1"), 1); /* SSDP-9, CL-10 */
	assert_holds(&fixture->messages[0], "\r\nST: " IGD ":1\r\n");
	assert_holds(&fixture->messages[0], "::" IGD ":1\r\n");
	assert_holds(&fixture->messages[0], "/igd2/");
	assert_int_equal(ask_type(fixture, WANIP ":2"), 1);
}

/* IGD-6: who says that it is Windows or Xbox hears of nothing modern */
static void test_legacy(void **state)
{
	static const char agent[] = "USER-AGENT: Microsoft-Windows/10.0 UPnP/1.0\r\n";
	static const struct {
		const char *st;
		size_t count;
	} rows[] = {
		{"ssdp:all", SET - 1}, /* but for the pinholes */
		{IGD ":1", 1},	       {IGD ":2", 0},	       {WANIP ":2", 0},
		{V6FC ":1", 0},	       {"upnp:rootdevice", 1},
	};
	struct fixture *fixture = *state;
	struct datagram in;

	settle(fixture);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		in = make_search("192.168.1.5", "192.168.1.1", rows[i].st, agent);
		fixture->count = 0;
		take(fixture, &in);
		assert_int_equal(fixture->count, rows[i].count);
	}
	begin(fixture, AF_INET, 2);
	settle(fixture);
	in = make_search("192.168.1.5", "192.168.1.1", "ssdp:all", agent);
	take(fixture, &in);
	assert_int_equal(fixture->count, 0);
}

/* ---- SSDP-3, SSDP-12: addresses ---- */

static void check_address(struct fixture *fixture, const char *from, const char *to,
			  const char *location)
{
	struct datagram in = make_search(from, to, IGD ":1", "");

	fixture->moment.now_ms += 5000;
	(void)ssdp_responder_run(fixture->responder, &fixture->moment);
	fixture->count = 0;
	take(fixture, &in);
	pass(fixture, SSDP_DELAY_MAX_MS);
	assert_int_equal(fixture->count, 1);
	assert_holds(&fixture->messages[0], location);
	assert_true(addr_equal(&fixture->messages[0].head.peer, &in.peer));
	assert_int_equal(fixture->messages[0].head.peer_port, 4000);
	assert_int_equal(fixture->messages[0].head.ifindex, IFINDEX);
	assert_int_equal(fixture->messages[0].head.use, DATAGRAM_REPLY);
	assert_null(strchr(fixture->messages[0].text, '%'));
}

static void assert_source(const struct fixture *fixture, const char *source)
{
	struct ip_addr addr = ip(source);

	assert_true(addr_equal(&fixture->messages[0].head.local, &addr));
}

/* Of the asker's subnet; what was asked is what answers. */
static void test_addresses_ipv4(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture);
	check_address(fixture, "192.168.1.5", SSDP_GROUP, "http://192.168.1.1:49152/");
	assert_source(fixture, "192.168.1.1");
	check_address(fixture, "10.9.1.5", SSDP_GROUP, "http://10.9.0.1:49152/");
	assert_source(fixture, "10.9.0.1");
	check_address(fixture, "10.9.1.5", "192.168.1.1", "http://10.9.0.1:49152/");
	assert_source(fixture, "192.168.1.1");
	/* a network that is only configured: the first address */
	fixture->lan.networks[fixture->lan.network_count++] =
		(struct prefix){ip("172.16.0.0"), 96 + 16};
	check_address(fixture, "172.16.0.5", SSDP_GROUP, "http://192.168.1.1:49152/");
}

/* CL-21: who asks over the link is led to the global address. */
static void test_addresses_ipv6(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture, AF_INET6, 3);
	settle(fixture);
	check_address(fixture, "fe80::5", "ff02::c", "http://[2001:db8::1]:49152/");
	assert_source(fixture, "fe80::1");
	check_address(fixture, "fe80::5", "fe80::1", "http://[2001:db8::1]:49152/");
	check_address(fixture, "2001:db8::5", "ff05::c", "http://[2001:db8::1]:49152/");
	assert_source(fixture, "2001:db8::1");
	check_address(fixture, "fd00::5", "ff05::c", "http://[fd00::1]:49152/");
	assert_source(fixture, "fd00::1");
	fixture->lan.addresses[3] = fixture->lan.addresses[4]; /* without the global */
	fixture->lan.address_count = 4;
	check_address(fixture, "fe80::5", "ff02::c", "http://[fd00::1]:49152/");
	check_address(fixture, "2001:db8::5", "ff05::c", "http://[fd00::1]:49152/");
	fixture->lan.addresses[2] = fixture->lan.addresses[3]; /* of the link alone */
	fixture->lan.address_count = 3;
	check_address(fixture, "fe80::5", "ff02::c", "http://[fe80::1]:49152/");
	assert_int_equal(ask(fixture, "fd00::5", "fe80::1", IGD ":1"), 0);
	fixture->lan.address_count = 2; /* none at all */
	assert_int_equal(ask(fixture, "fe80::5", "ff02::c", IGD ":1"), 0);
	assert_null(ssdp_address_for_source(&fixture->lan, &(struct ip_addr){{0xfe}}));
}

/* ---- SSDP-2, SSDP-18, SSDP-19: who gets silence ---- */

static void test_silence(void **state)
{
	static const struct {
		const char *from, *to;
	} rows[] = {
		{"203.0.113.5", "192.168.1.1"}, /* not of the LAN */
		{"203.0.113.5", SSDP_GROUP},
		{"192.168.1.5", "192.168.2.1"}, /* our address on another LAN */
		{"192.168.1.5", "192.168.1.255"},
		{"192.168.1.5", "224.0.0.1"},
		{"192.168.1.1", SSDP_GROUP},   /* ourselves */
		{"192.168.1.255", SSDP_GROUP}, /* nobody */
		{"fe80::5", "ff02::c"},	       /* the other family's */
		{"192.168.1.5", "ff02::c"},
		{"2001:db8:9::5", "2001:db8::1"},
	};
	struct fixture *fixture = *state;
	struct datagram in;

	settle(fixture);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		in = make_search(rows[i].from, rows[i].to, "ssdp:all", "");
		take(fixture, &in);
		pass(fixture, SSDP_DELAY_MAX_MS);
		assert_int_equal(fixture->count, 0);
	}
	in = make_search("192.168.1.5", "192.168.1.1", "ssdp:all", "");
	in.ifindex = IFINDEX + 1; /* the WAN, or another LAN */
	take(fixture, &in);
	in.ifindex = 0;
	take(fixture, &in);
	in.ifindex = IFINDEX;
	in.peer_port = 0;
	take(fixture, &in);
	in.peer_port = 4000;
	in.truncated = true;
	take(fixture, &in);
	assert_int_equal(fixture->count, 0);
	in.truncated = false;
	take(fixture, &in);
	assert_int_equal(fixture->count, SET);
}

/* ---- SSDP-5, SSDP-6, SSDP-7: time ---- */

static size_t count_after(struct fixture *fixture, const struct datagram *in,
			  int64_t ms)
{
	fixture->count = 0;
	take(fixture, in);
	if (ms > 0)
		pass(fixture, ms);
	return fixture->count;
}

static void test_delay(void **state)
{
	struct datagram in = make_search("192.168.1.5", SSDP_GROUP, IGD ":1", "");
	struct fixture *fixture = *state;

	settle(fixture);
	fixture->chance = UINT32_MAX; /* as late as may be, whatever MX says */
	assert_int_equal(count_after(fixture, &in, SSDP_DELAY_MAX_MS - 1), 0);
	pass(fixture, 1);
	assert_int_equal(fixture->count, 1);
	fixture->chance = 0;
	assert_int_equal(count_after(fixture, &in, 0), 1);
}

/* ssdp-strict: 0..MX as written, and no answer without MX or MAN */
static void test_strict(void **state)
{
	static const char bare[] = "M-SEARCH * HTTP/1.1\r\nST: upnp:rootdevice\r\n\r\n";
	static const struct ssdp_responder_ops ops = {.send = take_batch, .draw = draw};
	struct datagram in = make_search("192.168.1.5", SSDP_GROUP, IGD ":1", "");
	struct fixture *fixture = *state;

	ssdp_responder_free(fixture->responder);
	fixture->config.strict = true;
	fixture->responder = ssdp_responder_new(&fixture->config, &ops, fixture,
						fixture->moment.now_ms);
	assert_non_null(fixture->responder);
	settle(fixture);
	fixture->chance = UINT32_MAX;
	assert_int_equal(count_after(fixture, &in, 4999), 0);
	pass(fixture, 1);
	assert_int_equal(fixture->count, 1);
	memcpy(in.bytes, bare, sizeof(bare) - 1);
	in.length = sizeof(bare) - 1;
	assert_int_equal(count_after(fixture, &in, 5000), 0);
	in.local = ip("192.168.1.1"); /* unicast needs neither */
	assert_int_equal(count_after(fixture, &in, 0), 1);
}

/* ---- SSDP-13, SSDP-14, SSDP-15, SSDP-16: announcements ---- */

static size_t count_holding(const struct fixture *fixture, const char *text)
{
	size_t count = 0;

	for (size_t i = 0; i < fixture->count; i++)
		count += holds(&fixture->messages[i], text) ? 1 : 0;
	return count;
}

/* The whole set of both roots, twice, soon; then again before half of max-age. */
static void test_alive(void **state)
{
	struct fixture *fixture = *state;
	int64_t next_ms;

	fixture->chance = UINT32_MAX;
	begin(fixture, AF_INET, 3);
	pass(fixture, 99);
	assert_int_equal(fixture->count, 0);
	pass(fixture, 1);
	assert_int_equal(fixture->count, FACES * SET);
	pass(fixture, 200);
	assert_int_equal(fixture->count, 2 * FACES * SET);
	assert_int_equal(count_holding(fixture, "\r\nNTS: ssdp:alive\r\n"),
			 fixture->count);
	assert_int_equal(count_holding(fixture, "\r\nBOOTID.UPNP.ORG: 77\r\n"),
			 fixture->count);
	assert_int_equal(count_holding(fixture, "http://192.168.1.1:49152/igd2/"),
			 fixture->count / 2);
	for (size_t i = 0; i < fixture->count; i++) {
		assert_int_equal(fixture->messages[i].head.use, DATAGRAM_MULTICAST);
		assert_int_equal(fixture->messages[i].head.hops, SSDP_TTL);
	}
	next_ms = ssdp_responder_run(fixture->responder, &fixture->moment);
	assert_true(next_ms - fixture->moment.now_ms < SSDP_MAX_AGE_S * INT64_C(500));
	fixture->chance = 0;
	for (int i = 0; i < 2; i++) { /* the refresh, and the one after it */
		fixture->count = 0;
		pass(fixture, next_ms - fixture->moment.now_ms);
		assert_int_equal(fixture->count, FACES * SET);
		pass(fixture, 200);
		assert_int_equal(fixture->count, 2 * FACES * SET);
		next_ms = ssdp_responder_run(fixture->responder, &fixture->moment);
		assert_true(next_ms > fixture->moment.now_ms + 60000);
	}
	fixture->count = 0;
	ssdp_responder_say_byebye(fixture->responder);
	assert_int_equal(fixture->count, SSDP_REPEAT * FACES * SET);
	assert_int_equal(count_holding(fixture, "\r\nNTS: ssdp:byebye\r\n"),
			 fixture->count);
}

/* SSDP-15: the old BOOTID and the next one, which all has from then on */
static void test_update(void **state)
{
	struct fixture *fixture = *state;

	for (int family = 0; family < 2; family++) {
		begin(fixture, family == 0 ? AF_INET : AF_INET6, 3);
		settle(fixture);
		ssdp_responder_say_update(fixture->responder, 78);
		assert_int_equal(fixture->count,
				 SSDP_REPEAT * FACES * SET * (family + 1));
		assert_int_equal(count_holding(fixture, "\r\nNTS: ssdp:update\r\n"),
				 fixture->count);
		assert_int_equal(count_holding(fixture,
					       "\r\nNEXTBOOTID.UPNP.ORG: 78\r\n"
					       "BOOTID.UPNP.ORG: 77\r\n"),
				 fixture->count);
		assert_int_equal(count_holding(fixture, "\r\nLOCATION: http://"),
				 fixture->count);
		fixture->count = 0;
		ssdp_responder_say_byebye(fixture->responder);
		assert_int_equal(count_holding(fixture, "\r\nBOOTID.UPNP.ORG: 78\r\n"),
				 fixture->count);
	}
}

/* SSDP-13: announced anew, as at the start, and not the rest of a set before */
static void test_renew(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture, AF_INET, 3);
	pass(fixture, 0);
	fixture->chance = 60;
	for (int i = 0; i < 2; i++) { /* before the repetition, and long after it */
		fixture->count = 0;
		ssdp_responder_renew(fixture->responder, fixture->moment.now_ms);
		pass(fixture, 59);
		assert_int_equal(fixture->count, 0);
		pass(fixture, 1);
		assert_int_equal(fixture->count, FACES * SET);
		pass(fixture, 200);
		assert_int_equal(fixture->count, 2 * FACES * SET);
		assert_int_equal(count_holding(fixture, "\r\nNTS: ssdp:alive\r\n"),
				 fixture->count);
		pass(fixture, 60000);
		assert_int_equal(fixture->count, 2 * FACES * SET);
	}
}

/* SSDP-14: a root that is not offered here is not heard of after the first byebye */
static void test_former(void **state)
{
	struct fixture *fixture = *state;

	fixture->chance = 0;
	begin(fixture, AF_INET, 1);
	ssdp_responder_say_first_byebye(fixture->responder);
	assert_int_equal(fixture->count, SSDP_REPEAT * FACES * SET);
	fixture->count = 0;
	pass(fixture, 0);
	pass(fixture, 200);
	ssdp_responder_say_update(fixture->responder, 78);
	ssdp_responder_say_byebye(fixture->responder);
	assert_int_equal(fixture->count, (2 + 2 * SSDP_REPEAT) * SET);
	assert_int_equal(count_holding(fixture, "InternetGatewayDevice:2"), 0);
	assert_int_equal(count_holding(fixture, "/igd2/"), 0);
}

/* SSDP-1, SSDP-12, SSDP-16: to both groups, each from an address of its scope */
static void test_alive_ipv6(void **state)
{
	struct fixture *fixture = *state;
	struct ip_addr link = ip("ff02::c"), global = ip("2001:db8::1");
	struct ip_addr local = ip("fe80::1");

	begin(fixture, AF_INET6, 3);
	pass(fixture, 0);
	assert_int_equal(fixture->count, 2 * FACES * SET);
	assert_int_equal(count_holding(fixture, "\r\nHOST: [FF02::C]:1900\r\n"),
			 FACES * SET);
	assert_int_equal(count_holding(fixture, "\r\nHOST: [FF05::C]:1900\r\n"),
			 FACES * SET);
	assert_int_equal(count_holding(fixture, "http://[2001:db8::1]:49152/"),
			 fixture->count);
	assert_int_equal(count_holding(fixture, "\r\n01-NLS: 77\r\n"), fixture->count);
	for (size_t i = 0; i < fixture->count; i++) {
		const struct datagram *head = &fixture->messages[i].head;
		bool of_link = addr_equal(&head->peer, &link);

		assert_int_equal(head->hops, of_link ? 1 : SSDP_TTL);
		assert_true(addr_equal(&head->local, of_link ? &local : &global));
	}
	/* Without a global address nothing is said beyond the link. */
	fixture->lan.addresses[2] = fixture->lan.addresses[4];
	fixture->lan.address_count = 3;
	begin(fixture, AF_INET6, 3);
	pass(fixture, 0);
	assert_int_equal(fixture->count, FACES * SET);
	assert_int_equal(count_holding(fixture, "http://[fe80::1]:49152/"),
			 fixture->count);
	fixture->lan.address_count = 2;
	begin(fixture, AF_INET6, 3);
	pass(fixture, 0);
	assert_int_equal(fixture->count, 0);
}

/* SSDP-14: a group that an address comes for is told byebye first */
static void test_group_joins(void **state)
{
	struct fixture *fixture = *state;
	const struct prefix global = fixture->lan.addresses[3];

	fixture->lan.addresses[2] = fixture->lan.addresses[4];
	fixture->lan.address_count = 3;
	begin(fixture, AF_INET6, 1);
	ssdp_responder_say_first_byebye(fixture->responder);
	settle(fixture);
	fixture->lan.addresses[fixture->lan.address_count++] = global;
	ssdp_responder_renew(fixture->responder, fixture->moment.now_ms);
	pass(fixture, 0);
	pass(fixture, 200);
	assert_int_equal(count_holding(fixture, "\r\nNTS: ssdp:alive\r\n"), 4 * SET);
	assert_int_equal(count_holding(fixture, "\r\nNTS: ssdp:byebye\r\n"),
			 FACES * SET);
	for (size_t i = 0; i < fixture->count; i++)
		if (holds(&fixture->messages[i], "ssdp:byebye"))
			assert_holds(&fixture->messages[i], "HOST: [FF05::C]:1900\r\n");
	assert_int_equal(fixture->count, (4 + FACES) * SET);
}

/* ---- SSDP-18 ---- */

/* When the limits are reached one answer is left for who asks now and then, and it is
 * the gateway's (CL-9). */
static void test_single(void **state)
{
	struct fixture *fixture = *state;
	struct datagram in;

	settle(fixture);
	for (unsigned int i = 0; i < 100; i++) {
		in = make_search("192.168.1.5", "192.168.1.1", "ssdp:all", "");
		in.peer.bytes[15] = (uint8_t)(10 + i);
		fixture->count = 0;
		take(fixture, &in);
		assert_int_equal(fixture->count,
				 i < SSDP_LIMIT_TOTAL_BURST / SET ? SET : 1);
	}
	assert_holds(&fixture->messages[0], "\r\nST: " IGD ":1\r\n");
}

/* However many search at once, each is answered, and within the delay. */
static void test_crowd(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture);
	fixture->chance = UINT32_MAX;
	for (unsigned int i = 0; i < 200; i++) {
		struct datagram in =
			make_search("192.168.1.5", SSDP_GROUP, IGD ":1", "");

		in.peer.bytes[15] = (uint8_t)(10 + i);
		take(fixture, &in);
	}
	pass(fixture, SSDP_DELAY_MAX_MS);
	assert_int_equal(fixture->count, 200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_both),	   TEST(test_one_face),
		TEST(test_legacy),	   TEST(test_addresses_ipv4),
		TEST(test_addresses_ipv6), TEST(test_silence),
		TEST(test_delay),	   TEST(test_strict),
		TEST(test_alive),	   TEST(test_alive_ipv6),
		TEST(test_update),	   TEST(test_renew),
		TEST(test_former),	   TEST(test_group_joins),
		TEST(test_single),	   TEST(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
