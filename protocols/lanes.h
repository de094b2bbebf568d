/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_LANES_H
#define PROTOCOLS_LANES_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

struct rate;

/** Sources that one LAN can have in its slow lane. */
#define LANES_SLOW_MAX 16
/** A source that sends more than this goes there. A second's worth may burst. */
#define LANES_PACKETS_PER_SECOND 500
/** It stays while it sends as much as this ... */
#define LANES_KEEP_PER_SECOND 20
/** ... and until it has been quieter than that for so long. */
#define LANES_QUIET_MS 10000
/** A source quiet for so long gives way to one that is loud now. */
#define LANES_YIELD_MS 1000
/** Instructions of the longest program: IPv6 takes nine a source, and a return. */
#define LANES_PROGRAM_MAX (9 * LANES_SLOW_MAX + 1)

/** One source in the slow lane. */
struct lanes_slow {
	struct ip_addr source;
	int64_t loud_ms; /* when it was last */
	int64_t window_ms;
	uint32_t packets; /* in the second since window_ms */
};

/**
 * Who shares the queue of a LAN's port with everybody, and who sends so much that the
 * kernel had better queue it apart (PCP-7): the first lane is for all, the slow lane
 * for a bounded list of sources. Knows no sockets.
 */
struct lanes {
	struct rate *rate;
	size_t count;
	struct lanes_slow slow[LANES_SLOW_MAX];
};

/** Owns: lanes_fini() frees. Errors: -ENOMEM. */
int lanes_init(struct lanes *lanes) __attribute__((warn_unused_result));
/** Safe on all zero. */
void lanes_fini(struct lanes *lanes);

/**
 * A datagram of this source was received, in whichever lane. True: the list has
 * changed, the programs must be made again.
 */
bool lanes_count(struct lanes *lanes, const struct ip_addr *source, int64_t now_ms);

/** Let those go that have been quiet for LANES_QUIET_MS. True: the list has changed. */
bool lanes_expire(struct lanes *lanes, int64_t now_ms);

/** What a program returns for a source of the slow lane, and for any other. */
struct lanes_verdict {
	uint32_t slow;
	uint32_t other;
};

/**
 * The list as a program of classic BPF on IPv4 or IPv6 datagrams (AF_INET, AF_INET6),
 * which finds the source by SKF_NET_OFF. Returns its length in instructions.
 */
size_t lanes_write_program(const struct lanes *lanes, int family,
			   struct lanes_verdict verdict,
			   struct sock_filter out[LANES_PROGRAM_MAX]);

#endif
