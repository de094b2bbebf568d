/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_PREPARE_H
#define DAEMON_PREPARE_H

#include <sys/types.h>

#include "conf/conf.h"

/** Who the roles run as. */
struct prepare_users {
	uid_t core_uid;
	gid_t core_gid;
	uid_t net_uid;
	gid_t net_gid;
};

/**
 * Find the users of core and of the workers: those configured, which must exist, or
 * `portreeve` and `portreeve-net`, or `nobody`.
 * Errors: -ENOENT, logged.
 */
int prepare_find_users(const struct conf *conf, struct prepare_users *out)
	__attribute__((warn_unused_result));

/**
 * The user that the configuration names and that does not exist, so that a start would
 * fail; NULL = there is none.
 */
const char *prepare_find_missing_user(const struct conf *conf);

/**
 * Make the directories of the store and of the control socket where they are missing,
 * for core's user. One that is there and empty and root's was made for us by the
 * service manager, and is handed over; any other is left as it is, and must be writable
 * by core. Errors: -errno, logged with what would mend it.
 */
int prepare_make_directories(const struct conf *conf, const struct prepare_users *users)
	__attribute__((warn_unused_result));

#endif
