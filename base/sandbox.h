/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** What a process may do once it has entered its sandbox. */
enum sandbox_profile {
	SANDBOX_LAUNCHER, /* root, only the capabilities that spawning needs */
	SANDBOX_CORE,	  /* own user, CAP_NET_ADMIN, seccomp */
	SANDBOX_WORKER,	  /* own user, no capability, seccomp, no files */
	/* As a worker, with the threads of its library, and children that are no more
	 * than it is. Started by anybody; uid and gid count for root only. */
	SANDBOX_PROBE,
};

/**
 * Give up everything the profile does not need: supplementary groups, uid, gid,
 * capabilities, bounding set, new privileges, core dumps, resource limits, system
 * calls. There is no way back. Called once, before the first byte from outside is read.
 *
 * raw: core keeps CAP_NET_RAW too, which libiptc needs.
 * Errors: -errno, and what could not be given up is logged; the caller must exit.
 */
int sandbox_enter(enum sandbox_profile profile, uid_t uid, gid_t gid, bool raw)
	__attribute__((warn_unused_result));

/**
 * True in a build with a sanitizer, whose runtime opens files, traces and starts
 * processes: the filter then limits little more than sockets.
 */
bool sandbox_is_wide(void);

#endif
