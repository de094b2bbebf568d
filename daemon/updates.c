/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/updates.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/moment.h"
#include "daemon/table.h"

/* Leases looked at in one turn of the loop: requests come in between. */
#define TURN_MAX 64
/* Between turns: some 5000 a second, so that those that the worker has still to repeat,
 * for 750 ms, are fewer than it can keep. */
#define TURN_MS 12
/* When the worker has more to read than it should, or the kernel does not have the new
 * address yet. */
#define RETRY_MS 100

struct updates {
	struct ledger *ledger;
	const struct network *network;
	const struct updates_sink *sink;
	void *user;
	struct event *timer;
	uint64_t *ids; /* those to end first, then those to tell */
	size_t count;
	size_t at; /* the next */
};

/* --- what is told --- */

static bool updates_find_client(const struct lease *lease,
				const struct network *network)
{
	const struct lan_info *lan;

	if (lease->origin != ORIGIN_PCP || lease->client_port == 0 ||
	    lease->lan >= network->lan_count)
		return false;
	lan = &network->lans[lease->lan];
	return lan->ifindex != 0 && (lan->protocols & LAN_PROTOCOL_PCP) != 0 &&
	       lan_info_has_host(lan, &lease->client);
}

bool lease_updates_fill(const struct lease *lease, const struct network *network,
			struct mapping_update *out)
{
	if (!updates_find_client(lease, network))
		return false;
	memset(out, 0, sizeof(*out));
	out->lan = lease->lan;
	out->op = lease_is_peer(lease) ? REQUEST_PEER : REQUEST_MAP;
	out->result = RESULT_OK;
	out->protocol = lease->protocol;
	memcpy(out->nonce, lease->nonce, sizeof(out->nonce));
	out->client_port = lease->client_port;
	out->internal_port = lease->internal_port;
	out->external_port = lease->external_port;
	out->client = lease->client;
	out->server = lease->server;
	out->internal = lease->internal;
	out->external = addr_is_ipv4(&lease->internal) ? network->wan.external
						       : lease->internal;
	out->remote = lease->remote;
	out->remote_port = lease->remote_port;
	out->filter_count = lease->filter_count;
	memcpy(out->filters, lease->filters, sizeof(out->filters));
	return true;
}

static uint32_t lease_get_left_s(const struct lease *lease, int64_t now_ms)
{
	int64_t left_ms = lease->expires_ms - now_ms;

	if (lease->expires_ms == TIME_NEVER)
		return UINT32_MAX;
	return left_ms > 0 ? (uint32_t)((left_ms + 999) / 1000) : 0;
}

void lease_updates_tell_end(struct updates *updates, const struct lease *lease,
			    enum lease_end why)
{
	struct mapping_update update;

	if (why == LEASE_END_CLIENT || why == LEASE_END_TIME ||
	    !lease_updates_fill(lease, updates->network, &update) ||
	    !updates->sink->is_up(updates->user) ||
	    !updates->sink->has_room(updates->user))
		return;
	update.result = why == LEASE_END_ADDRESS ? RESULT_CONFLICT : RESULT_OK;
	updates->sink->send(updates->user, &update);
}

/* --- all of them, a few at a time --- */

static void updates_arm(struct updates *updates, int delay_ms)
{
	const struct timeval delay = {.tv_usec = (suseconds_t)delay_ms * 1000};

	(void)event_add(updates->timer, &delay);
}

/* It was promised an address that is gone: no other will do. */
static bool lease_is_void(const struct lease *lease)
{
	return lease->origin == ORIGIN_PCP && lease->exact &&
	       addr_is_ipv4(&lease->internal);
}

static void updates_send(struct updates *updates, const struct lease *lease,
			 int64_t now_ms)
{
	struct mapping_update update;

	if (!lease_updates_fill(lease, updates->network, &update) ||
	    addr_is_none(&update.external))
		return;
	update.lifetime_s = lease_get_left_s(lease, now_ms);
	if (update.lifetime_s > 0)
		updates->sink->send(updates->user, &update);
}

void lease_updates_tell(struct updates *updates, const struct lease *lease,
			int64_t now_ms)
{
	if (updates->sink->is_up(updates->user) &&
	    updates->sink->has_room(updates->user))
		updates_send(updates, lease, now_ms);
}

/* What is told shall be what the kernel does. */
static bool updates_must_wait(const struct updates *updates)
{
	return ledger_get_figures(updates->ledger)->backend_failed;
}

/* True: done with this lease; false: later. */
static bool updates_take(struct updates *updates, uint64_t id,
			 const struct store_time *at)
{
	const struct lease *lease =
		table_get_by_id(ledger_get_table(updates->ledger), id);

	if (!lease)
		return true; /* has ended meanwhile */
	if (lease_is_void(lease))
		return ledger_revoke(updates->ledger, id, LEASE_END_ADDRESS, at) ==
			       RESULT_OK ||
		       !updates_must_wait(updates);
	if (!updates->sink->is_up(updates->user))
		return false;
	updates_send(updates, lease, at->now_ms);
	return true;
}

static void updates_turn(evutil_socket_t fd, short what, void *user)
{
	struct updates *updates = user;
	struct store_time at = moment_now();
	bool up = updates->sink->is_up(updates->user);

	(void)fd;
	(void)what;
	if (updates_must_wait(updates) ||
	    (up && !updates->sink->has_room(updates->user))) {
		updates_arm(updates, RETRY_MS);
		return;
	}
	for (size_t i = 0; i < TURN_MAX && updates->at < updates->count; i++) {
		if (!updates_take(updates, updates->ids[updates->at], &at))
			break;
		updates->at++;
	}
	if (updates->at == updates->count) {
		free(updates->ids);
		updates->ids = NULL;
		updates->at = updates->count = 0;
	} else if (updates_must_wait(updates)) {
		updates_arm(updates, RETRY_MS);
	} else if (up) {
		updates_arm(updates, TURN_MS);
	}
}

static bool lease_is_concerned(const struct lease *lease)
{
	return lease->origin == ORIGIN_PCP && addr_is_ipv4(&lease->internal) &&
	       (lease->client_port != 0 || lease->exact);
}

static void updates_collect(struct updates *updates, bool ending)
{
	const struct table *table = ledger_get_table(updates->ledger);
	const struct lease *lease = NULL;

	while ((lease = table_get_next(table, lease)))
		if (lease_is_concerned(lease) && lease_is_void(lease) == ending)
			updates->ids[updates->count++] = lease->id;
}

void lease_updates_begin(struct updates *updates)
{
	size_t most = table_get_count(ledger_get_table(updates->ledger));

	free(updates->ids);
	updates->at = updates->count = 0;
	updates->ids = calloc(most + 1, sizeof(*updates->ids));
	if (!updates->ids) {
		log_error("out of memory: PCP clients are not told of the new external "
			  "address, but by the new epoch");
		return;
	}
	updates_collect(updates, true);
	updates_collect(updates, false);
	updates_arm(updates, 0);
}

void lease_updates_continue(struct updates *updates)
{
	if (updates->at < updates->count)
		updates_arm(updates, 0);
}

struct updates *lease_updates_new(struct event_base *base, struct ledger *ledger,
				  const struct network *network,
				  const struct updates_sink *sink, void *user)
{
	struct updates *updates = calloc(1, sizeof(*updates));

	if (!updates)
		return NULL;
	*updates = (struct updates){
		.ledger = ledger, .network = network, .sink = sink, .user = user};
	updates->timer = event_new(base, -1, 0, updates_turn, updates);
	if (updates->timer)
		return updates;
	free(updates);
	return NULL;
}

void lease_updates_free(struct updates *updates)
{
	if (!updates)
		return;
	event_free(updates->timer);
	free(updates->ids);
	free(updates);
}
