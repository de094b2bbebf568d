/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/index.h"
#include "base/pool.h"

#define MANY 5000u
/* A pool takes so many items at a time. */
#define CHUNKS_OF_64(count) (((count) + 63) / 64 * 64)

/* An item whose width is no multiple of what it is rounded up to. */
struct thing {
	uint32_t key;
	uint32_t next;
	uint32_t value;
};

static uint32_t thing_get_hash(const void *item, uint64_t seed)
{
	const struct thing *thing = item;

	return index_hash(&thing->key, sizeof(thing->key), seed);
}

/* All in one place: the worst there can be. */
static uint32_t thing_get_same_hash(const void *item, uint64_t seed)
{
	(void)item;
	(void)seed;
	return 7;
}

static bool thing_is_of(const void *item, const void *key)
{
	const struct thing *thing = item;

	return memcmp(&thing->key, key, sizeof(thing->key)) == 0;
}

static const struct index_kind kind = {
	.link = offsetof(struct thing, next),
	.get_hash = thing_get_hash,
	.is_of = thing_is_of,
};

static const struct index_kind same_kind = {
	.link = offsetof(struct thing, next),
	.get_hash = thing_get_same_hash,
	.is_of = thing_is_of,
};

struct fixture {
	struct pool *pool;
	struct index *index;
	uint32_t handles[MANY]; /* by key; 0 = not there */
};

static int setup_of(void **state, const struct index_kind *of)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->pool = pool_new(sizeof(struct thing));
	assert_non_null(fixture->pool);
	fixture->index = index_new(fixture->pool, of);
	assert_non_null(fixture->index);
	*state = fixture;
	return 0;
}

static int setup(void **state)
{
	return setup_of(state, &kind);
}

static int setup_same(void **state)
{
	return setup_of(state, &same_kind);
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	index_free(fixture->index);
	pool_free(fixture->pool);
	free(fixture);
	return 0;
}

static void add(struct fixture *fixture, uint32_t key)
{
	uint32_t handle = pool_add(fixture->pool);
	struct thing *thing;

	assert_int_not_equal(handle, 0);
	thing = pool_get(fixture->pool, handle);
	assert_int_equal(thing->key + thing->next + thing->value, 0);
	thing->key = key;
	thing->value = ~key;
	index_add(fixture->index, handle);
	fixture->handles[key] = handle;
}

static void take(struct fixture *fixture, uint32_t key)
{
	index_remove(fixture->index, fixture->handles[key]);
	pool_remove(fixture->pool, fixture->handles[key]);
	fixture->handles[key] = 0;
}

static uint32_t find(const struct fixture *fixture, const struct index_kind *of,
		     uint32_t key)
{
	const struct thing like = {.key = key};
	uint32_t hash = of->get_hash(&like, index_get_seed(fixture->index));

	return index_find(fixture->index, hash, &key);
}

static void check(const struct fixture *fixture, const struct index_kind *of,
		  uint32_t keys)
{
	size_t count = 0, walked = 0;

	for (uint32_t key = 0; key < keys; key++) {
		const struct thing *thing;

		assert_int_equal(find(fixture, of, key), fixture->handles[key]);
		if (fixture->handles[key] == 0)
			continue;
		thing = pool_get(fixture->pool, fixture->handles[key]);
		assert_int_equal(thing->key, key);
		assert_int_equal(thing->value, ~key);
		count++;
	}
	for (uint32_t handle = 0;
	     (handle = pool_get_next(fixture->pool, handle)) != 0;) {
		const struct thing *thing = pool_get(fixture->pool, handle);

		assert_int_equal(fixture->handles[thing->key], handle);
		walked++;
	}
	assert_int_equal(walked, count);
	assert_int_equal(pool_get_count(fixture->pool), count);
	assert_int_equal(index_get_count(fixture->index), count);
}

/* Up and down over many places, and once more: all are found, and nothing else. */
static void test_grow_and_shrink(void **state)
{
	struct fixture *fixture = *state;

	for (int round = 0; round < 2; round++) {
		for (uint32_t key = 0; key < MANY; key++) {
			add(fixture, key);
			if (key % 701 == 0)
				check(fixture, &kind, MANY);
		}
		check(fixture, &kind, MANY);
		for (uint32_t i = 0; i < MANY; i++) {
			take(fixture, (i * 7 + 3) % MANY);
			if (i % 701 == 0)
				check(fixture, &kind, MANY);
		}
		check(fixture, &kind, MANY);
	}
}

static void test_random(void **state)
{
	struct fixture *fixture = *state;
	uint32_t random = 1;

	for (int i = 0; i < 60000; i++) {
		uint32_t key;

		random = random * 1664525u + 1013904223u;
		key = (random >> 8) % 1500;
		if (fixture->handles[key] == 0)
			add(fixture, key);
		else
			take(fixture, key);
		if (i % 5000 == 0)
			check(fixture, &kind, 1500);
	}
	check(fixture, &kind, 1500);
}

static void test_one_chain(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t key = 0; key < 700; key++)
		add(fixture, key);
	check(fixture, &same_kind, 700);
	for (uint32_t key = 0; key < 700; key += 2)
		take(fixture, key);
	check(fixture, &same_kind, 700);
}

static void test_replace(void **state)
{
	struct fixture *fixture = *state;
	struct thing *thing;
	uint32_t by;

	for (uint32_t key = 0; key < 1000; key++)
		add(fixture, key);
	for (uint32_t key = 0; key < 1000; key += 3) {
		by = pool_add(fixture->pool);
		assert_int_not_equal(by, 0);
		thing = pool_get(fixture->pool, by);
		thing->key = key;
		thing->value = ~key;
		index_replace(fixture->index, fixture->handles[key], by);
		pool_remove(fixture->pool, fixture->handles[key]);
		fixture->handles[key] = by;
	}
	check(fixture, &kind, 1000);
}

/* What is given back is used again, before there is more; items stay where they are. */
static void test_pool_reuse(void **state)
{
	struct pool *pool = pool_new(sizeof(struct thing));
	uint32_t handles[1000];
	const void *place;
	uint32_t most = 0;

	(void)state;
	assert_non_null(pool);
	for (size_t i = 0; i < 1000; i++) {
		handles[i] = pool_add(pool);
		most = handles[i] > most ? handles[i] : most;
	}
	place = pool_get(pool, handles[999]);
	for (size_t i = 0; i < 900; i++)
		pool_remove(pool, handles[i]);
	assert_int_equal(pool_get_count(pool), 100);
	for (size_t i = 0; i < 900; i++) {
		handles[i] = pool_add(pool);
		assert_in_range(handles[i], 1, CHUNKS_OF_64(most));
	}
	assert_ptr_equal(pool_get(pool, handles[999]), place);
	assert_int_equal(pool_get_count(pool), 1000);
	pool_free(pool);
}

/* Small and large, each its own, until all end. */
static void test_arena(void **state)
{
	struct arena arena = {.blocks = NULL};
	char *texts[200];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 200; i++) {
			size_t size = i == 150 ? 100000 : i + 1;

			texts[i] = arena_alloc(&arena, size);
			assert_non_null(texts[i]);
			assert_int_equal((uintptr_t)texts[i] % sizeof(void *), 0);
			memset(texts[i], (int)i, size);
		}
		for (size_t i = 0; i < 200; i++)
			assert_int_equal((unsigned char)texts[i][i], i);
		arena_reset(&arena);
	}
	arena_fini(&arena);
	arena_fini(&arena);
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_grow_and_shrink, setup), TEST(test_random, setup),
		TEST(test_one_chain, setup_same),  TEST(test_replace, setup),
		cmocka_unit_test(test_pool_reuse), cmocka_unit_test(test_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
