/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/pool.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

/* One bit each in pool_chunk.used. */
#define CHUNK_ITEMS 64u
#define CHUNKS_START 4
#define NONE UINT32_MAX

struct pool_chunk {
	uint64_t used;	     /* a bit for each item */
	uint32_t prev, next; /* among those that have room */
	uint64_t items[];
};

struct pool {
	size_t width;
	size_t count;
	struct pool_chunk **chunks; /* NULL where one was given back */
	size_t chunk_count, size;
	size_t hole;   /* no chunk before this one is missing */
	uint32_t room; /* first chunk that has room */
};

struct pool *pool_new(size_t width)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->width = (width + sizeof(uint64_t) - 1) / sizeof(uint64_t);
	pool->room = NONE;
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	for (size_t i = 0; i < pool->chunk_count; i++)
		free(pool->chunks[i]);
	free(pool->chunks);
	free(pool);
}

/* --- chunks that have room --- */

static void room_push(struct pool *pool, uint32_t at)
{
	struct pool_chunk *chunk = pool->chunks[at];

	chunk->prev = NONE;
	chunk->next = pool->room;
	if (pool->room != NONE)
		pool->chunks[pool->room]->prev = at;
	pool->room = at;
}

static void room_remove(struct pool *pool, uint32_t at)
{
	const struct pool_chunk *chunk = pool->chunks[at];

	if (chunk->next != NONE)
		pool->chunks[chunk->next]->prev = chunk->prev;
	if (chunk->prev != NONE)
		pool->chunks[chunk->prev]->next = chunk->next;
	else
		pool->room = chunk->next;
}

/* --- chunks --- */

/* Where another chunk has its place. Errors: false, out of memory. */
static bool pool_find_hole(struct pool *pool)
{
	struct pool_chunk **chunks;

	while (pool->hole < pool->chunk_count && pool->chunks[pool->hole])
		pool->hole++;
	if (pool->hole < pool->chunk_count)
		return true;
	chunks = array_reserve(pool->chunks, pool->chunk_count, &pool->size,
			       sizeof(struct pool_chunk *), CHUNKS_START);
	if (!chunks)
		return false;
	pool->chunks = chunks;
	chunks[pool->chunk_count++] = NULL;
	return true;
}

static bool pool_add_chunk(struct pool *pool)
{
	struct pool_chunk *chunk;

	if (!pool_find_hole(pool) || pool->hole > UINT32_MAX / CHUNK_ITEMS - 1)
		return false;
	chunk = malloc(sizeof(*chunk) + CHUNK_ITEMS * pool->width * sizeof(uint64_t));
	if (!chunk)
		return false;
	chunk->used = 0;
	pool->chunks[pool->hole] = chunk;
	room_push(pool, (uint32_t)pool->hole);
	return true;
}

static void pool_drop_chunk(struct pool *pool, uint32_t at)
{
	room_remove(pool, at);
	free(pool->chunks[at]);
	pool->chunks[at] = NULL;
	if (at < pool->hole)
		pool->hole = at;
}

/* --- items --- */

uint32_t pool_add(struct pool *pool)
{
	struct pool_chunk *chunk;
	uint32_t at, item;

	if (pool->room == NONE && !pool_add_chunk(pool))
		return 0;
	at = pool->room;
	chunk = pool->chunks[at];
	item = (uint32_t)__builtin_ctzll(~chunk->used);
	chunk->used |= UINT64_C(1) << item;
	if (chunk->used == UINT64_MAX)
		room_remove(pool, at);
	memset(&chunk->items[item * pool->width], 0, pool->width * sizeof(uint64_t));
	pool->count++;
	return at * CHUNK_ITEMS + item + 1;
}

void pool_remove(struct pool *pool, uint32_t handle)
{
	uint32_t at = (handle - 1) / CHUNK_ITEMS;
	uint64_t bit = UINT64_C(1) << (handle - 1) % CHUNK_ITEMS;
	struct pool_chunk *chunk = pool->chunks[at];

	assert((chunk->used & bit) != 0);
	if (chunk->used == UINT64_MAX)
		room_push(pool, at);
	chunk->used &= ~bit;
	pool->count--;
	if (chunk->used == 0)
		pool_drop_chunk(pool, at);
}

void *pool_get(const struct pool *pool, uint32_t handle)
{
	struct pool_chunk *chunk = pool->chunks[(handle - 1) / CHUNK_ITEMS];

	return &chunk->items[(handle - 1) % CHUNK_ITEMS * pool->width];
}

uint32_t pool_get_next(const struct pool *pool, uint32_t handle)
{
	/* the item of handle n has place n - 1: so this is the place behind it */
	uint32_t place = handle;
	uint64_t mask = UINT64_MAX << place % CHUNK_ITEMS;

	for (uint32_t at = place / CHUNK_ITEMS; at < pool->chunk_count; at++) {
		const struct pool_chunk *chunk = pool->chunks[at];
		uint64_t used = chunk ? chunk->used & mask : 0;

		if (used != 0)
			return at * CHUNK_ITEMS + (uint32_t)__builtin_ctzll(used) + 1;
		mask = UINT64_MAX;
	}
	return 0;
}

size_t pool_get_count(const struct pool *pool)
{
	return pool->count;
}
