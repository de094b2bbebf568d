/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin/format.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define MINUTE_S INT64_C(60)
#define HOUR_S (60 * MINUTE_S)
#define DAY_S (24 * HOUR_S)

/** "1h 58m"; the smaller unit is left out when there is none of it. */
static const char *format_two(char *out, int64_t large, char large_unit, int64_t small,
			      char small_unit)
{
	if (small == 0)
		(void)snprintf(out, FORMAT_NUMBER_SIZE, "%" PRId64 "%c", large,
			       large_unit);
	else
		(void)snprintf(out, FORMAT_NUMBER_SIZE, "%" PRId64 "%c %" PRId64 "%c",
			       large, large_unit, small, small_unit);
	return out;
}

const char *format_duration(char out[FORMAT_NUMBER_SIZE], int64_t seconds)
{
	if (seconds < 0)
		seconds = 0;
	if (seconds < MINUTE_S)
		return format_two(out, seconds, 's', 0, 's');
	if (seconds < HOUR_S)
		return format_two(out, seconds / MINUTE_S, 'm', seconds % MINUTE_S,
				  's');
	if (seconds < DAY_S)
		return format_two(out, seconds / HOUR_S, 'h',
				  seconds % HOUR_S / MINUTE_S, 'm');
	return format_two(out, seconds / DAY_S, 'd', seconds % DAY_S / HOUR_S, 'h');
}

const char *format_octets(char out[FORMAT_NUMBER_SIZE], int64_t octets)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)octets / 1024;
	size_t unit = 0;

	if (octets < 1024) {
		(void)snprintf(out, FORMAT_NUMBER_SIZE, "%" PRId64 " B",
			       octets < 0 ? 0 : octets);
		return out;
	}
	/* 1023.95 would be rounded to "1024.0". */
	while (value >= 1023.95 && unit + 1 < LENGTH(units)) {
		value /= 1024;
		unit++;
	}
	(void)snprintf(out, FORMAT_NUMBER_SIZE, "%.1f %s", value, units[unit]);
	return out;
}

const char *format_count(char out[FORMAT_NUMBER_SIZE], int64_t count)
{
	char digits[FORMAT_NUMBER_SIZE];
	size_t length, used = 0;

	(void)snprintf(digits, sizeof(digits), "%" PRId64, count < 0 ? 0 : count);
	length = strlen(digits);
	for (size_t i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			out[used++] = ',';
		out[used++] = digits[i];
	}
	out[used] = '\0';
	return out;
}

/** First and last character of a range. */
struct range {
	uint32_t first, last;
};

/* Characters that steer a terminal, or turn or hide the text around them. */
static const struct range unsafe[] = {
	{0x0, 0x1f},	     {0x7f, 0x9f},     {0xad, 0xad},	 {0x61c, 0x61c},
	{0x180e, 0x180e},    {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
	{0xfeff, 0xfeff},    {0xfff9, 0xfffb}, {0xe000, 0xf8ff}, {0xe0000, 0xe0fff},
	{0xf0000, 0x10ffff},
};

/* Enough of Unicode's East Asian Width and combining marks for names of devices. */
static const struct range narrowest[] = {
	{0x300, 0x36f},	  {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
	{0x64b, 0x65f},	  {0x93c, 0x93c},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff},
	{0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f},
};
static const struct range widest[] = {
	{0x1100, 0x115f},   {0x2e80, 0x303e},	{0x3041, 0xa4cf},   {0xa960, 0xa97c},
	{0xac00, 0xd7a3},   {0xf900, 0xfaff},	{0xfe30, 0xfe6f},   {0xff01, 0xff60},
	{0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
	{0x20000, 0x3fffd},
};

static bool range_contains(const struct range *ranges, size_t count, uint32_t code)
{
	for (size_t i = 0; i < count; i++) {
		if (code >= ranges[i].first && code <= ranges[i].last)
			return true;
	}
	return false;
}

/** Octets of the UTF-8 character at text and its code; 0 = there is none. */
static size_t utf8_decode(const char *text, uint32_t *out)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *at = (const unsigned char *)text;
	size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : 3;
	uint32_t code = at[0];

	if (at[0] >= 0xf0)
		length = at[0] < 0xf5 ? 4 : 0;
	if (length > 1)
		code &= 0x7fu >> length;
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3fu);
	}
	if (length == 0 || code < smallest[length] || code > 0x10ffff ||
	    (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*out = code;
	return length;
}

/** One character as it may be shown; returns the octets of text that it stood for. */
static size_t escape_one(const char *text, char out[FORMAT_NUMBER_SIZE])
{
	uint32_t code = 0;
	size_t length = utf8_decode(text, &code);

	if (length == 0 ||
	    (length == 1 && range_contains(unsafe, LENGTH(unsafe), code))) {
		(void)snprintf(out, FORMAT_NUMBER_SIZE, "\\x%02x",
			       (unsigned char)*text);
		return 1;
	}
	if (code == '\\')
		(void)snprintf(out, FORMAT_NUMBER_SIZE, "\\\\");
	else if (range_contains(unsafe, LENGTH(unsafe), code))
		(void)snprintf(out, FORMAT_NUMBER_SIZE, "\\u{%" PRIx32 "}", code);
	else
		(void)snprintf(out, FORMAT_NUMBER_SIZE, "%.*s", (int)length, text);
	return length;
}

const char *format_escape(char *out, size_t size, const char *text)
{
	size_t used = 0;

	while (*text != '\0') {
		char one[FORMAT_NUMBER_SIZE];
		size_t length;

		text += escape_one(text, one);
		length = strlen(one);
		if (used + length >= size)
			break;
		memcpy(out + used, one, length);
		used += length;
	}
	out[used] = '\0';
	return out;
}

/** Octets and columns of the character at text; a stray octet is one of each. */
static size_t character_measure(const char *text, size_t *columns)
{
	uint32_t code = 0;
	size_t length = utf8_decode(text, &code);

	*columns = range_contains(narrowest, LENGTH(narrowest), code) ? 0
		   : range_contains(widest, LENGTH(widest), code)     ? 2
								      : 1;
	return length == 0 ? 1 : length;
}

size_t format_get_width(const char *text)
{
	size_t width = 0, columns;

	while (*text != '\0') {
		text += character_measure(text, &columns);
		width += columns;
	}
	return width;
}

size_t format_get_fitting(const char *text, size_t columns)
{
	size_t octets = 0, used = 0;

	while (text[octets] != '\0') {
		size_t one;
		size_t length = character_measure(text + octets, &one);

		if (used + one > columns)
			break;
		used += one;
		octets += length;
	}
	return octets;
}
