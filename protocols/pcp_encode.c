/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/buf.h"
#include "protocols/pcp.h"
#include "protocols/pcp_private.h"
#include "protocols/status.h"

/* Where a response has reserved octets and a request most of the client's address. */
#define RESERVED_OFFSET 12
#define RESERVED_SIZE (PCP_HEADER_SIZE - RESERVED_OFFSET)
/* Suggested external port and address in MAP and PEER. */
#define EXTERNAL_OFFSET 42
#define EXTERNAL_SIZE 18

size_t pcp_written(const struct writer *writer)
{
	return writer->failed ? 0 : writer->used;
}

static void write_head(struct writer *writer, uint8_t opcode, uint8_t code,
		       uint32_t lifetime_s, uint32_t epoch_s)
{
	writer_u8(writer, PCP_VERSION); /* PCP-20 */
	writer_u8(writer, opcode | PCP_RESPONSE_BIT);
	writer_u8(writer, 0);
	writer_u8(writer, code);
	writer_u32(writer, lifetime_s);
	writer_u32(writer, epoch_s); /* in errors too (PCP-30) */
}

static void write_zeros(struct writer *writer, size_t count)
{
	while (count-- > 0)
		writer_u8(writer, 0);
}

static uint32_t get_error_lifetime(enum pcp_code code)
{
	switch (code) {
	case PCP_CODE_NETWORK_FAILURE:
	case PCP_CODE_NO_RESOURCES:
	case PCP_CODE_USER_EX_QUOTA:
	case PCP_CODE_CANNOT_PROVIDE_EXTERNAL:
		return PCP_ERROR_SHORT_S;
	case PCP_CODE_SUCCESS:
	case PCP_CODE_UNSUPP_VERSION:
	case PCP_CODE_NOT_AUTHORIZED:
	case PCP_CODE_MALFORMED_REQUEST:
	case PCP_CODE_UNSUPP_OPCODE:
	case PCP_CODE_UNSUPP_OPTION:
	case PCP_CODE_MALFORMED_OPTION:
	case PCP_CODE_UNSUPP_PROTOCOL:
	case PCP_CODE_ADDRESS_MISMATCH:
	case PCP_CODE_EXCESSIVE_REMOTE_PEERS:
		break;
	}
	return PCP_ERROR_LONG_S;
}

/* Codes by which a request, or a part of it, could not be read (PCP-24). */
static bool code_is_unparsed(enum pcp_code code)
{
	return code == PCP_CODE_UNSUPP_VERSION || code == PCP_CODE_MALFORMED_REQUEST ||
	       code == PCP_CODE_MALFORMED_OPTION;
}

/* At the start of `out` and no longer than a datagram may be. */
static struct writer writer_begin(const struct writer *out)
{
	return writer_init(out->bytes,
			   out->size < PCP_SIZE_MAX ? out->size : PCP_SIZE_MAX);
}

static size_t writer_end(const struct writer *writer, struct writer *out)
{
	out->used = writer->failed ? 0 : writer->used;
	out->failed = writer->failed;
	return out->used;
}

size_t pcp_encode_refusal(const struct pcp_packet *packet, enum pcp_code code,
			  uint32_t lifetime_s, uint32_t epoch_s, struct writer *out)
{
	size_t kept = packet->length < PCP_SIZE_MAX ? packet->length : PCP_SIZE_MAX;
	struct reader reader = reader_init(packet->bytes, kept);
	struct writer writer = writer_begin(out);
	size_t from = code_is_unparsed(code) ? RESERVED_OFFSET : PCP_HEADER_SIZE;
	uint8_t opcode;

	reader_skip(&reader, 1);
	opcode = reader_u8(&reader);
	if (lifetime_s == 0)
		lifetime_s = get_error_lifetime(code); /* PCP-29 */
	write_head(&writer, opcode, (uint8_t)code, lifetime_s, epoch_s);
	write_zeros(&writer, from - RESERVED_OFFSET);
	if (kept > from) {
		reader_skip(&reader, from - 2);
		writer_copy(&writer, reader.at, reader.left);
	}
	/* A request of another version may be shorter than any reply (PCP-19). */
	if (kept < PCP_HEADER_SIZE)
		write_zeros(&writer, PCP_HEADER_SIZE - (kept > from ? kept : from));
	else
		write_zeros(&writer, (4 - kept % 4) % 4);
	return writer_end(&writer, out);
}

/* One option of the request again, where it was processed (PCP-25). */
static void echo_option(struct writer *writer, struct pcp_tlv *tlv,
			const struct pcp_request *asked, const struct pcp_terms *terms,
			const struct reply *reply)
{
	uint16_t first =
		reply->internal_port ? reply->internal_port : asked->internal_port;
	struct remote_filter filter;

	switch ((enum pcp_option)tlv->code) {
	case PCP_OPTION_THIRD_PARTY:
		if (asked->has_third_party)
			pcp_third_party_write(writer, &asked->third_party);
		return;
	case PCP_OPTION_PREFER_FAILURE:
		if (asked->prefer_failure)
			pcp_prefer_failure_write(writer);
		return;
	case PCP_OPTION_FILTER:
		reader_skip(&tlv->data, 1);
		filter.prefix.length = reader_u8(&tlv->data);
		filter.port = reader_u16(&tlv->data);
		filter.prefix.addr = reader_addr(&tlv->data);
		pcp_filter_write(writer, &filter);
		return;
	case PCP_OPTION_DESCRIPTION:
		/* the owner's lease has a text of the owner's */
		if (asked->has_description && reply->origin != ORIGIN_STATIC)
			pcp_description_write(writer, reply->description);
		return;
	case PCP_OPTION_PREFIX64:
		if (asked->has_prefix64)
			pcp_prefix64_write(writer, &terms->nat64);
		return;
	case PCP_OPTION_PORT_SET:
		if (asked->has_port_set && reply->port_count > 1)
			pcp_port_set_write(writer, reply->port_count, first,
					   asked->port_parity &&
						   (reply->external_port ^ first) % 2 ==
							   0);
		return;
	}
}

static void write_body(struct writer *writer, struct reader reader,
		       const struct pcp_request *asked, const struct reply *reply)
{
	uint8_t suggested[EXTERNAL_SIZE];

	writer_copy(writer, asked->nonce, sizeof(asked->nonce));
	writer_u8(writer, asked->protocol);
	write_zeros(writer, 3);
	writer_u16(writer, asked->internal_port);
	if (asked->opcode == PCP_OP_MAP && asked->lifetime_s == 0) {
		reader_skip(&reader, EXTERNAL_OFFSET); /* unchanged (PCP-65) */
		reader_copy(&reader, suggested, sizeof(suggested));
		writer_copy(writer, suggested, sizeof(suggested));
	} else {
		writer_u16(writer, reply->external_port);
		writer_addr(writer, &reply->external);
	}
	if (asked->opcode == PCP_OP_PEER) { /* PCP-91 */
		writer_u16(writer, asked->remote_port);
		write_zeros(writer, 2);
		writer_addr(writer, &asked->remote);
	}
}

size_t pcp_encode_reply(const struct pcp_packet *packet,
			const struct pcp_request *asked, const struct pcp_terms *terms,
			const struct reply *reply, struct writer *out)
{
	uint8_t code = status_get((enum result)reply->result)->pcp;
	struct reader reader = reader_init(packet->bytes, packet->length);
	struct writer writer = writer_begin(out);
	bool lives = asked->opcode == PCP_OP_PEER ||
		     (asked->opcode == PCP_OP_MAP && asked->lifetime_s != 0);
	struct pcp_tlv tlv;

	if (code != PCP_CODE_SUCCESS)
		return pcp_encode_refusal(packet, (enum pcp_code)code,
					  reply->lifetime_s, reply->epoch_s, out);
	write_head(&writer, asked->opcode, code, lives ? reply->lifetime_s : 0,
		   reply->epoch_s);
	write_zeros(&writer, RESERVED_SIZE);
	if (asked->opcode != PCP_OP_ANNOUNCE)
		write_body(&writer, reader, asked, reply);
	reader_skip(&reader, pcp_get_size(asked->opcode));
	while (pcp_tlv_read(&reader, &tlv))
		echo_option(&writer, &tlv, asked, terms, reply);
	if (writer.failed && out->size >= PCP_SIZE_MAX) /* PCP-28 */
		return pcp_encode_refusal(packet, PCP_CODE_MALFORMED_REQUEST, 0,
					  reply->epoch_s, out);
	return writer_end(&writer, out);
}

size_t pcp_encode_success(const struct pcp_packet *packet,
			  const struct pcp_request *asked,
			  const struct pcp_terms *terms, uint32_t epoch_s,
			  struct writer *out)
{
	const struct reply reply = {.result = RESULT_OK, .epoch_s = epoch_s};

	return pcp_encode_reply(packet, asked, terms, &reply, out);
}

size_t pcp_encode_announce(uint32_t epoch_s, void *out, size_t size)
{
	struct writer writer = writer_init(out, size);

	write_head(&writer, PCP_OP_ANNOUNCE, PCP_CODE_SUCCESS, 0, epoch_s);
	write_zeros(&writer, RESERVED_SIZE);
	return pcp_written(&writer);
}

size_t pcp_encode_update(const struct mapping_update *update, uint32_t epoch_s,
			 void *out, size_t size)
{
	uint8_t code = status_get((enum result)update->result)->pcp;
	struct writer writer = writer_init(out, size);
	bool peer = update->op == REQUEST_PEER;
	uint32_t lifetime_s = update->lifetime_s;

	if (code != PCP_CODE_SUCCESS && lifetime_s == 0)
		lifetime_s = get_error_lifetime((enum pcp_code)code);
	write_head(&writer, peer ? PCP_OP_PEER : PCP_OP_MAP, code, lifetime_s, epoch_s);
	write_zeros(&writer, RESERVED_SIZE);
	writer_copy(&writer, update->nonce, sizeof(update->nonce));
	writer_u8(&writer, update->protocol);
	write_zeros(&writer, 3);
	writer_u16(&writer, update->internal_port);
	writer_u16(&writer, update->external_port);
	writer_addr(&writer, &update->external);
	if (peer) {
		writer_u16(&writer, update->remote_port);
		write_zeros(&writer, 2);
		writer_addr(&writer, &update->remote);
	}
	if (!addr_equal(&update->internal, &update->client)) /* PCP-41 */
		pcp_third_party_write(&writer, &update->internal);
	/* Only a lease that was asked with it ends this way, and an error returns every
	 * option of the request (PCP-23, PCP-41). */
	if (code == PCP_CODE_CANNOT_PROVIDE_EXTERNAL && !peer)
		pcp_prefer_failure_write(&writer);
	for (size_t i = 0; i < update->filter_count; i++)
		pcp_filter_write(&writer, &update->filters[i]);
	return pcp_written(&writer);
}
