/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/updates.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
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

/* A lease as it was when the address changed: who has renewed it since knows. */
struct concerned {
	uint64_t id;
	int64_t expires_ms;
};

struct updates {
	struct ledger *ledger;
	const struct network *network;
	const struct updates_sink *sink;
	void *user;
	struct event *timer;
	struct concerned *list; /* those to end first, then those to tell */
	size_t count;
	size_t at;	   /* the next */
	uint64_t *unasked; /* to tell when what was asked is answered */
	size_t unasked_count;
	size_t unasked_size;
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
	out->set_first = lease->set_first;
	out->set_count = lease->set_count;
	out->filter_count = lease->filter_count;
	if (lease->filter_count > 0)
		memcpy(out->filters, lease->filters,
		       lease->filter_count * sizeof(out->filters[0]));
	return true;
}

void lease_updates_tell_end(struct updates *updates, const struct lease *lease,
			    enum lease_end why)
{
	struct mapping_update update;

	/* another machine has the address, and would be told the nonce; where its own
	 * has moved, its client is told of the new lease */
	if (why == LEASE_END_CLIENT || why == LEASE_END_TIME || why == LEASE_END_HOST ||
	    why == LEASE_END_MOVED ||
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

static bool updates_reserve_unasked(struct updates *updates)
{
	uint64_t *unasked =
		array_reserve(updates->unasked, updates->unasked_count,
			      &updates->unasked_size, sizeof(*unasked), TURN_MAX);

	if (unasked)
		updates->unasked = unasked;
	return unasked != NULL;
}

void lease_updates_tell(struct updates *updates, uint64_t id)
{
	/* out of memory: the client hears nothing, and its lease lives all the same */
	if (!updates_reserve_unasked(updates))
		return;
	updates->unasked[updates->unasked_count++] = id;
	updates_arm(updates, 0);
}

/* What a slow worker does not take is not told: these leases are as good as before. */
static void updates_tell_unasked(struct updates *updates, const struct store_time *at)
{
	const struct table *table = ledger_get_table(updates->ledger);

	for (size_t i = 0; i < updates->unasked_count; i++) {
		const struct lease *lease = table_get_by_id(table, updates->unasked[i]);

		if (lease && updates->sink->is_up(updates->user) &&
		    updates->sink->has_room(updates->user))
			updates_send(updates, lease, at->now_ms);
	}
	updates->unasked_count = 0;
}

/* What is told shall be what the kernel does. */
static bool updates_must_wait(const struct updates *updates)
{
	return ledger_get_figures(updates->ledger)->backend_failed;
}

/* True: done with this lease; false: later. */
static bool updates_take(struct updates *updates, const struct concerned *concerned,
			 const struct store_time *at)
{
	const struct lease *lease =
		table_get_by_id(ledger_get_table(updates->ledger), concerned->id);

	/* has ended, or was answered with the new address */
	if (!lease || lease->expires_ms != concerned->expires_ms)
		return true;
	if (!updates->sink->is_up(updates->user))
		return false; /* it shall be told of its end, too */
	if (lease_is_void(lease))
		return ledger_revoke(updates->ledger, lease->id, LEASE_END_ADDRESS,
				     at) == RESULT_OK ||
		       !updates_must_wait(updates);
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
	updates_tell_unasked(updates, &at);
	if (updates->at == updates->count)
		return;
	if (updates_must_wait(updates) ||
	    (up && !updates->sink->has_room(updates->user))) {
		updates_arm(updates, RETRY_MS);
		return;
	}
	for (size_t i = 0; i < TURN_MAX && updates->at < updates->count; i++) {
		if (!updates_take(updates, &updates->list[updates->at], &at))
			break;
		updates->at++;
	}
	if (updates->at == updates->count) {
		free(updates->list);
		updates->list = NULL;
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
			updates->list[updates->count++] =
				(struct concerned){lease->id, lease->expires_ms};
}

void lease_updates_begin(struct updates *updates)
{
	size_t most = table_get_count(ledger_get_table(updates->ledger));

	free(updates->list);
	updates->at = updates->count = 0;
	updates->list = calloc(most + 1, sizeof(*updates->list));
	if (!updates->list) {
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
	free(updates->list);
	free(updates->unasked);
	free(updates);
}
