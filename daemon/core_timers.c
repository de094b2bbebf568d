/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When core wakes up by itself: leases end, the disk is waited for, what went wrong is
 * tried again.
 */
#include <errno.h>

#include "base/clock.h"
#include "daemon/backoff.h"
#include "daemon/core_private.h"
#include "daemon/moment.h"

static struct timeval core_delay(int64_t delay_ms)
{
	if (delay_ms < 0)
		delay_ms = 0;
	return (struct timeval){.tv_sec = delay_ms / 1000,
				.tv_usec = (suseconds_t)(delay_ms % 1000) * 1000};
}

void core_plan_heal(struct core *core, int64_t delay_ms)
{
	struct timeval delay = core_delay(delay_ms);
	int64_t due_ms = clock_now_ms() + delay_ms;

	if (core->heal_due_ms <= due_ms)
		return;
	core->heal_due_ms = due_ms;
	(void)event_add(core->heal_timer, &delay);
}

/* Apart from the firewall's healing: a full disk must not have rules compared. */
static void core_watch_store(struct core *core)
{
	struct timeval delay;

	if (!ledger_get_figures(core->ledger)->store_failed || core->mend_due)
		return;
	core->mend_due = true;
	core->mend_pause_ms = backoff_get_longer(
		core->mend_pause_ms, CORE_HEAL_RETRY_MS, CORE_MEND_PAUSE_MAX_MS);
	delay = core_delay(core->mend_pause_ms);
	(void)event_add(core->mend_timer, &delay);
}

static void core_arm_expiry(struct core *core)
{
	int64_t due_ms = ledger_get_due(core->ledger);
	struct timeval delay;

	if (due_ms == core->expiry_due_ms)
		return;
	core->expiry_due_ms = due_ms;
	if (due_ms == TIME_NEVER) {
		(void)event_del(core->expiry_timer);
		return;
	}
	delay = core_delay(due_ms - clock_now_ms());
	(void)event_add(core->expiry_timer, &delay);
}

static void core_mend(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;
	struct store_time at = moment_now();

	(void)fd;
	(void)what;
	core->mend_due = false;
	if (ledger_mend_store(core->ledger, &at))
		core->mend_pause_ms = 0;
	else
		core_watch_store(core);
	core_arm_expiry(core);
}

static void core_expire(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;
	struct store_time at = moment_now();
	struct timeval delay;

	(void)fd;
	(void)what;
	core->expiry_due_ms = ledger_expire(core->ledger, &at);
	core_watch_store(core);
	if (core->expiry_due_ms == TIME_NEVER)
		return;
	delay = core_delay(core->expiry_due_ms - at.now_ms);
	(void)event_add(core->expiry_timer, &delay);
}

static void core_heal(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;
	struct store_time at = moment_now();

	(void)fd;
	(void)what;
	core->heal_due_ms = TIME_NEVER;
	if (!ledger_heal(core->ledger, &at))
		core_plan_heal(core, CORE_HEAL_RETRY_MS);
	/* who took our table away may have done the same to others */
	core_foreign_plan(core);
	core_arm_expiry(core);
}

/* Whatever was done, what follows from it: the next expiry, the disk's retry. */
void core_follow_up(struct core *core)
{
	core_arm_expiry(core);
	core_watch_store(core);
	core_table_follow_up(core);
}

void core_set_serving(struct core *core)
{
	if (core->serving)
		return;
	core->serving = true;
	(void)event_del(core->serving_timer);
	core->events->serving(core->user);
}

static void core_serve_anyway(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	core_set_serving(user);
}

int core_timers_open(struct core *core)
{
	const struct timeval longest = core_delay(CORE_SERVING_MAX_MS);

	core->expiry_due_ms = TIME_NEVER;
	core->heal_due_ms = TIME_NEVER;
	core->mend_timer = event_new(core->base, -1, 0, core_mend, core);
	core->expiry_timer = event_new(core->base, -1, 0, core_expire, core);
	core->heal_timer = event_new(core->base, -1, 0, core_heal, core);
	core->serving_timer = event_new(core->base, -1, 0, core_serve_anyway, core);
	if (!core->expiry_timer || !core->heal_timer || !core->mend_timer ||
	    !core->serving_timer)
		return -ENOMEM;
	return event_add(core->serving_timer, &longest) == 0 ? 0 : -ENOMEM;
}

void core_timers_close(struct core *core)
{
	if (core->expiry_timer)
		event_free(core->expiry_timer);
	if (core->heal_timer)
		event_free(core->heal_timer);
	if (core->mend_timer)
		event_free(core->mend_timer);
	if (core->serving_timer)
		event_free(core->serving_timer);
}
