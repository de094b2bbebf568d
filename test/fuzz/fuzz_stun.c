/* SPDX-License-Identifier: GPL-2.0-or-later */
/* STUN: any octets as what comes from the server; the first twelve are the question's.
 */
#include <string.h>

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
	return 0;
}
