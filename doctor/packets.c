/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/packets.h"

#include <string.h>

/* Of a host anywhere in the internet: in nobody's list of addresses that do not exist.
 */
static const char *const far_hosts[] = {"8.8.8.8", "2600::1"};

struct ip_addr packets_get_own(const struct lan_info *lan, bool ipv6)
{
	for (size_t i = 0; i < lan->address_count; i++) {
		const struct ip_addr *addr = &lan->addresses[i].addr;

		if (addr_is_ipv4(addr) == !ipv6 && !addr_is_link_local(addr) &&
		    addr_is_host(addr))
			return *addr;
	}
	return (struct ip_addr){{0}};
}

/* Another host beside this address: the last bits differ. */
static struct ip_addr get_neighbour(struct ip_addr own)
{
	own.bytes[15] ^= own.bytes[15] == 3 ? 0x1 : 0x2;
	return own;
}

static void packet_set_name(char name[IF_NAMESIZE], const char *from)
{
	memset(name, 0, IF_NAMESIZE);
	memcpy(name, from, strnlen(from, IF_NAMESIZE - 1));
}

struct packet packets_make_request(const struct lan_info *lan, uint8_t protocol,
				   bool ipv6)
{
	struct packet packet = {.ipv6 = ipv6,
				.protocol = protocol,
				.is_new = true,
				.source_port = PACKETS_CLIENT_PORT,
				.destination = packets_get_own(lan, ipv6)};

	packet.source = get_neighbour(packet.destination);
	packet_set_name(packet.in, lan->name);
	return packet;
}

struct packet packets_make_leased(const struct facts *facts, const struct lan_info *lan,
				  uint8_t protocol, bool ipv6)
{
	struct packet packet = {.ipv6 = ipv6,
				.protocol = protocol,
				.is_new = true,
				.translated = !ipv6,
				.destination =
					get_neighbour(packets_get_own(lan, ipv6)),
				.source_port = PACKETS_CLIENT_PORT,
				.destination_port = PACKETS_CLIENT_PORT + 1,
				.mark = facts->conf.backend.mark};

	if (packet.translated) {
		packet.outer_destination = facts->network.wan.address;
		packet.outer_port = packet.destination_port;
	}
	if (!addr_parse(far_hosts[ipv6], &packet.source))
		packet.source = (struct ip_addr){{0}};
	packet_set_name(packet.in, facts->network.wan.name);
	packet_set_name(packet.out, lan->name);
	return packet;
}

struct packet packets_make_hairpin(const struct facts *facts,
				   const struct lan_info *from,
				   const struct lan_info *lan, uint8_t protocol)
{
	struct packet packet = packets_make_leased(facts, lan, protocol, false);

	/* Another host than the one that it goes to. */
	packet.source = packets_get_own(from, false);
	packet.source.bytes[15] ^= packet.source.bytes[15] == 5 ? 0x1 : 0x4;
	packet_set_name(packet.in, from->name);
	return packet;
}

struct packet packets_make_answer(const struct packet *leased)
{
	struct packet answer = *leased;

	answer.is_new = false;
	answer.source = leased->destination;
	answer.destination = leased->source;
	answer.source_port = leased->destination_port;
	answer.destination_port = leased->source_port;
	memcpy(answer.in, leased->out, sizeof(answer.in));
	memcpy(answer.out, leased->in, sizeof(answer.out));
	return answer;
}
