/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/ssdp_queue.h"

#include <string.h>

bool ssdp_queue_admits(const struct ssdp_queue *queue, const struct ssdp_wait *wait)
{
	unsigned int share = 0;

	for (size_t i = 0; i < queue->count; i++) {
		const struct ssdp_wait *other = &queue->waits[i];

		if (!addr_equal(&other->peer, &wait->peer))
			continue;
		if (other->peer_port == wait->peer_port &&
		    strcmp(other->search.st, wait->search.st) == 0)
			return false;
		share++;
	}
	return share < SSDP_QUEUE_PER_SOURCE_MAX;
}

/* The queue is not empty. */
static size_t find_next(const struct ssdp_queue *queue)
{
	size_t next = 0;

	for (size_t i = 1; i < queue->count; i++)
		if (queue->waits[i].due_ms < queue->waits[next].due_ms)
			next = i;
	return next;
}

static void take(struct ssdp_queue *queue, size_t i, struct ssdp_wait *out)
{
	*out = queue->waits[i];
	queue->waits[i] = queue->waits[--queue->count];
}

bool ssdp_queue_add(struct ssdp_queue *queue, const struct ssdp_wait *wait,
		    struct ssdp_wait *early)
{
	bool full = queue->count == SSDP_QUEUE_MAX;

	if (full)
		take(queue, find_next(queue), early);
	queue->waits[queue->count++] = *wait;
	return full;
}

bool ssdp_queue_take_due(struct ssdp_queue *queue, int64_t now_ms,
			 struct ssdp_wait *out)
{
	size_t next;

	if (queue->count == 0)
		return false;
	next = find_next(queue);
	if (queue->waits[next].due_ms > now_ms)
		return false;
	take(queue, next, out);
	return true;
}

int64_t ssdp_queue_get_delay_ms(const struct ssdp_queue *queue, int64_t now_ms)
{
	int64_t left_ms;

	if (queue->count == 0)
		return -1;
	left_ms = queue->waits[find_next(queue)].due_ms - now_ms;
	return left_ms > 0 ? left_ms : 0;
}
