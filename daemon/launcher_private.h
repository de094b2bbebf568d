/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LAUNCHER_PRIVATE_H
#define DAEMON_LAUNCHER_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "daemon/backoff.h"
#include "daemon/prepare.h"
#include "daemon/role.h"

struct event;
struct event_base;
struct launcher;
struct msg_channel;
struct msg_handler;

/** One process that the launcher looks after: core, or a worker. */
struct child {
	struct launcher *launcher;
	struct role role;
	enum module module;
	uint32_t index;	     /* of the worker; unused in core */
	uint32_t generation; /* grows with each start */
	pid_t pid;	     /* 0 = not running */
	struct backoff backoff;
	int64_t delay_ms; /* until the next start, once it has ended */
	bool renewing;	  /* a reload has it end, and another one start at once */
	struct event *restart;
};

enum launcher_phase {
	LAUNCHER_RUNNING,
	LAUNCHER_RENEWING, /* core died: the workers end, then all start again */
	LAUNCHER_STOPPING, /* the workers end, then core */
};

/** Workers there is room for. */
#define LAUNCHER_WORKERS_MAX 4

/** The configuration, as it is read again. */
struct launcher_reload {
	const char *file; /* NULL = the default one */
	struct conf conf; /* in force */
	struct conf next; /* given to core last, as `number` */
	uint32_t number;
	uint32_t answered;   /* by core: this number */
	uint32_t serial;     /* of the last call of an admin */
	bool wanted;	     /* when core is there again, or has answered */
	unsigned int losses; /* times that core ended over it */
};

struct launcher {
	struct event_base *base;
	const struct conf *conf; /* in force */
	struct launcher_reload reload;
	struct prepare_users users;
	bool raw; /* the firewall is iptables */
	int lock; /* of which core is handed this; -1 = none */
	/* Open from the start, so that a role that is started again after an upgrade is
	 * of the same version as the launcher. -1 = not needed. */
	int modules[MODULE_COUNT];
	enum launcher_phase phase;
	struct child core;
	struct child workers[LAUNCHER_WORKERS_MAX];
	size_t worker_count;
	struct msg_channel *channel; /* to core */
	bool ready;		/* core was ready once: from now on it is restarted */
	bool serving;		/* the service manager knows that we serve */
	int status;		/* exit status */
	struct event *deadline; /* of the phase */
	struct event *signals[4];
};

/**
 * Start core and give it its configuration; handler hears of it, with the launcher as
 * user. Errors: -errno, logged.
 */
int launcher_start_core(struct launcher *launcher, const struct msg_handler *handler)
	__attribute__((warn_unused_result));
/** Start a worker and give core the other end. A failure is retried later. */
void launcher_start_worker(struct child *worker);
/**
 * Make the workers that run those that launcher->conf asks for: start what is missing,
 * have the others end. Again whenever the configuration is another one. An end that is
 * wanted starts nothing anew; see launcher_note_end().
 */
void launcher_select_workers(struct launcher *launcher);
/** Whether launcher->conf asks for this worker. */
bool launcher_wants_worker(const struct child *worker);
/** A process has ended: say so in one line, set child->delay_ms. */
void launcher_note_end(struct child *child, int wait_status, bool expected);
/** The running child with this pid, or NULL. */
struct child *launcher_find_child(struct launcher *launcher, pid_t pid);
size_t launcher_count_workers(const struct launcher *launcher);
void launcher_signal_workers(struct launcher *launcher, int number);
void launcher_schedule(struct child *child);

/* launcher_reload.c */
/** Read the configuration again, and have core use it; later where core is not there,
 * or has the last one to answer. */
void launcher_reload(struct launcher *launcher);
/** ROLE_MSG_RELOAD. */
void launcher_reload_asked(struct launcher *launcher, const struct role_reload *body);
/** ROLE_MSG_RELOADED: workers are replaced. */
void launcher_reloaded(struct launcher *launcher, const struct role_reloaded *body);
/** Core has ended: what it had not answered is tried again, once. */
void launcher_reload_lost(struct launcher *launcher);

/** Give core a configuration; body NULL = the first. Errors: -errno. */
int launcher_send_conf(struct launcher *launcher, const struct conf *conf,
		       const struct role_reload *body)
	__attribute__((warn_unused_result));
/** Have a worker end cleanly, and another one start in its place at once. */
void launcher_renew_worker(struct child *worker);

#endif
