/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/store_lmdb.h"

#define LEASES_MANY 10000
#define RESTORE_MAX_MS 500 /* with sanitizers on a busy machine */
#define MUTATIONS 300
#define MUTATION_SEED 20240607u

static const struct store_time at_first = {.now_ms = 5000000, .wall_ms = 1700000000000};

/* A directory of its own for each test, and what a load brought. */
struct fixture {
	char dir[64];
	struct store_options options;
	struct store *store;
	bool damaged;
	struct store_loaded loaded;
	size_t seen;
	struct store_record records[8]; /* the first of them */
	struct lease_room rooms[8];
	uint64_t ids_sum;
};

static const struct store_meta some_meta = {.next_id = 100};

static const struct store_ops *ops(void)
{
	return store_get_lmdb();
}

static void path_of(const struct fixture *fixture, const char *file, char path[320])
{
	(void)snprintf(path, 320, "%s/%s", fixture->dir, file);
}

static void empty_dir(const char *dir)
{
	DIR *handle = opendir(dir);
	struct dirent *entry;

	assert_non_null(handle);
	while ((entry = readdir(handle)) != NULL)
		if (entry->d_name[0] != '.')
			assert_int_equal(unlinkat(dirfd(handle), entry->d_name, 0), 0);
	closedir(handle);
}

static size_t count_files(const char *dir, const char *start)
{
	DIR *handle = opendir(dir);
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(handle);
	while ((entry = readdir(handle)) != NULL)
		count += strncmp(entry->d_name, start, strlen(start)) == 0;
	closedir(handle);
	return count;
}

static int setup(void **state)
{
	struct fixture *fixture = test_calloc(1, sizeof(*fixture));
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	(void)snprintf(fixture->dir, sizeof(fixture->dir), "%s/test-store-XXXXXX",
		       base);
	if (!mkdtemp(fixture->dir))
		return -1;
	memset(fixture->options.boot, 0xb0, sizeof(fixture->options.boot));
	fixture->options.map_size = STORE_MAP_SIZE;
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	ops()->close(fixture->store);
	empty_dir(fixture->dir);
	(void)rmdir(fixture->dir);
	test_free(fixture);
	return 0;
}

static void open_store(struct fixture *fixture)
{
	ops()->close(fixture->store);
	fixture->store = NULL;
	assert_int_equal(store_lmdb_open(fixture->dir, &fixture->options,
					 &fixture->store, &fixture->damaged),
			 0);
}

static void reboot(struct fixture *fixture)
{
	fixture->options.boot[0]++;
	open_store(fixture);
}

static int take(void *user, const struct store_record *record)
{
	struct fixture *fixture = user;

	size_t i = fixture->seen;

	if (i < sizeof(fixture->records) / sizeof(fixture->records[0])) {
		fixture->records[i] = *record;
		lease_keep_extra(&fixture->records[i].lease, &fixture->rooms[i]);
	}
	fixture->seen++;
	fixture->ids_sum += record->lease.id;
	return 0;
}

static void load(struct fixture *fixture, const struct store_time *at)
{
	fixture->seen = 0;
	fixture->ids_sum = 0;
	assert_int_equal(
		ops()->load(fixture->store, at, &fixture->loaded, take, fixture), 0);
}

/* Of each lease another one; ids come again after some. */
static const char *make_text(uint64_t id)
{
	static char texts[8192][32];
	char *text = texts[id % (sizeof(texts) / sizeof(texts[0]))];

	(void)snprintf(text, sizeof(texts[0]), "Kn\xc3\xb6pfe %llu",
		       (unsigned long long)id);
	return text;
}

/* Of one flow, or of a set with filters: not both. */
static void fill_pcp(struct lease *lease, uint64_t id)
{
	static struct remote_filter filters[REQUEST_FILTERS_MAX];

	assert_true(addr_parse("2001:db8::1", &lease->server));
	lease->client_port = (uint16_t)(40000 + id % 1000);
	lease->exact = id % 7 == 0;
	if (id % 2 != 0) {
		assert_true(addr_parse("203.0.113.9", &lease->remote));
		lease->remote_port = (uint16_t)(id % 3);
		return;
	}
	lease->set_first = lease->internal_port;
	lease->set_count = (uint16_t)(1 + id % REQUEST_PORTS_MAX);
	lease->filter_count = (uint8_t)(id % (REQUEST_FILTERS_MAX + 1));
	lease->filters = filters;
	for (uint8_t i = 0; i < REQUEST_FILTERS_MAX; i++) {
		struct in_addr peer = {htonl(0xc6336400u + i)};

		filters[i].prefix.addr = addr_from_ipv4(peer);
		filters[i].prefix.length = (uint8_t)(128 - i % 2);
		filters[i].port = (uint16_t)(i * 1000);
	}
}

/* A lease with a value in every field, different for each id. */
static struct store_record make_record(uint64_t id)
{
	struct store_record record = {
		.lease = {.id = id,
			  .internal_port = (uint16_t)(1 + id % 60000),
			  .external_port = (uint16_t)(1024 + id % 60000),
			  .lan = 3,
			  .wan = 1,
			  .protocol = id % 2 ? IPPROTO_TCP : IPPROTO_UDP,
			  .origin = (uint8_t)(id % ORIGIN_COUNT),
			  .enabled = id % 3 != 0,
			  .has_nonce = id % 2 == 0,
			  .outbound = id % 5 != 0,
			  .created_ms = at_first.now_ms - 1000,
			  .expires_ms = at_first.now_ms + 60000},
	};

	record.lease.internal =
		addr_from_ipv4((struct in_addr){htonl(0xc0a80002 + (uint32_t)id)});
	record.lease.client =
		addr_from_ipv4((struct in_addr){htonl(0xc0a90002 + (uint32_t)id)});
	fill_pcp(&record.lease, id);
	memset(record.lease.nonce, (int)(id & 0xff), sizeof(record.lease.nonce));
	record.lease.description = make_text(id);
	memcpy(record.lan_name, "lan0", 5);
	return record;
}

static void put(struct fixture *fixture, const struct store_record *record)
{
	struct store_change change = {STORE_PUT, record->lease.id, record};

	assert_int_equal(ops()->write(fixture->store, &at_first, &change, 1, NULL), 0);
}

static void put_many(struct fixture *fixture, uint64_t count,
		     const struct store_meta *meta)
{
	struct store_record *records = test_calloc(count, sizeof(*records));

	for (uint64_t i = 0; i < count; i++)
		records[i] = make_record(i + 1);
	assert_int_equal(
		ops()->replace(fixture->store, &at_first, records, count, meta), 0);
	test_free(records);
}

static void assert_record(const struct store_record *a, const struct store_record *b)
{
	const struct lease *x = &a->lease;
	const struct lease *y = &b->lease;

	assert_int_equal(x->id, y->id);
	assert_true(addr_equal(&x->internal, &y->internal));
	assert_true(addr_equal(&x->client, &y->client));
	assert_true(addr_equal(&x->remote, &y->remote));
	assert_int_equal(x->internal_port, y->internal_port);
	assert_int_equal(x->external_port, y->external_port);
	assert_true(addr_equal(&x->server, &y->server));
	assert_int_equal(x->remote_port, y->remote_port);
	assert_int_equal(x->client_port, y->client_port);
	assert_int_equal(x->set_first, y->set_first);
	assert_int_equal(x->set_count, y->set_count);
	assert_int_equal(x->exact, y->exact);
	assert_int_equal(x->filter_count, y->filter_count);
	for (uint8_t i = 0; i < x->filter_count; i++) {
		assert_true(addr_equal(&x->filters[i].prefix.addr,
				       &y->filters[i].prefix.addr));
		assert_int_equal(x->filters[i].prefix.length,
				 y->filters[i].prefix.length);
		assert_int_equal(x->filters[i].port, y->filters[i].port);
	}
	assert_int_equal(x->lan, y->lan);
	assert_int_equal(x->wan, y->wan);
	assert_int_equal(x->protocol, y->protocol);
	assert_int_equal(x->origin, y->origin);
	assert_int_equal(x->enabled, y->enabled);
	assert_int_equal(x->has_nonce, y->has_nonce);
	assert_int_equal(x->outbound, y->outbound);
	assert_memory_equal(x->nonce, y->nonce, sizeof(x->nonce));
	assert_string_equal(lease_get_description(x), lease_get_description(y));
	assert_string_equal(a->lan_name, b->lan_name);
	assert_int_equal(x->created_ms, y->created_ms);
	assert_int_equal(x->expires_ms, y->expires_ms);
}

static void test_round_trip(void **state)
{
	struct fixture *fixture = *state;
	struct store_record record;

	open_store(fixture);
	assert_false(fixture->damaged);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 0);
	assert_int_equal(fixture->loaded.lost, 0);
	assert_int_equal(fixture->loaded.meta.next_id, 0);
	put_many(fixture, 0, &some_meta);
	for (uint64_t id = 6; id > 0; id--) {
		record = make_record(id);
		put(fixture, &record);
	}
	open_store(fixture);
	assert_false(fixture->damaged);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 6);
	assert_int_equal(fixture->loaded.lost, 0);
	for (uint64_t id = 1; id <= 6; id++) {
		record = make_record(id);
		assert_record(&fixture->records[id - 1], &record);
	}
}

static void test_group(void **state)
{
	struct fixture *fixture = *state;
	struct store_record records[64];
	struct store_change changes[66];
	struct store_meta meta = {.next_id = 100, .boot_id = 9, .epoch_origin_ms = -77};

	open_store(fixture);
	for (size_t i = 0; i < 64; i++) {
		records[i] = make_record(i + 1);
		changes[i] = (struct store_change){STORE_PUT, i + 1, &records[i]};
	}
	/* in order: the first is gone again; what was not there is no error */
	changes[64] = (struct store_change){STORE_REMOVE, 1, NULL};
	changes[65] = (struct store_change){STORE_REMOVE, 4711, NULL};
	memset(meta.uuid, 0x5a, sizeof(meta.uuid));
	assert_true(addr_parse("203.0.113.1", &meta.external));
	assert_int_equal(ops()->write(fixture->store, &at_first, changes, 66, &meta),
			 0);
	/* a change of a lease overwrites; meta NULL leaves meta */
	records[1].lease.external_port = 7;
	put(fixture, &records[1]);
	open_store(fixture);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 63);
	assert_int_equal(fixture->records[0].lease.id, 2);
	assert_int_equal(fixture->records[0].lease.external_port, 7);
	assert_int_equal(fixture->loaded.meta.next_id, 100);
	assert_int_equal(fixture->loaded.meta.boot_id, 9);
	assert_true(addr_equal(&fixture->loaded.meta.external, &meta.external));
	assert_int_equal(fixture->loaded.meta.epoch_origin_ms, -77);
	assert_memory_equal(fixture->loaded.meta.uuid, meta.uuid, sizeof(meta.uuid));
}

static void test_same_boot(void **state)
{
	struct fixture *fixture = *state;
	struct store_record record = make_record(1);
	/* the wall clock was stepped by a year, back and forth: no matter */
	struct store_time later = {at_first.now_ms + 59999, 1};

	open_store(fixture);
	put_many(fixture, 0, &some_meta);
	put(fixture, &record);
	record = make_record(2);
	record.lease.expires_ms = TIME_NEVER;
	put(fixture, &record);
	open_store(fixture);
	load(fixture, &later);
	assert_int_equal(fixture->seen, 2);
	assert_int_equal(fixture->records[0].lease.expires_ms, at_first.now_ms + 60000);
	assert_int_equal(fixture->records[0].lease.created_ms, at_first.now_ms - 1000);
	later.now_ms++;
	load(fixture, &later);
	assert_int_equal(fixture->seen, 1);
	assert_int_equal(fixture->records[0].lease.id, 2);
	assert_int_equal(fixture->records[0].lease.expires_ms, TIME_NEVER);
	/* the one that ended is forgotten */
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 1);
	assert_int_equal(fixture->loaded.lost, 0);
}

static void test_reboot(void **state)
{
	struct fixture *fixture = *state;
	struct store_record record = make_record(1);
	struct store_meta meta = {.next_id = 2,
				  .epoch_origin_ms = at_first.now_ms - 100000};
	struct store_time later = {7000, at_first.wall_ms + 20000};

	open_store(fixture);
	put(fixture, &record);
	assert_int_equal(ops()->write(fixture->store, &at_first, NULL, 0, &meta), 0);
	reboot(fixture);
	load(fixture, &later);
	assert_int_equal(fixture->seen, 1);
	/* 60 s remained, 20 s we were away */
	assert_int_equal(fixture->records[0].lease.expires_ms, 7000 + 40000);
	assert_int_equal(fixture->records[0].lease.created_ms, 7000 - 20000 - 1000);
	assert_int_equal(fixture->loaded.meta.epoch_origin_ms, 7000 - 100000 - 20000);
	/* from now on exact, whatever the wall clock does */
	later.now_ms += 500;
	later.wall_ms += 86400000;
	open_store(fixture);
	load(fixture, &later);
	assert_int_equal(fixture->records[0].lease.expires_ms, 7000 + 40000);
	assert_int_equal(fixture->loaded.meta.epoch_origin_ms, 7000 - 100000 - 20000);
	/* a second reboot counts from the first restore */
	later = (struct store_time){9000, at_first.wall_ms + 20000 + 39999};
	reboot(fixture);
	load(fixture, &later);
	assert_int_equal(fixture->seen, 1);
	assert_int_equal(fixture->records[0].lease.expires_ms, 9001);
}

static void test_reboot_ended(void **state)
{
	struct fixture *fixture = *state;
	struct store_time later = {7000, at_first.wall_ms + 60000};

	open_store(fixture);
	put_many(fixture, 3, &some_meta);
	reboot(fixture);
	load(fixture, &later);
	assert_int_equal(fixture->seen, 0);
	assert_int_equal(fixture->loaded.lost, 0);
	assert_int_equal(fixture->loaded.meta.next_id, 100);
	/* forgotten: the next load does not meet them, whatever the clock says */
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 0);
}

static void test_wall_clock_backwards(void **state)
{
	struct fixture *fixture = *state;
	struct store_record record = make_record(1);
	struct store_meta meta = {.next_id = 2,
				  .epoch_origin_ms = at_first.now_ms - 10};
	struct store_time later = {7000, 0}; /* no battery: 1970 */

	open_store(fixture);
	put(fixture, &record);
	assert_int_equal(ops()->write(fixture->store, &at_first, NULL, 0, &meta), 0);
	reboot(fixture);
	load(fixture, &later);
	assert_int_equal(fixture->seen, 1);
	assert_int_equal(fixture->records[0].lease.expires_ms, 7000 + 60000);
	assert_int_equal(fixture->loaded.meta.epoch_origin_ms, 7000 - 10);
}

static void test_unknown_boot(void **state)
{
	struct fixture *fixture = *state;
	struct store_record record = make_record(1);
	struct store_time later = {at_first.now_ms + 1, at_first.wall_ms + 10000};

	memset(fixture->options.boot, 0, sizeof(fixture->options.boot));
	open_store(fixture);
	put(fixture, &record);
	open_store(fixture);
	load(fixture, &later);
	assert_int_equal(fixture->records[0].lease.expires_ms, later.now_ms + 50000);
}

static int refuse_second(void *user, const struct store_record *record)
{
	(void)user;
	return record->lease.id == 2 ? -EPERM : 0;
}

static void test_visit_ends_the_walk(void **state)
{
	struct fixture *fixture = *state;

	open_store(fixture);
	put_many(fixture, 3, NULL);
	assert_int_equal(ops()->load(fixture->store, &at_first, &fixture->loaded,
				     refuse_second, NULL),
			 -EPERM);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 3);
}

static void test_replace(void **state)
{
	struct fixture *fixture = *state;
	struct store_meta meta = {.next_id = 10001};

	open_store(fixture);
	put_many(fixture, LEASES_MANY, &meta);
	put_many(fixture, 5, &meta);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 5);
	assert_int_equal(fixture->loaded.meta.next_id, 10001);
	assert_int_equal(ops()->replace(fixture->store, &at_first, NULL, 0, NULL), 0);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 0);
	assert_int_equal(fixture->loaded.meta.next_id, 0);
}

static void test_restore_is_fast(void **state)
{
	struct fixture *fixture = *state;
	struct store_meta meta = {.next_id = LEASES_MANY + 1};
	int64_t start_ms;

	open_store(fixture);
	put_many(fixture, LEASES_MANY, &meta);
	start_ms = clock_now_ms();
	reboot(fixture); /* the slow way: every record is written anew */
	load(fixture, &at_first);
	assert_in_range(clock_now_ms() - start_ms, 0, RESTORE_MAX_MS);
	assert_int_equal(fixture->seen, LEASES_MANY);
	assert_int_equal(fixture->loaded.lost, 0);
}

/* The map is doubled as often as it takes, for a group and for everything. */
static void test_map_grows(void **state)
{
	struct fixture *fixture = *state;
	struct store_meta meta = {.next_id = 1};

	fixture->options.map_size = (size_t)64 << 10;
	open_store(fixture);
	for (uint64_t id = 1; id <= 1000; id++) {
		struct store_record record = make_record(id);

		put(fixture, &record);
	}
	put_many(fixture, LEASES_MANY, &meta);
	open_store(fixture);
	assert_false(fixture->damaged);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, LEASES_MANY);
}

static void test_second_process(void **state)
{
	struct fixture *fixture = *state;
	struct store *other = NULL;
	bool damaged = true;

	open_store(fixture);
	log_init("test", LOG_LEVEL_ERROR);
	assert_int_equal(
		store_lmdb_open(fixture->dir, &fixture->options, &other, &damaged),
		-EBUSY);
	assert_null(other);
	assert_true(damaged);
	ops()->close(fixture->store);
	fixture->store = NULL;
	open_store(fixture);
}

static void test_no_directory(void **state)
{
	struct fixture *fixture = *state;
	struct store *store = NULL;
	bool damaged = false;
	char path[320];

	path_of(fixture, "nowhere", path);
	assert_int_equal(ops()->open(path, &store, &damaged), -ENOENT);
	path_of(fixture, STORE_LOCK_FILE, path);
	open_store(fixture);
	assert_int_equal(ops()->open(path, &store, &damaged), -ENOTDIR);
	assert_null(store);
}

/* As an ordinary user, in a directory of somebody else. */
static void test_directory_not_writable(void **state)
{
	struct fixture *fixture = *state;
	int status;
	pid_t child;

	assert_int_equal(chmod(fixture->dir, 0555), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct store *store;
		bool damaged;

		if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
			_exit(2);
		_exit(ops()->open(fixture->dir, &store, &damaged) == -EACCES ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(fixture->dir, 0700), 0);
}

static void write_whole(const char *path, const uint8_t *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (size > 0) {
		ssize_t done = write(fd, bytes, size);

		assert_true(done > 0);
		bytes += done;
		size -= (size_t)done;
	}
	close(fd);
}

static uint8_t *read_whole(const char *path, size_t *size)
{
	struct stat status;
	uint8_t *bytes;
	size_t done = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	*size = (size_t)status.st_size;
	bytes = test_malloc(*size + 1);
	while (done < *size) {
		ssize_t got = read(fd, bytes + done, *size - done);

		assert_true(got > 0);
		done += (size_t)got;
	}
	close(fd);
	return bytes;
}

/* Set aside, never over one another; a fresh one works. */
static void test_damaged(void **state)
{
	struct fixture *fixture = *state;
	static const uint8_t garbage[20000] = "This is no database.";
	static const size_t sizes[] = {0, 1, 16, 4095, 8192, sizeof(garbage)};
	struct store_record record = make_record(1);
	char path[320];

	path_of(fixture, STORE_FILE, path);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		write_whole(path, garbage, sizes[i]);
		open_store(fixture);
		assert_true(fixture->damaged);
		assert_int_equal(count_files(fixture->dir, STORE_FILE ".damaged-2"),
				 i + 1);
		load(fixture, &at_first);
		assert_int_equal(fixture->seen, 0);
		put(fixture, &record);
		open_store(fixture);
		assert_false(fixture->damaged);
		load(fixture, &at_first);
		assert_int_equal(fixture->seen, 1);
		ops()->close(fixture->store);
		fixture->store = NULL;
	}
	/* a link is not followed */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	open_store(fixture);
	assert_true(fixture->damaged);
}

/* A file with a history: free pages, branch pages, records of every length. */
static uint8_t *make_history(struct fixture *fixture, const char *path, size_t *size)
{
	struct store_meta meta = {.next_id = 700, .boot_id = 1};

	open_store(fixture);
	put_many(fixture, 600, &meta);
	for (uint64_t id = 1; id <= 600; id += 3) {
		struct store_record record = make_record(id);
		struct store_change changes[2] = {{STORE_PUT, id, &record},
						  {STORE_REMOVE, id + 1, NULL}};
		char text[200] = "";

		memset(text, 'x', id % sizeof(text));
		record.lease.description = text;
		assert_int_equal(
			ops()->write(fixture->store, &at_first, changes, 2, NULL), 0);
	}
	ops()->close(fixture->store);
	fixture->store = NULL;
	return read_whole(path, size);
}

/* Nothing crashes, nothing is refused, and nothing is lost without a word. */
static void open_mutant(struct fixture *fixture, const char *path, const uint8_t *bytes,
			size_t size)
{
	struct store_record record = make_record(5000);

	empty_dir(fixture->dir);
	write_whole(path, bytes, size);
	open_store(fixture);
	load(fixture, &at_first);
	if (!fixture->damaged)
		assert_int_equal(fixture->seen + fixture->loaded.lost,
				 400 + (fixture->loaded.meta.boot_id == 0));
	else
		assert_int_equal(fixture->seen, 0);
	put(fixture, &record);
	put_many(fixture, 700, &some_meta);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 700);
	assert_int_equal(fixture->loaded.lost, 0);
	ops()->close(fixture->store);
	fixture->store = NULL;
}

static void test_flipped_bits(void **state)
{
	struct fixture *fixture = *state;
	unsigned int seed = MUTATION_SEED;
	size_t damaged = 0;
	size_t size;
	uint8_t *bytes;
	char path[320];

	path_of(fixture, STORE_FILE, path);
	bytes = make_history(fixture, path, &size);
	for (size_t i = 0; i < MUTATIONS; i++) {
		/* every third among the page headers, where it hurts */
		size_t place = (size_t)rand_r(&seed) % size;
		uint8_t bit = (uint8_t)(1u << (rand_r(&seed) % 8));

		if (i % 3 == 0)
			place = place / 4096 * 4096 + (size_t)rand_r(&seed) % 160;
		bytes[place] ^= bit;
		open_mutant(fixture, path, bytes, size);
		bytes[place] ^= bit;
		damaged += fixture->damaged;
	}
	/* both ways were walked */
	assert_in_range(damaged, MUTATIONS / 10, MUTATIONS - MUTATIONS / 10);
	open_mutant(fixture, path, bytes, size);
	assert_false(fixture->damaged);
	test_free(bytes);
}

/* A wrong transaction number would bring an older state back, whole and plausible. */
static void test_flipped_transaction(void **state)
{
	struct fixture *fixture = *state;
	static const size_t at[] = {144, 4096 + 144}; /* in the meta pages */
	uint8_t *bytes;
	size_t size;
	char path[320];

	path_of(fixture, STORE_FILE, path);
	bytes = make_history(fixture, path, &size);
	for (size_t i = 0; i < 2; i++)
		for (size_t bit = 0; bit < 64; bit++) {
			bytes[at[i] + bit / 8] ^= (uint8_t)(1u << (bit % 8));
			open_mutant(fixture, path, bytes, size);
			assert_true(fixture->damaged);
			bytes[at[i] + bit / 8] ^= (uint8_t)(1u << (bit % 8));
		}
	open_mutant(fixture, path, bytes, size);
	assert_false(fixture->damaged);
	test_free(bytes);
}

/* Some octets overwritten at once, as a lost sector or a stray write does. */
static void test_overwritten(void **state)
{
	struct fixture *fixture = *state;
	unsigned int seed = MUTATION_SEED;
	uint8_t *mutant;
	uint8_t *bytes;
	size_t size;
	char path[320];

	path_of(fixture, STORE_FILE, path);
	bytes = make_history(fixture, path, &size);
	mutant = test_malloc(size);
	for (size_t i = 0; i < MUTATIONS; i++) {
		size_t length = 1 + (size_t)rand_r(&seed) % (i % 2 ? 8 : 4096);
		size_t place = (size_t)rand_r(&seed) % (size - length);

		memcpy(mutant, bytes, size);
		for (size_t k = 0; k < length; k++)
			mutant[place + k] = i % 3 ? (uint8_t)rand_r(&seed) : 0;
		open_mutant(fixture, path, mutant, size);
	}
	test_free(mutant);
	test_free(bytes);
}

static void test_truncated(void **state)
{
	struct fixture *fixture = *state;
	unsigned int seed = MUTATION_SEED;
	uint8_t *bytes;
	size_t size;
	char path[320];

	path_of(fixture, STORE_FILE, path);
	bytes = make_history(fixture, path, &size);
	for (size_t i = 0; i < MUTATIONS; i++)
		open_mutant(fixture, path, bytes, (size_t)rand_r(&seed) % size);
	test_free(bytes);
}

/* Change one octet of the n-th record that holds this text, and mend its checksum or
 * not. */
static void spoil_record(const char *path, const char *text)
{
	size_t size;
	uint8_t *bytes = read_whole(path, &size);
	uint8_t *at = bytes;
	size_t count = 0;

	/* in the stale copies too: which is the live one is LMDB's to know */
	while ((at = memmem(at, size - (size_t)(at - bytes), text, strlen(text)))) {
		at[0] ^= 0x20;
		count++;
	}
	assert_true(count > 0);
	write_whole(path, bytes, size);
	test_free(bytes);
}

static void test_lost_records(void **state)
{
	struct fixture *fixture = *state;
	struct store_meta meta = {.next_id = 50};
	struct store_record record = make_record(2);
	char path[320];

	path_of(fixture, STORE_FILE, path);
	open_store(fixture);
	put_many(fixture, 3, &meta);
	record.lease.description = "SPOILME";
	put(fixture, &record);
	ops()->close(fixture->store);
	fixture->store = NULL;
	spoil_record(path, "SPOILME");
	open_store(fixture);
	assert_false(fixture->damaged);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 2);
	assert_int_equal(fixture->loaded.lost, 1);
	assert_int_equal(fixture->loaded.meta.next_id, 50);
	load(fixture, &at_first); /* told once, then forgotten */
	assert_int_equal(fixture->loaded.lost, 0);
}

static void test_lost_meta(void **state)
{
	struct fixture *fixture = *state;
	struct store_meta meta = {.next_id = 50};
	char path[320];

	path_of(fixture, STORE_FILE, path);
	memcpy(meta.uuid, "SPOILMESPOILME!!", sizeof(meta.uuid));
	open_store(fixture);
	put_many(fixture, 3, &meta);
	ops()->close(fixture->store);
	fixture->store = NULL;
	spoil_record(path, "SPOILMESPOILME!!");
	open_store(fixture);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 3);
	assert_int_equal(fixture->loaded.lost, 1);
	assert_int_equal(fixture->loaded.meta.next_id, 4); /* never twice */
	assert_int_equal(fixture->loaded.meta.uuid[0], 0);
	/* leases without meta: it must have been lost */
	put_many(fixture, 3, NULL);
	load(fixture, &at_first);
	assert_int_equal(fixture->loaded.lost, 1);
}

static bool mount_small(const char *dir, unsigned long flags, const char *size)
{
	return mount("tmpfs", dir, "tmpfs", flags, size) == 0;
}

static void test_disk_full(void **state)
{
	struct fixture *fixture = *state;
	struct store_meta meta = {.next_id = 1};
	uint64_t id = 0;
	int error = 0;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    !mount_small(fixture->dir, 0, "size=256k")) {
		(void)printf("SKIP: no permission to mount a small tmpfs\n");
		skip();
	}
	open_store(fixture);
	assert_int_equal(ops()->write(fixture->store, &at_first, NULL, 0, &meta), 0);
	while (error == 0 && id < LEASES_MANY) {
		struct store_record record = make_record(++id);
		struct store_change change = {STORE_PUT, id, &record};

		error = ops()->write(fixture->store, &at_first, &change, 1, NULL);
	}
	assert_int_equal(error, -ENOSPC);
	assert_true(id > 100);
	/* nothing of it was written; the store answers, even after a restart */
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, id - 1);
	open_store(fixture);
	assert_false(fixture->damaged);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, id - 1);
	/* room again */
	assert_true(mount_small(fixture->dir, MS_REMOUNT, "size=8m"));
	put_many(fixture, id + 100, &meta);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, id + 100);
	ops()->close(fixture->store);
	fixture->store = NULL;
	assert_int_equal(umount2(fixture->dir, MNT_DETACH), 0);
}

/* No room for the very first file: an error, and nothing half made. */
static void test_disk_full_at_first(void **state)
{
	struct fixture *fixture = *state;
	static const uint8_t filling[4096] = {0};
	struct store *store = NULL;
	bool damaged = false;
	char path[320];
	int fd;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    !mount_small(fixture->dir, 0, "size=32k")) {
		(void)printf("SKIP: no permission to mount a small tmpfs\n");
		skip();
	}
	path_of(fixture, "filling", path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, filling, sizeof(filling)) == (ssize_t)sizeof(filling))
		;
	close(fd);
	assert_int_equal(
		store_lmdb_open(fixture->dir, &fixture->options, &store, &damaged),
		-ENOSPC);
	assert_int_equal(count_files(fixture->dir, STORE_FILE), 0);
	assert_int_equal(unlink(path), 0);
	open_store(fixture);
	assert_false(fixture->damaged);
	ops()->close(fixture->store);
	fixture->store = NULL;
	assert_int_equal(umount2(fixture->dir, MNT_DETACH), 0);
}

/* The file was taken away while we ran: writes fail, replace() begins anew. */
static void test_damaged_while_open(void **state)
{
	struct fixture *fixture = *state;
	struct store_record record = make_record(1);
	struct store_change change = {STORE_PUT, 1, &record};
	char path[320];

	path_of(fixture, STORE_FILE, path);
	open_store(fixture);
	put_many(fixture, 10, NULL);
	write_whole(path, (const uint8_t *)"junk", 4);
	assert_int_equal(ops()->write(fixture->store, &at_first, &change, 1, NULL),
			 -EIO);
	put_many(fixture, 10, NULL);
	assert_int_equal(count_files(fixture->dir, STORE_FILE ".damaged-2"), 1);
	put(fixture, &record);
	load(fixture, &at_first);
	assert_int_equal(fixture->seen, 10);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_round_trip),
		STORE_TEST(test_group),
		STORE_TEST(test_same_boot),
		STORE_TEST(test_reboot),
		STORE_TEST(test_reboot_ended),
		STORE_TEST(test_wall_clock_backwards),
		STORE_TEST(test_unknown_boot),
		STORE_TEST(test_visit_ends_the_walk),
		STORE_TEST(test_replace),
		STORE_TEST(test_restore_is_fast),
		STORE_TEST(test_map_grows),
		STORE_TEST(test_second_process),
		STORE_TEST(test_no_directory),
		STORE_TEST(test_directory_not_writable),
		STORE_TEST(test_damaged),
		STORE_TEST(test_flipped_bits),
		STORE_TEST(test_flipped_transaction),
		STORE_TEST(test_overwritten),
		STORE_TEST(test_truncated),
		STORE_TEST(test_lost_records),
		STORE_TEST(test_lost_meta),
		STORE_TEST(test_damaged_while_open),
		STORE_TEST(test_disk_full),
		STORE_TEST(test_disk_full_at_first),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
