/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/pending.h"

#include <stdlib.h>

/* All entries live equally long, so the ones in use stand in a list, oldest first, and
 * free ones in another. Place 0 is the head of the first: it is never handed out. */
#define PENDING_HEAD 0
#define PENDING_PLACES (PENDING_MAX + 1)
/* How many requests each client has in flight: sets of a few clients. One that finds no
 * place in its set is not counted, which can only favour it. */
#define CLIENT_SETS 256
#define CLIENT_WAYS 4

struct client {
	struct ip_addr addr;
	uint32_t ifindex; /* two links may have the same link-local address */
	uint32_t count;	  /* 0 = nobody */
};

struct place {
	uint32_t generation; /* odd while in use */
	uint32_t next;
	uint32_t previous;
	int64_t expires_ms;
	struct client *client; /* NULL: not counted */
	struct pending_entry entry;
};

/*
 * The place freed last is used first, and one that was never used only when none is
 * free: so memory that a burst took is used again, and what no burst needed is never
 * touched.
 */
struct pending {
	uint32_t free; /* PENDING_HEAD = none */
	uint32_t used; /* places ever handed out */
	uint32_t slow_count;
	uint64_t seed; /* so that nobody can choose whom to share a set with */
	enum pending_cap cap;
	struct client clients[CLIENT_SETS][CLIENT_WAYS];
	struct place places[PENDING_PLACES];
};

struct pending *pending_new(void)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (pending)
		pending->seed = addr_make_seed();
	return pending;
}

void pending_free(struct pending *pending)
{
	free(pending);
}

static void release(struct pending *pending, uint32_t index)
{
	struct place *place = &pending->places[index];

	if (place->client)
		place->client->count--;
	if (place->entry.slow)
		pending->slow_count--;
	pending->places[place->previous].next = place->next;
	pending->places[place->next].previous = place->previous;
	place->generation++;
	place->next = pending->free;
	pending->free = index;
}

static void release_expired(struct pending *pending, int64_t now_ms)
{
	const struct place *head = &pending->places[PENDING_HEAD];

	while (head->next != PENDING_HEAD &&
	       pending->places[head->next].expires_ms <= now_ms)
		release(pending, head->next);
}

static struct client *find_client(struct pending *pending,
				  const struct pending_path *path)
{
	struct client *set =
		pending->clients[addr_get_hash(&path->peer,
					       pending->seed ^ path->ifindex) %
				 CLIENT_SETS];
	struct client *unused = NULL;

	for (size_t way = 0; way < CLIENT_WAYS; way++) {
		if (set[way].count == 0)
			unused = &set[way];
		else if (set[way].ifindex == path->ifindex &&
			 addr_equal(&set[way].addr, &path->peer))
			return &set[way];
	}
	if (unused)
		*unused = (struct client){.addr = path->peer, .ifindex = path->ifindex};
	return unused;
}

static bool is_full(struct pending *pending, const struct client *client, bool slow)
{
	pending->cap = PENDING_CAP_CLIENT;
	if (client && client->count >= PENDING_CLIENT_MAX)
		return true;
	pending->cap = PENDING_CAP_SLOW;
	if (slow && pending->slow_count >= PENDING_SLOW_MAX)
		return true;
	pending->cap = PENDING_CAP_ALL;
	return pending->free == PENDING_HEAD && pending->used == PENDING_MAX;
}

enum pending_cap pending_get_cap(const struct pending *pending)
{
	return pending->cap;
}

/* A place that is in no list; there is one. */
static uint32_t take_free(struct pending *pending)
{
	uint32_t index = pending->free;

	if (index != PENDING_HEAD)
		pending->free = pending->places[index].next;
	else
		index = ++pending->used;
	return index;
}

struct pending_entry *pending_add(struct pending *pending,
				  const struct pending_path *path, bool slow,
				  int64_t now_ms, uint64_t *cookie)
{
	struct place *head = &pending->places[PENDING_HEAD];
	struct client *client;
	struct place *place;
	uint32_t index;

	release_expired(pending, now_ms);
	client = find_client(pending, path);
	if (is_full(pending, client, slow))
		return NULL;
	index = take_free(pending);
	if (client)
		client->count++;
	if (slow)
		pending->slow_count++;
	place = &pending->places[index];
	place->generation++;
	place->expires_ms = now_ms + PENDING_TIMEOUT_MS;
	place->client = client;
	place->entry.path = *path;
	place->entry.slow = slow;
	place->next = PENDING_HEAD;
	place->previous = head->previous;
	pending->places[head->previous].next = index;
	head->previous = index;
	*cookie = (uint64_t)place->generation << 32 | index;
	return &place->entry;
}

const struct pending_entry *pending_take(struct pending *pending, uint64_t cookie)
{
	uint32_t index = (uint32_t)cookie;
	uint32_t generation = (uint32_t)(cookie >> 32);

	if (index == PENDING_HEAD || index >= PENDING_PLACES || generation % 2 == 0 ||
	    pending->places[index].generation != generation)
		return NULL;
	release(pending, index);
	return &pending->places[index].entry;
}

bool pending_has_slow_room(struct pending *pending, uint32_t count, int64_t now_ms)
{
	release_expired(pending, now_ms);
	return pending->slow_count + count <= PENDING_SLOW_MAX;
}
