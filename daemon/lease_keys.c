/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/lease_keys.h"

#include <string.h>

struct internal_key lease_get_internal_key(const struct lease *lease)
{
	return (struct internal_key){.addr = lease->internal,
				     .port = lease->internal_port,
				     .protocol = lease->protocol};
}

struct external_key lease_get_external_key(const struct lease *lease)
{
	struct external_key key = {.remote = lease->remote,
				   .wan = lease->wan,
				   .port = lease->external_port,
				   .remote_port = lease->remote_port,
				   .protocol = lease->protocol};

	if (!addr_is_ipv4(&lease->internal))
		key.external = lease->internal;
	return key;
}

struct peer_key lease_get_peer_key(const struct lease *lease)
{
	return (struct peer_key){.internal = lease->internal,
				 .remote = lease->remote,
				 .wan = lease->wan,
				 .internal_port = lease->internal_port,
				 .remote_port = lease->remote_port,
				 .protocol = lease->protocol};
}

bool lease_has_same_keys(const struct lease *a, const struct lease *b)
{
	const struct external_key external_a = lease_get_external_key(a);
	const struct external_key external_b = lease_get_external_key(b);

	return memcmp(&external_a, &external_b, sizeof(external_a)) == 0 &&
	       addr_equal(&a->internal, &b->internal) &&
	       a->internal_port == b->internal_port && a->pinhole == b->pinhole &&
	       addr_equal(&a->client, &b->client);
}
