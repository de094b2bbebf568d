/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_STORE_MARK_H
#define DAEMON_STORE_MARK_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/store_record.h"

/**
 * Knows whether the database may lack changes that clients were told of. It stands
 * outside of the database, for after a power failure pages of different age may be
 * mixed in there, each plausible by itself. Three rows cover every end:
 *
 *   clean, and of this very transaction     nothing is missing
 *   open, in the same boot                  killed: the kernel has everything
 *   anything else                           uncertain
 */
struct store_marker {
	int fd; /* where the mark stands; borrowed */
	uint8_t boot[STORE_BOOT_SIZE];
	enum store_mark_kind kind; /* what stands there */
	bool begun;
	bool uncertain; /* until the caller wrote the new epoch, or everything anew */
	bool behind;	/* a write failed: until the caller wrote everything anew */
};

/** Read the mark of a database whose last transaction is this; 0 = it was never used.
 */
void store_marker_init(struct store_marker *marker, int fd,
		       const uint8_t boot[STORE_BOOT_SIZE], uint64_t transaction);

/**
 * To be called before any change. The first time it says "open" or "stale" in place of
 * "clean" and waits until that is on the disk. Errors: -errno: do not change anything.
 */
int store_marker_begin(struct store_marker *marker) __attribute__((warn_unused_result));

/** Records were lost: uncertain for whoever loads before a new epoch is written. */
void store_marker_set_uncertain(struct store_marker *marker);
/** A change was not written. */
void store_marker_set_behind(struct store_marker *marker);
/** A meta was written; everything was written anew. */
void store_marker_settle(struct store_marker *marker, bool everything);

/** True when the mark may say "clean" at the end. */
bool store_marker_is_closable(const struct store_marker *marker);
/** The database is on the disk up to this transaction and will not change. */
int store_marker_close(struct store_marker *marker, uint64_t transaction)
	__attribute__((warn_unused_result));

#endif
