/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/*
 * Socket and module become ROLE_FD and ROLE_MODULE_FD, nothing else above the standard
 * ones is left open. Errors: -errno.
 */
static int spawn_place_fds(int fd, int module_fd)
{
	/* Out of each other's way first; what dup2() makes survives the exec. */
	int high = fcntl(fd, F_DUPFD_CLOEXEC, ROLE_MODULE_FD + 1);
	int module_high =
		module_fd < 0 ? -1
			      : fcntl(module_fd, F_DUPFD_CLOEXEC, ROLE_MODULE_FD + 1);

	if (high < 0 || dup2(high, ROLE_FD) < 0)
		return -errno;
	if (module_fd >= 0 &&
	    (module_high < 0 || dup2(module_high, ROLE_MODULE_FD) < 0))
		return -errno;
	if (close_range(module_fd < 0 ? ROLE_MODULE_FD : ROLE_MODULE_FD + 1, ~0U, 0) <
	    0)
		return -errno;
	return 0;
}

/* In the child, until it is another program. Returns when it cannot, errno says why. */
static void spawn_exec(const struct role *role, int fd, int module_fd)
{
	char *environment[SPAWN_ENVIRONMENT_COUNT + 1];
	char title[32];
	char argument[ROLE_TEXT_SIZE];
	char *const argv[] = {title, argument, NULL};

	spawn_reset_signals();
	(void)snprintf(title, sizeof(title), "portreeved: %s", role->name);
	role_format(role, argument);
	(void)spawn_copy_environment(environment);
	if (spawn_place_fds(fd, module_fd) < 0)
		return;
	execve(SPAWN_PROGRAM, argv, environment);
}

int spawn_role(const struct role *role, int fd, int module_fd, pid_t *out)
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
		spawn_exec(role, fd, module_fd);
		log_error("cannot start %s: %s", role->name, strerror(errno));
		_exit(127);
	}
	error = pid < 0 ? -errno : 0;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		*out = pid;
	return error;
}
