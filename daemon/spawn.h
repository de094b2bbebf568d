/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_SPAWN_H
#define DAEMON_SPAWN_H

#include <sys/types.h>

#include "daemon/role.h"

/**
 * Start this program again as a role: fd becomes its ROLE_FD and module_fd, unless
 * it is -1, its ROLE_MODULE_FD: the only descriptors it has besides stdin, stdout and
 * stderr; its environment is empty but for what sanitizers read.
 * Owns: fd and module_fd stay the caller's. Errors: -errno.
 */
int spawn_role(const struct role *role, int fd, int module_fd, pid_t *out)
	__attribute__((warn_unused_result));

#endif
