/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_SORTED_H
#define BASE_SORTED_H

#include <stddef.h>

/**
 * Index of the first of `count` sorted items, `width` octets each, that does not come
 * before `wanted`; count where all do. compare: as for qsort(), an item first.
 */
size_t sorted_find_first(const void *items, size_t count, size_t width,
			 const void *wanted,
			 int (*compare)(const void *item, const void *wanted));

#endif
