/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_SPAWN_H
#define DAEMON_SPAWN_H

#include <sys/types.h>

#include "daemon/role.h"

/** What a role is given; -1 = nothing there. */
struct spawn_fds {
	int socket; /* its ROLE_FD */
	int module; /* its ROLE_MODULE_FD */
	int lock;   /* its FIREWALL_LOCK_FD */
};

/**
 * Start this program again as a role, with the only descriptors it has besides stdin,
 * stdout and stderr; its environment is empty but for what sanitizers read.
 * Owns: the descriptors stay the caller's. Errors: -errno.
 */
int spawn_role(const struct role *role, const struct spawn_fds *fds, pid_t *out)
	__attribute__((warn_unused_result));

#endif
