/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_SPAWN_H
#define DAEMON_SPAWN_H

#include <sys/types.h>

#include "daemon/role.h"

/**
 * Start this program again as a role: fd becomes its ROLE_FD, the only descriptor it
 * has besides stdin, stdout and stderr; its environment is empty but for what
 * sanitizers read. Owns: fd stays the caller's. Errors: -errno.
 */
int spawn_role(const struct role *role, int fd, pid_t *out)
	__attribute__((warn_unused_result));

#endif
