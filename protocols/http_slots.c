/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/http_slots.h"

#include <string.h>

void http_slots_init(struct http_slots *slots, unsigned int max,
		     unsigned int per_client_max)
{
	memset(slots, 0, sizeof(*slots));
	slots->max = max < HTTP_SLOTS_MAX ? max : HTTP_SLOTS_MAX;
	slots->per_client_max = per_client_max;
	TAILQ_INIT(&slots->list);
}

/* The holder of this client, or a free one: there is one more than slots. */
static struct http_holder *find_holder(struct http_slots *slots,
				       const struct ip_addr *client)
{
	struct http_holder *unused = &slots->holders[HTTP_SLOTS_MAX];

	for (size_t i = 0; i <= HTTP_SLOTS_MAX; i++) {
		struct http_holder *holder = &slots->holders[i];

		if (holder->count == 0)
			unused = holder;
		else if (addr_equal(&holder->client, client))
			return holder;
	}
	unused->client = *client;
	return unused;
}

static struct http_slot *find_oldest_of(const struct http_slots *slots,
					const struct http_holder *holder)
{
	struct http_slot *slot;

	TAILQ_FOREACH (slot, &slots->list, link)
		if (slot->holder == holder)
			return slot;
	return NULL;
}

static struct http_slot *find_oldest_of_most(const struct http_slots *slots)
{
	struct http_slot *best = TAILQ_FIRST(&slots->list);
	struct http_slot *slot;

	TAILQ_FOREACH (slot, &slots->list, link)
		if (slot->holder->count > best->holder->count)
			best = slot;
	return best;
}

struct http_slot *http_slots_add(struct http_slots *slots, struct http_slot *slot,
				 const struct ip_addr *client, int64_t now_ms)
{
	struct http_holder *holder = find_holder(slots, client);
	struct http_slot *victim = NULL;

	if (holder->count >= slots->per_client_max)
		victim = find_oldest_of(slots, holder);
	else if (slots->count >= slots->max)
		victim = find_oldest_of_most(slots);
	if (victim)
		http_slots_remove(slots, victim);
	slot->holder = holder;
	slot->started_ms = now_ms;
	holder->count++;
	slots->count++;
	TAILQ_INSERT_TAIL(&slots->list, slot, link);
	return victim;
}

struct http_slot *http_slots_take_most(struct http_slots *slots)
{
	struct http_slot *victim = find_oldest_of_most(slots);

	if (victim)
		http_slots_remove(slots, victim);
	return victim;
}

void http_slots_remove(struct http_slots *slots, struct http_slot *slot)
{
	if (!slot->holder)
		return;
	slot->holder->count--;
	slot->holder = NULL;
	slots->count--;
	TAILQ_REMOVE(&slots->list, slot, link);
}

struct http_slot *http_slots_take_late(struct http_slots *slots, int64_t limit_ms,
				       int64_t now_ms)
{
	struct http_slot *slot = TAILQ_FIRST(&slots->list);

	if (!slot || now_ms - slot->started_ms < limit_ms)
		return NULL;
	http_slots_remove(slots, slot);
	return slot;
}

int64_t http_slots_get_delay_ms(const struct http_slots *slots, int64_t limit_ms,
				int64_t now_ms)
{
	const struct http_slot *slot = TAILQ_FIRST(&slots->list);
	int64_t left_ms;

	if (!slot)
		return -1;
	left_ms = slot->started_ms + limit_ms - now_ms;
	return left_ms > 0 ? left_ms : 0;
}
