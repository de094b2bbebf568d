/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/role.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#define ROLE_PREFIX "--role="

static const struct worker_ops *(*const role_workers[])(void) = {
	worker_get_upnp,
	worker_get_pcp,
};

size_t role_get_worker_count(void)
{
	return sizeof(role_workers) / sizeof(role_workers[0]);
}

const struct worker_ops *role_get_worker(size_t index)
{
	return index < role_get_worker_count() ? role_workers[index]() : NULL;
}

void role_format(const struct role *role, char text[ROLE_TEXT_SIZE])
{
	(void)snprintf(text, ROLE_TEXT_SIZE, ROLE_PREFIX "%s,%u,%u,%u,%u", role->name,
		       (unsigned int)role->uid, (unsigned int)role->gid,
		       (unsigned int)role->log_level, (unsigned int)role->raw);
}

bool role_is_argument(const char *argument)
{
	return strncmp(argument, ROLE_PREFIX, strlen(ROLE_PREFIX)) == 0;
}

bool role_parse(const char *argument, struct role *out)
{
	static const uint64_t limits[] = {UINT32_MAX - 1, UINT32_MAX - 1,
					  LOG_LEVEL_DEBUG, 1};
	uint64_t numbers[sizeof(limits) / sizeof(limits[0])];
	struct role role = {0};
	char text[ROLE_TEXT_SIZE];
	char *rest = text;
	const char *name;

	if (!role_is_argument(argument) ||
	    snprintf(text, sizeof(text), "%s", argument + strlen(ROLE_PREFIX)) >=
		    (int)sizeof(text))
		return false;
	name = strsep(&rest, ",");
	if (snprintf(role.name, sizeof(role.name), "%s", name) >=
	    (int)sizeof(role.name))
		return false;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const char *number = strsep(&rest, ",");

		if (!number || !parse_number(number, limits[i], &numbers[i]))
			return false;
	}
	if (rest)
		return false;
	role.uid = (uid_t)numbers[0];
	role.gid = (gid_t)numbers[1];
	role.log_level = (enum log_level)numbers[2];
	role.raw = numbers[3] != 0;
	*out = role;
	return true;
}
