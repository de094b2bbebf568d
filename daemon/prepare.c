/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/prepare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#define PREPARE_FALLBACK_USER "nobody"
#define PREPARE_STORE_FILES "leases."

struct prepare_directory {
	enum log_level level; /* of what goes wrong with it */
	const char *what;
	const char *path;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

static int prepare_find_user(const char *configured, const char *preferred, uid_t *uid,
			     gid_t *gid)
{
	const struct passwd *entry;

	if (configured[0] != '\0') {
		entry = getpwnam(configured);
		if (!entry)
			log_error("user \"%s\" does not exist; create it, or name "
				  "another "
				  "in [global]",
				  configured);
	} else {
		entry = getpwnam(preferred);
		if (!entry)
			entry = getpwnam(PREPARE_FALLBACK_USER);
		if (!entry)
			log_error("neither user %s nor %s exists; create one, or name "
				  "another in [global]",
				  preferred, PREPARE_FALLBACK_USER);
	}
	if (!entry)
		return -ENOENT;
	*uid = entry->pw_uid;
	*gid = entry->pw_gid;
	return 0;
}

int prepare_find_users(const struct conf *conf, struct prepare_users *out)
{
	struct prepare_users users = {0};
	int error = prepare_find_user(conf->global.user, "portreeve", &users.core_uid,
				      &users.core_gid);

	if (error == 0)
		error = prepare_find_user(conf->global.net_user, "portreeve-net",
					  &users.net_uid, &users.net_gid);
	endpwent();
	if (error == 0)
		*out = users;
	return error;
}

const char *prepare_find_missing_user(const struct conf *conf)
{
	const char *const names[] = {conf->global.user, conf->global.net_user};
	const char *missing = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !missing; i++)
		if (names[i][0] != '\0' && !getpwnam(names[i]))
			missing = names[i];
	endpwent();
	return missing;
}

/* Names of the store's files begin so. */
static bool prepare_is_store_file(const char *name)
{
	return strncmp(name, PREPARE_STORE_FILES, sizeof(PREPARE_STORE_FILES) - 1) == 0;
}

/* True when there is nothing but files of ours, if anything. Owns: takes fd. */
static bool prepare_holds_only_ours(int fd)
{
	DIR *directory = fdopendir(fd);
	const struct dirent *entry;
	bool ours = true;

	if (!directory) {
		close(fd);
		return false;
	}
	while (ours && (entry = readdir(directory)) != NULL)
		ours = strcmp(entry->d_name, ".") == 0 ||
		       strcmp(entry->d_name, "..") == 0 ||
		       prepare_is_store_file(entry->d_name);
	closedir(directory);
	return ours;
}

static int prepare_hand_over(int fd, const struct prepare_directory *wanted)
{
	if (fchmod(fd, wanted->mode) < 0 || fchown(fd, wanted->uid, wanted->gid) < 0)
		return -errno;
	return 0;
}

/* What the user of an earlier run left, before the proper user was made, goes along. */
static void prepare_adopt(int fd, const struct prepare_directory *wanted, uid_t former)
{
	int copy = openat(fd, ".", O_RDONLY | O_CLOEXEC);
	DIR *directory = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;
	struct stat status;

	if (!directory) {
		if (copy >= 0)
			close(copy);
		return;
	}
	while ((entry = readdir(directory)) != NULL) {
		/* by descriptor: what was looked at is what is given away */
		int file = openat(fd, entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

		if (file < 0)
			continue;
		if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) &&
		    status.st_nlink == 1 && status.st_uid == former)
			(void)fchownat(file, "", wanted->uid, wanted->gid,
				       AT_EMPTY_PATH);
		close(file);
	}
	closedir(directory);
}

static bool prepare_is_fallback(uid_t uid)
{
	const struct passwd *entry = getpwnam(PREPARE_FALLBACK_USER);

	return entry && entry->pw_uid == uid;
}

/*
 * Asked with core's own eyes: of parents, access lists and read-only mounts too.
 * Errors: -errno.
 */
static int prepare_try_write(const struct prepare_directory *wanted)
{
	const uid_t uid = geteuid();
	const gid_t gid = getegid();
	int error = 0;

	if (setegid(wanted->gid) < 0 || seteuid(wanted->uid) < 0 ||
	    faccessat(AT_FDCWD, wanted->path, W_OK | X_OK, AT_EACCESS) < 0)
		error = -errno;
	if (seteuid(uid) < 0 || setegid(gid) < 0)
		error = -errno;
	return error;
}

static void prepare_log_unwritable(const struct prepare_directory *wanted, int error)
{
	if (error == -EROFS)
		log_write(wanted->level,
			  "%s %s cannot be written: its file system is read-only for "
			  "portreeved; use a directory elsewhere, or make it writable "
			  "(mount -o remount,rw; under systemd ReadWritePaths=)",
			  wanted->what, wanted->path);
	else
		log_write(wanted->level,
			  "%s %s cannot be written by user %u, whom core runs as; "
			  "use a directory of its own, or: chown -R %u %s",
			  wanted->what, wanted->path, (unsigned int)wanted->uid,
			  (unsigned int)wanted->uid, wanted->path);
}

/*
 * An empty directory that an installation made for us as root; not one that all may
 * write to, such as /tmp or another mount point fresh from the disk.
 */
static bool prepare_is_ours_to_give(int fd, const struct stat *status,
				    const struct prepare_directory *wanted)
{
	return status->st_uid == 0 && wanted->uid != 0 &&
	       (status->st_mode & (S_ISVTX | S_IWGRP | S_IWOTH)) == 0 &&
	       prepare_holds_only_ours(openat(fd, ".", O_RDONLY | O_CLOEXEC));
}

/* Owns: takes fd, of a directory that was there or was just made. */
static int prepare_settle(int fd, bool made, const struct prepare_directory *wanted)
{
	struct stat status;
	int error = 0;

	if (fstat(fd, &status) < 0)
		error = -errno;
	else if (made || (prepare_try_write(wanted) == -EACCES &&
			  prepare_is_ours_to_give(fd, &status, wanted))) {
		prepare_adopt(fd, wanted, status.st_uid);
		error = prepare_hand_over(fd, wanted);
	} else if (status.st_uid != wanted->uid && prepare_is_fallback(status.st_uid)) {
		prepare_adopt(fd, wanted, status.st_uid);
		error = prepare_hand_over(fd, wanted);
	}
	close(fd);
	if (error < 0 && error != -EROFS) {
		log_write(wanted->level, "cannot hand %s %s to user %u: %s",
			  wanted->what, wanted->path, (unsigned int)wanted->uid,
			  strerror(-error));
		return error;
	}
	if (error == 0)
		error = prepare_try_write(wanted);
	if (error < 0)
		prepare_log_unwritable(wanted, error);
	return error;
}

static int prepare_make(const struct prepare_directory *wanted)
{
	bool made = mkdir(wanted->path, wanted->mode) == 0;
	int fd;

	if (!made && errno != EEXIST) {
		int error = -errno;

		log_write(wanted->level, "cannot make %s %s: %s", wanted->what,
			  wanted->path, strerror(errno));
		return error;
	}
	fd = open(wanted->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		int error = -errno;

		log_write(wanted->level, "cannot open %s %s: %s", wanted->what,
			  wanted->path, strerror(errno));
		return error;
	}
	return prepare_settle(fd, made, wanted);
}

/*
 * A socket that nobody answers at is what a killed daemon left. Core may not be allowed
 * to call it, so this is for root to find out. One that is answered is another
 * daemon's, and so are its directories. Errors: -EADDRINUSE, logged.
 */
static int prepare_check_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat status;
	int error = 0;
	int fd;

	if (lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return 0;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return 0;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		error = -EADDRINUSE;
	else if (errno == ECONNREFUSED)
		(void)unlink(path);
	(void)close(fd);
	if (error < 0)
		log_error("another portreeved answers at %s; stop it first, or set "
			  "[global] control-socket to another path",
			  path);
	return error;
}

int prepare_make_directories(const struct conf *conf, const struct prepare_users *users)
{
	char parent[CONF_PATH_MAX];
	struct prepare_directory state = {
		.level = LOG_LEVEL_WARNING,
		.what = "the state directory",
		.path = conf->global.state_dir,
		.mode = 0700,
		.uid = users->core_uid,
		.gid = users->core_gid,
	};
	struct prepare_directory control = {
		.level = LOG_LEVEL_ERROR,
		.what = "the control socket's directory",
		.path = parent,
		.mode = 0755,
		.uid = users->core_uid,
		.gid = users->core_gid,
	};
	const char *slash = strrchr(conf->global.control_socket, '/');
	size_t length = slash ? (size_t)(slash - conf->global.control_socket) : 0;

	if (prepare_check_socket(conf->global.control_socket) < 0)
		return -EADDRINUSE;
	/* Without a store core serves all the same, and says that it is degraded. */
	if (state.path[0] != '\0')
		(void)prepare_make(&state);
	if (length == 0)
		control.path = slash ? "/" : ".";
	memcpy(parent, conf->global.control_socket, length);
	parent[length] = '\0';
	return prepare_make(&control);
}
