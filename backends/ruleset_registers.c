/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <arpa/inet.h>
#include <string.h>

/* What is in a register of which the port is not known: octets of that port. */
enum tag { TAG_NONE, TAG_PORT_HIGH, TAG_PORT_LOW };

/* Where the destination port stands in a header. */
#define PORT_DESTINATION 2

void ruleset_registers_forget(struct ruleset_registers *registers, size_t at,
			      size_t length)
{
	if (at + length > RULESET_REGISTERS)
		length = RULESET_REGISTERS - at;
	memset(registers->value + at, 0, length);
	memset(registers->known + at, 0, length);
	memset(registers->tags + at, TAG_NONE, length);
}

/* The kernel fills up a register with zeros. */
static void pad(struct ruleset_registers *registers, size_t end)
{
	for (; end % 4 != 0 && end < RULESET_REGISTERS; end++) {
		registers->value[end] = 0;
		registers->known[end] = 0xff;
		registers->tags[end] = TAG_NONE;
	}
}

static void tag_port(struct ruleset_registers *registers,
		     const struct ruleset_view *view, const struct ruleset_expr *expr)
{
	if (!view->any_port || expr->field != RULESET_FIELD_TRANSPORT)
		return;
	for (size_t i = 0; i < expr->length; i++) {
		if (expr->offset + i == PORT_DESTINATION)
			registers->tags[expr->target + i] = TAG_PORT_HIGH;
		if (expr->offset + i == PORT_DESTINATION + 1)
			registers->tags[expr->target + i] = TAG_PORT_LOW;
	}
}

void ruleset_registers_load(struct ruleset_registers *registers,
			    const struct ruleset_view *view,
			    const struct ruleset_expr *expr)
{
	const struct ruleset_octets *field = &view->fields[expr->field];

	ruleset_registers_forget(registers, expr->target, expr->length);
	for (size_t i = 0; i < expr->length && expr->offset + i < RULESET_FIELD_MAX;
	     i++) {
		registers->value[expr->target + i] = field->value[expr->offset + i];
		registers->known[expr->target + i] = field->known[expr->offset + i];
	}
	tag_port(registers, view, expr);
	pad(registers, (size_t)expr->target + expr->length);
}

void ruleset_registers_put(struct ruleset_registers *registers, size_t at,
			   const uint8_t *bytes, size_t length)
{
	if (at + length > RULESET_REGISTERS)
		length = RULESET_REGISTERS - at;
	memcpy(registers->value + at, bytes, length);
	memset(registers->known + at, 0xff, length);
	memset(registers->tags + at, TAG_NONE, length);
	pad(registers, at + length);
}

void ruleset_registers_mask(struct ruleset_registers *registers,
			    const struct ruleset *ruleset,
			    const struct ruleset_expr *expr)
{
	const uint8_t *mask = ruleset_get_bytes(ruleset, expr->data);
	const uint8_t *flips = ruleset_get_bytes(ruleset, expr->data2);

	for (size_t i = 0; i < expr->length; i++) {
		uint8_t known = registers->known[expr->source + i] | (uint8_t)~mask[i];
		uint8_t value =
			(registers->value[expr->source + i] & mask[i]) ^ flips[i];
		bool same = mask[i] == 0xff && flips[i] == 0;

		registers->known[expr->target + i] = known;
		registers->value[expr->target + i] = value & known;
		registers->tags[expr->target + i] =
			same ? registers->tags[expr->source + i] : TAG_NONE;
	}
	pad(registers, (size_t)expr->target + expr->length);
}

/* From the order of the host to that of the network, or back: it is the same. */
void ruleset_registers_swap(struct ruleset_registers *registers,
			    const struct ruleset_expr *expr)
{
	uint8_t value[RULESET_DATA_MAX];
	uint8_t known[RULESET_DATA_MAX];

	for (size_t i = 0; i < expr->length; i++) {
		size_t from = i / expr->op * expr->op + (expr->op - 1 - i % expr->op);

		if (htons(1) == 1)
			from = i;
		value[i] = registers->value[expr->source + from];
		known[i] = registers->known[expr->source + from];
	}
	ruleset_registers_forget(registers, expr->target, expr->length);
	memcpy(registers->value + expr->target, value, expr->length);
	memcpy(registers->known + expr->target, known, expr->length);
}

/* Where the port is in these octets of the registers; -1 when it is not. */
int ruleset_registers_find_port(const struct ruleset_registers *registers, size_t at,
				size_t length)
{
	for (size_t i = 0; i + 1 < length; i++)
		if (registers->tags[at + i] == TAG_PORT_HIGH &&
		    registers->tags[at + i + 1] == TAG_PORT_LOW)
			return (int)i;
	return -1;
}

/* Octets of the registers, compared with a constant, but two of them from `skip` on. */
enum ruleset_truth ruleset_registers_are_equal(
	const struct ruleset_registers *registers, size_t at, const uint8_t *bytes,
	size_t length, int skip)
{
	enum ruleset_truth truth = RULESET_TRUE;

	for (size_t i = 0; i < length; i++) {
		uint8_t known = registers->known[at + i];

		if (skip >= 0 && (i == (size_t)skip || i == (size_t)skip + 1))
			continue;
		if ((registers->value[at + i] ^ bytes[i]) & known)
			return RULESET_FALSE;
		if (known != 0xff)
			truth = RULESET_MAYBE;
	}
	return truth;
}

/* The least and the greatest that octets of the registers may be. */
struct bounds {
	uint8_t least[RULESET_DATA_MAX];
	uint8_t greatest[RULESET_DATA_MAX];
};

static void get_bounds(const struct ruleset_registers *registers, size_t at,
		       size_t length, struct bounds *bounds)
{
	for (size_t i = 0; i < length; i++) {
		bounds->least[i] = registers->value[at + i];
		bounds->greatest[i] =
			registers->value[at + i] | (uint8_t)~registers->known[at + i];
	}
}

enum ruleset_truth ruleset_registers_are_within(
	const struct ruleset_registers *registers, size_t at, const uint8_t *first,
	const uint8_t *last, size_t length)
{
	struct bounds bounds;

	get_bounds(registers, at, length, &bounds);
	if (memcmp(bounds.greatest, first, length) < 0 ||
	    memcmp(bounds.least, last, length) > 0)
		return RULESET_FALSE;
	if (memcmp(bounds.least, first, length) >= 0 &&
	    memcmp(bounds.greatest, last, length) <= 0)
		return RULESET_TRUE;
	return RULESET_MAYBE;
}
