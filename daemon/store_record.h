/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_STORE_RECORD_H
#define DAEMON_STORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/store.h"

/**
 * The bytes of one record, whatever keeps them: a version, a kind, when it was written,
 * the fields big-endian, a CRC-32 over all of it. The two times of a lease are those of
 * the boot that wrote them; the stamp tells which boot that was and what the wall clock
 * said, so that another boot can convert them.
 */

/** Longest record, octets. */
#define STORE_RECORD_SIZE_MAX 1024
#define STORE_BOOT_SIZE 16

/** When, and in which boot of the kernel. */
struct store_stamp {
	uint8_t version; /* of what was read; written is always the latest */
	uint8_t boot[STORE_BOOT_SIZE]; /* all zero = unknown: equal to no other */
	struct store_time at;
};

/** Returns the length; the description is cleaned, never refused. */
size_t store_record_encode(const struct store_record *record,
			   const struct store_stamp *stamp,
			   uint8_t out[STORE_RECORD_SIZE_MAX]);

/**
 * Every field is checked; times come as written. room: where filters and description
 * of the lease stand then.
 * Errors: false, nothing of *out or *stamp may be used.
 */
bool store_record_decode(const void *bytes, size_t length, struct store_record *out,
			 struct store_stamp *stamp, struct lease_room *room)
	__attribute__((warn_unused_result));

size_t store_meta_encode(const struct store_meta *meta, const struct store_stamp *stamp,
			 uint8_t out[STORE_RECORD_SIZE_MAX]);
bool store_meta_decode(const void *bytes, size_t length, struct store_meta *out,
		       struct store_stamp *stamp) __attribute__((warn_unused_result));

/** In which state a store was left. */
enum store_mark_kind {
	STORE_MARK_NONE,  /* no mark, or nothing that can be read */
	STORE_MARK_OPEN,  /* in use; within the same boot nothing is missing */
	STORE_MARK_STALE, /* in use, and known to lack changes */
	STORE_MARK_CLEAN, /* closed, everything on the disk */
};

struct store_mark {
	enum store_mark_kind kind;
	uint8_t boot[STORE_BOOT_SIZE];
	uint64_t transaction; /* of CLEAN: the last one; another file has another */
};

/** Length of an encoded mark, octets. */
#define STORE_MARK_SIZE 47

void store_mark_encode(const struct store_mark *mark, uint8_t out[STORE_MARK_SIZE]);
/** STORE_MARK_NONE for bytes that are no mark. */
struct store_mark store_mark_decode(const void *bytes, size_t length);

/** True when times of the one mean the same instant in the other. */
bool store_stamp_is_same_boot(const struct store_stamp *written,
			      const struct store_stamp *now);

/**
 * Turn the times of a record into those of this boot. After a reboot the wall clock
 * tells how long we were away; one that went backwards counts as no time at all, so a
 * lease never gets more than remained when it was written.
 */
void store_record_convert(struct store_record *record,
			  const struct store_stamp *written,
			  const struct store_stamp *now);
/** The same for the origin of the epoch, which goes on counting over a reboot; the time
 * that the WAN is up does not. */
void store_meta_convert(struct store_meta *meta, const struct store_stamp *written,
			const struct store_stamp *now);

#endif
