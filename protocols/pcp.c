/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/pcp.h"

#include <netinet/in.h>
#include <string.h>

#include "base/buf.h"
#include "protocols/pcp_private.h"

/* Shortest datagram that has a version and an opcode (PCP-3). */
#define PCP_SIZE_MIN 2

size_t pcp_get_size(uint8_t opcode)
{
	switch (opcode) {
	case PCP_OP_MAP:
		return PCP_MAP_SIZE;
	case PCP_OP_PEER:
		return PCP_PEER_SIZE;
	}
	return PCP_HEADER_SIZE;
}

static bool opcode_is_served(uint8_t opcode, const struct pcp_terms *terms)
{
	switch (opcode) {
	case PCP_OP_ANNOUNCE:
		return true;
	case PCP_OP_MAP:
		return (terms->opcodes & PCP_SERVES_MAP) != 0;
	case PCP_OP_PEER:
		return (terms->opcodes & PCP_SERVES_PEER) != 0;
	}
	return false;
}

void pcp_body_read(struct reader *reader, struct pcp_request *out)
{
	reader_copy(reader, out->nonce, sizeof(out->nonce));
	out->protocol = reader_u8(reader);
	reader_skip(reader, 3); /* reserved (PCP-17) */
	out->internal_port = reader_u16(reader);
	out->external_port = reader_u16(reader);
	out->external = reader_addr(reader);
	if (addr_is_none(&out->external)) /* PCP-92 */
		out->external = (struct ip_addr){{0}};
	if (out->opcode != PCP_OP_PEER)
		return;
	out->remote_port = reader_u16(reader);
	reader_skip(reader, 2);
	out->remote = reader_addr(reader);
}

static const struct ip_addr *get_internal(const struct pcp_request *request)
{
	return request->has_third_party ? &request->third_party : &request->client;
}

static bool protocol_is_served(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

static bool protocol_has_ports(uint8_t protocol)
{
	return protocol_is_served(protocol) || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_DCCP || protocol == IPPROTO_UDPLITE;
}

/* RFC 7753 §4.2: of a deletion the set's size says nothing. */
static bool port_set_is_sound(const struct pcp_request *request,
			      const struct pcp_option_facts *facts)
{
	return !request->has_port_set || request->lifetime_s == 0 ||
	       (!request->prefer_failure && request->port_count != 0 &&
		facts->set_first == request->internal_port);
}

/* What the options are beside each other and beside the opcode data. */
static enum pcp_code check_options(const struct pcp_request *request,
				   const struct ip_addr *source,
				   const struct pcp_option_facts *facts)
{
	bool filtered = request->filter_clear || request->filter_count > 0;
	bool ipv4 = addr_is_ipv4(get_internal(request));

	if (request->has_third_party && addr_equal(&request->third_party, source))
		return PCP_CODE_MALFORMED_REQUEST; /* PCP-74 */
	if ((request->prefer_failure || filtered) && request->lifetime_s == 0)
		return PCP_CODE_MALFORMED_OPTION; /* PCP-78 */
	if (request->prefer_failure && request->external_port == 0)
		return PCP_CODE_MALFORMED_OPTION; /* PCP-77 */
	if (ipv4 ? facts->filter_ipv6 : facts->filter_ipv4)
		return PCP_CODE_MALFORMED_OPTION; /* PCP-84 */
	if (facts->filter_port && !protocol_has_ports(request->protocol))
		return PCP_CODE_MALFORMED_OPTION; /* PCP-84 */
	if (!port_set_is_sound(request, facts))
		return PCP_CODE_MALFORMED_OPTION; /* PCP-116 */
	if (facts->filters_over)
		return PCP_CODE_EXCESSIVE_REMOTE_PEERS; /* PCP-80 */
	return PCP_CODE_SUCCESS;
}

static enum pcp_code check_map(const struct pcp_request *request)
{
	if (request->protocol == 0 && request->internal_port != 0)
		return PCP_CODE_MALFORMED_REQUEST; /* PCP-48 */
	if (request->lifetime_s == 0)
		return PCP_CODE_SUCCESS; /* PCP-65, PCP-66 */
	if (!protocol_is_served(request->protocol) || request->internal_port == 0)
		return PCP_CODE_UNSUPP_PROTOCOL; /* PCP-45, PCP-46, PCP-47 */
	return PCP_CODE_SUCCESS;
}

static enum pcp_code check_peer(const struct pcp_request *request)
{
	bool ipv4 = addr_is_ipv4(get_internal(request));

	if (request->protocol == 0 || request->internal_port == 0 ||
	    request->remote_port == 0)
		return PCP_CODE_MALFORMED_REQUEST; /* PCP-87 */
	if (!addr_is_host(&request->remote) || addr_is_ipv4(&request->remote) != ipv4)
		return PCP_CODE_MALFORMED_REQUEST;
	if (!protocol_is_served(request->protocol))
		return PCP_CODE_UNSUPP_PROTOCOL;
	return PCP_CODE_SUCCESS;
}

static enum pcp_code check_opcode_data(const struct pcp_request *request)
{
	switch (request->opcode) {
	case PCP_OP_MAP:
		return check_map(request);
	case PCP_OP_PEER:
		return check_peer(request);
	}
	return PCP_CODE_SUCCESS;
}

/* Everything from PCP-8 on; the header is all there. */
static enum pcp_code read_request(struct reader reader, size_t length,
				  const struct ip_addr *source,
				  const struct pcp_terms *terms,
				  struct pcp_request *out)
{
	struct pcp_option_facts facts = {0};
	bool served = opcode_is_served(out->opcode, terms);
	enum pcp_code code;

	reader_skip(&reader, 2); /* reserved (PCP-17) */
	out->lifetime_s = reader_u32(&reader);
	out->client = reader_addr(&reader);
	/* An opcode that is not served has no length that we know (PCP-10). */
	if (length > PCP_SIZE_MAX || length % 4 != 0 ||
	    (served && length < pcp_get_size(out->opcode)))
		return PCP_CODE_MALFORMED_REQUEST; /* PCP-8 */
	if (!addr_equal(&out->client, source))
		return PCP_CODE_ADDRESS_MISMATCH; /* PCP-9, PCP-96 */
	if (!served)
		return PCP_CODE_UNSUPP_OPCODE; /* PCP-10, PCP-43, PCP-118 */
	if (out->opcode != PCP_OP_ANNOUNCE)
		pcp_body_read(&reader, out);
	code = pcp_options_read(reader, terms, out, &facts);
	if (code == PCP_CODE_SUCCESS)
		code = check_options(out, source, &facts);
	if (code == PCP_CODE_SUCCESS)
		code = check_opcode_data(out);
	/* Said before anything is done, so that nothing has to be undone (PCP-28). */
	if (code == PCP_CODE_SUCCESS &&
	    pcp_get_size(out->opcode) + facts.reply_size > PCP_SIZE_MAX)
		code = PCP_CODE_MALFORMED_REQUEST;
	return code;
}

enum pcp_kind pcp_decode_request(const struct pcp_packet *packet,
				 const struct ip_addr *source,
				 const struct pcp_terms *terms, struct pcp_request *out,
				 enum pcp_code *code)
{
	struct reader reader = reader_init(packet->bytes, packet->length);
	uint8_t version = reader_u8(&reader);
	uint8_t opcode = reader_u8(&reader);

	*out = (struct pcp_request){.opcode = opcode};
	*code = PCP_CODE_SUCCESS;
	if (packet->length < PCP_SIZE_MIN || (opcode & PCP_RESPONSE_BIT) != 0)
		return PCP_SILENCE; /* PCP-3, PCP-4 */
	if (version != PCP_VERSION) {
		*code = PCP_CODE_UNSUPP_VERSION; /* PCP-5, PCP-21 */
		return PCP_REFUSED;
	}
	if (packet->length < PCP_HEADER_SIZE)
		return PCP_SILENCE; /* PCP-6 */
	*code = read_request(reader, packet->length, source, terms, out);
	if (*code != PCP_CODE_SUCCESS)
		return PCP_REFUSED;
	if (opcode == PCP_OP_ANNOUNCE)
		return PCP_ANSWERED; /* PCP-36 */
	/* check_map() lets only deletions of such pass: nothing is there. */
	if (!protocol_is_served(out->protocol) || out->internal_port == 0)
		return PCP_ANSWERED; /* PCP-65, PCP-66 */
	return PCP_ASK;
}

/* Ports that may be granted from the internal port on (PCP-116). */
static uint16_t get_port_count(const struct pcp_request *asked)
{
	uint32_t count = asked->port_count;
	uint32_t room = UINT16_MAX + 1 - (uint32_t)asked->internal_port;

	if (!asked->has_port_set)
		return 0;
	if (count > room)
		count = room;
	return count < REQUEST_PORTS_MAX ? (uint16_t)count : REQUEST_PORTS_MAX;
}

void pcp_to_request(const struct pcp_request *asked, struct request *out)
{
	*out = (struct request){
		.op = REQUEST_MAP,
		.origin = ORIGIN_PCP,
		.protocol = asked->protocol,
		.enabled = 1,
		.prefer_failure = asked->prefer_failure,
		.has_description = asked->has_description,
		.filter_clear = asked->filter_clear,
		.filter_count = asked->filter_count,
		.port_parity = asked->port_parity,
		.port_count = get_port_count(asked),
		.internal = *get_internal(asked),
		.internal_port = asked->internal_port,
		.external_port = asked->external_port,
		.external = asked->external,
		.remote = asked->remote,
		.remote_port = asked->remote_port,
		.lifetime_s = asked->lifetime_s,
	};
	memcpy(out->nonce, asked->nonce, sizeof(out->nonce));
	memcpy(out->filters, asked->filters, sizeof(out->filters));
	memcpy(out->description, asked->description, sizeof(out->description));
	if (asked->opcode == PCP_OP_PEER) {
		out->op = REQUEST_PEER;
	} else if (asked->lifetime_s == 0) {
		out->op = REQUEST_UNMAP;
		out->external_port = 0; /* of a deletion it says nothing (PCP-65) */
		out->external = (struct ip_addr){{0}};
	}
}
