/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How events reach subscribers, and how long those that they do not reach matter. */
#include <event2/event.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "protocols/gena_client.h"
#include "test/unit/gena_lab.h"
#include "test/unit/upnp_lab.h"

/* In the place of the 30 s of GENA-10. */
#define TIMEOUT_MS 400
#define TAG 77

static struct {
	const char *device;
	struct gena_client *client;
	struct gena_subscriber subscriber;
	struct gena_callback callback;
	unsigned int done;
	uint64_t tag;
	enum gena_outcome outcome;
} bench;

static void on_done(void *user, uint64_t tag, enum gena_outcome outcome)
{
	assert_ptr_equal(user, &bench);
	bench.done++;
	bench.tag = tag;
	bench.outcome = outcome;
}

static int setup(void **state)
{
	struct gena_client_config config = {
		.timeout_ms = TIMEOUT_MS,
		.done = on_done,
		.user = &bench,
	};

	(void)state;
	memset(&bench, 0, sizeof(bench));
	bench.device = "lo";
	lab_get()->base = event_base_new();
	assert_non_null(lab_get()->base);
	config.base = lab_get()->base;
	bench.client = gena_client_new(&config);
	assert_non_null(bench.client);
	bench.subscriber.ifindex = if_nametoindex("lo");
	assert_true(addr_parse(HOST, &bench.subscriber.host));
	assert_true(addr_parse(GATEWAY, &bench.subscriber.local));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gena_client_free(bench.client);
	event_base_free(lab_get()->base);
	lab_get()->base = NULL;
	return 0;
}

static void add_url(const struct sink *sink, const char *path)
{
	struct gena_callback *callback = &bench.callback;
	struct gena_url *url = &callback->urls[callback->count++];

	url->port = sink->port;
	url->path = (uint16_t)callback->used;
	callback->used +=
		(size_t)snprintf(callback->text + callback->used, 64, "%s", path) + 1;
}

/* body: what ExternalIPAddress is said to be */
static int deliver(const char *body)
{
	const struct gena_property property = {"ExternalIPAddress", body};
	struct gena_event event = {
		.tag = TAG,
		.subscriber = &bench.subscriber,
		.callback = &bench.callback,
		.sid = "uuid:1",
		.seq = 3,
	};

	(void)strncpy(event.device, bench.device, sizeof(event.device) - 1);
	assert_true(gena_write_body(&property, 1, &event.body));
	return gena_client_deliver(bench.client, &event);
}

static bool is_done(const void *user)
{
	(void)user;
	return bench.done > 0;
}

static void expect(enum gena_outcome outcome)
{
	assert_true(lab_wait_for(is_done, NULL));
	assert_int_equal(bench.done, 1);
	assert_int_equal(bench.tag, TAG);
	assert_int_equal(bench.outcome, outcome);
	assert_int_equal(gena_client_get_count(bench.client), 0);
}

/* GENA-7 */
static void test_delivered(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	char host[64];

	(void)state;
	add_url(sink, "/e?x=1");
	assert_int_equal(deliver("203.0.113.9"), 0);
	assert_int_equal(gena_client_get_count(bench.client), 1);
	expect(GENA_DELIVERED);
	sink_wait(sink, 1);
	assert_memory_equal(sink->last, "NOTIFY /e?x=1 HTTP/1.1\r\n", 24);
	assert_string_equal(sink_get_header(sink, "SEQ"), "3");
	assert_string_equal(sink_get_header(sink, "SID"), "uuid:1");
	assert_string_equal(sink_get_header(sink, "NT"), "upnp:event");
	assert_string_equal(sink_get_header(sink, "NTS"), "upnp:propchange");
	(void)snprintf(host, sizeof(host), HOST ":%u", sink->port);
	assert_string_equal(sink_get_header(sink, "HOST"), host);
	assert_string_equal(sink_get_value(sink, "ExternalIPAddress"), "203.0.113.9");
	assert_string_equal(sink->peer, GATEWAY);
	sink_free(sink);
}

/* An answer in pieces, and an event in pieces: a body that no socket takes at once */
static void test_pieces(void **state)
{
	const size_t length = 8u << 20;
	struct sink *sink = sink_new(HOST, SINK_DRIP);
	char *body = malloc(length + 1);

	(void)state;
	assert_non_null(body);
	memset(body, 'x', length);
	body[length] = '\0';
	add_url(sink, "/");
	assert_int_equal(deliver(body), 0);
	sink_wait(sink, 1);
	assert_true(strlen(sink->last) > length);
	assert_int_equal(bench.done, 0);
	sink_answer(sink, "00 Fine\r\n");
	expect(GENA_DELIVERED);
	free(body);
	sink_free(sink);
}

/* GENA-10: by whatever the first ones fail, the same event goes to the next */
static void test_next_url(void **state)
{
	static const enum sink_mode modes[] = {SINK_FAIL, SINK_HANG_UP, SINK_BABBLE};
	struct sink *good = sink_new(HOST, SINK_ANSWER);
	struct sink *gone = sink_new(HOST, SINK_DEAD);

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct sink *bad = sink_new(HOST, modes[i]);

		memset(&bench.callback, 0, sizeof(bench.callback));
		bench.done = 0;
		add_url(bad, "/bad");
		add_url(good, "/good");
		assert_int_equal(deliver("1"), 0);
		expect(GENA_DELIVERED);
		sink_wait_accepted(bad, 1);
		sink_wait(good, (unsigned int)i + 1);
		assert_memory_equal(good->last, "NOTIFY /good ", 13);
		assert_string_equal(sink_get_header(good, "SEQ"), "3");
		assert_string_equal(sink_get_value(good, "ExternalIPAddress"), "1");
		sink_free(bad);
	}
	/* nobody listens there */
	memset(&bench.callback, 0, sizeof(bench.callback));
	bench.done = 0;
	add_url(gone, "/gone");
	add_url(good, "/good");
	sink_free(gone);
	assert_int_equal(deliver("1"), 0);
	expect(GENA_DELIVERED);
	sink_free(good);
}

/* An event for a subscriber of two URLs. accepted: connections that each has had. */
static void deliver_to_two(const enum sink_mode modes[2], enum gena_outcome outcome,
			   unsigned int accepted[2])
{
	struct sink *sinks[2];

	for (size_t i = 0; i < 2; i++) {
		sinks[i] = sink_new(HOST, modes[i]);
		add_url(sinks[i], "/");
	}
	assert_int_equal(deliver("1"), 0);
	expect(outcome);
	for (size_t i = 0; i < 2; i++) {
		accepted[i] = sinks[i]->accepted;
		sink_free(sinks[i]);
	}
}

static void test_refused(void **state)
{
	static const enum sink_mode modes[] = {SINK_REFUSE, SINK_ANSWER};
	unsigned int accepted[2];

	(void)state;
	deliver_to_two(modes, GENA_REFUSED, accepted);
	assert_int_equal(accepted[1], 0);
}

static void test_all_fail(void **state)
{
	static const enum sink_mode modes[] = {SINK_FAIL, SINK_HANG_UP};
	unsigned int accepted[2];

	(void)state;
	deliver_to_two(modes, GENA_FAILED, accepted);
	assert_int_equal(accepted[0], 1);
}

/* GENA-10: all URLs together have that long, and each has its share */
static void test_silent(void **state)
{
	static const enum sink_mode modes[] = {SINK_HOLD, SINK_DEAD};

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct sink *a = sink_new(HOST, modes[i]);
		struct sink *b = sink_new(HOST, SINK_HOLD);
		const int64_t began_ms = clock_now_ms();
		int64_t took_ms;

		memset(&bench.callback, 0, sizeof(bench.callback));
		bench.done = 0;
		add_url(a, "/");
		add_url(b, "/");
		assert_int_equal(deliver("1"), 0);
		sink_wait(b, 1);
		took_ms = clock_now_ms() - began_ms;
		assert_true(took_ms >= TIMEOUT_MS / 2 - TIMER_EARLY_MS);
		expect(GENA_FAILED);
		took_ms = clock_now_ms() - began_ms;
		assert_true(took_ms >= TIMEOUT_MS - TIMER_EARLY_MS);
		sink_free(a);
		sink_free(b);
	}
}

static bool has_closed(const void *user)
{
	return ((const struct sink *)user)->closed > 0;
}

static void test_cancel(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_HOLD);

	(void)state;
	add_url(sink, "/");
	assert_int_equal(deliver("1"), 0);
	assert_int_equal(deliver("1"), -EBUSY);
	sink_wait(sink, 1);
	gena_client_cancel(bench.client, TAG + 1);
	assert_int_equal(gena_client_get_count(bench.client), 1);
	gena_client_cancel(bench.client, TAG);
	assert_int_equal(gena_client_get_count(bench.client), 0);
	assert_true(lab_wait_for(has_closed, sink));
	assert_int_equal(bench.done, 0);
	sink_free(sink);
}

/* One that ends before anything was tried */
static void test_unsent(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);

	(void)state;
	add_url(sink, "/");
	assert_int_equal(deliver("1"), 0);
	sink_free(sink);
}

/* No descriptor is no fault of the subscriber's. */
static void test_shortage(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	struct rlimit limit, none;

	(void)state;
	add_url(sink, "/");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(deliver("1"), 0);
	event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
	assert_int_equal(gena_client_get_count(bench.client), 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect(GENA_DELIVERED);
	sink_free(sink);
}

/* Our address has gone from the interface, or the interface itself. */
static void test_no_way(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);

	(void)state;
	add_url(sink, "/");
	assert_true(addr_parse("198.51.100.1", &bench.subscriber.local));
	assert_int_equal(deliver("1"), 0);
	expect(GENA_FAILED);
	assert_int_equal(sink->accepted, 0);
	assert_true(addr_parse(GATEWAY, &bench.subscriber.local));
	bench.device = "gone0";
	bench.done = 0;
	assert_int_equal(deliver("1"), 0);
	expect(GENA_FAILED);
	assert_int_equal(sink->accepted, 0);
	sink_free(sink);
}

/* A status line without an end is judged by its beginning, and read no further. */
static void test_endless_status(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_HOLD);
	char text[512] = "HTTP/1.1 200 ";

	(void)state;
	memset(text + strlen(text), 'x', sizeof(text) - strlen(text) - 1);
	text[sizeof(text) - 1] = '\0';
	add_url(sink, "/");
	assert_int_equal(deliver("1"), 0);
	sink_wait(sink, 1);
	sink_answer(sink, text);
	expect(GENA_DELIVERED);
	sink_free(sink);
}

/* GENA-10: a shortage that lasts is no reason to try for ever. */
static void test_long_shortage(void **state)
{
	struct sink *sink = sink_new(HOST, SINK_ANSWER);
	const int64_t began_ms = clock_now_ms();
	struct rlimit limit, none;

	(void)state;
	add_url(sink, "/");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(deliver("1"), 0);
	assert_true(lab_wait_for(is_done, NULL));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect(GENA_FAILED);
	assert_true(clock_now_ms() - began_ms >= TIMEOUT_MS - TIMER_EARLY_MS);
	assert_int_equal(sink->accepted, 0);
	sink_free(sink);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_delivered),	   TEST(test_pieces),
		TEST(test_next_url),	   TEST(test_refused),
		TEST(test_all_fail),	   TEST(test_silent),
		TEST(test_cancel),	   TEST(test_unsent),
		TEST(test_shortage),	   TEST(test_no_way),
		TEST(test_endless_status), TEST(test_long_shortage),
	};

	return cmocka_run_group_tests(tests, lab_group_setup, NULL);
}
