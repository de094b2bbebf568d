/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The packet that stands for the traffic of leases. */
#include "backends/foreign.h"

#include <string.h>

static bool find_host(const struct backend_network *network, size_t lan, bool ipv6,
		      struct ip_addr *out)
{
	for (size_t i = 0; i < network->lan_network_counts[lan]; i++) {
		const struct ip_addr *addr = &network->lan_networks[lan][i].addr;

		if (addr_is_ipv4(addr) == ipv6 || addr_is_link_local(addr))
			continue;
		*out = *addr;
		out->bytes[sizeof(out->bytes) - 1] |= 0x0a;
		return true;
	}
	return false;
}

bool foreign_make_packet(const struct foreign_sample *sample,
			 const struct backend_network *network, struct packet *out)
{
	struct packet packet = {
		.ipv6 = sample->ipv6,
		.protocol = sample->protocol,
		.is_new = true,
		.translated = !sample->ipv6,
		.source_port = 40000,
		.destination_port = 50000,
		.outer_port = 50000,
		.mark = sample->mark,
	};

	/* an address of the internet at large */
	if (network->wan[0] == '\0' ||
	    !find_host(network, sample->lan, sample->ipv6, &packet.destination) ||
	    !addr_parse(sample->ipv6 ? "2620:fe::fe" : "9.9.9.9", &packet.source))
		return false;
	for (size_t i = 0; i < network->address_count; i++)
		if (addr_is_ipv4(&network->addresses[i]))
			packet.outer_destination = network->addresses[i];
	memcpy(packet.in, network->wan, sizeof(packet.in));
	memcpy(packet.out, network->lans[sample->lan], sizeof(packet.out));
	*out = packet;
	return true;
}
