/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/lease_ports.h"

#include "daemon/ports.h"

static struct ports_narrow get_narrow(const struct lease *lease)
{
	return (struct ports_narrow){.wan = lease->wan,
				     .port = lease->external_port,
				     .internal_port = lease->internal_port,
				     .protocol = lease->protocol,
				     .flow = lease_is_peer(lease)};
}

int lease_hold_port(struct ports *ports, const struct lease *lease)
{
	const struct ports_narrow narrow = get_narrow(lease);
	int error;

	if (!addr_is_ipv4(&lease->internal))
		return 0;
	error = ports_hold(ports, lease->wan, lease->external_port, &lease->internal);
	if (error != 0 || addr_is_none(&lease->remote))
		return error;
	error = ports_add_narrow(ports, &narrow);
	if (error != 0)
		ports_unhold(ports, lease->wan, lease->external_port);
	return error;
}

void lease_release_port(struct ports *ports, const struct lease *lease, int64_t now_ms)
{
	const struct ports_narrow narrow = get_narrow(lease);

	if (!addr_is_ipv4(&lease->internal))
		return;
	if (!addr_is_none(&lease->remote))
		ports_remove_narrow(ports, &narrow);
	ports_release(ports, lease->wan, lease->external_port, now_ms);
}

void lease_unhold_port(struct ports *ports, const struct lease *lease)
{
	const struct ports_narrow narrow = get_narrow(lease);

	if (!addr_is_ipv4(&lease->internal))
		return;
	if (!addr_is_none(&lease->remote))
		ports_remove_narrow(ports, &narrow);
	ports_unhold(ports, lease->wan, lease->external_port);
}
