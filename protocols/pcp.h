/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_PCP_H
#define PROTOCOLS_PCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "protocols/request.h"
#include "protocols/worker.h"

/**
 * The bytes of PCP (RFC 6887) and of its options DESCRIPTION (RFC 7220), PREFIX64
 * (RFC 7225) and PORT_SET (RFC 7753). Pure; knows no sockets and no leases.
 */

#define PCP_VERSION 2
/** Longest datagram, octets, both ways (PCP-1). */
#define PCP_SIZE_MAX 1100
/** Top bit of the opcode octet: a response (PCP-4). */
#define PCP_RESPONSE_BIT 0x80
/** Sizes without options, octets. Clients compare them exactly (PCP-26). */
#define PCP_HEADER_SIZE 24
#define PCP_MAP_SIZE 60
#define PCP_PEER_SIZE 80

enum pcp_opcode {
	PCP_OP_ANNOUNCE = 0,
	PCP_OP_MAP = 1,
	PCP_OP_PEER = 2,
};

enum pcp_option {
	PCP_OPTION_THIRD_PARTY = 1,
	PCP_OPTION_PREFER_FAILURE = 2,
	PCP_OPTION_FILTER = 3,
	PCP_OPTION_DESCRIPTION = 128,
	PCP_OPTION_PREFIX64 = 129,
	PCP_OPTION_PORT_SET = 130,
};

/** Result codes that we send (RFC 6887 §7.4). */
enum pcp_code {
	PCP_CODE_SUCCESS = 0,
	PCP_CODE_UNSUPP_VERSION = 1,
	PCP_CODE_NOT_AUTHORIZED = 2,
	PCP_CODE_MALFORMED_REQUEST = 3,
	PCP_CODE_UNSUPP_OPCODE = 4,
	PCP_CODE_UNSUPP_OPTION = 5,
	PCP_CODE_MALFORMED_OPTION = 6,
	PCP_CODE_NETWORK_FAILURE = 7,
	PCP_CODE_NO_RESOURCES = 8,
	PCP_CODE_UNSUPP_PROTOCOL = 9,
	PCP_CODE_USER_EX_QUOTA = 10,
	PCP_CODE_CANNOT_PROVIDE_EXTERNAL = 11,
	PCP_CODE_ADDRESS_MISMATCH = 12,
	PCP_CODE_EXCESSIVE_REMOTE_PEERS = 13,
};

/** How long a client should wait after an error (PCP-29). */
#define PCP_ERROR_LONG_S 1800
#define PCP_ERROR_SHORT_S 30

/** What is served to the host that asks. */
struct pcp_terms {
	uint8_t opcodes;     /* PCP_SERVES_... */
	bool third_party;    /* some rule may grant it (PCP-73) */
	uint16_t ports_max;  /* of a PORT_SET; 1 = not served */
	struct prefix nat64; /* length 0 = none */
};

/** What a datagram at the server's port is. */
enum pcp_kind {
	PCP_SILENCE,  /* no answer (PCP-3, PCP-4, PCP-6) */
	PCP_REFUSED,  /* pcp_encode_refusal() with the code found */
	PCP_ANSWERED, /* success without asking core: ANNOUNCE, and the delete of what
			 cannot be there (PCP-65, PCP-66): pcp_encode_success() */
	PCP_ASK,      /* a MAP or PEER for core: pcp_to_request() */
};

/** A request, read whole. Options that are ignored leave no trace here. */
struct pcp_request {
	uint8_t opcode; /* enum pcp_opcode */
	uint8_t protocol;
	uint32_t lifetime_s;
	struct ip_addr client;
	uint8_t nonce[NONCE_SIZE];
	uint16_t internal_port;
	uint16_t external_port;	 /* suggested; 0 = any */
	struct ip_addr external; /* suggested; all zero, also for 0.0.0.0 = any (PCP-92)
				  */
	uint16_t remote_port;	 /* PEER */
	struct ip_addr remote;	 /* PEER */
	bool has_third_party;
	struct ip_addr third_party;
	bool prefer_failure;
	bool filter_clear; /* a FILTER of length 0 stood before the others */
	uint8_t filter_count;
	struct remote_filter filters[REQUEST_FILTERS_MAX];
	bool has_description;
	char description[DESCRIPTION_MAX + 1]; /* clean, cut */
	bool has_port_set;
	uint16_t port_count;
	bool port_parity;
	bool has_prefix64;
};

/** A datagram as it came; length may be more than PCP_SIZE_MAX. Owns: borrowed. */
struct pcp_packet {
	const void *bytes;
	size_t length;
};

/**
 * Sort a datagram in the order of RFC 6887 §8.2 and read it. source: address that the
 * packet came from.
 * Errors: kind PCP_REFUSED, *code says why; *out holds what was read until then.
 */
enum pcp_kind pcp_decode_request(const struct pcp_packet *packet,
				 const struct ip_addr *source,
				 const struct pcp_terms *terms, struct pcp_request *out,
				 enum pcp_code *code);

/**
 * What core is asked, for PCP_ASK; the caller fills in cookie, lan, ifindex, client,
 * client_port and server.
 */
void pcp_to_request(const struct pcp_request *asked, struct request *out);

/**
 * The error reply: the request itself with the header of a response, all options
 * returned (PCP-19, PCP-22..24). lifetime_s 0 = as the code has it (PCP-29). Like the
 * next two it is written at the start of `out`, which has nothing in it yet, and is at
 * most PCP_SIZE_MAX long; they return the length. packet: not within `out`.
 * Errors: 0 where it does not fit.
 */
size_t pcp_encode_refusal(const struct pcp_packet *packet, enum pcp_code code,
			  uint32_t lifetime_s, uint32_t epoch_s, struct writer *out);

/**
 * The reply to a packet that was PCP_ASK or PCP_ANSWERED, when core (or the worker)
 * says `reply`: a success with the options that were processed, in the order they
 * came, or the error that the result stands for (PCP-23, PCP-25, PCP-28).
 * asked: what the packet was read as. Errors: 0 where it does not fit.
 */
size_t pcp_encode_reply(const struct pcp_packet *packet,
			const struct pcp_request *asked, const struct pcp_terms *terms,
			const struct reply *reply, struct writer *out);

/** The reply for PCP_ANSWERED: nothing was to be done. Errors: 0, it does not fit. */
size_t pcp_encode_success(const struct pcp_packet *packet,
			  const struct pcp_request *asked,
			  const struct pcp_terms *terms, uint32_t epoch_s,
			  struct writer *out);

/** The unsolicited ANNOUNCE (PCP-37). */
size_t pcp_encode_announce(uint32_t epoch_s, void *out, size_t size);

/** The unsolicited MAP or PEER response (PCP-40, PCP-41). Errors: 0. */
size_t pcp_encode_update(const struct mapping_update *update, uint32_t epoch_s,
			 void *out, size_t size);

/* --- the client's side, for probes and tests --- */

/** A response as a client reads it. */
struct pcp_response {
	uint8_t opcode;
	uint8_t code; /* may be one we never send */
	uint32_t lifetime_s;
	uint32_t epoch_s;
	struct pcp_request body; /* fields as answered; client is not in a response */
};

/** Write a request. Errors: 0 where it does not fit. */
size_t pcp_encode_request(const struct pcp_request *request, void *out, size_t size);
/** Read a response. Errors: false: no response of version 2, or cut off. */
bool pcp_decode_response(const void *bytes, size_t length, struct pcp_response *out)
	__attribute__((warn_unused_result));

#endif
