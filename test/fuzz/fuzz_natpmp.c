/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NAT-PMP: any octets as a request to the gateway and as a reply of one. */
#include <string.h>

#include "protocols/natpmp.h"
#include "test/fuzz/expect.h"

#define PACKET_MAX 1100
#define EPOCH_S 0x01020304

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What we send must read back as what was meant, and never look like a request. */
static void check_reply(const struct natpmp_reply *reply)
{
	uint8_t bytes[NATPMP_MAP_REPLY_SIZE];
	size_t length = natpmp_encode_reply(reply, bytes, sizeof(bytes));
	struct natpmp_reply again;
	struct natpmp_request ignored;

	expect_true(length == (reply->op == NATPMP_OP_ADDRESS
				       ? NATPMP_ADDRESS_REPLY_SIZE
				       : NATPMP_MAP_REPLY_SIZE));
	expect_true(natpmp_decode_reply(bytes, length, &again));
	expect_true(again.op == reply->op && again.code == reply->code);
	expect_true(again.internal_port == reply->internal_port);
	expect_true(again.external_port == reply->external_port);
	expect_true(natpmp_decode_request(bytes, length, &ignored) == NATPMP_SILENCE);
}

static void check_map(const struct natpmp_request *asked)
{
	uint8_t bytes[NATPMP_MAP_REQUEST_SIZE];
	struct natpmp_request again;
	struct natpmp_reply reply;
	struct request request;

	expect_true(natpmp_encode_request(asked, bytes, sizeof(bytes)) ==
		    sizeof(bytes));
	expect_true(natpmp_decode_request(bytes, sizeof(bytes), &again) == NATPMP_MAP);
	expect_true(again.op == asked->op && again.lifetime_s == asked->lifetime_s);
	if (natpmp_to_request(asked, &request) == RESULT_OK) {
		expect_true(request.internal_port != 0 ||
			    request.op == REQUEST_UNMAP_ALL);
		expect_true((request.op == REQUEST_MAP) == (asked->lifetime_s != 0));
	}
	for (int result = 0; result < RESULT_COUNT; result++) {
		reply = natpmp_refuse(asked, (enum result)result, EPOCH_S);
		expect_true(reply.internal_port == asked->internal_port);
		expect_true(reply.lifetime_s == 0);
		check_reply(&reply);
	}
}

static void check_bad_opcode(const uint8_t *data, size_t size)
{
	uint8_t bytes[PACKET_MAX];
	size_t length =
		natpmp_encode_bad_opcode(data, size, EPOCH_S, bytes, sizeof(bytes));

	if (size > sizeof(bytes)) {
		expect_true(length == 0);
		return;
	}
	expect_true(length == (size < NATPMP_REFUSAL_MIN ? NATPMP_REFUSAL_MIN : size));
	expect_true(bytes[1] == (data[1] | NATPMP_RESPONSE_BIT));
	if (size > NATPMP_REFUSAL_MIN)
		expect_true(memcmp(bytes + NATPMP_REFUSAL_MIN,
				   data + NATPMP_REFUSAL_MIN,
				   size - NATPMP_REFUSAL_MIN) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct natpmp_request asked;
	struct natpmp_reply reply;
	uint8_t bytes[NATPMP_MAP_REPLY_SIZE];
	size_t length;

	switch (natpmp_decode_request(data, size, &asked)) {
	case NATPMP_SILENCE:
		break;
	case NATPMP_BAD_VERSION:
		expect_true(size >= NATPMP_REQUEST_MIN && data[0] != 0);
		break;
	case NATPMP_BAD_OPCODE:
		check_bad_opcode(data, size);
		break;
	case NATPMP_ADDRESS:
		expect_true(data[0] == 0 && data[1] == 0);
		break;
	case NATPMP_MAP:
		check_map(&asked);
		break;
	}
	if (natpmp_decode_reply(data, size, &reply) &&
	    reply.code != NATPMP_CODE_VERSION && reply.code != NATPMP_CODE_OPCODE) {
		length = natpmp_encode_reply(&reply, bytes, sizeof(bytes));
		expect_true(length == size && memcmp(bytes, data, size) == 0);
	}
	return 0;
}
