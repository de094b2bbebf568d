/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_BENCH_LOAD_H
#define TEST_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/* What the programs that make load share. */

/** Clients of one program, each with an address of its own. */
#define LOAD_CLIENTS_MAX 1024

/** How long requests took, in the order in which they were answered. */
struct load_times {
	uint32_t *list_us;
	size_t count;
};

/** Units: microseconds of a clock that never goes back. */
int64_t load_now_us(void);
/** Address of the client of that number; the first one is given. IPv4. */
struct ip_addr load_get_client(const struct ip_addr *first, size_t number);
/** Owns: caller frees list_us. Errors: false (memory). */
bool load_times_init(struct load_times *times, size_t max)
	__attribute__((warn_unused_result));
/** Note a request that began then and is answered now. */
void load_times_add(struct load_times *times, int64_t began_us);
void load_times_sort(struct load_times *times);
/** Of times that are sorted; 0 when there are none. */
uint32_t load_times_get_us(const struct load_times *times, unsigned int percent);

#endif
