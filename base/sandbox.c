/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sandbox_filter.h"

/* The one place that knows of sanitizers: their runtime needs what we give up. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANDBOX_SANITIZED 1
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

/* Descriptors of core or a worker: sockets of all LANs and many HTTP or control
 * clients. */
#define SANDBOX_FDS_MAX 1024
/* A worker that was taken over must not fill the memory of the gateway. */
#define SANDBOX_WORKER_DATA_MAX ((rlim_t)64 * 1024 * 1024)
/* The stacks of its threads count, 8 MiB each, though hardly used. */
#define SANDBOX_PROBE_DATA_MAX ((rlim_t)192 * 1024 * 1024)
#define SANDBOX_CAPABILITIES_MAX 8

/*
 * Launcher: change to the users of its children and take their bounding set, end them,
 * and what core is to keep. Files are read and directories made before it gives up the
 * rest.
 */
static const unsigned int sandbox_launcher[] = {CAP_SETUID, CAP_SETGID, CAP_SETPCAP,
						CAP_KILL, CAP_NET_ADMIN};
static const unsigned int sandbox_core[] = {CAP_NET_ADMIN};

struct sandbox_capabilities {
	size_t count;
	unsigned int list[SANDBOX_CAPABILITIES_MAX];
};

static void sandbox_add(struct sandbox_capabilities *set, const unsigned int *list,
			size_t count)
{
	for (size_t i = 0; i < count; i++)
		set->list[set->count++] = list[i];
}

static struct sandbox_capabilities sandbox_get_capabilities(
	enum sandbox_profile profile, bool raw)
{
	struct sandbox_capabilities set = {0};

	switch (profile) {
	case SANDBOX_LAUNCHER:
		sandbox_add(&set, sandbox_launcher,
			    sizeof(sandbox_launcher) / sizeof(sandbox_launcher[0]));
		break;
	case SANDBOX_CORE:
		sandbox_add(&set, sandbox_core,
			    sizeof(sandbox_core) / sizeof(sandbox_core[0]));
		break;
	case SANDBOX_WORKER:
	case SANDBOX_PROBE:
		return set;
	}
	if (raw)
		set.list[set.count++] = CAP_NET_RAW;
	return set;
}

/* What we keep we must have: a container may hold back even from root. */
static int sandbox_check_capabilities(const struct sandbox_capabilities *set)
{
	if (capng_get_caps_process() < 0) {
		log_error("cannot read my own capabilities");
		return -EIO;
	}
	for (size_t i = 0; i < set->count; i++) {
		if (capng_have_capability(CAPNG_PERMITTED, set->list[i]))
			continue;
		log_error("capability %s is missing; start me as root, in a container "
			  "with "
			  "this capability added",
			  capng_capability_to_name(set->list[i]));
		return -EPERM;
	}
	return 0;
}

static int sandbox_select(const struct sandbox_capabilities *set, capng_type_t types)
{
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < set->count; i++)
		if (capng_update(CAPNG_ADD, types, set->list[i]) < 0)
			return -EINVAL;
	return 0;
}

/* Stay root, but with these capabilities only, here and in everything started. */
static int sandbox_shrink(const struct sandbox_capabilities *set)
{
	int error = sandbox_select(set, CAPNG_EFFECTIVE | CAPNG_PERMITTED |
						CAPNG_BOUNDING_SET);

	if (error == 0 && capng_apply(CAPNG_SELECT_ALL) < 0)
		error = -EPERM;
	if (error < 0)
		log_error("cannot give up capabilities");
	return error;
}

/* Become uid and gid with these capabilities and nothing to gain by an exec. */
static int sandbox_become(const struct sandbox_capabilities *set, uid_t uid, gid_t gid)
{
	int error = sandbox_select(set, CAPNG_EFFECTIVE | CAPNG_PERMITTED);

	if (error == 0)
		error = capng_change_id((int)uid, (int)gid,
					CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING |
						CAPNG_CLEAR_AMBIENT);
	if (error == 0)
		return 0;
	log_error("cannot become user %u, group %u (libcap-ng: %d)", (unsigned int)uid,
		  (unsigned int)gid, error);
	return -EPERM;
}

/* Give up what a user other than root may have, as by file capabilities. */
static int sandbox_strip(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0) {
		log_error("cannot give up capabilities");
		return -EPERM;
	}
	return 0;
}

static int sandbox_change(enum sandbox_profile profile,
			  const struct sandbox_capabilities *set, uid_t uid, gid_t gid)
{
	if (profile == SANDBOX_LAUNCHER)
		return sandbox_shrink(set);
	if (profile == SANDBOX_PROBE && geteuid() != 0)
		return sandbox_strip();
	return sandbox_become(set, uid, gid);
}

static int sandbox_limit(int resource, rlim_t value)
{
	const struct rlimit limit = {value, value};

	if (setrlimit((__rlimit_resource_t)resource, &limit) < 0)
		return -errno;
	return 0;
}

/* A log in a plain file would be cut off by a file size limit of zero. */
static bool sandbox_logs_to_file(void)
{
	struct stat status;

	return fstat(STDERR_FILENO, &status) == 0 && S_ISREG(status.st_mode);
}

static int sandbox_limit_all(enum sandbox_profile profile)
{
	int error = sandbox_limit(RLIMIT_CORE, 0);

	if (error == 0 && profile != SANDBOX_LAUNCHER)
		error = sandbox_limit(RLIMIT_NOFILE, SANDBOX_FDS_MAX);
	if (error == 0 && profile == SANDBOX_WORKER && !sandbox_logs_to_file())
		error = sandbox_limit(RLIMIT_FSIZE, 0);
	/* The leak checker works in a process of its own. */
	if (error == 0 && profile != SANDBOX_LAUNCHER && profile != SANDBOX_PROBE &&
	    !SANDBOX_SANITIZED)
		error = sandbox_limit(RLIMIT_NPROC, 0);
	if (error == 0 && profile == SANDBOX_PROBE && !SANDBOX_SANITIZED)
		error = sandbox_limit(RLIMIT_DATA, SANDBOX_PROBE_DATA_MAX);
	if (error == 0 && profile == SANDBOX_WORKER && !SANDBOX_SANITIZED)
		error = sandbox_limit(RLIMIT_DATA, SANDBOX_WORKER_DATA_MAX);
	if (error < 0)
		log_error("cannot set resource limits: %s", strerror(-error));
	return error;
}

/* Nobody reads the memory of a running role, nor does a setuid program help it. */
static int sandbox_seal(void)
{
	if (prctl(PR_SET_DUMPABLE, SANDBOX_SANITIZED, 0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

bool sandbox_is_wide(void)
{
	return SANDBOX_SANITIZED;
}

int sandbox_enter(enum sandbox_profile profile, uid_t uid, gid_t gid, bool raw)
{
	const struct sandbox_capabilities set = sandbox_get_capabilities(profile, raw);
	int error = sandbox_check_capabilities(&set);

	if (error < 0)
		return error;
	error = sandbox_limit_all(profile);
	if (error < 0)
		return error;
	error = sandbox_change(profile, &set, uid, gid);
	if (error < 0)
		return error;
	error = sandbox_seal();
	if (error == 0)
		error = sandbox_filter_load(profile, raw, SANDBOX_SANITIZED);
	if (error < 0)
		log_error("cannot load the system call filter: %s", strerror(-error));
	return error;
}
