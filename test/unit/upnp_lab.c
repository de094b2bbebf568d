/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/upnp_lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

/* What meson takes for "skipped" */
#define EXIT_SKIPPED 77

static struct lab lab;

struct lab *lab_get(void)
{
	return &lab;
}

/* ---- core ---- */

void lab_core_send(uint32_t type, const void *body, size_t length)
{
	assert_int_equal(msg_channel_send(lab.core, type, body, length), 0);
}

void lab_core_reply(const struct request *request)
{
	struct reply reply = lab.reply;

	reply.cookie = request->cookie;
	reply.op = request->op;
	lab_core_send(MSG_REPLY, &reply, sizeof(reply));
}

static int core_message(void *user, uint32_t type, const void *body, size_t length,
			int fd)
{
	(void)user;
	assert_int_equal(fd, -1);
	if (type == MSG_READY) {
		assert_int_equal(length, sizeof(lab.ready));
		memcpy(&lab.ready, body, sizeof(lab.ready));
		lab.ready_count++;
		return 0;
	}
	assert_int_equal(type, MSG_REQUEST);
	assert_int_equal(length, sizeof(lab.request));
	memcpy(&lab.request, body, sizeof(lab.request));
	lab.request_count++;
	if (!lab.hold)
		lab_core_reply(&lab.request);
	return 0;
}

static void core_ended(void *user, int error)
{
	(void)user;
	(void)error;
	lab.core_ended = true;
	msg_channel_free(lab.core);
	lab.core = NULL;
}

/* ---- waiting ---- */

static void wake(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	(void)user;
}

bool lab_wait_for(bool (*condition)(const void *user), const void *user)
{
	static const struct timeval tick = {.tv_usec = 50000};
	int64_t deadline_ms = clock_now_ms() + DEADLINE_MS;
	struct event *timer = evtimer_new(lab.base, wake, NULL);
	bool met;

	assert_non_null(timer);
	while (!(met = condition(user)) && clock_now_ms() < deadline_ms) {
		event_add(timer, &tick); /* so that the deadline is looked at */
		event_base_loop(lab.base, EVLOOP_ONCE);
	}
	event_free(timer);
	return met;
}

bool lab_is_closed(const void *user)
{
	return ((const struct lab_client *)user)->closed;
}

static bool has_ready(const void *user)
{
	return lab.ready_count >= *(const unsigned int *)user;
}

static bool has_requests(const void *user)
{
	return lab.request_count >= *(const unsigned int *)user;
}

void lab_wait_ready(unsigned int count)
{
	assert_true(lab_wait_for(has_ready, &count));
}

void lab_wait_requests(unsigned int count)
{
	assert_true(lab_wait_for(has_requests, &count));
}

/* ---- hosts ---- */

struct sockaddr_in lab_get_address(const char *host, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

	assert_int_equal(inet_pton(AF_INET, host, &in.sin_addr), 1);
	return in;
}

static void client_read(evutil_socket_t fd, short what, void *user)
{
	struct lab_client *client = user;
	ssize_t got;

	(void)what;
	got = recv(fd, client->in + client->used, sizeof(client->in) - client->used - 1,
		   MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got > 0) {
		client->used += (size_t)got;
		client->in[client->used] = '\0';
		client->datagrams++;
		return;
	}
	client->closed = true;
	event_del(client->event);
}

void lab_client_listen(struct lab_client *client)
{
	client->event = event_new(lab.base, client->fd, EV_READ | EV_PERSIST,
				  client_read, client);
	assert_non_null(client->event);
	event_add(client->event, NULL);
}

struct lab_client *lab_client_new(int type, const char *from, uint16_t port)
{
	struct lab_client *client = calloc(1, sizeof(*client));
	struct sockaddr_in in = lab_get_address(from, port);
	int on = 1;

	assert_non_null(client);
	client->fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	assert_true(client->fd >= 0);
	assert_int_equal(
		setsockopt(client->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(client->fd, (struct sockaddr *)&in, sizeof(in)), 0);
	lab_client_listen(client);
	return client;
}

void lab_client_free(struct lab_client *client)
{
	event_free(client->event);
	close(client->fd);
	free(client);
}

struct lab_client *lab_dial(const char *from, const char *to)
{
	struct lab_client *client;
	struct sockaddr_in in = lab_get_address(to, HTTP_PORT);

	client = lab_client_new(SOCK_STREAM, from, 0);
	assert_int_equal(connect(client->fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return client;
}

void lab_say(const struct lab_client *client, const char *text)
{
	size_t length = strlen(text);

	assert_int_equal(send(client->fd, text, length, MSG_NOSIGNAL), length);
}

struct lab_client *lab_exchange(const char *from, const char *text)
{
	struct lab_client *client = lab_dial(from, GATEWAY);

	lab_say(client, text);
	assert_true(lab_wait_for(lab_is_closed, client));
	return client;
}

int lab_status_of(const struct lab_client *client)
{
	if (strncmp(client->in, "HTTP/1.1 ", 9) != 0)
		return 0;
	return (int)strtol(client->in + 9, NULL, 10);
}

void lab_assert_status(const char *text, int status)
{
	struct lab_client *client = lab_exchange(HOST, text);

	if (lab_status_of(client) != status)
		print_error("asked: %.200s\ngot: %.400s\n", text, client->in);
	assert_int_equal(lab_status_of(client), status);
	lab_client_free(client);
}

void lab_assert_holds(const struct lab_client *client, const char *text)
{
	bool holds;

	assert_non_null(client);
	holds = strstr(client->in, text) != NULL;
	if (!holds)
		print_error("no \"%s\" in:\n%s\n", text, client->in);
	assert_true(holds);
}

/* ---- fixture ---- */

static void set_address(int fd, const char *name, const char *address)
{
	struct ifreq ifr = {.ifr_flags = 0};
	struct sockaddr_in in = lab_get_address(address, 0);

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	memcpy(&ifr.ifr_addr, &in, sizeof(in));
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &ifr), 0);
	in = lab_get_address("255.255.255.0", 0);
	memcpy(&ifr.ifr_netmask, &in, sizeof(in));
	assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &ifr), 0);
}

int lab_group_setup(void **state)
{
	struct ifreq ifr = {.ifr_flags = IFF_UP | IFF_MULTICAST};
	int fd;

	(void)state;
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		print_message("no network namespaces here: skipped\n");
		exit(EXIT_SKIPPED);
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	set_address(fd, "lo", GATEWAY);
	set_address(fd, "lo:1", HOST);
	set_address(fd, "lo:2", HOST_2);
	set_address(fd, "lo:3", STRANGER);
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "lo");
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
	return 0;
}

struct lan_info lab_make_lan(void)
{
	struct lan_info lan = {
		.lan = 3,
		.protocols = LAN_PROTOCOL_UPNP,
		.igd = 3,
		.ifindex = if_nametoindex("lo"),
		.address_count = 1,
		.name = "lo",
		.network_count = 1,
	};

	assert_true(addr_parse(GATEWAY, &lan.addresses[0].addr));
	lan.addresses[0].length = 96 + 24;
	assert_true(prefix_parse("10.99.0.0/24", &lan.networks[0]));
	return lan;
}

static void send_wan(void)
{
	struct wan_info wan = {
		.up_since_ms = clock_now_ms() - 60000,
		.bit_rate_up = UINT64_C(10000000000),
		.nat = 1,
		.carrier = 1,
	};

	assert_true(addr_parse("203.0.113.9", &wan.external));
	lab_core_send(MSG_WAN, &wan, sizeof(wan));
}

void lab_start_worker(void)
{
	static const struct msg_handler handler = {
		.message = core_message,
		.ended = core_ended,
	};
	struct worker_setup setup = {
		.uuid = {1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 0},
		.boot_id = 77,
		.http_port = HTTP_PORT,
		.lan_count = lab.lan_count,
		.friendly_name = "gate & garden",
	};
	int pair[2];

	memset(&lab.reply, 0, sizeof(lab.reply));
	lab.core_ended = false;
	lab.hold = false;
	lab.ready_count = 0;
	lab.request_count = 0;
	lab.base = event_base_new();
	assert_non_null(lab.base);
	assert_int_equal(msg_pair(pair), 0);
	lab.core = msg_channel_new(lab.base, pair[0], &handler, NULL);
	assert_non_null(lab.core);
	lab.worker = worker_get_upnp()->start(lab.base, pair[1]);
	assert_non_null(lab.worker);
	lab_core_send(MSG_SETUP, &setup, sizeof(setup));
	send_wan();
}

int lab_setup_bare(void **state)
{
	(void)state;
	lab.lan_count = 0;
	lab_start_worker();
	return 0;
}

int lab_setup_serving(void **state)
{
	struct lan_info lan = lab_make_lan();

	(void)state;
	lab.lan_count = 1;
	lab_start_worker();
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(1);
	assert_int_equal(lab.ready.sockets, 2);
	assert_int_equal(lab.ready.failed, 0);
	return 0;
}

int lab_teardown(void **state)
{
	(void)state;
	if (lab.worker)
		worker_get_upnp()->stop(lab.worker);
	lab.worker = NULL;
	msg_channel_free(lab.core);
	lab.core = NULL;
	if (lab.base)
		event_base_free(lab.base);
	lab.base = NULL;
	return 0;
}

struct rlimit lab_use_up_descriptors(void)
{
	struct rlimit limit;
	struct rlimit used;
	int lowest = dup(STDERR_FILENO);

	assert_true(lowest >= 0);
	assert_int_equal(close(lowest), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	used = (struct rlimit){(rlim_t)lowest, limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &used), 0);
	return limit;
}
