/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What base/memory gives back, seen from outside: resident pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/sandbox.h"

#define BLOCKS 8192
#define BLOCK_SIZE 1024
/* One block in so many stays: every page but a few is free, none of the heap's end. */
#define KEPT_EACH 64
#define LARGE ((size_t)1024 * 1024)

static size_t get_resident(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	size_t size = 0;
	size_t pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%zu %zu", &size, &pages), 2);
	(void)fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void fill_and_free(uint8_t *blocks[BLOCKS])
{
	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(BLOCK_SIZE);
		assert_non_null(blocks[i]);
		memset(blocks[i], (int)(i % 251), BLOCK_SIZE);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		if (i % KEPT_EACH != 0)
			free(blocks[i]);
}

static void test_holes_are_given_back(void **state)
{
	static uint8_t *blocks[BLOCKS];
	size_t before;

	(void)state;
	fill_and_free(blocks);
	before = get_resident();
	memory_release();
	assert_true(get_resident() + (size_t)BLOCKS * BLOCK_SIZE / 2 < before);
	for (size_t i = 0; i < BLOCKS; i += KEPT_EACH) {
		for (size_t at = 0; at < BLOCK_SIZE; at++)
			assert_int_equal(blocks[i][at], i % 251);
		free(blocks[i]);
	}
}

/* Code and constants come back, and what was written beside them was never away. */
static void test_program_goes_on(void **state)
{
	static const char constant[] = "in the file";
	static char written[] = "not this";
	char text[64];

	(void)state;
	memcpy(written, "but that", sizeof(written));
	for (int i = 0; i < 3; i++) {
		memory_release();
		(void)snprintf(text, sizeof(text), "%s, %s, %d", constant, written, i);
		assert_int_equal(strncmp(text, "in the file, but that, ", 23), 0);
		assert_int_equal(text[23] - '0', i);
	}
}

/* Also the second large block: by itself glibc would keep it in the heap. */
static void test_large_blocks_are_given_back(void **state)
{
	size_t before;

	(void)state;
	memory_init();
	before = get_resident();
	for (int i = 0; i < 3; i++) {
		uint8_t *large = malloc(LARGE);
		void *after = NULL;

		assert_non_null(large);
		memset(large, 1, LARGE);
		after = malloc(BLOCK_SIZE);
		assert_true(get_resident() >= before + LARGE);
		free(large);
		assert_true(get_resident() < before + LARGE / 2);
		free(after);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holes_are_given_back),
		cmocka_unit_test(test_program_goes_on),
		cmocka_unit_test(test_large_blocks_are_given_back),
	};

	/* Exit status 77 is "skipped" to meson. */
	if (sandbox_is_wide()) {
		(void)fprintf(stderr, "skipped: a sanitizer has a heap of its own\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
