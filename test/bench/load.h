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
/** No run is longer. */
#define LOAD_SECONDS_MAX 3600

/** An option of a program: --NAME, with a value unless it is a flag. One of these: */
struct load_option {
	const char *name; /* NULL ends the list */
	struct ip_addr *addr;
	uint64_t *number; /* up to max; or, with words, the index of one of max */
	uint64_t max;
	const char *const *words;
	const char **text; /* points into argv */
	bool *flag;
};

/** Errors: false, one is unknown or its value is none. */
bool load_parse_options(int argc, char **argv, const struct load_option *options)
	__attribute__((warn_unused_result));

/**
 * A socket of that type (SOCK_DGRAM, SOCK_STREAM, and flags) that is bound to own and
 * connected to peer, or will be. Errors: -1, which it has told.
 */
int load_open(int type, const struct ip_addr *own, const struct ip_addr *peer,
	      uint16_t port) __attribute__((warn_unused_result));

/** How long what was granted took, in the order in which it was answered. */
struct load_times {
	uint32_t *list_us;
	size_t count;
};

/** What became of the requests. */
struct load_counts {
	uint64_t granted, refused, lost;
	bool stopped; /* before its end */
	struct load_times times;
	int64_t start_us;
};

/** A figure of one program alone. */
struct load_figure {
	const char *name; /* NULL ends the list */
	uint64_t value;
};

/**
 * Print one line: mode, figures, and then what all programs tell, of which per_second
 * counts what was granted since start_us, and own_cpu_ns is this thread's own work.
 * json: as an object, else as KEY=VALUE. Owns: frees the times. Returns the exit
 * status: 0 when all was granted.
 */
int load_report(struct load_counts *counts, const char *mode,
		const struct load_figure *figures, bool json);

/** Units: microseconds of a clock that never goes back. */
int64_t load_now_us(void);
/** Units: nanoseconds that the processor has worked for this thread. */
int64_t load_get_cpu_ns(void);
/** Address of the client of that number; the first one is given. IPv4. */
struct ip_addr load_get_client(const struct ip_addr *first, size_t number);
/** Whether a run has sent requests for that long. seconds: 0 = there is no such time.
 */
bool load_is_time_over(const struct load_counts *counts, uint64_t seconds);
/** Owns: load_report() frees them. Errors: false (memory). */
bool load_times_init(struct load_times *times, size_t max)
	__attribute__((warn_unused_result));
/** Note what began then and ends now. */
void load_times_add(struct load_times *times, int64_t began_us);
/** Note a request that began then and is granted now: no other has a time. */
void load_grant(struct load_counts *counts, int64_t began_us);

#endif
