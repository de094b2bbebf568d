/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include <stddef.h>

/**
 * Room for one more item behind `count`: twice as much where there is none, `first`
 * items at the start. *size: items that there is room for; width: octets of one. Owns:
 * takes items (NULL at the start), and gives what is to be kept instead. Errors: NULL,
 * out of memory; items and *size are as they were.
 */
void *array_reserve(void *items, size_t count, size_t *size, size_t width, size_t first)
	__attribute__((warn_unused_result));

#endif
