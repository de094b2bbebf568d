/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Eventing without a socket: headers, octets of a NOTIFY, and who is subscribed. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/gena.h"
#include "protocols/gena_table.h"

#define NOW_MS INT64_C(5000000)
#define SUBSCRIBER "192.168.1.20"

static struct ip_addr address(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

/* ---- headers ---- */

struct row {
	const char *callback, *nt, *sid;
	uint16_t subscribe, unsubscribe;
};

/* GENA-1 to GENA-4 */
static void test_headers(void **state)
{
	static const char url[] = "<http://" SUBSCRIBER ":5000/e>";
	static const char sid[] = "uuid:1";
	static const struct row rows[] = {
		{url, "upnp:event", NULL, 0, 412},
		{url, " upnp:event\t", NULL, 0, 412},
		{NULL, NULL, sid, 0, 0},
		{NULL, NULL, NULL, 412, 412},
		{NULL, "upnp:event", NULL, 412, 412},
		{url, NULL, NULL, 412, 412},
		{url, "upnp:propchange", NULL, 412, 412},
		{url, "upnp:events", NULL, 412, 412},
		{url, "", NULL, 412, 412},
		{"", "upnp:event", NULL, 412, 412},
		{url, "upnp:event", sid, 400, 400},
		{url, NULL, sid, 400, 400},
		{NULL, "upnp:event", sid, 400, 400},
		{NULL, NULL, "", 0, 0}, /* nobody's, as the table will say */
		{NULL, NULL, "uuid:00000000-0000-0000-0000-0000000000000", 412, 412},
	};
	const struct ip_addr client = address(SUBSCRIBER);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct http_headers headers = {
			.callback = rows[i].callback,
			.nt = rows[i].nt,
			.sid = rows[i].sid,
		};
		struct gena_call call;

		assert_int_equal(
			gena_parse_call(HTTP_SUBSCRIBE, &headers, &client, &call),
			rows[i].subscribe);
		assert_int_equal(
			gena_parse_call(HTTP_UNSUBSCRIBE, &headers, &client, &call),
			rows[i].unsubscribe);
	}
}

static void test_kinds(void **state)
{
	const struct ip_addr client = address(SUBSCRIBER);
	struct http_headers headers = {.sid = " uuid:7 "};
	struct gena_call call;

	(void)state;
	assert_int_equal(gena_parse_call(HTTP_SUBSCRIBE, &headers, &client, &call), 0);
	assert_int_equal(call.kind, GENA_RENEW);
	assert_string_equal(call.sid, "uuid:7");
	assert_int_equal(gena_parse_call(HTTP_UNSUBSCRIBE, &headers, &client, &call),
			 0);
	assert_int_equal(call.kind, GENA_UNSUBSCRIBE);
	headers = (struct http_headers){
		.callback = "<http://" SUBSCRIBER ":5000>",
		.nt = "upnp:event",
	};
	assert_int_equal(gena_parse_call(HTTP_SUBSCRIBE, &headers, &client, &call), 0);
	assert_int_equal(call.kind, GENA_SUBSCRIBE);
	assert_int_equal(call.timeout_s, 1800);
}

/* GENA-5 */
static void test_timeout(void **state)
{
	static const struct {
		const char *text;
		uint32_t granted_s;
	} rows[] = {
		{"Second-1800", 1800},
		{"second-3600", 3600},
		{" Second-86400 ", 86400},
		{"Second-86401", 86400},
		{"Second-1", 1800},
		{"Second-0", 1800},
		{"Second-infinite", 1800},
		{"infinite", 1800},
		{"Second-", 1800},
		{"Second--1", 1800},
		{"Second-3600x", 1800},
		{"Second-4294967296", 86400},
		{"Second-18446744073709551616", 1800},
		{"", 1800},
		{"3600", 1800},
	};
	const struct ip_addr client = address(SUBSCRIBER);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct http_headers headers = {
			.sid = "uuid:1",
			.timeout = rows[i].text,
		};
		struct gena_call call;

		assert_int_equal(
			gena_parse_call(HTTP_SUBSCRIBE, &headers, &client, &call), 0);
		assert_int_equal(call.timeout_s, rows[i].granted_s);
	}
}

static uint16_t subscribe(const char *from, const char *callback,
			  struct gena_call *call)
{
	const struct ip_addr client = address(from);
	const struct http_headers headers = {
		.callback = callback,
		.nt = "upnp:event",
	};

	return gena_parse_call(HTTP_SUBSCRIBE, &headers, &client, call);
}

/* GENA-1, GENA-10 */
static void test_callbacks(void **state)
{
	struct gena_call call;
	const struct gena_callback *callback = &call.callback;

	(void)state;
	assert_int_equal(subscribe(SUBSCRIBER,
				   " <http://192.168.1.20:1024>\t "
				   "<HTTP://192.168.1.20:65535/a/b?c=d;e%20f>"
				   "<http://192.168.1.20:05000/>",
				   &call),
			 0);
	assert_int_equal(callback->count, 3);
	assert_int_equal(callback->urls[0].port, 1024);
	assert_string_equal(gena_callback_get_path(callback, 0), "/");
	assert_int_equal(callback->urls[1].port, 65535);
	assert_string_equal(gena_callback_get_path(callback, 1), "/a/b?c=d;e%20f");
	assert_int_equal(callback->urls[2].port, 5000);
	assert_string_equal(gena_callback_get_path(callback, 2), "/");
	assert_int_equal(
		subscribe("2001:db8::7", "<http://[2001:DB8:0::7]:5000/x>", &call), 0);
	assert_string_equal(gena_callback_get_path(callback, 0), "/x");
	assert_int_equal(subscribe("fe80::7", "<http://[fe80::7]:5000/x>", &call), 0);
}

/* GENA-2, GENA-11, GENA-12: CVE-2020-12695 and its relatives */
static void test_bad_callbacks(void **state)
{
	static const char five[] =
		"<http://192.168.1.20:5000/><http://192.168.1.20:5001/>"
		"<http://192.168.1.20:5002/><http://192.168.1.20:5003/>"
		"<http://192.168.1.20:5004/>";
	static const char *const rows[] = {
		"http://192.168.1.20:5000/e",
		"<http://192.168.1.20:5000/e",
		"<http://192.168.1.20:5000/e>x",
		"x<http://192.168.1.20:5000/e>",
		"<>",
		"<https://192.168.1.20:5000/e>",
		"<ftp://192.168.1.20:5000/e>",
		"<//192.168.1.20:5000/e>",
		/* somebody else */
		"<http://192.168.1.21:5000/e>",
		"<http://203.0.113.9:5000/e>",
		"<http://127.0.0.1:5000/e>",
		"<http://192.168.1.20:5000/e><http://203.0.113.9:5000/e>",
		"<http://evil.example:5000/e>",
		"<http://localhost:5000/e>",
		"<http://3232235796:5000/e>",
		"<http://0xc0a80114:5000/e>",
		"<http://192.168.1.020:5000/e>",
		"<http://[::ffff:192.168.1.20]:5000/e>",
		"<http://[192.168.1.20]:5000/e>",
		"<http://:5000/e>",
		"<http://192.168.1.20:5000@203.0.113.9:5000/e>",
		"<http://user@192.168.1.20:5000/e>",
		"<http://192.168.1.20:5000:5000/e>",
		/* a port that is not a subscriber's */
		"<http://192.168.1.20/e>",
		"<http://192.168.1.20:/e>",
		"<http://192.168.1.20:80/e>",
		"<http://192.168.1.20:1023/e>",
		"<http://192.168.1.20:65536/e>",
		"<http://192.168.1.20:-5000/e>",
		"<http://192.168.1.20:5000#e>",
		"<http://192.168.1.20:5000/e#f>",
		"<http://192.168.1.20:5000/\"e>",
		/* what would get out of the request line */
		"<http://192.168.1.20:5000/e\r\nX: y>",
		"<http://192.168.1.20:5000/e HTTP/1.1>",
		"<http://192.168.1.20:5000/\x7f>",
		"<http://192.168.1.20:5000/\xc3\xa9>",
		"<http://192.168.1.20:5000/<e>",
		"<http://192.168.1.20:5000?e>",
		five,
	};
	struct gena_call call;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (subscribe(SUBSCRIBER, rows[i], &call) != 412)
			print_error("accepted: %s\n", rows[i]);
		assert_int_equal(subscribe(SUBSCRIBER, rows[i], &call), 412);
	}
	assert_int_equal(subscribe("fe80::7", "<http://[fe80::7%25eth0]:5000/>", &call),
			 412);
	assert_int_equal(subscribe("fe80::7", "<http://[fe80::7%eth0]:5000/>", &call),
			 412);
	assert_int_equal(subscribe("2001:db8::7", "<http://2001:db8::7:5000/>", &call),
			 412);
	assert_int_equal(subscribe("2001:db8::7", "<http://[2001:db8::7:5000/>", &call),
			 412);
	assert_int_equal(subscribe("2001:db8::7", "<http://[2001:db8::7]/>", &call),
			 412);
}

/* GENA-12 */
static void test_long_callbacks(void **state)
{
	char text[GENA_CALLBACK_MAX + 64];
	struct gena_call call;
	int used;

	(void)state;
	/* a path as long as may be, and one octet more */
	for (int extra = 0; extra < 2; extra++) {
		used = snprintf(text, sizeof(text), "<http://" SUBSCRIBER ":5000/%0*d>",
				GENA_PATH_MAX - 1 + extra, 0);
		assert_true(used > 0);
		assert_int_equal(subscribe(SUBSCRIBER, text, &call), extra ? 412 : 0);
	}
	/* a header as long as may be, and one octet more */
	for (int extra = 0; extra < 2; extra++) {
		used = snprintf(text, sizeof(text),
				"<http://" SUBSCRIBER ":5000/%0500d><http://" SUBSCRIBER
				":5000/%0400d>",
				0, 0);
		assert_true(used > 0);
		memset(text + used, ' ', (size_t)(GENA_CALLBACK_MAX + extra - used));
		text[GENA_CALLBACK_MAX + extra] = '\0';
		assert_int_equal(subscribe(SUBSCRIBER, text, &call), extra ? 412 : 0);
	}
}

/* ---- octets ---- */

/* GENA-7 */
static void test_notify(void **state)
{
	static const char head[] = "NOTIFY /e?x=1 HTTP/1.1\r\n"
				   "HOST: 192.168.1.20:5000\r\n"
				   "CONTENT-TYPE: text/xml; charset=\"utf-8\"\r\n"
				   "NT: upnp:event\r\n"
				   "NTS: upnp:propchange\r\n"
				   "SID: uuid:1\r\n"
				   "SEQ: 4294967295\r\n"
				   "CONTENT-LENGTH: 12\r\n"
				   "CONNECTION: close\r\n\r\n";
	char bytes[GENA_HEAD_SIZE] = "";
	struct writer writer = writer_init(bytes, sizeof(bytes));
	struct gena_head sent = {
		.host = address(SUBSCRIBER),
		.port = 5000,
		.path = "/e?x=1",
		.sid = "uuid:1",
		.seq = UINT32_MAX,
		.length = 12,
	};

	(void)state;
	gena_write_head(&writer, &sent);
	assert_false(writer.failed);
	assert_int_equal(writer.used, sizeof(head) - 1);
	assert_memory_equal(bytes, head, sizeof(head) - 1);
	/* without the zone of a link-local address, which is nobody else's */
	sent.host = address("fe80::7");
	writer = writer_init(bytes, sizeof(bytes));
	gena_write_head(&writer, &sent);
	assert_non_null(memmem(bytes, writer.used, "HOST: [fe80::7]:5000\r\n", 22));
}

static void test_longest_head(void **state)
{
	char path[GENA_PATH_MAX + 1];
	char bytes[GENA_HEAD_SIZE];
	struct writer writer = writer_init(bytes, sizeof(bytes));
	const struct gena_head head = {
		.host = address("2001:db8:1111:2222:3333:4444:5555:6666"),
		.port = 65535,
		.path = path,
		.sid = "uuid:01234567-0123-0123-0123-0123456789ab",
		.seq = UINT32_MAX,
		.length = SIZE_MAX,
	};

	(void)state;
	memset(path, 'x', GENA_PATH_MAX);
	path[GENA_PATH_MAX] = '\0';
	gena_write_head(&writer, &head);
	assert_false(writer.failed);
}

static void test_body(void **state)
{
	static const struct gena_property properties[] = {
		{"ExternalIPAddress", ""},
		{"DefaultConnectionService", "a,b & <c>"},
	};
	struct xmldoc doc;

	(void)state;
	assert_true(gena_write_body(properties, 2, &doc));
	assert_non_null(strstr(doc.bytes,
			       "<e:propertyset "
			       "xmlns:e=\"urn:schemas-upnp-org:event-1-0\">"
			       "<e:property><ExternalIPAddress></ExternalIPAddress>"
			       "</e:property><e:property><DefaultConnectionService>"
			       "a,b &amp; &lt;c&gt;</DefaultConnectionService>"
			       "</e:property></e:propertyset>"));
	xmldoc_fini(&doc);
}

static void test_status_line(void **state)
{
	static const struct {
		const char *line;
		uint16_t status;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\n", 200},
		{"HTTP/1.0 412 Precondition Failed\r\nX: y\r\n", 412},
		{"HTTP/1.1 200\r\n", 200},
		{"HTTP/1.1 200", 200},
		{"HTTP/1.1 20", 0},
		{"HTTP/1.1 2000 OK\r\n", 0},
		{"HTTP/1.1 099 OK\r\n", 0},
		{"HTTP/2 200 OK\r\n", 0},
		{"HTTP/1.", 0},
		{"HTTP/1.1", 0},
		{"ICY 200 OK\r\n", 0},
		{"", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(gena_parse_status(rows[i].line), rows[i].status);
}

/* GENA-8 */
static void test_seq(void **state)
{
	(void)state;
	assert_int_equal(gena_get_next_seq(0), 1);
	assert_int_equal(gena_get_next_seq(UINT32_MAX - 1), UINT32_MAX);
	assert_int_equal(gena_get_next_seq(UINT32_MAX), 1);
}

/* GENA-1 */
static void test_sid(void **state)
{
	static const uint8_t random[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					   0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					   0xff, 0xff, 0xff, 0xff};
	char text[GENA_SID_SIZE];

	(void)state;
	assert_string_equal(gena_make_sid(random, text),
			    "uuid:ffffffff-ffff-4fff-bfff-ffffffffffff");
}

/* ---- the table ---- */

static int subject, other_subject;

#define LAN 2
#define OTHER_LAN 3

static struct gena_subscription *add_from(struct gena_table *table, uint32_t ifindex,
					  const char *host, int64_t now_ms)
{
	static uint8_t random[16];
	const struct gena_subscriber subscriber = {
		.host = address(host),
		.ifindex = ifindex,
		.subject = &subject,
	};
	struct gena_call call = {.kind = GENA_SUBSCRIBE, .timeout_s = 1800};

	for (size_t i = 0; i < sizeof(random) && ++random[i] == 0; i++)
		;
	return gena_table_add(table, &call, &subscriber, random, now_ms);
}

static struct gena_subscription *add(struct gena_table *table, const char *host,
				     int64_t now_ms)
{
	return add_from(table, LAN, host, now_ms);
}

/* That many hosts of a LAN ask once: how many get something. */
static unsigned int add_many(struct gena_table *table, uint32_t ifindex,
			     const char *format)
{
	unsigned int granted = 0;

	for (unsigned int i = 1; i <= 1000; i++) {
		char host[INET6_ADDRSTRLEN];

		(void)snprintf(host, sizeof(host), format, i / 250, i % 250);
		granted += add_from(table, ifindex, host, NOW_MS) != NULL;
	}
	return granted;
}

/* GENA-3, GENA-4, GENA-13 */
static void test_find(void **state)
{
	struct gena_table table;
	struct gena_subscription *a, *b;
	struct gena_subscriber who = {
		.host = address(SUBSCRIBER),
		.subject = &subject,
	};

	(void)state;
	gena_table_init(&table);
	a = add(&table, SUBSCRIBER, NOW_MS);
	b = add(&table, SUBSCRIBER, NOW_MS);
	assert_string_not_equal(a->sid, b->sid);
	assert_ptr_equal(gena_table_find(&table, a->sid, &who, NOW_MS), a);
	assert_ptr_equal(gena_table_find(&table, b->sid, &who, NOW_MS), b);
	assert_ptr_equal(gena_table_find_id(&table, b->id), b);
	assert_null(gena_table_find(&table, "", &who, NOW_MS));
	assert_null(gena_table_find(&table, "uuid:1", &who, NOW_MS));
	/* of another service, of another host */
	who.subject = &other_subject;
	assert_null(gena_table_find(&table, a->sid, &who, NOW_MS));
	who = (struct gena_subscriber){
		.host = address("192.168.1.21"),
		.subject = &subject,
	};
	assert_null(gena_table_find(&table, a->sid, &who, NOW_MS));
	gena_table_fini(&table);
	assert_int_equal(table.count, 0);
}

static void test_expiry(void **state)
{
	struct gena_table table;
	struct gena_subscription *sub;
	const struct gena_subscriber who = {
		.host = address(SUBSCRIBER),
		.subject = &subject,
	};
	const int64_t end_ms = NOW_MS + INT64_C(1800000);
	uint32_t seq;

	(void)state;
	gena_table_init(&table);
	sub = add(&table, SUBSCRIBER, NOW_MS);
	sub->answered = true;
	assert_true(gena_subscription_is_due(sub, end_ms - 1));
	assert_false(gena_subscription_is_due(sub, end_ms));
	assert_non_null(gena_table_find(&table, sub->sid, &who, end_ms - 1));
	assert_null(gena_table_find(&table, sub->sid, &who, end_ms));
	assert_null(gena_table_find_expired(&table, end_ms - 1));
	assert_ptr_equal(gena_table_find_expired(&table, end_ms), sub);
	/* one with an event under way is not taken away from under it */
	(void)gena_subscription_begin(sub, &seq);
	assert_null(gena_table_find_expired(&table, end_ms));
	assert_false(gena_subscription_end(sub, GENA_DELIVERED));
	gena_subscription_renew(sub, 3600, end_ms - 1);
	assert_null(gena_table_find_expired(&table, end_ms));
	assert_non_null(gena_table_find(&table, sub->sid, &who, end_ms));
	gena_table_fini(&table);
}

/* GENA-12 */
static void test_limits(void **state)
{
	struct gena_table table;

	(void)state;
	gena_table_init(&table);
	for (unsigned int i = 0; i < 1000; i++)
		assert_true((add(&table, SUBSCRIBER, NOW_MS) != NULL) ==
			    (i < GENA_SUBSCRIPTIONS_PER_HOST_MAX));
	assert_int_equal(table.count, GENA_SUBSCRIPTIONS_PER_HOST_MAX);
	(void)add_many(&table, LAN, "10.0.%u.%u");
	assert_int_equal(table.count, GENA_SUBSCRIPTIONS_PER_LAN_MAX);
	for (uint32_t lan = OTHER_LAN; lan < OTHER_LAN + 7; lan++)
		(void)add_many(&table, lan, "10.0.%u.%u");
	assert_int_equal(table.count, GENA_SUBSCRIPTIONS_MAX);
	/* who leaves makes room */
	gena_table_remove(&table, TAILQ_FIRST(&table.list));
	assert_non_null(add(&table, SUBSCRIBER, NOW_MS));
	assert_null(add(&table, "10.1.0.1", NOW_MS));
	gena_table_fini(&table);
}

/* GENA-12: a host with a thousand addresses shuts out neither IPv4 nor another LAN */
static void test_shares(void **state)
{
	struct gena_table table;

	(void)state;
	gena_table_init(&table);
	assert_int_equal(add_many(&table, LAN, "2001:db8::%x:%x"),
			 GENA_SUBSCRIPTIONS_PER_LAN_IPV6_MAX);
	assert_int_equal(add_many(&table, LAN, "10.0.%u.%u"),
			 GENA_SUBSCRIPTIONS_PER_LAN_MAX -
				 GENA_SUBSCRIPTIONS_PER_LAN_IPV6_MAX);
	assert_int_equal(add_many(&table, OTHER_LAN, "2001:db8::%x:%x"),
			 GENA_SUBSCRIPTIONS_PER_LAN_IPV6_MAX);
	/* one address on two LANs is two hosts */
	gena_table_fini(&table);
	gena_table_init(&table);
	for (unsigned int i = 0; i < GENA_SUBSCRIPTIONS_PER_HOST_MAX; i++)
		assert_non_null(add_from(&table, OTHER_LAN, "fe80::1", NOW_MS));
	assert_null(add_from(&table, OTHER_LAN, "fe80::1", NOW_MS));
	assert_non_null(add_from(&table, LAN, "fe80::1", NOW_MS));
	gena_table_fini(&table);
}

/* GENA-6 */
static void test_first_event(void **state)
{
	struct gena_table table;
	struct gena_subscription *sub;
	uint32_t seq = 7;

	(void)state;
	gena_table_init(&table);
	sub = add(&table, SUBSCRIBER, NOW_MS);
	assert_false(gena_subscription_is_due(sub, NOW_MS));
	/* it unsubscribes at once, and is told nevertheless */
	assert_false(gena_subscription_leave(sub));
	sub->answered = true;
	assert_true(gena_subscription_is_due(sub, NOW_MS));
	assert_int_equal(gena_subscription_begin(sub, &seq), UINT32_MAX);
	assert_int_equal(seq, 0);
	assert_true(gena_subscription_end(sub, GENA_FAILED));
	gena_table_fini(&table);
}

/* GENA-8, GENA-9, GENA-10 */
static void test_changes(void **state)
{
	struct gena_table table;
	struct gena_subscription *sub;
	uint32_t seq;

	(void)state;
	gena_table_init(&table);
	sub = add(&table, SUBSCRIBER, NOW_MS);
	sub->answered = true;
	(void)gena_subscription_begin(sub, &seq);
	/* what changes meanwhile is told next, together */
	sub->changed |= 1;
	assert_false(gena_subscription_is_due(sub, NOW_MS));
	sub->changed |= 4;
	assert_false(gena_subscription_end(sub, GENA_DELIVERED));
	assert_true(gena_subscription_is_due(sub, NOW_MS));
	assert_int_equal(gena_subscription_begin(sub, &seq), 1 | 4);
	assert_int_equal(seq, 1);
	/* what was missed is not sent by itself, but with the next change */
	assert_false(gena_subscription_end(sub, GENA_FAILED));
	assert_false(gena_subscription_is_due(sub, NOW_MS));
	sub->changed |= 2;
	assert_int_equal(gena_subscription_begin(sub, &seq), 1 | 2 | 4);
	assert_int_equal(seq, 2);
	assert_false(gena_subscription_end(sub, GENA_DELIVERED));
	assert_false(gena_subscription_is_due(sub, NOW_MS));
	sub->changed |= 2;
	assert_int_equal(gena_subscription_begin(sub, &seq), 2);
	assert_int_equal(seq, 3);
	/* told once, it can leave at any time */
	assert_true(gena_subscription_leave(sub));
	gena_table_fini(&table);
}

static bool send_one(struct gena_subscription *sub, enum gena_outcome outcome)
{
	uint32_t seq;

	sub->changed = 1;
	(void)gena_subscription_begin(sub, &seq);
	return gena_subscription_end(sub, outcome);
}

/* GENA-12: whom nothing has ever reached is tried some times, and given up */
static void test_unheard(void **state)
{
	struct gena_table table;
	struct gena_subscription *sub;
	uint32_t seq;

	(void)state;
	gena_table_init(&table);
	sub = add(&table, SUBSCRIBER, NOW_MS);
	sub->answered = true;
	assert_false(gena_subscription_is_unheard(sub)); /* nothing was sent yet */
	for (unsigned int i = 1; i <= GENA_UNHEARD_FAILURES_MAX; i++) {
		assert_true(gena_subscription_is_due(sub, NOW_MS));
		assert_int_equal(gena_subscription_begin(sub, &seq), UINT32_MAX);
		assert_int_equal(seq, i - 1);
		assert_false(gena_subscription_is_unheard(sub));
		assert_int_equal(gena_subscription_end(sub, GENA_FAILED),
				 i == GENA_UNHEARD_FAILURES_MAX);
		assert_false(gena_subscription_is_due(sub, NOW_MS));
		assert_true(gena_subscription_is_unheard(sub));
		gena_subscription_retry(sub);
	}
	sub = add(&table, SUBSCRIBER, NOW_MS);
	assert_false(send_one(sub, GENA_DELIVERED));
	assert_false(send_one(sub, GENA_FAILED));
	assert_false(gena_subscription_is_unheard(sub));
	gena_table_fini(&table);
}

/* GENA-10: dropped after repeated failures only */
static void test_failures(void **state)
{
	struct gena_table table;
	struct gena_subscription *sub;

	(void)state;
	gena_table_init(&table);
	sub = add(&table, SUBSCRIBER, NOW_MS);
	for (unsigned int i = 1; i < GENA_UNHEARD_FAILURES_MAX; i++)
		assert_false(send_one(sub, GENA_FAILED));
	assert_false(send_one(sub, GENA_DELIVERED));
	for (unsigned int i = 1; i < GENA_FAILURES_MAX; i++)
		assert_false(send_one(sub, GENA_FAILED));
	assert_true(send_one(sub, GENA_FAILED));
	/* a 412 may mean that the SID has not been read yet, but once only */
	sub = add(&table, SUBSCRIBER, NOW_MS);
	assert_false(send_one(sub, GENA_REFUSED));
	assert_true(send_one(sub, GENA_REFUSED));
	gena_table_fini(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_callbacks),
		cmocka_unit_test(test_bad_callbacks),
		cmocka_unit_test(test_long_callbacks),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_longest_head),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_status_line),
		cmocka_unit_test(test_seq),
		cmocka_unit_test(test_sid),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_first_event),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_unheard),
		cmocka_unit_test(test_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
