/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases are a machine's, known by its network card: core listens to the kernel's
 * neighbour table, and has leases end or follow where an address or a machine is
 * another one's, or elsewhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core_private.h"
#include "daemon/hosts.h"
#include "daemon/moment.h"
#include "daemon/neighbours.h"
#include "daemon/table.h"

/* Hosts to ask the kernel for in the next turn of the loop; where there are more, it is
 * asked for all. */
#define ASKS_MAX 64
/* Transactions at one wake-up: requests come in between. */
#define CHANGES_MAX 16
/* The kernel's whole table is read no oftener. Whoever could not be asked is asked
 * then, and may be. */
#define ASK_ALL_PAUSE_MS 1200
_Static_assert(ASK_ALL_PAUSE_MS > HOSTS_ASK_PAUSE_MS, "asked too soon after");

struct core_hosts {
	struct core *core;
	struct hosts *hosts;
	struct neighbour_watch *watch;
	struct event *event;
	struct event *ask_timer;
	struct event *all_timer;
	size_t ask_count;
	struct {
		uint16_t lan;
		struct ip_addr addr;
	} asks[ASKS_MAX];
	bool all_due;
	bool learning;	      /* the kernel tells all for the first time */
	unsigned int changes; /* of this wake-up */
	struct log_limit log_limit;
};

/* --- asking the kernel --- */

static void hosts_ask_all_later(struct core_hosts *own)
{
	static const struct timeval pause = {.tv_sec = ASK_ALL_PAUSE_MS / 1000,
					     .tv_usec =
						     ASK_ALL_PAUSE_MS % 1000 * 1000L};

	if (own->all_due)
		return;
	own->all_due = event_add(own->all_timer, &pause) == 0;
}

static void hosts_ask_all(struct core_hosts *own)
{
	if (!neighbour_watch_ask_all(own->watch))
		hosts_ask_all_later(own);
}

static void hosts_ask_all_due(evutil_socket_t fd, short what, void *user)
{
	struct core_hosts *own = user;

	(void)fd;
	(void)what;
	own->all_due = false;
	hosts_ask_all(own);
}

static uint32_t hosts_get_ifindex(const struct core_hosts *own, uint16_t lan)
{
	const struct network *network = &own->core->network;

	return lan < network->lan_count ? network->lans[lan].ifindex : 0;
}

/* In the next turn: whoever wants to know waits for nothing. */
static void hosts_ask_soon(struct core_hosts *own, uint16_t lan,
			   const struct ip_addr *addr)
{
	static const struct timeval now = {0};

	if (own->ask_count == ASKS_MAX) {
		hosts_ask_all_later(own);
		return;
	}
	own->asks[own->ask_count].lan = lan;
	own->asks[own->ask_count++].addr = *addr;
	if (own->ask_count == 1)
		(void)event_add(own->ask_timer, &now);
}

static void hosts_ask(evutil_socket_t fd, short what, void *user)
{
	struct core_hosts *own = user;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < own->ask_count; i++) {
		uint32_t ifindex = hosts_get_ifindex(own, own->asks[i].lan);

		if (ifindex != 0 &&
		    !neighbour_watch_ask(own->watch, ifindex, &own->asks[i].addr))
			hosts_ask_all_later(own);
	}
	own->ask_count = 0;
}

/* --- doing what follows --- */

/* What is done, in an owner's words; a LAN host can cause it. */
static void hosts_log(struct core_hosts *own, const struct host_decision *decision,
		      int64_t now_ms)
{
	char addr[ADDR_TEXT_SIZE], to[ADDR_TEXT_SIZE], mac[LEASE_MAC_TEXT_SIZE];
	unsigned int held_back;
	struct lease lease = {.has_mac = true};

	if (!log_limit_pass(&own->log_limit, now_ms, &held_back))
		return;
	memcpy(lease.mac, decision->mac, sizeof(lease.mac));
	(void)lease_format_mac(&lease, mac);
	(void)addr_format(&decision->addr, addr);
	if (decision->step == HOST_STEP_MOVE)
		log_notice("host moved mac=%s from=%s to=%s suppressed=%u", mac, addr,
			   addr_format(&decision->to, to), held_back);
	else
		log_notice("address has another host address=%s mac=%s suppressed=%u",
			   addr, mac, held_back);
}

static int hosts_end(struct core_hosts *own, const struct host_decision *decision,
		     const struct store_time *at)
{
	int error = ledger_end_strangers(own->core->ledger, &decision->addr,
					 decision->mac, at);

	if (error == 0)
		hosts_set_owner(own->hosts, &decision->addr, decision->mac);
	return error;
}

static int hosts_move(struct core_hosts *own, uint16_t lan,
		      const struct host_decision *decision, const struct store_time *at)
{
	struct ledger_move move = {
		.from = decision->addr, .to = decision->to, .lan = lan};
	int error;

	memcpy(move.mac, decision->mac, sizeof(move.mac));
	error = ledger_move_machine(own->core->ledger, &move, at);
	if (error == 0)
		hosts_set_owner(own->hosts, &decision->addr, NULL);
	return error;
}

/*
 * One transaction or two. What is not done, or not yet, is found again when the kernel
 * tells of the address again.
 */
static void hosts_change(struct core_hosts *own, uint16_t lan,
			 const struct host_decision *decision)
{
	struct store_time at = moment_now();
	bool moves = decision->step == HOST_STEP_MOVE;
	int error;

	if (own->changes == CHANGES_MAX) {
		hosts_ask_all_later(own);
		return;
	}
	own->changes++;
	hosts_log(own, decision, at.now_ms);
	error = moves ? hosts_move(own, lan, decision, &at)
		      : hosts_end(own, decision, &at);
	if (error == -EAGAIN)
		hosts_ask_soon(own, lan, moves ? &decision->to : &decision->addr);
	else if (error != 0)
		hosts_ask_all_later(own);
}

static void hosts_do(struct core_hosts *own, uint16_t lan,
		     const struct host_decision *decision)
{
	uint32_t ifindex = hosts_get_ifindex(own, lan);
	struct store_time at;
	bool asked = true;

	switch (decision->step) {
	case HOST_STEP_END:
	case HOST_STEP_MOVE:
		hosts_change(own, lan, decision);
		break;
	case HOST_STEP_NOTE:
		at = moment_now();
		ledger_note_machine(own->core->ledger, &decision->addr, decision->mac,
				    &at);
		break;
	case HOST_STEP_PROBE:
		asked = neighbour_watch_probe(own->watch, ifindex, &decision->addr);
		break;
	case HOST_STEP_RESOLVE:
		asked = neighbour_watch_resolve(own->watch, ifindex, &decision->addr);
		break;
	}
	if (!asked)
		hosts_ask_all_later(own);
}

/*
 * Of a LAN's own addresses only: by a packet from it a host can have the kernel take
 * any address for its own, one of another LAN too. What a lease was given for stays the
 * LAN's when its network has left.
 */
static void hosts_take(void *user, uint32_t ifindex, const struct host_news *news)
{
	struct core_hosts *own = user;
	const struct network *network = &own->core->network;
	const struct lan_info *lan =
		lan_info_find(network->lans, network->lan_count, ifindex);
	struct host_decisions decisions;
	int64_t now_ms;

	if (!lan || addr_is_link_local(&news->addr) ||
	    (!lan_info_has_host(lan, &news->addr) &&
	     !hosts_is_held(own->hosts, &news->addr, lan->lan)))
		return;
	if (own->learning) {
		hosts_learn(own->hosts, lan, news);
		return;
	}
	now_ms = clock_now_ms();
	hosts_hear(own->hosts, lan, news, now_ms, &decisions);
	for (size_t i = 0; i < decisions.count; i++)
		hosts_do(own, lan->lan, &decisions.list[i]);
}

static void hosts_readable(evutil_socket_t fd, short what, void *user)
{
	struct core_hosts *own = user;

	(void)fd;
	(void)what;
	own->changes = 0;
	if (neighbour_watch_drain(own->watch, hosts_take, own))
		hosts_ask_all_later(own);
	if (own->learning && neighbour_watch_has_told(own->watch)) {
		own->learning = false;
		hosts_ask_all(own);
	}
	core_follow_up(own->core);
}

/* --- core's side --- */

void core_hosts_on_lease(struct core *core, enum lease_event event,
			 const struct lease *lease)
{
	struct core_hosts *own = core->hosts;

	if (!own)
		return;
	switch (event) {
	case LEASE_EVENT_ADDED:
		/* out of memory: it stays whoever's its address is */
		if (hosts_hold(own->hosts, lease) && !lease->has_mac)
			hosts_ask_soon(own, lease->lan, &lease->internal);
		break;
	case LEASE_EVENT_DELETED:
	case LEASE_EVENT_EXPIRED:
		hosts_release(own->hosts, lease);
		break;
	case LEASE_EVENT_RENEWED:
	case LEASE_EVENT_CHANGED:
		break;
	}
}

bool core_hosts_find_mac(void *user, const struct ip_addr *host,
			 uint8_t mac[LEASE_MAC_SIZE])
{
	const struct core *core = user;
	const uint8_t *found =
		core->hosts ? hosts_find_mac(core->hosts->hosts, host) : NULL;

	if (found)
		memcpy(mac, found, LEASE_MAC_SIZE);
	return found != NULL;
}

void core_hosts_follow_network(struct core *core)
{
	if (core->hosts)
		hosts_ask_all(core->hosts);
}

static int hosts_open_parts(struct core_hosts *own)
{
	struct event_base *base = own->core->base;

	own->hosts = hosts_new();
	own->ask_timer = event_new(base, -1, 0, hosts_ask, own);
	own->all_timer = event_new(base, -1, 0, hosts_ask_all_due, own);
	if (!own->hosts || !own->ask_timer || !own->all_timer)
		return -ENOMEM;
	own->watch = neighbour_watch_new();
	if (!own->watch)
		return -EIO;
	own->event = event_new(base, neighbour_watch_get_fd(own->watch),
			       EV_READ | EV_PERSIST, hosts_readable, own);
	if (!own->event || event_add(own->event, NULL) != 0)
		return -ENOMEM;
	hosts_ask_all(own);
	return 0;
}

/* Leases of an earlier run: they are looked at once all news of the start is in. */
static void hosts_restore(struct core_hosts *own)
{
	const struct table *table = ledger_get_table(own->core->ledger);
	const struct lease *lease = NULL;

	while ((lease = table_get_next(table, lease)))
		(void)hosts_hold(own->hosts, lease);
	hosts_finish_restore(own->hosts, clock_now_ms());
}

int core_hosts_open(struct core *core)
{
	struct core_hosts *own;
	int error;

	if (!core->conf.global.hosts_by_mac || core->hosts)
		return 0;
	own = calloc(1, sizeof(*own));
	if (!own)
		return -ENOMEM;
	own->core = core;
	own->learning = true;
	core->hosts = own;
	error = hosts_open_parts(own);
	if (error == 0)
		hosts_restore(own);
	else
		core_hosts_close(core);
	return error;
}

static void hosts_close_event(struct event *event)
{
	if (event)
		event_free(event);
}

void core_hosts_close(struct core *core)
{
	struct core_hosts *own = core->hosts;

	if (!own)
		return;
	core->hosts = NULL;
	hosts_close_event(own->event);
	hosts_close_event(own->ask_timer);
	hosts_close_event(own->all_timer);
	neighbour_watch_free(own->watch);
	hosts_free(own->hosts);
	free(own);
}

void core_hosts_follow_conf(struct core *core)
{
	if (!core->conf.global.hosts_by_mac)
		core_hosts_close(core);
	else if (core_hosts_open(core) != 0)
		log_error("hosts are known by their addresses only");
}
