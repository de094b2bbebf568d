/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_CORE_H
#define DAEMON_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "protocols/worker.h"

struct event_base;

/**
 * The role that decides: configuration, policy, lease table, store, firewall,
 * rtnetlink, control socket. Reads no byte from the network, only messages of its
 * workers.
 */
struct core;

struct core_events {
	/** Everything is up: leases restored, kernel in agreement, control socket open.
	 */
	void (*ready)(void *user);
	/**
	 * Clients get answers: every worker has opened its sockets, or has had
	 * CORE_SERVING_MAX_MS to do so. Once, and again when a reload is done.
	 */
	void (*serving)(void *user);
	/**
	 * A worker lied or its channel broke; core has closed the channel. The owner
	 * ends that process and attaches its successor.
	 */
	void (*worker_ended)(void *user, const struct worker_ops *worker);
	/**
	 * An admin asks for a reload: call core_reload() or core_refuse_reload() soon,
	 * not from here, with this serial or that of a later call.
	 */
	void (*reload)(void *user, uint32_t serial);
};

/**
 * Start on this loop. Nothing in the kernel changes before every check has passed: the
 * control socket is ours, the store is open, the backend answers.
 * Errors: -errno, one clear line logged; *out untouched.
 */
int core_new(struct event_base *base, const struct conf *conf,
	     const struct core_events *events, void *user, struct core **out)
	__attribute__((warn_unused_result));

/** Take the channel to a (new) worker; an older one of the same kind is closed. Owns:
 * takes fd. */
int core_attach_worker(struct core *core, const struct worker_ops *worker, int fd)
	__attribute__((warn_unused_result));

/**
 * Use another configuration: what is asked from now on is decided by it, and the rest
 * follows; the owner hears `serving` when all is done. Admins who asked by `serial` or
 * before are answered then. *workers: LAN_PROTOCOL_... of the workers that the owner
 * ends cleanly and replaces, because they were told once what is another thing now.
 * remark: said behind the keys that only a restart changes.
 * Errors: -errno, logged: nothing has changed, and these admins are told why.
 */
int core_reload(struct core *core, const struct conf *next, uint32_t serial,
		const char *remark, uint8_t *workers)
	__attribute__((warn_unused_result));
/** There is no configuration to use; text says why. */
void core_refuse_reload(struct core *core, uint32_t serial, const char *text);

/** Clean stop: store written, our table gone unless kept, control socket removed.
 * Errors: -errno, logged: rules stay that should have gone. */
int core_free(struct core *core);

#endif
