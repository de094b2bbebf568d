/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/legacy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "doctor/procfile.h"

#define NAMES_SIZE 256

/* IPT_SO_... and IP6T_SO_... are the same numbers. */
_Static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo) &&
		       NF_INET_NUMHOOKS == LEGACY_HOOKS,
	       "one way to ask for both families");

/* Is the table there? The kernel makes it for who asks for it by its name. */
static enum legacy_state table_find(const char *name, bool ipv6)
{
	const char *path =
		ipv6 ? "/proc/net/ip6_tables_names" : "/proc/net/ip_tables_names";
	char names[NAMES_SIZE];
	char *at = names;
	const char *line;
	int error = procfile_read(path, names, sizeof(names));

	if (error == -ENOENT)
		return LEGACY_ABSENT;
	if (error < 0)
		return LEGACY_UNREADABLE;
	while ((line = strsep(&at, "\n")) != NULL) {
		if (strcmp(line, name) == 0)
			return LEGACY_READ;
	}
	return LEGACY_ABSENT;
}

/* The kernel wants to be asked with the exact size, and answers behind a head. */
static int table_fetch(int fd, int level, const struct ipt_getinfo *info,
		       struct legacy_table *table)
{
	const size_t head = offsetof(struct ipt_get_entries, entrytable);
	socklen_t length = (socklen_t)(head + info->size);
	struct ipt_get_entries *entries;

	if (info->size > LEGACY_SIZE_MAX)
		return -E2BIG;
	entries = calloc(1, length);
	table->bytes = calloc(1, (size_t)info->size + 1);
	if (!entries || !table->bytes) {
		free(entries);
		return -ENOMEM;
	}
	memcpy(entries->name, info->name, sizeof(entries->name));
	entries->size = info->size;
	if (getsockopt(fd, level, IPT_SO_GET_ENTRIES, entries, &length) < 0) {
		int error = -errno;

		free(entries);
		return error;
	}
	memcpy(table->bytes, entries->entrytable, info->size);
	table->size = info->size;
	free(entries);
	return 0;
}

static int table_read(int fd, const char *name, struct legacy_table *table)
{
	int level = table->ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;
	struct ipt_getinfo info = {.valid_hooks = 0};
	socklen_t length = sizeof(info);

	memcpy(info.name, name, strlen(name) + 1);
	if (getsockopt(fd, level, IPT_SO_GET_INFO, &info, &length) < 0)
		return -errno;
	table->hooks = info.valid_hooks;
	memcpy(table->entries, info.hook_entry, sizeof(table->entries));
	memcpy(table->underflows, info.underflow, sizeof(table->underflows));
	return table_fetch(fd, level, &info, table);
}

void legacy_read(struct legacy_table *table, const char *name, bool ipv6)
{
	int fd;

	*table = (struct legacy_table){.ipv6 = ipv6, .state = table_find(name, ipv6)};
	if (table->state != LEGACY_READ)
		return;
	fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0 || table_read(fd, name, table) < 0)
		table->state = LEGACY_UNREADABLE;
	if (fd >= 0)
		(void)close(fd);
}

void legacy_free(struct legacy_table *table)
{
	free(table->bytes);
	table->bytes = NULL;
	table->size = 0;
	table->state = LEGACY_ABSENT;
}
