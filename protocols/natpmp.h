/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_NATPMP_H
#define PROTOCOLS_NATPMP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/request.h"

/** UDP ports (RFC 6886 §3.1, §3.2.1): the gateway's, and the one clients listen on. */
#define NATPMP_PORT 5351
#define NATPMP_ANNOUNCE_PORT 5350

/** Top bit of the opcode: a response (NP-13, NP-24). */
#define NATPMP_RESPONSE_BIT 0x80

/** Sizes on the wire, octets. Clients compare them exactly (NP-14, NP-23). */
#define NATPMP_REQUEST_MIN 2
#define NATPMP_MAP_REQUEST_SIZE 12
#define NATPMP_REFUSAL_MIN 8
#define NATPMP_ADDRESS_REPLY_SIZE 12
#define NATPMP_MAP_REPLY_SIZE 16

enum natpmp_op {
	NATPMP_OP_ADDRESS = 0,
	NATPMP_OP_MAP_UDP = 1,
	NATPMP_OP_MAP_TCP = 2,
};

/** Result codes, the whole set: clients take any other for fatal (RFC 6886 §3.5). */
enum natpmp_code {
	NATPMP_CODE_OK = 0,
	NATPMP_CODE_VERSION = 1,
	NATPMP_CODE_REFUSED = 2,
	NATPMP_CODE_NETWORK = 3,
	NATPMP_CODE_RESOURCES = 4,
	NATPMP_CODE_OPCODE = 5,
};

/** What a datagram that reached the gateway's port is. */
enum natpmp_kind {
	NATPMP_SILENCE, /* too short, or a response: no answer (NP-12, NP-13, NP-17) */
	NATPMP_BAD_VERSION, /* natpmp_encode_bad_version(), unless PCP takes it (NP-15)
			     */
	NATPMP_BAD_OPCODE,  /* natpmp_encode_bad_opcode() (NP-16) */
	NATPMP_ADDRESS,
	NATPMP_MAP,
};

/** A request; the ports and the lifetime are zero for NATPMP_OP_ADDRESS. */
struct natpmp_request {
	uint8_t op; /* enum natpmp_op */
	uint16_t internal_port;
	uint16_t external_port; /* suggested; 0 = any */
	uint32_t lifetime_s;	/* 0 = delete */
};

/** A reply or an announcement; fields that the operation does not have are zero. */
struct natpmp_reply {
	uint8_t op;    /* of the request, without NATPMP_RESPONSE_BIT */
	uint16_t code; /* enum natpmp_code */
	uint32_t epoch_s;
	struct in_addr address; /* NATPMP_OP_ADDRESS */
	uint16_t internal_port; /* the map operations, as the rest */
	uint16_t external_port;
	uint32_t lifetime_s;
};

/**
 * Sort a datagram, and read it where it is a request.
 * Errors: *out is set for NATPMP_ADDRESS and NATPMP_MAP only.
 * Source: RFC 6886 §3.2, §3.3, §3.5. Octets after the request are ignored (NP-17,
 * NP-18).
 */
enum natpmp_kind natpmp_decode_request(const void *bytes, size_t length,
				       struct natpmp_request *out);

/** Write a request; returns its length, 0 where it does not fit. */
size_t natpmp_encode_request(const struct natpmp_request *request, void *out,
			     size_t size);

/**
 * Read a reply of a gateway: of an address or map request by its full size, a refusal
 * (code 1 or 5) by its first eight octets.
 * Errors: false, out untouched.
 */
bool natpmp_decode_reply(const void *bytes, size_t length, struct natpmp_reply *out)
	__attribute__((warn_unused_result));

/** Write the reply to an address or map request; returns its length, 0 on no room. */
size_t natpmp_encode_reply(const struct natpmp_reply *reply, void *out, size_t size);

/**
 * Write the eight octets that send a client of another version back to version 0.
 * Source: RFC 6886 §3.5 with erratum 3618 (NP-14); returns 8, 0 on no room.
 */
size_t natpmp_encode_bad_version(uint32_t epoch_s, void *out, size_t size);

/**
 * Write the request itself, turned into "unsupported opcode" (NP-16); a request of less
 * than eight octets grows to eight. Returns the length, 0 on no room.
 */
size_t natpmp_encode_bad_opcode(const void *request, size_t length, uint32_t epoch_s,
				void *out, size_t size);

/**
 * What core is asked, for a map request; the caller fills in cookie, lan, ifindex,
 * client and internal.
 * Errors: RESULT_BAD_PORT, *out untouched: the ports mean nothing (NP-39).
 */
enum result natpmp_to_request(const struct natpmp_request *asked, struct request *out)
	__attribute__((warn_unused_result));

/** The reply to `asked` that says what core answered (NP-21, NP-43..48). */
struct natpmp_reply natpmp_from_reply(const struct natpmp_request *asked,
				      const struct reply *reply);

/** The reply to `asked` when nothing was done, for the reason `result`. */
struct natpmp_reply natpmp_refuse(const struct natpmp_request *asked,
				  enum result result, uint32_t epoch_s);

/** Answer to an address request, and every announcement (NP-22, NP-25, NP-60). */
struct natpmp_reply natpmp_tell_address(const struct ip_addr *external,
					uint32_t epoch_s);

#endif
