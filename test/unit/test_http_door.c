/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The door of the HTTP server alone: when it takes somebody in, and when it waits. */
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "protocols/http_door.h"
#include "test/unit/upnp_lab.h"

/* Units: ms; what the door is sure to rest for when it has no descriptor. */
#define REST_MIN_MS 40
#define TRIES_MAX 20

static struct {
	struct lan_info lan;
	struct http_door *door;
	unsigned int entered;
} bench;

static void on_enter(void *user, struct http_guest *guest)
{
	(void)user;
	bench.entered++;
	(void)close(guest->slot.fd);
	http_door_forget(guest);
}

static int setup(void **state)
{
	struct http_door_config config = {
		.lan = &bench.lan,
		.family = AF_INET,
		.port = HTTP_PORT,
		.request_timeout_ms = (int64_t)2 * DEADLINE_MS,
		.enter = on_enter,
	};

	(void)state;
	memset(&bench, 0, sizeof(bench));
	bench.lan = lab_make_lan();
	lab_get()->base = event_base_new();
	assert_non_null(lab_get()->base);
	config.base = lab_get()->base;
	assert_int_equal(http_door_open(&config, &bench.door), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	http_door_close(bench.door);
	event_base_free(lab_get()->base);
	lab_get()->base = NULL;
	return 0;
}

static void turn(void)
{
	for (int i = 0; i < 4; i++)
		event_base_loop(lab_get()->base, EVLOOP_NONBLOCK);
}

static bool has_entered(const void *user)
{
	return bench.entered >= *(const unsigned int *)user;
}

static void knock(struct lab_client *client)
{
	struct sockaddr_in in = lab_get_address(GATEWAY, HTTP_PORT);

	assert_int_equal(connect(client->fd, (struct sockaddr *)&in, sizeof(in)), 0);
	lab_say(client, "GET / HTTP/1.1\r\nHost: " GATEWAY "\r\n\r\n");
}

static void assert_enters(void)
{
	const unsigned int one = 1;

	assert_true(lab_wait_for(has_entered, &one));
	assert_int_equal(bench.entered, 1);
}

/* HTTP-3: while it is full nobody is let in, and nobody turned away */
static void test_full(void **state)
{
	struct lab_client *client = lab_client_new(SOCK_STREAM, HOST, 0);

	(void)state;
	http_door_set_full(bench.door, true);
	knock(client);
	turn();
	assert_int_equal(bench.entered, 0);
	http_door_set_full(bench.door, false);
	assert_enters();
	lab_client_free(client);
}

/* Nobody enters for a while when there was no descriptor, whoever leaves meanwhile.
 * False: the machine was too slow to tell. */
static bool rests(void)
{
	struct lab_client *client = lab_client_new(SOCK_STREAM, HOST, 0);
	struct rlimit limit = lab_use_up_descriptors();
	int64_t began_ms = clock_now_ms();
	unsigned int early;
	bool prompt;

	bench.entered = 0;
	knock(client);
	turn();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	http_door_set_full(bench.door, true);
	http_door_set_full(bench.door, false);
	turn();
	early = bench.entered;
	prompt = clock_now_ms() - began_ms < REST_MIN_MS;
	assert_enters();
	lab_client_free(client);
	if (prompt)
		assert_int_equal(early, 0);
	return prompt;
}

/* HTTP-3: without a descriptor the door asks again later, not at every turn */
static void test_rest(void **state)
{
	int tries = 0;

	(void)state;
	while (!rests())
		assert_true(++tries < TRIES_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_full),
		TEST(test_rest),
	};

	return cmocka_run_group_tests(tests, lab_group_setup, NULL);
}
