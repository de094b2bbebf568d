/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/pending.h"

#include <stdlib.h>

/* All entries live equally long, so the ones in use stand in a list, oldest first, and
 * free ones in another. Place 0 is the head of the first: it is never handed out. */
#define PENDING_HEAD 0
#define PENDING_PLACES (PENDING_MAX + 1)

struct place {
	uint32_t generation; /* odd while in use */
	uint32_t next;
	uint32_t previous;
	int64_t expires_ms;
	struct pending_entry entry;
};

struct pending {
	uint32_t free; /* PENDING_HEAD = none */
	struct place places[PENDING_PLACES];
};

struct pending *pending_new(void)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending)
		return NULL;
	for (uint32_t i = 1; i < PENDING_PLACES; i++)
		pending->places[i].next = i + 1 < PENDING_PLACES ? i + 1 : PENDING_HEAD;
	pending->free = 1;
	return pending;
}

void pending_free(struct pending *pending)
{
	free(pending);
}

static void release(struct pending *pending, uint32_t index)
{
	struct place *place = &pending->places[index];

	pending->places[place->previous].next = place->next;
	pending->places[place->next].previous = place->previous;
	place->generation++;
	place->next = pending->free;
	pending->free = index;
}

uint64_t pending_add(struct pending *pending, const struct pending_entry *entry,
		     int64_t now_ms)
{
	struct place *head = &pending->places[PENDING_HEAD];
	uint32_t index;
	struct place *place;

	while (head->next != PENDING_HEAD &&
	       pending->places[head->next].expires_ms <= now_ms)
		release(pending, head->next);
	index = pending->free;
	if (index == PENDING_HEAD)
		return 0;
	place = &pending->places[index];
	pending->free = place->next;
	place->generation++;
	place->expires_ms = now_ms + PENDING_TIMEOUT_MS;
	place->entry = *entry;
	place->next = PENDING_HEAD;
	place->previous = head->previous;
	pending->places[head->previous].next = index;
	head->previous = index;
	return (uint64_t)place->generation << 32 | index;
}

bool pending_take(struct pending *pending, uint64_t cookie, struct pending_entry *out)
{
	uint32_t index = (uint32_t)cookie;
	uint32_t generation = (uint32_t)(cookie >> 32);

	if (index == PENDING_HEAD || index >= PENDING_PLACES || generation % 2 == 0 ||
	    pending->places[index].generation != generation)
		return false;
	*out = pending->places[index].entry;
	release(pending, index);
	return true;
}
