/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCP: any octets as a request to the gateway, and as a response of one. The first
 * octet says what is served, where the request comes from and what core answers.
 */
#include <string.h>

#include "protocols/pcp.h"
#include "test/fuzz/expect.h"

#define EPOCH_S 0x01020304
/* Bits of the first octet. */
#define SERVE_MAP 0x01
#define SERVE_PEER 0x02
#define SERVE_THIRD_PARTY 0x04
#define SERVE_PORT_SET 0x08
#define SERVE_PREFIX64 0x10
#define SPOOFED 0x20
#define LONG_TEXT 0x40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pcp_terms get_terms(uint8_t choice)
{
	struct pcp_terms terms = {.ports_max = 1};

	if (choice & SERVE_MAP)
		terms.opcodes |= PCP_SERVES_MAP;
	if (choice & SERVE_PEER)
		terms.opcodes |= PCP_SERVES_PEER;
	terms.third_party = (choice & SERVE_THIRD_PARTY) != 0;
	if (choice & SERVE_PORT_SET)
		terms.ports_max = REQUEST_PORTS_MAX;
	if (choice & SERVE_PREFIX64) {
		terms.nat64.length = 96;
		memcpy(terms.nat64.addr.bytes, "\x00\x64\xff\x9b", 4);
	}
	return terms;
}

static struct ip_addr get_source(const struct pcp_packet *packet, uint8_t choice)
{
	struct reader reader = reader_init(packet->bytes, packet->length);
	struct ip_addr source;

	reader_skip(&reader, 8);
	source = reader_addr(&reader);
	if (choice & SPOOFED)
		source.bytes[15] ^= 1;
	return source;
}

/* Only the header may differ, and of it the reserved octets only by zeros. */
static void check_refusal(const struct pcp_packet *packet, enum pcp_code code,
			  const uint8_t *out, size_t length)
{
	const uint8_t *in = packet->bytes;
	size_t kept = packet->length < length ? packet->length : length;
	struct pcp_response response;

	expect_true(length >= PCP_HEADER_SIZE && length <= PCP_SIZE_MAX &&
		    length % 4 == 0);
	expect_true(packet->length > PCP_SIZE_MAX || length < packet->length + 4 ||
		    length == PCP_HEADER_SIZE);
	expect_true(out[1] == (in[1] | PCP_RESPONSE_BIT) && out[3] == code);
	for (size_t i = 12; i < length; i++) {
		uint8_t want = i < kept ? in[i] : 0;

		expect_true(out[i] == want || (i < PCP_HEADER_SIZE && out[i] == 0));
	}
	expect_true(pcp_decode_response(out, length, &response));
	expect_true(response.opcode == in[1] && response.code == code);
	expect_true(response.epoch_s == EPOCH_S && response.lifetime_s != 0);
}

static void check_refused(const struct pcp_packet *packet, enum pcp_code code)
{
	uint8_t bytes[PCP_SIZE_MAX];
	struct writer writer = writer_init(bytes, sizeof(bytes));
	size_t length = pcp_encode_refusal(packet, code, 0, EPOCH_S, &writer);

	expect_true(code != PCP_CODE_SUCCESS &&
		    code <= PCP_CODE_EXCESSIVE_REMOTE_PEERS);
	expect_true(length == writer.used);
	check_refusal(packet, code, bytes, length);
}

/* What a request was read as reads the same when it is written again. */
static void check_again(const struct pcp_request *asked, const struct pcp_terms *terms,
			enum pcp_kind kind)
{
	uint8_t bytes[2][PCP_SIZE_MAX];
	struct pcp_packet packet = {bytes[0], 0};
	struct pcp_request again;
	enum pcp_code code;

	packet.length = pcp_encode_request(asked, bytes[0], sizeof(bytes[0]));
	expect_true(packet.length > 0 && packet.length % 4 == 0);
	expect_true(pcp_decode_request(&packet, &asked->client, terms, &again, &code) ==
		    kind);
	expect_true(pcp_encode_request(&again, bytes[1], sizeof(bytes[1])) ==
		    packet.length);
	expect_true(memcmp(bytes[0], bytes[1], packet.length) == 0);
}

/* Core refuses requests that are not of this kind as a worker's lies. */
static void check_request(const struct pcp_request *asked)
{
	struct request request;
	bool ipv4;

	pcp_to_request(asked, &request);
	ipv4 = addr_is_ipv4(&request.internal);
	expect_true(request.protocol == IPPROTO_TCP || request.protocol == IPPROTO_UDP);
	expect_true(request.internal_port != 0 && request.origin == ORIGIN_PCP);
	expect_true(request.port_count <= REQUEST_PORTS_MAX);
	expect_true(request.internal_port +
			    (request.port_count ? request.port_count : 1u) <=
		    UINT16_MAX + 1u);
	expect_true(request.filter_count <= REQUEST_FILTERS_MAX);
	expect_true(request.op == REQUEST_MAP ||
		    (request.filter_count == 0 && !request.filter_clear));
	for (size_t i = 0; i < request.filter_count; i++) {
		const struct prefix *prefix = &request.filters[i].prefix;

		expect_true(prefix->length > (ipv4 ? 95 : 0) && prefix->length <= 128);
		expect_true(addr_is_ipv4(&prefix->addr) == ipv4);
	}
	expect_true(memchr(request.description, '\0', sizeof(request.description)) !=
		    NULL);
	expect_true(text_is_utf8(request.description, strlen(request.description)));
	if (request.op != REQUEST_PEER) {
		expect_true(request.remote_port == 0 && addr_is_none(&request.remote));
		return;
	}
	expect_true(request.remote_port != 0 && addr_is_host(&request.remote));
	expect_true(addr_is_ipv4(&request.remote) == ipv4);
}

/* A client that has asked this gets what belongs to it, and can read it. */
static void check_response(const struct pcp_request *asked, const uint8_t *bytes,
			   size_t length)
{
	struct pcp_response response;

	expect_true(pcp_decode_response(bytes, length, &response));
	expect_true(response.opcode == asked->opcode && response.epoch_s == EPOCH_S);
	if (asked->opcode == PCP_OP_ANNOUNCE)
		return;
	expect_true(memcmp(response.body.nonce, asked->nonce, NONCE_SIZE) == 0);
	expect_true(response.body.protocol == asked->protocol);
	expect_true(response.body.internal_port == asked->internal_port);
	expect_true(response.body.remote_port == asked->remote_port);
	expect_true(response.body.has_third_party == asked->has_third_party);
	expect_true(response.body.prefer_failure == asked->prefer_failure);
	expect_true(response.body.filter_count == asked->filter_count);
	expect_true(response.body.has_prefix64 == asked->has_prefix64);
	if (asked->opcode == PCP_OP_MAP && asked->lifetime_s == 0)
		expect_true(response.lifetime_s == 0 &&
			    response.body.external_port == asked->external_port);
}

static void check_reply(const struct pcp_packet *packet,
			const struct pcp_request *asked, const struct pcp_terms *terms,
			uint8_t choice)
{
	uint8_t bytes[PCP_SIZE_MAX];
	struct reply reply = {.epoch_s = EPOCH_S,
			      .external_port = 4000,
			      .lifetime_s = 7200,
			      .port_count = asked->port_count};

	memcpy(reply.description, asked->description, sizeof(reply.description));
	if (choice & LONG_TEXT)
		memset(reply.description, 'x', DESCRIPTION_MAX);
	for (int result = 0; result < RESULT_COUNT; result++) {
		struct writer writer = writer_init(bytes, sizeof(bytes));
		size_t length;

		reply.result = (uint8_t)result;
		length = pcp_encode_reply(packet, asked, terms, &reply, &writer);
		expect_true(length >= PCP_HEADER_SIZE && length % 4 == 0);
		if (bytes[3] != PCP_CODE_SUCCESS)
			check_refusal(packet, (enum pcp_code)bytes[3], bytes, length);
		else
			check_response(asked, bytes, length);
		/* PCP-28 is known before anything is done */
		expect_true(result != RESULT_OK || bytes[3] == PCP_CODE_SUCCESS ||
			    (choice & LONG_TEXT) != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t choice = size > 0 ? data[0] : 0;
	struct pcp_packet packet = {data + (size > 0), size - (size > 0)};
	struct pcp_terms terms = get_terms(choice);
	struct ip_addr source = get_source(&packet, choice);
	struct pcp_request asked;
	struct pcp_response response;
	enum pcp_code code;
	enum pcp_kind kind =
		pcp_decode_request(&packet, &source, &terms, &asked, &code);

	switch (kind) {
	case PCP_SILENCE:
		break;
	case PCP_REFUSED:
		check_refused(&packet, code);
		break;
	case PCP_ASK:
		check_request(&asked);
		check_again(&asked, &terms, kind);
		check_reply(&packet, &asked, &terms, choice);
		break;
	case PCP_ANSWERED:
		check_again(&asked, &terms, kind);
		check_reply(&packet, &asked, &terms, choice);
		break;
	}
	if (pcp_decode_response(packet.bytes, packet.length, &response)) {
		expect_true(kind == PCP_SILENCE);
		expect_true(response.body.filter_count <= REQUEST_FILTERS_MAX);
	}
	return 0;
}
