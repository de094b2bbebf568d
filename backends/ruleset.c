/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

#define START_ITEMS 64

struct ruleset *ruleset_new(void)
{
	return calloc(1, sizeof(struct ruleset));
}

void ruleset_free(struct ruleset *ruleset)
{
	if (!ruleset)
		return;
	free(ruleset->bytes.items);
	free(ruleset->tables.items);
	free(ruleset->chains.items);
	free(ruleset->sets.items);
	free(ruleset->rules.items);
	free(ruleset->exprs.items);
	free(ruleset->elements.items);
	if (ruleset->links)
		if_freenameindex(ruleset->links);
	free(ruleset);
}

uint32_t ruleset_get_generation(const struct ruleset *ruleset)
{
	return ruleset->generation;
}

bool ruleset_is_partial(const struct ruleset *ruleset)
{
	return ruleset->partial;
}

static int make_room(struct ruleset_list *list, size_t more, size_t width, size_t max)
{
	size_t size = list->size > 0 ? list->size : START_ITEMS;
	void *items;

	if (list->count + more > max)
		return -E2BIG;
	if (list->count + more <= list->size)
		return 0;
	while (size < list->count + more)
		size *= 2;
	items = reallocarray(list->items, size, width);
	if (!items)
		return -ENOMEM;
	list->items = items;
	list->size = size;
	return 0;
}

int ruleset_append(struct ruleset_list *list, const void *item, size_t width,
		   size_t max)
{
	int error = make_room(list, 1, width, max);

	if (error < 0)
		return error;
	memcpy((uint8_t *)list->items + list->count * width, item, width);
	list->count++;
	return 0;
}

int ruleset_add_bytes(struct ruleset *ruleset, const void *bytes, size_t length,
		      uint32_t *at)
{
	struct ruleset_list *list = &ruleset->bytes;
	int error = make_room(list, length, 1, RULESET_BYTES_MAX);

	if (error < 0)
		return error;
	if (length > 0)
		memcpy((uint8_t *)list->items + list->count, bytes, length);
	*at = (uint32_t)list->count;
	list->count += length;
	return 0;
}

int ruleset_add_expr(struct ruleset *ruleset, const struct ruleset_expr *expr)
{
	/* As many as rules could have in reason; each rule has a few. */
	return ruleset_append(&ruleset->exprs, expr, sizeof(*expr),
			      (size_t)RULESET_RULES_MAX * 16);
}

const uint8_t *ruleset_get_bytes(const struct ruleset *ruleset, uint32_t at)
{
	return (const uint8_t *)ruleset->bytes.items + at;
}

const char *ruleset_get_name(const struct ruleset *ruleset, uint32_t at)
{
	return (const char *)ruleset->bytes.items + at;
}

struct ruleset_table *ruleset_get_table(const struct ruleset *ruleset, uint32_t index)
{
	struct ruleset_table *tables = ruleset->tables.items;

	return &tables[index];
}

struct ruleset_chain *ruleset_get_chain(const struct ruleset *ruleset, uint32_t index)
{
	struct ruleset_chain *chains = ruleset->chains.items;

	return &chains[index];
}

struct ruleset_set *ruleset_get_set(const struct ruleset *ruleset, uint32_t index)
{
	struct ruleset_set *sets = ruleset->sets.items;

	return &sets[index];
}

struct ruleset_rule *ruleset_get_rule(const struct ruleset *ruleset, uint32_t index)
{
	struct ruleset_rule *rules = ruleset->rules.items;

	return &rules[index];
}

struct ruleset_expr *ruleset_get_expr(const struct ruleset *ruleset, uint32_t index)
{
	struct ruleset_expr *exprs = ruleset->exprs.items;

	return &exprs[index];
}

struct ruleset_element *ruleset_get_element(const struct ruleset *ruleset,
					    uint32_t index)
{
	struct ruleset_element *elements = ruleset->elements.items;

	return &elements[index];
}

const char *ruleset_get_family(uint8_t family)
{
	if (family == NFPROTO_INET)
		return "inet";
	if (family == NFPROTO_NETDEV)
		return "netdev";
	return family == NFPROTO_IPV4 ? "ip" : "ip6";
}
