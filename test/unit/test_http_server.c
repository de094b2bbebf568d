/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may keep the HTTP server waiting, and for how long; and how long it waits itself.
 */
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "protocols/http_door.h"
#include "protocols/http_server.h"
#include "protocols/http_slots.h"
#include "protocols/igd_desc.h"
#include "protocols/upnp_control.h"
#include "test/unit/clock_lab.h"
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
	http_slots_init(&slots, HTTP_SLOTS_MAX, HTTP_REQUESTS_PER_CLIENT_MAX);
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
	for (size_t i = 0; i < HTTP_REQUESTS_PER_CLIENT_MAX; i++)
		assert_int_equal(add(i, 2, 0), -1);
	assert_int_equal(add(HTTP_REQUESTS_PER_CLIENT_MAX, 2, 0), 0);
	assert_int_equal(add(HTTP_REQUESTS_PER_CLIENT_MAX + 1, 2, 0), 1);
	assert_int_equal(add(HTTP_REQUESTS_PER_CLIENT_MAX + 2, 3, 0), -1);
	assert_int_equal(slots.count, HTTP_REQUESTS_PER_CLIENT_MAX + 1);
	http_slots_remove(&slots, &pool[0]); /* it is out: nothing happens */
	assert_int_equal(slots.count, HTTP_REQUESTS_PER_CLIENT_MAX + 1);
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

/* The place in the pool of who gives way to nobody in particular. */
static int take_most(void)
{
	const struct http_slot *victim = http_slots_take_most(&slots);

	return victim ? (int)(victim - pool) : -1;
}

/* HTTP-3: whoever came first, he who has most gives way; of several the older */
static void test_slots_of_most(void **state)
{
	static const unsigned int hosts[] = {2, 3, 4, 4, 3, 4, 3, 5};
	static const int gone[] = {1, 2, 3, 4, 0, 5, 6, 7, -1};

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		assert_int_equal(add(i, hosts[i], 0), -1);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		assert_int_equal(take_most(), gone[i]);
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
		.family = AF_INET,
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

/* Another server in the place of the one that is open. */
static void reopen(const struct http_handler *handler, int64_t timeout_ms)
{
	struct http_config config = {
		.base = lab_get()->base,
		.lan = &bench.lan,
		.family = AF_INET,
		.port = HTTP_PORT,
		.request_timeout_ms = timeout_ms,
		.handler = handler,
		.user = bench.control,
	};

	http_server_close(bench.server);
	bench.server = NULL;
	assert_int_equal(http_server_open(&config, &bench.server), 0);
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

/* ---- as the request came, octet by octet ---- */

#define NEAR "fd99::1"
#define FAR "fd99::2"

/* A connection from FAR to NEAR that no network has carried. */
static struct lab_client *dial_in(const char *from)
{
	struct lab_client *client = calloc(1, sizeof(*client));
	struct ip_addr far, near;
	int pair[2];

	assert_non_null(client);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
				    0, pair),
			 0);
	assert_true(addr_parse(from, &far));
	assert_true(addr_parse(NEAR, &near));
	client->fd = pair[0];
	lab_client_listen(client);
	http_server_take(bench.server, pair[1], &far, &near);
	return client;
}

static int setup_ipv6(void **state)
{
	(void)server_setup(state);
	assert_true(addr_parse(NEAR, &bench.lan.addresses[1].addr));
	bench.lan.addresses[1].length = 64;
	assert_true(addr_parse("fe80::1", &bench.lan.addresses[2].addr));
	bench.lan.addresses[2].length = 64;
	bench.lan.address_count = 3;
	assert_true(prefix_parse("fd99::/64", &bench.lan.networks[1]));
	assert_true(prefix_parse("fe80::/64", &bench.lan.networks[2]));
	bench.lan.network_count = 3;
	return 0;
}

static void assert_answer(const char *text, int status)
{
	struct lab_client *client = dial_in(FAR);

	lab_say(client, text);
	assert_true(lab_wait_for(lab_is_closed, client));
	if (lab_status_of(client) != status)
		print_error("asked: %.200s\ngot: %.200s\n", text, client->in);
	assert_int_equal(lab_status_of(client), status);
	lab_client_free(client);
}

#define GET(headers) "GET /igd1/root.xml HTTP/1.1\r\n" headers "\r\n"
#define HOST6 "Host: [" NEAR "]:49152\r\n"

/* HTTP-2: folded headers, wherever they stand */
static void test_folded(void **state)
{
	(void)state;
	assert_answer(GET(HOST6), 200);
	assert_answer(GET(HOST6 "Accept: a,\r\n b\r\n"), 400);
	assert_answer(GET("Host:\r\n\t[" NEAR "]\r\n"), 400);
	assert_answer(GET(" " HOST6), 400);
	assert_answer("\r\n" GET(HOST6), 200);
}

/* HTTP-4, SSDP-12: our address in brackets, with a zone where the link has one */
static void test_host_ipv6(void **state)
{
	(void)state;
	assert_answer(GET("Host: [fe80::1]\r\n"), 200);
	assert_answer(GET("Host: [fe80::1%25eth0]:49152\r\n"), 200);
	assert_answer(GET("Host: [" NEAR "%25eth0]:49152\r\n"), 403);
	assert_answer(GET("Host: " NEAR "\r\n"), 403);
	assert_answer(GET("Host: [" FAR "]\r\n"), 403);
	assert_answer("GET http://[" NEAR "]:49152/igd1/root.xml HTTP/1.1\r\n" HOST6
		      "\r\n",
		      200);
	assert_answer("GET /igd1/root.xml HTTP/1.0\r\n\r\n", 200);
}

/* HTTP-4: others are shown the door before they say a word */
static void test_stranger_ipv6(void **state)
{
	struct lab_client *client = dial_in("2001:db8::5");

	(void)state;
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(client->used, 0);
	lab_client_free(client);
}

/* HTTP-2: the head in single octets, and a FIN behind the request */
static void test_drip(void **state)
{
	static const char text[] = GET(HOST6);
	struct lab_client *client = dial_in(FAR);

	(void)state;
	for (size_t i = 0; i + 1 < sizeof(text); i++) {
		assert_int_equal(send(client->fd, text + i, 1, MSG_NOSIGNAL), 1);
		event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	}
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(lab_status_of(client), 200);
	lab_client_free(client);
	client = dial_in(FAR);
	lab_say(client, text);
	assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(lab_status_of(client), 200);
	lab_client_free(client);
}

/* HTTP-3: a client that leaves in the middle leaves nothing behind */
static void test_leaves_early(void **state)
{
	struct lab_client *client = dial_in(FAR);

	(void)state;
	lab_say(client, "GET / HT");
	event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
	assert_true(lab_wait_for(lab_is_closed, client));
	assert_int_equal(client->used, 0);
	lab_client_free(client);
}

/* HTTP-3: a head that does not end is refused when it is too long, not at its deadline
 */
static void test_long_head(void **state)
{
	static char text[2 * HTTP_HEADERS_MAX] = "GET / HTTP/1.1\r\n";
	size_t used = strlen(text);

	(void)state;
	while (used + 32 < sizeof(text))
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "X-%zu: some text\r\n", used);
	assert_answer(text, 431);
}

/* True while the other side takes what is said to it. */
static bool say_vainly(int fd, size_t length)
{
	static char junk[65536];
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;
	ssize_t said = 0;

	while (length > 0 && clock_now_ms() < deadline_ms) {
		size_t part = length < sizeof(junk) ? length : sizeof(junk);

		said = send(fd, junk, part, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (said < 0)
			return errno == EAGAIN;
		length -= (size_t)said;
	}
	return length == 0;
}

/* HTTP-3: who is refused may end what he says; who says more and more is cut off */
static void test_refused_and_goes_on(void **state)
{
	static const size_t little = 64, much = (size_t)8 * 1024 * 1024;
	const int room = (int)much;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct lab_client *client = dial_in(FAR);

		(void)setsockopt(client->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room,
				 sizeof(room));
		lab_say(client, GET(" " HOST6));
		assert_true(say_vainly(client->fd, i == 0 ? little : much));
		assert_true(lab_wait_for(lab_is_closed, client));
		assert_int_equal(lab_status_of(client), 400);
		assert_int_equal(say_vainly(client->fd, little), i == 0);
		lab_client_free(client);
	}
}

/* HTTP-3: one host with a thousand addresses takes no place that another needs */
static void test_many_addresses(void **state)
{
	static struct lab_client *half[1000];
	char text[64];

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		(void)snprintf(text, sizeof(text), "fd99::1:%x", i);
		half[i] = dial_in(text);
		(void)send(half[i]->fd, "GET / HT", 8, MSG_NOSIGNAL);
		if (i % 100 == 0)
			assert_answer(GET(HOST6), 200);
		event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	}
	assert_answer(GET(HOST6), 200);
	for (unsigned int i = 0; i < 1000; i++) {
		/* The last ones may wait, to their deadline. */
		if (i < 1000 - HTTP_REQUESTS_MAX)
			assert_true(lab_wait_for(lab_is_closed, half[i]));
		lab_client_free(half[i]);
	}
}

/* ---- out of descriptors ---- */

/* Nothing but want of descriptors ends a request here. */
static int setup_patient(void **state)
{
	(void)server_setup(state);
	reopen(upnp_control_get_handler(), (int64_t)2 * DEADLINE_MS);
	return 0;
}

/* HTTP-3: without a descriptor left, who waits longest gives his to the next one */
static void test_no_descriptors(void **state)
{
	struct sockaddr_in in = lab_get_address(GATEWAY, HTTP_PORT);
	struct lab_client *idle = lab_dial(HOST, GATEWAY);
	struct lab_client *next;
	struct rlimit limit;

	(void)state;
	lab_say(idle, "GET / HT");
	for (int i = 0; i < 4; i++) /* it is let in */
		event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	next = lab_client_new(SOCK_STREAM, HOST_2, 0);
	limit = lab_use_up_descriptors();
	assert_int_equal(connect(next->fd, (struct sockaddr *)&in, sizeof(in)), 0);
	lab_say(next, "GET /igd1/root.xml HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n");
	assert_true(lab_wait_for(lab_is_closed, next));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(lab_status_of(next), 200);
	assert_true(lab_wait_for(lab_is_closed, idle));
	assert_int_equal(lab_status_of(idle), 0);
	lab_client_free(next);
	lab_client_free(idle);
}

/* ---- answers that nobody reads ---- */

/* More than a socket takes by itself. */
#define BIG ((size_t)1024 * 1024)
#define STALLED 40

static char big[BIG];

static void serve_big(void *user, struct http_exchange *exchange,
		      const struct http_request *request)
{
	const struct http_answer answer = {.status = 200,
					   .content_type = "text/plain",
					   .bytes = big,
					   .length = BIG};

	(void)user;
	(void)request;
	http_exchange_answer(exchange, &answer);
}

static void forget(void *user, struct http_exchange *exchange)
{
	(void)user;
	(void)exchange;
}

static int setup_big(void **state)
{
	static const struct http_handler handler = {.request = serve_big,
						    .closed = forget};

	(void)setup_ipv6(state);
	reopen(&handler, TIMEOUT_MS);
	return 0;
}

/* The socket of a client of that number, which has asked. */
static int ask_big(unsigned int number)
{
	static const char text[] = GET(HOST6);
	struct ip_addr far, near;
	char address[32];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
				    0, pair),
			 0);
	(void)snprintf(address, sizeof(address), "fd99::2:%x", number);
	assert_true(addr_parse(address, &far));
	assert_true(addr_parse(NEAR, &near));
	http_server_take(bench.server, pair[1], &far, &near);
	assert_int_equal(send(pair[0], text, sizeof(text) - 1, MSG_NOSIGNAL),
			 sizeof(text) - 1);
	event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	return pair[0];
}

static size_t count_ended(const int *fds)
{
	size_t count = 0;

	for (size_t i = 0; i < STALLED; i++) {
		struct pollfd entry = {.fd = fds[i], .events = POLLRDHUP};

		count += poll(&entry, 1, 0) == 1 &&
			 (entry.revents & (POLLRDHUP | POLLHUP)) != 0;
	}
	return count;
}

/* Octets of the answer, whoever else stalls. */
static size_t read_big(int fd)
{
	static char part[65536];
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;
	size_t total = 0;
	ssize_t got = 1;

	while (got != 0 && clock_now_ms() < deadline_ms) {
		got = recv(fd, part, sizeof(part), MSG_DONTWAIT);
		total += got > 0 ? (size_t)got : 0;
		if (got < 0)
			event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	}
	return total;
}

/* HTTP-3: what answers hold is bounded: the oldest of them gives way, and he who reads
 * is served */
static void test_stalled_answers(void **state)
{
	int fds[STALLED];
	int reader;

	(void)state;
	for (unsigned int i = 0; i < STALLED; i++)
		fds[i] = ask_big(i);
	assert_int_equal(count_ended(fds), STALLED - HTTP_ANSWERS_SIZE_MAX / BIG);
	reader = ask_big(STALLED);
	assert_in_range(read_big(reader), BIG, BIG + 1024);
	assert_int_equal(close(reader), 0);
	for (unsigned int i = 0; i < STALLED; i++)
		assert_int_equal(close(fds[i]), 0);
}

static bool is_hung_up_on(const void *user)
{
	struct pollfd entry = {.fd = *(const int *)user, .events = POLLRDHUP};

	return poll(&entry, 1, 0) == 1 && (entry.revents & (POLLRDHUP | POLLHUP)) != 0;
}

/* HTTP-3: an answer has its deadline too, however slowly it is read */
static void test_answer_deadline(void **state)
{
	int64_t start_ms = clock_now_ms();
	int slow = ask_big(0);

	(void)state;
	clock_lab_pass(HTTP_ANSWER_TIMEOUT_MS - 2 * TIMEOUT_MS);
	assert_true(lab_wait_for(is_hung_up_on, &slow));
	assert_true(clock_now_ms() - start_ms >= HTTP_ANSWER_TIMEOUT_MS);
	assert_int_equal(close(slow), 0);
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

#define IPV6(name) cmocka_unit_test_setup_teardown(name, setup_ipv6, server_teardown)
#define SERVER(name)                                                                   \
	cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_slots_of_one, slots_setup),
		cmocka_unit_test_setup(test_slots_of_many, slots_setup),
		cmocka_unit_test_setup(test_slots_of_all, slots_setup),
		cmocka_unit_test_setup(test_slots_of_most, slots_setup),
		cmocka_unit_test_setup(test_slots_late, slots_setup),
		cmocka_unit_test(test_constants),
		IPV6(test_folded),
		IPV6(test_host_ipv6),
		IPV6(test_stranger_ipv6),
		IPV6(test_drip),
		IPV6(test_leaves_early),
		IPV6(test_many_addresses),
		IPV6(test_long_head),
		IPV6(test_refused_and_goes_on),
		cmocka_unit_test_setup_teardown(test_stalled_answers, setup_big,
						server_teardown),
		cmocka_unit_test_setup_teardown(test_answer_deadline, setup_big,
						server_teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, setup_patient,
						server_teardown),
		SERVER(test_request_deadline),
		SERVER(test_reply_deadline),
	};

	return cmocka_run_group_tests(tests, lab_group_setup, NULL);
}
