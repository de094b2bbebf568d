/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/firewall.h"

/* The running program, even when its file was replaced by a newer one. */
#define SPAWN_PROGRAM "/proc/self/exe"

static const char *const spawn_environment[] = {
	"ASAN_OPTIONS=",
	"LSAN_OPTIONS=",
	"UBSAN_OPTIONS=",
};

#define SPAWN_ENVIRONMENT_COUNT                                                        \
	(sizeof(spawn_environment) / sizeof(spawn_environment[0]))

static size_t spawn_copy_environment(char *out[SPAWN_ENVIRONMENT_COUNT + 1])
{
	size_t count = 0;

	for (size_t i = 0; i < SPAWN_ENVIRONMENT_COUNT; i++) {
		size_t length = strlen(spawn_environment[i]);

		for (char **entry = environ; *entry; entry++)
			if (strncmp(*entry, spawn_environment[i], length) == 0)
				out[count++] = *entry;
	}
	out[count] = NULL;
	return count;
}

static void spawn_reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < SIGRTMIN; number++)
		(void)signal(number, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

#define SPAWN_LAST_FD FIREWALL_LOCK_FD

/* Nothing else above the standard ones is left open. Errors: -errno. */
static int spawn_place_fds(const struct spawn_fds *fds)
{
	const struct {
		int from;
		int to;
	} rows[] = {{fds->socket, ROLE_FD},
		    {fds->module, ROLE_MODULE_FD},
		    {fds->lock, FIREWALL_LOCK_FD}};
	int high[sizeof(rows) / sizeof(rows[0])];

	/* Out of each other's way first; what dup2() makes survives the exec. */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		high[i] = rows[i].from < 0 ? -1
					   : fcntl(rows[i].from, F_DUPFD_CLOEXEC,
						   SPAWN_LAST_FD + 1);
		if (rows[i].from >= 0 && high[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (high[i] < 0)
			(void)close(rows[i].to);
		else if (dup2(high[i], rows[i].to) < 0)
			return -errno;
	}
	return close_range(SPAWN_LAST_FD + 1, ~0U, 0) < 0 ? -errno : 0;
}

/* In the child, until it is another program. Returns when it cannot, errno says why. */
static void spawn_exec(const struct role *role, const struct spawn_fds *fds)
{
	char *environment[SPAWN_ENVIRONMENT_COUNT + 1];
	char title[32];
	char argument[ROLE_TEXT_SIZE];
	char *const argv[] = {title, argument, NULL};

	spawn_reset_signals();
	(void)snprintf(title, sizeof(title), "portreeved: %s", role->name);
	role_format(role, argument);
	(void)spawn_copy_environment(environment);
	if (spawn_place_fds(fds) < 0)
		return;
	execve(SPAWN_PROGRAM, argv, environment);
}

int spawn_role(const struct role *role, const struct spawn_fds *fds, pid_t *out)
{
	sigset_t all;
	sigset_t before;
	pid_t pid;
	int error;

	/* A signal for the child, before it has laid off the launcher's handlers, would
	 * be written into the launcher's own event loop. */
	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0) {
		spawn_exec(role, fds);
		log_error("cannot start %s: %s", role->name, strerror(errno));
		_exit(127);
	}
	error = pid < 0 ? -errno : 0;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		*out = pid;
	return error;
}
