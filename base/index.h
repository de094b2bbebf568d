/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_INDEX_H
#define BASE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

/**
 * Finds items of a pool by a key that stands in them, at a cost that does not grow. It
 * grows and shrinks by one place at a time, so that no single change waits until all
 * items have moved. It takes four octets of each item, and about five beside it.
 */
struct index;

/** What an index is of. Pure functions. */
struct index_kind {
	size_t link; /* offset of a uint32_t in each item, the index's own */
	/** Spread the item's key, by index_hash(). */
	uint32_t (*get_hash)(const void *item, uint64_t seed);
	/** True for the item of this key. */
	bool (*is_of)(const void *item, const void *key);
};

/** Spread a key over 32 bits; no octet of it may be without a value. */
uint32_t index_hash(const void *key, size_t size, uint64_t seed);

/** Borrows pool and kind for its life. Owns: caller frees. Errors: NULL, out of memory.
 */
struct index *index_new(const struct pool *pool, const struct index_kind *kind);
void index_free(struct index *index);
/** The secret that keys of this index are spread with. */
uint64_t index_get_seed(const struct index *index);

/** The item of a key that is spread so; 0 = none. */
uint32_t index_find(const struct index *index, uint32_t hash, const void *key);
/** Add an item, whose key no other has. Needs no memory; more only makes it faster. */
void index_add(struct index *index, uint32_t item);
/** The item must be there, with the key that it was added with. */
void index_remove(struct index *index, uint32_t item);
/** An item of the same key takes the place of one that is there. */
void index_replace(struct index *index, uint32_t item, uint32_t by);
size_t index_get_count(const struct index *index);

#endif
