/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/gena_client.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* Units: ms. How soon a socket is asked for again when none was to be had. */
#define SHORTAGE_MS 100
/* Longest status line that is read. */
#define STATUS_SIZE 256

enum delivery_state {
	DELIVERY_NEW,	/* nothing was tried yet */
	DELIVERY_SHORT, /* no socket was to be had: the same URL again */
	DELIVERY_WRITE, /* connecting, or sending */
	DELIVERY_READ,	/* all is sent */
	DELIVERY_LOST,	/* this URL failed: the next one */
};

struct gena_delivery {
	TAILQ_ENTRY(gena_delivery) link;
	struct gena_client *client;
	struct gena_event event;
	struct event *timer;
	struct event *io; /* NULL = no socket is open */
	enum delivery_state state;
	int64_t deadline_ms;
	size_t url; /* the one that is tried */
	char *bytes;
	size_t length;
	size_t sent;
	size_t received;
	char status[STATUS_SIZE];
};

struct gena_client {
	struct gena_client_config config;
	size_t count;
	TAILQ_HEAD(, gena_delivery) list;
};

static void on_io(evutil_socket_t fd, short what, void *user);

/* ---- one delivery ---- */

static void delivery_close(struct gena_delivery *delivery)
{
	if (!delivery->io)
		return;
	close(event_get_fd(delivery->io));
	event_free(delivery->io);
	delivery->io = NULL;
}

static void delivery_free(struct gena_delivery *delivery)
{
	TAILQ_REMOVE(&delivery->client->list, delivery, link);
	delivery->client->count--;
	delivery_close(delivery);
	if (delivery->timer)
		event_free(delivery->timer);
	xmldoc_fini(&delivery->event.body);
	free(delivery->bytes);
	free(delivery);
}

static void delivery_finish(struct gena_delivery *delivery, enum gena_outcome outcome)
{
	const struct gena_client_config *config = &delivery->client->config;
	const uint64_t tag = delivery->event.tag;

	delivery_free(delivery);
	config->done(config->user, tag, outcome);
}

static void start_timer(struct gena_delivery *delivery, int64_t ms)
{
	const struct timeval delay = {
		.tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000 * 1000),
	};

	event_add(delivery->timer, &delay);
}

/* This URL is done with; the next one has its turn from the loop. */
static void delivery_lose(struct gena_delivery *delivery)
{
	delivery_close(delivery);
	delivery->state = DELIVERY_LOST;
	event_active(delivery->timer, EV_TIMEOUT, 1);
}

/* ---- connecting ---- */

static socklen_t make_address(const struct gena_subscriber *subscriber,
			      const struct ip_addr *addr, uint16_t port,
			      struct sockaddr_storage *out)
{
	socklen_t length = addr_to_sockaddr(addr, port, out);

	/* A link-local address is one of this LAN. */
	if (out->ss_family == AF_INET6 && addr_is_link_local(addr))
		((struct sockaddr_in6 *)out)->sin6_scope_id = subscriber->ifindex;
	return length;
}

/* From our address on that LAN, and by that interface only. */
static int bind_socket(int fd, const struct gena_event *event)
{
	const size_t device = strnlen(event->device, sizeof(event->device));
	struct sockaddr_storage local;
	socklen_t length =
		make_address(event->subscriber, &event->subscriber->local, 0, &local);
	const int on = 1;

	/* connect() chooses the port: those that rest since the last events are good
	 * for other subscribers. An older kernel has fewer of them. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, event->device,
		       (socklen_t)device) < 0 ||
	    bind(fd, (const struct sockaddr *)&local, length) < 0)
		return -errno;
	return 0;
}

static int connect_socket(int fd, const struct gena_event *event, uint16_t port)
{
	struct sockaddr_storage peer;
	socklen_t length =
		make_address(event->subscriber, &event->subscriber->host, port, &peer);

	if (connect(fd, (const struct sockaddr *)&peer, length) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return 0;
}

static int open_socket(struct gena_delivery *delivery)
{
	const struct gena_event *event = &delivery->event;
	const int family = addr_is_ipv4(&event->subscriber->host) ? AF_INET : AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -errno;
	error = bind_socket(fd, event);
	if (!error)
		error = connect_socket(fd, event,
				       event->callback->urls[delivery->url].port);
	if (!error) {
		delivery->io = event_new(delivery->client->config.base, fd,
					 EV_WRITE | EV_PERSIST, on_io, delivery);
		error = delivery->io ? 0 : -ENOMEM;
	}
	if (error) {
		close(fd);
		return error;
	}
	event_add(delivery->io, NULL);
	return 0;
}

static bool is_shortage(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS ||
	       error == -ENOMEM;
}

/* ---- sending ---- */

/* The same body to every URL: one SEQ, one content (GENA-8). */
static int make_bytes(struct gena_delivery *delivery)
{
	const struct gena_event *event = &delivery->event;
	const struct gena_head head = {
		.host = event->subscriber->host,
		.port = event->callback->urls[delivery->url].port,
		.path = gena_callback_get_path(event->callback, delivery->url),
		.sid = event->sid,
		.seq = event->seq,
		.length = event->body.length,
	};
	const size_t size = GENA_HEAD_SIZE + event->body.length;
	struct writer writer;

	free(delivery->bytes);
	delivery->bytes = malloc(size);
	if (!delivery->bytes)
		return -ENOMEM;
	writer = writer_init(delivery->bytes, size);
	gena_write_head(&writer, &head);
	writer_copy(&writer, event->body.bytes, event->body.length);
	delivery->length = writer.used;
	delivery->sent = 0;
	delivery->received = 0;
	return writer.failed ? -EMSGSIZE : 0;
}

static void delivery_attempt(struct gena_delivery *delivery, int64_t now_ms)
{
	const size_t left = delivery->event.callback->count - delivery->url;
	int error = make_bytes(delivery);

	if (!error)
		error = open_socket(delivery);
	if (is_shortage(error)) {
		delivery->state = DELIVERY_SHORT;
		start_timer(delivery, SHORTAGE_MS);
	} else if (error) {
		delivery_lose(delivery);
	} else {
		delivery->state = DELIVERY_WRITE;
		start_timer(delivery, (delivery->deadline_ms - now_ms) / (int64_t)left);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct gena_delivery *delivery = user;
	const int64_t now_ms = clock_now_ms();

	(void)fd;
	(void)what;
	switch (delivery->state) {
	case DELIVERY_NEW:
	case DELIVERY_SHORT:
		break;
	case DELIVERY_WRITE: /* its time is over */
	case DELIVERY_READ:
	case DELIVERY_LOST:
		delivery_close(delivery);
		delivery->url++;
		break;
	}
	if (delivery->url >= delivery->event.callback->count ||
	    now_ms >= delivery->deadline_ms)
		delivery_finish(delivery, GENA_FAILED);
	else
		delivery_attempt(delivery, now_ms);
}

static void send_bytes(struct gena_delivery *delivery, int fd)
{
	ssize_t sent = send(fd, delivery->bytes + delivery->sent,
			    delivery->length - delivery->sent, MSG_NOSIGNAL);

	if (sent < 0) {
		if (errno != EAGAIN && errno != EINTR)
			delivery_lose(delivery);
		return;
	}
	delivery->sent += (size_t)sent;
	if (delivery->sent < delivery->length)
		return;
	delivery->state = DELIVERY_READ;
	event_del(delivery->io);
	if (event_assign(delivery->io, delivery->client->config.base, fd,
			 EV_READ | EV_PERSIST, on_io, delivery) < 0 ||
	    event_add(delivery->io, NULL) < 0)
		delivery_lose(delivery);
}

/* What follows the status line is nothing to us. */
static void judge_status(struct gena_delivery *delivery)
{
	const uint16_t status = gena_parse_status(delivery->status);

	if (status >= 200 && status < 300)
		delivery_finish(delivery, GENA_DELIVERED);
	else if (status == 412)
		delivery_finish(delivery, GENA_REFUSED);
	else
		delivery_lose(delivery);
}

static void read_status(struct gena_delivery *delivery, int fd)
{
	ssize_t got = recv(fd, delivery->status + delivery->received,
			   sizeof(delivery->status) - delivery->received - 1, 0);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		delivery_lose(delivery);
		return;
	}
	delivery->received += (size_t)got;
	delivery->status[delivery->received] = '\0';
	if (strchr(delivery->status, '\n') ||
	    delivery->received == sizeof(delivery->status) - 1)
		judge_status(delivery);
}

static void on_io(evutil_socket_t fd, short what, void *user)
{
	struct gena_delivery *delivery = user;

	(void)what;
	if (delivery->state == DELIVERY_READ)
		read_status(delivery, fd);
	else
		send_bytes(delivery, fd);
}

/* ---- all of them ---- */

static struct gena_delivery *find_delivery(const struct gena_client *client,
					   uint64_t tag)
{
	struct gena_delivery *delivery;

	TAILQ_FOREACH (delivery, &client->list, link)
		if (delivery->event.tag == tag)
			return delivery;
	return NULL;
}

int gena_client_deliver(struct gena_client *client, const struct gena_event *event)
{
	struct gena_delivery *delivery =
		find_delivery(client, event->tag) ? NULL : calloc(1, sizeof(*delivery));

	if (!delivery) {
		struct xmldoc body = event->body;

		xmldoc_fini(&body);
		return find_delivery(client, event->tag) ? -EBUSY : -ENOMEM;
	}
	delivery->client = client;
	delivery->event = *event;
	delivery->deadline_ms = clock_now_ms() + client->config.timeout_ms;
	TAILQ_INSERT_TAIL(&client->list, delivery, link);
	client->count++;
	delivery->timer = evtimer_new(client->config.base, on_timer, delivery);
	if (!delivery->timer) {
		delivery_free(delivery);
		return -ENOMEM;
	}
	if (event->delay_ms > 0)
		start_timer(delivery, event->delay_ms);
	else
		event_active(delivery->timer, EV_TIMEOUT, 1);
	return 0;
}

void gena_client_cancel(struct gena_client *client, uint64_t tag)
{
	struct gena_delivery *delivery = find_delivery(client, tag);

	if (delivery)
		delivery_free(delivery);
}

size_t gena_client_get_count(const struct gena_client *client)
{
	return client->count;
}

struct gena_client *gena_client_new(const struct gena_client_config *config)
{
	struct gena_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->config = *config;
	TAILQ_INIT(&client->list);
	return client;
}

void gena_client_free(struct gena_client *client)
{
	struct gena_delivery *delivery;

	if (!client)
		return;
	delivery = TAILQ_FIRST(&client->list);
	while (delivery) {
		struct gena_delivery *next = TAILQ_NEXT(delivery, link);

		delivery_free(delivery);
		delivery = next;
	}
	free(client);
}
