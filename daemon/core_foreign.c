/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Core looks after the firewall besides our table: soon after somebody has changed it,
 * and rarely where somebody changes it all the time.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/foreign.h"
#include "base/clock.h"
#include "daemon/core_private.h"

static_assert(RULESET_NAME_MAX >= CONF_CHAIN_NAME_MAX, "every name has its place");

static void foreign_config_fill(const struct conf *conf, struct foreign_config *out)
{
	const struct conf_chain *integrate = &conf->backend.integrate;

	*out = (struct foreign_config){
		.mark = conf->backend.mark,
		.ipv4_only = conf->wan.pinholes == CONF_PINHOLES_OFF,
	};
	switch (integrate->how) {
	case CONF_INTEGRATE_OFF:
		out->how = FOREIGN_OFF;
		break;
	case CONF_INTEGRATE_AUTO:
		out->how = FOREIGN_AUTO;
		break;
	case CONF_INTEGRATE_CHAIN:
		out->how = FOREIGN_CHAIN;
		break;
	}
	(void)snprintf(out->family, sizeof(out->family), "%s", integrate->family);
	(void)snprintf(out->table, sizeof(out->table), "%s", integrate->table);
	(void)snprintf(out->chain, sizeof(out->chain), "%s", integrate->chain);
	/* A chain of iptables is the backend's business, where that is in iptables. */
	if (out->how == FOREIGN_CHAIN && conf->backend.type == CONF_BACKEND_IPTABLES &&
	    strcmp(out->family, "inet") != 0)
		out->how = FOREIGN_OFF;
}

/*
 * Soon after the first change, and after twice the time each while changes go on, so
 * that a busy stranger costs little and the end of a reload is not missed for long.
 */
void core_foreign_plan(struct core *core)
{
	struct timeval delay;
	int64_t pause_ms = core->foreign_pause_ms * 2;

	if (!core->foreign || core->foreign_due)
		return;
	if (pause_ms < CORE_FOREIGN_PAUSE_MIN_MS ||
	    clock_now_ms() - core->foreign_told_ms > CORE_FOREIGN_QUIET_MS)
		pause_ms = CORE_FOREIGN_PAUSE_MIN_MS;
	if (pause_ms > CORE_FOREIGN_PAUSE_MAX_MS)
		pause_ms = CORE_FOREIGN_PAUSE_MAX_MS;
	core->foreign_pause_ms = pause_ms;
	delay = (struct timeval){.tv_usec = (suseconds_t)pause_ms * 1000};
	core->foreign_due = event_add(core->foreign_timer, &delay) == 0;
}

/* Others were faster, again and again, or an answer was lost. What is not allowed, not
 * there or too large will not be otherwise a second later. */
static bool error_is_passing(int error)
{
	static const int passing[] = {ERESTART, EINTR,	ENOBUFS, EBUSY,
				      EAGAIN,	ENOMEM, EIO,	 EPROTO};

	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		if (error == -passing[i])
			return true;
	return false;
}

/* The kernel tells nobody that a table went with the program that owned it. */
static bool core_foreign_is_in_trouble(const struct core *core)
{
	const struct foreign_figures *figures = foreign_get_figures(core->foreign);

	return figures->refused_count > 0 || figures->left_out > 0 || figures->partial;
}

/* Unless there are news before. */
static void core_foreign_plan_retry(struct core *core)
{
	const struct timeval delay = {.tv_sec = CORE_FOREIGN_RETRY_S};

	if (core->foreign_timer && !core->foreign_due)
		(void)event_add(core->foreign_timer, &delay);
}

static void core_foreign_refresh(struct core *core)
{
	int error = foreign_refresh(core->foreign, ledger_get_network(core->ledger),
				    clock_now_ms());

	core->foreign_told_ms = clock_now_ms();
	if (error_is_passing(error))
		core_foreign_plan(core);
	else if (error < 0 || core_foreign_is_in_trouble(core))
		core_foreign_plan_retry(core);
}

void core_foreign_follow_conf(struct core *core)
{
	struct foreign_config config;

	if (!core->foreign)
		return;
	foreign_config_fill(&core->conf, &config);
	foreign_set_config(core->foreign, &config);
	core_foreign_refresh(core);
}

void core_foreign_set_quiet(struct core *core, bool on)
{
	if (core->foreign)
		foreign_set_quiet(core->foreign, on);
}

bool core_foreign_has_port(const struct core *core, uint8_t protocol, uint16_t port)
{
	return core->foreign && foreign_has_port(core->foreign, protocol, port);
}

const struct foreign_figures *core_foreign_get_figures(const struct core *core)
{
	return core->foreign ? foreign_get_figures(core->foreign) : NULL;
}

static void core_foreign_readable(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;

	(void)fd;
	(void)what;
	if (foreign_drain(core->foreign))
		core_foreign_plan(core);
}

static void core_foreign_due(evutil_socket_t fd, short what, void *user)
{
	struct core *core = user;

	(void)fd;
	(void)what;
	core->foreign_due = false;
	core_foreign_refresh(core);
}

static int core_foreign_watch(struct core *core)
{
	core->foreign_timer = event_new(core->base, -1, 0, core_foreign_due, core);
	core->foreign_event =
		event_new(core->base, foreign_get_fd(core->foreign),
			  EV_READ | EV_PERSIST, core_foreign_readable, core);
	if (!core->foreign_timer || !core->foreign_event)
		return -ENOMEM;
	return event_add(core->foreign_event, NULL) == 0 ? 0 : -ENOMEM;
}

/* What cannot be looked at is no reason not to run. */
int core_foreign_open(struct core *core)
{
	struct foreign_config config;
	int error;

	if (core->conf.backend.type == CONF_BACKEND_MEMORY)
		return 0;
	foreign_config_fill(&core->conf, &config);
	error = foreign_open(&config, &core->foreign);
	if (error == -ENOMEM)
		return error;
	if (error < 0) {
		log_debug("no look at the firewall besides our table: %s",
			  strerror(-error));
		return 0;
	}
	error = core_foreign_watch(core);
	if (error == 0)
		core_foreign_refresh(core);
	return error;
}

void core_foreign_close(struct core *core)
{
	if (core->foreign_event)
		event_free(core->foreign_event);
	if (core->foreign_timer)
		event_free(core->foreign_timer);
	foreign_close(core->foreign, core->conf.backend.keep_rules);
	core->foreign = NULL;
}
