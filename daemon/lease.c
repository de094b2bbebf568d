/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/lease.h"

bool lease_is_filtered(const struct lease *lease)
{
	return !addr_is_none(&lease->remote) || lease->filter_count > 0;
}

bool lease_is_peer(const struct lease *lease)
{
	return lease->remote_port != 0;
}
