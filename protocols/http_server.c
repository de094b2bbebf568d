/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/http_server.h"

#include <errno.h>
#include <event2/event.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "protocols/http_door.h"
#include "protocols/upnp.h"

/* One connection's pool in libmicrohttpd: 8 kB of headers, and the answer's. */
#define CONNECTION_MEMORY 12288
/* Turns of libmicrohttpd in one of ours. */
#define TURNS_MAX 3
/* First size of a body buffer: a control request fits. */
#define BODY_SIZE_MIN 2048
/* Of a body that is too long, what is read before the 413; beyond it we hang up. */
#define BODY_READ_MAX ((size_t)256 * HTTP_BODY_MAX)
/* Octets of a head, and of a whole answer that the socket takes at once, unless little
 * memory is given to TCP and the client takes in little. */
#define HEAD_SIZE 512
#define SHORT_ANSWER_MAX 2048

/* There must be room for requests that core thinks about while all others wait. */
_Static_assert(HTTP_CONNECTIONS_MAX > HTTP_REQUESTS_MAX + HTTP_ANSWERS_MAX,
	       "places that do not exist");
_Static_assert(HTTP_CONNECTIONS_PER_CLIENT_MAX > HTTP_REQUESTS_PER_CLIENT_MAX,
	       "places that do not exist");

struct http_server {
	struct http_config config;
	struct MHD_Daemon *daemon;
	struct event *readable;
	struct event *timer;
	struct http_door *door;
	struct http_guest *entering; /* libmicrohttpd is about to meet it */
	unsigned int inside;	     /* connections that libmicrohttpd has */
	int64_t date_s;		     /* that `date` is of */
	char date[UPNP_DATE_SIZE];
	TAILQ_HEAD(, http_exchange) suspended;
};

struct http_exchange {
	TAILQ_ENTRY(http_exchange) link; /* while suspended */
	struct http_server *server;
	struct MHD_Connection *connection;
	struct http_guest *guest;
	void *context;
	enum http_method method;
	uint16_t early_status; /* known before the body was read; answered after it */
	bool http_1_0;
	bool dispatched;
	bool suspended;
	bool answered;
	struct http_answer answer;
	struct event *room; /* for the rest of an answer that we send ourselves */
	size_t rest_at;	    /* of answer.bytes */
	char *body;
	size_t body_used;
	size_t body_size;
};

static const struct timeval *timeval_from_ms(int64_t ms, struct timeval *out)
{
	out->tv_sec = (time_t)(ms / 1000);
	out->tv_usec = (suseconds_t)(ms % 1000 * 1000);
	return out;
}

/* ---- driving libmicrohttpd from our loop ---- */

static void run(struct http_server *server)
{
	struct timeval delay;
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
	bool waits = true;

	/* What it begins at one turn it ends at the next. */
	for (int turn = 0; turn < TURNS_MAX && waits && timeout_ms == 0; turn++) {
		(void)MHD_run(server->daemon);
		waits = MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES;
	}
	if (!waits) {
		event_del(server->timer);
		return;
	}
	event_add(server->timer, timeval_from_ms((int64_t)timeout_ms, &delay));
}

static void on_run(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	run(user);
}

/* Run it at the end of this turn of the loop, once for all that happened in it. */
static void run_soon(struct http_server *server)
{
	event_active(server->timer, EV_TIMEOUT, 1);
}

/* ---- connections ---- */

static void on_enter(void *user, struct http_guest *guest)
{
	struct http_server *server = user;
	struct sockaddr_storage peer;
	socklen_t length = addr_to_sockaddr(&guest->client, 0, &peer);
	int fd = guest->slot.fd;

	server->entering = guest;
	/* What it does not take it closes. */
	(void)MHD_add_connection(server->daemon, fd, (struct sockaddr *)&peer, length);
	if (server->entering)
		http_door_forget(guest);
	server->entering = NULL;
	run_soon(server);
}

static void on_connection(void *user, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http_server *server = user;

	(void)mhd;
	switch (code) {
	case MHD_CONNECTION_NOTIFY_STARTED:
		*context = server->entering;
		server->entering = NULL;
		server->inside++;
		break;
	case MHD_CONNECTION_NOTIFY_CLOSED:
		if (*context)
			http_door_forget(*context);
		*context = NULL;
		server->inside--;
		break;
	}
	if (server->door)
		http_door_set_full(server->door,
				   server->inside >= HTTP_CONNECTIONS_MAX);
}

static struct http_guest *get_guest(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* ---- answers ---- */

static void release_answer(struct http_exchange *exchange)
{
	struct http_answer *answer = &exchange->answer;

	if (answer->release && answer->bytes)
		answer->release(answer->bytes);
	answer->bytes = NULL;
}

/* Written once a second, however many answers have it. */
static const char *get_date(struct http_server *server)
{
	int64_t wall_ms = clock_wall_ms();

	if (server->date[0] == '\0' || server->date_s != wall_ms / 1000)
		(void)upnp_format_date(wall_ms, server->date);
	server->date_s = wall_ms / 1000;
	return server->date;
}

/* Suspended, libmicrohttpd leaves a connection alone. */
static void suspend(struct http_exchange *exchange)
{
	exchange->suspended = true;
	TAILQ_INSERT_TAIL(&exchange->server->suspended, exchange, link);
	MHD_suspend_connection(exchange->connection);
}

static void resume(struct http_exchange *exchange)
{
	exchange->suspended = false;
	TAILQ_REMOVE(&exchange->server->suspended, exchange, link);
	MHD_resume_connection(exchange->connection);
	run_soon(exchange->server); /* libmicrohttpd does not wake itself */
}

static void on_room(evutil_socket_t fd, short what, void *user)
{
	struct http_exchange *exchange = user;
	const struct http_answer *answer = &exchange->answer;
	ssize_t sent = send(fd, (const char *)answer->bytes + exchange->rest_at,
			    answer->length - exchange->rest_at,
			    MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)what;
	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sent > 0)
		exchange->rest_at += (size_t)sent;
	if (sent > 0 && exchange->rest_at < answer->length)
		return;
	exchange->guest->partial = exchange->rest_at < answer->length;
	if (!exchange->guest->partial)
		(void)shutdown(fd, SHUT_WR);
	else
		http_door_cut(exchange->guest);
	event_del(exchange->room);
	resume(exchange);
}

/* The socket has not taken all of it: the rest follows when there is room for it,
 * within the time that every answer has. Returns false when it cannot. */
static bool send_rest(struct http_exchange *exchange)
{
	struct http_guest *guest = exchange->guest;

	exchange->room = event_new(exchange->server->config.base, guest->slot.fd,
				   EV_WRITE | EV_PERSIST, on_room, exchange);
	if (!exchange->room || event_add(exchange->room, NULL) < 0)
		return false;
	suspend(exchange);
	guest->partial = true;
	http_door_begin_answer(guest, exchange->answer.length);
	return true;
}

/*
 * A short answer leaves at once and together with the end of the connection: one packet
 * where libmicrohttpd's answer and its close() are two, with all that they cost on both
 * sides. Nothing of the request may be left unread, or the end would be a reset.
 * Returns false when it is for libmicrohttpd to send; else *result is for it, and where
 * the socket had no room for all the rest is on its way.
 */
static bool send_short(struct http_exchange *exchange, enum MHD_Result *result)
{
	const struct http_answer *answer = &exchange->answer;
	const bool bodiless = exchange->method == HTTP_HEAD;
	char head[HEAD_SIZE];
	struct writer writer = writer_init(head, sizeof(head));
	struct iovec parts[] = {
		{.iov_base = head},
		{.iov_base = answer->bytes, .iov_len = bodiless ? 0 : answer->length},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	int fd = exchange->guest->slot.fd;
	ssize_t sent;

	http_answer_write_head(answer, get_date(exchange->server), &writer);
	parts[0].iov_len = writer.used;
	if (writer.failed || writer.used + parts[1].iov_len > SHORT_ANSWER_MAX)
		return false;
	sent = sendmsg(fd, &message, MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return false;
	*result = MHD_NO;
	exchange->rest_at = (size_t)sent - writer.used;
	if ((size_t)sent == writer.used + parts[1].iov_len)
		(void)shutdown(fd, SHUT_WR);
	else if ((size_t)sent >= writer.used && send_rest(exchange))
		*result = MHD_YES;
	else
		http_door_cut(exchange->guest);
	return true;
}

static bool add_headers(struct MHD_Response *response, const struct http_answer *answer,
			const char *date)
{
	struct http_header headers[HTTP_ANSWER_HEADERS_MAX];
	size_t count = http_answer_list_headers(answer, date, headers);

	for (size_t i = 0; i < count; i++) {
		const char *value = headers[i].value;

		/* libmicrohttpd takes no empty value */
		if (MHD_add_response_header(response, headers[i].name,
					    *value == '\0' ? " " : value) != MHD_YES)
			return false;
	}
	return true;
}

/* Send the answer, or have libmicrohttpd do so. MHD_NO closes the connection. */
static enum MHD_Result queue_answer(struct http_exchange *exchange)
{
	struct http_answer *answer = &exchange->answer;
	struct MHD_Response *response;
	enum MHD_Result queued = MHD_NO;

	if (exchange->room)
		return MHD_NO; /* the rest of it has left, or never will */
	if (exchange->dispatched && send_short(exchange, &queued))
		return queued;
	if (answer->release)
		response = MHD_create_response_from_buffer_with_free_callback(
			answer->length, answer->bytes, answer->release);
	else
		response = MHD_create_response_from_buffer(
			answer->length, answer->bytes, MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	answer->bytes = NULL; /* the response's now */
	http_door_begin_answer(exchange->guest, answer->length);
	if (add_headers(response, answer, get_date(exchange->server)))
		queued = MHD_queue_response(exchange->connection, answer->status,
					    response);
	MHD_destroy_response(response);
	return queued;
}

static enum MHD_Result queue_status(struct http_exchange *exchange, uint16_t status)
{
	exchange->answer = (struct http_answer){.status = status};
	exchange->answered = true;
	return queue_answer(exchange);
}

void http_exchange_answer(struct http_exchange *exchange,
			  const struct http_answer *answer)
{
	exchange->answer = *answer;
	exchange->answered = true;
	if (!exchange->suspended)
		return; /* still inside request() */
	resume(exchange);
}

void http_exchange_set_context(struct http_exchange *exchange, void *context)
{
	exchange->context = context;
}

void *http_exchange_get_context(const struct http_exchange *exchange)
{
	return exchange->context;
}

/* ---- requests ---- */

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *name,
				 const char *value)
{
	(void)kind;
	http_headers_add(user, name, value ? value : "");
	return MHD_YES;
}

static void collect_headers(struct http_exchange *exchange,
			    struct http_headers *headers)
{
	*headers = (struct http_headers){.octets = 0};
	(void)MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND,
					on_header, headers);
}

static struct http_exchange *exchange_new(struct http_server *server,
					  struct MHD_Connection *mhd,
					  const char *method, const char *version)
{
	struct http_exchange *exchange = calloc(1, sizeof(*exchange));

	if (!exchange)
		return NULL;
	exchange->server = server;
	exchange->connection = mhd;
	exchange->method = http_parse_method(method);
	exchange->http_1_0 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
	exchange->guest = get_guest(mhd);
	return exchange;
}

/* The headers are here, the body is not. Most errors wait until it was read: closing on
 * unread octets would reset the connection under the answer. Not those of a body that
 * nobody sends yet, or that is too long, or that we cannot read. */
static enum MHD_Result begin(struct http_exchange *exchange)
{
	struct http_headers headers;

	collect_headers(exchange, &headers);
	exchange->early_status = http_headers_check(&headers, exchange->http_1_0,
						    exchange->server->config.lan);
	if (exchange->early_status &&
	    (headers.expect || exchange->early_status == 413 ||
	     exchange->early_status == 501))
		return queue_status(exchange, exchange->early_status);
	return MHD_YES;
}

static bool body_reserve(struct http_exchange *exchange, size_t need)
{
	size_t size = exchange->body_size ? exchange->body_size : BODY_SIZE_MIN;
	char *body;

	if (need <= exchange->body_size)
		return true;
	while (size < need)
		size *= 2;
	body = realloc(exchange->body, size);
	if (!body)
		return false;
	exchange->body = body;
	exchange->body_size = size;
	return true;
}

/* A body of unknown length (chunked, HTTP-2) may turn out too long: read on, and forget
 * what is read, so that the answer arrives. The deadline ends this, too. */
static enum MHD_Result take_body(struct http_exchange *exchange, const char *data,
				 size_t *size)
{
	size_t used = exchange->body_used + *size;

	if (used > BODY_READ_MAX)
		return MHD_NO;
	if (used > HTTP_BODY_MAX && !exchange->early_status)
		exchange->early_status = 413;
	if (!exchange->early_status) {
		if (!body_reserve(exchange, used))
			return MHD_NO;
		memcpy(exchange->body + exchange->body_used, data, *size);
	}
	exchange->body_used = used;
	*size = 0;
	return MHD_YES;
}

static enum MHD_Result dispatch(struct http_exchange *exchange, const char *target)
{
	struct http_server *server = exchange->server;
	struct http_headers headers;
	struct http_request request = {
		.method = exchange->method,
		.headers = &headers,
		.body = exchange->body,
		.length = exchange->body_used,
		.client = exchange->guest->client,
		.lan = server->config.lan,
	};

	exchange->dispatched = true;
	http_door_end_request(exchange->guest);
	if (exchange->early_status)
		return queue_status(exchange, exchange->early_status);
	request.path = http_target_get_path(target, server->config.lan);
	if (!request.path)
		return queue_status(exchange, 403);
	collect_headers(exchange, &headers);
	server->config.handler->request(server->config.user, exchange, &request);
	if (exchange->answered)
		return queue_answer(exchange);
	suspend(exchange);
	return MHD_YES;
}

/* Called by libmicrohttpd: once with the headers, for each piece of the body, once at
 * its end, and again after a resume. */
static enum MHD_Result on_request(void *user, struct MHD_Connection *mhd,
				  const char *path, const char *method,
				  const char *version, const char *data, size_t *size,
				  void **context)
{
	struct http_exchange *exchange = *context;

	if (!get_guest(mhd))
		return MHD_NO;
	if (!exchange) {
		exchange = exchange_new(user, mhd, method, version);
		*context = exchange;
		return exchange ? begin(exchange) : MHD_NO;
	}
	if (*size > 0)
		return take_body(exchange, data, size);
	if (exchange->answered)
		return queue_answer(exchange);
	return exchange->dispatched ? MHD_NO : dispatch(exchange, path);
}

/* Never while it is suspended: http_server_close() resumes all before it ends any. */
static void on_completed(void *user, struct MHD_Connection *mhd, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct http_server *server = user;
	struct http_exchange *exchange = *context;

	(void)mhd;
	(void)code;
	if (!exchange)
		return;
	*context = NULL;
	if (exchange->dispatched && !exchange->answered)
		server->config.handler->closed(server->config.user, exchange);
	if (exchange->answered && exchange->answer.tag && server->config.handler->sent)
		server->config.handler->sent(server->config.user, exchange->answer.tag);
	if (exchange->room)
		event_free(exchange->room);
	release_answer(exchange);
	free(exchange->body);
	free(exchange);
}

/* ---- opening and closing ---- */

/* A path with a NUL in it would end there for us: leave it as it is, it names nothing.
 */
static size_t unescape(void *user, struct MHD_Connection *mhd, char *text)
{
	(void)user;
	(void)mhd;
	return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

static int start_daemon(struct http_server *server)
{
	const union MHD_DaemonInfo *info;

	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO |
			MHD_USE_NO_LISTEN_SOCKET | MHD_USE_SUPPRESS_DATE_NO_CLOCK,
		0, NULL, NULL, on_request, server, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
		server, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
		MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)(HTTP_CONNECTIONS_MAX + HTTP_REQUESTS_MAX),
		MHD_OPTION_PER_IP_CONNECTION_LIMIT,
		(unsigned int)HTTP_CONNECTIONS_PER_CLIENT_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)HTTP_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_END);
	if (!server->daemon)
		return errno ? -errno : -ENOMEM;
	info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return -ENOSYS;
	server->readable = event_new(server->config.base, info->epoll_fd,
				     EV_READ | EV_PERSIST, on_run, server);
	if (!server->readable || event_add(server->readable, NULL) < 0)
		return -ENOMEM;
	run(server);
	return 0;
}

static int open_door(struct http_server *server)
{
	const struct http_config *config = &server->config;
	const struct http_door_config door = {
		.base = config->base,
		.lan = config->lan,
		.family = config->family,
		.port = config->port,
		.request_timeout_ms = config->request_timeout_ms,
		.enter = on_enter,
		.user = server,
	};

	return http_door_open(&door, &server->door);
}

int http_server_open(const struct http_config *config, struct http_server **out)
{
	struct http_server *server = calloc(1, sizeof(*server));
	int error = -ENOMEM;

	if (!server)
		return -ENOMEM;
	server->config = *config;
	TAILQ_INIT(&server->suspended);
	server->timer = evtimer_new(config->base, on_run, server);
	if (server->timer)
		error = open_door(server);
	if (!error)
		error = start_daemon(server);
	if (error) {
		http_server_close(server);
		return error;
	}
	*out = server;
	return 0;
}

void http_server_take(struct http_server *server, int fd, const struct ip_addr *client,
		      const struct ip_addr *local)
{
	http_door_take(server->door, fd, client, local);
}

static void event_free_safe(struct event *event)
{
	if (event)
		event_free(event);
}

void http_server_close(struct http_server *server)
{
	struct http_exchange *exchange;

	if (!server)
		return;
	/* A daemon must not be stopped while connections are suspended. */
	while ((exchange = TAILQ_FIRST(&server->suspended))) {
		TAILQ_REMOVE(&server->suspended, exchange, link);
		exchange->suspended = false;
		if (exchange->room && exchange->guest->partial)
			http_door_cut(exchange->guest);
		MHD_resume_connection(exchange->connection);
	}
	event_free_safe(server->readable);
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	http_door_close(server->door);
	event_free_safe(server->timer);
	free(server);
}
