/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_APART_H
#define PROBE_APART_H

#include "probe/run.h"

/**
 * Try UPnP in a child process, because libupnp is old and what it reads is not ours:
 * when it crashes or hangs, that is a step that failed, and the run goes on. Steps are
 * told as with the other protocols. null_fd: /dev/null, open for both.
 */
void apart_run_upnp(const struct run *run, int null_fd);

#endif
