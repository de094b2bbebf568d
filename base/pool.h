/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

/**
 * Items of one size, each known by a handle of 32 bits, 0 = none: half of what a
 * pointer takes, and no more memory than the item. An item stays where it is. They come
 * in chunks, which go back when all of their items have.
 */
struct pool;

/** width: octets of an item, as aligned as 8 octets are. Owns: caller frees. Errors:
 * NULL, out of memory. */
struct pool *pool_new(size_t width);
void pool_free(struct pool *pool);

/** A new item, all zero. Errors: 0, out of memory. */
uint32_t pool_add(struct pool *pool) __attribute__((warn_unused_result));
/** The item must be there. */
void pool_remove(struct pool *pool, uint32_t handle);
/** The item, which must be there. Borrowed until it is removed. */
void *pool_get(const struct pool *pool, uint32_t handle);
/** Each item once, in order of handles; 0 starts and ends. */
uint32_t pool_get_next(const struct pool *pool, uint32_t handle);
size_t pool_get_count(const struct pool *pool);

#endif
