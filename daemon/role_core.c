/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/role.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/msg.h"
#include "conf/conf.h"
#include "daemon/core.h"
#include "daemon/options.h"

/* The process around a struct core: its loop, and the channel to the launcher. */
struct role_core {
	struct event_base *base;
	struct msg_channel *launcher;
	struct core *core;
	struct conf conf;
	uint32_t generations[LANS_MAX]; /* of the workers attached last, by index */
	int status;
	bool clean; /* the launcher said stop: leave nothing behind */
};

static void role_core_leave(struct role_core *role, int status)
{
	role->status = status;
	event_base_loopbreak(role->base);
}

static void role_core_send(struct role_core *role, enum role_msg type,
			   const struct role_worker *body)
{
	if (msg_channel_send(role->launcher, type, body, body ? sizeof(*body) : 0) < 0)
		role_core_leave(role, EXIT_STATUS_ERROR);
}

static void role_core_on_ready(void *user)
{
	role_core_send(user, ROLE_MSG_READY, NULL);
}

static void role_core_on_serving(void *user)
{
	memory_release();
	role_core_send(user, ROLE_MSG_SERVING, NULL);
}

static void role_core_on_worker_ended(void *user, const struct worker_ops *worker)
{
	struct role_core *role = user;

	for (uint32_t i = 0; i < role_get_worker_count(); i++) {
		const struct role_worker body = {i, role->generations[i]};

		if (role_get_worker(i) == worker)
			role_core_send(role, ROLE_MSG_WORKER_ENDED, &body);
	}
}

static void role_core_on_reload(void *user, uint32_t serial)
{
	struct role_core *role = user;
	const struct role_reload body = {.serial = serial};

	if (msg_channel_send(role->launcher, ROLE_MSG_RELOAD, &body, sizeof(body)) < 0)
		role_core_leave(role, EXIT_STATUS_ERROR);
}

/* Owns: takes fd. Errors: -errno. */
static int role_core_read_conf(struct conf *conf, int fd)
{
	struct stat status;
	int error = 0;

	if (fstat(fd, &status) < 0)
		error = -errno;
	else if (status.st_size != (off_t)sizeof(*conf) ||
		 pread(fd, conf, sizeof(*conf), 0) != (ssize_t)sizeof(*conf))
		error = -EBADMSG;
	close(fd);
	return error;
}

static int role_core_start(struct role_core *role, int fd)
{
	static const struct core_events events = {
		.ready = role_core_on_ready,
		.serving = role_core_on_serving,
		.worker_ended = role_core_on_worker_ended,
		.reload = role_core_on_reload,
	};
	int error = role_core_read_conf(&role->conf, fd);

	if (error < 0) {
		log_error("cannot read the configuration from the launcher: %s",
			  strerror(-error));
		return error;
	}
	error = core_new(role->base, &role->conf, &events, role, &role->core);
	if (error < 0)
		role->status = error == -EINVAL ? EXIT_STATUS_USAGE : EXIT_STATUS_ERROR;
	return error;
}

/* Owns: takes fd. Errors: -errno, ends the channel. */
static int role_core_reload(struct role_core *role, const void *body, int fd)
{
	struct role_reloaded answer = {.error = 0};
	uint8_t workers = 0;
	int error = role_core_read_conf(&role->conf, fd);

	if (error < 0)
		return error;
	memcpy(&answer.reload, body, sizeof(answer.reload));
	answer.error = core_reload(
		role->core, &role->conf, answer.reload.serial,
		answer.reload.user_missing
			? " (there is no such user: portreeved would not start)"
			: "",
		&workers);
	answer.workers = workers;
	return msg_channel_send(role->launcher, ROLE_MSG_RELOADED, &answer,
				sizeof(answer));
}

static int role_core_refuse(struct role_core *role, const void *body)
{
	struct role_refusal refusal;

	memcpy(&refusal, body, sizeof(refusal));
	refusal.text[sizeof(refusal.text) - 1] = '\0';
	core_refuse_reload(role->core, refusal.reload.serial, refusal.text);
	return 0;
}

static int role_core_attach(struct role_core *role, const struct role_worker *body,
			    int fd)
{
	int error;

	if (body->index >= role_get_worker_count()) {
		close(fd);
		return -EBADMSG;
	}
	role->generations[body->index] = body->generation;
	error = core_attach_worker(role->core, role_get_worker(body->index), fd);
	if (error < 0)
		log_error("cannot attach worker %s: %s",
			  role_get_worker(body->index)->name, strerror(-error));
	return error;
}

static int role_core_on_message(void *user, uint32_t type, const void *body,
				size_t length, int fd)
{
	struct role_core *role = user;
	struct role_worker worker;

	if (type == ROLE_MSG_CONF && fd >= 0 && length == 0 && !role->core)
		return role_core_start(role, fd);
	if (type == ROLE_MSG_WORKER && fd >= 0 && role->core &&
	    length == sizeof(worker)) {
		memcpy(&worker, body, sizeof(worker));
		return role_core_attach(role, &worker, fd);
	}
	if (type == ROLE_MSG_CONF && fd >= 0 && role->core &&
	    length == sizeof(struct role_reload))
		return role_core_reload(role, body, fd);
	if (fd >= 0)
		close(fd);
	if (type == ROLE_MSG_REFUSED && role->core &&
	    length == sizeof(struct role_refusal))
		return role_core_refuse(role, body);
	if (type != ROLE_MSG_STOP)
		return -EBADMSG;
	role->clean = true;
	role_core_leave(role, 0);
	return 0;
}

static void role_core_on_ended(void *user, int error)
{
	struct role_core *role = user;

	/* The launcher died, or core could not start and has said why. */
	if (error == 0)
		log_warning("the launcher is gone; open ports stay so until the next "
			    "start, or until their leases end where the kernel has "
			    "timeouts");
	event_base_loopbreak(role->base);
}

int role_run_core(const struct role *role)
{
	static const struct msg_handler handler = {
		.message = role_core_on_message,
		.ended = role_core_on_ended,
	};
	struct role_core *self = calloc(1, sizeof(*self));
	int status;

	if (!self) {
		log_error("%s: out of memory", role->name);
		return EXIT_STATUS_ERROR;
	}
	self->status = EXIT_STATUS_ERROR;
	self->base = event_base_new();
	if (self->base)
		self->launcher = msg_channel_new(self->base, ROLE_FD, &handler, self);
	if (!self->launcher) {
		log_error("cannot start the event loop");
		free(self);
		return EXIT_STATUS_ERROR;
	}
	event_base_dispatch(self->base);
	/*
	 * Only what the launcher asked for is a clean stop. Without it the kernel keeps
	 * the rules, each with its own time-out, for the core that comes next.
	 */
	if (!self->clean)
		exit(self->status);
	status = core_free(self->core) == 0 ? self->status : EXIT_STATUS_ERROR;
	msg_channel_free(self->launcher);
	event_base_free(self->base);
	free(self);
	return status;
}
