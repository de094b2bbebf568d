/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMAND_MAX 256

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* Without root: a user namespace in which we are root. */
static bool leave_namespaces(void)
{
	char map[COMMAND_MAX];
	uid_t uid = getuid();
	gid_t gid = getgid();

	if (unshare(CLONE_NEWNET) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return false;
	(void)snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!write_file("/proc/self/uid_map", map) ||
	    !write_file("/proc/self/setgroups", "deny"))
		return false;
	(void)snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

static int open_namespace(void)
{
	return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

int netns_make_pair(struct netns_pair *out)
{
	if (!leave_namespaces())
		return -EPERM;
	out->gateway = open_namespace();
	if (unshare(CLONE_NEWNET) != 0)
		return -EPERM;
	out->hosts = open_namespace();
	return out->gateway >= 0 && out->hosts >= 0 ? 0 : -EPERM;
}

bool netns_enter(int ns)
{
	return setns(ns, CLONE_NEWNET) == 0;
}

bool netns_run(const char *command)
{
	if (system(command) == 0)
		return true;
	(void)fprintf(stderr, "failed: %s\n", command);
	return false;
}

bool netns_make_link(const struct netns_pair *pair, const char *name, const char *peer)
{
	char command[COMMAND_MAX];

	(void)snprintf(command, sizeof(command),
		       "ip link add %s type veth peer name %s && "
		       "ip link set %s netns /proc/%d/fd/%d",
		       name, peer, name, getpid(), pair->gateway);
	return netns_enter(pair->hosts) && netns_run(command);
}
