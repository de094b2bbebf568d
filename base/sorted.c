/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/sorted.h"

size_t sorted_find_first(const void *items, size_t count, size_t width,
			 const void *wanted,
			 int (*compare)(const void *item, const void *wanted))
{
	const char *first = items;
	size_t low = 0;
	size_t high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(first + middle * width, wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
