/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/**
 * Tell the service manager, where there is one ("READY=1", "STOPPING=1"). It is not an
 * error when nobody listens. Source: sd_notify(3).
 */
void notify_send(const char *state);

#endif
