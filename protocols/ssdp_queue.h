/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_SSDP_QUEUE_H
#define PROTOCOLS_SSDP_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/ssdp.h"

/** Answers waiting for their delay; of them, those to one address. */
#define SSDP_QUEUE_MAX 64
#define SSDP_QUEUE_PER_SOURCE_MAX 8

/** A search on its way to its answers, which may wait for their delay (SSDP-6). */
struct ssdp_wait {
	int64_t due_ms;
	struct ip_addr peer;
	uint16_t peer_port;
	struct ip_addr local; /* our address that answers */
	unsigned int answers; /* at most */
	struct ssdp_search search;
};

struct ssdp_queue {
	size_t count;
	struct ssdp_wait waits[SSDP_QUEUE_MAX]; /* in no order */
};

/**
 * True when a search may be added: not when the very same one waits already, nor when
 * its address has its share of the queue (SSDP-18).
 */
bool ssdp_queue_admits(const struct ssdp_queue *queue, const struct ssdp_wait *wait);

/**
 * Add a search; when the queue is full, the one that was due next leaves it into
 * *early, to be answered now: a burst costs the delay, not the answer.
 * Returns true when there is such a one.
 */
bool ssdp_queue_add(struct ssdp_queue *queue, const struct ssdp_wait *wait,
		    struct ssdp_wait *early) __attribute__((warn_unused_result));

/** Take out one that is due; false = none. */
bool ssdp_queue_take_due(struct ssdp_queue *queue, int64_t now_ms,
			 struct ssdp_wait *out) __attribute__((warn_unused_result));

/** Units: ms until the next is due; -1 = the queue is empty. */
int64_t ssdp_queue_get_delay_ms(const struct ssdp_queue *queue, int64_t now_ms);

#endif
