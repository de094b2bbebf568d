/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All roles in one process: the same core and workers, socket pairs between them. */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/msg.h"
#include "daemon/backoff.h"
#include "daemon/core.h"
#include "daemon/launcher.h"
#include "daemon/leftovers.h"
#include "daemon/notify.h"
#include "daemon/options.h"
#include "daemon/prepare.h"
#include "daemon/reload.h"
#include "daemon/role.h"

#define SINGLE_WORKERS_MAX 4

struct single;

struct single_worker {
	struct single *single;
	const struct worker_ops *ops; /* as core knows it */
	const struct worker_ops *code;
	struct worker *worker;
	struct backoff backoff;
	struct event *restart;
};

struct single {
	struct event_base *base;
	const struct conf *conf;
	struct conf kept; /* of a reload */
	struct core *core;
	struct single_worker workers[SINGLE_WORKERS_MAX];
	size_t worker_count;
	struct event *signals[3];
	const char *file;     /* of the configuration; NULL = the default one */
	struct event *reload; /* an admin asks for it */
	uint32_t serial;
	bool ending;
	int status;
};

static void single_leave(struct single *single, int status)
{
	single->ending = true;
	single->status = status;
	event_base_loopbreak(single->base);
}

static void single_on_ready(void *user)
{
	(void)user;
}

static void single_on_serving(void *user)
{
	(void)user;
	notify_send("READY=1");
}

static void single_schedule(struct single_worker *worker)
{
	int64_t delay_ms = backoff_end(&worker->backoff, clock_now_ms());
	const struct timeval delay = {(time_t)(delay_ms / 1000),
				      (suseconds_t)(delay_ms % 1000 * 1000)};

	(void)evtimer_add(worker->restart, &delay);
}

/* Inside core's callback, so the object is replaced in another turn of the loop. */
static void single_on_worker_ended(void *user, const struct worker_ops *ops)
{
	struct single *single = user;

	for (size_t i = 0; i < single->worker_count; i++)
		if (single->workers[i].ops == ops && !single->ending &&
		    role_is_wanted(i, single->conf))
			single_schedule(&single->workers[i]);
}

static void single_stop_worker(struct single_worker *worker)
{
	if (worker->worker)
		worker->code->stop(worker->worker);
	worker->worker = NULL;
}

/* Errors: -errno. */
static int single_start_worker(struct single_worker *worker)
{
	int pair[2];
	int error = msg_pair(pair);

	if (error < 0)
		return error;
	backoff_start(&worker->backoff, clock_now_ms());
	error = core_attach_worker(worker->single->core, worker->ops, pair[0]);
	worker->worker = worker->code->start(worker->single->base, pair[1]);
	return worker->worker ? error : -EIO;
}

static void single_on_due(evutil_socket_t fd, short what, void *user)
{
	struct single_worker *worker = user;
	int error;

	(void)fd;
	(void)what;
	single_stop_worker(worker);
	error = single_start_worker(worker);
	if (error == 0)
		return;
	log_error("cannot start worker %s: %s", worker->ops->name, strerror(-error));
	single_schedule(worker);
}

static void single_on_stop(evutil_socket_t number, short what, void *user)
{
	(void)number;
	(void)what;
	log_notice("stopping");
	notify_send("STOPPING=1");
	single_leave(user, 0);
}

static const struct worker_ops *single_load_worker(size_t index)
{
	enum module module = role_get_worker_module(index);
	int fd = module == MODULE_NONE ? -1 : module_open(module);

	if (module != MODULE_NONE && fd < 0)
		return NULL;
	return role_load_worker(index, fd);
}

/* Those that single->conf asks for have their code then. Errors: false, logged. */
static bool single_load_workers(struct single *single)
{
	for (size_t i = 0; i < single->worker_count; i++) {
		struct single_worker *worker = &single->workers[i];

		if (!worker->code && role_is_wanted(i, single->conf))
			worker->code = single_load_worker(i);
		if (!worker->code && role_is_wanted(i, single->conf))
			return false;
	}
	return true;
}

static void single_name_workers(struct single *single)
{
	while (single->worker_count < SINGLE_WORKERS_MAX &&
	       role_get_worker(single->worker_count)) {
		struct single_worker *worker = &single->workers[single->worker_count];

		worker->single = single;
		worker->ops = role_get_worker(single->worker_count++);
	}
}

/*
 * Make the workers that run those that single->conf asks for, whose code is there:
 * start what is missing, stop the others. Again whenever it is another configuration.
 */
static void single_select_workers(struct single *single)
{
	for (size_t i = 0; i < single->worker_count; i++) {
		struct single_worker *worker = &single->workers[i];

		if (!worker->code)
			continue;
		if (role_is_wanted(i, single->conf)) {
			if (!worker->worker && !evtimer_pending(worker->restart, NULL))
				single_on_due(-1, 0, worker);
			continue;
		}
		(void)evtimer_del(worker->restart);
		single_stop_worker(worker);
	}
}

/* It is in force: workers that were told once come anew, and others come and go. */
static void single_follow_conf(struct single *single, struct conf *next,
			       uint8_t protocols)
{
	reload_keep(single->conf, next);
	single->kept = *next;
	single->conf = &single->kept;
	/* what cannot be loaded has said so, and core says what does not run */
	(void)!single_load_workers(single);
	single_select_workers(single);
	for (size_t i = 0; i < single->worker_count; i++)
		if ((single->workers[i].ops->protocols & protocols) != 0)
			event_active(single->workers[i].restart, EV_TIMEOUT, 0);
}

static void single_on_reload(evutil_socket_t number, short what, void *user)
{
	struct single *single = user;
	char text[CONF_ERROR_MAX];
	struct conf next;
	uint8_t workers = 0;

	(void)number;
	(void)what;
	log_notice("reload: reading %s",
		   single->file ? single->file : CONF_DEFAULT_FILE);
	if (conf_load(single->file, &next, text) < 0) {
		log_error("reload: %s; nothing has changed", text);
		core_refuse_reload(single->core, single->serial, text);
	} else if (core_reload(single->core, &next, single->serial, "", &workers) ==
		   0) {
		single_follow_conf(single, &next, workers);
	}
}

/* Inside core's callback: in another turn of the loop. */
static void single_on_reload_asked(void *user, uint32_t serial)
{
	struct single *single = user;

	single->serial = serial;
	event_active(single->reload, EV_TIMEOUT, 0);
}

static int single_init(struct single *single)
{
	static const struct {
		int number;
		event_callback_fn handler;
	} rows[] = {
		{SIGTERM, single_on_stop},
		{SIGINT, single_on_stop},
		{SIGHUP, single_on_reload},
	};

	(void)signal(SIGPIPE, SIG_IGN);
	single->base = event_base_new();
	if (!single->base)
		return -ENOMEM;
	single->reload = event_new(single->base, -1, 0, single_on_reload, single);
	if (!single->reload)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		single->signals[i] = evsignal_new(single->base, rows[i].number,
						  rows[i].handler, single);
		if (!single->signals[i] || event_add(single->signals[i], NULL) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < single->worker_count; i++) {
		struct single_worker *worker = &single->workers[i];

		worker->restart = evtimer_new(single->base, single_on_due, worker);
		if (!worker->restart)
			return -ENOMEM;
	}
	return 0;
}

static void single_fini(struct single *single)
{
	for (size_t i = 0; i < single->worker_count; i++) {
		single_stop_worker(&single->workers[i]);
		if (single->workers[i].restart)
			event_free(single->workers[i].restart);
	}
	if (core_free(single->core) != 0)
		single->status = EXIT_STATUS_ERROR;
	if (single->reload)
		event_free(single->reload);
	for (size_t i = 0; i < sizeof(single->signals) / sizeof(single->signals[0]);
	     i++)
		if (single->signals[i])
			event_free(single->signals[i]);
	if (single->base)
		event_base_free(single->base);
}

static void single_serve(struct single *single)
{
	single_select_workers(single);
	/* A worker breaks the loop when its channel ends; here that is not the end. */
	while (!single->ending)
		if (event_base_dispatch(single->base) != 0)
			single_leave(single, EXIT_STATUS_ERROR);
}

int single_run(const struct conf *conf, const char *file)
{
	static const struct core_events events = {
		.ready = single_on_ready,
		.serving = single_on_serving,
		.worker_ended = single_on_worker_ended,
		.reload = single_on_reload_asked,
	};
	struct single single = {
		.conf = conf, .file = file, .status = EXIT_STATUS_ERROR};
	const struct prepare_users self = {
		.core_uid = geteuid(),
		.core_gid = getegid(),
	};
	int error;

	log_init("portreeved", conf->global.log_level);
	single_name_workers(&single);
	if (!single_load_workers(&single) || prepare_make_directories(conf, &self) < 0)
		return EXIT_STATUS_ERROR;
	if (leftovers_remove(conf) < 0)
		return EXIT_STATUS_ERROR;
	error = single_init(&single);
	if (error < 0)
		log_error("cannot start the event loop: %s", strerror(-error));
	if (error == 0)
		error = core_new(single.base, conf, &events, &single, &single.core);
	if (error == 0)
		single_serve(&single);
	else
		single.status =
			error == -EINVAL ? EXIT_STATUS_USAGE : EXIT_STATUS_ERROR;
	single_fini(&single);
	return single.status;
}
