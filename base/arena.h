/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;

/**
 * Memory for many small things that end together. All zero is an empty one.
 */
struct arena {
	struct arena_block *blocks; /* the one in use first */
	size_t used;		    /* of that one, octets */
};

/** Room, aligned for anything, until arena_reset(). Errors: NULL, out of memory. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((warn_unused_result));
/** All that was given out ends; some memory is kept for what comes next. */
void arena_reset(struct arena *arena);
/** Owns: frees all. */
void arena_fini(struct arena *arena);

#endif
