/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <event2/event.h>
#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/msg.h"
#include "protocols/gena_client.h"
#include "protocols/igd_desc.h"
#include "protocols/upnp_control.h"
#include "protocols/upnp_events.h"
#include "protocols/upnp_lan.h"
#include "protocols/worker.h"

struct worker {
	struct event_base *base;
	struct msg_channel *channel;
	bool is_setup;
	bool changed;	       /* core shall hear how many sockets there are */
	unsigned int lans_due; /* that core is about to tell: ready comes after them */
	struct worker_setup setup;
	struct wan_info wan;
	struct table_info table;
	struct upnp_events *events;
	struct upnp_offer offer;
	struct upnp_lan lans[LANS_MAX]; /* by lan_info.lan */
};

static int send_ready(struct worker *worker)
{
	struct worker_ready ready = {0};

	for (size_t i = 0; i < LANS_MAX; i++)
		upnp_lan_count(&worker->lans[i], &ready);
	return msg_channel_send(worker->channel, MSG_READY, &ready, sizeof(ready));
}

static void tell_core(struct worker *worker)
{
	if (!worker->is_setup || !worker->changed || !worker->channel ||
	    worker->lans_due > 0)
		return;
	if (send_ready(worker) == 0)
		worker->changed = false;
}

static void on_retry(evutil_socket_t fd, short what, void *user)
{
	struct worker *worker = user;

	(void)fd;
	(void)what;
	for (size_t i = 0; worker->is_setup && i < LANS_MAX; i++)
		if (upnp_lan_open(&worker->lans[i], &worker->offer))
			worker->changed = true;
	tell_core(worker);
}

/* ---- messages from core ---- */

static int ask(void *user, const struct request *request)
{
	struct worker *worker = user;

	if (!worker->channel)
		return -ENOTCONN;
	return msg_channel_send(worker->channel, MSG_REQUEST, request,
				sizeof(*request));
}

static int make_events(struct worker *worker)
{
	const struct upnp_events_config config = {
		.base = worker->base,
		.wan = &worker->wan,
		.table = &worker->table,
		.delivery_timeout_ms = GENA_DELIVERY_TIMEOUT_MS,
	};

	worker->events = upnp_events_new(&config);
	return worker->events ? 0 : -ENOMEM;
}

static int make_sites(struct worker *worker)
{
	struct upnp_control_config config = {
		.base = worker->base,
		.wan = &worker->wan,
		.table = &worker->table,
		.reply_timeout_ms = UPNP_REPLY_TIMEOUT_MS,
		.events = worker->events,
		.ask = ask,
		.user = worker,
	};
	struct upnp_offer *offer = &worker->offer;
	const struct igd_face *face;

	for (size_t i = 0; i < UPNP_SITES_MAX && (face = igd_face_get(i)); i++) {
		struct igd_site *site = igd_site_new(face, &worker->setup);

		if (!site)
			return -ENOMEM;
		config.sites[offer->site_count] = site;
		offer->sites[offer->site_count++] = site;
	}
	config.site_count = offer->site_count;
	offer->control = upnp_control_new(&config);
	return offer->control ? 0 : -ENOMEM;
}

static int take_setup(struct worker *worker, const void *body)
{
	int error;

	if (worker->is_setup)
		return -EPROTO;
	memcpy(&worker->setup, body, sizeof(worker->setup));
	error = make_events(worker);
	if (!error)
		error = make_sites(worker);
	if (error)
		return error;
	worker->is_setup = true;
	worker->lans_due = worker->setup.lan_count;
	worker->changed = true;
	return 0;
}

static int take_wan(struct worker *worker, const void *body)
{
	memcpy(&worker->wan, body, sizeof(worker->wan));
	if (worker->events)
		upnp_events_take_wan(worker->events);
	return 0;
}

static int take_table(struct worker *worker, const void *body)
{
	memcpy(&worker->table, body, sizeof(worker->table));
	if (worker->events)
		upnp_events_take_table(worker->events);
	return 0;
}

static int take_lan(struct worker *worker, const void *body)
{
	struct lan_info info;
	struct upnp_lan *lan;
	unsigned int left;

	memcpy(&info, body, sizeof(info));
	if (info.lan >= LANS_MAX || info.address_count > LAN_ADDRESSES_MAX ||
	    info.network_count > LAN_ADDRESSES_MAX ||
	    memchr(info.name, '\0', sizeof(info.name)) == NULL)
		return -EPROTO;
	if (!worker->is_setup)
		return -EPROTO;
	lan = &worker->lans[info.lan];
	left = upnp_lan_update(lan, &info, &worker->offer);
	if (left & UPNP_LEFT_IPV4)
		upnp_events_end(worker->events, &lan->info, AF_INET);
	if (left & UPNP_LEFT_IPV6)
		upnp_events_end(worker->events, &lan->info, AF_INET6);
	upnp_events_take_lan(worker->events, &lan->info);
	if (worker->lans_due > 0)
		worker->lans_due--;
	worker->changed = true;
	return 0;
}

/* Nothing of UPnP waits for this: a new address is told by MSG_LAN and MSG_WAN. */
static int take_announce(struct worker *worker, const void *body)
{
	(void)worker;
	(void)body;
	return 0;
}

static int take_log(struct worker *worker, const void *body)
{
	struct log_info info;

	(void)worker;
	memcpy(&info, body, sizeof(info));
	return log_info_apply(&info) ? 0 : -EPROTO;
}

static int take_reply(struct worker *worker, const void *body)
{
	struct reply reply;

	if (!worker->is_setup)
		return -EPROTO;
	memcpy(&reply, body, sizeof(reply));
	upnp_control_take_reply(worker->offer.control, &reply);
	return 0;
}

static int on_message(void *user, uint32_t type, const void *body, size_t length,
		      int fd)
{
	static const struct {
		uint32_t type;
		size_t length;
		int (*take)(struct worker *worker, const void *body);
	} rows[] = {
		{MSG_SETUP, sizeof(struct worker_setup), take_setup},
		{MSG_WAN, sizeof(struct wan_info), take_wan},
		{MSG_LAN, sizeof(struct lan_info), take_lan},
		{MSG_TABLE, sizeof(struct table_info), take_table},
		{MSG_ANNOUNCE, sizeof(struct announce), take_announce},
		{MSG_REPLY, sizeof(struct reply), take_reply},
		{MSG_LOG, sizeof(struct log_info), take_log},
	};
	int error = -EPROTO;

	if (fd >= 0)
		close(fd);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].type == type && rows[i].length == length)
			error = rows[i].take(user, body);
	if (error)
		log_error("message from core not understood: type %u, %zu octets: %s",
			  type, length, strerror(-error));
	return error;
}

static void on_drained(void *user)
{
	tell_core(user);
}

static void on_ended(void *user, int error)
{
	struct worker *worker = user;

	if (error)
		log_error("channel to core broke: %s", strerror(-error));
	msg_channel_free(worker->channel);
	worker->channel = NULL;
	event_base_loopbreak(worker->base);
}

/* ---- life ---- */

static void upnp_stop(struct worker *worker)
{
	if (!worker)
		return;
	for (size_t i = 0; i < LANS_MAX; i++)
		upnp_lan_close(&worker->lans[i]);
	upnp_control_free(worker->offer.control);
	upnp_events_free(worker->events);
	for (size_t i = 0; i < worker->offer.site_count; i++)
		igd_site_free(worker->offer.sites[i]);
	msg_channel_free(worker->channel);
	if (worker->offer.retry)
		event_free(worker->offer.retry);
	free(worker);
}

static struct worker *upnp_start(struct event_base *base, int fd)
{
	static const struct msg_handler handler = {
		.message = on_message,
		.drained = on_drained,
		.ended = on_ended,
	};
	struct worker *worker = calloc(1, sizeof(*worker));

	xmlInitParser(); /* now, as it may look at the environment */
	if (worker) {
		worker->base = base;
		worker->offer.base = base;
		worker->offer.setup = &worker->setup;
		worker->offer.retry = evtimer_new(base, on_retry, worker);
		if (worker->offer.retry)
			worker->channel = msg_channel_new(base, fd, &handler, worker);
	}
	if (!worker || !worker->channel) {
		log_error("worker upnp cannot start: out of memory");
		upnp_stop(worker);
		close(fd);
		return NULL;
	}
	return worker;
}

const struct worker_ops *worker_get_upnp(void)
{
	static const struct worker_ops ops = {
		.name = "upnp",
		.protocols = LAN_PROTOCOL_UPNP,
		.start = upnp_start,
		.stop = upnp_stop,
	};

	return &ops;
}
