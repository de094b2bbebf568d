/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/buf.h"

#include <string.h>
#include <strings.h>

struct reader reader_init(const void *bytes, size_t length)
{
	return (struct reader){.at = bytes, .left = length};
}

void reader_copy(struct reader *reader, void *out, size_t length)
{
	if (reader->failed || length > reader->left) {
		reader->failed = true;
		reader->left = 0;
		memset(out, 0, length);
		return;
	}
	memcpy(out, reader->at, length);
	reader->at += length;
	reader->left -= length;
}

void reader_skip(struct reader *reader, size_t length)
{
	if (reader->failed || length > reader->left) {
		reader->failed = true;
		reader->left = 0;
		return;
	}
	reader->at += length;
	reader->left -= length;
}

static uint64_t reader_integer(struct reader *reader, size_t width)
{
	uint8_t raw[8];
	uint64_t value = 0;

	reader_copy(reader, raw, width);
	for (size_t i = 0; i < width; i++)
		value = value << 8 | raw[i];
	return value;
}

uint8_t reader_u8(struct reader *reader)
{
	return (uint8_t)reader_integer(reader, 1);
}

uint16_t reader_u16(struct reader *reader)
{
	return (uint16_t)reader_integer(reader, 2);
}

uint32_t reader_u32(struct reader *reader)
{
	return (uint32_t)reader_integer(reader, 4);
}

uint64_t reader_u64(struct reader *reader)
{
	return reader_integer(reader, 8);
}

struct ip_addr reader_addr(struct reader *reader)
{
	struct ip_addr addr;

	reader_copy(reader, addr.bytes, sizeof(addr.bytes));
	return addr;
}

struct writer writer_init(void *bytes, size_t size)
{
	return (struct writer){.bytes = bytes, .size = size};
}

void writer_copy(struct writer *writer, const void *bytes, size_t length)
{
	if (writer->failed || length > writer->size - writer->used) {
		writer->failed = true;
		return;
	}
	if (length > 0)
		memcpy(writer->bytes + writer->used, bytes, length);
	writer->used += length;
}

static void writer_integer(struct writer *writer, uint64_t value, size_t width)
{
	uint8_t raw[8];

	for (size_t i = 0; i < width; i++)
		raw[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
	writer_copy(writer, raw, width);
}

void writer_u8(struct writer *writer, uint8_t value)
{
	writer_integer(writer, value, 1);
}

void writer_u16(struct writer *writer, uint16_t value)
{
	writer_integer(writer, value, 2);
}

void writer_u32(struct writer *writer, uint32_t value)
{
	writer_integer(writer, value, 4);
}

void writer_u64(struct writer *writer, uint64_t value)
{
	writer_integer(writer, value, 8);
}

void writer_addr(struct writer *writer, const struct ip_addr *addr)
{
	writer_copy(writer, addr->bytes, sizeof(addr->bytes));
}

bool parse_number(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		uint64_t digit;

		if (*text < '0' || *text > '9')
			return false;
		digit = (uint64_t)(*text - '0');
		if (digit > max || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

/* Seconds of the unit that a letter names; 0 = no such unit. */
static uint64_t unit_get_seconds(char letter)
{
	switch (letter) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 3600;
	case 'd':
		return 86400;
	case 'w':
		return 604800;
	default: /* any other character */
		return 0;
	}
}

bool parse_time(const char *text, uint32_t *out_s)
{
	uint64_t total_s = 0;

	if (parse_number(text, UINT32_MAX, &total_s)) {
		*out_s = (uint32_t)total_s;
		return true;
	}
	do {
		size_t digits = strspn(text, "0123456789");
		char number_text[16];
		uint64_t number, unit_s;

		if (digits == 0 || digits >= sizeof(number_text))
			return false;
		memcpy(number_text, text, digits);
		number_text[digits] = '\0';
		unit_s = unit_get_seconds(text[digits]);
		if (unit_s == 0 || !parse_number(number_text, UINT32_MAX, &number))
			return false;
		total_s += number * unit_s;
		if (total_s > UINT32_MAX)
			return false;
		text += digits + 1;
	} while (*text != '\0');
	*out_s = (uint32_t)total_s;
	return true;
}

/* Length of the UTF-8 character at `at`, 0 where there is none (RFC 3629 §4). */
static size_t utf8_length(const uint8_t *at, size_t left)
{
	static const struct {
		uint8_t first, last, second_min, second_max;
		uint8_t length;
	} rows[] = {
		{0x00, 0x7f, 0, 0, 1},	     {0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (at[0] < rows[i].first || at[0] > rows[i].last)
			continue;
		if (rows[i].length > left)
			return 0;
		if (rows[i].length > 1 &&
		    (at[1] < rows[i].second_min || at[1] > rows[i].second_max))
			return 0;
		for (size_t k = 2; k < rows[i].length; k++)
			if ((at[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].length;
	}
	return 0;
}

/* C0 and DEL are one octet, C1 is c2 80..9f; U+FFFE and U+FFFF are not XML characters.
 */
static bool utf8_is_printable(const uint8_t *at, size_t length)
{
	if (length == 1)
		return at[0] >= 0x20 && at[0] != 0x7f;
	if (length == 2)
		return at[0] != 0xc2 || at[1] >= 0xa0;
	return !(length == 3 && at[0] == 0xef && at[1] == 0xbf && at[2] >= 0xbe);
}

bool text_is_utf8(const char *text, size_t length)
{
	const uint8_t *at = (const uint8_t *)text;

	while (length > 0) {
		size_t step = utf8_length(at, length);

		if (step == 0)
			return false;
		at += step;
		length -= step;
	}
	return true;
}

void text_copy_clean(char *out, size_t size, const char *text, size_t length)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t used = 0;

	while (length > 0) {
		size_t step = utf8_length(at, length);

		if (step > 0 && used + step >= size)
			break;
		if (step > 0 && utf8_is_printable(at, step)) {
			memcpy(out + used, at, step);
			used += step;
		}
		step = step > 0 ? step : 1;
		at += step;
		length -= step;
	}
	out[used] = '\0';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span span_trim(struct span span)
{
	while (span.length > 0 && is_blank(span.at[span.length - 1]))
		span.length--;
	while (span.length > 0 && is_blank(*span.at)) {
		span.at++;
		span.length--;
	}
	return span;
}

struct span span_from_text(const char *text)
{
	return span_trim((struct span){text, strlen(text)});
}

bool span_copy(struct span span, char *out, size_t size)
{
	if (span.length >= size)
		return false;
	memcpy(out, span.at, span.length);
	out[span.length] = '\0';
	return true;
}

bool span_equals(struct span span, const char *text)
{
	return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

bool span_resembles(struct span span, const char *text)
{
	return span.length == strlen(text) &&
	       strncasecmp(span.at, text, span.length) == 0;
}
