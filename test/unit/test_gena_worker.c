/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Eventing of the whole worker, over real sockets: who subscribes, and what is told. */
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "protocols/gena_table.h"
#include "protocols/upnp_events.h"
#include "test/unit/clock_lab.h"
#include "test/unit/gena_lab.h"
#include "test/unit/upnp_lab.h"

#define WANIP1_EVENTS "/igd1/evt/WANIPConn1"
#define WANIP2_EVENTS "/igd2/evt/WANIPConn1"
#define LINK_EVENTS "/igd1/evt/WANCommonIFC1"
#define LAN 3 /* of lab_make_lan() */
#define OK "HTTP/1.1 200 OK\r\n\r\n"
/* In the place of what nobody else can tell: a live one among the dead. */
#define PROMPT_MS 100

#define TEXT_SIZE 1024

/* ---- requests ---- */

static const char *make_request(char text[TEXT_SIZE], const char *method,
				const char *path, const char *headers)
{
	int used = snprintf(text, TEXT_SIZE,
			    "%s %s HTTP/1.1\r\nHost: " GATEWAY ":49152\r\n%s\r\n",
			    method, path, headers);

	assert_true(used > 0 && used < TEXT_SIZE);
	return text;
}

static int ask(const char *method, const char *path, const char *headers)
{
	char text[TEXT_SIZE];
	struct lab_client *client =
		lab_exchange(HOST, make_request(text, method, path, headers));
	int status = lab_status_of(client);

	lab_client_free(client);
	return status;
}

static int ask_with_sid(const char *method, const char *path, const char *sid)
{
	char headers[128];

	(void)snprintf(headers, sizeof(headers), "SID: %s\r\n", sid);
	return ask(method, path, headers);
}

/* SUBSCRIBE from a host to the path; the status, and the SID when it is 200. */
static int subscribe_with(const char *host, const char *path, const char *callbacks,
			  char sid[GENA_SID_SIZE])
{
	char headers[256], text[TEXT_SIZE];
	struct lab_client *client;
	const char *found;
	int status;

	(void)snprintf(headers, sizeof(headers), "CALLBACK: %s\r\nNT: upnp:event\r\n",
		       callbacks);
	client = lab_exchange(host, make_request(text, "SUBSCRIBE", path, headers));
	status = lab_status_of(client);
	found = strstr(client->in, "\r\nSID: uuid:");
	assert_int_equal(found != NULL, status == 200);
	if (found) {
		memcpy(sid, found + 7, GENA_SID_SIZE - 1);
		sid[GENA_SID_SIZE - 1] = '\0';
	}
	lab_client_free(client);
	return status;
}

static int subscribe_from(const char *host, const char *path, uint16_t port,
			  char sid[GENA_SID_SIZE])
{
	char callback[64];

	(void)snprintf(callback, sizeof(callback), "<http://%s:%u/e>", host, port);
	return subscribe_with(host, path, callback, sid);
}

static void subscribe(const char *path, const struct sink *sink,
		      char sid[GENA_SID_SIZE])
{
	assert_int_equal(subscribe_from(HOST, path, sink->port, sid), 200);
}

/* A host that has subscribed, and had the first event. */
static struct sink *subscribe_new(const char *path, enum sink_mode mode)
{
	struct sink *sink = sink_new(HOST, mode);
	char sid[GENA_SID_SIZE];

	subscribe(path, sink, sid);
	sink_wait(sink, 1);
	return sink;
}

/* The event of that number has come, and tells of that many variables. */
static void wait_event(struct sink *sink, unsigned int seq, unsigned int values)
{
	sink_wait(sink, seq + 1);
	assert_int_equal(strtoul(sink_get_header(sink, "SEQ"), NULL, 10), seq);
	assert_int_equal(sink_count_values(sink), values);
}

/* ---- what core says ---- */

static struct wan_info make_wan(const char *external)
{
	struct wan_info wan = {
		.up_since_ms = external ? clock_now_ms() - 60000 : 0,
		.nat = 1,
		.carrier = 1,
	};

	if (external)
		assert_true(addr_parse(external, &wan.external));
	return wan;
}

static void send_wan(const char *external)
{
	struct wan_info wan = make_wan(external);

	lab_core_send(MSG_WAN, &wan, sizeof(wan));
}

static void send_table(uint32_t update_id, uint32_t entries)
{
	struct table_info table = {.update_ids = {[LAN] = update_id}};

	table.entries[LAN] = entries;
	table.entries[LAN + 1] = 4711; /* another LAN's */
	lab_core_send(MSG_TABLE, &table, sizeof(table));
}

/* The worker has read what core said before: it took some turns of the loop to answer.
 */
static void wait_read(void)
{
	assert_int_equal(ask("GET", "/", ""), 200);
}

/* ---- tests ---- */

/* GENA-1, GENA-5, GENA-6, GENA-7 */
static void test_first_event(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	char headers[256], text[TEXT_SIZE];
	struct lab_client *client;

	(void)state;
	(void)snprintf(headers, sizeof(headers),
		       "Callback: <http://" HOST ":%u/e>\r\nNT: upnp:event\r\n"
		       "Timeout: Second-infinite\r\n",
		       sink->port);
	client = lab_exchange(HOST,
			      make_request(text, "SUBSCRIBE", WANIP1_EVENTS, headers));
	assert_int_equal(lab_status_of(client), 200);
	lab_assert_holds(client, "\r\nSID: uuid:");
	lab_assert_holds(client, "\r\nTIMEOUT: Second-1800\r\n");
	lab_assert_holds(client, "\r\nServer: ");
	lab_assert_holds(client, "\r\nDate: ");
	lab_assert_holds(client, "\r\nContent-Length: 0\r\n");
	sink_wait(sink, 1);
	lab_assert_holds(client, sink_get_header(sink, "SID"));
	assert_string_equal(sink_get_header(sink, "SEQ"), "0");
	assert_int_equal(sink_count_values(sink), 4);
	assert_string_equal(sink_get_value(sink, "PossibleConnectionTypes"),
			    "IP_Routed");
	assert_string_equal(sink_get_value(sink, "ConnectionStatus"), "Connected");
	assert_string_equal(sink_get_value(sink, "ExternalIPAddress"), "203.0.113.9");
	assert_string_equal(sink_get_value(sink, "PortMappingNumberOfEntries"), "0");
	assert_string_equal(sink->peer, GATEWAY);
	lab_client_free(client);
	sink_free(sink);
}

/* GENA-6: the client has time to read its SID */
static void test_first_event_waits(void **state)
{
	const int64_t began_ms = clock_now_ms();
	struct sink *sink = subscribe_new(WANIP1_EVENTS, SINK_ANSWER);

	(void)state;
	assert_true(clock_now_ms() - began_ms >=
		    UPNP_FIRST_EVENT_DELAY_MS - TIMER_EARLY_MS);
	sink_free(sink);
}

/* GENA-2, GENA-3, GENA-4, GENA-13, HTTP-5 */
static void test_errors(void **state)
{
	static const char good[] = "CALLBACK: <http://" HOST ":5000/>\r\n"
				   "NT: upnp:event\r\n";
	static const char sid[] = "SID: uuid:00000000-0000-4000-8000-000000000000\r\n";
	static const struct {
		const char *method, *path, *headers;
		int status;
	} rows[] = {
		{"SUBSCRIBE", "/igd1/evt/Nothing", good, 404},
		{"SUBSCRIBE", "/igd1/ctl/WANIPConn1", good, 405},
		{"GET", WANIP1_EVENTS, "", 405},
		{"HEAD", WANIP1_EVENTS, "", 405},
		{"NOTIFY", WANIP1_EVENTS, "", 405},
		{"SUBSCRIBE", WANIP1_EVENTS, "", 412},
		{"SUBSCRIBE", WANIP1_EVENTS, "NT: upnp:event\r\n", 412},
		{"SUBSCRIBE", WANIP1_EVENTS, sid, 412},
		{"UNSUBSCRIBE", WANIP1_EVENTS, sid, 412},
		{"UNSUBSCRIBE", WANIP1_EVENTS, "", 412},
		{"SUBSCRIBE", WANIP1_EVENTS,
		 "CALLBACK: <http://" HOST_2 ":5000/>\r\nNT: upnp:event\r\n", 412},
		{"SUBSCRIBE", WANIP1_EVENTS,
		 "SID: uuid:1\r\nCALLBACK: <http://" HOST ":5000/>\r\n", 400},
		{"UNSUBSCRIBE", WANIP1_EVENTS, "SID: uuid:1\r\nNT: upnp:event\r\n",
		 400},
		{"SUBSCRIBE", WANIP1_EVENTS, "SID: uuid:1\r\nSID: uuid:1\r\n", 400},
		{"SUBSCRIBE", WANIP2_EVENTS,
		 "CALLBACK: <http://" HOST ":5000/>\r\nNT: upnp:event\r\n"
		 "User-Agent: Xbox\r\n",
		 404},
	};
	char text[TEXT_SIZE];
	struct lab_client *client;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		lab_assert_status(make_request(text, rows[i].method, rows[i].path,
					       rows[i].headers),
				  rows[i].status);
	client = lab_exchange(HOST, make_request(text, "GET", WANIP1_EVENTS, ""));
	lab_assert_holds(client, "\r\nAllow: SUBSCRIBE, UNSUBSCRIBE\r\n");
	lab_client_free(client);
}

/* GENA-9, IGD-37: only what has changed, and nothing where nothing has */
static void test_wan(void **state)
{
	struct sink *sink = subscribe_new(WANIP1_EVENTS, SINK_ANSWER);

	(void)state;
	send_wan("203.0.113.9");
	send_wan("203.0.113.10");
	wait_event(sink, 1, 1);
	assert_string_equal(sink_get_value(sink, "ExternalIPAddress"), "203.0.113.10");
	send_wan(NULL);
	wait_event(sink, 2, 2);
	assert_string_equal(sink_get_value(sink, "ExternalIPAddress"), "");
	assert_string_equal(sink_get_value(sink, "ConnectionStatus"), "Disconnected");
	sink_free(sink);
}

/* IGD-52 */
static void test_carrier(void **state)
{
	struct sink *sink = subscribe_new(LINK_EVENTS, SINK_ANSWER);
	struct wan_info wan = make_wan("203.0.113.9");

	(void)state;
	assert_string_equal(sink_get_value(sink, "PhysicalLinkStatus"), "Up");
	send_wan("203.0.113.10"); /* of no interest here */
	wan.carrier = 0;
	lab_core_send(MSG_WAN, &wan, sizeof(wan));
	wait_event(sink, 1, 1);
	assert_string_equal(sink_get_value(sink, "PhysicalLinkStatus"), "Down");
	sink_free(sink);
}

/* IGD-36, IGD-27: both in one event; SystemUpdateID is of version 2 alone */
static void test_table(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	struct sink *sink2 = sink_new(HOST, SINK_ANSWER);
	char sid[GENA_SID_SIZE];

	(void)state;
	send_table(41, 1);
	wait_read();
	subscribe(WANIP1_EVENTS, sink, sid);
	subscribe(WANIP2_EVENTS, sink2, sid);
	sink_wait(sink, 1);
	sink_wait(sink2, 1);
	assert_string_equal(sink_get_value(sink, "PortMappingNumberOfEntries"), "1");
	assert_null(sink_get_value(sink, "SystemUpdateID"));
	assert_string_equal(sink_get_value(sink2, "PortMappingNumberOfEntries"), "1");
	assert_string_equal(sink_get_value(sink2, "SystemUpdateID"), "41");
	send_table(42, 2);
	sink_wait(sink, 2);
	sink_wait(sink2, 2);
	assert_string_equal(sink_get_value(sink, "PortMappingNumberOfEntries"), "2");
	assert_int_equal(sink_count_values(sink), 1);
	assert_string_equal(sink_get_value(sink2, "PortMappingNumberOfEntries"), "2");
	assert_string_equal(sink_get_value(sink2, "SystemUpdateID"), "42");
	assert_int_equal(sink_count_values(sink2), 2);
	/* changed, not one more: nothing for version 1 */
	send_table(43, 2);
	sink_wait(sink2, 3);
	assert_string_equal(sink_get_value(sink2, "SystemUpdateID"), "43");
	assert_int_equal(sink_count_values(sink2), 1);
	send_table(44, 70000);
	sink_wait(sink, 3);
	assert_string_equal(sink_get_value(sink, "PortMappingNumberOfEntries"),
			    "65535");
	sink_free(sink);
	sink_free(sink2);
}

static bool has_update_9(const void *user)
{
	const struct sink *sink = user;
	const char *value = sink_get_value(sink, "SystemUpdateID");

	return value && strcmp(value, "9") == 0;
}

/* A busy table is told now and then, its first change and everything else at once. */
static void test_table_interval(void **state)
{
	struct sink *sink = subscribe_new(WANIP2_EVENTS, SINK_ANSWER);
	int64_t began_ms;

	(void)state;
	began_ms = clock_now_ms();
	send_table(1, 1);
	sink_wait(sink, 2);
	for (uint32_t i = 2; i <= 9; i++)
		send_table(i, 1);
	assert_true(lab_wait_for(has_update_9, sink));
	assert_true(clock_now_ms() - began_ms >=
		    UPNP_TABLE_INTERVAL_MS - TIMER_EARLY_MS);
	send_table(10, 1);
	send_wan("203.0.113.10");
	sink_wait(sink, sink->count + 1);
	assert_string_equal(sink_get_value(sink, "SystemUpdateID"), "10");
	assert_string_equal(sink_get_value(sink, "ExternalIPAddress"), "203.0.113.10");
	sink_free(sink);
}

/* GENA-3: renewed, without an event; the next one is the next number */
static void test_renew(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	char sid[GENA_SID_SIZE], headers[256], text[TEXT_SIZE];
	struct lab_client *client;

	(void)state;
	subscribe(WANIP1_EVENTS, sink, sid);
	sink_wait(sink, 1);
	(void)snprintf(headers, sizeof(headers), "SID: %s\r\nTimeout: Second-7200\r\n",
		       sid);
	client = lab_exchange(HOST,
			      make_request(text, "SUBSCRIBE", WANIP1_EVENTS, headers));
	assert_int_equal(lab_status_of(client), 200);
	lab_assert_holds(client, sid);
	lab_assert_holds(client, "\r\nTIMEOUT: Second-7200\r\n");
	lab_client_free(client);
	/* of another service it is nobody's (GENA-13) */
	assert_int_equal(ask_with_sid("SUBSCRIBE", LINK_EVENTS, sid), 412);
	send_wan("203.0.113.10");
	sink_wait(sink, 2);
	assert_string_equal(sink_get_header(sink, "SEQ"), "1");
	sink_free(sink);
}

/* GENA-4 */
static void test_unsubscribe(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	struct sink *other = sink_new(HOST, SINK_ANSWER);
	char sid[GENA_SID_SIZE], other_sid[GENA_SID_SIZE];

	(void)state;
	subscribe(WANIP1_EVENTS, sink, sid);
	subscribe(WANIP1_EVENTS, other, other_sid);
	sink_wait(sink, 1);
	sink_wait(other, 1);
	assert_int_equal(ask_with_sid("UNSUBSCRIBE", WANIP1_EVENTS, sid), 200);
	assert_int_equal(ask_with_sid("UNSUBSCRIBE", WANIP1_EVENTS, sid), 412);
	assert_int_equal(ask_with_sid("SUBSCRIBE", WANIP1_EVENTS, sid), 412);
	send_wan("203.0.113.10");
	sink_wait(other, 2);
	send_wan("203.0.113.11");
	sink_wait(other, 3);
	assert_int_equal(sink->accepted, 1);
	sink_free(sink);
	sink_free(other);
}

/* GENA-6: told all the same */
static void test_unsubscribe_at_once(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_HOLD);
	char sid[GENA_SID_SIZE];

	(void)state;
	subscribe(WANIP1_EVENTS, sink, sid);
	assert_int_equal(ask_with_sid("UNSUBSCRIBE", WANIP1_EVENTS, sid), 200);
	assert_int_equal(ask_with_sid("UNSUBSCRIBE", WANIP1_EVENTS, sid), 412);
	sink_wait(sink, 1);
	assert_string_equal(sink_get_header(sink, "SEQ"), "0");
	assert_string_equal(sink_get_header(sink, "SID"), sid);
	sink_free(sink);
}

/* ---- the end of a subscription whose event is under way ---- */

static bool has_hung_up(const void *user)
{
	const struct sink *sink = user;

	return sink->closed == sink->accepted;
}

/* One that was told once, and holds the second event; another URL comes after. */
static struct sink *hold_event(const struct sink *next, char sid[GENA_SID_SIZE])
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	char callbacks[128];

	(void)snprintf(callbacks, sizeof(callbacks),
		       "<http://" HOST ":%u/e><http://" HOST ":%u/e>", sink->port,
		       next->port);
	assert_int_equal(subscribe_with(HOST, WANIP1_EVENTS, callbacks, sid), 200);
	sink_wait(sink, 1);
	sink->mode = SINK_HOLD;
	send_wan("203.0.113.10");
	sink_wait(sink, 2);
	return sink;
}

/* GENA-4: the delivery ends with it, and no other URL is tried */
static void test_unsubscribe_in_flight(void **state)
{
	struct sink *next = sink_new(HOST, SINK_ANSWER);
	char sid[GENA_SID_SIZE];
	struct sink *sink = hold_event(next, sid);

	(void)state;
	assert_int_equal(ask_with_sid("UNSUBSCRIBE", WANIP1_EVENTS, sid), 200);
	assert_true(lab_wait_for(has_hung_up, sink));
	send_wan("203.0.113.11");
	sink_free(subscribe_new(WANIP1_EVENTS, SINK_ANSWER));
	assert_int_equal(next->accepted, 0);
	assert_int_equal(sink->accepted, 2);
	sink_free(sink);
	sink_free(next);
}

/* GENA-12: the same when its LAN goes */
static void test_lan_goes_in_flight(void **state)
{
	struct sink *next = sink_new(HOST, SINK_ANSWER);
	char sid[GENA_SID_SIZE];
	struct sink *sink = hold_event(next, sid);
	struct lan_info lan = lab_make_lan();
	unsigned int readies = lab_get()->ready_count;

	(void)state;
	lan.protocols = 0;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	assert_true(lab_wait_for(has_hung_up, sink));
	lab_wait_ready(readies + 1);
	send_wan("203.0.113.11");
	lan = lab_make_lan();
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(readies + 2);
	sink_free(subscribe_new(WANIP1_EVENTS, SINK_ANSWER));
	assert_int_equal(next->accepted, 0);
	sink_free(sink);
	sink_free(next);
}

/* GENA-9: what changes while an event is under way is in the next one, all of it */
static void test_burst(void **state)
{
	struct sink *sink = subscribe_new(WANIP2_EVENTS, SINK_HOLD);
	char address[32];

	(void)state;
	for (unsigned int i = 1; i <= 20; i++) {
		(void)snprintf(address, sizeof(address), "203.0.113.%u", 20 + i);
		send_wan(address);
		send_table(100 + i, i);
	}
	wait_read();
	assert_int_equal(sink->accepted, 1);
	sink_answer(sink, OK);
	wait_event(sink, 1, 3);
	assert_string_equal(sink_get_value(sink, "ExternalIPAddress"), "203.0.113.40");
	assert_string_equal(sink_get_value(sink, "PortMappingNumberOfEntries"), "20");
	assert_string_equal(sink_get_value(sink, "SystemUpdateID"), "120");
	sink_free(sink);
}

/* GENA-8, GENA-10: a lost event has its number; what it held comes with the next one */
static void test_lost_event(void **state)
{
	struct sink *sink = subscribe_new(WANIP2_EVENTS, SINK_FAIL);

	(void)state;
	sink->mode = SINK_ANSWER;
	send_table(1, 1);
	wait_event(sink, 1, 5);
	send_wan("203.0.113.10");
	sink_wait(sink, 3);
	assert_int_equal(sink_count_values(sink), 1);
	sink_free(sink);
}

/* GENA-10: given up after repeated failures */
static void test_failures(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_FAIL);
	char sid[GENA_SID_SIZE], address[32];

	(void)state;
	subscribe(WANIP1_EVENTS, sink, sid);
	sink_wait(sink, 1);
	for (unsigned int i = 1; i < GENA_UNHEARD_FAILURES_MAX; i++) {
		assert_int_equal(ask_with_sid("SUBSCRIBE", WANIP1_EVENTS, sid), 200);
		(void)snprintf(address, sizeof(address), "203.0.113.%u", 20 + i);
		send_wan(address);
		sink_wait(sink, i + 1);
	}
	assert_int_equal(ask_with_sid("SUBSCRIBE", WANIP1_EVENTS, sid), 412);
	sink_free(sink);
}

static void expect_gone(const struct lan_info *lan)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	struct lan_info back = lab_make_lan();
	unsigned int readies;
	char sid[GENA_SID_SIZE];

	subscribe(WANIP2_EVENTS, sink, sid);
	sink_wait(sink, 1);
	readies = lab_get()->ready_count;
	lab_core_send(MSG_LAN, lan, sizeof(*lan));
	lab_wait_ready(readies + 1);
	readies = lab_get()->ready_count;
	lab_core_send(MSG_LAN, &back, sizeof(back));
	lab_wait_ready(readies + 1);
	assert_int_equal(ask_with_sid("SUBSCRIBE", WANIP2_EVENTS, sid), 412);
	assert_int_equal(sink->accepted, 1);
	sink_free(sink);
}

/* GENA-12, GENA-13 */
static void test_lan_changes(void **state)
{
	struct lan_info lan = lab_make_lan();

	(void)state;
	lan.ifindex = 0;
	expect_gone(&lan);
	lan = lab_make_lan();
	lan.igd = 1;
	expect_gone(&lan);
	lan = lab_make_lan();
	lan.protocols = 0;
	expect_gone(&lan);
	lan = lab_make_lan();
	assert_true(addr_parse("10.99.0.7", &lan.addresses[0].addr));
	expect_gone(&lan);
	lan = lab_make_lan();
	assert_true(prefix_parse("10.99.0.128/25", &lan.networks[0]));
	expect_gone(&lan);
}

/* An address that is added takes nothing away. */
static void test_lan_grows(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	struct lan_info lan = lab_make_lan();
	unsigned int readies;
	char sid[GENA_SID_SIZE];

	(void)state;
	subscribe(WANIP1_EVENTS, sink, sid);
	sink_wait(sink, 1);
	lan.addresses[1] = lan.addresses[0];
	assert_true(addr_parse("10.99.0.7", &lan.addresses[1].addr));
	lan.address_count = 2;
	readies = lab_get()->ready_count;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(readies + 1);
	assert_int_equal(ask_with_sid("SUBSCRIBE", WANIP1_EVENTS, sid), 200);
	sink_free(sink);
}

/* GENA-12 */
static void test_limits(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	char sid[GENA_SID_SIZE];

	(void)state;
	for (unsigned int i = 0; i < 2 * GENA_SUBSCRIPTIONS_PER_HOST_MAX; i++)
		assert_int_equal(subscribe_from(HOST, WANIP1_EVENTS, sink->port, sid),
				 i < GENA_SUBSCRIPTIONS_PER_HOST_MAX ? 200 : 503);
	/* nobody else is kept out */
	assert_int_equal(subscribe_from(HOST_2, WANIP1_EVENTS, sink->port, sid), 200);
	sink_free(sink);
}

/* GENA-3, GENA-12: a subscription whose time is over takes nobody's place */
static void test_expired_make_room(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	char sid[GENA_SID_SIZE];

	(void)state;
	for (unsigned int i = 0; i < GENA_SUBSCRIPTIONS_PER_HOST_MAX; i++)
		subscribe(WANIP1_EVENTS, sink, sid);
	sink_wait(sink, GENA_SUBSCRIPTIONS_PER_HOST_MAX);
	wait_read(); /* and that they have all come */
	clock_lab_pass(INT64_C(1000) * GENA_TIMEOUT_MIN_S - 2 * DEADLINE_MS);
	assert_int_equal(subscribe_from(HOST, WANIP1_EVENTS, sink->port, sid), 503);
	clock_lab_pass(2 * DEADLINE_MS);
	assert_int_equal(subscribe_from(HOST, WANIP1_EVENTS, sink->port, sid), 200);
	sink_free(sink);
}

/*
 * A dead subscriber delays nobody: two hundred whose ports take connections and never
 * answer, some of them not even connections.
 */
static void test_dead_subscribers(void **state)
{
	static struct sink *dead[16];
	struct sink *live;
	char sid[GENA_SID_SIZE], host[32];
	int64_t began_ms;

	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		(void)snprintf(host, sizeof(host), "10.99.0.%u", 20 + i);
		dead[i] = sink_new(host, SINK_DEAD);
		if (i % 2) /* no room for a second connection */
			assert_int_equal(listen(dead[i]->fd, 0), 0);
		for (unsigned int k = 0; k < GENA_SUBSCRIPTIONS_PER_LAN_MAX / 16 - 1;
		     k++)
			assert_int_equal(
				subscribe_from(host, WANIP1_EVENTS, dead[i]->port, sid),
				200);
	}
	live = sink_new(HOST, SINK_ANSWER);
	began_ms = clock_now_ms();
	subscribe(WANIP1_EVENTS, live, sid);
	sink_wait(live, 1);
	assert_true(clock_now_ms() - began_ms < UPNP_FIRST_EVENT_DELAY_MS + PROMPT_MS);
	began_ms = clock_now_ms();
	send_wan("203.0.113.10");
	sink_wait(live, 2);
	assert_true(clock_now_ms() - began_ms < PROMPT_MS);
	for (unsigned int i = 0; i < 16; i++)
		sink_free(dead[i]);
	sink_free(live);
}

#define TEST(name)                                                                     \
	cmocka_unit_test_setup_teardown(name, lab_setup_serving, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_event),
		TEST(test_first_event_waits),
		TEST(test_errors),
		TEST(test_wan),
		TEST(test_carrier),
		TEST(test_table),
		TEST(test_table_interval),
		TEST(test_renew),
		TEST(test_unsubscribe),
		TEST(test_unsubscribe_at_once),
		TEST(test_unsubscribe_in_flight),
		TEST(test_lan_goes_in_flight),
		TEST(test_burst),
		TEST(test_lost_event),
		TEST(test_failures),
		TEST(test_lan_changes),
		TEST(test_lan_grows),
		TEST(test_limits),
		TEST(test_expired_make_room),
		TEST(test_dead_subscribers),
	};

	return cmocka_run_group_tests(tests, lab_group_setup, NULL);
}
