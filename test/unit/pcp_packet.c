/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/pcp_packet.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct ip_addr to_addr(const char *bytes)
{
	struct ip_addr addr;

	memcpy(addr.bytes, bytes, sizeof(addr.bytes));
	return addr;
}

struct pcp_terms terms_all(void)
{
	struct pcp_terms terms = {.opcodes = PCP_SERVES_MAP | PCP_SERVES_PEER,
				  .third_party = true,
				  .ports_max = 16,
				  .nat64 = {.length = 96}};

	memcpy(terms.nat64.addr.bytes, "\x00\x64\xff\x9b", 4);
	return terms;
}

void packet_put(struct packet *packet, const char *bytes, size_t length)
{
	assert_true(packet->length + length <= ROOM);
	memcpy(packet->bytes + packet->length, bytes, length);
	packet->length += length;
}

void put_u16(struct packet *packet, uint16_t value)
{
	packet_put(packet, (const char[]){(char)(value >> 8), (char)value}, 2);
}

struct packet make_head(uint8_t opcode, const char *client, uint8_t lifetime_s)
{
	struct packet packet = {0};

	packet_put(&packet,
		   (const char[]){2, (char)opcode, 0, 0, 0, 0, 0, (char)lifetime_s}, 8);
	packet_put(&packet, client, 16);
	return packet;
}

struct packet make_map(const char *client, uint8_t lifetime_s, uint8_t protocol)
{
	struct packet packet = make_head(PCP_OP_MAP, client, lifetime_s);

	packet_put(&packet, "twelve-bytes", 12);
	packet_put(&packet, (const char[]){(char)protocol, 0, 0, 0}, 4);
	put_u16(&packet, 3074);
	put_u16(&packet, 80);
	packet_put(&packet, client[11] ? NONE4 : NONE6, 16);
	return packet;
}

struct packet make_peer(const char *client, const char *remote, uint16_t remote_port)
{
	struct packet packet = make_map(client, 60, IPPROTO_UDP);

	packet.bytes[1] = PCP_OP_PEER;
	put_u16(&packet, remote_port);
	put_u16(&packet, 0);
	packet_put(&packet, remote, 16);
	return packet;
}

void add_option(struct packet *packet, uint8_t code, const char *data, size_t length)
{
	packet_put(packet, (const char[]){(char)code, 0}, 2);
	put_u16(packet, (uint16_t)length);
	packet_put(packet, data, length);
	packet_put(packet, "\0\0\0", (4 - length % 4) % 4);
}

void add_filter(struct packet *packet, uint8_t prefix_length, uint16_t port,
		const char *addr)
{
	struct packet data = {0};

	packet_put(&data, (const char[]){0, (char)prefix_length}, 2);
	put_u16(&data, port);
	packet_put(&data, addr, 16);
	add_option(packet, PCP_OPTION_FILTER, (const char *)data.bytes, data.length);
}

struct pcp_packet packet_view(const struct packet *packet)
{
	return (struct pcp_packet){packet->bytes, packet->length};
}

int decode_by(const struct packet *packet, const struct pcp_terms *terms,
	      struct pcp_request *out)
{
	struct pcp_packet in = packet_view(packet);
	struct ip_addr source = {{0}};
	enum pcp_code code;
	enum pcp_kind kind;

	if (packet->length >= PCP_HEADER_SIZE)
		memcpy(source.bytes, packet->bytes + 8, sizeof(source.bytes));
	kind = pcp_decode_request(&in, &source, terms, out, &code);
	assert_int_equal(kind == PCP_REFUSED, code != PCP_CODE_SUCCESS);
	return kind == PCP_SILENCE ? -1 : (int)code;
}

int packet_decode(const struct packet *packet, struct pcp_request *out)
{
	struct pcp_terms terms = terms_all();

	return decode_by(packet, &terms, out);
}
