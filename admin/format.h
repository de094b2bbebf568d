/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADMIN_FORMAT_H
#define ADMIN_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/** Room for a number with its unit: "1h 58m", "1023.9 GiB", "1,234,567". */
#define FORMAT_NUMBER_SIZE 32
/** Room for a text from a client, escaped. */
#define FORMAT_TEXT_SIZE 1100

/** "45s", "12m 5s", "1h 58m", "2d 3h": the two largest units. Below zero is zero. */
const char *format_duration(char out[FORMAT_NUMBER_SIZE], int64_t seconds);
/** "999 B", "1.5 KiB". Below zero is zero. */
const char *format_octets(char out[FORMAT_NUMBER_SIZE], int64_t octets);
/** "1,234,567". */
const char *format_count(char out[FORMAT_NUMBER_SIZE], int64_t count);

/**
 * Text from a client made safe for a terminal: control characters, marks that turn or
 * hide text, and octets that are no UTF-8 become \xNN or \u{N}, backslash is doubled.
 * What does not fit is left out, at a character. Returns out. Owns: caller's storage.
 */
const char *format_escape(char *out, size_t size, const char *text);

/** Columns that a text takes on a terminal: 0, 1 or 2 for each character. */
size_t format_get_width(const char *text);
/** Octets of text that fit into so many columns, whole characters only. */
size_t format_get_fitting(const char *text, size_t columns);

#endif
