/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another configuration while core runs. It is in force at once for all that is asked;
 * then workers that were told once come anew, and the leases that it does not allow
 * end, a group in each turn of the loop. Of a LAN that goes the first group ends at
 * once, as long as its hosts can be told.
 */
#include "daemon/reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/admission.h"
#include "daemon/core_private.h"
#include "daemon/moment.h"
#include "daemon/neighbours.h"
#include "daemon/table.h"

#define LAN_PROTOCOLS_ALL (LAN_PROTOCOL_UPNP | LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP)

/* --- the leases that it does not allow --- */

/* In which order they are looked at. */
enum reload_rank {
	/* of a LAN whose place is another's now: they would be taken for that one's */
	RELOAD_LOST,
	/* what they asked by is spoken no more where they are, and their hosts are told
	 * of the end as long as it is */
	RELOAD_TOLD,
	RELOAD_OTHER,
};
#define RELOAD_RANKS (RELOAD_OTHER + 1)

static enum reload_rank lease_get_rank(const struct network *network,
				       const struct lease *lease, uint32_t replaced)
{
	uint8_t protocol = origin_get_protocol(lease->origin);

	if (lease->origin == ORIGIN_STATIC || lease->lan >= network->lan_count)
		return RELOAD_OTHER;
	if ((replaced >> lease->lan & 1) != 0)
		return RELOAD_LOST;
	return lease->origin == ORIGIN_PCP &&
			       (network->lans[lease->lan].protocols & protocol) == 0
		       ? RELOAD_TOLD
		       : RELOAD_OTHER;
}

/* All leases by rank; returns how many must end at once. */
static size_t reload_collect(struct core *core, const struct network *network,
			     uint32_t replaced)
{
	const struct table *table = ledger_get_table(core->ledger);
	struct core_reload *reload = &core->reload;
	const struct lease *lease = NULL;
	size_t counts[RELOAD_RANKS] = {0};

	free(reload->ids);
	reload->at = reload->count = 0;
	reload->ids = calloc(table_get_count(table) + 1, sizeof(*reload->ids));
	if (!reload->ids) {
		log_error("out of memory: leases that the configuration does not allow "
			  "stay until they end");
		return 0;
	}
	for (unsigned int rank = 0; rank < RELOAD_RANKS; rank++)
		while ((lease = table_get_next(table, lease)))
			if (lease_get_rank(network, lease, replaced) == rank) {
				reload->ids[reload->count++] = lease->id;
				counts[rank]++;
			}
	/* one group is told: others are not to wait for all hosts of a large LAN */
	if (counts[RELOAD_TOLD] > LEDGER_ENDS_MAX)
		counts[RELOAD_TOLD] = LEDGER_ENDS_MAX;
	return counts[RELOAD_LOST] + counts[RELOAD_TOLD];
}

/* Some leases, those before `end`. Errors: -errno, try again later. */
static int reload_step(struct core *core, size_t end)
{
	struct core_reload *reload = &core->reload;
	struct store_time at = moment_now();
	size_t part = end - reload->at;
	int error;

	if (part > LEDGER_ENDS_MAX)
		part = LEDGER_ENDS_MAX;
	error = ledger_end_forbidden(core->ledger, reload->ids + reload->at, part, &at,
				     &reload->ended);
	if (error == 0)
		reload->at += part;
	return error;
}

/* --- the way of a reload --- */

static bool worker_speaks(const struct core_worker *worker, uint8_t protocols)
{
	return worker->ops && (worker->ops->protocols & protocols) != 0;
}

static void reload_arm(struct core *core, int64_t delay_ms)
{
	const struct timeval delay = {
		.tv_sec = delay_ms / 1000,
		.tv_usec = (suseconds_t)(delay_ms % 1000) * 1000,
	};

	(void)event_add(core->reload.timer, &delay);
}

/* Whoever waits for it is answered; what the firewall does not take goes on. */
static void reload_finish(struct core *core)
{
	struct core_reload *reload = &core->reload;
	const struct control_reload outcome = {
		.serial = reload->serial,
		.changed = reload->changed,
		.ended = reload->ended,
		.left = reload->count - reload->at,
		.restart = reload->restart,
	};

	reload->active = false;
	if (!reload->changed && reload->restart[0] == '\0')
		log_notice("reload: the configuration is as it was");
	else if (reload->changed)
		log_notice("reload: the configuration is in force leases_ended=%zu",
			   reload->ended);
	if (reload->restart[0] != '\0')
		log_warning("reload: %sonly a restart of portreeved changes %s",
			    reload->changed ? "" : "nothing has changed: ",
			    reload->restart);
	control_finish_reload(core->control, &outcome);
	reload->changed = false;
	reload->ended = 0;
	/* at start it is not told before the workers are there */
	if (core->serving)
		core->events->serving(core->user);
}

static bool reload_must_wait(struct core *core)
{
	struct core_reload *reload = &core->reload;
	int64_t left_ms = reload->deadline_ms - clock_now_ms();

	for (size_t i = 0; i < WORKERS_MAX; i++) {
		const struct core_worker *worker = &core->workers[i];

		if (worker_speaks(worker, reload->workers) && worker->ready &&
		    !worker->renewing)
			reload->workers &= (uint8_t)~worker->ops->protocols;
	}
	if (reload->workers == 0 || left_ms <= 0) {
		reload->workers = 0;
		return false;
	}
	reload_arm(core, left_ms);
	return true;
}

static void reload_turn(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;
	struct core_reload *reload = &core->reload;

	(void)fd;
	(void)what;
	if (reload_must_wait(core))
		return;
	if (reload->at < reload->count && reload_step(core, reload->count) != 0) {
		reload_arm(core, CORE_HEAL_RETRY_MS);
		if (reload->active)
			reload_finish(core);
		return;
	}
	core_follow_up(core);
	if (reload->at < reload->count) {
		reload_arm(core, 0);
		return;
	}
	free(reload->ids);
	reload->ids = NULL;
	reload->at = reload->count = 0;
	if (reload->active)
		reload_finish(core);
	reload->ended = 0;
}

/* --- what is another thing now --- */

static void reload_hosts(struct core *core)
{
	bool wanted = core->conf.global.igd_same_host_mac;

	core_hosts_follow_conf(core);
	if (wanted && !core->neighbours)
		core->neighbours = neighbours_new();
	if (wanted)
		return;
	neighbours_free(core->neighbours);
	core->neighbours = NULL;
}

static void reload_level(struct core *core)
{
	log_set_level(core->conf.global.log_level);
	for (size_t i = 0; i < WORKERS_MAX; i++)
		core_worker_send_level(&core->workers[i]);
}

static void reload_leases(struct core *core, const struct network *network,
			  uint32_t replaced)
{
	size_t urgent;

	ledger_follow_lans(core->ledger, network, replaced);
	urgent = reload_collect(core, network, replaced);
	while (core->reload.at < urgent && reload_step(core, urgent) == 0)
		;
}

static void reload_network(struct core *core)
{
	core_follow_network(core);
	/* what is told of the WAN is not of the network alone */
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (worker_speaks(&core->workers[i], LAN_PROTOCOLS_ALL))
			core_worker_send_wan(&core->workers[i]);
}

static void reload_workers(struct core *core, uint8_t protocols)
{
	for (size_t i = 0; i < WORKERS_MAX; i++) {
		struct core_worker *worker = &core->workers[i];

		if (worker_speaks(worker, protocols))
			worker->renewing = true;
	}
	core->reload.workers |= protocols;
	core->reload.deadline_ms = clock_now_ms() + CORE_SERVING_MAX_MS;
}

static void reload_apply(struct core *core, const struct reload_diff *diff,
			 const struct network *network)
{
	ledger_follow_conf(core->ledger);
	if (diff->log)
		reload_level(core);
	if (diff->hosts)
		reload_hosts(core);
	if (diff->policy)
		reload_leases(core, network, diff->replaced);
	if (diff->network)
		reload_network(core);
	if (diff->foreign || diff->network)
		core_foreign_follow_conf(core);
	if (diff->workers != 0)
		reload_workers(core, diff->workers);
}

/* What it takes to know whether it can be used; large. */
struct reload_check {
	struct conf now;
	struct conf next;
	struct network network;
	struct reload_diff diff;
};

static int reload_check(struct core *core, struct reload_check *check,
			char error[CONF_ERROR_MAX])
{
	int code = 0;

	check->now = core->conf;
	/* an automatic choice that goes on needs no places; others go on from there */
	if (check->next.lan_count > 0)
		network_pin(&core->network, &check->now);
	reload_merge(&check->now, &check->next, &check->diff);
	/* what contradicts the network is refused as at start; what is missing in it is
	 * waited for */
	if (check->diff.network && network_choose(&check->next, core->links, NULL,
						  &check->network, error) == -EINVAL)
		code = -EINVAL;
	if (code == 0)
		code = network_choose(&check->next, core->links, &core->network,
				      &check->network, error);
	if (code != 0)
		log_error("reload: %s; nothing has changed", error);
	return code;
}

static void reload_begin(struct core *core, const struct reload_check *check,
			 uint32_t serial, const char *remark)
{
	struct core_reload *reload = &core->reload;
	const struct reload_diff *diff = &check->diff;

	reload->active = true;
	reload->serial = serial;
	(void)snprintf(reload->restart, sizeof(reload->restart), "%.*s%s",
		       (int)(sizeof(reload->restart) - strlen(remark) - 1),
		       diff->restart, diff->restart[0] != '\0' ? remark : "");
	/* where rules stand in the file may be news */
	core->conf = check->next;
	if (diff->changed) {
		reload->changed = true;
		reload_apply(core, diff, &check->network);
	}
	reload_arm(core, 0);
}

int core_reload(struct core *core, const struct conf *next, uint32_t serial,
		const char *remark, uint8_t *workers)
{
	struct reload_check *check = calloc(1, sizeof(*check));
	char error[CONF_ERROR_MAX] = "out of memory";
	int code = -ENOMEM;

	if (check) {
		check->next = *next;
		code = reload_check(core, check, error);
	}
	if (code != 0) {
		core_refuse_reload(core, serial, error);
	} else {
		*workers = check->diff.workers;
		reload_begin(core, check, serial, remark);
	}
	free(check);
	return code;
}

void core_refuse_reload(struct core *core, uint32_t serial, const char *text)
{
	/* those whose reload is under way wait for that */
	const struct control_reload outcome = {
		.after = core->reload.active ? core->reload.serial : 0,
		.serial = serial,
		.error = text,
		.restart = "",
	};

	control_finish_reload(core->control, &outcome);
}

uint32_t core_reload_ask(void *user)
{
	struct core *core = user;

	core->events->reload(core->user, ++core->reload.asked);
	return core->reload.asked;
}

int core_reload_open(struct core *core)
{
	core->reload.timer = event_new(core->base, -1, 0, reload_turn, core);
	return core->reload.timer ? 0 : -ENOMEM;
}

void core_reload_close(struct core *core)
{
	if (core->reload.timer)
		event_free(core->reload.timer);
	free(core->reload.ids);
}
