/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>

#include "base/buf.h"
#include "protocols/pcp.h"
#include "protocols/pcp_private.h"

/* A client's PREFIX64 is ::/96, whatever the gateway has (RFC 7225 §4). */
static const struct prefix prefix64_asked = {.length = 96};

/* "No address" in the family of the client (RFC 6887 §5, PCP-92). */
static struct ip_addr get_none(const struct pcp_request *request)
{
	struct in_addr any = {0};

	return addr_is_ipv4(&request->client) ? addr_from_ipv4(any)
					      : (struct ip_addr){{0}};
}

static void write_body(struct writer *writer, const struct pcp_request *request)
{
	struct ip_addr external = request->external;

	if (addr_is_none(&external))
		external = get_none(request);
	writer_copy(writer, request->nonce, sizeof(request->nonce));
	writer_u32(writer, (uint32_t)request->protocol << 24); /* 24 reserved bits */
	writer_u16(writer, request->internal_port);
	writer_u16(writer, request->external_port);
	writer_addr(writer, &external);
	if (request->opcode == PCP_OP_PEER) {
		writer_u16(writer, request->remote_port);
		writer_u16(writer, 0);
		writer_addr(writer, &request->remote);
	}
}

static void write_options(struct writer *writer, const struct pcp_request *request)
{
	struct remote_filter none = {.prefix.addr = get_none(request)};

	if (request->has_third_party)
		pcp_third_party_write(writer, &request->third_party);
	if (request->prefer_failure)
		pcp_prefer_failure_write(writer);
	if (request->filter_clear)
		pcp_filter_write(writer, &none);
	for (size_t i = 0; i < request->filter_count; i++)
		pcp_filter_write(writer, &request->filters[i]);
	if (request->has_description)
		pcp_description_write(writer, request->description);
	if (request->has_prefix64)
		pcp_prefix64_write(writer, &prefix64_asked);
	if (request->has_port_set)
		pcp_port_set_write(writer, request->port_count, request->internal_port,
				   request->port_parity);
}

size_t pcp_encode_request(const struct pcp_request *request, void *out, size_t size)
{
	struct writer writer = writer_init(out, size);

	writer_u8(&writer, PCP_VERSION);
	writer_u8(&writer, request->opcode);
	writer_u16(&writer, 0);
	writer_u32(&writer, request->lifetime_s);
	writer_addr(&writer, &request->client);
	if (request->opcode != PCP_OP_ANNOUNCE)
		write_body(&writer, request);
	write_options(&writer, request);
	return pcp_written(&writer);
}

bool pcp_decode_response(const void *bytes, size_t length, struct pcp_response *out)
{
	struct reader reader = reader_init(bytes, length);
	uint8_t version = reader_u8(&reader);
	uint8_t opcode = reader_u8(&reader);
	struct pcp_response response = {.opcode = opcode & (PCP_RESPONSE_BIT - 1u)};

	reader_skip(&reader, 1);
	response.code = reader_u8(&reader);
	response.lifetime_s = reader_u32(&reader);
	response.epoch_s = reader_u32(&reader);
	reader_skip(&reader, PCP_HEADER_SIZE - 12);
	if (reader.failed || version != PCP_VERSION ||
	    (opcode & PCP_RESPONSE_BIT) == 0 || length > PCP_SIZE_MAX ||
	    length % 4 != 0)
		return false;
	response.body.opcode = response.opcode;
	response.body.lifetime_s = response.lifetime_s;
	/* A refusal of another version or of a cut request has no body to speak of. */
	if (length < pcp_get_size(response.opcode) && response.code == PCP_CODE_SUCCESS)
		return false;
	if (length >= pcp_get_size(response.opcode) && response.opcode <= PCP_OP_PEER) {
		if (response.opcode != PCP_OP_ANNOUNCE)
			pcp_body_read(&reader, &response.body);
		if (response.code == PCP_CODE_SUCCESS && !pcp_tlv_list_is_whole(reader))
			return false;
		pcp_options_read_response(reader, &response.body);
	}
	*out = response;
	return true;
}
