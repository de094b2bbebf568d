/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/**
 * Cursor over bytes that came from outside. Reading past the end returns zero and sets
 * `failed`, so a decoder reads everything first and asks once. Integers are big-endian.
 */
struct reader {
	const uint8_t *at;
	size_t left;
	bool failed;
};

/** Owns: nothing; the bytes must outlive the cursor. */
struct reader reader_init(const void *bytes, size_t length);
uint8_t reader_u8(struct reader *reader);
uint16_t reader_u16(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);
struct ip_addr reader_addr(struct reader *reader);
void reader_copy(struct reader *reader, void *out, size_t length);
void reader_skip(struct reader *reader, size_t length);

/** Cursor that fills a buffer; what does not fit is dropped and sets `failed`. */
struct writer {
	uint8_t *bytes;
	size_t size;
	size_t used;
	bool failed;
};

/** Owns: nothing; the buffer must outlive the cursor. */
struct writer writer_init(void *bytes, size_t size);
void writer_u8(struct writer *writer, uint8_t value);
void writer_u16(struct writer *writer, uint16_t value);
void writer_u32(struct writer *writer, uint32_t value);
void writer_u64(struct writer *writer, uint64_t value);
void writer_addr(struct writer *writer, const struct ip_addr *addr);
void writer_copy(struct writer *writer, const void *bytes, size_t length);

/**
 * Parse an unsigned decimal number: digits only, no sign, no blanks, at most `max`.
 * Errors: false, out untouched. "65616" never becomes 80 (SOAP-4).
 */
bool parse_number(const char *text, uint64_t max, uint64_t *out)
	__attribute__((warn_unused_result));

/**
 * Parse a time as an administrator writes it: "3600", "90m", "1h30m"; units s, m, h, d
 * and w. Errors: false, out untouched: it is none, or longer than a uint32_t.
 */
bool parse_time(const char *text, uint32_t *out_s) __attribute__((warn_unused_result));

/** A piece of a text: it ends at its length, not at a NUL. Owns: borrows the text. */
struct span {
	const char *at;
	size_t length;
};

/** Without the blanks and tabs at both ends. */
struct span span_trim(struct span span);
/** The same of a whole text. */
struct span span_from_text(const char *text);
/** Copy it with a NUL behind it. Errors: false, out untouched: it does not fit. */
bool span_copy(struct span span, char *out, size_t size)
	__attribute__((warn_unused_result));
bool span_equals(struct span span, const char *text);
/** The same, whether letters are large or small. */
bool span_resembles(struct span span, const char *text);

/** True when the octets are well-formed UTF-8, as none at all are. */
bool text_is_utf8(const char *text, size_t length);

/**
 * Copy text cut to size - 1 octets, at a UTF-8 boundary, dropping control characters
 * and octets that are not UTF-8. Used for every string a client gives us to keep.
 */
void text_copy_clean(char *out, size_t size, const char *text, size_t length);

#endif
