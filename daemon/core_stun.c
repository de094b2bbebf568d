/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Core has the worker for STUN ask, and has clients follow what it hears. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/core_private.h"
#include "daemon/name_servers.h"

bool core_is_worker_wanted(const struct core *core, const struct worker_ops *ops)
{
	return (ops->protocols & WORKER_PROTOCOL_STUN) == 0 ||
	       core->conf.wan.stun_host[0] != '\0';
}

static void outside_arm(struct core *core)
{
	int64_t due_ms = outside_get_due_ms(&core->outside);
	int64_t now_ms = clock_now_ms();
	int64_t delay_ms = due_ms > now_ms ? due_ms - now_ms : 0;
	const struct timeval delay = {(time_t)(delay_ms / 1000),
				      (suseconds_t)(delay_ms % 1000 * 1000)};

	if (due_ms == TIME_NEVER)
		(void)event_del(core->outside_timer);
	else
		(void)event_add(core->outside_timer, &delay);
}

int core_stun_open(struct core *core, event_callback_fn ask, event_callback_fn follow)
{
	core->outside_timer = event_new(core->base, -1, 0, ask, core);
	core->outside_news = event_new(core->base, -1, 0, follow, core);
	if (!core->outside_timer || !core->outside_news)
		return -ENOMEM;
	outside_init(&core->outside, &ledger_get_meta(core->ledger)->external,
		     clock_now_ms());
	core_stun_follow(core, &core->network.wan);
	return 0;
}

void core_stun_close(struct core *core)
{
	if (core->outside_timer)
		event_free(core->outside_timer);
	if (core->outside_news)
		event_free(core->outside_news);
}

void core_stun_follow(struct core *core, struct wan_choice *wan)
{
	if (!core->outside_timer)
		return; /* the first look at the network, before the ledger is there */
	outside_follow(&core->outside, &core->conf.wan, wan, clock_now_ms());
	outside_arm(core);
}

void core_stun_worker_ready(struct core *core)
{
	outside_renew_worker(&core->outside, clock_now_ms());
	outside_arm(core);
}

bool core_stun_get_task(struct core *core, struct stun_task *out)
{
	const bool due = outside_advance(&core->outside, clock_now_ms(), out);

	if (due)
		out->name_server_count =
			(uint32_t)name_servers_read(core->links, out->name_servers);
	outside_arm(core);
	return due;
}

/* One line for each change of the state, not for each question. */
static void outside_log(const struct outside *outside, enum outside_state before)
{
	char text[ADDR_TEXT_SIZE];

	if (outside->state == before)
		return;
	if (outside->state == OUTSIDE_KNOWN)
		log_notice("the STUN server %s:%u says that the external address is %s",
			   outside->host, outside->port,
			   addr_format(&outside->learned, text));
	else
		log_warning("the STUN server %s:%u does not tell the external address: "
			    "%s; asking on",
			    outside->host, outside->port, outside_get_reason(outside));
}

bool core_stun_take(struct core *core, const struct stun_told *told)
{
	const struct outside before = core->outside;

	if (!outside_take(&core->outside, told, clock_now_ms()))
		return false;
	outside_log(&core->outside, before.state);
	if (before.confirmed != core->outside.confirmed ||
	    !addr_equal(&before.learned, &core->outside.learned))
		event_active(core->outside_news, EV_TIMEOUT, 0);
	outside_arm(core);
	return true;
}
