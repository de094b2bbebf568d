/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_CLOCK_LAB_H
#define TEST_UNIT_CLOCK_LAB_H

#include <stdint.h>

/* The clock of the program, in the place of base/clock.c: it can be put forward. What
 * the event loop waits for it waits for all the same. */

/** Let time pass at once. */
void clock_lab_pass(int64_t ms);

#endif
