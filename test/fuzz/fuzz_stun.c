/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * STUN: any octets as what comes from the server, the first twelve are the question's;
 * and as what a worker that was taken over tells core of it.
 */
#include <string.h>

#include "daemon/outside.h"
#include "protocols/stun.h"
#include "test/fuzz/expect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not a single octet is believed of an answer to somebody else's question. */
static void check_strangers(const uint8_t *bytes, size_t length,
			    const struct stun_id *id)
{
	for (size_t i = 0; i < sizeof(id->bytes); i++) {
		struct stun_id other = *id;

		other.bytes[i] ^= 1;
		expect_true(stun_decode_answer(bytes, length, &other).kind ==
			    STUN_OTHER);
	}
}

static void check_answer(const uint8_t *bytes, size_t length, const struct stun_id *id)
{
	struct stun_answer answer = stun_decode_answer(bytes, length, id);
	struct stun_answer shorter = stun_decode_answer(bytes, length - 1, id);

	if (answer.kind == STUN_OTHER)
		return;
	check_strangers(bytes, length, id);
	expect_true(length >= STUN_REQUEST_SIZE);
	if (answer.kind == STUN_BAD)
		return;
	/* its length is told: no part of it is an answer */
	expect_true(shorter.kind == STUN_BAD || shorter.kind == STUN_OTHER);
	expect_true((answer.kind == STUN_REFUSED) ==
		    (answer.code >= 300 && answer.code < 700));
}

/* Whatever it says, clients are told an address of a host. */
static void check_told(const uint8_t *data, size_t size)
{
	const struct ip_addr none = {{0}};
	struct wan_choice wan = {.ifindex = 3, .address = expect_addr("10.0.0.2")};
	struct conf_wan conf = {.stun_host = "stun.example.net", .stun_port = 3478};
	struct outside outside;
	struct stun_task task;
	struct stun_told told;
	int64_t now_ms = 1;

	outside_init(&outside, &none, now_ms);
	for (; size >= sizeof(told); data += sizeof(told), size -= sizeof(told)) {
		memcpy(&told, data, sizeof(told));
		network_set_external(&wan, &wan.address, WAN_SOURCE_INTERFACE);
		outside_follow(&outside, &conf, &wan, now_ms);
		expect_true(addr_is_ipv4(&wan.external) && addr_is_host(&wan.external));
		if (outside_advance(&outside, now_ms, &task) && (told.code & 1) == 0)
			told.serial = task.serial;
		now_ms += outside_take(&outside, &told, now_ms) ? 1000 : 1;
		expect_true(outside_get_due_ms(&outside) <=
			    now_ms + OUTSIDE_INTERVAL_MS);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stun_id id = {{0}};
	uint8_t request[STUN_REQUEST_SIZE];

	if (size <= sizeof(id.bytes))
		return 0;
	memcpy(id.bytes, data, sizeof(id.bytes));
	stun_encode_request(&id, request);
	expect_true(stun_decode_answer(request, sizeof(request), &id).kind ==
		    STUN_OTHER);
	check_answer(data + sizeof(id.bytes), size - sizeof(id.bytes), &id);
	check_told(data, size);
	return 0;
}
