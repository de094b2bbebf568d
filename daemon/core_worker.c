/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Core's side of the workers: what they are told, what they ask, and that they may. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/admission.h"
#include "daemon/core_private.h"
#include "daemon/flow_times.h"
#include "daemon/link_speed.h"
#include "daemon/moment.h"
#include "daemon/wan.h"

/* Mapping Updates wait while the worker has as many messages to read. */
#define UPDATES_QUEUED_MAX (MSG_QUEUE_MAX / 4)
/* Pages of listings are refused while as many do: a page for each connection that there
 * may be is fewer. */
#define LISTS_QUEUED_MAX (MSG_QUEUE_MAX - MSG_QUEUE_MAX / 4)

/* Groups that take less are not waited for; others so long as that part of it. */
#define PAUSE_SLOW_MS 8
#define PAUSE_PART 8
#define PAUSE_MAX_MS 10

/* --- workers --- */

static void worker_end(struct core_worker *worker)
{
	msg_channel_free(worker->channel);
	worker->channel = NULL;
	worker->ready = false;
	worker->core->request_count = 0;
	/* the owner ends it already */
	if (!worker->renewing)
		worker->core->events->worker_ended(worker->core->user, worker->ops);
}

static bool worker_asks_stun(const struct core_worker *worker)
{
	return worker->ops && (worker->ops->protocols & WORKER_PROTOCOL_STUN) != 0;
}

static void worker_send(struct core_worker *worker, uint32_t type, const void *body,
			size_t length)
{
	int error;

	if (!worker->channel)
		return;
	error = msg_channel_send(worker->channel, type, body, length);
	if (error == 0)
		return;
	log_error("worker %s does not take messages: %s; it is restarted",
		  worker->ops->name, strerror(-error));
	worker_end(worker);
}

void core_worker_send_wan(struct core_worker *worker)
{
	const struct core *core = worker->core;
	const struct wan_choice *wan = &core->network.wan;
	const struct conf_wan *conf = &core->conf.wan;
	struct flow_times times = flow_times_read();
	uint64_t speed = link_speed_read(wan->ifindex);
	struct wan_info info;

	memset(&info, 0, sizeof(info));
	info.epoch_origin_ms = ledger_get_figures(core->ledger)->epoch_origin_ms;
	info.up_since_ms = ledger_get_meta(core->ledger)->up_since_ms;
	info.external = wan->external;
	info.bit_rate_up = conf->bit_rate_up > 0 ? conf->bit_rate_up : speed;
	info.bit_rate_down = conf->bit_rate_down > 0 ? conf->bit_rate_down : speed;
	info.nat = conf->nat;
	info.carrier = wan->carrier;
	info.pinholes = (uint8_t)conf->pinholes;
	info.flow_timeout_tcp_s = times.tcp_s;
	info.flow_timeout_udp_s = times.udp_s;
	if (!worker_asks_stun(worker))
		worker_send(worker, MSG_WAN, &info, sizeof(info));
}

void core_worker_ask_stun(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;
	struct core_worker *worker = NULL;
	struct stun_task task;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (core->workers[i].ready && worker_asks_stun(&core->workers[i]))
			worker = &core->workers[i];
	/* Without a worker it waits until there is one. */
	if (worker && core_stun_get_task(core, &task))
		worker_send(worker, MSG_STUN, &task, sizeof(task));
}

void core_worker_send_lan(struct core_worker *worker, const struct lan_info *lan)
{
	if (!worker_asks_stun(worker))
		worker_send(worker, MSG_LAN, lan, sizeof(*lan));
}

void core_worker_send_level(struct core_worker *worker)
{
	const struct log_info info = {
		.level = (uint32_t)worker->core->conf.global.log_level};

	worker_send(worker, MSG_LOG, &info, sizeof(info));
}

static void worker_send_table(struct core_worker *worker, const struct table_info *info)
{
	if (worker->ops && (worker->ops->protocols & LAN_PROTOCOL_UPNP) != 0)
		worker_send(worker, MSG_TABLE, info, sizeof(*info));
}

static void core_send_table(struct core *core)
{
	struct table_info info;

	core_table_take(core, &info);
	for (size_t i = 0; i < WORKERS_MAX; i++)
		worker_send_table(&core->workers[i], &info);
}

void core_worker_tell_table(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;

	(void)fd;
	(void)what;
	core->table_due = false;
	if (core_table_is_news(core))
		core_send_table(core);
}

static void worker_send_setup(struct core_worker *worker)
{
	const struct core *core = worker->core;
	const struct store_meta *meta = ledger_get_meta(core->ledger);
	struct worker_setup setup;

	memset(&setup, 0, sizeof(setup));
	memcpy(setup.uuid, meta->uuid, sizeof(setup.uuid));
	setup.boot_id = meta->boot_id;
	setup.http_port = core->conf.global.http_port;
	setup.ssdp_strict = core->conf.global.ssdp_strict;
	setup.pcp_opcodes = core->conf.global.pcp_opcodes;
	setup.ports_per_request = (uint16_t)core->conf.limits.ports_per_request;
	setup.lan_count = (uint16_t)core->network.lan_count;
	setup.requests_per_second = core->conf.limits.requests_per_second;
	setup.nat64 = core->conf.wan.nat64;
	(void)snprintf(setup.friendly_name, sizeof(setup.friendly_name), "%s",
		       core->conf.global.friendly_name);
	worker_send(worker, MSG_SETUP, &setup, sizeof(setup));
}

static int worker_lied(struct core_worker *worker, const char *about)
{
	log_error("worker %s sent a bad message (%s); it is ended", worker->ops->name,
		  about);
	return -EPROTO;
}

static void worker_refuse(struct core_worker *worker, const struct request *request,
			  enum result result)
{
	struct reply reply;

	memset(&reply, 0, sizeof(reply));
	reply.cookie = request->cookie;
	reply.op = request->op;
	reply.result = (uint8_t)result;
	reply.protocol = request->protocol;
	reply.internal_port = request->internal_port;
	worker_send(worker, MSG_REPLY, &reply, sizeof(reply));
}

static int worker_take_request(struct core_worker *worker, const void *body,
			       size_t length)
{
	struct core *core = worker->core;
	struct request *request = &core->requests[core->request_count];
	const char *lie;

	if (length != sizeof(*request))
		return worker_lied(worker, "wrong length");
	if (core->request_count == LEDGER_GROUP_MAX) {
		core->dropped++; /* cannot be: a wake-up brings fewer */
		return 0;
	}
	memcpy(request, body, sizeof(*request));
	lie = admission_check(&core->network, worker->ops->protocols, request);
	if (lie)
		return worker_lied(worker, lie);
	if (admission_is_host(&core->network, request))
		core->request_count++;
	else
		worker_refuse(worker, request, RESULT_BAD_CLIENT);
	return 0;
}

/* Those that clients talk to: every protocol is spoken. */
static bool core_are_workers_ready(const struct core *core)
{
	const unsigned int all =
		LAN_PROTOCOL_UPNP | LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP;
	unsigned int spoken = 0;

	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (core->workers[i].ready)
			spoken |= core->workers[i].ops->protocols;
	return (spoken & all) == all;
}

static int worker_take_told(struct core_worker *worker, const void *body, size_t length)
{
	struct stun_told told;

	if (!worker_asks_stun(worker))
		return worker_lied(worker, "wrong type");
	if (length != sizeof(told))
		return worker_lied(worker, "wrong length");
	memcpy(&told, body, sizeof(told));
	return core_stun_take(worker->core, &told)
		       ? 0
		       : worker_lied(worker, "an answer of no server");
}

static int worker_message(void *user, uint32_t type, const void *body, size_t length,
			  int fd)
{
	struct core_worker *worker = user;

	if (fd >= 0) {
		(void)close(fd);
		return worker_lied(worker, "a descriptor");
	}
	if (type == MSG_REQUEST)
		return worker_take_request(worker, body, length);
	if (type == MSG_STUN_TOLD)
		return worker_take_told(worker, body, length);
	if (type != MSG_READY)
		return worker_lied(worker, "wrong type");
	if (length != sizeof(worker->sockets))
		return worker_lied(worker, "wrong length");
	memcpy(&worker->sockets, body, sizeof(worker->sockets));
	worker->ready = true;
	if (worker->ops->protocols & LAN_PROTOCOL_PCP)
		lease_updates_continue(worker->core->updates);
	if (worker_asks_stun(worker))
		core_stun_worker_ready(worker->core);
	if (core_are_workers_ready(worker->core))
		core_set_serving(worker->core);
	if (worker->core->reload.active)
		event_active(worker->core->reload.timer, EV_TIMEOUT, 0);
	return 0;
}

/* Requests about the WAN are answered here: they concern no lease. */
static void core_answer_traffic(struct core *core, const struct request *request,
				struct reply *reply)
{
	struct link link;

	if (wan_read_traffic(core->wan, core->network.wan.ifindex, &link) != 0) {
		reply->result = RESULT_NO_ADDRESS;
		return;
	}
	reply->op = request->op;
	reply->octets_in = link.octets_in;
	reply->octets_out = link.octets_out;
	reply->packets_in = link.packets_in;
	reply->packets_out = link.packets_out;
}

/* One reply for each lease of the page, and one more. A worker that asks for more pages
 * than it reads shall not lose the channel for that. */
static void worker_send_list(struct core_worker *worker, const struct request *request,
			     const struct reply *decided, const struct store_time *at)
{
	struct reply page[REQUEST_LIST_MAX + 1];
	size_t count;

	if (!worker->channel)
		return;
	if (msg_channel_get_queued(worker->channel) > LISTS_QUEUED_MAX) {
		worker_refuse(worker, request, RESULT_RATE);
		return;
	}
	count = ledger_list(worker->core->ledger, request, decided, at, page);
	for (size_t i = 0; i < count; i++)
		worker_send(worker, MSG_REPLY, &page[i], sizeof(page[i]));
}

static void worker_send_reply(struct core_worker *worker, const struct request *request,
			      struct reply *reply, const struct store_time *at)
{
	if (request->op == REQUEST_LIST) {
		worker_send_list(worker, request, reply, at);
		return;
	}
	if (request->op == REQUEST_TRAFFIC)
		core_answer_traffic(worker->core, request, reply);
	worker_send(worker, MSG_REPLY, reply, sizeof(*reply));
}

/*
 * A firewall that writes its whole table for each change takes as long for one as for
 * many. So when clients came together they are given a part of that time to do so
 * again: what would be a small group and a large one is one.
 */
static unsigned int worker_get_pause_ms(size_t count, int64_t took_ms)
{
	if (count < 2 || took_ms < PAUSE_SLOW_MS)
		return 0;
	return took_ms < PAUSE_MAX_MS * PAUSE_PART
		       ? (unsigned int)(took_ms / PAUSE_PART)
		       : PAUSE_MAX_MS;
}

/*
 * The messages of one wake-up are a group: decide them, answer them. Whoever asks by
 * UPnP and has changed the table finds it changed when the answer is there.
 */
static void worker_drained(void *user)
{
	struct core_worker *worker = user;
	struct core *core = worker->core;
	struct store_time at = moment_now();
	size_t count = core->request_count;

	if (count == 0)
		return;
	core->request_count = 0;
	ledger_decide(core->ledger, core->requests, count, core->replies, &at);
	msg_channel_set_pause(worker->channel,
			      worker_get_pause_ms(count, clock_now_ms() - at.now_ms));
	if ((worker->ops->protocols & LAN_PROTOCOL_UPNP) != 0 &&
	    core_table_is_news(core))
		core_send_table(core);
	for (size_t i = 0; i < count; i++)
		worker_send_reply(worker, &core->requests[i], &core->replies[i], &at);
	core_follow_up(core);
}

static void worker_channel_ended(void *user, int error)
{
	struct core_worker *worker = user;

	if (error != 0 && error != -EPROTO)
		log_error("channel to worker %s broke: %s", worker->ops->name,
			  strerror(-error));
	worker_end(worker);
}

static const struct msg_handler worker_handler = {
	.message = worker_message,
	.drained = worker_drained,
	.ended = worker_channel_ended,
};

/* --- Mapping Updates --- */

static struct core_worker *core_get_pcp(struct core *core)
{
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (core->workers[i].ready &&
		    (core->workers[i].ops->protocols & LAN_PROTOCOL_PCP) != 0)
			return &core->workers[i];
	return NULL;
}

static bool updates_is_up(void *user)
{
	return core_get_pcp(user) != NULL;
}

/* Replies must never find the channel full. */
static bool updates_has_room(void *user)
{
	const struct core_worker *worker = core_get_pcp(user);

	return worker && msg_channel_get_queued(worker->channel) < UPDATES_QUEUED_MAX;
}

static void updates_send(void *user, const struct mapping_update *update)
{
	struct core_worker *worker = core_get_pcp(user);

	if (worker)
		worker_send(worker, MSG_UPDATE, update, sizeof(*update));
}

const struct updates_sink *core_worker_get_sink(void)
{
	static const struct updates_sink sink = {
		.is_up = updates_is_up,
		.has_room = updates_has_room,
		.send = updates_send,
	};

	return &sink;
}

struct core_worker *core_worker_find(struct core *core, const struct worker_ops *ops)
{
	for (size_t i = 0; i < WORKERS_MAX; i++) {
		if (!core->workers[i].ops)
			core->workers[i].ops = ops;
		if (core->workers[i].ops == ops)
			return &core->workers[i];
	}
	return NULL;
}

void core_worker_greet(struct core_worker *worker)
{
	const struct network *network = &worker->core->network;
	struct table_info info;

	if (worker_asks_stun(worker))
		return; /* it is told only what it is to ask */
	worker_send_setup(worker);
	core_worker_send_wan(worker);
	for (size_t i = 0; i < network->lan_count; i++)
		core_worker_send_lan(worker, &network->lans[i]);
	if ((worker->ops->protocols & LAN_PROTOCOL_UPNP) == 0)
		return;
	core_table_take(worker->core, &info);
	worker_send_table(worker, &info);
}

int core_worker_attach(struct core_worker *worker, int fd)
{
	struct msg_channel *channel =
		msg_channel_new(worker->core->base, fd, &worker_handler, worker);
	struct store_time at = moment_now();

	if (!channel)
		return -ENOMEM;
	msg_channel_free(worker->channel);
	worker->channel = channel;
	worker->ready = false;
	if (worker->renewing)
		worker->renewed++;
	worker->renewing = false;
	/* the first one has the number of the start */
	if (worker->attached++ > 0 && (worker->ops->protocols & LAN_PROTOCOL_UPNP) != 0)
		ledger_renew_boot_id(worker->core->ledger, &at);
	core_worker_greet(worker);
	return 0;
}
