/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linear hashing (Litwin, 1980): with 2^k to 2^(k+1) - 1 places, the places below the
 * number of places beyond 2^k are split, each into itself and the one 2^k above it.
 * Another place splits one more.
 */
#include "base/index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/array.h"

/* Places allocated at a time, and the least there are. */
#define SEGMENT 256u
#define SEGMENTS_START 4
/* Places that may be more than items before one goes. */
#define SLACK ((size_t)2 * SEGMENT)

struct index {
	const struct pool *pool;
	const struct index_kind *kind;
	uint64_t seed;
	size_t count;
	uint32_t places;
	uint32_t half;	     /* largest power of two that is not above places */
	uint32_t **segments; /* of first items */
	size_t segment_count, size;
};

uint32_t index_hash(const void *key, size_t size, uint64_t seed)
{
	const uint8_t *bytes = key;
	uint64_t hash = seed ^ size;

	for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
		size_t left = size - at;
		uint64_t word = 0;

		memcpy(&word, bytes + at, left < sizeof(word) ? left : sizeof(word));
		/* the finalizer of MurmurHash3 */
		hash ^= word;
		hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
		hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
		hash ^= hash >> 33;
	}
	return (uint32_t)hash;
}

static bool index_add_segment(struct index *index)
{
	uint32_t **segments =
		array_reserve(index->segments, index->segment_count, &index->size,
			      sizeof(*segments), SEGMENTS_START);

	if (!segments)
		return false;
	index->segments = segments;
	segments[index->segment_count] = calloc(SEGMENT, sizeof(uint32_t));
	if (!segments[index->segment_count])
		return false;
	index->segment_count++;
	return true;
}

struct index *index_new(const struct pool *pool, const struct index_kind *kind)
{
	struct index *index = calloc(1, sizeof(*index));

	if (!index)
		return NULL;
	index->pool = pool;
	index->kind = kind;
	index->seed = addr_make_seed();
	index->places = index->half = SEGMENT;
	if (index_add_segment(index))
		return index;
	index_free(index);
	return NULL;
}

void index_free(struct index *index)
{
	if (!index)
		return;
	for (size_t i = 0; i < index->segment_count; i++)
		free(index->segments[i]);
	free(index->segments);
	free(index);
}

uint64_t index_get_seed(const struct index *index)
{
	return index->seed;
}

size_t index_get_count(const struct index *index)
{
	return index->count;
}

/* --- chains --- */

static uint32_t *place_get(const struct index *index, uint32_t place)
{
	return &index->segments[place / SEGMENT][place % SEGMENT];
}

static uint32_t *item_get_link(const struct index *index, uint32_t item)
{
	char *bytes = pool_get(index->pool, item);

	return (uint32_t *)(void *)(bytes + index->kind->link);
}

static uint32_t item_get_hash(const struct index *index, uint32_t item)
{
	return index->kind->get_hash(pool_get(index->pool, item), index->seed);
}

static uint32_t hash_get_place(const struct index *index, uint32_t hash)
{
	uint32_t place = hash & (2 * index->half - 1);

	return place < index->places ? place : hash & (index->half - 1);
}

/* Where the handle of an item stands, which is in the index. */
static uint32_t *index_find_slot(const struct index *index, uint32_t item)
{
	uint32_t hash = item_get_hash(index, item);
	uint32_t *slot = place_get(index, hash_get_place(index, hash));

	while (*slot != item) {
		assert(*slot != 0);
		slot = item_get_link(index, *slot);
	}
	return slot;
}

/* --- places --- */

/* One more, with what belongs there of the one that is split. */
static void index_grow(struct index *index)
{
	uint32_t place = index->places;
	uint32_t *from, *to;

	/* without memory the chains get longer */
	if (place == UINT32_C(1) << 31 ||
	    (place % SEGMENT == 0 && !index_add_segment(index)))
		return;
	from = place_get(index, place - index->half);
	to = place_get(index, place);
	*to = 0;
	while (*from != 0) {
		uint32_t item = *from;
		uint32_t *link = item_get_link(index, item);

		if ((item_get_hash(index, item) & (2 * index->half - 1)) != place) {
			from = link;
			continue;
		}
		*from = *link;
		*link = *to;
		*to = item;
	}
	index->places++;
	if (index->places == 2 * index->half)
		index->half = index->places;
}

/* The last one is one again with the one it was split from. */
static void index_shrink(struct index *index)
{
	uint32_t place = index->places - 1;
	uint32_t half = place < index->half ? index->half / 2 : index->half;
	uint32_t *to = place_get(index, place - half);

	while (*to != 0)
		to = item_get_link(index, *to);
	*to = *place_get(index, place);
	index->places = place;
	index->half = half;
	if (place % SEGMENT == 0)
		free(index->segments[--index->segment_count]);
}

/* --- items --- */

uint32_t index_find(const struct index *index, uint32_t hash, const void *key)
{
	uint32_t item = *place_get(index, hash_get_place(index, hash));

	while (item != 0 && !index->kind->is_of(pool_get(index->pool, item), key))
		item = *item_get_link(index, item);
	return item;
}

void index_add(struct index *index, uint32_t item)
{
	uint32_t hash = item_get_hash(index, item);
	uint32_t *slot;

	if (index->count >= index->places)
		index_grow(index);
	slot = place_get(index, hash_get_place(index, hash));
	*item_get_link(index, item) = *slot;
	*slot = item;
	index->count++;
}

void index_remove(struct index *index, uint32_t item)
{
	uint32_t *link = item_get_link(index, item);

	*index_find_slot(index, item) = *link;
	*link = 0;
	index->count--;
	if (index->places > SEGMENT && index->count + SLACK < index->places)
		index_shrink(index);
}

void index_replace(struct index *index, uint32_t item, uint32_t by)
{
	uint32_t *link = item_get_link(index, item);

	*index_find_slot(index, item) = by;
	*item_get_link(index, by) = *link;
	*link = 0;
}
