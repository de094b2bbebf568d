/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "daemon/store_env.h"
#include "daemon/store_mark.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_DIGITS ((size_t)STORE_BOOT_SIZE * 2)
#define KEY_SIZE 8
#define KEY_META 0 /* no lease has it */
/* Blocks from this size on are given back to the kernel when they are freed. */
#define STORE_BLOCK_LARGE (128 << 10)

struct store {
	struct store_env env;
	uint8_t boot[STORE_BOOT_SIZE];
	int lock_fd; /* the mark stands in this file too */
	struct store_marker marker;
	bool unsynced; /* written, and not waited for */
};

/* A transaction under way, and what to do in it. */
struct store_work {
	bool replace; /* forget everything first */
	const struct store_record *records;
	size_t record_count;
	const struct store_change *changes;
	size_t change_count;
	const struct store_meta *meta;
	struct store_stamp stamp;
};

static int store_lock(struct store *store)
{
	char path[STORE_PATH_MAX];
	int error = store_env_get_path(&store->env, STORE_LOCK_FILE, path);

	if (error != 0)
		return error;
	store->lock_fd =
		open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
		     STORE_FILE_MODE);
	if (store->lock_fd < 0)
		return -errno;
	if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

static int store_lmdb_sync(struct store *store)
{
	int error;

	if (!store->unsynced)
		return 0;
	error = store_env_sync(&store->env);
	/* The kernel forgets pages that it could not write: only replace() mends it. */
	if (error != 0)
		store_marker_set_behind(&store->marker);
	else
		store->unsynced = false;
	store_env_rest(&store->env);
	return error;
}

/* First what was written, then the mark: it must not be on the disk before that. */
static void store_finish(struct store *store)
{
	const char *reason;
	int error = store_lmdb_sync(store);

	if (!store_marker_is_closable(&store->marker))
		return;
	if (error == 0)
		error = store_env_open(&store->env, &reason);
	if (error == 0)
		error = store_marker_close(&store->marker,
					   store_env_get_transaction(&store->env));
	if (error != 0)
		log_warning("state-dir %s: %s; the next start begins a new epoch",
			    store->env.dir, strerror(-error));
}

static void store_lmdb_close(struct store *store)
{
	if (!store)
		return;
	store_finish(store);
	store_env_close(&store->env);
	if (store->lock_fd >= 0)
		close(store->lock_fd);
	free(store);
}

int store_lmdb_open(const char *dir, const struct store_options *options,
		    struct store **out, bool *damaged)
{
	struct store *store = calloc(1, sizeof(*store));
	bool was_damaged = false;
	int error = 0;

	if (!store)
		return -ENOMEM;
	/*
	 * LMDB takes lists of 3 MiB and touches little of them. Opened a second time
	 * they would come from the heap, which cleared them and kept them resident.
	 */
	(void)mallopt(M_MMAP_THRESHOLD, STORE_BLOCK_LARGE);
	store->lock_fd = -1;
	store->env.map_size = options->map_size;
	memcpy(store->boot, options->boot, sizeof(store->boot));
	if (strlen(dir) >= sizeof(store->env.dir))
		error = -ENAMETOOLONG;
	else
		memcpy(store->env.dir, dir, strlen(dir) + 1);
	if (error == 0)
		error = store_lock(store);
	if (error == 0)
		error = store_env_begin(&store->env, &was_damaged);
	if (error == 0)
		store_marker_init(&store->marker, store->lock_fd, store->boot,
				  store_env_get_transaction(&store->env));
	if (error != 0) {
		log_error("state-dir %s: %s; leases are not kept over a restart", dir,
			  error == -EBUSY
				  ? "another portreeved uses this state directory"
				  : strerror(-error));
		store_lmdb_close(store);
		return error;
	}
	*damaged = was_damaged;
	*out = store;
	return 0;
}

/* Parse "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"; all zero when it is anything else. */
static void boot_id_parse(const char *text, uint8_t boot[STORE_BOOT_SIZE])
{
	size_t digits = 0;

	memset(boot, 0, STORE_BOOT_SIZE);
	for (; *text != '\0' && *text != '\n' && digits < BOOT_ID_DIGITS; text++) {
		static const char hex[] = "0123456789abcdef";
		const char *at = strchr(hex, *text);

		if (*text == '-')
			continue;
		if (!at)
			break;
		boot[digits / 2] = (uint8_t)(boot[digits / 2] << 4 | (at - hex));
		digits++;
	}
	if (digits != BOOT_ID_DIGITS)
		memset(boot, 0, STORE_BOOT_SIZE);
}

static int store_lmdb_open_default(const char *dir, struct store **out, bool *damaged)
{
	struct store_options options = {.map_size = STORE_MAP_SIZE};
	char text[64] = "";
	int fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = '\0';
		close(fd);
	}
	boot_id_parse(text, options.boot);
	return store_lmdb_open(dir, &options, out, damaged);
}

static struct store_stamp store_stamp_at(const struct store *store,
					 const struct store_time *at)
{
	struct store_stamp stamp = {.at = *at};

	memcpy(stamp.boot, store->boot, sizeof(stamp.boot));
	return stamp;
}

static MDB_val key_encode(uint64_t id, uint8_t bytes[KEY_SIZE])
{
	struct writer writer = writer_init(bytes, KEY_SIZE);

	writer_u64(&writer, id);
	return (MDB_val){.mv_size = KEY_SIZE, .mv_data = bytes};
}

static int txn_put(MDB_txn *txn, MDB_dbi dbi, uint64_t id, uint8_t *bytes,
		   size_t length)
{
	uint8_t key_bytes[KEY_SIZE];
	MDB_val key = key_encode(id, key_bytes);
	MDB_val value = {.mv_size = length, .mv_data = bytes};

	return mdb_put(txn, dbi, &key, &value, 0);
}

static int txn_put_record(MDB_txn *txn, MDB_dbi dbi, const struct store_record *record,
			  const struct store_stamp *stamp)
{
	uint8_t bytes[STORE_RECORD_SIZE_MAX];

	return txn_put(txn, dbi, record->lease.id, bytes,
		       store_record_encode(record, stamp, bytes));
}

static int txn_put_meta(MDB_txn *txn, MDB_dbi dbi, const struct store_meta *meta,
			const struct store_stamp *stamp)
{
	uint8_t bytes[STORE_RECORD_SIZE_MAX];

	return txn_put(txn, dbi, KEY_META, bytes,
		       store_meta_encode(meta, stamp, bytes));
}

static int txn_change(MDB_txn *txn, MDB_dbi dbi, const struct store_change *change,
		      const struct store_stamp *stamp)
{
	uint8_t bytes[KEY_SIZE];
	MDB_val key;
	int code;

	switch (change->kind) {
	case STORE_PUT:
		return txn_put_record(txn, dbi, change->record, stamp);
	case STORE_REMOVE:
		key = key_encode(change->id, bytes);
		code = mdb_del(txn, dbi, &key, NULL);
		return code == MDB_NOTFOUND ? 0 : code;
	}
	return EINVAL;
}

static int txn_apply(MDB_txn *txn, MDB_dbi dbi, const struct store_work *work)
{
	int code = work->replace ? mdb_drop(txn, dbi, 0) : 0;

	for (size_t i = 0; i < work->record_count && code == 0; i++)
		code = txn_put_record(txn, dbi, &work->records[i], &work->stamp);
	for (size_t i = 0; i < work->change_count && code == 0; i++)
		code = txn_change(txn, dbi, &work->changes[i], &work->stamp);
	if (code == 0 && work->meta)
		code = txn_put_meta(txn, dbi, work->meta, &work->stamp);
	return code;
}

/* All of the work in one transaction, or none of it. Returns what LMDB says. */
static int store_commit(struct store *store, const struct store_work *work)
{
	MDB_txn *txn;
	int code = mdb_txn_begin(store->env.env, NULL, 0, &txn);

	if (code != 0)
		return code;
	code = txn_apply(txn, store->env.dbi, work);
	if (code != 0) {
		mdb_txn_abort(txn);
		return code;
	}
	return mdb_txn_commit(txn);
}

static int store_run(struct store *store, const struct store_work *work)
{
	int error = store_marker_begin(&store->marker);
	int code;

	if (error != 0)
		return error;
	code = store_commit(store, work);

	while (code == MDB_MAP_FULL && store->env.map_size <= STORE_MAP_MAX / 2) {
		store->env.map_size *= 2;
		code = mdb_env_set_mapsize(store->env.env, store->env.map_size);
		if (code == 0)
			code = store_commit(store, work);
	}
	if (code == 0) {
		store->unsynced = true;
		if (work->replace || work->meta)
			store_marker_settle(&store->marker, work->replace);
	}
	return store_env_error(&store->env, code);
}

static int store_lmdb_write(struct store *store, const struct store_time *at,
			    const struct store_change *changes, size_t count,
			    const struct store_meta *meta)
{
	struct store_work work = {.changes = changes,
				  .change_count = count,
				  .meta = meta,
				  .stamp = store_stamp_at(store, at)};
	const char *reason;
	int error;

	if (count == 0 && !meta)
		return 0;
	error = store_env_open(&store->env, &reason);
	/* Gone or damaged under us: what it held is not what the table holds:
	 * replace(). */
	if (error == -EBADMSG || error == -ENOENT)
		error = -EIO;
	if (error == 0)
		error = store_run(store, &work);
	if (error != 0)
		store_marker_set_behind(&store->marker);
	return error;
}

static int store_lmdb_replace(struct store *store, const struct store_time *at,
			      const struct store_record *records, size_t count,
			      const struct store_meta *meta)
{
	struct store_work work = {.replace = true,
				  .records = records,
				  .record_count = count,
				  .meta = meta,
				  .stamp = store_stamp_at(store, at)};
	bool damaged = false;
	int error;

	/* Look at the file with fresh eyes: it may be the reason of what failed before.
	 */
	store_env_close(&store->env);
	error = store_env_begin(&store->env, &damaged);
	if (error == 0)
		error = store_run(store, &work);
	if (error != 0)
		store_marker_set_behind(&store->marker);
	store_env_close(&store->env);
	return error;
}

/* A walk over all records, and what it found. */
struct store_walk {
	struct store *store;
	MDB_cursor *cursor;
	struct store_stamp now;
	struct store_meta meta;
	bool has_meta;
	size_t lost;
	uint64_t last_id;
	int (*visit)(void *user, const struct store_record *);
	void *user;
	int answer; /* of visit */
};

static int walk_drop(struct store_walk *walk)
{
	return mdb_cursor_del(walk->cursor, 0);
}

/* Times of another boot are written as this boot's, so that they stay exact from now
 * on. */
static int walk_rewrite(struct store_walk *walk, MDB_val *key, size_t before,
			const MDB_val *after)
{
	MDB_txn *txn = mdb_cursor_txn(walk->cursor);
	MDB_val value = *after;
	uint8_t name[sizeof(uint64_t)];
	MDB_val at = {.mv_size = sizeof(name), .mv_data = name};
	int code;

	if (before == after->mv_size)
		return mdb_cursor_put(walk->cursor, key, &value, MDB_CURRENT);
	/* A record of an older version grows: pages split, so the key is kept aside and
	 * the cursor looks for its place again. */
	if (key->mv_size != sizeof(name))
		return MDB_BAD_VALSIZE;
	memcpy(name, key->mv_data, sizeof(name));
	code = mdb_put(txn, mdb_cursor_dbi(walk->cursor), &at, &value, 0);
	return code == 0 ? mdb_cursor_get(walk->cursor, &at, &value, MDB_SET_KEY)
			 : code;
}

static int walk_meta(struct store_walk *walk, MDB_val *key, const MDB_val *value)
{
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	MDB_val after = {.mv_data = bytes};
	struct store_stamp stamp;

	if (!store_meta_decode(value->mv_data, value->mv_size, &walk->meta, &stamp)) {
		memset(&walk->meta, 0, sizeof(walk->meta));
		walk->lost++;
		return walk_drop(walk);
	}
	walk->has_meta = true;
	if (store_stamp_is_same_boot(&stamp, &walk->now))
		return 0;
	store_meta_convert(&walk->meta, &stamp, &walk->now);
	after.mv_size = store_meta_encode(&walk->meta, &walk->now, bytes);
	return walk_rewrite(walk, key, value->mv_size, &after);
}

static int walk_record(struct store_walk *walk, MDB_val *key, const MDB_val *value)
{
	struct reader reader = reader_init(key->mv_data, key->mv_size);
	uint64_t id = reader_u64(&reader);
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	MDB_val after = {.mv_data = bytes};
	struct store_record record;
	struct store_stamp stamp;
	struct lease_room room;
	int code = 0;

	if (id == KEY_META)
		return walk_meta(walk, key, value);
	walk->last_id = id;
	if (!store_record_decode(value->mv_data, value->mv_size, &record, &stamp,
				 &room) ||
	    record.lease.id != id) {
		walk->lost++;
		return walk_drop(walk);
	}
	store_record_convert(&record, &stamp, &walk->now);
	if (record.lease.expires_ms <= walk->now.at.now_ms)
		return walk_drop(walk);
	if (!store_stamp_is_same_boot(&stamp, &walk->now)) {
		after.mv_size = store_record_encode(&record, &walk->now, bytes);
		code = walk_rewrite(walk, key, value->mv_size, &after);
	}
	if (code == 0)
		walk->answer = walk->visit(walk->user, &record);
	return code;
}

static int walk_run(struct store_walk *walk, MDB_txn *txn)
{
	MDB_val key;
	MDB_val value;
	int code = mdb_cursor_open(txn, walk->store->env.dbi, &walk->cursor);

	if (code != 0)
		return code;
	code = mdb_cursor_get(walk->cursor, &key, &value, MDB_FIRST);
	while (code == 0) {
		code = walk_record(walk, &key, &value);
		if (code != 0 || walk->answer != 0)
			break;
		code = mdb_cursor_get(walk->cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(walk->cursor);
	return code == MDB_NOTFOUND ? 0 : code;
}

/* All that was found, tidied in one transaction. Returns what LMDB says. */
static int walk_commit(struct store_walk *walk)
{
	struct store *store = walk->store;
	MDB_txn *txn;
	int code = mdb_txn_begin(store->env.env, NULL, 0, &txn);

	if (code != 0)
		return code;
	code = walk_run(walk, txn);
	if (code != 0 || walk->answer != 0) {
		mdb_txn_abort(txn);
		return code;
	}
	/* Leases without it: it went, and the origin of the epoch with it. */
	if (!walk->has_meta && walk->last_id != 0 && walk->lost == 0)
		walk->lost++;
	/* What is forgotten here is still to be told if nobody heard of it. */
	if (walk->lost > 0)
		store_marker_set_uncertain(&store->marker);
	store->unsynced = true;
	if (mdb_txn_commit(txn) != 0)
		/* Only the tidying is undone, say on a full disk: the next load does
		 * it. */
		log_debug("state-dir %s: ended leases stay in the file",
			  store->env.dir);
	return 0;
}

static int store_lmdb_load(struct store *store, const struct store_time *at,
			   struct store_loaded *out,
			   int (*visit)(void *user, const struct store_record *),
			   void *user)
{
	struct store_walk walk = {.store = store, .visit = visit, .user = user};
	bool uncertain = store->marker.uncertain || store->marker.behind;
	const char *reason;
	int error = store_env_open(&store->env, &reason);

	if (error != 0)
		return error == -EBADMSG ? -EIO : error;
	error = store_marker_begin(&store->marker);
	if (error != 0)
		return error;
	walk.now = store_stamp_at(store, at);
	error = store_env_error(&store->env, walk_commit(&walk));
	store_env_close(&store->env);
	if (error != 0 || walk.answer != 0)
		return error != 0 ? error : walk.answer;
	/* Identifiers are never used twice, even when that record was lost. */
	if ((walk.has_meta || walk.last_id != 0) && walk.meta.next_id <= walk.last_id)
		walk.meta.next_id = walk.last_id + 1;
	*out = (struct store_loaded){
		.meta = walk.meta, .lost = walk.lost, .uncertain = uncertain};
	return 0;
}

const struct store_ops *store_get_lmdb(void)
{
	static const struct store_ops ops = {
		.name = "lmdb",
		.open = store_lmdb_open_default,
		.close = store_lmdb_close,
		.load = store_lmdb_load,
		.write = store_lmdb_write,
		.replace = store_lmdb_replace,
		.sync = store_lmdb_sync,
	};

	return &ops;
}
