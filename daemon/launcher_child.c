/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processes of the launcher: start them, give them their sockets, note their end.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/msg.h"
#include "daemon/launcher_private.h"
#include "daemon/spawn.h"

/* What was read and checked once, as core shall see it. Errors: -errno. */
static int launcher_open_conf(const struct conf *conf)
{
	int fd = memfd_create("portreeve-conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (pwrite(fd, conf, sizeof(*conf), 0) != (ssize_t)sizeof(*conf) ||
	    fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
		close(fd);
		return -ENOSPC;
	}
	return fd;
}

int launcher_send_conf(struct launcher *launcher, const struct conf *conf,
		       const struct role_reload *body)
{
	int fd = launcher_open_conf(conf);
	int error;

	if (fd < 0)
		return fd;
	error = msg_channel_send_fd(launcher->channel, ROLE_MSG_CONF, body,
				    body ? sizeof(*body) : 0, fd);
	if (error < 0)
		close(fd);
	return error;
}

/* Start a child with one end of a new pair; *peer is the other. Errors: -errno. */
static int launcher_start(struct child *child, int *peer)
{
	int pair[2];
	int error = msg_pair(pair);

	if (error < 0)
		return error;
	error = spawn_role(&child->role,
			   &(const struct spawn_fds){
				   .socket = pair[1],
				   .module = child->launcher->modules[child->module],
				   .lock = child->role.raw ? child->launcher->lock : -1,
			   },
			   &child->pid);
	close(pair[1]);
	if (error < 0) {
		close(pair[0]);
		return error;
	}
	child->generation++;
	backoff_start(&child->backoff, clock_now_ms());
	*peer = pair[0];
	return 0;
}

int launcher_start_core(struct launcher *launcher, const struct msg_handler *handler)
{
	int fd = -1;
	int error = launcher_start(&launcher->core, &fd);

	if (error == 0) {
		launcher->channel =
			msg_channel_new(launcher->base, fd, handler, launcher);
		if (!launcher->channel) {
			close(fd);
			error = -ENOMEM;
		}
	}
	if (error == 0)
		error = launcher_send_conf(launcher, launcher->conf, NULL);
	if (error < 0)
		log_error("cannot start core: %s", strerror(-error));
	return error;
}

/* Core learns of a worker by its socket; the worker serves when core has spoken to it.
 */
static int launcher_introduce(struct child *worker, int fd)
{
	const struct role_worker body = {worker->index, worker->generation};
	struct msg_channel *channel = worker->launcher->channel;
	int error = -EPIPE;

	if (channel)
		error = msg_channel_send_fd(channel, ROLE_MSG_WORKER, &body,
					    sizeof(body), fd);
	if (error < 0)
		close(fd);
	return error;
}

void launcher_start_worker(struct child *worker)
{
	int fd = -1;
	int error = launcher_start(worker, &fd);

	/* When core does not get its end, the worker sees its own end and stops. */
	if (error == 0)
		error = launcher_introduce(worker, fd);
	if (error == 0 || worker->pid > 0)
		return;
	log_error("cannot start worker %s: %s", worker->role.name, strerror(-error));
	backoff_start(&worker->backoff, clock_now_ms());
	(void)backoff_end(&worker->backoff, clock_now_ms());
	worker->delay_ms = backoff_end(&worker->backoff, clock_now_ms());
	launcher_schedule(worker);
}

bool launcher_wants_worker(const struct child *worker)
{
	return role_is_wanted(worker->index, worker->launcher->conf);
}

void launcher_select_workers(struct launcher *launcher)
{
	for (size_t i = 0; i < launcher->worker_count; i++) {
		struct child *worker = &launcher->workers[i];

		if (launcher_wants_worker(worker)) {
			/* One that waits for its next try goes on waiting. */
			if (worker->pid == 0 && !evtimer_pending(worker->restart, NULL))
				launcher_start_worker(worker);
			continue;
		}
		(void)evtimer_del(worker->restart);
		if (worker->pid > 0)
			(void)kill(worker->pid, SIGTERM);
	}
}

/* As long as one of a core that died may take to say goodbye. */
#define RENEW_MAX_S 1

void launcher_renew_worker(struct child *worker)
{
	const struct timeval longest = {RENEW_MAX_S, 0};

	/* one that waits for its next try does so with what is new */
	if (worker->pid == 0)
		return;
	worker->renewing = true;
	(void)kill(worker->pid, SIGTERM);
	(void)evtimer_add(worker->restart, &longest);
}

void launcher_note_end(struct child *child, int wait_status, bool expected)
{
	char how[48];
	char then[48] = "";

	child->pid = 0;
	child->delay_ms = expected ? 0 : backoff_end(&child->backoff, clock_now_ms());
	if (WIFSIGNALED(wait_status))
		(void)snprintf(how, sizeof(how), "signal=%d", WTERMSIG(wait_status));
	else
		(void)snprintf(how, sizeof(how), "status=%d", WEXITSTATUS(wait_status));
	if (!expected && child->launcher->ready)
		(void)snprintf(then, sizeof(then), " restart_in_ms=%" PRId64,
			       child->delay_ms);
	/* what could not even start has said why itself */
	if (!child->launcher->ready && !WIFSIGNALED(wait_status))
		expected = true;
	log_write(expected ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "%s ended %s%s",
		  child->role.name, how, then);
}

struct child *launcher_find_child(struct launcher *launcher, pid_t pid)
{
	if (launcher->core.pid == pid)
		return &launcher->core;
	for (size_t i = 0; i < launcher->worker_count; i++)
		if (launcher->workers[i].pid == pid)
			return &launcher->workers[i];
	return NULL;
}

size_t launcher_count_workers(const struct launcher *launcher)
{
	size_t count = 0;

	for (size_t i = 0; i < launcher->worker_count; i++)
		if (launcher->workers[i].pid > 0)
			count++;
	return count;
}

void launcher_signal_workers(struct launcher *launcher, int number)
{
	for (size_t i = 0; i < launcher->worker_count; i++)
		if (launcher->workers[i].pid > 0)
			(void)kill(launcher->workers[i].pid, number);
}

void launcher_schedule(struct child *child)
{
	const struct timeval delay = {(time_t)(child->delay_ms / 1000),
				      (suseconds_t)(child->delay_ms % 1000 * 1000)};

	(void)evtimer_add(child->restart, &delay);
}
