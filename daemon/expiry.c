/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/expiry.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/clock.h"

#define EXPIRY_SIZE_MIN 64

/* A binary heap from place 1 on: the children of i are 2i and 2i + 1. */
struct expiry {
	struct expiry_node **nodes;
	size_t count; /* in the heap */
	size_t known; /* inserted, those that never end too: room is kept for all */
	size_t size;
};

struct expiry *expiry_new(void)
{
	return calloc(1, sizeof(struct expiry));
}

void expiry_free(struct expiry *expiry)
{
	if (!expiry)
		return;
	free(expiry->nodes);
	free(expiry);
}

static void expiry_put(struct expiry *expiry, size_t place, struct expiry_node *node)
{
	expiry->nodes[place] = node;
	node->place = place;
}

static void expiry_rise(struct expiry *expiry, struct expiry_node *node)
{
	size_t place = node->place;

	while (place > 1 && expiry->nodes[place / 2]->at_ms > node->at_ms) {
		expiry_put(expiry, place, expiry->nodes[place / 2]);
		place /= 2;
	}
	expiry_put(expiry, place, node);
}

static void expiry_sink(struct expiry *expiry, struct expiry_node *node)
{
	size_t place = node->place;
	size_t child;

	for (; (child = 2 * place) <= expiry->count; place = child) {
		if (child < expiry->count &&
		    expiry->nodes[child + 1]->at_ms < expiry->nodes[child]->at_ms)
			child++;
		if (expiry->nodes[child]->at_ms >= node->at_ms)
			break;
		expiry_put(expiry, place, expiry->nodes[child]);
	}
	expiry_put(expiry, place, node);
}

static void expiry_enter(struct expiry *expiry, struct expiry_node *node)
{
	if (node->at_ms == TIME_NEVER)
		return;
	node->place = ++expiry->count;
	expiry_rise(expiry, node);
}

static void expiry_leave(struct expiry *expiry, struct expiry_node *node)
{
	struct expiry_node *last;

	if (node->place == 0)
		return;
	last = expiry->nodes[expiry->count--];
	if (last != node) {
		last->place = node->place;
		expiry_rise(expiry, last);
		expiry_sink(expiry, last);
	}
	node->place = 0;
}

bool expiry_insert(struct expiry *expiry, struct expiry_node *node, int64_t at_ms)
{
	/* The first place is nobody's. */
	struct expiry_node **nodes =
		array_reserve(expiry->nodes, expiry->known + 1, &expiry->size,
			      sizeof(struct expiry_node *), EXPIRY_SIZE_MIN);

	if (!nodes)
		return false;
	expiry->nodes = nodes;
	expiry->known++;
	*node = (struct expiry_node){.at_ms = at_ms};
	expiry_enter(expiry, node);
	return true;
}

void expiry_remove(struct expiry *expiry, struct expiry_node *node)
{
	expiry_leave(expiry, node);
	expiry->known--;
}

void expiry_move(struct expiry *expiry, struct expiry_node *node, int64_t at_ms)
{
	expiry_leave(expiry, node);
	node->at_ms = at_ms;
	expiry_enter(expiry, node);
}

struct expiry_node *expiry_get_first(const struct expiry *expiry)
{
	return expiry->count > 0 ? expiry->nodes[1] : NULL;
}
