/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration is read again by the launcher, which alone may read any file; what
 * it means for leases and LANs is core's business. It is in force when core says so,
 * and only then what a core that is started again gets.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/msg.h"
#include "daemon/launcher_private.h"
#include "daemon/notify.h"
#include "daemon/prepare.h"
#include "daemon/reload.h"

/* A configuration that ends core so often is left alone. */
#define RELOAD_LOSSES_MAX 2

/* For service managers: RELOADING=1 is always followed by READY=1. */
static void reload_notify_begin(const struct launcher *launcher)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
		       clock_monotonic_us());
	if (launcher->serving)
		notify_send(text);
}

static void reload_notify_end(const struct launcher *launcher)
{
	if (launcher->serving)
		notify_send("READY=1");
}

/* There is none to use: say so here, and to admins who asked. */
static void reload_refuse(struct launcher *launcher, const char *text)
{
	struct role_refusal refusal;

	log_error("reload: %s; nothing has changed", text);
	memset(&refusal, 0, sizeof(refusal));
	refusal.reload.serial = launcher->reload.serial;
	(void)snprintf(refusal.text, sizeof(refusal.text), "%s", text);
	if (msg_channel_send(launcher->channel, ROLE_MSG_REFUSED, &refusal,
			     sizeof(refusal)) < 0)
		log_warning("reload: core does not hear that it failed");
	reload_notify_end(launcher);
}

/* The launcher is root without the right to read what root may not. */
static void reload_explain(int error, char text[CONF_ERROR_MAX])
{
	size_t used = strlen(text);

	if (error == -EACCES)
		(void)snprintf(text + used, CONF_ERROR_MAX - used,
			       "; a running portreeved reads it as root without "
			       "CAP_DAC_OVERRIDE");
}

/* It is not used before the next start, which would fail. */
static bool reload_misses_user(const struct conf *now, const struct conf *next)
{
	const char *missing = NULL;

	if (strcmp(now->global.user, next->global.user) != 0 ||
	    strcmp(now->global.net_user, next->global.net_user) != 0)
		missing = prepare_find_missing_user(next);
	if (missing)
		log_warning("reload: there is no user \"%s\", which [global] names",
			    missing);
	return missing != NULL;
}

void launcher_reload(struct launcher *launcher)
{
	struct launcher_reload *reload = &launcher->reload;
	struct role_reload body = {
		.serial = reload->serial,
		.number = reload->number + 1,
	};
	char text[CONF_ERROR_MAX];
	int error;

	if (launcher->phase == LAUNCHER_STOPPING)
		return;
	/* One after the other: which one is in force is known when core has answered.
	 */
	reload->wanted = !launcher->channel || reload->answered != reload->number;
	if (reload->wanted) {
		log_notice("reload: waiting for core");
		return;
	}
	log_notice("reload: reading %s",
		   reload->file ? reload->file : CONF_DEFAULT_FILE);
	reload_notify_begin(launcher);
	error = conf_load(reload->file, &reload->next, text);
	if (error < 0) {
		reload_explain(error, text);
		reload_refuse(launcher, text);
		return;
	}
	reload->number = body.number;
	body.user_missing = reload_misses_user(launcher->conf, &reload->next);
	error = launcher_send_conf(launcher, &reload->next, &body);
	if (error < 0) {
		reload->answered = body.number;
		reload_refuse(launcher, strerror(-error));
	}
}

void launcher_reload_asked(struct launcher *launcher, const struct role_reload *body)
{
	launcher->reload.serial = body->serial;
	launcher->reload.losses = 0;
	launcher_reload(launcher);
}

static void reload_replace_workers(struct launcher *launcher, uint32_t protocols)
{
	for (size_t i = 0; i < launcher->worker_count; i++) {
		struct child *worker = &launcher->workers[i];

		worker->role.log_level = launcher->conf->global.log_level;
		if ((role_get_worker(i)->protocols & protocols) != 0)
			launcher_renew_worker(worker);
	}
	launcher_select_workers(launcher);
}

/* What core uses now is what a core that is started again gets. */
static void reload_use(struct launcher *launcher, uint32_t workers)
{
	struct launcher_reload *reload = &launcher->reload;

	reload_keep(&reload->conf, &reload->next);
	reload->conf = reload->next;
	log_set_level(reload->conf.global.log_level);
	launcher->core.role.log_level = reload->conf.global.log_level;
	if (launcher->phase == LAUNCHER_RUNNING)
		reload_replace_workers(launcher, workers);
}

void launcher_reloaded(struct launcher *launcher, const struct role_reloaded *body)
{
	struct launcher_reload *reload = &launcher->reload;

	/* an answer to what was not asked */
	if (reload->answered == reload->number || body->reload.number != reload->number)
		return;
	reload->answered = reload->number;
	reload->losses = 0;
	if (body->error == 0)
		reload_use(launcher, body->workers);
	else
		reload_notify_end(launcher);
	if (reload->wanted)
		launcher_reload(launcher);
}

void launcher_reload_lost(struct launcher *launcher)
{
	struct launcher_reload *reload = &launcher->reload;

	reload->serial = 0;
	if (reload->answered == reload->number)
		return;
	reload->answered = reload->number;
	reload->wanted = ++reload->losses < RELOAD_LOSSES_MAX;
	if (!reload->wanted)
		log_error("reload: core ends over the configuration; it goes on with "
			  "that of before");
}
