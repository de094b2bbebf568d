/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_STORE_LMDB_H
#define DAEMON_STORE_LMDB_H

#include "daemon/store_record.h"

/** Name of the database in the state directory. */
#define STORE_FILE "leases.mdb"
/** Held with flock() while a process uses the directory; the mark stands in it. */
#define STORE_LOCK_FILE "leases.lock"

/**
 * Map size to begin with. 65536 leases of the longest kind fill 27 MiB, and a
 * transaction copies what it changes; it is address space, not memory. Doubled when it
 * is full.
 */
#define STORE_MAP_SIZE ((size_t)64 << 20)
#define STORE_MAP_MAX ((size_t)1 << 30)

/** What open() finds out by itself; tests put their own here. */
struct store_options {
	uint8_t boot[STORE_BOOT_SIZE]; /* the kernel's boot id; all zero = unknown */
	size_t map_size;
};

/** store_ops.open with these options. */
int store_lmdb_open(const char *dir, const struct store_options *options,
		    struct store **out, bool *damaged)
	__attribute__((warn_unused_result));

#endif
