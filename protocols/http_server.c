/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/http_server.h"

#include <errno.h>
#include <event2/event.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocols/http_slots.h"
#include "protocols/upnp.h"

/* One connection's pool in libmicrohttpd: 8 kB of headers, and the answer's. */
#define CONNECTION_MEMORY 12288
/* Connections wait here for a turn of the loop only. */
#define LISTEN_BACKLOG 512
/* First size of a body buffer: a control request fits. */
#define BODY_SIZE_MIN 2048
/* Of a body that is too long, what is read before the 413; beyond it we hang up. */
#define BODY_READ_MAX ((size_t)256 * HTTP_BODY_MAX)

/* libmicrohttpd must have room for answers while all slots are taken. */
_Static_assert(HTTP_CONNECTIONS_MAX > HTTP_SLOTS_MAX, "slots that do not exist");
_Static_assert(HTTP_CONNECTIONS_PER_CLIENT_MAX > HTTP_SLOTS_PER_CLIENT_MAX,
	       "slots that do not exist");

struct http_connection {
	struct http_server *server;
	struct http_slot slot; /* while the request is not complete */
	bool refused;	       /* to an address that is not ours on this LAN */
};

struct http_server {
	struct http_config config;
	struct MHD_Daemon *daemon;
	struct event *readable;
	struct event *timer;
	struct event *reaper;
	int fd;
	struct http_slots slots;
	TAILQ_HEAD(, http_exchange) suspended;
};

struct http_exchange {
	TAILQ_ENTRY(http_exchange) link; /* while suspended */
	struct http_server *server;
	struct MHD_Connection *connection;
	void *context;
	enum http_method method;
	uint16_t early_status; /* known before the body was read; answered after it */
	bool http_1_0;
	bool dispatched;
	bool suspended;
	bool answered;
	struct ip_addr client;
	struct http_answer answer;
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
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	(void)MHD_run(server->daemon);
	if (MHD_get_timeout(server->daemon, &timeout_ms) != MHD_YES) {
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

/* The next request that is late; an idle server sleeps. */
static void start_reaper(struct http_server *server)
{
	int64_t delay_ms = http_slots_get_delay_ms(
		&server->slots, server->config.request_timeout_ms, clock_now_ms());
	struct timeval delay;

	if (delay_ms < 0)
		event_del(server->reaper);
	else if (!event_pending(server->reaper, EV_TIMEOUT, NULL))
		event_add(server->reaper, timeval_from_ms(delay_ms, &delay));
}

/* Shutting its socket down makes libmicrohttpd see the end of a connection. */
static void hang_up(const struct http_slot *slot)
{
	(void)shutdown(slot->fd, SHUT_RDWR);
}

/*
 * libmicrohttpd ends silent connections; one that sends an octet now and then is ended
 * here (HTTP-3).
 */
static void on_reap(evutil_socket_t fd, short what, void *user)
{
	struct http_server *server = user;
	int64_t now_ms = clock_now_ms();
	struct http_slot *slot;

	(void)fd;
	(void)what;
	while ((slot = http_slots_take_late(&server->slots,
					    server->config.request_timeout_ms, now_ms)))
		hang_up(slot);
	start_reaper(server);
}

/* ---- connections ---- */

static bool is_to_us(const struct http_server *server, int fd)
{
	struct sockaddr_storage local = {.ss_family = AF_UNSPEC};
	socklen_t length = sizeof(local);
	struct ip_addr addr;

	if (getsockname(fd, (struct sockaddr *)&local, &length) < 0)
		return false;
	addr = addr_from_sockaddr(&local);
	return lan_info_has_address(server->config.lan, &addr);
}

/* Peers outside the LAN are not even answered (HTTP-4, IGD-1). */
static enum MHD_Result on_accept(void *user, const struct sockaddr *addr,
				 socklen_t length)
{
	const struct http_server *server = user;
	struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
	struct ip_addr peer;

	if (length > sizeof(storage))
		return MHD_NO;
	memcpy(&storage, addr, length);
	peer = addr_from_sockaddr(&storage);
	return lan_info_has_host(server->config.lan, &peer) ? MHD_YES : MHD_NO;
}

static struct ip_addr get_client(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
	struct sockaddr_in in;

	/* The listener is IPv4's. */
	if (info && info->client_addr->sa_family == AF_INET) {
		memcpy(&in, info->client_addr, sizeof(in));
		memcpy(&storage, &in, sizeof(in));
	}
	return addr_from_sockaddr(&storage);
}

static void connection_started(struct http_server *server, struct MHD_Connection *mhd,
			       void **context)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct http_connection *connection = calloc(1, sizeof(*connection));
	struct ip_addr client = get_client(mhd);
	const struct http_slot *victim;

	*context = connection;
	if (!connection || !info)
		return;
	connection->server = server;
	connection->slot.fd = info->connect_fd;
	connection->refused = !is_to_us(server, connection->slot.fd);
	victim = http_slots_add(&server->slots, &connection->slot, &client,
				clock_now_ms());
	if (victim)
		hang_up(victim);
	start_reaper(server);
}

static void connection_leave_slot(struct http_connection *connection)
{
	struct http_server *server = connection->server;

	http_slots_remove(&server->slots, &connection->slot);
	if (server->slots.count == 0)
		start_reaper(server); /* stops it */
}

static void on_connection(void *user, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http_connection *connection = *context;

	switch (code) {
	case MHD_CONNECTION_NOTIFY_STARTED:
		connection_started(user, mhd, context);
		break;
	case MHD_CONNECTION_NOTIFY_CLOSED:
		if (connection && connection->server)
			connection_leave_slot(connection);
		free(connection);
		*context = NULL;
		break;
	}
}

static struct http_connection *get_connection(struct MHD_Connection *mhd)
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

static bool add_headers(struct MHD_Response *response, const struct http_answer *answer)
{
	char date[UPNP_DATE_SIZE];
	const struct {
		const char *name;
		const char *value;
	} rows[] = {
		{"Content-Type", answer->content_type},
		{"Allow", answer->allow},
		{"Date", upnp_format_date(clock_wall_ms(), date)},
		{"Ext", " "}, /* libmicrohttpd takes no empty value */
		{"Server", UPNP_SERVER},
		/* One request a connection: what small clients expect (HTTP-1, CL-14).
		 */
		{"Connection", "close"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].value && MHD_add_response_header(response, rows[i].name,
							     rows[i].value) != MHD_YES)
			return false;
	for (size_t i = 0; i < HTTP_FIELDS_MAX && answer->fields[i].name; i++)
		if (MHD_add_response_header(response, answer->fields[i].name,
					    answer->fields[i].value) != MHD_YES)
			return false;
	return true;
}

/* Hand the answer to libmicrohttpd. MHD_NO closes the connection. */
static enum MHD_Result queue_answer(struct http_exchange *exchange)
{
	struct http_answer *answer = &exchange->answer;
	struct MHD_Response *response;
	enum MHD_Result queued = MHD_NO;

	if (answer->release)
		response = MHD_create_response_from_buffer_with_free_callback(
			answer->length, answer->bytes, answer->release);
	else
		response = MHD_create_response_from_buffer(
			answer->length, answer->bytes, MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	answer->bytes = NULL; /* the response's now */
	if (add_headers(response, answer))
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
	exchange->suspended = false;
	TAILQ_REMOVE(&exchange->server->suspended, exchange, link);
	MHD_resume_connection(exchange->connection);
	/* libmicrohttpd does not wake itself: run it, once for all answers of this turn
	 */
	event_active(exchange->server->timer, EV_TIMEOUT, 1);
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
	exchange->http_1_0 = strcmp(version, MHD_HTTP_VERSION_1_1) != 0;
	exchange->client = get_client(mhd);
	return exchange;
}

/* The headers are here, the body is not. Most errors wait until it was read: closing on
 * unread octets would reset the connection under the answer. */
static enum MHD_Result begin(struct http_exchange *exchange)
{
	struct http_headers headers;

	collect_headers(exchange, &headers);
	exchange->early_status = http_headers_check(&headers, exchange->http_1_0,
						    exchange->server->config.lan);
	if (exchange->early_status && (headers.expect || exchange->early_status == 413))
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
	struct http_connection *connection = get_connection(exchange->connection);
	struct http_headers headers;
	struct http_request request = {
		.method = exchange->method,
		.headers = &headers,
		.body = exchange->body,
		.length = exchange->body_used,
		.client = exchange->client,
		.lan = server->config.lan,
	};

	exchange->dispatched = true;
	if (connection)
		connection_leave_slot(connection);
	if (exchange->early_status)
		return queue_status(exchange, exchange->early_status);
	request.path = http_target_get_path(target, server->config.lan);
	if (!request.path)
		return queue_status(exchange, 403);
	collect_headers(exchange, &headers);
	server->config.handler->request(server->config.user, exchange, &request);
	if (exchange->answered)
		return queue_answer(exchange);
	exchange->suspended = true;
	TAILQ_INSERT_TAIL(&server->suspended, exchange, link);
	MHD_suspend_connection(exchange->connection);
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
	const struct http_connection *connection = get_connection(mhd);

	if (!connection || connection->refused)
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
	if (exchange->suspended)
		TAILQ_REMOVE(&server->suspended, exchange, link);
	if (exchange->dispatched && !exchange->answered)
		server->config.handler->closed(server->config.user, exchange);
	if (exchange->answered && exchange->answer.tag && server->config.handler->sent)
		server->config.handler->sent(server->config.user, exchange->answer.tag);
	release_answer(exchange);
	free(exchange->body);
	free(exchange);
}

/* ---- opening and closing ---- */

static int listen_on(const struct lan_info *lan, uint16_t port, int *out)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int on = 1;
	int error;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, lan->name,
		       (socklen_t)strnlen(lan->name, sizeof(lan->name))) < 0 ||
	    bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0 ||
	    listen(fd, LISTEN_BACKLOG) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	*out = fd;
	return 0;
}

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
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
			MHD_USE_SUPPRESS_DATE_NO_CLOCK,
		0, on_accept, server, on_request, server, MHD_OPTION_LISTEN_SOCKET,
		server->fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
		MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)HTTP_CONNECTIONS_MAX,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT,
		(unsigned int)HTTP_CONNECTIONS_PER_CLIENT_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)HTTP_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_END);
	if (!server->daemon)
		return errno ? -errno : -ENOMEM;
	server->fd = -1; /* the daemon's now */
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

int http_server_open(const struct http_config *config, struct http_server **out)
{
	struct http_server *server = calloc(1, sizeof(*server));
	int error = -ENOMEM;

	if (!server)
		return -ENOMEM;
	server->config = *config;
	server->fd = -1;
	http_slots_init(&server->slots);
	TAILQ_INIT(&server->suspended);
	server->timer = evtimer_new(config->base, on_run, server);
	server->reaper = evtimer_new(config->base, on_reap, server);
	if (server->timer && server->reaper)
		error = listen_on(config->lan, config->port, &server->fd);
	if (!error)
		error = start_daemon(server);
	if (error) {
		http_server_close(server);
		return error;
	}
	*out = server;
	return 0;
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
		MHD_resume_connection(exchange->connection);
	}
	event_free_safe(server->readable);
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	event_free_safe(server->timer);
	event_free_safe(server->reaper);
	if (server->fd >= 0)
		close(server->fd);
	free(server);
}
