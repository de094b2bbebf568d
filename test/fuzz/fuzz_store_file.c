/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/store_check.h"
#include "daemon/store_lmdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *user, const struct store_record *record)
{
	(void)user;
	(void)record;
	return 0;
}

/** What passed the check must open, load, take a change and be sound after it. */
static void use_store(const char *dir)
{
	static const struct store_time at = {.now_ms = 1000, .wall_ms = 1000};
	const struct store_options options = {.map_size = STORE_MAP_SIZE};
	struct store_record record = {.lease = {.id = 7, .description = "fuzz"}};
	struct store_change changes[2] = {{STORE_PUT, 7, &record},
					  {STORE_REMOVE, 1, NULL}};
	struct store_loaded loaded;
	struct store *store;
	bool damaged = false;

	if (store_lmdb_open(dir, &options, &store, &damaged) != 0 || damaged)
		abort();
	if (store_get_lmdb()->load(store, &at, &loaded, take, NULL) != 0 ||
	    store_get_lmdb()->write(store, &at, changes, 2, &loaded.meta) != 0 ||
	    store_get_lmdb()->sync(store) != 0)
		abort();
	store_get_lmdb()->close(store);
	if (store_lmdb_open(dir, &options, &store, &damaged) != 0 || damaged)
		abort();
	store_get_lmdb()->close(store);
}

static int check(const uint8_t *data, size_t size, const char *path)
{
	const char *reason;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int error;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	error = store_check_file(fd, STORE_MAP_MAX, &reason);
	close(fd);
	return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* the version: any other than ours is LMDB's to refuse */
	static const uint8_t head[] = {0xde, 0xc0, 0xef, 0xbe, 1, 0, 0, 0};
	static const char *const files[] = {STORE_FILE, STORE_LOCK_FILE};
	char dir[] = "/tmp/fuzz-store-XXXXXX";
	char path[64];

	if (size < 24 || memcmp(data + 16, head, sizeof(head)) != 0)
		return 0;
	log_init("fuzz", LOG_LEVEL_ERROR);
	if (!mkdtemp(dir))
		abort();
	(void)snprintf(path, sizeof(path), "%s/%s", dir, files[0]);
	if (check(data, size, path) == 0)
		use_store(dir);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		(void)unlink(path);
	}
	return rmdir(dir);
}
