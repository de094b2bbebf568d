/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/store_mark.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Overwritten in place, within one sector: no size, no new block, old or new. */
static int mark_write(struct store_marker *marker, enum store_mark_kind kind,
		      uint64_t transaction)
{
	struct store_mark mark = {.kind = kind, .transaction = transaction};
	uint8_t bytes[STORE_MARK_SIZE];
	ssize_t written;

	memcpy(mark.boot, marker->boot, sizeof(mark.boot));
	store_mark_encode(&mark, bytes);
	written = pwrite(marker->fd, bytes, sizeof(bytes), 0);
	if (written != (ssize_t)sizeof(bytes))
		return written < 0 ? -errno : -ENOSPC;
	marker->kind = kind;
	return 0;
}

void store_marker_init(struct store_marker *marker, int fd,
		       const uint8_t boot[STORE_BOOT_SIZE], uint64_t transaction)
{
	struct store_stamp now = {.at = {0}};
	struct store_stamp written = {.at = {0}};
	struct store_mark mark;
	uint8_t bytes[STORE_MARK_SIZE];
	ssize_t length = pread(fd, bytes, sizeof(bytes), 0);

	*marker = (struct store_marker){.fd = fd};
	memcpy(marker->boot, boot, sizeof(marker->boot));
	mark = store_mark_decode(bytes, length > 0 ? (size_t)length : 0);
	marker->kind = mark.kind;
	memcpy(now.boot, boot, sizeof(now.boot));
	memcpy(written.boot, mark.boot, sizeof(written.boot));
	marker->uncertain = true;
	if (transaction == 0)
		marker->uncertain = false;
	else if (mark.kind == STORE_MARK_CLEAN)
		marker->uncertain = mark.transaction != transaction;
	else if (mark.kind == STORE_MARK_OPEN)
		marker->uncertain = !store_stamp_is_same_boot(&written, &now);
}

int store_marker_begin(struct store_marker *marker)
{
	bool was_clean = marker->kind == STORE_MARK_CLEAN;
	int error;

	if (marker->begun)
		return 0;
	error = mark_write(marker,
			   marker->uncertain ? STORE_MARK_STALE : STORE_MARK_OPEN, 0);
	if (error == 0 && fdatasync(marker->fd) != 0)
		error = -errno;
	/* Without "clean" the next load is uncertain anyway: no reason not to serve. */
	if (error != 0 && was_clean) {
		marker->kind = STORE_MARK_CLEAN; /* on the disk it still is */
		return error;
	}
	marker->begun = true;
	return 0;
}

/*
 * Not waited for: after a power failure the boot is another one, and then "open" means
 * the same as "stale". When it cannot be written there is nothing more that we can do.
 */
static void marker_update(struct store_marker *marker)
{
	enum store_mark_kind kind = marker->uncertain || marker->behind
					    ? STORE_MARK_STALE
					    : STORE_MARK_OPEN;

	if (marker->kind != kind)
		(void)mark_write(marker, kind, 0);
}

void store_marker_set_uncertain(struct store_marker *marker)
{
	marker->uncertain = true;
	marker_update(marker);
}

void store_marker_set_behind(struct store_marker *marker)
{
	marker->behind = true;
	marker_update(marker);
}

void store_marker_settle(struct store_marker *marker, bool everything)
{
	marker->uncertain = false;
	if (everything)
		marker->behind = false;
	marker_update(marker);
}

bool store_marker_is_closable(const struct store_marker *marker)
{
	return marker->begun && !marker->uncertain && !marker->behind;
}

int store_marker_close(struct store_marker *marker, uint64_t transaction)
{
	int error = mark_write(marker, STORE_MARK_CLEAN, transaction);

	if (error == 0 && fdatasync(marker->fd) != 0)
		error = -errno;
	return error;
}
