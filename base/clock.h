/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/** An instant that never comes: the end of a static lease. */
#define TIME_NEVER INT64_MAX

/**
 * The one place that asks what time it is. Everything else gets `now` as a parameter,
 * so that the lease table runs on virtual time in tests.
 *
 * Units: milliseconds since boot, suspend included (CLOCK_BOOTTIME), never stepped;
 * what lifetimes and epochs are counted in (NP-28, NP-54, PCP-34).
 */
int64_t clock_now_ms(void);

/** Units: microseconds, suspend not included (CLOCK_MONOTONIC). For service managers.
 */
int64_t clock_monotonic_us(void);

/** Units: microseconds that this process has worked, the kernel's work for it included
 * (CLOCK_PROCESS_CPUTIME_ID).
 */
int64_t clock_process_us(void);

/** Units: milliseconds since 1970 UTC. Only for display and for surviving a reboot. */
int64_t clock_wall_ms(void);

#endif
