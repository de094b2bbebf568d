/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_HTTP_ANSWER_H
#define PROTOCOLS_HTTP_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* What an answer says before its body, apart from any socket. */

/** Headers beside those of every answer, and their values. */
#define HTTP_FIELDS_MAX 2
#define HTTP_FIELD_SIZE 48
/** Headers of an answer, but for its length. */
#define HTTP_ANSWER_HEADERS_MAX (6 + HTTP_FIELDS_MAX)

struct http_field {
	const char *name; /* NULL = none; static */
	char value[HTTP_FIELD_SIZE];
};

struct http_answer {
	uint16_t status;
	struct http_field fields[HTTP_FIELDS_MAX];
	/** Not 0: http_handler.sent() is called with it when all is sent, or is lost.
	 */
	uint64_t tag;
	const char *allow;	  /* of a 405, else NULL; static */
	const char *content_type; /* NULL: there is no body; static */
	void *bytes;
	size_t length;
	/** Called with bytes when they were sent; NULL: they outlive the server. */
	void (*release)(void *bytes);
};

/** A header as it is sent; the value may be empty. Borrowed strings. */
struct http_header {
	const char *name;
	const char *value;
};

/**
 * List the headers of an answer, its length apart. date: of now, as upnp_format_date()
 * writes it. Returns how many there are. Source: UDA 1.1 §3.1.2 (SOAP-5, HTTP-1).
 */
size_t http_answer_list_headers(const struct http_answer *answer, const char *date,
				struct http_header out[HTTP_ANSWER_HEADERS_MAX]);

/**
 * Write the head of an answer: status line, headers, its length, the empty line. What
 * does not fit makes the writer fail.
 */
void http_answer_write_head(const struct http_answer *answer, const char *date,
			    struct writer *out);

#endif
