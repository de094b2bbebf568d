/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/launcher.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/msg.h"
#include "base/sandbox.h"
#include "daemon/firewall.h"
#include "daemon/launcher_private.h"
#include "daemon/notify.h"
#include "daemon/options.h"

/* A clean stop that takes longer is none. */
#define LAUNCHER_STOP_S 10
/* Workers whose core died say goodbye in this time, or none. */
#define LAUNCHER_RENEW_S 1

static void launcher_leave(struct launcher *launcher, int status)
{
	launcher->status = status;
	event_base_loopbreak(launcher->base);
}

static void launcher_set_deadline(struct launcher *launcher, time_t seconds)
{
	const struct timeval delay = {seconds, 0};

	(void)evtimer_add(launcher->deadline, &delay);
}

static void launcher_kill_all(struct launcher *launcher)
{
	launcher_signal_workers(launcher, SIGKILL);
	if (launcher->core.pid > 0)
		(void)kill(launcher->core.pid, SIGKILL);
}

/* What a phase waits for has come to pass? Called whenever a process has ended. */
static void launcher_advance(struct launcher *launcher)
{
	if (launcher_count_workers(launcher) > 0)
		return;
	switch (launcher->phase) {
	case LAUNCHER_RUNNING:
		return;
	case LAUNCHER_RENEWING:
		if (launcher->core.pid == 0)
			launcher_schedule(&launcher->core);
		return;
	case LAUNCHER_STOPPING:
		if (launcher->core.pid == 0)
			launcher_leave(launcher, launcher->status);
		else if (!launcher->channel ||
			 msg_channel_send(launcher->channel, ROLE_MSG_STOP, NULL, 0) <
				 0)
			(void)kill(launcher->core.pid, SIGKILL);
		return;
	}
}

static void launcher_cancel_restarts(struct launcher *launcher)
{
	for (size_t i = 0; i < launcher->worker_count; i++)
		(void)evtimer_del(launcher->workers[i].restart);
	(void)evtimer_del(launcher->core.restart);
}

static void launcher_enter(struct launcher *launcher, enum launcher_phase phase,
			   time_t deadline_s)
{
	launcher->phase = phase;
	launcher_cancel_restarts(launcher);
	launcher_set_deadline(launcher, deadline_s);
	launcher_signal_workers(launcher, SIGTERM);
	launcher_advance(launcher);
}

static void launcher_on_core_gone(struct launcher *launcher, int wait_status)
{
	msg_channel_free(launcher->channel);
	launcher->channel = NULL;
	/* One that was killed in the middle of a change held it, and our descriptor
	 * would for as long as there is no other core. */
	if (launcher->lock >= 0)
		(void)flock(launcher->lock, LOCK_UN);
	if (launcher->phase == LAUNCHER_STOPPING) {
		/* Asked to stop, it could not: it has said what stays. */
		if (launcher->status == 0 && WIFEXITED(wait_status))
			launcher->status = WEXITSTATUS(wait_status);
		return;
	}
	if (launcher->ready) {
		launcher_reload_lost(launcher);
		launcher_enter(launcher, LAUNCHER_RENEWING, LAUNCHER_RENEW_S);
		return;
	}
	/* It never worked, and said why: another try would say the same. */
	launcher->status = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) != 0
				   ? WEXITSTATUS(wait_status)
				   : EXIT_STATUS_ERROR;
	launcher_enter(launcher, LAUNCHER_STOPPING, LAUNCHER_RENEW_S);
}

static void launcher_on_child_gone(struct launcher *launcher, pid_t pid,
				   int wait_status)
{
	struct child *child = launcher_find_child(launcher, pid);
	bool wanted;

	if (!child)
		return;
	wanted = launcher->phase == LAUNCHER_RUNNING &&
		 (child == &launcher->core || launcher_wants_worker(child));
	launcher_note_end(child, wait_status, !wanted || child->renewing);
	if (child->renewing)
		(void)evtimer_del(child->restart);
	child->renewing = false;
	if (child == &launcher->core)
		launcher_on_core_gone(launcher, wait_status);
	else if (wanted && child->delay_ms == 0)
		launcher_start_worker(child);
	else if (wanted)
		launcher_schedule(child);
	if (launcher->phase != LAUNCHER_RUNNING)
		launcher_advance(launcher);
}

static void launcher_on_sigchld(evutil_socket_t number, short what, void *user)
{
	struct launcher *launcher = user;
	int status = 0;
	pid_t pid;

	(void)number;
	(void)what;
	/* Workers end because core did, so its end is noted before theirs. */
	if (launcher->core.pid > 0 &&
	    waitpid(launcher->core.pid, &status, WNOHANG) == launcher->core.pid)
		launcher_on_child_gone(launcher, launcher->core.pid, status);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		launcher_on_child_gone(launcher, pid, status);
}

static void launcher_on_stop(evutil_socket_t number, short what, void *user)
{
	struct launcher *launcher = user;

	(void)number;
	(void)what;
	if (launcher->phase == LAUNCHER_STOPPING) {
		log_warning("asked to stop twice: ending without ceremony");
		launcher->status = EXIT_STATUS_ERROR;
		launcher_kill_all(launcher);
		return;
	}
	log_notice("stopping");
	notify_send("STOPPING=1");
	launcher->status = 0;
	launcher_enter(launcher, LAUNCHER_STOPPING, LAUNCHER_STOP_S);
}

static void launcher_on_hangup(evutil_socket_t number, short what, void *user)
{
	struct launcher *launcher = user;

	(void)number;
	(void)what;
	launcher->reload.losses = 0;
	launcher_reload(launcher);
}

static void launcher_on_deadline(evutil_socket_t fd, short what, void *user)
{
	struct launcher *launcher = user;

	(void)fd;
	(void)what;
	if (launcher->phase == LAUNCHER_STOPPING) {
		log_error("a process did not end in time and is killed");
		launcher->status = EXIT_STATUS_ERROR;
		launcher_kill_all(launcher);
	} else {
		launcher_signal_workers(launcher, SIGKILL);
	}
}

static void launcher_on_worker_lied(struct launcher *launcher,
				    const struct role_worker *body)
{
	const struct child *worker = &launcher->workers[body->index];

	/* While things end, a channel that closes is no lie. */
	if (launcher->phase != LAUNCHER_RUNNING)
		return;
	/* Of its predecessor, when core speaks of another generation: that one is gone.
	 */
	if (worker->pid > 0 && worker->generation == body->generation &&
	    !worker->renewing)
		(void)kill(worker->pid, SIGKILL);
}

static int launcher_on_message(void *user, uint32_t type, const void *body,
			       size_t length, int fd)
{
	struct launcher *launcher = user;
	struct role_reloaded reloaded;
	struct role_reload reload;
	struct role_worker worker;

	if (fd >= 0)
		close(fd);

	if (type == ROLE_MSG_RELOAD && length == sizeof(reload)) {
		memcpy(&reload, body, sizeof(reload));
		launcher_reload_asked(launcher, &reload);
		return 0;
	}
	if (type == ROLE_MSG_RELOADED && length == sizeof(reloaded)) {
		memcpy(&reloaded, body, sizeof(reloaded));
		launcher_reloaded(launcher, &reloaded);
		return 0;
	}
	if (type == ROLE_MSG_READY && length == 0) {
		launcher->ready = true;
		return 0;
	}
	if (type == ROLE_MSG_SERVING && length == 0) {
		memory_release();
		launcher->serving = true;
		notify_send("READY=1");
		return 0;
	}
	if (type != ROLE_MSG_WORKER_ENDED || length != sizeof(worker))
		return -EBADMSG;
	memcpy(&worker, body, sizeof(worker));
	if (worker.index >= launcher->worker_count)
		return -EBADMSG;
	launcher_on_worker_lied(launcher, &worker);
	return 0;
}

static void launcher_on_channel_ended(void *user, int error)
{
	struct launcher *launcher = user;

	msg_channel_free(launcher->channel);
	launcher->channel = NULL;
	/* A core that is alive and cannot be talked to is of no use; its end is noted
	 * when the process is gone. */
	if (error != 0 && launcher->core.pid > 0) {
		log_error("the channel to core broke: %s", strerror(-error));
		(void)kill(launcher->core.pid, SIGKILL);
	}
}

static void launcher_start_all(struct launcher *launcher)
{
	static const struct msg_handler handler = {
		.message = launcher_on_message,
		.ended = launcher_on_channel_ended,
	};

	launcher->phase = LAUNCHER_RUNNING;
	(void)evtimer_del(launcher->deadline);
	if (launcher_start_core(launcher, &handler) < 0) {
		if (launcher->core.pid > 0)
			(void)kill(launcher->core.pid, SIGKILL);
		else
			launcher_leave(launcher, EXIT_STATUS_ERROR);
		return;
	}
	launcher_select_workers(launcher);
	if (launcher->reload.wanted)
		launcher_reload(launcher);
}

static void launcher_on_core_due(evutil_socket_t fd, short what, void *user)
{
	const struct child *core = user;

	(void)fd;
	(void)what;
	launcher_start_all(core->launcher);
}

static void launcher_on_worker_due(evutil_socket_t fd, short what, void *user)
{
	struct child *worker = user;

	(void)fd;
	(void)what;
	if (worker->pid == 0)
		launcher_start_worker(worker);
	else if (worker->renewing)
		(void)kill(worker->pid, SIGKILL);
}

static int launcher_init_child(struct launcher *launcher, struct child *child,
			       const char *name, event_callback_fn due)
{
	const struct prepare_users *users = &launcher->users;
	bool core = child == &launcher->core;

	child->launcher = launcher;
	child->index = core ? 0 : (uint32_t)(child - launcher->workers);
	child->module = core ? MODULE_CORE : role_get_worker_module(child->index);
	child->role.uid = core ? users->core_uid : users->net_uid;
	child->role.gid = core ? users->core_gid : users->net_gid;
	child->role.log_level = launcher->conf->global.log_level;
	child->role.raw = core && launcher->raw;
	strncpy(child->role.name, name, sizeof(child->role.name) - 1);
	child->restart = evtimer_new(launcher->base, due, child);
	return child->restart ? 0 : -ENOMEM;
}

static int launcher_init_children(struct launcher *launcher)
{
	int error = launcher_init_child(launcher, &launcher->core, ROLE_CORE,
					launcher_on_core_due);

	while (error == 0 && launcher->worker_count < LAUNCHER_WORKERS_MAX &&
	       role_get_worker(launcher->worker_count)) {
		error = launcher_init_child(
			launcher, &launcher->workers[launcher->worker_count],
			role_get_worker(launcher->worker_count)->name,
			launcher_on_worker_due);
		launcher->worker_count++;
	}
	return error;
}

static int launcher_init_events(struct launcher *launcher)
{
	static const struct {
		int number;
		event_callback_fn handler;
	} rows[] = {
		{SIGCHLD, launcher_on_sigchld},
		{SIGTERM, launcher_on_stop},
		{SIGINT, launcher_on_stop},
		{SIGHUP, launcher_on_hangup},
	};

	(void)signal(SIGPIPE, SIG_IGN);
	launcher->base = event_base_new();
	if (!launcher->base)
		return -ENOMEM;
	launcher->deadline =
		evtimer_new(launcher->base, launcher_on_deadline, launcher);
	if (!launcher->deadline)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		launcher->signals[i] = evsignal_new(launcher->base, rows[i].number,
						    rows[i].handler, launcher);
		if (!launcher->signals[i] || event_add(launcher->signals[i], NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void launcher_fini(struct launcher *launcher)
{
	msg_channel_free(launcher->channel);
	for (size_t i = 0; i < launcher->worker_count; i++)
		if (launcher->workers[i].restart)
			event_free(launcher->workers[i].restart);
	if (launcher->core.restart)
		event_free(launcher->core.restart);
	for (size_t i = 0; i < sizeof(launcher->signals) / sizeof(launcher->signals[0]);
	     i++)
		if (launcher->signals[i])
			event_free(launcher->signals[i]);
	if (launcher->deadline)
		event_free(launcher->deadline);
	if (launcher->base)
		event_base_free(launcher->base);
}

/* Errors: -errno, logged. */
static int launcher_open_modules(struct launcher *launcher)
{
	launcher->modules[MODULE_NONE] = -1;
	for (enum module module = MODULE_CORE; module < MODULE_COUNT; module++) {
		launcher->modules[module] = module_open(module);
		if (launcher->modules[module] < 0)
			return launcher->modules[module];
	}
	return 0;
}

/*
 * In a process of its own, that has core's code and root's privileges for this one
 * thing: neither the launcher nor core keeps them. Errors: -errno, logged.
 */
static int launcher_remove_leftovers(const struct launcher *launcher)
{
	const struct module_core *core;
	int status = 0;
	pid_t pid;

	if (!firewall_may_have_leftovers(launcher->conf))
		return 0;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		core = module_load(MODULE_CORE, launcher->modules[MODULE_CORE]);
		_exit(core && core->remove_leftovers(launcher->conf) == 0 ? 0 : 1);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? 0 : -EIO;
}

/* Everything that root must do once, then no more root than needed. */
static int launcher_prepare(struct launcher *launcher)
{
	int error;

	if (geteuid() != 0) {
		log_error("must be started as root: core needs CAP_NET_ADMIN for the "
			  "firewall, "
			  "and every role changes to a user of its own");
		return -EPERM;
	}
	launcher->raw = firewall_is_iptables(launcher->conf);
	launcher->lock = launcher->raw ? firewall_open_lock() : -1;
	error = launcher_open_modules(launcher);
	if (error == 0)
		error = prepare_find_users(launcher->conf, &launcher->users);
	if (error == 0)
		error = prepare_make_directories(launcher->conf, &launcher->users);
	if (error == 0)
		error = launcher_remove_leftovers(launcher);
	if (error == 0)
		error = sandbox_enter(SANDBOX_LAUNCHER, 0, 0, launcher->raw);
	return error;
}

int launcher_run(const struct conf *conf, const char *file)
{
	struct launcher launcher = {.status = EXIT_STATUS_ERROR};
	int error;

	launcher.reload.file = file;
	launcher.reload.conf = *conf;
	launcher.conf = &launcher.reload.conf;
	log_init("portreeved", conf->global.log_level);
	if (launcher_prepare(&launcher) < 0)
		return EXIT_STATUS_ERROR;
	error = launcher_init_events(&launcher);
	if (error == 0)
		error = launcher_init_children(&launcher);
	if (error == 0) {
		launcher_start_all(&launcher);
		event_base_dispatch(launcher.base);
	} else {
		log_error("cannot start the event loop: %s", strerror(-error));
	}
	launcher_fini(&launcher);
	return launcher.status;
}
