/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/lease.h"

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
