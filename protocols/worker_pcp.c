/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker for NAT-PMP and PCP: its sockets, its timers and its channel to core. What
 * they bring is the responder's to decide.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/msg.h"
#include "protocols/datagram.h"
#include "protocols/lanes.h"
#include "protocols/natpmp.h"
#include "protocols/outlet.h"
#include "protocols/responder.h"
#include "protocols/worker.h"

/* How often a LAN whose socket could not be opened is tried again. */
#define OPEN_RETRY_MS 2000
/* A slow lane that brings nothing but what is dropped rests: the kernel drops cheaper.
 */
#define SLOW_REST_MS 10
/* While core is busy with as much from slow lanes as it may be, they wait. */
#define SLOW_FULL_MS 1

/* Lanes of a port. The second is read only after the first (PCP-7). */
enum { LANE_FIRST, LANE_SLOW, LANES };

/* The port on one LAN in one family: two sockets, between which the kernel chooses. */
struct port {
	struct lan *lan;
	enum responder_family family;
	int fds[LANES]; /* -1 = not open */
	struct outlet outlet;
	struct event *readable[LANES];
	struct event *rest_timer;
	bool failing; /* it should be open but cannot be opened; logged */
};

/* One LAN, its place is lan_info.lan. */
struct lan {
	struct worker *worker;
	uint32_t ifindex; /* of the open ports */
	struct lanes lanes;
	struct port ports[RESPONDER_FAMILIES];
};

struct worker {
	struct event_base *base;
	struct msg_channel *channel;
	struct event *due_timer;
	struct event *retry_timer;
	struct responder *responder;
	int64_t due_ms; /* what due_timer is armed for */
	struct worker_ready told;
	unsigned int lans_due; /* that core is about to tell: ready comes after them */
	struct log_limit lost_limit;
	struct lan lans[LANS_MAX];
	struct datagram_batch in;
};

static const int families[RESPONDER_FAMILIES] = {AF_INET, AF_INET6};

static void arm_timer(struct event *timer, int64_t delay_ms)
{
	struct timeval delay;

	if (delay_ms < 0)
		delay_ms = 0;
	delay.tv_sec = delay_ms / 1000;
	delay.tv_usec = delay_ms % 1000 * 1000;
	if (event_add(timer, &delay) < 0)
		log_error("pcp: cannot arm a timer");
}

static size_t get_index(const struct lan *lan)
{
	return (size_t)(lan - lan->worker->lans);
}

/* What the responder needs done. */

static void log_lost(const struct port *port, unsigned int lost, int64_t now_ms)
{
	struct worker *worker = port->lan->worker;
	unsigned int suppressed;

	if (log_limit_pass(&worker->lost_limit, now_ms, &suppressed))
		log_warning("pcp: %u datagrams could not be sent on %s suppressed=%u",
			    lost,
			    responder_get_lan(worker->responder, get_index(port->lan))
				    ->name,
			    suppressed);
}

static void send_batch(void *user, struct datagram_batch *batch)
{
	struct worker *worker = user;
	int64_t now_ms = clock_now_ms();

	for (size_t i = 0; i < LANS_MAX; i++)
		for (int family = 0; family < RESPONDER_FAMILIES; family++) {
			struct port *port = &worker->lans[i].ports[family];
			unsigned int lost;

			if (port->fds[LANE_FIRST] < 0)
				continue;
			lost = outlet_send(&port->outlet, batch, now_ms);
			if (lost > 0)
				log_lost(port, lost, now_ms);
		}
}

static bool ask_core(void *user, const struct request *request)
{
	struct worker *worker = user;

	return msg_channel_send(worker->channel, MSG_REQUEST, request,
				sizeof(*request)) == 0;
}

static void run_responder(struct worker *worker, int64_t now_ms)
{
	int64_t due_ms = responder_run(worker->responder, now_ms);

	if (due_ms == worker->due_ms)
		return;
	worker->due_ms = due_ms;
	if (due_ms == TIME_NEVER)
		event_del(worker->due_timer);
	else
		arm_timer(worker->due_timer, due_ms - now_ms);
}

static void on_due_timer(evutil_socket_t fd, short what, void *user)
{
	struct worker *worker = user;

	(void)fd;
	(void)what;
	worker->due_ms = TIME_NEVER;
	run_responder(worker, clock_now_ms());
}

/* Lanes. */

/* Have the kernel know who is to be in the slow lane. Errors: -errno. */
static int steer(const struct lan *lan, const struct port *port)
{
	struct sock_filter choice_code[LANES_PROGRAM_MAX];
	struct sock_filter filter_code[LANES_PROGRAM_MAX];
	const int family = families[port->family];
	/* Of copies for both lanes the first one gets none that a slow source sent. */
	const struct lanes_verdict choose = {.slow = LANE_SLOW, .other = LANE_FIRST};
	const struct lanes_verdict pass = {.slow = 0, .other = UINT32_MAX};
	const struct sock_fprog choice = {
		.len = (unsigned short)lanes_write_program(&lan->lanes, family, choose,
							   choice_code),
		.filter = choice_code,
	};
	const struct sock_fprog filter = {
		.len = (unsigned short)lanes_write_program(&lan->lanes, family, pass,
							   filter_code),
		.filter = filter_code,
	};

	return datagram_select(port->fds[LANE_FIRST], &choice, &filter);
}

static void steer_all(struct lan *lan)
{
	for (int family = 0; family < RESPONDER_FAMILIES; family++) {
		const struct port *port = &lan->ports[family];

		if (port->fds[LANE_FIRST] < 0)
			continue;
		if (steer(lan, port) != 0)
			log_warning("pcp: cannot keep loud hosts on %s apart",
				    responder_get_lan(lan->worker->responder,
						      get_index(lan))
					    ->name);
	}
}

/* One batch of a lane. Returns how many of it were of use to anybody; -1 when nothing
 * was there. */
static int read_lane(struct port *port, int lane, int64_t now_ms)
{
	struct lan *lan = port->lan;
	struct worker *worker = lan->worker;
	struct datagram_batch *in = &worker->in;
	bool news = false;
	int useful = 0;

	if (datagram_receive(port->fds[lane], in) < 0)
		return -1;
	for (size_t i = 0; i < in->count; i++) {
		news |= lanes_count(&lan->lanes, &in->list[i].peer, now_ms);
		useful += responder_take_datagram(worker->responder, get_index(lan),
						  &in->list[i], lane == LANE_SLOW,
						  now_ms);
	}
	news |= lanes_expire(&lan->lanes, now_ms);
	if (news)
		steer_all(lan);
	return useful;
}

static void on_first_readable(evutil_socket_t fd, short what, void *user)
{
	struct port *port = user;

	(void)fd;
	(void)what;
	(void)read_lane(port, LANE_FIRST, clock_now_ms());
	responder_flush(port->lan->worker->responder);
}

static void rest(const struct port *port, int64_t delay_ms)
{
	event_del(port->readable[LANE_SLOW]);
	arm_timer(port->rest_timer, delay_ms);
}

static void on_slow_readable(evutil_socket_t fd, short what, void *user)
{
	struct port *port = user;
	struct responder *responder = port->lan->worker->responder;
	int64_t now_ms = clock_now_ms();

	(void)fd;
	(void)what;
	(void)read_lane(port, LANE_FIRST, now_ms);
	if (!responder_has_slow_room(responder, now_ms))
		rest(port, SLOW_FULL_MS);
	else if (read_lane(port, LANE_SLOW, now_ms) == 0)
		rest(port, SLOW_REST_MS);
	responder_flush(responder);
}

static void on_rest_timer(evutil_socket_t fd, short what, void *user)
{
	const struct port *port = user;

	(void)fd;
	(void)what;
	if (port->readable[LANE_SLOW] && event_add(port->readable[LANE_SLOW], NULL) < 0)
		log_error("pcp: cannot watch a socket");
}

/* Ports. */

static void close_port(struct port *port, int64_t now_ms)
{
	struct lan *lan = port->lan;

	responder_set_open(lan->worker->responder, get_index(lan), port->family, false,
			   now_ms);
	if (port->rest_timer)
		event_free(port->rest_timer);
	port->rest_timer = NULL;
	outlet_close(&port->outlet);
	for (int lane = 0; lane < LANES; lane++) {
		if (port->readable[lane])
			event_free(port->readable[lane]);
		port->readable[lane] = NULL;
		if (port->fds[lane] >= 0)
			close(port->fds[lane]);
		port->fds[lane] = -1;
	}
}

static int watch_port(struct port *port)
{
	static const event_callback_fn callbacks[LANES] = {on_first_readable,
							   on_slow_readable};
	struct event_base *base = port->lan->worker->base;

	port->rest_timer = evtimer_new(base, on_rest_timer, port);
	if (!port->rest_timer)
		return -ENOMEM;
	for (int lane = 0; lane < LANES; lane++) {
		port->readable[lane] =
			event_new(base, port->fds[lane], EV_READ | EV_PERSIST,
				  callbacks[lane], port);
		if (!port->readable[lane] || event_add(port->readable[lane], NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Errors: -errno, half open. */
static int try_open_port(struct port *port)
{
	struct lan *lan = port->lan;
	const struct datagram_port place = {
		.family = families[port->family],
		.ifindex = lan->ifindex,
		.port = NATPMP_PORT,
	};
	int error = lan->lanes.rate ? 0 : lanes_init(&lan->lanes);

	if (error == 0)
		error = datagram_open(&place, &port->fds[LANE_FIRST]);
	if (error == 0)
		error = datagram_open_second(port->fds[LANE_FIRST], &place,
					     &port->fds[LANE_SLOW]);
	if (error == 0)
		error = steer(lan, port);
	port->outlet.port = place;
	if (error == 0)
		error = outlet_open(&port->outlet, port->fds[LANE_FIRST]);
	return error == 0 ? watch_port(port) : error;
}

static void open_port(struct port *port, int64_t now_ms)
{
	struct lan *lan = port->lan;
	const char *name =
		responder_get_lan(lan->worker->responder, get_index(lan))->name;
	const char *by = port->family == RESPONDER_IPV6 ? " by IPv6" : "";
	int error = try_open_port(port);

	if (error == 0) {
		if (port->failing)
			log_notice("pcp: UDP port %d on %s is open now%s", NATPMP_PORT,
				   name, by);
		port->failing = false;
		responder_set_open(lan->worker->responder, get_index(lan), port->family,
				   true, now_ms);
		return;
	}
	close_port(port, now_ms);
	if (!port->failing && error == -EADDRINUSE)
		log_error("pcp: UDP port %d on %s is taken%s: is another NAT-PMP/PCP "
			  "server running? Trying again every %d s",
			  NATPMP_PORT, name, by, OPEN_RETRY_MS / 1000);
	else if (!port->failing)
		log_error("pcp: cannot open UDP port %d on %s%s: %s; trying again "
			  "every %d s",
			  NATPMP_PORT, name, by, strerror(-error),
			  OPEN_RETRY_MS / 1000);
	port->failing = true;
}

/* Close what a LAN has lost, or has at another interface now. */
static void close_lost_ports(struct lan *lan, int64_t now_ms)
{
	const struct responder *responder = lan->worker->responder;
	uint32_t ifindex = responder_get_lan(responder, get_index(lan))->ifindex;

	for (int family = 0; family < RESPONDER_FAMILIES; family++) {
		struct port *port = &lan->ports[family];

		if (port->fds[LANE_FIRST] >= 0 && lan->ifindex != ifindex)
			close_port(port, now_ms);
	}
	lan->ifindex = ifindex;
}

/* Make the ports of a LAN agree with what core said of it. */
static void update_lan(struct lan *lan, struct worker_ready *ready, int64_t now_ms)
{
	const struct responder *responder = lan->worker->responder;

	for (int family = 0; family < RESPONDER_FAMILIES; family++) {
		struct port *port = &lan->ports[family];

		if (!responder_is_wanted(responder, get_index(lan), port->family)) {
			close_port(port, now_ms);
			port->failing = false;
			continue;
		}
		if (port->fds[LANE_FIRST] < 0)
			open_port(port, now_ms);
		if (port->fds[LANE_FIRST] >= 0)
			ready->sockets++;
		else
			ready->failed++;
	}
}

static void tell_ready(struct worker *worker, const struct worker_ready *ready)
{
	worker->told = *ready;
	if (msg_channel_send(worker->channel, MSG_READY, ready, sizeof(*ready)) < 0)
		log_warning("pcp: core does not take messages");
}

/* Make the ports agree with what core said, and tell core. */
static void update_ports(struct worker *worker, bool changed, int64_t now_ms)
{
	struct worker_ready ready = {0};

	/* an interface may be another LAN's from now on */
	for (size_t i = 0; i < LANS_MAX; i++)
		close_lost_ports(&worker->lans[i], now_ms);
	for (size_t i = 0; i < LANS_MAX; i++)
		update_lan(&worker->lans[i], &ready, now_ms);
	if (ready.failed > 0)
		arm_timer(worker->retry_timer, OPEN_RETRY_MS);
	else
		event_del(worker->retry_timer);
	if (changed || ready.sockets != worker->told.sockets ||
	    ready.failed != worker->told.failed)
		tell_ready(worker, &ready);
	run_responder(worker, now_ms);
}

static void on_retry_timer(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	update_ports(user, false, clock_now_ms());
}

/* Messages of core. */

static void count_lans(struct worker *worker, uint32_t type, const void *body)
{
	struct worker_setup setup;

	if (type == MSG_SETUP) {
		memcpy(&setup, body, sizeof(setup));
		worker->lans_due = setup.lan_count;
	} else if (type == MSG_LAN && worker->lans_due > 0) {
		worker->lans_due--;
	}
}

static int on_message(void *user, uint32_t type, const void *body, size_t length,
		      int fd)
{
	struct worker *worker = user;
	int error = responder_take_message(worker->responder, type, body, length,
					   clock_now_ms());

	if (fd >= 0)
		close(fd);
	if (error == -ENOMEM)
		log_error("pcp: out of memory");
	else if (error != 0)
		log_error("pcp: message type=%u length=%zu from core makes no sense",
			  type, length);
	else
		count_lans(worker, type, body);
	return error;
}

static void on_drained(void *user)
{
	struct worker *worker = user;
	int64_t now_ms = clock_now_ms();

	responder_flush(worker->responder);
	if (worker->lans_due == 0 && responder_steal_changed(worker->responder))
		update_ports(worker, true, now_ms);
	else
		run_responder(worker, now_ms);
}

static void on_ended(void *user, int error)
{
	struct worker *worker = user;

	if (error != 0)
		log_error("pcp: channel to core broke: %s", strerror(-error));
	event_base_loopbreak(worker->base);
}

/* Life of the worker. */

static void stop(struct worker *worker)
{
	for (size_t i = 0; i < LANS_MAX; i++) {
		for (int family = 0; family < RESPONDER_FAMILIES; family++)
			close_port(&worker->lans[i].ports[family], clock_now_ms());
		lanes_fini(&worker->lans[i].lanes);
	}
	if (worker->due_timer)
		event_free(worker->due_timer);
	if (worker->retry_timer)
		event_free(worker->retry_timer);
	msg_channel_free(worker->channel);
	responder_free(worker->responder);
	free(worker);
}

static void init_lans(struct worker *worker)
{
	for (size_t i = 0; i < LANS_MAX; i++) {
		struct lan *lan = &worker->lans[i];

		lan->worker = worker;
		for (int family = 0; family < RESPONDER_FAMILIES; family++)
			lan->ports[family] = (struct port){
				.lan = lan,
				.family = (enum responder_family)family,
				.fds = {-1, -1},
				.outlet = {.ways = {{.fd = -1},
						    {.fd = -1},
						    {.fd = -1}}},
			};
	}
}

static struct worker *start(struct event_base *base, int fd)
{
	static const struct msg_handler handler = {on_message, on_drained, on_ended};
	static const struct responder_ops ops = {send_batch, ask_core};
	struct worker *worker = calloc(1, sizeof(*worker));

	if (worker)
		worker->responder = responder_new(&ops, worker);
	if (!worker || !worker->responder) {
		log_error("pcp: out of memory");
		free(worker);
		close(fd);
		return NULL;
	}
	worker->base = base;
	worker->due_ms = TIME_NEVER;
	init_lans(worker);
	worker->due_timer = evtimer_new(base, on_due_timer, worker);
	worker->retry_timer = evtimer_new(base, on_retry_timer, worker);
	worker->channel = msg_channel_new(base, fd, &handler, worker);
	if (!worker->channel)
		close(fd);
	if (!worker->channel || !worker->due_timer || !worker->retry_timer) {
		log_error("pcp: out of memory");
		stop(worker);
		return NULL;
	}
	return worker;
}

const struct worker_ops *worker_get_pcp(void)
{
	static const struct worker_ops ops = {
		.name = "pcp",
		.protocols = LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP,
		.start = start,
		.stop = stop,
	};

	return &ops;
}
