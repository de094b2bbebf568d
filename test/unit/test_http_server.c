/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may keep the HTTP server waiting, and for how long; and how long it waits itself.
 */
#include <errno.h>
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
#include "protocols/http_server.h"
#include "protocols/http_slots.h"
#include "protocols/igd_desc.h"
#include "protocols/upnp_control.h"
#include "test/unit/upnp_lab.h"

/* Short enough for a test, long enough to tell it from nothing. */
#define TIMEOUT_MS 200
#define DRIP_MS 20

/* ---- slots, without a socket ---- */

static struct http_slots slots;
static struct http_slot pool[HTTP_SLOTS_MAX + 64];

static int slots_setup(void **state)
{
	(void)state;
	http_slots_init(&slots);
	memset(pool, 0, sizeof(pool));
	return 0;
}

/* The place in the pool of who had to go, -1 = nobody. */
static int add(size_t i, unsigned int host, int64_t now_ms)
{
	struct http_slot *victim;
	struct ip_addr client;
	char text[32];

	(void)snprintf(text, sizeof(text), "10.99.0.%u", host);
	assert_true(addr_parse(text, &client));
	victim = http_slots_add(&slots, &pool[i], &client, now_ms);
	return victim ? (int)(victim - pool) : -1;
}

/* HTTP-3: a client has its share, and beyond it only itself to blame */
static void test_slots_of_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < HTTP_SLOTS_PER_CLIENT_MAX; i++)
		assert_int_equal(add(i, 2, 0), -1);
	assert_int_equal(add(HTTP_SLOTS_PER_CLIENT_MAX, 2, 0), 0);
	assert_int_equal(add(HTTP_SLOTS_PER_CLIENT_MAX + 1, 2, 0), 1);
	assert_int_equal(add(HTTP_SLOTS_PER_CLIENT_MAX + 2, 3, 0), -1);
	assert_int_equal(slots.count, HTTP_SLOTS_PER_CLIENT_MAX + 1);
	http_slots_remove(&slots, &pool[0]); /* it is out: nothing happens */
	assert_int_equal(slots.count, HTTP_SLOTS_PER_CLIENT_MAX + 1);
}

/* HTTP-3: when all are taken, the oldest of him who has most goes */
static void test_slots_of_many(void **state)
{
	size_t used = 0;

	(void)state;
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(add(used++, 2, 0), -1);
	for (unsigned int host = 10; used < HTTP_SLOTS_MAX; host++)
		assert_int_equal(add(used++, host, 0), -1);
	/* Now another host: host 2 gives way until the two are even. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(add(used++, 3, 0), i);
	assert_int_equal(slots.count, HTTP_SLOTS_MAX);
}

/* HTTP-3: as many clients as slots: the oldest connection goes */
static void test_slots_of_all(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < HTTP_SLOTS_MAX; i++)
		assert_int_equal(add(i, 10 + i, 0), -1);
	assert_int_equal(add(HTTP_SLOTS_MAX, 200, 0), 0);
	assert_int_equal(add(HTTP_SLOTS_MAX + 1, 201, 0), 1);
	assert_int_equal(slots.count, HTTP_SLOTS_MAX);
}

/* HTTP-3: the deadline of a request, at its very millisecond */
static void test_slots_late(void **state)
{
	(void)state;
	assert_int_equal(http_slots_get_delay_ms(&slots, 10000, 5), -1);
	assert_int_equal(add(0, 2, 1000), -1);
	assert_int_equal(add(1, 3, 2000), -1);
	assert_int_equal(add(2, 4, 2000), -1);
	assert_int_equal(http_slots_get_delay_ms(&slots, 10000, 1500), 9500);
	assert_null(http_slots_take_late(&slots, 10000, 10999));
	assert_ptr_equal(http_slots_take_late(&slots, 10000, 11000), &pool[0]);
	assert_null(http_slots_take_late(&slots, 10000, 11000));
	http_slots_remove(&slots, &pool[1]); /* complete in time */
	assert_int_equal(http_slots_get_delay_ms(&slots, 10000, 20000), 0);
	assert_ptr_equal(http_slots_take_late(&slots, 10000, 20000), &pool[2]);
	assert_int_equal(slots.count, 0);
}

/* ---- a server with short deadlines ---- */

static struct {
	struct lan_info lan;
	struct wan_info wan;
	struct igd_site *site;
	struct upnp_control *control;
	struct http_server *server;
	unsigned int asked;
} bench;

/* Core hears it, and says nothing. */
static int ask(void *user, const struct request *request)
{
	(void)user;
	(void)request;
	bench.asked++;
	return 0;
}

static int server_setup(void **state)
{
	struct worker_setup setup = {.http_port = HTTP_PORT};
	struct upnp_control_config control = {
		.wan = &bench.wan,
		.reply_timeout_ms = TIMEOUT_MS,
		.site_count = 1,
		.ask = ask,
	};
	struct http_config config = {
		.lan = &bench.lan,
		.port = HTTP_PORT,
		.request_timeout_ms = TIMEOUT_MS,
		.handler = upnp_control_get_handler(),
	};

	(void)state;
	memset(&bench, 0, sizeof(bench));
	bench.lan = lab_make_lan();
	bench.wan.nat = 1;
	bench.site = igd_site_new(igd_face_get(0), &setup);
	assert_non_null(bench.site);
	lab_get()->base = event_base_new();
	assert_non_null(lab_get()->base);
	control.sites[0] = bench.site;
	control.base = lab_get()->base;
	bench.control = upnp_control_new(&control);
	assert_non_null(bench.control);
	config.base = lab_get()->base;
	config.user = bench.control;
	assert_int_equal(http_server_open(&config, &bench.server), 0);
	return 0;
}

static int server_teardown(void **state)
{
	(void)state;
	http_server_close(bench.server);
	upnp_control_free(bench.control);
	igd_site_free(bench.site);
	event_base_free(lab_get()->base);
	lab_get()->base = NULL;
	return 0;
}

/* One more octet of a header, now and then: never silent, never complete. */
static bool is_hung_up(const void *user)
{
	static int64_t last_ms;
	const struct lab_client *client = user;

	if (clock_now_ms() - last_ms >= DRIP_MS) {
		last_ms = clock_now_ms();
		(void)send(client->fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	return client->closed;
}

/* HTTP-3: a request that drips in is ended at its deadline, not before */
static void test_request_deadline(void **state)
{
	int64_t start_ms = clock_now_ms();
	struct lab_client *client = lab_dial(HOST, GATEWAY);
	int64_t passed_ms;

	(void)state;
	lab_say(client, "GET / HTTP/1.1\r\nHost: ");
	assert_true(lab_wait_for(is_hung_up, client));
	passed_ms = clock_now_ms() - start_ms;
	assert_in_range(passed_ms, TIMEOUT_MS, DEADLINE_MS - 1);
	assert_int_equal(lab_status_of(client), 0);
	lab_client_free(client);
}

#define BODY                                                                           \
	"<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>"   \
	"<u:GetGenericPortMappingEntry "                                               \
	"xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\">"                  \
	"<NewPortMappingIndex>0</NewPortMappingIndex>"                                 \
	"</u:GetGenericPortMappingEntry></s:Body></s:Envelope>"

/* SOAP-5: core does not reply: 501 at our deadline, and a late reply is for nobody */
static void test_reply_deadline(void **state)
{
	struct lab_client *client;
	struct reply late = {.cookie = UINT64_C(1) << 16};
	int64_t start_ms = clock_now_ms();
	char text[1024];
	int64_t passed_ms;

	(void)state;
	(void)snprintf(text, sizeof(text),
		       "POST /igd1/ctl/WANIPConn1 HTTP/1.1\r\nHost: " GATEWAY
		       "\r\nSOAPAction: \"urn:schemas-upnp-org:service:"
		       "WANIPConnection:1#GetGenericPortMappingEntry\"\r\n"
		       "Content-Length: %zu\r\n\r\n%s",
		       strlen(BODY), BODY);
	client = lab_exchange(HOST, text);
	passed_ms = clock_now_ms() - start_ms;
	assert_in_range(passed_ms, TIMEOUT_MS, DEADLINE_MS - 1);
	assert_int_equal(bench.asked, 1);
	assert_int_equal(lab_status_of(client), 500);
	lab_assert_holds(client, "<errorCode>501</errorCode>");
	upnp_control_take_reply(bench.control, &late);
	lab_client_free(client);
}

/* SOAP-5: the real deadlines leave a client's 30 s room */
static void test_constants(void **state)
{
	(void)state;
	assert_true(UPNP_REPLY_TIMEOUT_MS < 30000);
	assert_true(HTTP_REQUEST_TIMEOUT_MS <= 1000 * HTTP_TIMEOUT_S);
	assert_true(HTTP_TIMEOUT_S <= 30);
}

#define SERVER(name)                                                                   \
	cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_slots_of_one, slots_setup),
		cmocka_unit_test_setup(test_slots_of_many, slots_setup),
		cmocka_unit_test_setup(test_slots_of_all, slots_setup),
		cmocka_unit_test_setup(test_slots_late, slots_setup),
		cmocka_unit_test(test_constants),
		SERVER(test_request_deadline),
		SERVER(test_reply_deadline),
	};

	return cmocka_run_group_tests(tests, lab_group_setup, NULL);
}
