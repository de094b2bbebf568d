/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Core follows the network: interfaces and addresses that come, change and go. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/core_private.h"
#include "daemon/moment.h"
#include "daemon/wan.h"

/* Changes that are told one after the other before the firewall follows all of them. */
#define CHANGES_TOLD_MAX 16

bool core_read_network(struct core *core, struct network *out)
{
	const struct network *before = core->network_known ? &core->network : NULL;
	char error[CONF_ERROR_MAX];

	if (wan_read(core->wan, core->links) != 0)
		return false;
	if (network_choose(&core->conf, core->links, before, out, error) == 0) {
		core->network_known = true;
		core->network_error[0] = '\0';
		core_stun_follow(core, &out->wan);
		return true;
	}
	if (strcmp(core->network_error, error) != 0)
		log_error("%s", error);
	memcpy(core->network_error, error, sizeof(error));
	return false;
}

/* Does another LAN have the interface that was this one's? */
static bool is_taken_over(const struct network *before, const struct network *now,
			  size_t lan)
{
	for (size_t i = 0; i < now->lan_count; i++)
		if (i != lan && now->lans[i].ifindex == before->lans[lan].ifindex)
			return true;
	return false;
}

/*
 * Who loses an interface hears of it before another gains it, as when names are
 * swapped: else a worker's own sockets would be in its way.
 */
static void core_tell_lost(struct core *core, const struct network *before)
{
	const struct network *now = &core->network;

	for (size_t i = 0; i < now->lan_count; i++) {
		struct lan_info gone = now->lans[i];

		if (before->lans[i].ifindex == 0 ||
		    before->lans[i].ifindex == gone.ifindex ||
		    !is_taken_over(before, now, i))
			continue;
		gone.ifindex = 0;
		gone.address_count = 0;
		gone.network_count = 0;
		for (size_t w = 0; w < WORKERS_MAX; w++)
			core_worker_send_lan(&core->workers[w], &gone);
	}
}

static void core_tell_network(struct core *core, const struct network *before)
{
	const struct network *now = &core->network;
	bool wan_changed = !wan_choice_equal(&before->wan, &now->wan);

	core_tell_lost(core, before);
	for (size_t w = 0; w < WORKERS_MAX; w++) {
		if (wan_changed)
			core_worker_send_wan(&core->workers[w]);
		for (size_t i = 0; i < now->lan_count; i++)
			if (memcmp(&before->lans[i], &now->lans[i],
				   sizeof(now->lans[i])) != 0)
				core_worker_send_lan(&core->workers[w], &now->lans[i]);
	}
}

static void core_tell_all(struct core *core, const struct network *before)
{
	core_log_network(before, &core->network);
	core_tell_network(core, before);
	for (size_t i = 0; i < WORKERS_MAX; i++)
		msg_channel_flush(core->workers[i].channel);
}

/*
 * Clients hear of it before the kernel follows; the epoch is new before anybody is told
 * (PCP-32). That the address is another one is true at once, and thousands of rules
 * take the kernel longer than clients should wait for the news (PCP-37). What they ask
 * then is decided when the kernel has followed. True when a new epoch has begun.
 */
static bool core_tell_change(struct core *core)
{
	static const size_t size = sizeof(struct network);
	struct network *before = malloc(size);
	struct store_time at = moment_now();
	bool moved = false;

	if (!before)
		return false;
	memcpy(before, &core->network, size);
	if (core_read_network(core, &core->network)) {
		moved = ledger_follow_external(core->ledger,
					       &core->network.wan.external, &at);
		core_tell_all(core, before);
	}
	free(before);
	return moved;
}

void core_follow_network(struct core *core)
{
	bool moved = core_tell_change(core);

	/* An address that goes is often followed by another one: clients shall not wait
	 * for it until thousands of rules have gone. */
	for (unsigned int i = 0; i < CHANGES_TOLD_MAX && wan_drain(core->wan); i++)
		moved = core_tell_change(core) || moved;
	if (ledger_set_network(core->ledger, &core->network, clock_now_ms()) != 0)
		core_plan_heal(core, CORE_HEAL_RETRY_MS);
	core_foreign_plan(core);
	core_hosts_follow_network(core);
	if (moved)
		lease_updates_begin(core->updates);
}

void core_network_learned(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	core_follow_network(user);
}

void core_network_changed(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;

	(void)fd;
	(void)what;
	if (wan_drain(core->wan))
		core_follow_network(core);
}
