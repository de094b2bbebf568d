/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_SSDP_LIMIT_H
#define PROTOCOLS_SSDP_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/** Sources told apart; beyond that the one that is quiet longest is forgotten. */
#define SSDP_LIMIT_SOURCES 64
/** Answers one source may have at once and each second: bursts of ssdp:all pass. */
#define SSDP_LIMIT_SOURCE_BURST 120
#define SSDP_LIMIT_SOURCE_RATE 30
/** The same for a whole LAN. */
#define SSDP_LIMIT_TOTAL_BURST 600
#define SSDP_LIMIT_TOTAL_RATE 300
/** Of the total, what only sources get that have not used up half of their own: however
 * many ask all the time, he who asks now and then is answered. */
#define SSDP_LIMIT_RESERVE 300

struct ssdp_bucket {
	struct ip_addr source;
	int64_t at_ms;	/* when credit was right */
	int64_t credit; /* thousandths of an answer */
};

/** Keeps us from being made to flood anybody (SSDP-18). Fixed size. */
struct ssdp_limit {
	struct ssdp_bucket total;
	struct ssdp_bucket sources[SSDP_LIMIT_SOURCES];
};

void ssdp_limit_init(struct ssdp_limit *limit, int64_t now_ms);

/** True when this many answers may go to source now; they are then counted. */
bool ssdp_limit_take(struct ssdp_limit *limit, const struct ip_addr *source,
		     unsigned int answers, int64_t now_ms);

#endif
