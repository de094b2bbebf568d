/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

/* Enough for most uses: with what malloc() adds, a page. */
#define BLOCK_SIZE ((size_t)4064)

struct arena_block {
	struct arena_block *next;
	size_t size;
	alignas(max_align_t) char bytes[];
};

static struct arena_block *block_new(size_t size)
{
	struct arena_block *block;

	if (size < BLOCK_SIZE)
		size = BLOCK_SIZE;
	block = malloc(sizeof(*block) + size);
	if (block)
		block->size = size;
	return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct arena_block *block = arena->blocks;
	char *out;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + align - 1) / align * align;
	if (!block || size > block->size - arena->used) {
		block = block_new(size);
		if (!block)
			return NULL;
		block->next = arena->blocks;
		arena->blocks = block;
		arena->used = 0;
	}
	out = block->bytes + arena->used;
	arena->used += size;
	return out;
}

static void blocks_free(struct arena_block *block)
{
	while (block) {
		struct arena_block *next = block->next;

		free(block);
		block = next;
	}
}

void arena_reset(struct arena *arena)
{
	struct arena_block *block = arena->blocks;

	arena->used = 0;
	if (!block)
		return;
	blocks_free(block->next);
	block->next = NULL;
	if (block->size == BLOCK_SIZE)
		return;
	free(block);
	arena->blocks = NULL;
}

void arena_fini(struct arena *arena)
{
	blocks_free(arena->blocks);
	*arena = (struct arena){.blocks = NULL};
}
