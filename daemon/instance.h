/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_INSTANCE_H
#define DAEMON_INSTANCE_H

/**
 * Be the only portreeved of this network namespace: two would take each other's rules
 * for a stranger's. Held until the process ends.
 *
 * Errors: -EADDRINUSE when another one works here, logged with its process id; -errno.
 * Owns: *out is a descriptor to close at the end; -1 when the name is held by somebody
 * who is no portreeved, which is logged and does not stop us.
 */
int instance_claim(int *out) __attribute__((warn_unused_result));

#endif
