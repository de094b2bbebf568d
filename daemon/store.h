/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/lease.h"

/** How many LAN names a store can tell apart. */
#define STORE_LAN_NAME_MAX 16

/** A lease with the time in a form that survives a reboot, and its LAN by name. */
struct store_record {
	struct lease lease; /* created_ms, expires_ms: clock_now_ms() of this boot */
	char lan_name[STORE_LAN_NAME_MAX];
};

enum store_change_kind {
	STORE_PUT, /* insert or overwrite by id */
	STORE_REMOVE,
};

struct store_change {
	enum store_change_kind kind;
	uint64_t id;
	const struct store_record *record; /* STORE_PUT; borrowed for the call */
};

/** What is kept beside the leases. */
struct store_meta {
	uint64_t next_id;
	uint32_t boot_id;	 /* BOOTID.UPNP.ORG of the last worker; 0 = none yet */
	uint8_t uuid[16];	 /* of this gateway, made once */
	int64_t epoch_origin_ms; /* clock_now_ms() of this boot; may be negative */
	/** That clients were told last; another one is a new epoch (PCP-32). */
	struct ip_addr external;
	/** clock_now_ms() of this boot when it came; 0 = it is not there, or came in
	 * another boot (IGD-40). */
	int64_t up_since_ms;
};

/** What a load brought. */
struct store_loaded {
	struct store_meta meta; /* zero when there was none */
	size_t lost; /* records that were no leases, and what is beside them */
	/**
	 * The last changes may not be among the records: the power failed before they
	 * were on the disk, or a write had failed. The epoch must start again, so that
	 * clients renew; the leases that are there may be kept.
	 */
	bool uncertain;
};

/** The clocks at one instant, both in ms: what load() and write() convert times with.
 */
struct store_time {
	int64_t now_ms;	 /* clock_now_ms() */
	int64_t wall_ms; /* clock_wall_ms() */
};

struct store;

/** How long what was written may wait for sync(). */
#define STORE_SYNC_MS INT64_C(10000)

/**
 * Where leases outlive the process. A struct of functions like the backend, so that a
 * store that several gateways share can stand in.
 *
 * What is written outlives the process at once, however it ends, and the machine after
 * sync() or close(). Why not both at once: waiting for the disk takes milliseconds, at
 * times a hundred, and everybody's request would wait behind each change; flash would
 * wear. The answer stays true all the same: a store that may lack its last changes says
 * so at the next load, and a new epoch makes the clients ask again.
 */
struct store_ops {
	const char *name;
	/**
	 * Open or create under dir. A damaged file is set aside under another name with
	 * a warning, and *damaged says so: leases were lost, the epoch must start
	 * again. Errors: -errno, logged.
	 */
	int (*open)(const char *dir, struct store **out, bool *damaged);
	/**
	 * Clean end: what was written is durable, and the next load knows that nothing
	 * is missing, unless a write failed that replace() did not make good.
	 */
	void (*close)(struct store *store);
	/**
	 * Hand every live lease to visit, in order of id, times converted to this boot:
	 * exact within the same boot (by boot id), by the wall clock after a reboot.
	 * Leases that ended meanwhile are skipped and forgotten. Every record is
	 * checked field by field. visit does not use the store. out->uncertain stays
	 * true for later loads until write() or replace() brings a meta of the new
	 * epoch. Errors: -errno; a non-zero answer of visit ends the walk and is
	 * returned.
	 */
	int (*load)(struct store *store, const struct store_time *at,
		    struct store_loaded *out,
		    int (*visit)(void *user, const struct store_record *), void *user);
	/**
	 * One transaction, all or nothing, that any end of the process leaves whole;
	 * meta may be NULL = unchanged.
	 * Errors: -ENOSPC, -EIO, ...: nothing was written, the store can be used again:
	 * by replace(), for what it holds is no longer what the caller holds. A load
	 * before that is uncertain.
	 */
	int (*write)(struct store *store, const struct store_time *at,
		     const struct store_change *changes, size_t count,
		     const struct store_meta *meta);
	/** Forget everything and write these instead: after a time of failed writes. */
	int (*replace)(struct store *store, const struct store_time *at,
		       const struct store_record *records, size_t count,
		       const struct store_meta *meta);
	/**
	 * Make everything written durable: waits for the disk, so call it seldom. Does
	 * nothing when nothing was written since. Errors: -errno; what was written may
	 * be lost at a power failure, replace() makes it good.
	 */
	int (*sync)(struct store *store);
};

const struct store_ops *store_get_lmdb(void);

#endif
