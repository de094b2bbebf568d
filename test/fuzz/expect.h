/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_FUZZ_EXPECT_H
#define TEST_FUZZ_EXPECT_H

#include <stdbool.h>
#include <stdlib.h>

#include "base/addr.h"

/* What fuzz targets hold to be true, whatever the input was. */

/** Ends the program, as a sanitizer would, when it does not hold. */
static inline void expect_true(bool holds)
{
	if (!holds)
		abort();
}

/** An address that a target names itself. */
struct ip_addr expect_addr(const char *text);

#endif
