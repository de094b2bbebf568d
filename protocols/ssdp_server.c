/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/ssdp_server.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocols/outlet.h"

struct ssdp_server {
	struct ssdp_responder *responder;
	int fd;
	struct outlet outlet;
	struct event *readable;
	struct event *timer;
};

static struct ssdp_moment get_moment(void)
{
	return (struct ssdp_moment){
		.now_ms = clock_now_ms(),
		.wall_ms = clock_wall_ms(),
	};
}

static void run_responder(struct ssdp_server *server, const struct ssdp_moment *moment)
{
	int64_t delay_ms =
		ssdp_responder_run(server->responder, moment) - moment->now_ms;
	struct timeval delay;

	if (delay_ms < 0)
		delay_ms = 0;
	delay.tv_sec = (time_t)(delay_ms / 1000);
	delay.tv_usec = (suseconds_t)(delay_ms % 1000 * 1000);
	event_add(server->timer, &delay);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct ssdp_moment moment = get_moment();

	(void)fd;
	(void)what;
	run_responder(user, &moment);
}

static void on_readable(evutil_socket_t fd, short what, void *user)
{
	struct ssdp_server *server = user;
	struct ssdp_moment moment = get_moment();
	struct datagram_batch in;

	(void)fd;
	(void)what;
	if (datagram_receive(server->fd, &in) < 0)
		return;
	for (size_t i = 0; i < in.count; i++)
		ssdp_responder_take(server->responder, &in.list[i], &moment);
	run_responder(server, &moment);
}

/* ---- what the responder needs done ---- */

/* A datagram that the kernel does not take is a datagram lost: clients ask again. */
static void send_batch(void *user, struct datagram_batch *batch)
{
	struct ssdp_server *server = user;

	(void)outlet_send(&server->outlet, batch, clock_now_ms());
}

static uint32_t draw(void *user, uint32_t limit)
{
	uint32_t value = 0;

	(void)user;
	/* Without entropy the delay is not random: no harm. */
	if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
		return 0;
	return value % limit;
}

/* ---- opening and closing ---- */

static int open_sockets(struct ssdp_server *server, const struct ssdp_config *config)
{
	const struct datagram_port port = {
		.family = config->family,
		.ifindex = config->lan->ifindex,
		.port = SSDP_PORT,
		.shared = true, /* control points use 1900 too */
	};
	const struct ssdp_group *group;
	int error = datagram_open(&port, &server->fd);

	for (size_t i = 0; error == 0 && (group = ssdp_group_get(i)); i++)
		if (group->family == config->family)
			error = datagram_join(server->fd, &port, &group->addr);
	if (error == 0)
		error = datagram_select_first(server->fd);
	if (error != 0)
		return error;
	server->outlet.port = port;
	return outlet_open(&server->outlet, server->fd);
}

static int start_events(struct ssdp_server *server, struct event_base *base)
{
	server->readable =
		event_new(base, server->fd, EV_READ | EV_PERSIST, on_readable, server);
	server->timer = evtimer_new(base, on_timer, server);
	if (!server->readable || !server->timer ||
	    event_add(server->readable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static void server_free(struct ssdp_server *server)
{
	if (server->readable)
		event_free(server->readable);
	if (server->timer)
		event_free(server->timer);
	outlet_close(&server->outlet);
	if (server->fd >= 0)
		close(server->fd);
	ssdp_responder_free(server->responder);
	free(server);
}

int ssdp_server_open(const struct ssdp_config *config, struct ssdp_server **out)
{
	static const struct ssdp_responder_ops ops = {.send = send_batch, .draw = draw};
	struct ssdp_server *server = calloc(1, sizeof(*server));
	struct ssdp_moment moment = get_moment();
	int error;

	if (!server)
		return -ENOMEM;
	server->fd = -1;
	for (int use = 0; use < DATAGRAM_USES; use++)
		server->outlet.ways[use].fd = -1;
	server->responder = ssdp_responder_new(config, &ops, server, moment.now_ms);
	error = server->responder ? open_sockets(server, config) : -ENOMEM;
	if (error == 0)
		error = start_events(server, config->base);
	if (error != 0) {
		server_free(server);
		return error;
	}
	ssdp_responder_say_first_byebye(server->responder);
	run_responder(server, &moment);
	*out = server;
	return 0;
}

void ssdp_server_say_update(struct ssdp_server *server, uint32_t boot_id)
{
	ssdp_responder_say_update(server->responder, boot_id);
}

void ssdp_server_renew(struct ssdp_server *server)
{
	struct ssdp_moment moment = get_moment();

	ssdp_responder_renew(server->responder, moment.now_ms);
	run_responder(server, &moment);
}

void ssdp_server_close(struct ssdp_server *server)
{
	if (!server)
		return;
	ssdp_responder_say_byebye(server->responder);
	server_free(server);
}
