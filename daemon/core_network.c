/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Core follows the network: interfaces and addresses that come, change and go. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/core_private.h"
#include "daemon/moment.h"
#include "daemon/wan.h"

bool core_read_network(struct core *core, struct network *out)
{
	char error[CONF_ERROR_MAX];

	if (wan_read(core->wan, core->links) != 0)
		return false;
	if (network_choose(&core->conf, core->links, out, error) == 0)
		return true;
	log_error("%s", error);
	return false;
}

static void core_tell_network(struct core *core, const struct network *before)
{
	const struct network *now = &core->network;
	bool wan_changed = memcmp(&before->wan, &now->wan, sizeof(now->wan)) != 0;

	for (size_t w = 0; w < WORKERS_MAX; w++) {
		if (wan_changed)
			core_worker_send_wan(&core->workers[w]);
		for (size_t i = 0; i < now->lan_count; i++)
			if (memcmp(&before->lans[i], &now->lans[i],
				   sizeof(now->lans[i])) != 0)
				core_worker_send_lan(&core->workers[w], &now->lans[i]);
	}
}

/*
 * Clients and kernel follow; the epoch is new before anybody is told (PCP-32). That the
 * address is another one is true at once, and thousands of rules take the kernel longer
 * than clients should wait for the news (PCP-37). What they ask then is decided when
 * the kernel has followed.
 */
static void core_follow_network(struct core *core, const struct network *before)
{
	struct store_time at = moment_now();
	bool moved =
		ledger_follow_external(core->ledger, &core->network.wan.external, &at);

	core_tell_network(core, before);
	for (size_t i = 0; i < WORKERS_MAX; i++)
		msg_channel_flush(core->workers[i].channel);
	if (ledger_set_network(core->ledger, &core->network, at.now_ms) != 0)
		core_plan_heal(core, CORE_HEAL_RETRY_MS);
	if (moved)
		lease_updates_begin(core->updates);
}

void core_network_changed(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;
	static const size_t size = sizeof(struct network);
	struct network *before;

	(void)fd;
	(void)what;
	if (!wan_drain(core->wan))
		return;
	before = malloc(size);
	if (!before)
		return;
	memcpy(before, &core->network, size);
	if (core_read_network(core, &core->network)) {
		core_log_network(before, &core->network);
		core_follow_network(core, before);
	}
	free(before);
}
