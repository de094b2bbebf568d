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
	uint32_t boot_id; /* BOOTID.UPNP.ORG of the last run; the caller adds one */
	uint8_t uuid[16]; /* of this gateway, made once */
	int64_t epoch_origin_ms; /* clock_now_ms() of this boot; may be negative */
};

/** The clocks at one instant, both in ms: what load() and write() convert times with.
 */
struct store_time {
	int64_t now_ms;	 /* clock_now_ms() */
	int64_t wall_ms; /* clock_wall_ms() */
};

struct store;

/**
 * Where leases outlive the process. A struct of functions like the backend, so that a
 * shared store can stand in (DESIGN §10).
 */
struct store_ops {
	const char *name;
	/**
	 * Open or create under dir. A damaged file is set aside under another name with
	 * a warning, and *damaged says so: leases were lost, the epoch must start
	 * again. Errors: -errno, logged.
	 */
	int (*open)(const char *dir, struct store **out, bool *damaged);
	void (*close)(struct store *store);
	/**
	 * Hand every live lease to visit, in order of id, times converted to this boot:
	 * exact within the same boot (by boot id), by the wall clock after a reboot.
	 * Leases that ended meanwhile are skipped and forgotten. Every record is
	 * checked field by field; *lost counts those that were no leases, and what is
	 * kept beside them. *meta is zero when there was none. visit does not use the
	 * store. Errors: -errno; a non-zero answer of visit ends the walk and is
	 * returned.
	 */
	int (*load)(struct store *store, const struct store_time *at,
		    struct store_meta *meta, size_t *lost,
		    int (*visit)(void *user, const struct store_record *), void *user);
	/**
	 * One durable transaction; meta may be NULL = unchanged.
	 * Errors: -ENOSPC, -EIO, ...: nothing was written, the store can be used again:
	 * by replace(), for what it holds is no longer what the caller holds.
	 */
	int (*write)(struct store *store, const struct store_time *at,
		     const struct store_change *changes, size_t count,
		     const struct store_meta *meta);
	/** Forget everything and write these instead: after a time of failed writes. */
	int (*replace)(struct store *store, const struct store_time *at,
		       const struct store_record *records, size_t count,
		       const struct store_meta *meta);
};

const struct store_ops *store_get_lmdb(void);

#endif
