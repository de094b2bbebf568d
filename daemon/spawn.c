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

/* In the child, until it is another program. */
static void spawn_exec(const struct role *role, int fd)
{
	char *environment[SPAWN_ENVIRONMENT_COUNT + 1];
	char title[32];
	char argument[ROLE_TEXT_SIZE];
	char *const argv[] = {title, argument, NULL};

	spawn_reset_signals();
	(void)snprintf(title, sizeof(title), "portreeved: %s", role->name);
	role_format(role, argument);
	(void)spawn_copy_environment(environment);
	/* dup2() onto itself would leave close-on-exec set. */
	if (fd == ROLE_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, ROLE_FD) < 0)
		return;
	if (close_range(ROLE_FD + 1, ~0U, 0) < 0)
		return;
	execve(SPAWN_PROGRAM, argv, environment);
}

int spawn_role(const struct role *role, int fd, pid_t *out)
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
		spawn_exec(role, fd);
		log_error("cannot start %s: %s", role->name, strerror(errno));
		_exit(127);
	}
	error = pid < 0 ? -errno : 0;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		*out = pid;
	return error;
}
