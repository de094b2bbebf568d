/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/natpmp.h"

#include <string.h>

#include "base/buf.h"
#include "protocols/status.h"

#define NATPMP_VERSION 0

enum natpmp_kind natpmp_decode_request(const void *bytes, size_t length,
				       struct natpmp_request *out)
{
	struct reader reader = reader_init(bytes, length);
	uint8_t version = reader_u8(&reader);
	struct natpmp_request request = {.op = reader_u8(&reader)};

	/* A response is never answered, whatever its version: or two gateways would
	 * talk to each other for ever (NP-13). */
	if (reader.failed || (request.op & NATPMP_RESPONSE_BIT) != 0)
		return NATPMP_SILENCE;
	if (version != NATPMP_VERSION)
		return NATPMP_BAD_VERSION;
	if (request.op > NATPMP_OP_MAP_TCP)
		return NATPMP_BAD_OPCODE;
	if (request.op == NATPMP_OP_ADDRESS) {
		*out = request;
		return NATPMP_ADDRESS;
	}
	reader_skip(&reader, 2); /* reserved (NP-19) */
	request.internal_port = reader_u16(&reader);
	request.external_port = reader_u16(&reader);
	request.lifetime_s = reader_u32(&reader);
	/* Without an internal port there is nothing to answer with (NP-17). */
	if (reader.failed)
		return NATPMP_SILENCE;
	*out = request;
	return NATPMP_MAP;
}

static size_t written(const struct writer *writer)
{
	return writer->failed ? 0 : writer->used;
}

size_t natpmp_encode_request(const struct natpmp_request *request, void *out,
			     size_t size)
{
	struct writer writer = writer_init(out, size);

	writer_u8(&writer, NATPMP_VERSION);
	writer_u8(&writer, request->op);
	if (request->op == NATPMP_OP_ADDRESS)
		return written(&writer);
	writer_u16(&writer, 0);
	writer_u16(&writer, request->internal_port);
	writer_u16(&writer, request->external_port);
	writer_u32(&writer, request->lifetime_s);
	return written(&writer);
}

bool natpmp_decode_reply(const void *bytes, size_t length, struct natpmp_reply *out)
{
	struct reader reader = reader_init(bytes, length);
	uint8_t version = reader_u8(&reader);
	uint8_t opcode = reader_u8(&reader);
	struct natpmp_reply reply = {.op = opcode & 0x7f};

	reply.code = reader_u16(&reader);
	reply.epoch_s = reader_u32(&reader);
	if (reader.failed || version != NATPMP_VERSION ||
	    (opcode & NATPMP_RESPONSE_BIT) == 0)
		return false;
	if (reply.code == NATPMP_CODE_VERSION || reply.code == NATPMP_CODE_OPCODE) {
		*out = reply;
		return true;
	}
	if (reply.op == NATPMP_OP_ADDRESS) {
		reader_copy(&reader, &reply.address, sizeof(reply.address));
	} else {
		reply.internal_port = reader_u16(&reader);
		reply.external_port = reader_u16(&reader);
		reply.lifetime_s = reader_u32(&reader);
	}
	if (reader.failed || reader.left > 0 || reply.op > NATPMP_OP_MAP_TCP)
		return false;
	*out = reply;
	return true;
}

static void write_head(struct writer *writer, uint8_t op, uint16_t code,
		       uint32_t epoch_s)
{
	writer_u8(writer, NATPMP_VERSION);
	writer_u8(writer, op | NATPMP_RESPONSE_BIT); /* NP-24 */
	writer_u16(writer, code);
	writer_u32(writer, epoch_s); /* in errors too (NP-20) */
}

size_t natpmp_encode_reply(const struct natpmp_reply *reply, void *out, size_t size)
{
	struct writer writer = writer_init(out, size);

	write_head(&writer, reply->op, reply->code, reply->epoch_s);
	if (reply->op == NATPMP_OP_ADDRESS) {
		writer_copy(&writer, &reply->address, sizeof(reply->address));
		return written(&writer);
	}
	writer_u16(&writer, reply->internal_port);
	writer_u16(&writer, reply->external_port);
	writer_u32(&writer, reply->lifetime_s);
	return written(&writer);
}

size_t natpmp_encode_bad_version(uint32_t epoch_s, void *out, size_t size)
{
	struct writer writer = writer_init(out, size);

	write_head(&writer, 0, NATPMP_CODE_VERSION, epoch_s);
	return written(&writer);
}

size_t natpmp_encode_bad_opcode(const void *request, size_t length, uint32_t epoch_s,
				void *out, size_t size)
{
	struct reader reader = reader_init(request, length);
	struct writer writer = writer_init(out, size);
	uint8_t op;

	reader_skip(&reader, 1);
	op = reader_u8(&reader);
	write_head(&writer, op, NATPMP_CODE_OPCODE, epoch_s);
	if (length > NATPMP_REFUSAL_MIN)
		writer_copy(&writer, (const uint8_t *)request + NATPMP_REFUSAL_MIN,
			    length - NATPMP_REFUSAL_MIN);
	return written(&writer);
}

enum result natpmp_to_request(const struct natpmp_request *asked, struct request *out)
{
	enum request_op op = REQUEST_MAP;

	if (asked->lifetime_s == 0)
		op = REQUEST_UNMAP;
	if (asked->internal_port == 0) {
		/* The RFC gives internal port 0 a meaning only where external port and
		 * lifetime are 0 as well: delete all (NP-47). With a lifetime it asks
		 * for nothing (NP-39); with an external port it might mean that one
		 * mapping or all of them, and a guess could delete too much: refuse. */
		if (asked->lifetime_s != 0 || asked->external_port != 0)
			return RESULT_BAD_PORT;
		op = REQUEST_UNMAP_ALL;
	}
	*out = (struct request){
		.op = (uint8_t)op,
		.origin = ORIGIN_NATPMP,
		.protocol = asked->op == NATPMP_OP_MAP_TCP ? IPPROTO_TCP : IPPROTO_UDP,
		.enabled = 1,
		.internal_port = asked->internal_port,
		/* NP-42: of a deletion the external port says nothing. */
		.external_port = op == REQUEST_MAP ? asked->external_port : 0,
		.lifetime_s = asked->lifetime_s, /* shortened by core, or not (NP-27) */
	};
	return RESULT_OK;
}

struct natpmp_reply natpmp_from_reply(const struct natpmp_request *asked,
				      const struct reply *reply)
{
	uint16_t code = status_get((enum result)reply->result)->natpmp;
	struct natpmp_reply out = {
		.op = asked->op,
		.code = code,
		.epoch_s = reply->epoch_s,
		.internal_port = asked->internal_port,
	};

	if (asked->lifetime_s == 0) {
		/* Deleted: external port and lifetime 0 (NP-43, NP-44). Not deleted:
		 * the requested mapping, lifetime 0 (NP-45). */
		out.external_port = code == NATPMP_CODE_OK ? 0 : asked->external_port;
	} else if (code == NATPMP_CODE_OK) {
		out.external_port = reply->external_port;
		out.lifetime_s = reply->lifetime_s;
	}
	/* Else nothing was mapped: 0 and 0 (NP-21). */
	return out;
}

struct natpmp_reply natpmp_refuse(const struct natpmp_request *asked,
				  enum result result, uint32_t epoch_s)
{
	struct reply reply = {.result = (uint8_t)result, .epoch_s = epoch_s};

	return natpmp_from_reply(asked, &reply);
}

struct natpmp_reply natpmp_tell_address(const struct ip_addr *external,
					uint32_t epoch_s)
{
	/* 0.0.0.0 goes with code 3 and never with success (NP-22, NP-25). A private
	 * address is told as it is (NP-26). */
	bool known = addr_is_ipv4(external) && !addr_is_none(external);

	return (struct natpmp_reply){
		.op = NATPMP_OP_ADDRESS,
		.code = known ? NATPMP_CODE_OK : NATPMP_CODE_NETWORK,
		.epoch_s = epoch_s,
		.address = addr_to_ipv4(external),
	};
}
