/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/store_env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/store_check.h"
#include "daemon/store_lmdb.h"

#define STORE_NEW_FILE STORE_FILE ".new"
/* With less room than this a short write is told as a full disk. */
#define STORE_ROOM_LEAST ((uint64_t)1 << 20)
/* Files set aside within one second. */
#define STORE_DAMAGED_MAX 100

int store_env_get_path(const struct store_env *env, const char *file,
		       char path[STORE_PATH_MAX])
{
	int length = snprintf(path, STORE_PATH_MAX, "%s/%s", env->dir, file);

	return length < 0 || length >= STORE_PATH_MAX ? -ENAMETOOLONG : 0;
}

/* LMDB tells a write that was cut short as EIO, whatever the reason. */
static bool env_disk_is_full(const struct store_env *env)
{
	struct statvfs room;

	return statvfs(env->dir, &room) == 0 &&
	       (uint64_t)room.f_bavail * room.f_frsize < STORE_ROOM_LEAST;
}

void store_env_close(struct store_env *env)
{
	if (env->env)
		mdb_env_close(env->env);
	env->env = NULL;
}

int store_env_error(struct store_env *env, int code)
{
	if (code == 0)
		return 0;
	if (code == MDB_MAP_FULL)
		return -ENOSPC;
	if (code < 0)
		store_env_close(env);
	if (code < 0 || code == EIO)
		return env_disk_is_full(env) ? -ENOSPC : -EIO;
	return -code;
}

static int env_open_file(struct store_env *env, const char *path)
{
	MDB_env *lmdb;
	MDB_txn *txn;
	int code = mdb_env_create(&lmdb);

	if (code != 0)
		return code;
	/*
	 * Our own lock stands for LMDB's, there is one process and one thread. NOSYNC:
	 * a commit is a write to the page cache, which outlives the process but not the
	 * machine. Waiting for the disk is store_ops.sync()'s, what may be missing
	 * after a power failure the mark's (store_mark.h).
	 */
	code = mdb_env_set_mapsize(lmdb, env->map_size);
	if (code == 0)
		code = mdb_env_open(lmdb, path,
				    MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS |
					    MDB_NORDAHEAD | MDB_NOSYNC,
				    STORE_FILE_MODE);
	if (code == 0)
		code = mdb_txn_begin(lmdb, NULL, MDB_RDONLY, &txn);
	if (code == 0) {
		code = mdb_dbi_open(txn, NULL, 0, &env->dbi);
		mdb_txn_abort(txn);
	}
	if (code != 0) {
		mdb_env_close(lmdb);
		return code;
	}
	env->env = lmdb;
	return 0;
}

/* Rename and new files shall survive a power cut. */
static void env_sync_dir(const struct store_env *env)
{
	int fd = open(env->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

/* A file under its name is whole from the first moment: made aside, then renamed. */
static int env_create_file(struct store_env *env, const char *path)
{
	char aside[STORE_PATH_MAX];
	int error = store_env_get_path(env, STORE_NEW_FILE, aside);

	if (error != 0)
		return error;
	if (unlink(aside) != 0 && errno != ENOENT)
		return -errno;
	error = store_env_error(env, env_open_file(env, aside));
	if (error == 0)
		error = store_env_error(env, mdb_env_sync(env->env, 1));
	store_env_close(env);
	if (error == 0 && rename(aside, path) != 0)
		error = -errno;
	if (error != 0)
		(void)unlink(aside);
	else
		env_sync_dir(env);
	return error;
}

int store_env_sync(const struct store_env *env)
{
	char path[STORE_PATH_MAX];
	int error = store_env_get_path(env, STORE_FILE, path);
	int fd;

	if (error != 0)
		return error;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fdatasync(fd) != 0)
		error = -errno;
	close(fd);
	return error;
}

void store_env_rest(struct store_env *env)
{
	/* the same size: the file is mapped anew, with no page of it */
	if (env->env && mdb_env_set_mapsize(env->env, env->map_size) != 0)
		store_env_close(env);
}

uint64_t store_env_get_transaction(const struct store_env *env)
{
	MDB_envinfo info = {0};

	(void)mdb_env_info(env->env, &info);
	return info.me_last_txnid;
}

int store_env_open(struct store_env *env, const char **reason)
{
	char path[STORE_PATH_MAX];
	int error = store_env_get_path(env, STORE_FILE, path);
	int fd;
	int code;

	if (env->env || error != 0)
		return error;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ELOOP) {
		*reason = "a symbolic link";
		return -EBADMSG;
	}
	if (fd < 0)
		return -errno;
	error = store_check_file(fd, STORE_MAP_MAX, reason);
	close(fd);
	if (error != 0)
		return error;
	code = env_open_file(env, path);
	if (code < 0) {
		*reason = mdb_strerror(code);
		return -EBADMSG;
	}
	return store_env_error(env, code);
}

/* A name that no file has yet: FILE.damaged-YYYYmmdd-HHMMSS in UTC, then -2, -3, ... */
static int env_get_damaged_path(const struct store_env *env, char path[STORE_PATH_MAX])
{
	time_t now_s = (time_t)(clock_wall_ms() / 1000);
	struct tm tm;
	char file[sizeof(STORE_FILE) + 64];
	char date[32];
	struct stat status;

	if (!gmtime_r(&now_s, &tm) ||
	    strftime(date, sizeof(date), "%Y%m%d-%H%M%S", &tm) == 0)
		return -EINVAL;
	for (unsigned int i = 1; i < STORE_DAMAGED_MAX; i++) {
		int error;

		if (i == 1)
			(void)snprintf(file, sizeof(file), "%s.damaged-%s", STORE_FILE,
				       date);
		else
			(void)snprintf(file, sizeof(file), "%s.damaged-%s-%u",
				       STORE_FILE, date, i);
		error = store_env_get_path(env, file, path);
		if (error != 0)
			return error;
		if (lstat(path, &status) != 0)
			return errno == ENOENT ? 0 : -errno;
	}
	return -EEXIST;
}

static int env_set_aside(struct store_env *env, const char *reason)
{
	char path[STORE_PATH_MAX];
	char aside[STORE_PATH_MAX];
	int error = store_env_get_path(env, STORE_FILE, path);

	if (error == 0)
		error = env_get_damaged_path(env, aside);
	if (error == 0 && rename(path, aside) != 0)
		error = -errno;
	if (error != 0)
		log_error("%s is damaged (%s) and cannot be set aside: %s", path,
			  reason, strerror(-error));
	else
		log_warning("%s is damaged (%s): leases are lost; it is kept as %s",
			    path, reason, aside);
	return error;
}

int store_env_begin(struct store_env *env, bool *damaged)
{
	const char *reason = "";
	char path[STORE_PATH_MAX];
	int error = store_env_open(env, &reason);

	if (error == -EBADMSG) {
		error = env_set_aside(env, reason);
		if (error != 0)
			return error;
		*damaged = true;
		error = -ENOENT;
	}
	if (error != -ENOENT)
		return error;
	error = store_env_get_path(env, STORE_FILE, path);
	if (error == 0)
		error = env_create_file(env, path);
	return error == 0 ? store_env_open(env, &reason) : error;
}
