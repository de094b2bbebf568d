/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/updates.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define BUCKETS 1024 /* by internal address, protocol and port */
#define NONE UINT32_MAX

/* All that wait for their second copy wait equally long, and so do those that wait for
 * their third: each stage is a list in which the head is due first. */
enum stage { STAGE_SECOND, STAGE_THIRD, STAGES };

struct entry {
	uint32_t next; /* in its stage, or in the list of free ones */
	uint32_t previous;
	uint32_t chain; /* the next of its bucket */
	uint8_t stage;
	int64_t due_ms;
	struct mapping_update update;
};

struct queue {
	uint32_t first, last;
};

/* The entries: there only while one of them is in use. */
struct store {
	uint32_t free;
	uint32_t touched; /* entries ever used */
	uint32_t buckets[BUCKETS];
	struct entry entries[UPDATES_MAX];
};

struct updates {
	struct store *store;
	uint32_t count;
	struct queue queues[STAGES];
	struct mapping_update taken;
};

static void reset(struct updates *updates)
{
	free(updates->store);
	updates->store = NULL;
	updates->count = 0;
	for (int stage = 0; stage < STAGES; stage++)
		updates->queues[stage] = (struct queue){NONE, NONE};
}

struct updates *updates_new(void)
{
	struct updates *updates = calloc(1, sizeof(*updates));

	if (updates)
		reset(updates);
	return updates;
}

void updates_free(struct updates *updates)
{
	if (updates)
		free(updates->store);
	free(updates);
}

static bool open_store(struct updates *updates)
{
	struct store *store;

	if (updates->store)
		return true;
	store = calloc(1, sizeof(*store));
	if (!store)
		return false;
	store->free = NONE;
	memset(store->buckets, 0xff, sizeof(store->buckets));
	updates->store = store;
	return true;
}

static struct updates_key get_key(const struct mapping_update *update)
{
	struct updates_key key = {
		.lan = update->lan,
		.op = update->op,
		.protocol = update->protocol,
		.internal_port = update->internal_port,
		.client = update->client,
		.internal = update->internal,
	};

	if (update->op == REQUEST_PEER) {
		key.remote = update->remote;
		key.remote_port = update->remote_port;
	}
	memcpy(key.nonce, update->nonce, sizeof(key.nonce));
	return key;
}

static bool is_about(const struct mapping_update *update, const struct updates_key *key)
{
	struct updates_key own = get_key(update);

	return own.lan == key->lan && own.op == key->op &&
	       own.protocol == key->protocol &&
	       own.internal_port == key->internal_port &&
	       own.remote_port == key->remote_port &&
	       memcmp(own.nonce, key->nonce, sizeof(own.nonce)) == 0 &&
	       addr_equal(&own.client, &key->client) &&
	       addr_equal(&own.internal, &key->internal) &&
	       addr_equal(&own.remote, &key->remote);
}

static uint32_t *get_bucket(struct store *store, const struct updates_key *key)
{
	uint64_t seed = (uint64_t)key->protocol << 16 | key->internal_port;

	return &store->buckets[addr_get_hash(&key->internal, seed) % BUCKETS];
}

static void append(struct updates *updates, uint32_t index, enum stage stage,
		   int64_t due_ms)
{
	struct queue *queue = &updates->queues[stage];
	struct entry *entry = &updates->store->entries[index];

	entry->stage = (uint8_t)stage;
	entry->due_ms = due_ms;
	entry->next = NONE;
	entry->previous = queue->last;
	if (queue->last == NONE)
		queue->first = index;
	else
		updates->store->entries[queue->last].next = index;
	queue->last = index;
}

static void detach(struct updates *updates, uint32_t index)
{
	struct entry *entries = updates->store->entries;
	const struct entry *entry = &entries[index];
	struct queue *queue = &updates->queues[entry->stage];

	if (entry->previous == NONE)
		queue->first = entry->next;
	else
		entries[entry->previous].next = entry->next;
	if (entry->next == NONE)
		queue->last = entry->previous;
	else
		entries[entry->next].previous = entry->previous;
}

static void drop(struct updates *updates, uint32_t index)
{
	struct store *store = updates->store;
	struct entry *entry = &store->entries[index];
	struct updates_key key = get_key(&entry->update);
	uint32_t *link = get_bucket(store, &key);

	while (*link != index)
		link = &store->entries[*link].chain;
	*link = entry->chain;
	detach(updates, index);
	entry->next = store->free;
	store->free = index;
	updates->count--;
	if (updates->count == 0)
		reset(updates);
}

/* The one that has been sent most often. */
static uint32_t get_oldest(const struct updates *updates)
{
	uint32_t third = updates->queues[STAGE_THIRD].first;

	return third != NONE ? third : updates->queues[STAGE_SECOND].first;
}

static uint32_t take_free(struct store *store)
{
	uint32_t index = store->free;

	if (index == NONE)
		return store->touched++;
	store->free = store->entries[index].next;
	return index;
}

/* NONE: there is none. */
static uint32_t find(const struct updates *updates, const struct updates_key *key)
{
	uint32_t index;

	if (!updates->store)
		return NONE;
	index = *get_bucket(updates->store, key);
	while (index != NONE && !is_about(&updates->store->entries[index].update, key))
		index = updates->store->entries[index].chain;
	return index;
}

static void stop_one(struct updates *updates, const struct updates_key *key)
{
	uint32_t index = find(updates, key);

	if (index != NONE)
		drop(updates, index);
}

void updates_stop(struct updates *updates, const struct updates_key *key)
{
	uint32_t index = find(updates, key);
	struct updates_key member = *key;
	uint32_t port = key->internal_port;
	uint32_t end = port + 1;

	if (index == NONE)
		return;
	if (updates->store->entries[index].update.set_count > 0) {
		port = updates->store->entries[index].update.set_first;
		end = port + updates->store->entries[index].update.set_count;
	}
	stop_one(updates, key);
	for (; port < end && port <= UINT16_MAX; port++) {
		member.internal_port = (uint16_t)port;
		stop_one(updates, &member);
	}
}

bool updates_add(struct updates *updates, const struct mapping_update *update,
		 int64_t now_ms)
{
	struct updates_key key = get_key(update);
	bool all_kept = true;
	uint32_t *bucket;
	uint32_t index;

	stop_one(updates, &key);
	if (updates->count == UPDATES_MAX) {
		drop(updates, get_oldest(updates));
		all_kept = false;
	}
	if (!open_store(updates))
		return false;
	index = take_free(updates->store);
	updates->store->entries[index].update = *update;
	bucket = get_bucket(updates->store, &key);
	updates->store->entries[index].chain = *bucket;
	*bucket = index;
	append(updates, index, STAGE_SECOND, now_ms + UPDATES_FIRST_GAP_MS);
	updates->count++;
	return all_kept;
}

const struct mapping_update *updates_take_due(struct updates *updates, int64_t now_ms)
{
	for (int stage = STAGES - 1; stage >= 0; stage--) {
		uint32_t index = updates->queues[stage].first;

		if (index == NONE || updates->store->entries[index].due_ms > now_ms)
			continue;
		updates->taken = updates->store->entries[index].update;
		if (stage == STAGE_THIRD) {
			drop(updates, index);
		} else {
			detach(updates, index);
			append(updates, index, STAGE_THIRD,
			       now_ms + UPDATES_SECOND_GAP_MS);
		}
		return &updates->taken;
	}
	return NULL;
}

int64_t updates_get_next_ms(const struct updates *updates)
{
	int64_t next_ms = TIME_NEVER;

	for (int stage = 0; stage < STAGES; stage++) {
		uint32_t index = updates->queues[stage].first;

		if (index != NONE && updates->store->entries[index].due_ms < next_ms)
			next_ms = updates->store->entries[index].due_ms;
	}
	return next_ms;
}
