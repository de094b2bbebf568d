/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *lease_get_description(const struct lease *lease)
{
	return lease->description ? lease->description : "";
}

void lease_copy_description(const struct lease *lease, char out[DESCRIPTION_MAX + 1])
{
	const char *text = lease_get_description(lease);
	size_t length = strnlen(text, DESCRIPTION_MAX);

	memcpy(out, text, length);
	memset(out + length, 0, DESCRIPTION_MAX + 1 - length);
}

static size_t lease_get_filters_size(const struct lease *lease)
{
	return lease->filter_count * sizeof(lease->filters[0]);
}

/* With its NUL; 0 = none. */
static size_t lease_get_text_size(const struct lease *lease)
{
	size_t length = strlen(lease_get_description(lease));

	return length > 0 ? length + 1 : 0;
}

size_t lease_get_extra_size(const struct lease *lease)
{
	return lease_get_filters_size(lease) + lease_get_text_size(lease);
}

void lease_keep_extra(struct lease *lease, void *room)
{
	size_t filters = lease_get_filters_size(lease);
	size_t text = lease_get_text_size(lease);
	char *bytes = room;

	if (bytes && filters > 0)
		memcpy(bytes, lease->filters, filters);
	if (bytes && text > 0)
		memcpy(bytes + filters, lease->description, text);
	lease->filters = filters > 0 ? room : NULL;
	lease->description = text > 0 ? bytes + filters : NULL;
}

bool lease_own_extra(struct lease *lease)
{
	size_t size = lease_get_extra_size(lease);
	void *room = size > 0 ? malloc(size) : NULL;

	if (size > 0 && !room)
		return false;
	lease_keep_extra(lease, room);
	return true;
}

void lease_free_extra(const struct lease *lease)
{
	/* filters go first, see lease_keep_extra() */
	if (lease->filter_count > 0)
		free((void *)lease->filters);
	else
		free((void *)lease->description);
}

uint32_t lease_get_left_s(const struct lease *lease, int64_t now_ms)
{
	int64_t left_s;

	if (lease->expires_ms == TIME_NEVER)
		return UINT32_MAX;
	if (lease->expires_ms <= now_ms)
		return 0;
	left_s = (lease->expires_ms - now_ms + 999) / 1000;
	return left_s < UINT32_MAX ? (uint32_t)left_s : UINT32_MAX;
}

bool lease_has_peer(const struct lease *lease)
{
	return !addr_is_none(&lease->remote) || lease->remote_port != 0;
}

bool lease_is_filtered(const struct lease *lease)
{
	return lease_has_peer(lease) || lease->filter_count > 0;
}

bool lease_is_peer(const struct lease *lease)
{
	return lease->remote_port != 0 && lease->pinhole == 0;
}

bool lease_is_listed(const struct lease *lease)
{
	return addr_is_ipv4(&lease->internal) && !lease_is_peer(lease);
}

struct ip_addr lease_get_remote(const struct lease *lease)
{
	if (lease->filter_count == 1 && lease->filters[0].prefix.length == 128)
		return lease->filters[0].prefix.addr;
	return lease->remote;
}

size_t lease_count_wide_filters(const struct lease *lease)
{
	/* of one host, with a port or without, the kernel keeps no interval */
	size_t count = lease->remote_port != 0 && addr_is_none(&lease->remote);

	for (uint8_t i = 0; i < lease->filter_count; i++)
		count += lease->filters[i].prefix.length < 128 ||
			 lease->filters[i].port != 0;
	return count;
}

/* Whom it is open to; that of a single peer is put together in *peer. */
static uint8_t lease_get_filters(const struct lease *lease, struct remote_filter *peer,
				 const struct remote_filter **filters)
{
	*filters = lease->filters;
	if (!lease_has_peer(lease))
		return lease->filter_count;
	*filters = peer;
	*peer = (struct remote_filter){.prefix = {.addr = lease->remote},
				       .port = lease->remote_port};
	peer->prefix.length = addr_is_none(&lease->remote) ? 0 : 128;
	return 1;
}

static bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	return a->length <= b->length ? prefix_contains(a, &b->addr)
				      : prefix_contains(b, &a->addr);
}

bool filter_equal(const struct remote_filter *a, const struct remote_filter *b)
{
	return a->port == b->port && a->prefix.length == b->prefix.length &&
	       addr_equal(&a->prefix.addr, &b->prefix.addr);
}

bool lease_has_same_filters(const struct lease *a, const struct lease *b)
{
	uint8_t i = 0;

	while (i < a->filter_count && i < b->filter_count &&
	       filter_equal(&a->filters[i], &b->filters[i]))
		i++;
	return i == a->filter_count && i == b->filter_count;
}

bool lease_has_same_extra(const struct lease *a, const struct lease *b)
{
	return lease_has_same_filters(a, b) &&
	       strcmp(lease_get_description(a), lease_get_description(b)) == 0;
}

static bool filter_overlaps(const struct remote_filter *a,
			    const struct remote_filter *b)
{
	return (a->port == 0 || b->port == 0 || a->port == b->port) &&
	       prefix_overlaps(&a->prefix, &b->prefix);
}

static bool lease_is_flow(const struct lease *lease)
{
	return lease->remote_port != 0 && !addr_is_none(&lease->remote);
}

bool lease_overlaps(const struct lease *a, const struct lease *b)
{
	const struct remote_filter *of_a, *of_b;
	struct remote_filter peer_a, peer_b;
	uint8_t count_a = lease_get_filters(a, &peer_a, &of_a);
	uint8_t count_b = lease_get_filters(b, &peer_b, &of_b);

	if (!a->enabled || !b->enabled || lease_is_flow(a) != lease_is_flow(b))
		return false;
	for (uint8_t i = 0; i < count_a; i++)
		for (uint8_t n = 0; n < count_b; n++)
			if (filter_overlaps(&of_a[i], &of_b[n]))
				return true;
	return false;
}

const char *lease_format_mac(const struct lease *lease, char text[LEASE_MAC_TEXT_SIZE])
{
	const uint8_t *mac = lease->mac;

	text[0] = '\0';
	if (lease->has_mac)
		(void)snprintf(text, LEASE_MAC_TEXT_SIZE,
			       "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
			       mac[3], mac[4], mac[5]);
	return text;
}
