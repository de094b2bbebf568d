/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_STUN_H
#define PROTOCOLS_STUN_H

#include <stdint.h>

#include "base/addr.h"

/*
 * The one thing of STUN that a gateway behind another NAT wants to know: from which
 * address its packets come. A client's side only, without authentication.
 * Source: RFC 8489; servers of RFC 3489 answer too.
 */

/** A Binding request without attributes. */
#define STUN_REQUEST_SIZE 20
/** No answer over IPv4 is longer: RFC 8489 §6.1. */
#define STUN_ANSWER_MAX 1500

/** Tells the answer to this question from all others: by chance, so nobody guesses it.
 */
struct stun_id {
	uint8_t bytes[12];
};

enum stun_kind {
	STUN_OTHER,   /* no answer to this question: as if it had not come */
	STUN_ADDRESS, /* our address as the server sees it */
	STUN_REFUSED, /* an error response */
	STUN_BAD,     /* an answer to this question that cannot be used */
};

struct stun_answer {
	enum stun_kind kind;
	struct ip_addr address; /* STUN_ADDRESS; of either family */
	uint16_t port;
	uint16_t code; /* STUN_REFUSED: 300 to 699 */
};

/** Source: RFC 8489 §5. */
void stun_encode_request(const struct stun_id *id, uint8_t out[STUN_REQUEST_SIZE]);

/**
 * Read what came from the server. XOR-MAPPED-ADDRESS is believed before MAPPED-ADDRESS,
 * which NATs may have rewritten; a FINGERPRINT that is there must be right. Pure.
 * Source: RFC 8489 §5, §6.3.3, §14.1, §14.2, §14.7, §14.8.
 */
struct stun_answer stun_decode_answer(const uint8_t *bytes, size_t length,
				      const struct stun_id *id);

#endif
