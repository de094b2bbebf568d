/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <event2/event.h>
#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/msg.h"
#include "protocols/http_server.h"
#include "protocols/igd_desc.h"
#include "protocols/ssdp_server.h"
#include "protocols/upnp_control.h"
#include "protocols/worker.h"

/* Seconds between attempts to open what could not be opened. */
#define RETRY_S 5

/* One LAN; its place in the array is lan_info.lan. */
struct upnp_lan {
	struct lan_info info; /* ifindex 0 = not there */
	struct ssdp_server *ssdp;
	struct http_server *http;
	bool ssdp_failed; /* and said so */
	bool http_failed;
};

struct worker {
	struct event_base *base;
	struct msg_channel *channel;
	struct event *retry;
	bool is_setup;
	bool changed; /* core shall hear how many sockets there are */
	struct worker_setup setup;
	struct wan_info wan;
	struct upnp_control *control;
	size_t site_count;
	struct igd_site *sites[UPNP_SITES_MAX];
	struct upnp_lan lans[LANS_MAX];
};

/* ---- sockets of a LAN ---- */

static size_t count_roots(const struct worker *worker, const struct lan_info *info)
{
	size_t count = 0;

	for (size_t i = 0; i < worker->site_count; i++)
		if (info->igd & worker->sites[i]->face->bit)
			count++;
	return count;
}

static bool has_ipv4(const struct lan_info *info)
{
	for (uint32_t i = 0; i < info->address_count; i++)
		if (addr_is_ipv4(&info->addresses[i].addr))
			return true;
	return false;
}

static bool is_wanted(const struct worker *worker, const struct lan_info *info)
{
	return worker->is_setup && info->ifindex != 0 &&
	       (info->protocols & LAN_PROTOCOL_UPNP) && has_ipv4(info) &&
	       count_roots(worker, info) > 0;
}

static int open_http(struct worker *worker, struct upnp_lan *lan)
{
	struct http_config config = {
		.base = worker->base,
		.lan = &lan->info,
		.port = worker->setup.http_port,
		.request_timeout_ms = HTTP_REQUEST_TIMEOUT_MS,
		.handler = upnp_control_get_handler(),
		.user = worker->control,
	};

	return http_server_open(&config, &lan->http);
}

static int open_ssdp(struct worker *worker, struct upnp_lan *lan)
{
	struct ssdp_config config = {
		.base = worker->base,
		.lan = &lan->info,
		.http_port = worker->setup.http_port,
		.strict = worker->setup.ssdp_strict,
		.boot_id = worker->setup.boot_id,
	};

	for (size_t i = 0; i < worker->site_count; i++) {
		const struct igd_site *site = worker->sites[i];

		if (!(lan->info.igd & site->face->bit))
			continue;
		config.roots[config.root_count++] = (struct ssdp_root){
			.targets = site->targets,
			.target_count = site->target_count,
			.path = site->documents[0].path,
			.config_id = site->config_id,
		};
	}
	return ssdp_server_open(&config, &lan->ssdp);
}

/* One line when it fails, one when it works again. */
static void report(const struct upnp_lan *lan, const char *what, int error,
		   bool *failed)
{
	if (error && !*failed)
		log_error("cannot open %s on %s: %s; trying again every %d s", what,
			  lan->info.name, strerror(-error), RETRY_S);
	else if (!error && *failed)
		log_notice("opened %s on %s", what, lan->info.name);
	*failed = error != 0;
}

/*
 * Open what is missing. Description and control come before discovery, so that nobody
 * is sent to a closed door.
 */
static void lan_open(struct worker *worker, struct upnp_lan *lan)
{
	static const struct timeval delay = {.tv_sec = RETRY_S};
	int error;

	if (!is_wanted(worker, &lan->info))
		return;
	if (!lan->http) {
		error = open_http(worker, lan);
		report(lan, "the TCP port of UPnP (http-port)", error,
		       &lan->http_failed);
		worker->changed = true;
	}
	if (lan->http && !lan->ssdp) {
		error = open_ssdp(worker, lan);
		report(lan, "UDP port 1900 (SSDP)", error, &lan->ssdp_failed);
		worker->changed = true;
	}
	if (!lan->http || !lan->ssdp)
		event_add(worker->retry, &delay);
}

static void lan_close_ssdp(struct upnp_lan *lan)
{
	ssdp_server_close(lan->ssdp);
	lan->ssdp = NULL;
	lan->ssdp_failed = false;
}

static void lan_close(struct upnp_lan *lan)
{
	lan_close_ssdp(lan);
	http_server_close(lan->http);
	lan->http = NULL;
	lan->http_failed = false;
}

static bool same_link(const struct lan_info *a, const struct lan_info *b)
{
	return a->ifindex == b->ifindex && a->igd == b->igd &&
	       memcmp(a->name, b->name, sizeof(a->name)) == 0;
}

static bool same_addresses(const struct lan_info *a, const struct lan_info *b)
{
	if (a->address_count != b->address_count)
		return false;
	for (uint32_t i = 0; i < a->address_count; i++)
		if (a->addresses[i].length != b->addresses[i].length ||
		    !addr_equal(&a->addresses[i].addr, &b->addresses[i].addr))
			return false;
	return true;
}

/* Byebye goes out while the old addresses are still known (SSDP-14, SSDP-15). */
static void lan_update(struct worker *worker, const struct lan_info *info)
{
	struct upnp_lan *lan = &worker->lans[info->lan];

	if (!is_wanted(worker, info) || !same_link(&lan->info, info))
		lan_close(lan);
	else if (!same_addresses(&lan->info, info))
		lan_close_ssdp(lan);
	lan->info = *info;
	if (info->ifindex != 0 && (info->protocols & LAN_PROTOCOL_UPNP) &&
	    count_roots(worker, info) == 0)
		log_warning("no UPnP on %s: there is no device for igd = %u",
			    info->name, (unsigned int)info->igd);
	lan_open(worker, lan);
	worker->changed = true;
}

static int send_ready(struct worker *worker)
{
	struct worker_ready ready = {0};

	for (size_t i = 0; i < LANS_MAX; i++) {
		const struct upnp_lan *lan = &worker->lans[i];

		if (!is_wanted(worker, &lan->info))
			continue;
		ready.sockets += (lan->http ? 1u : 0u) + (lan->ssdp ? 1u : 0u);
		ready.failed +=
			(lan->http_failed ? 1u : 0u) + (lan->ssdp_failed ? 1u : 0u);
	}
	return msg_channel_send(worker->channel, MSG_READY, &ready, sizeof(ready));
}

static void tell_core(struct worker *worker)
{
	if (!worker->is_setup || !worker->changed || !worker->channel)
		return;
	if (send_ready(worker) == 0)
		worker->changed = false;
}

static void on_retry(evutil_socket_t fd, short what, void *user)
{
	struct worker *worker = user;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < LANS_MAX; i++)
		lan_open(worker, &worker->lans[i]);
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

static int make_sites(struct worker *worker)
{
	struct upnp_control_config config = {
		.base = worker->base,
		.wan = &worker->wan,
		.reply_timeout_ms = UPNP_REPLY_TIMEOUT_MS,
		.ask = ask,
		.user = worker,
	};
	const struct igd_face *face;

	for (size_t i = 0; i < UPNP_SITES_MAX && (face = igd_face_get(i)); i++) {
		struct igd_site *site = igd_site_new(face, &worker->setup);

		if (!site)
			return -ENOMEM;
		config.sites[worker->site_count] = site;
		worker->sites[worker->site_count++] = site;
	}
	config.site_count = worker->site_count;
	worker->control = upnp_control_new(&config);
	return worker->control ? 0 : -ENOMEM;
}

static int take_setup(struct worker *worker, const void *body)
{
	int error;

	if (worker->is_setup)
		return -EPROTO;
	memcpy(&worker->setup, body, sizeof(worker->setup));
	error = make_sites(worker);
	if (error)
		return error;
	worker->is_setup = true;
	worker->changed = true;
	return 0;
}

static int take_wan(struct worker *worker, const void *body)
{
	memcpy(&worker->wan, body, sizeof(worker->wan));
	return 0;
}

static int take_lan(struct worker *worker, const void *body)
{
	struct lan_info info;

	memcpy(&info, body, sizeof(info));
	if (info.lan >= LANS_MAX || info.address_count > LAN_ADDRESSES_MAX ||
	    info.network_count > LAN_ADDRESSES_MAX ||
	    memchr(info.name, '\0', sizeof(info.name)) == NULL)
		return -EPROTO;
	lan_update(worker, &info);
	return 0;
}

/* Nothing of UPnP waits for this: a new address is told by MSG_LAN and MSG_WAN. */
static int take_announce(struct worker *worker, const void *body)
{
	(void)worker;
	(void)body;
	return 0;
}

static int take_reply(struct worker *worker, const void *body)
{
	struct reply reply;

	if (!worker->control)
		return -EPROTO;
	memcpy(&reply, body, sizeof(reply));
	upnp_control_take_reply(worker->control, &reply);
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
		{MSG_ANNOUNCE, sizeof(struct announce), take_announce},
		{MSG_REPLY, sizeof(struct reply), take_reply},
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
		lan_close(&worker->lans[i]);
	upnp_control_free(worker->control);
	for (size_t i = 0; i < worker->site_count; i++)
		igd_site_free(worker->sites[i]);
	msg_channel_free(worker->channel);
	if (worker->retry)
		event_free(worker->retry);
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
		worker->retry = evtimer_new(base, on_retry, worker);
		if (worker->retry)
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
