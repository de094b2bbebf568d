/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_PCP_PACKET_H
#define TEST_UNIT_PCP_PACKET_H

#include <stddef.h>
#include <stdint.h>

#include "protocols/pcp.h"

/** PCP requests put together octet by octet, not by the encoder under test. */

#define EPOCH_S 0x01020304u
#define ROOM 1600
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define CLIENT4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\xa8\x01\x14" /* 192.168.1.20 */
#define OTHER4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\xa8\x01\x15"
#define NONE4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0\0"
#define NONE6 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define REMOTE4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\x00\x71\x09" /* 203.0.113.9 */
#define LOOPBACK4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\x00\x00\x01"
#define CLIENT6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x14" /* 2001:db8::14 */
#define REMOTE6 "\x20\x01\x0d\xb8\0\1\0\0\0\0\0\0\0\0\0\x09"

struct packet {
	size_t length;
	uint8_t bytes[ROOM];
};

struct ip_addr to_addr(const char *bytes);
/** Everything is served. */
struct pcp_terms terms_all(void);
struct pcp_packet packet_view(const struct packet *packet);

void packet_put(struct packet *packet, const char *bytes, size_t length);
void put_u16(struct packet *packet, uint16_t value);
struct packet make_head(uint8_t opcode, const char *client, uint8_t lifetime_s);
/** Ports 3074 inside, 80 suggested; the nonce is "twelve-bytes". */
struct packet make_map(const char *client, uint8_t lifetime_s, uint8_t protocol);
/** The same as PEER. */
struct packet make_peer(const char *client, const char *remote, uint16_t remote_port);
void add_option(struct packet *packet, uint8_t code, const char *data, size_t length);
void add_filter(struct packet *packet, uint8_t prefix_length, uint16_t port,
		const char *addr);

/** Read it as sent by its client. The code it was refused with, -1 = silence. */
int decode_by(const struct packet *packet, const struct pcp_terms *terms,
	      struct pcp_request *out);
/** With terms_all(). */
int packet_decode(const struct packet *packet, struct pcp_request *out);

#endif
