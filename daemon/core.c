/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/core_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/backend.h"
#include "base/clock.h"
#include "daemon/firewall.h"
#include "daemon/instance.h"
#include "daemon/moment.h"
#include "daemon/neighbours.h"
#include "daemon/report.h"
#include "daemon/wan.h"

/* --- what the ledger tells --- */

static void core_on_lease(void *user, enum lease_event event, const struct lease *lease)
{
	struct core *core = user;

	core_hosts_on_lease(core, event, lease);
	if (core->control)
		control_publish(core->control, event, lease);
	if (core->updates && event == LEASE_EVENT_DELETED)
		lease_updates_tell_end(core->updates, lease,
				       ledger_get_end(core->ledger));
	core_follow_up(core);
}

/* PCP-116 */
static void core_on_unasked(void *user, const struct lease *lease)
{
	struct core *core = user;

	if (core->updates)
		lease_updates_tell(core->updates, lease->id);
}

static void core_on_disturbed(void *user)
{
	struct core *core = user;

	core_plan_heal(core, CORE_HEAL_DELAY_MS);
}

static void core_on_quiet(void *user, bool on)
{
	core_foreign_set_quiet(user, on);
}

/*
 * V6FW-7. Of addresses of this very LAN only: by a packet from it a host can have the
 * kernel take any address for its own, one of another LAN too.
 */
static bool core_is_same_host(void *user, uint16_t index, const struct ip_addr *a,
			      const struct ip_addr *b)
{
	const struct core *core = user;
	const struct lan_info *lan;

	if (!core->neighbours || index >= core->network.lan_count)
		return false;
	lan = &core->network.lans[index];
	return lan_info_has_host(lan, a) && lan_info_has_host(lan, b) &&
	       neighbours_are_one_host(core->neighbours, lan->ifindex, a, b);
}

static bool core_is_port_given(void *user, uint8_t protocol, uint16_t port)
{
	return core_foreign_has_port(user, protocol, port);
}

static const struct ledger_events core_ledger_events = {
	.lease = core_on_lease,
	.disturbed = core_on_disturbed,
	.quiet = core_on_quiet,
	.unasked = core_on_unasked,
	.same_host = core_is_same_host,
	.find_mac = core_hosts_find_mac,
	.port_given = core_is_port_given,
};

/* --- start and end --- */

static struct json_object *core_status_new(void *user)
{
	struct core *core = user;
	struct report_worker workers[WORKERS_MAX];
	struct report_status status = {
		.ledger = core->ledger,
		.conf = &core->conf,
		.network = &core->network,
		.workers = workers,
		.started_ms = core->started_ms,
		.dropped = core->dropped,
		.anycast_missing = core_misses_anycast(core),
		.outside = &core->outside,
		.foreign = core_foreign_get_figures(core),
	};
	struct store_time at = moment_now();

	for (size_t i = 0; i < WORKERS_MAX && core->workers[i].ops; i++) {
		if (!core_is_worker_wanted(core, core->workers[i].ops))
			continue;
		workers[status.worker_count++] = (struct report_worker){
			.name = core->workers[i].ops->name,
			.up = core->workers[i].ready,
			.restarts = core->workers[i].attached > 0
					    ? core->workers[i].attached - 1 -
						      core->workers[i].renewed
					    : 0,
			.sockets_failed = core->workers[i].sockets.failed,
		};
	}
	return report_status_new(&status, &at);
}

static const struct backend_ops *core_choose_backend(const struct conf *conf)
{
	if (conf->backend.type == CONF_BACKEND_MEMORY)
		return backend_get_memory();
	return firewall_is_iptables(conf) ? backend_get_iptables()
					  : backend_get_nftables();
}

static void core_tell_limits(struct core *core)
{
	if (core->conf.backend.type == CONF_BACKEND_MEMORY)
		log_warning("[backend] type = memory: no packet is forwarded, this is "
			    "for tests");
	else if (core->conf.backend.keep_rules && firewall_is_iptables(&core->conf))
		log_warning("[backend] keep-rules = yes: iptables knows no time, so "
			    "while portreeved is stopped ports stay open after "
			    "their leases have ended");
	core_log_anycast(core);
}

static struct event *core_watch(struct core *core, int fd, event_callback_fn callback)
{
	struct event *event =
		event_new(core->base, fd, EV_READ | EV_PERSIST, callback, core);

	if (event && event_add(event, NULL) == 0)
		return event;
	if (event)
		event_free(event);
	return NULL;
}

static void core_backend_readable(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;

	(void)fd;
	(void)what;
	ledger_backend_event(core->ledger);
}

static int core_open_events(struct core *core)
{
	int backend_fd = ledger_get_fd(core->ledger);

	core->wan_event = core_watch(core, wan_get_fd(core->wan), core_network_changed);
	if (backend_fd >= 0)
		core->backend_event =
			core_watch(core, backend_fd, core_backend_readable);
	if (!core->wan_event || (backend_fd >= 0 && !core->backend_event))
		return -ENOMEM;
	return core_timers_open(core);
}

/* By MAC only for an owner who wants it so. */
static int core_open_neighbours(struct core *core)
{
	if (!core->conf.global.igd_same_host_mac)
		return 0;
	core->neighbours = neighbours_new();
	return core->neighbours ? 0 : -EIO;
}

/* Leases of an earlier run are in force again, maybe under another address. */
static int core_restore(struct core *core)
{
	struct store_time at = moment_now();
	bool moved;
	int error;

	core->updates = lease_updates_new(core->base, core->ledger, &core->network,
					  core_worker_get_sink(), core);
	if (!core->updates)
		return -ENOMEM;
	moved = ledger_follow_external(core->ledger, &core->network.wan.external, &at);
	error = ledger_set_network(core->ledger, &core->network, at.now_ms);
	if (error == 0 && moved)
		lease_updates_begin(core->updates);
	return error;
}

/* In this order, so that nothing in the kernel changes before all checks have passed.
 */
static int core_open_parts(struct core *core)
{
	const struct backend_ops *backend = core_choose_backend(&core->conf);
	struct ledger_setup setup = {
		.conf = &core->conf,
		.network = &core->network,
		.backend = backend,
		.events = &core_ledger_events,
		.user = core,
		.at = moment_now(),
	};
	int error;

	error = instance_claim(&core->instance_fd);
	if (error == 0)
		error = wan_open(&core->wan);
	if (error == 0)
		error = core_open_neighbours(core);
	if (error != 0)
		return error;
	if (!core_read_network(core, &core->network))
		return -ENODEV;
	error = control_open(core->base, core->conf.global.control_socket,
			     &core->source, &core->control);
	if (error == 0)
		error = ledger_open(&setup, &core->ledger);
	if (error != 0)
		return error;
	core->source.ledger = core->ledger;
	error = core_table_open(core, core_worker_tell_table);
	if (error == 0)
		error = core_stun_open(core, core_worker_ask_stun,
				       core_network_learned);
	if (error == 0)
		error = core_reload_open(core);
	if (error == 0)
		error = core_open_events(core);
	if (error == 0)
		error = core_hosts_open(core);
	if (error == 0)
		error = core_restore(core);
	return error == 0 ? core_foreign_open(core) : error;
}

static void core_close_event(struct event *event)
{
	if (event)
		event_free(event);
}

int core_free(struct core *core)
{
	int error;

	if (!core)
		return 0;
	for (size_t i = 0; i < WORKERS_MAX; i++)
		msg_channel_free(core->workers[i].channel);
	core_close_event(core->wan_event);
	core_close_event(core->backend_event);
	core_foreign_close(core);
	core_hosts_close(core);
	core_timers_close(core);
	core_table_close(core);
	core_stun_close(core);
	core_reload_close(core);
	control_close(core->control);
	core->control = NULL;
	lease_updates_free(core->updates);
	error = ledger_close(core->ledger);
	neighbours_free(core->neighbours);
	wan_close(core->wan);
	if (core->instance_fd >= 0)
		(void)close(core->instance_fd);
	if (core->links)
		links_fini(core->links);
	free(core->links);
	free(core);
	return error;
}

int core_new(struct event_base *base, const struct conf *conf,
	     const struct core_events *events, void *user, struct core **out)
{
	struct core *core = calloc(1, sizeof(*core));
	int error;

	if (!core)
		return -ENOMEM;
	core->base = base;
	core->instance_fd = -1;
	core->conf = *conf;
	core->events = events;
	core->user = user;
	core->started_ms = clock_now_ms();
	core->links = calloc(1, sizeof(*core->links));
	core->source = (struct control_source){.network = &core->network,
					       .reload = core_reload_ask,
					       .status_new = core_status_new,
					       .user = core};
	for (size_t i = 0; i < WORKERS_MAX; i++)
		core->workers[i].core = core;
	error = core->links ? core_open_parts(core) : -ENOMEM;
	if (error != 0) {
		(void)core_free(core);
		return error;
	}
	core_log_network(NULL, &core->network);
	core_tell_limits(core);
	core_follow_up(core);
	*out = core;
	events->ready(user);
	return 0;
}

int core_attach_worker(struct core *core, const struct worker_ops *ops, int fd)
{
	struct core_worker *worker = core_worker_find(core, ops);

	return worker ? core_worker_attach(worker, fd) : -EINVAL;
}
