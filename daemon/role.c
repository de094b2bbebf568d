/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/role.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "conf/conf.h"

#define ROLE_PREFIX "--role="

/* What the others need to know of a worker whose code they do not load. */
static const struct worker_ops *role_get_upnp(void)
{
	static const struct worker_ops ops = {
		.name = "upnp",
		.protocols = LAN_PROTOCOL_UPNP,
	};

	return &ops;
}

static const struct worker_ops *role_get_stun(void)
{
	static const struct worker_ops ops = {
		.name = "stun",
		.protocols = WORKER_PROTOCOL_STUN,
	};

	return &ops;
}

static bool role_wants_stun(const struct conf *conf)
{
	return conf->wan.stun_host[0] != '\0';
}

static const struct role_worker_row {
	const struct worker_ops *(*get)(void);
	enum module module;
	bool (*is_wanted)(const struct conf *conf); /* NULL = always */
} role_workers[] = {
	{role_get_upnp, MODULE_UPNP, NULL},
	{worker_get_pcp, MODULE_NONE, NULL},
	{role_get_stun, MODULE_STUN, role_wants_stun},
};

size_t role_get_worker_count(void)
{
	return sizeof(role_workers) / sizeof(role_workers[0]);
}

const struct worker_ops *role_get_worker(size_t index)
{
	return index < role_get_worker_count() ? role_workers[index].get() : NULL;
}

bool role_is_wanted(size_t index, const struct conf *conf)
{
	if (index >= role_get_worker_count())
		return false;
	return !role_workers[index].is_wanted || role_workers[index].is_wanted(conf);
}

enum module role_get_worker_module(size_t index)
{
	return index < role_get_worker_count() ? role_workers[index].module
					       : MODULE_NONE;
}

const struct worker_ops *role_load_worker(size_t index, int module_fd)
{
	const struct worker_ops *known = role_get_worker(index);
	const struct worker_ops *loaded;

	if (role_get_worker_module(index) == MODULE_NONE)
		return known;
	loaded = module_load(role_get_worker_module(index), module_fd);
	if (!loaded)
		return NULL;
	if (strcmp(loaded->name, known->name) == 0 &&
	    loaded->protocols == known->protocols)
		return loaded;
	log_error("the module of worker %s is of another version", known->name);
	return NULL;
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
