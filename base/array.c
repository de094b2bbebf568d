/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/array.h"

#include <stdlib.h>

void *array_reserve(void *items, size_t count, size_t *size, size_t width, size_t first)
{
	size_t more = *size > 0 ? 2 * *size : first;
	void *grown;

	if (count < *size)
		return items;
	grown = reallocarray(items, more, width);
	if (grown)
		*size = more;
	return grown;
}
