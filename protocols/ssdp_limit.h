/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_SSDP_LIMIT_H
#define PROTOCOLS_SSDP_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/**
 * Sources told apart that are known: they came back after SSDP_LIMIT_QUIET_MS. None is
 * forgotten for another, but one that was quiet for SSDP_LIMIT_FORGET_MS: whatever
 * sources somebody makes up, the hosts that were known before stay known.
 */
#define SSDP_LIMIT_KNOWN 512
#define SSDP_LIMIT_FORGET_MS 3600000
/** And newcomers, of whom the quietest gives way to the next; so many do not
 * come in three seconds, in which a host that searches asks again. */
#define SSDP_LIMIT_NEWCOMERS 1024
/** Answers one source may have at once and each second: bursts of ssdp:all pass. */
#define SSDP_LIMIT_SOURCE_BURST 120
#define SSDP_LIMIT_SOURCE_RATE 30
/** The same for a whole LAN. */
#define SSDP_LIMIT_TOTAL_BURST 600
#define SSDP_LIMIT_TOTAL_RATE 300
/** Of the total, what only sources get that have not used up half of their own: however
 * many ask all the time, he who asks now and then is answered. */
#define SSDP_LIMIT_RESERVE 300
/**
 * When the total is used up, who is known and had nothing for so long still gets one
 * answer: at most SSDP_LIMIT_KNOWN in this time, ...
 */
#define SSDP_LIMIT_QUIET_MS 1000
/** ... and newcomers as many as this at once and each second: one host with hundreds
 * of addresses, as IPv6 has them, keeps nobody from finding us. */
#define SSDP_LIMIT_SINGLE_BURST 500
#define SSDP_LIMIT_SINGLE_RATE 300
/** Sources not heard of before that are listened to. Beyond that chance decides among
 * them, and the kernel, which looks three seconds for a neighbour that nobody is, holds
 * fewer such than its table has room for (1024). */
#define SSDP_LIMIT_NEW_BURST 400
#define SSDP_LIMIT_NEW_RATE 200

/** Credit that grows with time, up to a burst. */
struct ssdp_credit {
	int64_t at_ms; /* when it was right */
	int64_t left;  /* thousandths of an answer */
};

struct ssdp_source {
	struct ip_addr addr;
	struct ssdp_credit credit;
	int64_t since_ms;  /* when it came */
	int64_t served_ms; /* when it was answered last */
	bool known;	   /* no newcomer any more */
};

/** Sources in no order; room for either sort of them. */
struct ssdp_segment {
	size_t count;
	uint32_t hashes[SSDP_LIMIT_NEWCOMERS]; /* of the addresses, to look through */
	struct ssdp_source sources[SSDP_LIMIT_NEWCOMERS];
};

/** Keeps us from being made to flood anybody (SSDP-18). Fixed size. */
struct ssdp_limit {
	uint64_t seed;
	struct ssdp_credit total;
	struct ssdp_credit singles;
	struct ssdp_credit arrivals;
	struct ssdp_segment known;
	struct ssdp_segment newcomers;
};

/** limit: all zero. seed: of addr_make_seed(). */
void ssdp_limit_init(struct ssdp_limit *limit, uint64_t seed, int64_t now_ms);

/**
 * How many of these answers may go to source now; they are then counted. All of them,
 * the first one, or 0.
 */
unsigned int ssdp_limit_take(struct ssdp_limit *limit, const struct ip_addr *source,
			     unsigned int answers, int64_t now_ms);

#endif
