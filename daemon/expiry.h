/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_EXPIRY_H
#define DAEMON_EXPIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * A heap of instants: what ends first is on top. Nodes live inside what they stand for.
 * Instants of TIME_NEVER are not in the heap.
 */
struct expiry;

struct expiry_node {
	int64_t at_ms;
	size_t place; /* in the heap, from 1; 0 = not in it */
};

/** Owns: caller frees. Errors: NULL when out of memory. */
struct expiry *expiry_new(void);
void expiry_free(struct expiry *expiry);
/** Errors: false when out of memory. */
bool expiry_insert(struct expiry *expiry, struct expiry_node *node, int64_t at_ms)
	__attribute__((warn_unused_result));
void expiry_remove(struct expiry *expiry, struct expiry_node *node);
/** Give a node another instant; cannot fail, room is kept for every inserted node. */
void expiry_move(struct expiry *expiry, struct expiry_node *node, int64_t at_ms);
/** The node that ends first; NULL when none does. Borrowed. */
struct expiry_node *expiry_get_first(const struct expiry *expiry);

#endif
