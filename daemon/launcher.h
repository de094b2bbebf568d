/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LAUNCHER_H
#define DAEMON_LAUNCHER_H

#include "conf/conf.h"

/**
 * The role that starts the others and keeps them running: root, only the capabilities
 * that spawning needs, no byte from the network. Serves until SIGTERM or SIGINT. file:
 * what conf was read from, to be read again at SIGHUP; see conf_load().
 * Returns the exit status of portreeved.
 */
int launcher_run(const struct conf *conf, const char *file);

/** All roles in this one process, without sandbox; the same code otherwise. */
int single_run(const struct conf *conf, const char *file);

#endif
