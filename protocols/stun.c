/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/stun.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"

#define MAGIC_COOKIE 0x2112a442u
#define HEADER_SIZE 20
#define ATTRIBUTE_HEADER_SIZE 4

#define BINDING_REQUEST 0x0001
#define BINDING_SUCCESS 0x0101
#define BINDING_ERROR 0x0111

#define ATTRIBUTE_MAPPED_ADDRESS 0x0001
#define ATTRIBUTE_MESSAGE_INTEGRITY 0x0008
#define ATTRIBUTE_ERROR_CODE 0x0009
#define ATTRIBUTE_INTEGRITY_SHA256 0x001c
#define ATTRIBUTE_XOR_MAPPED_ADDRESS 0x0020
#define ATTRIBUTE_FINGERPRINT 0x8028
/* From here on who does not know an attribute passes over it (§14). */
#define ATTRIBUTE_OPTIONAL 0x8000

#define FINGERPRINT_SIZE 4
#define FINGERPRINT_MASK 0x5354554eu
#define CRC_POLYNOMIAL 0xedb88320u

#define FAMILY_IPV4 1
#define FAMILY_IPV6 2

/* An answer as far as it was read. */
struct state {
	const uint8_t *bytes; /* the whole message */
	const struct stun_id *id;
	struct stun_answer plain, masked;
	bool has_plain, has_masked, has_code, signed_now, ended, bad;
	uint16_t code;
};

/* One attribute: its value, and where in the message it begins. */
struct attribute {
	uint16_t type;
	size_t offset;
	const uint8_t *value;
	size_t length;
};

void stun_encode_request(const struct stun_id *id, uint8_t out[STUN_REQUEST_SIZE])
{
	struct writer writer = writer_init(out, STUN_REQUEST_SIZE);

	writer_u16(&writer, BINDING_REQUEST);
	writer_u16(&writer, 0);
	writer_u32(&writer, MAGIC_COOKIE);
	writer_copy(&writer, id->bytes, sizeof(id->bytes));
}

/* ITU V.42, as §14.7 wants it. */
static uint32_t crc32_get(const uint8_t *bytes, size_t length)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
	}
	return ~crc;
}

/* The mask of XOR-MAPPED-ADDRESS: the magic cookie, then the transaction (§14.2). */
static void mask_get(const struct stun_id *id, uint8_t mask[16])
{
	struct writer writer = writer_init(mask, 16);

	writer_u32(&writer, MAGIC_COOKIE);
	writer_copy(&writer, id->bytes, sizeof(id->bytes));
}

/* Errors: false, it makes no sense. mask: zeros where the address is plain. */
static bool address_read(const struct attribute *attribute, const uint8_t mask[16],
			 struct stun_answer *out)
{
	struct reader reader = reader_init(attribute->value, attribute->length);
	uint8_t octets[16] = {0};
	struct in6_addr ipv6;
	struct in_addr ipv4;
	uint8_t family;
	size_t size;

	reader_skip(&reader, 1);
	family = reader_u8(&reader);
	out->port = (uint16_t)(reader_u16(&reader) ^ (mask[0] << 8 | mask[1]));
	size = family == FAMILY_IPV4 ? sizeof(ipv4) : sizeof(ipv6);
	reader_copy(&reader, octets, size);
	if (reader.failed || reader.left > 0 ||
	    (family != FAMILY_IPV4 && family != FAMILY_IPV6))
		return false;
	for (size_t i = 0; i < size; i++)
		octets[i] ^= mask[i];
	memcpy(&ipv4, octets, sizeof(ipv4));
	memcpy(&ipv6, octets, sizeof(ipv6));
	out->address =
		family == FAMILY_IPV4 ? addr_from_ipv4(ipv4) : addr_from_ipv6(&ipv6);
	out->kind = STUN_ADDRESS;
	return true;
}

static void take_plain(struct state *state, const struct attribute *attribute)
{
	static const uint8_t zeros[16];

	if (state->has_plain)
		return;
	state->has_plain = address_read(attribute, zeros, &state->plain);
	state->bad |= !state->has_plain;
}

static void take_masked(struct state *state, const struct attribute *attribute)
{
	uint8_t mask[16];

	if (state->has_masked)
		return;
	mask_get(state->id, mask);
	state->has_masked = address_read(attribute, mask, &state->masked);
	state->bad |= !state->has_masked;
}

/* §14.8: two octets, the class, the number. */
static void take_code(struct state *state, const struct attribute *attribute)
{
	struct reader reader = reader_init(attribute->value, attribute->length);
	uint8_t hundreds, number;

	reader_skip(&reader, 2);
	hundreds = reader_u8(&reader) & 0x07;
	number = reader_u8(&reader);
	if (reader.failed || hundreds < 3 || hundreds > 6 || number > 99) {
		state->bad = true;
		return;
	}
	if (!state->has_code)
		state->code = (uint16_t)(hundreds * 100 + number);
	state->has_code = true;
}

/* Nothing that follows counts, but for the fingerprint (§14.5). We have no key. */
static void take_integrity(struct state *state, const struct attribute *attribute)
{
	(void)attribute;
	state->signed_now = true;
}

static void take_fingerprint(struct state *state, const struct attribute *attribute)
{
	struct reader reader = reader_init(attribute->value, attribute->length);
	uint32_t told = reader_u32(&reader);
	uint32_t crc = crc32_get(state->bytes, attribute->offset);

	state->ended = true;
	state->bad |= attribute->length != FINGERPRINT_SIZE ||
		      told != (crc ^ FINGERPRINT_MASK);
}

/* Those of RFC 3489, 5780 and 8489 that may stand in an answer and say nothing to us.
 */
static bool attribute_is_known(uint16_t type)
{
	static const uint16_t known[] = {0x0004, 0x0005, 0x0006, 0x0007,
					 0x000a, 0x000b, 0x0014, 0x0015,
					 0x001d, 0x001e, 0x0026, 0x0027};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == type)
			return true;
	return type >= ATTRIBUTE_OPTIONAL;
}

static void attribute_take(struct state *state, const struct attribute *attribute)
{
	static const struct {
		uint16_t type;
		void (*take)(struct state *state, const struct attribute *attribute);
	} rows[] = {
		{ATTRIBUTE_MAPPED_ADDRESS, take_plain},
		{ATTRIBUTE_XOR_MAPPED_ADDRESS, take_masked},
		{ATTRIBUTE_ERROR_CODE, take_code},
		{ATTRIBUTE_MESSAGE_INTEGRITY, take_integrity},
		{ATTRIBUTE_INTEGRITY_SHA256, take_integrity},
		{ATTRIBUTE_FINGERPRINT, take_fingerprint},
	};

	if (state->ended ||
	    (state->signed_now && attribute->type != ATTRIBUTE_FINGERPRINT))
		return;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].type == attribute->type) {
			rows[i].take(state, attribute);
			return;
		}
	state->bad |= !attribute_is_known(attribute->type);
}

static void attributes_read(struct state *state, struct reader *reader)
{
	while (reader->left > 0 && !state->bad) {
		struct attribute attribute = {
			.offset = (size_t)(reader->at - state->bytes),
		};

		attribute.type = reader_u16(reader);
		attribute.length = reader_u16(reader);
		attribute.value = reader->at;
		/* to the next multiple of four (§14) */
		reader_skip(reader, (attribute.length + 3) & ~(size_t)3);
		if (reader->failed)
			state->bad = true;
		else
			attribute_take(state, &attribute);
	}
}

static struct stun_answer state_judge(const struct state *state, uint16_t type)
{
	const struct stun_answer bad = {.kind = STUN_BAD};
	const struct stun_answer refused = {.kind = STUN_REFUSED, .code = state->code};

	if (state->bad)
		return bad;
	if (type == BINDING_ERROR)
		return state->has_code ? refused : bad;
	if (state->has_masked)
		return state->masked;
	return state->has_plain ? state->plain : bad;
}

struct stun_answer stun_decode_answer(const uint8_t *bytes, size_t length,
				      const struct stun_id *id)
{
	const struct stun_answer other = {.kind = STUN_OTHER};
	struct reader reader = reader_init(bytes, length);
	struct state state = {.bytes = bytes, .id = id};
	uint16_t type = reader_u16(&reader);
	uint16_t told = reader_u16(&reader);
	uint32_t cookie = reader_u32(&reader);
	struct stun_id echoed = {{0}};

	reader_copy(&reader, echoed.bytes, sizeof(echoed.bytes));
	/* The servers of RFC 3489 take the cookie for a part of the transaction. */
	if (reader.failed || cookie != MAGIC_COOKIE ||
	    memcmp(echoed.bytes, id->bytes, sizeof(id->bytes)) != 0 ||
	    (type != BINDING_SUCCESS && type != BINDING_ERROR))
		return other;
	if (told != reader.left || told % 4 != 0)
		state.bad = true;
	attributes_read(&state, &reader);
	return state_judge(&state, type);
}
