/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

/* Most machines have no more. */
#define LINKS_FIRST 16

void links_fini(struct links *links)
{
	free(links->list);
	memset(links, 0, sizeof(*links));
}

void links_clear(struct links *links)
{
	links->count = 0;
	links->default_ifindex = 0;
	links->has_default = false;
}

static int links_reserve(struct links *links)
{
	struct link *list = array_reserve(links->list, links->count, &links->size,
					  sizeof(*list), LINKS_FIRST);

	if (!list)
		return -ENOMEM;
	links->list = list;
	return 0;
}

int links_add(struct links *links, const struct link *link)
{
	int error = links->count < LINKS_MAX ? links_reserve(links) : -ENOSPC;

	if (error == 0)
		links->list[links->count++] = *link;
	return error;
}

int links_copy(struct links *to, const struct links *from)
{
	struct link *list = to->list;
	size_t size = to->size;

	if (size < from->count) {
		size = from->size;
		list = reallocarray(list, size, sizeof(*list));
		if (!list)
			return -ENOMEM;
	}
	if (from->count > 0)
		memcpy(list, from->list, from->count * sizeof(*list));
	*to = *from;
	to->list = list;
	to->size = size;
	return 0;
}

size_t links_find_place(const struct links *links, uint32_t ifindex, size_t hint)
{
	if (hint < links->count && links->list[hint].ifindex == ifindex)
		return hint;
	for (size_t i = 0; i < links->count; i++)
		if (links->list[i].ifindex == ifindex)
			return i;
	return links->count;
}

const struct link *links_find_index(const struct links *links, uint32_t ifindex)
{
	size_t i = links_find_place(links, ifindex, 0);

	return ifindex != 0 && i < links->count ? &links->list[i] : NULL;
}

const struct link *links_find_name(const struct links *links, const char *name)
{
	for (size_t i = 0; i < links->count; i++)
		if (strcmp(links->list[i].name, name) == 0)
			return &links->list[i];
	return NULL;
}

void link_add_address(struct link *link, const struct prefix *address,
		      enum address_rank rank)
{
	size_t place = 0;

	while (place < link->address_count && link->ranks[place] <= rank)
		place++;
	if (place == LINK_ADDRESSES_MAX)
		return;
	if (link->address_count < LINK_ADDRESSES_MAX)
		link->address_count++;
	else if (link->unusable_count > 0)
		link->unusable_count--;
	if (rank == RANK_UNUSABLE)
		link->unusable_count++;
	for (size_t i = link->address_count - 1; i > place; i--) {
		link->addresses[i] = link->addresses[i - 1];
		link->ranks[i] = link->ranks[i - 1];
	}
	link->addresses[place] = *address;
	link->ranks[place] = rank;
}
