/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/msg.h"
#include "protocols/announce.h"
#include "protocols/datagram.h"
#include "protocols/natpmp.h"
#include "protocols/pending.h"
#include "protocols/throttle.h"
#include "protocols/worker.h"

/* How often a LAN whose socket could not be opened is tried again. */
#define OPEN_RETRY_MS 2000
/* Longest reply: an unknown opcode comes back whole (NP-16), but not more than the
 * longest datagram that any client of this port may send (PCP-1). */
#define REPLY_MAX 1100

/* 224.0.0.1: every host of the link. */
static const struct ip_addr all_hosts = {
	{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 224, 0, 0, 1}};

/* One LAN, its place is lan_info.lan. */
struct lan {
	struct worker *worker;
	struct lan_info info; /* ifindex 0 = no such LAN now */
	int fd;		      /* -1 = not served */
	struct event *readable;
	struct announce_series series;
	bool failing; /* it should be served but could not be opened; logged */
};

struct worker {
	struct event_base *base;
	struct msg_channel *channel;
	struct event *announce_timer;
	struct event *retry_timer;
	struct pending *pending;
	struct throttle throttle;
	struct log_limit full_limit;
	struct wan_info wan; /* nat is 0 until core has spoken */
	bool changed; /* core spoke of WAN or LANs: look at the sockets, tell it */
	struct worker_ready told;
	struct lan lans[LANS_MAX];
	struct datagram_batch in;
	struct datagram_batch out;
};

static void arm_timer(struct event *timer, int64_t delay_ms)
{
	struct timeval delay;

	if (delay_ms < 0)
		delay_ms = 0;
	delay.tv_sec = delay_ms / 1000;
	delay.tv_usec = delay_ms % 1000 * 1000;
	if (event_add(timer, &delay) < 0)
		log_error("nat-pmp: cannot arm a timer");
}

/* SSSoE, the same formula as core's so that it never goes back between them (NP-20). */
static uint32_t get_epoch_s(const struct worker *worker, int64_t now_ms)
{
	int64_t epoch_s = (now_ms - worker->wan.epoch_origin_ms) / 1000;

	if (epoch_s < 0)
		return 0;
	return epoch_s < UINT32_MAX ? (uint32_t)epoch_s : UINT32_MAX;
}

/* Sending. Replies wait in worker->out until the end of the wake-up. */

static void flush(struct worker *worker)
{
	if (worker->out.count == 0)
		return;
	for (size_t i = 0; i < LANS_MAX; i++)
		if (worker->lans[i].fd >= 0)
			datagram_send(worker->lans[i].fd, worker->lans[i].info.ifindex,
				      &worker->out);
	worker->out.count = 0;
}

/* A place in the burst, with the way filled in; the caller adds bytes and length. */
static struct datagram *add_datagram(struct worker *worker,
				     const struct pending_path *path)
{
	struct datagram *out;

	if (worker->out.count == DATAGRAM_BATCH_MAX)
		flush(worker);
	out = &worker->out.list[worker->out.count++];
	out->ifindex = path->ifindex;
	out->local = path->local;
	out->peer = path->peer;
	out->peer_port = path->peer_port;
	out->length = 0;
	return out;
}

static void send_reply(struct worker *worker, const struct pending_path *path,
		       const struct natpmp_reply *reply)
{
	struct datagram *out = add_datagram(worker, path);

	out->length = (uint16_t)natpmp_encode_reply(reply, out->bytes, REPLY_MAX);
}

/* Requests. */

static void log_full(struct worker *worker, int64_t now_ms)
{
	unsigned int suppressed;

	if (log_limit_pass(&worker->full_limit, now_ms, &suppressed))
		log_warning("nat-pmp: request dropped, %d are in flight already "
			    "suppressed=%u",
			    PENDING_MAX, suppressed);
}

static void ask_core(struct worker *worker, const struct lan *lan,
		     const struct pending_entry *entry, int64_t now_ms)
{
	struct pending_entry dropped;
	struct request request;
	struct natpmp_reply reply;

	if (natpmp_to_request(&entry->asked, &request) != RESULT_OK) {
		if (!throttle_pass(&worker->throttle, &entry->path.peer, now_ms))
			return;
		reply = natpmp_refuse(&entry->asked, RESULT_BAD_PORT,
				      get_epoch_s(worker, now_ms));
		send_reply(worker, &entry->path, &reply);
		return;
	}
	request.lan = lan->info.lan;
	request.ifindex = lan->info.ifindex;
	request.client = entry->path.peer; /* there is no third party here (NP-4) */
	request.internal = entry->path.peer;
	request.cookie = pending_add(worker->pending, entry, now_ms);
	if (request.cookie == 0) {
		log_full(worker, now_ms);
		return;
	}
	/* Core cannot take it: the client asks again. */
	if (msg_channel_send(worker->channel, MSG_REQUEST, &request, sizeof(request)) <
		    0 &&
	    pending_take(worker->pending, request.cookie, &dropped))
		log_full(worker, now_ms);
}

/* By interface, destination and source, each packet (NP-2, NP-3). Broadcast, multicast
 * and the external address are none of our addresses on the LAN. */
static bool is_acceptable(const struct lan *lan, const struct datagram *in)
{
	return in->ifindex == lan->info.ifindex && !in->truncated &&
	       in->length <= REPLY_MAX && in->peer_port != 0 &&
	       lan_info_has_address(&lan->info, &in->local) &&
	       lan_info_has_host(&lan->info, &in->peer);
}

static void handle_datagram(struct worker *worker, const struct lan *lan,
			    const struct datagram *in, int64_t now_ms)
{
	struct pending_entry entry = {.path = {.ifindex = in->ifindex,
					       .local = in->local,
					       .peer = in->peer,
					       .peer_port = in->peer_port}};
	enum natpmp_kind kind =
		natpmp_decode_request(in->bytes, in->length, &entry.asked);
	uint32_t epoch_s = get_epoch_s(worker, now_ms);
	struct natpmp_reply reply;
	struct datagram *out;

	if (kind == NATPMP_MAP) {
		ask_core(worker, lan, &entry, now_ms);
		return;
	}
	if (kind == NATPMP_SILENCE ||
	    !throttle_pass(&worker->throttle, &entry.path.peer, now_ms))
		return;
	switch (kind) {
	case NATPMP_SILENCE:
	case NATPMP_MAP:
		return;
	case NATPMP_BAD_VERSION:
		/* Where PCP is served this datagram is PCP's (NP-15); until then the
		 * client is sent back to version 0 (NP-14). */
		out = add_datagram(worker, &entry.path);
		out->length = (uint16_t)natpmp_encode_bad_version(epoch_s, out->bytes,
								  REPLY_MAX);
		return;
	case NATPMP_BAD_OPCODE:
		out = add_datagram(worker, &entry.path);
		out->length = (uint16_t)natpmp_encode_bad_opcode(
			in->bytes, in->length, epoch_s, out->bytes, REPLY_MAX);
		return;
	case NATPMP_ADDRESS:
		reply = natpmp_tell_address(&worker->wan.external, epoch_s);
		send_reply(worker, &entry.path, &reply);
		return;
	}
}

static void on_readable(evutil_socket_t fd, short what, void *user)
{
	const struct lan *lan = user;
	struct worker *worker = lan->worker;
	int64_t now_ms = clock_now_ms();

	(void)what;
	if (datagram_receive(fd, &worker->in) < 0)
		return;
	for (size_t i = 0; i < worker->in.count; i++)
		if (is_acceptable(lan, &worker->in.list[i]))
			handle_datagram(worker, lan, &worker->in.list[i], now_ms);
	flush(worker);
}

/* Announcements. */

/* One copy from each of our addresses on the LAN: clients believe only the address that
 * is their gateway (NP-55). The epoch and the address are those of now (NP-57, NP-63).
 */
static void announce(struct worker *worker, const struct lan *lan, int64_t now_ms)
{
	struct pending_path path = {
		.ifindex = lan->info.ifindex,
		.peer = all_hosts,
		.peer_port = NATPMP_ANNOUNCE_PORT,
	};
	struct natpmp_reply reply =
		natpmp_tell_address(&worker->wan.external, get_epoch_s(worker, now_ms));

	for (uint32_t i = 0; i < lan->info.address_count; i++) {
		path.local = lan->info.addresses[i].addr;
		if (addr_is_ipv4(&path.local))
			send_reply(worker, &path, &reply);
	}
}

static void run_announcements(struct worker *worker, int64_t now_ms)
{
	int64_t next_ms = TIME_NEVER;

	for (size_t i = 0; i < LANS_MAX; i++) {
		struct lan *lan = &worker->lans[i];

		if (lan->fd < 0)
			continue;
		if (announce_take_due(&lan->series, now_ms))
			announce(worker, lan, now_ms);
		if (announce_get_next_ms(&lan->series) < next_ms)
			next_ms = announce_get_next_ms(&lan->series);
	}
	flush(worker);
	if (next_ms == TIME_NEVER)
		event_del(worker->announce_timer);
	else
		arm_timer(worker->announce_timer, next_ms - now_ms);
}

static void restart_announcements(struct worker *worker, int64_t now_ms)
{
	for (size_t i = 0; i < LANS_MAX; i++)
		announce_start(&worker->lans[i].series, now_ms);
}

static void on_announce_timer(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	run_announcements(user, clock_now_ms());
}

/* Sockets. */

static void close_lan(struct lan *lan)
{
	if (lan->readable)
		event_free(lan->readable);
	lan->readable = NULL;
	if (lan->fd >= 0)
		close(lan->fd);
	lan->fd = -1;
}

/* Without address translation there is no socket at all: the kernel's port unreachable
 * tells clients at once (NP-5, NP-6). */
static bool is_wanted(const struct worker *worker, const struct lan *lan)
{
	return worker->wan.nat != 0 && lan->info.ifindex != 0 &&
	       (lan->info.protocols & LAN_PROTOCOL_NATPMP) != 0;
}

static int try_open_lan(struct worker *worker, struct lan *lan)
{
	int error = datagram_open_ipv4(lan->info.ifindex, NATPMP_PORT, &lan->fd);

	if (error != 0)
		return error;
	lan->readable = event_new(worker->base, lan->fd, EV_READ | EV_PERSIST,
				  on_readable, lan);
	if (lan->readable && event_add(lan->readable, NULL) == 0)
		return 0;
	close_lan(lan);
	return -ENOMEM;
}

static void open_lan(struct worker *worker, struct lan *lan, int64_t now_ms)
{
	int error = try_open_lan(worker, lan);

	if (error == 0) {
		if (lan->failing)
			log_notice("nat-pmp: UDP port %d on %s is open now",
				   NATPMP_PORT, lan->info.name);
		lan->failing = false;
		announce_start(&lan->series, now_ms);
		return;
	}
	if (!lan->failing && error == -EADDRINUSE)
		log_error("nat-pmp: UDP port %d on %s is taken: is another NAT-PMP/PCP "
			  "server running? Trying again every %d s",
			  NATPMP_PORT, lan->info.name, OPEN_RETRY_MS / 1000);
	else if (!lan->failing)
		log_error("nat-pmp: cannot open UDP port %d on %s: %s; trying again "
			  "every %d s",
			  NATPMP_PORT, lan->info.name, strerror(-error),
			  OPEN_RETRY_MS / 1000);
	lan->failing = true;
}

static void tell_ready(struct worker *worker, const struct worker_ready *ready)
{
	worker->told = *ready;
	if (msg_channel_send(worker->channel, MSG_READY, ready, sizeof(*ready)) < 0)
		log_warning("nat-pmp: core does not take messages");
}

/* Make the sockets agree with what core said, and tell core. */
static void update_sockets(struct worker *worker, int64_t now_ms)
{
	struct worker_ready ready = {0};

	for (size_t i = 0; i < LANS_MAX; i++) {
		struct lan *lan = &worker->lans[i];

		if (!is_wanted(worker, lan)) {
			close_lan(lan);
			lan->failing = false;
			continue;
		}
		if (lan->fd < 0)
			open_lan(worker, lan, now_ms);
		if (lan->fd >= 0)
			ready.sockets++;
		else
			ready.failed++;
	}
	if (ready.failed > 0)
		arm_timer(worker->retry_timer, OPEN_RETRY_MS);
	else
		event_del(worker->retry_timer);
	if (worker->changed || ready.sockets != worker->told.sockets ||
	    ready.failed != worker->told.failed)
		tell_ready(worker, &ready);
	worker->changed = false;
	run_announcements(worker, now_ms);
}

static void on_retry_timer(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	update_sockets(user, clock_now_ms());
}

/* Messages of core. */

static int take_wan(struct worker *worker, const struct wan_info *wan)
{
	bool news = !addr_equal(&wan->external, &worker->wan.external) ||
		    wan->epoch_origin_ms != worker->wan.epoch_origin_ms;

	worker->wan = *wan;
	worker->changed = true;
	/* NP-55: address acquired, changed or lost (NP-60), or state lost. */
	if (news)
		restart_announcements(worker, clock_now_ms());
	return 0;
}

static int take_lan(struct worker *worker, const struct lan_info *info)
{
	struct lan *lan;

	if (info->lan >= LANS_MAX || info->address_count > LAN_ADDRESSES_MAX ||
	    info->network_count > LAN_ADDRESSES_MAX ||
	    memchr(info->name, '\0', sizeof(info->name)) == NULL)
		return -EPROTO;
	lan = &worker->lans[info->lan];
	if (info->ifindex != lan->info.ifindex)
		close_lan(lan);
	/* A new address of ours is one that clients have heard nothing from yet. */
	if (info->address_count != lan->info.address_count ||
	    memcmp(info->addresses, lan->info.addresses, sizeof(info->addresses)) != 0)
		announce_start(&lan->series, clock_now_ms());
	lan->info = *info;
	worker->changed = true;
	return 0;
}

static int take_reply(struct worker *worker, const struct reply *reply)
{
	struct pending_entry entry;
	const struct lan *lan = NULL;
	struct natpmp_reply answer;

	if (reply->result >= RESULT_COUNT)
		return -EPROTO;
	/* Answered too late, or for a LAN or an address that is no longer served. */
	if (!pending_take(worker->pending, reply->cookie, &entry))
		return 0;
	for (size_t i = 0; i < LANS_MAX && !lan; i++)
		if (worker->lans[i].fd >= 0 &&
		    worker->lans[i].info.ifindex == entry.path.ifindex)
			lan = &worker->lans[i];
	if (!lan || !lan_info_has_address(&lan->info, &entry.path.local))
		return 0;
	answer = natpmp_from_reply(&entry.asked, reply);
	send_reply(worker, &entry.path, &answer);
	return 0;
}

/* Bodies are copied: a struct needs its alignment. */
static int take_message(struct worker *worker, uint32_t type, const void *body,
			size_t length)
{
	union {
		struct worker_setup setup;
		struct wan_info wan;
		struct lan_info lan;
		struct announce announce;
		struct reply reply;
	} copy;

	if (length <= sizeof(copy))
		memcpy(&copy, body, length);
	switch ((enum msg_type)type) {
	case MSG_SETUP: /* nothing in it for us */
		return length == sizeof(copy.setup) ? 0 : -EPROTO;
	case MSG_WAN:
		return length == sizeof(copy.wan) ? take_wan(worker, &copy.wan)
						  : -EPROTO;
	case MSG_LAN:
		return length == sizeof(copy.lan) ? take_lan(worker, &copy.lan)
						  : -EPROTO;
	case MSG_ANNOUNCE:
		if (length != sizeof(copy.announce))
			return -EPROTO;
		restart_announcements(worker, clock_now_ms());
		worker->changed = true;
		return 0;
	case MSG_REPLY:
		return length == sizeof(copy.reply) ? take_reply(worker, &copy.reply)
						    : -EPROTO;
	case MSG_REQUEST:
	case MSG_READY:
		break;
	}
	return -EPROTO;
}

static int on_message(void *user, uint32_t type, const void *body, size_t length,
		      int fd)
{
	int error = take_message(user, type, body, length);

	if (fd >= 0)
		close(fd);
	if (error != 0)
		log_error(
			"nat-pmp: message type=%u length=%zu from core makes no sense",
			type, length);
	return error;
}

static void on_drained(void *user)
{
	struct worker *worker = user;

	flush(worker);
	if (worker->changed)
		update_sockets(worker, clock_now_ms());
}

static void on_ended(void *user, int error)
{
	struct worker *worker = user;

	if (error != 0)
		log_error("nat-pmp: channel to core broke: %s", strerror(-error));
	event_base_loopbreak(worker->base);
}

/* Life of the worker. */

static void stop(struct worker *worker)
{
	for (size_t i = 0; i < LANS_MAX; i++)
		close_lan(&worker->lans[i]);
	if (worker->announce_timer)
		event_free(worker->announce_timer);
	if (worker->retry_timer)
		event_free(worker->retry_timer);
	msg_channel_free(worker->channel);
	pending_free(worker->pending);
	free(worker);
}

static struct worker *start(struct event_base *base, int fd)
{
	static const struct msg_handler handler = {on_message, on_drained, on_ended};
	struct worker *worker = calloc(1, sizeof(*worker));

	if (!worker) {
		log_error("nat-pmp: out of memory");
		close(fd);
		return NULL;
	}
	worker->base = base;
	for (size_t i = 0; i < LANS_MAX; i++) {
		worker->lans[i].worker = worker;
		worker->lans[i].fd = -1;
	}
	worker->pending = pending_new();
	worker->announce_timer = evtimer_new(base, on_announce_timer, worker);
	worker->retry_timer = evtimer_new(base, on_retry_timer, worker);
	worker->channel = msg_channel_new(base, fd, &handler, worker);
	if (!worker->channel)
		close(fd);
	if (!worker->channel || !worker->pending || !worker->announce_timer ||
	    !worker->retry_timer) {
		log_error("nat-pmp: out of memory");
		stop(worker);
		return NULL;
	}
	return worker;
}

const struct worker_ops *worker_get_pcp(void)
{
	static const struct worker_ops ops = {
		.name = "pcp",
		.protocols = LAN_PROTOCOL_NATPMP,
		.start = start,
		.stop = stop,
	};

	return &ops;
}
