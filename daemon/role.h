/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_ROLE_H
#define DAEMON_ROLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "conf/conf.h"
#include "daemon/module.h"
#include "protocols/worker.h"

/** Where every role but the launcher finds its one socket. */
#define ROLE_FD 3
/** Where a role that has a module finds it, open. */
#define ROLE_MODULE_FD 4
/** Name of core as a role; workers have the names of their worker_ops. */
#define ROLE_CORE "core"

/** Messages on the channel between launcher and core. */
enum role_msg {
	/* To core, fd: struct conf in a sealed file; no body at first, struct
	 * role_reload when another one is to be used. */
	ROLE_MSG_CONF = 1,
	ROLE_MSG_WORKER,       /* to core, struct role_worker, fd: its channel */
	ROLE_MSG_STOP,	       /* to core, no body: a clean stop */
	ROLE_MSG_READY,	       /* to launcher, no body */
	ROLE_MSG_SERVING,      /* to launcher, no body: clients get answers */
	ROLE_MSG_WORKER_ENDED, /* to launcher, struct role_worker: end that process */
	ROLE_MSG_RELOAD,       /* to launcher, struct role_reload: an admin asks */
	ROLE_MSG_REFUSED,      /* to core, struct role_refusal: there is none to use */
	ROLE_MSG_RELOADED,     /* to launcher, struct role_reloaded */
};

struct role_reload {
	uint32_t serial;       /* of the last call of an admin that it answers */
	uint32_t number;       /* of the configurations that core was given; 0 = none */
	uint32_t user_missing; /* 1 = it names, anew, a user that does not exist */
};

struct role_refusal {
	struct role_reload reload;
	char text[CONF_ERROR_MAX];
};

struct role_reloaded {
	struct role_reload reload;
	int32_t error;	  /* 0 = it is in force, else nothing has changed */
	uint32_t workers; /* LAN_PROTOCOL_... of those to be replaced */
};

struct role_worker {
	uint32_t index;
	uint32_t generation; /* tells a worker from its predecessor */
};

/** What a role is told by its argument. */
struct role {
	char name[16];
	uid_t uid;
	gid_t gid;
	enum log_level log_level;
	bool raw; /* core keeps CAP_NET_RAW */
};

#define ROLE_TEXT_SIZE 80

/**
 * The table of workers. One that is in a module has only its name and protocols here.
 * Owns: static; NULL past the end.
 */
const struct worker_ops *role_get_worker(size_t index);
size_t role_get_worker_count(void);
/**
 * Whether a worker is to run: some do only where the configuration asks for them. Pure.
 * False past the end.
 */
bool role_is_wanted(size_t index, const struct conf *conf);
/** The module of a worker; MODULE_NONE past the end. */
enum module role_get_worker_module(size_t index);
/**
 * A worker with its code. module_fd is its open module, unused without one.
 * Owns: takes module_fd. Errors: NULL, logged.
 */
const struct worker_ops *role_load_worker(size_t index, int module_fd)
	__attribute__((warn_unused_result));

/** Write a role as the one argument that starts it. Owns: caller's storage. */
void role_format(const struct role *role, char text[ROLE_TEXT_SIZE]);
/** True when argument is meant as a role, whether or not it is a good one. */
bool role_is_argument(const char *argument);
/** Errors: false, out untouched. */
bool role_parse(const char *argument, struct role *out)
	__attribute__((warn_unused_result));

/**
 * Be the role that argv[1] names, in the sandbox of that role, until it ends; the
 * launcher alone starts it so, with its socket as ROLE_FD. Returns the exit status.
 */
int role_main(char **argv);

/** Core's part of role_main(): the sandbox is entered already. */
int role_run_core(const struct role *role);

#endif
