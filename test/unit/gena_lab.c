/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/gena_lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "test/unit/upnp_lab.h"

/* First room for an event. */
#define EVENT_SIZE 4096

static void connection_free(struct sink_connection *connection)
{
	TAILQ_REMOVE(&connection->sink->connections, connection, link);
	event_free(connection->event);
	close(connection->fd);
	free(connection->in);
	free(connection);
}

static void say(const struct sink_connection *connection, const char *text)
{
	(void)send(connection->fd, text, strlen(text), MSG_NOSIGNAL);
}

static bool is_whole(const struct sink_connection *connection)
{
	const char *end = strstr(connection->in, "\r\n\r\n");
	const char *length = strcasestr(connection->in, "\r\nCONTENT-LENGTH: ");

	return end && length &&
	       connection->used >= (size_t)(end + 4 - connection->in) +
					   strtoul(length + 18, NULL, 10);
}

static void take_event(struct sink_connection *connection)
{
	struct sink *sink = connection->sink;

	connection->whole = true;
	sink->count++;
	free(sink->last);
	sink->last = strdup(connection->in);
	assert_non_null(sink->last);
	switch (sink->mode) {
	case SINK_ANSWER:
		say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		break;
	case SINK_REFUSE:
		say(connection, "HTTP/1.1 412 Precondition Failed\r\n\r\n");
		break;
	case SINK_FAIL:
		say(connection, "HTTP/1.1 500 Internal Server Error\r\n\r\n");
		break;
	case SINK_DRIP:
		say(connection, "HTTP/1.0 2");
		break;
	case SINK_BABBLE:
		for (unsigned int i = 0; i < 64; i++)
			say(connection, "HTTP/1.1");
		break;
	case SINK_HOLD:
	case SINK_HANG_UP:
	case SINK_DEAD:
		break;
	}
}

static void on_read(evutil_socket_t fd, short what, void *user)
{
	struct sink_connection *connection = user;
	ssize_t got;

	(void)what;
	if (connection->size - connection->used < EVENT_SIZE / 2) {
		connection->size = connection->size ? 2 * connection->size : EVENT_SIZE;
		connection->in = realloc(connection->in, connection->size);
		assert_non_null(connection->in);
	}
	got = recv(fd, connection->in + connection->used,
		   connection->size - connection->used - 1, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		connection->closed = true;
		connection->sink->closed++;
		event_del(connection->event);
		return;
	}
	connection->used += (size_t)got;
	connection->in[connection->used] = '\0';
	if (!connection->whole && is_whole(connection))
		take_event(connection);
}

static void on_accept(evutil_socket_t fd, short what, void *user)
{
	struct sink *sink = user;
	struct sockaddr_in peer;
	socklen_t length = sizeof(peer);
	struct sink_connection *connection;
	int accepted = accept4(fd, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);

	(void)what;
	if (accepted < 0)
		return;
	sink->accepted++;
	assert_non_null(
		inet_ntop(AF_INET, &peer.sin_addr, sink->peer, sizeof(sink->peer)));
	if (sink->mode == SINK_HANG_UP) {
		close(accepted);
		return;
	}
	connection = calloc(1, sizeof(*connection));
	assert_non_null(connection);
	connection->sink = sink;
	connection->fd = accepted;
	connection->event = event_new(lab_get()->base, accepted, EV_READ | EV_PERSIST,
				      on_read, connection);
	assert_non_null(connection->event);
	event_add(connection->event, NULL);
	TAILQ_INSERT_TAIL(&sink->connections, connection, link);
}

struct sink *sink_new(const char *host, enum sink_mode mode)
{
	struct sink *sink = calloc(1, sizeof(*sink));
	struct sockaddr_in in = lab_get_address(host, 0);
	socklen_t length = sizeof(in);

	assert_non_null(sink);
	TAILQ_INIT(&sink->connections);
	sink->mode = mode;
	sink->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(sink->fd >= 0);
	assert_int_equal(bind(sink->fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(sink->fd, 64), 0);
	assert_int_equal(getsockname(sink->fd, (struct sockaddr *)&in, &length), 0);
	sink->port = ntohs(in.sin_port);
	if (mode == SINK_DEAD)
		return sink;
	sink->event = event_new(lab_get()->base, sink->fd, EV_READ | EV_PERSIST,
				on_accept, sink);
	assert_non_null(sink->event);
	event_add(sink->event, NULL);
	return sink;
}

void sink_free(struct sink *sink)
{
	struct sink_connection *connection = TAILQ_FIRST(&sink->connections);

	while (connection) {
		struct sink_connection *next = TAILQ_NEXT(connection, link);

		connection_free(connection);
		connection = next;
	}
	if (sink->event)
		event_free(sink->event);
	close(sink->fd);
	free(sink->last);
	free(sink);
}

void sink_answer(struct sink *sink, const char *text)
{
	struct sink_connection *connection;

	TAILQ_FOREACH (connection, &sink->connections, link)
		if (connection->whole && !connection->closed)
			say(connection, text);
}

struct sink_wish {
	const struct sink *sink;
	unsigned int count;
};

static bool has_count(const void *user)
{
	const struct sink_wish *wish = user;

	return wish->sink->count >= wish->count;
}

static bool has_accepted(const void *user)
{
	const struct sink_wish *wish = user;

	return wish->sink->accepted >= wish->count;
}

void sink_wait(struct sink *sink, unsigned int count)
{
	const struct sink_wish wish = {sink, count};

	assert_true(lab_wait_for(has_count, &wish));
	assert_int_equal(sink->count, count);
}

void sink_wait_accepted(struct sink *sink, unsigned int count)
{
	const struct sink_wish wish = {sink, count};

	assert_true(lab_wait_for(has_accepted, &wish));
}

/* What stands between, in static storage; NULL = it is not there. */
static const char *cut(const char *text, const char *before, const char *after)
{
	static char found[256];
	const char *from = strstr(text, before);
	const char *to;

	if (!from)
		return NULL;
	from += strlen(before);
	to = strstr(from, after);
	assert_non_null(to);
	(void)snprintf(found, sizeof(found), "%.*s", (int)(to - from), from);
	return found;
}

const char *sink_get_header(const struct sink *sink, const char *name)
{
	char before[64];

	(void)snprintf(before, sizeof(before), "\r\n%s: ", name);
	return cut(sink->last, before, "\r\n");
}

const char *sink_get_value(const struct sink *sink, const char *name)
{
	char before[128], after[128];

	(void)snprintf(before, sizeof(before), "<e:property><%s>", name);
	(void)snprintf(after, sizeof(after), "</%s></e:property>", name);
	return cut(sink->last, before, after);
}

unsigned int sink_count_values(const struct sink *sink)
{
	unsigned int count = 0;

	for (const char *at = sink->last; (at = strstr(at, "<e:property>")); at++)
		count++;
	return count;
}
