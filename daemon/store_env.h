/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_STORE_ENV_H
#define DAEMON_STORE_ENV_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_PATH_MAX 256
#define STORE_FILE_MODE 0600

/**
 * The database file as LMDB's environment. It is opened when it is needed, and closed
 * after it was read or written as a whole: the pages LMDB mapped and the copies it
 * keeps would else stay in memory.
 */
struct store_env {
	char dir[STORE_PATH_MAX];
	size_t map_size;
	MDB_env *env; /* NULL = closed */
	MDB_dbi dbi;
};

/** Path of a file in the directory. Errors: -ENAMETOOLONG. */
int store_env_get_path(const struct store_env *env, const char *file,
		       char path[STORE_PATH_MAX]) __attribute__((warn_unused_result));

/**
 * Open the file for LMDB if it is there and sound; nothing to do when it is open.
 * Errors: -ENOENT; -EBADMSG = damaged, *reason says how; else -errno.
 */
int store_env_open(struct store_env *env, const char **reason)
	__attribute__((warn_unused_result));

/**
 * The same, but begin anew where there is nothing, and set aside what is damaged
 * (*damaged, logged). Errors: -errno.
 */
int store_env_begin(struct store_env *env, bool *damaged)
	__attribute__((warn_unused_result));

void store_env_close(struct store_env *env);

/** Wait until the file is on the disk, open or closed. Errors: -errno. */
int store_env_sync(const struct store_env *env) __attribute__((warn_unused_result));

/**
 * Nobody writes for now: let go of the pages of the file that are mapped. The kernel
 * keeps them as long as it has room, as it does with any file, and they come back where
 * they are looked at.
 */
void store_env_rest(struct store_env *env);

/** Number of the last transaction in the file, which is open. */
uint64_t store_env_get_transaction(const struct store_env *env);

/** -errno for what LMDB returned; after an error of its own the file is closed. */
int store_env_error(struct store_env *env, int code);

#endif
