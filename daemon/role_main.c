/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/sandbox.h"
#include "daemon/options.h"
#include "daemon/role.h"

/* The code of a role: core's, or a worker's. */
struct role_code {
	const struct module_core *core;
	const struct worker_ops *worker;
};

/* Errors: false, logged. */
static bool role_load(const struct role *role, struct role_code *out)
{
	size_t i = 0;

	if (strcmp(role->name, ROLE_CORE) == 0) {
		out->core = module_load(MODULE_CORE, ROLE_MODULE_FD);
		return out->core != NULL;
	}
	while (i < role_get_worker_count() &&
	       strcmp(role_get_worker(i)->name, role->name) != 0)
		i++;
	if (i == role_get_worker_count()) {
		log_error("there is no such role");
		return false;
	}
	out->worker = role_load_worker(i, ROLE_MODULE_FD);
	return out->worker != NULL;
}

static bool role_has_socket(void)
{
	int type = 0;
	socklen_t size = sizeof(type);

	return getsockopt(ROLE_FD, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
	       type == SOCK_SEQPACKET;
}

/* For ps and pgrep; the argument is taken off the command line again. */
static void role_show_name(const struct role *role, char *argument)
{
	char name[32]; /* of which the kernel keeps 15 octets */

	(void)snprintf(name, sizeof(name), "portreeved:%s", role->name);
	(void)prctl(PR_SET_NAME, name, 0, 0, 0);
	memset(argument, 0, strlen(argument));
}

static void role_on_stop(evutil_socket_t signal_number, short what, void *user)
{
	(void)signal_number;
	(void)what;
	event_base_loopbreak(user);
}

/* Serve until the channel to core ends or the launcher says stop. */
static int role_run_worker(const struct worker_ops *ops)
{
	struct event_base *base = event_base_new();
	struct event *stop =
		base ? evsignal_new(base, SIGTERM, role_on_stop, base) : NULL;
	struct worker *worker;

	if (!stop || event_add(stop, NULL) < 0) {
		log_error("cannot start the event loop");
		return EXIT_STATUS_ERROR;
	}
	worker = ops->start(base, ROLE_FD);
	if (!worker)
		return EXIT_STATUS_ERROR;
	memory_release();
	event_base_dispatch(base);
	ops->stop(worker);
	event_free(stop);
	event_base_free(base);
	return 0;
}

/*
 * A Ctrl-C reaches the whole process group, and some service managers signal every
 * process of a service; the order of a stop is the launcher's business alone.
 */
static void role_set_signals(bool core)
{
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	if (core)
		(void)signal(SIGTERM, SIG_IGN);
}

int role_main(char **argv)
{
	static struct role role; /* the log keeps its name */
	struct role_code code = {0};

	if (!role_parse(argv[1], &role) || argv[2] || !role_has_socket()) {
		(void)fprintf(stderr, "portreeved: --role is for its own use\n"
				      "Try 'portreeved --help'.\n");
		return EXIT_STATUS_USAGE;
	}
	role_show_name(&role, argv[1]);
	log_init(role.name, role.log_level);
	if (!role_load(&role, &code))
		return EXIT_STATUS_ERROR;
	role_set_signals(code.core != NULL);
	if (sandbox_enter(code.core ? SANDBOX_CORE : SANDBOX_WORKER, role.uid, role.gid,
			  code.core && role.raw) < 0)
		return EXIT_STATUS_ERROR;
	return code.core ? code.core->run_role(&role) : role_run_worker(code.worker);
}
