/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_STORE_CHECK_H
#define DAEMON_STORE_CHECK_H

#include <stddef.h>

/**
 * LMDB maps its file and trusts every page number and offset in it: one flipped bit can
 * end the process. So before LMDB sees a file, this walks it as an enemy's would be:
 * both meta pages, the tree of records, the tree of free pages, every node inside its
 * page, every page inside the file and used once, keys in order. What a record says is
 * not looked at.
 *
 * A file of a format other than LMDB 0.9's (data version 1) is passed: LMDB itself
 * knows by the version whether it can read it.
 *
 * map_max: largest map that may be asked for, octets. reason: why not, for the log.
 * Errors: -EBADMSG = damaged, *reason set; else -errno of reading, *reason untouched.
 * Source: the layout of liblmdb 0.9 (mdb.c: MDB_meta, MDB_db, MDB_page, MDB_node).
 */
int store_check_file(int fd, size_t map_max, const char **reason)
	__attribute__((warn_unused_result));

#endif
