/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What survives what: a store that was killed, closed, met a reboot, a power failure, a
 * full disk; and that it says so whenever changes may be missing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/store_lmdb.h"

#define SNAPSHOTS 24
#define MIXES 400
#define MIX_SEED 20261121u
#define PAGE 4096

static const struct store_time at = {.now_ms = 5000000, .wall_ms = 1700000000000};
static const struct store_meta some_meta = {.next_id = 900, .boot_id = 1};

struct fixture {
	char dir[64];
	struct store_options options;
	struct store *store;
	bool damaged;
	struct store_loaded loaded;
	size_t seen;
};

static const struct store_ops *ops(void)
{
	return store_get_lmdb();
}

static void path_of(const struct fixture *fixture, const char *file, char path[320])
{
	(void)snprintf(path, 320, "%s/%s", fixture->dir, file);
}

static int setup(void **state)
{
	struct fixture *fixture = test_calloc(1, sizeof(*fixture));
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	(void)snprintf(fixture->dir, sizeof(fixture->dir), "%s/test-crash-XXXXXX",
		       base);
	if (!mkdtemp(fixture->dir))
		return -1;
	memset(fixture->options.boot, 0xb0, sizeof(fixture->options.boot));
	fixture->options.map_size = STORE_MAP_SIZE;
	*state = fixture;
	return 0;
}

static void close_store(struct fixture *fixture)
{
	ops()->close(fixture->store);
	fixture->store = NULL;
}

/* Files that a damaged store was set aside as go too. */
static void clear_dir(const struct fixture *fixture)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -f %s/*", fixture->dir);
	assert_int_equal(system(command), 0);
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	close_store(fixture);
	clear_dir(fixture);
	(void)rmdir(fixture->dir);
	test_free(fixture);
	return 0;
}

static void open_store(struct fixture *fixture)
{
	close_store(fixture);
	assert_int_equal(store_lmdb_open(fixture->dir, &fixture->options,
					 &fixture->store, &fixture->damaged),
			 0);
}

static int take(void *user, const struct store_record *record)
{
	struct fixture *fixture = user;

	fixture->seen += record->lease.id != 0;
	return 0;
}

static void load(struct fixture *fixture)
{
	fixture->seen = 0;
	assert_int_equal(
		ops()->load(fixture->store, &at, &fixture->loaded, take, fixture), 0);
}

static struct store_record make_record(uint64_t id)
{
	struct store_record record = {
		.lease = {.id = id,
			  .internal_port = (uint16_t)(1 + id % 60000),
			  .external_port = (uint16_t)(1024 + id % 60000),
			  .protocol = IPPROTO_UDP,
			  .enabled = true,
			  .created_ms = at.now_ms,
			  .expires_ms = at.now_ms + 3600000},
		.lan_name = "lan0",
	};

	assert_true(addr_parse("192.168.77.2", &record.lease.internal));
	record.lease.client = record.lease.internal;
	return record;
}

static int put(struct fixture *fixture, uint64_t id, const struct store_meta *meta)
{
	struct store_record record = make_record(id);
	struct store_change change = {STORE_PUT, id, &record};

	return ops()->write(fixture->store, &at, &change, 1, meta);
}

static void replace(struct fixture *fixture, uint64_t count)
{
	struct store_record *records = test_calloc(count, sizeof(*records));

	for (uint64_t i = 0; i < count; i++)
		records[i] = make_record(i + 1);
	assert_int_equal(
		ops()->replace(fixture->store, &at, records, count, &some_meta), 0);
	test_free(records);
}

/* Another process opens the store, does this, and is killed. */
static void run_and_kill(struct fixture *fixture, void (*act)(struct fixture *))
{
	int status;
	pid_t child;

	close_store(fixture);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (store_lmdb_open(fixture->dir, &fixture->options, &fixture->store,
				    &fixture->damaged) != 0)
			_exit(1);
		act(fixture);
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void act_put(struct fixture *fixture)
{
	for (uint64_t id = 1; id <= 50; id++)
		if (put(fixture, id, id == 1 ? &some_meta : NULL) != 0)
			_exit(2);
}

static void act_load(struct fixture *fixture)
{
	if (ops()->load(fixture->store, &at, &fixture->loaded, take, fixture) != 0)
		_exit(2);
}

static void act_put_after_load(struct fixture *fixture)
{
	act_load(fixture);
	if (put(fixture, 51, NULL) != 0)
		_exit(3);
}

/* The whole length of both files but for what is in the way. */
static void act_fail(struct fixture *fixture)
{
	char path[320];
	struct rlimit limit;
	struct stat status;
	uint64_t id = 1000;

	act_put(fixture);
	path_of(fixture, STORE_FILE, path);
	if (stat(path, &status) != 0)
		_exit(3);
	limit.rlim_cur = limit.rlim_max = (rlim_t)status.st_size;
	(void)signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		_exit(4);
	while (put(fixture, id, NULL) == 0)
		if (++id > 5000)
			_exit(5);
}

static void new_boot(struct fixture *fixture)
{
	fixture->options.boot[0]++;
}

static void test_new_store_is_certain(void **state)
{
	struct fixture *fixture = *state;

	open_store(fixture);
	load(fixture);
	assert_int_equal(fixture->seen, 0);
	assert_false(fixture->loaded.uncertain);
}

/* kill -9: the kernel has what was written, whether or not the disk has. */
static void test_killed_in_same_boot(void **state)
{
	struct fixture *fixture = *state;

	run_and_kill(fixture, act_put);
	open_store(fixture);
	assert_false(fixture->damaged);
	load(fixture);
	assert_int_equal(fixture->seen, 50);
	assert_int_equal(fixture->loaded.lost, 0);
	assert_false(fixture->loaded.uncertain);
	/* and again, from what the killed one took over */
	run_and_kill(fixture, act_put_after_load);
	open_store(fixture);
	load(fixture);
	assert_int_equal(fixture->seen, 51);
	assert_false(fixture->loaded.uncertain);
}

static void test_unclean_in_other_boot(void **state)
{
	struct fixture *fixture = *state;

	run_and_kill(fixture, act_put);
	new_boot(fixture);
	open_store(fixture);
	load(fixture);
	assert_true(fixture->loaded.uncertain);
	assert_int_equal(fixture->seen, 50); /* what is there is kept */
	assert_int_equal(fixture->loaded.meta.next_id, some_meta.next_id);
	/* the new epoch was written: certain from now on */
	assert_int_equal(put(fixture, 60, &some_meta), 0);
	load(fixture);
	assert_false(fixture->loaded.uncertain);
	open_store(fixture);
	load(fixture);
	assert_false(fixture->loaded.uncertain);
	assert_int_equal(fixture->seen, 51);
}

/* Whoever hears of it and dies before the new epoch is written has told nobody. */
static void test_uncertain_until_told(void **state)
{
	struct fixture *fixture = *state;

	run_and_kill(fixture, act_put);
	new_boot(fixture);
	run_and_kill(fixture, act_load);
	run_and_kill(fixture, act_put_after_load);
	open_store(fixture);
	load(fixture);
	assert_true(fixture->loaded.uncertain);
	assert_int_equal(fixture->seen, 51);
	/* nor does a clean end make it certain */
	open_store(fixture);
	load(fixture);
	assert_true(fixture->loaded.uncertain);
	assert_int_equal(put(fixture, 60, &some_meta), 0);
	close_store(fixture);
	new_boot(fixture);
	open_store(fixture);
	load(fixture);
	assert_false(fixture->loaded.uncertain);
}

static void test_clean_in_other_boot(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 3; i++) {
		open_store(fixture);
		load(fixture);
		assert_false(fixture->loaded.uncertain);
		assert_int_equal(put(fixture, (uint64_t)i + 1, &some_meta), 0);
		close_store(fixture);
		new_boot(fixture);
	}
	/* opened and closed without a look at it */
	open_store(fixture);
	close_store(fixture);
	new_boot(fixture);
	open_store(fixture);
	load(fixture);
	assert_int_equal(fixture->seen, 3);
	assert_false(fixture->loaded.uncertain);
	/* clean once is not clean for ever */
	close_store(fixture);
	new_boot(fixture);
	run_and_kill(fixture, act_put_after_load);
	new_boot(fixture);
	open_store(fixture);
	load(fixture);
	assert_true(fixture->loaded.uncertain);
}

/* A kernel that tells no boot id: every boot is another one. */
static void test_unknown_boot(void **state)
{
	struct fixture *fixture = *state;

	memset(fixture->options.boot, 0, sizeof(fixture->options.boot));
	run_and_kill(fixture, act_put);
	open_store(fixture);
	load(fixture);
	assert_true(fixture->loaded.uncertain);
	assert_int_equal(put(fixture, 60, &some_meta), 0);
	open_store(fixture);
	load(fixture);
	assert_false(fixture->loaded.uncertain);
}

static uint8_t *read_whole(const struct fixture *fixture, const char *file,
			   size_t *size)
{
	struct stat status;
	uint8_t *bytes;
	char path[320];
	int fd;

	path_of(fixture, file, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	*size = (size_t)status.st_size;
	bytes = test_malloc(*size + 1);
	assert_int_equal(read(fd, bytes, *size), (ssize_t)*size);
	close(fd);
	return bytes;
}

static void write_whole(const struct fixture *fixture, const char *file,
			const uint8_t *bytes, size_t size)
{
	char path[320];
	int fd;

	path_of(fixture, file, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	close(fd);
}

/* The mark is that of one file in one state; an older copy is another one. */
static void test_restored_copy(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *bytes;
	size_t size;

	open_store(fixture);
	replace(fixture, 5);
	close_store(fixture);
	bytes = read_whole(fixture, STORE_FILE, &size);
	open_store(fixture);
	assert_int_equal(put(fixture, 6, NULL), 0);
	close_store(fixture);
	write_whole(fixture, STORE_FILE, bytes, size);
	test_free(bytes);
	open_store(fixture);
	assert_false(fixture->damaged);
	load(fixture);
	assert_int_equal(fixture->seen, 5);
	assert_true(fixture->loaded.uncertain);
}

/* A mark that cannot be read is none. */
static void test_spoilt_mark(void **state)
{
	struct fixture *fixture = *state;
	uint8_t *mark;
	size_t size;

	open_store(fixture);
	replace(fixture, 5);
	close_store(fixture);
	mark = read_whole(fixture, STORE_LOCK_FILE, &size);
	assert_int_equal(size, STORE_MARK_SIZE);
	assert_int_equal(store_mark_decode(mark, size).kind, STORE_MARK_CLEAN);
	for (size_t bit = 0; bit < size * 8; bit++) {
		mark[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_int_equal(store_mark_decode(mark, size).kind, STORE_MARK_NONE);
		mark[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	for (size_t length = 0; length < size; length++)
		assert_int_equal(store_mark_decode(mark, length).kind, STORE_MARK_NONE);
	write_whole(fixture, STORE_LOCK_FILE, mark, size - 1);
	test_free(mark);
	open_store(fixture);
	load(fixture);
	assert_int_equal(fixture->seen, 5);
	assert_true(fixture->loaded.uncertain);
}

/* A change that could not be written is missing, whoever ends how. */
static void test_killed_while_behind(void **state)
{
	struct fixture *fixture = *state;

	run_and_kill(fixture, act_fail);
	open_store(fixture);
	assert_false(fixture->damaged);
	load(fixture);
	assert_true(fixture->loaded.uncertain);
	assert_in_range(fixture->seen, 50, 5000);
}

static void test_closed_while_behind(void **state)
{
	struct fixture *fixture = *state;
	char path[320];

	open_store(fixture);
	replace(fixture, 5);
	path_of(fixture, STORE_FILE, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(put(fixture, 6, NULL), -EIO);
	/* a meta is not enough here */
	replace(fixture, 6);
	load(fixture);
	assert_false(fixture->loaded.uncertain);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(put(fixture, 7, &some_meta), -EIO);
	open_store(fixture);
	assert_int_equal(put(fixture, 7, NULL), 0); /* into a new file */
	load(fixture);
	assert_int_equal(fixture->loaded.lost, 1); /* meta is gone, so is the epoch */
}

static void test_sync(void **state)
{
	struct fixture *fixture = *state;
	char path[320];

	path_of(fixture, STORE_FILE, path);
	open_store(fixture);
	assert_int_equal(ops()->sync(fixture->store), 0);
	assert_int_equal(put(fixture, 1, &some_meta), 0);
	assert_int_equal(ops()->sync(fixture->store), 0);
	/* the file went while it was open: that is found when it is to be durable */
	assert_int_equal(put(fixture, 2, NULL), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ops()->sync(fixture->store), -ENOENT);
	load(fixture);
	assert_true(fixture->loaded.uncertain);
	replace(fixture, 2);
	assert_int_equal(ops()->sync(fixture->store), 0);
	load(fixture);
	assert_false(fixture->loaded.uncertain);
	assert_int_equal(fixture->seen, 2);
	assert_int_equal(ops()->sync(fixture->store), 0);
	/* nothing was written: the disk is not asked */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ops()->sync(fixture->store), 0);
}

struct snapshot {
	uint8_t *bytes;
	size_t size;
};

/* The file after each of some transactions that grow, shrink and change it. */
static void make_snapshots(struct fixture *fixture, struct snapshot *snapshots)
{
	unsigned int seed = MIX_SEED;

	open_store(fixture);
	replace(fixture, 300);
	for (size_t i = 0; i < SNAPSHOTS; i++) {
		for (size_t k = 0; k < 1 + i % 4; k++) {
			uint64_t id = 1 + (uint64_t)rand_r(&seed) % 400;
			struct store_change change = {STORE_REMOVE, id + 1, NULL};

			assert_int_equal(put(fixture, id, &some_meta), 0);
			assert_int_equal(
				ops()->write(fixture->store, &at, &change, 1, NULL), 0);
		}
		snapshots[i].bytes =
			read_whole(fixture, STORE_FILE, &snapshots[i].size);
	}
}

/* Each page as it was before or after, as a disk may have it that got some of them. */
static void mix_pages(const struct snapshot *before, const struct snapshot *after,
		      unsigned int *seed, uint8_t *out)
{
	unsigned int share = 1 + (unsigned int)rand_r(seed) % 9;

	memcpy(out, after->bytes, after->size);
	for (size_t place = 0; place < after->size; place += PAGE) {
		if ((unsigned int)rand_r(seed) % 10 >= share)
			continue;
		if (place < before->size)
			memcpy(out + place, before->bytes + place, PAGE);
		else
			memset(out + place, 0, PAGE);
	}
}

/* After a power failure some pages are old: damaged or uncertain, and never a crash. */
static void test_mixed_pages(void **state)
{
	struct fixture *fixture = *state;
	struct snapshot snapshots[SNAPSHOTS];
	unsigned int seed = MIX_SEED;
	size_t damaged = 0;
	uint8_t *mark, *mixed;
	size_t mark_size;

	make_snapshots(fixture, snapshots);
	mark = read_whole(fixture, STORE_LOCK_FILE, &mark_size);
	mixed = test_malloc(snapshots[SNAPSHOTS - 1].size + PAGE);
	new_boot(fixture);
	for (size_t i = 0; i < MIXES; i++) {
		size_t first = (size_t)rand_r(&seed) % (SNAPSHOTS - 1);
		size_t room = SNAPSHOTS - 1 - first;
		size_t later =
			first + 1 + (size_t)rand_r(&seed) % (room < 3 ? room : 3);

		mix_pages(&snapshots[first], &snapshots[later], &seed, mixed);
		close_store(fixture);
		clear_dir(fixture);
		write_whole(fixture, STORE_FILE, mixed, snapshots[later].size);
		write_whole(fixture, STORE_LOCK_FILE, mark, mark_size);
		open_store(fixture);
		load(fixture);
		assert_true(fixture->damaged || fixture->loaded.uncertain);
		damaged += fixture->damaged;
		/* whatever it is, it can be used */
		for (uint64_t id = 1; id <= 40; id++)
			assert_int_equal(put(fixture, id * 17, &some_meta), 0);
		open_store(fixture);
		assert_false(fixture->damaged);
		load(fixture);
		assert_false(fixture->loaded.uncertain);
		assert_int_equal(fixture->loaded.lost, 0);
	}
	/* both ways were walked */
	assert_in_range(damaged, MIXES / 10, MIXES - 10);
	for (size_t i = 0; i < SNAPSHOTS; i++)
		test_free(snapshots[i].bytes);
	test_free(mark);
	test_free(mixed);
}

/* KiB of the database that this process has mapped. */
static unsigned long read_mapped(void)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long kib, sum = 0;
	bool ours = false;
	char line[512];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (strchr(line, '-') && strstr(line, " r"))
			ours = strstr(line, STORE_FILE) != NULL;
		else if (ours && sscanf(line, "Rss: %lu kB", &kib) == 1)
			sum += kib;
	}
	(void)fclose(file);
	return sum;
}

/* What is on the disk is the kernel's to keep at hand, and not for ever in our memory
 * too; and it goes on from there. */
static void test_rest(void **state)
{
	struct fixture *fixture = *state;

	open_store(fixture);
	for (uint64_t id = 1; id <= 300; id++)
		assert_int_equal(put(fixture, id, &some_meta), 0);
	assert_in_range(read_mapped(), 8, 4096);
	assert_int_equal(ops()->sync(fixture->store), 0);
	assert_int_equal(read_mapped(), 0);
	assert_int_equal(put(fixture, 301, &some_meta), 0);
	load(fixture);
	assert_int_equal(fixture->seen, 301);
}

#define CRASH_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CRASH_TEST(test_new_store_is_certain),
		CRASH_TEST(test_killed_in_same_boot),
		CRASH_TEST(test_unclean_in_other_boot),
		CRASH_TEST(test_uncertain_until_told),
		CRASH_TEST(test_clean_in_other_boot),
		CRASH_TEST(test_unknown_boot),
		CRASH_TEST(test_restored_copy),
		CRASH_TEST(test_spoilt_mark),
		CRASH_TEST(test_killed_while_behind),
		CRASH_TEST(test_closed_while_behind),
		CRASH_TEST(test_sync),
		CRASH_TEST(test_rest),
		CRASH_TEST(test_mixed_pages),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
