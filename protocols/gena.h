/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_GENA_H
#define PROTOCOLS_GENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "protocols/http.h"
#include "protocols/upnp.h"
#include "protocols/xmldoc.h"

/*
 * The wire of eventing (UDA 1.1 §4): what SUBSCRIBE and UNSUBSCRIBE ask for, and the
 * octets of a NOTIFY. Who is subscribed stands in gena_table.h.
 */

/** Octets of a CALLBACK header, URLs in it, octets of the path of one (GENA-12). */
#define GENA_CALLBACK_MAX 1024
#define GENA_URLS_MAX 4
#define GENA_PATH_MAX 512
/** Lower ports are those of services, which nobody shall have us call (GENA-11). */
#define GENA_PORT_MIN 1024
/** Units: seconds. What is granted, whatever is asked for (GENA-5). */
#define GENA_TIMEOUT_MIN_S 1800u
#define GENA_TIMEOUT_MAX_S 86400u
#define GENA_SID_PREFIX "uuid:"
#define GENA_SID_SIZE (sizeof(GENA_SID_PREFIX) - 1 + UPNP_UUID_SIZE)
/** Room for everything of a NOTIFY but its body. */
#define GENA_HEAD_SIZE (GENA_PATH_MAX + 512)

/** One place where events are taken. Its host is the subscriber itself. */
struct gena_url {
	uint16_t port;
	uint16_t path; /* begins here in gena_callback.text, ends with NUL */
};

/** The URLs of a CALLBACK header, in their order. */
struct gena_callback {
	size_t count;
	size_t used; /* of text */
	struct gena_url urls[GENA_URLS_MAX];
	char text[GENA_CALLBACK_MAX];
};

enum gena_kind {
	GENA_SUBSCRIBE,
	GENA_RENEW,
	GENA_UNSUBSCRIBE,
};

/** What a request asks for. */
struct gena_call {
	enum gena_kind kind;
	uint32_t timeout_s;	       /* to be granted */
	char sid[GENA_SID_SIZE];       /* not of GENA_SUBSCRIBE */
	struct gena_callback callback; /* of GENA_SUBSCRIBE */
};

/**
 * Judge the headers of a SUBSCRIBE or an UNSUBSCRIBE that came from client. Every URL
 * of CALLBACK must be http, lead to the client's own address as a literal, and to a
 * port from GENA_PORT_MIN on: events are no way to have us call others.
 * Errors: the HTTP status to answer, 400 or 412; 0 = fine. Source: UDA 1.1 §4.1.2-4.1.4
 * (GENA-2, GENA-3, GENA-4, GENA-11).
 */
uint16_t gena_parse_call(enum http_method method, const struct http_headers *headers,
			 const struct ip_addr *client, struct gena_call *out)
	__attribute__((warn_unused_result));

/** Path of an URL: never empty, one line, printable ASCII. Owns: borrowed. */
const char *gena_callback_get_path(const struct gena_callback *callback, size_t index);

/** A SID out of 16 random octets; returns text. Source: RFC 4122 §4.4. */
const char *gena_make_sid(const uint8_t random[16], char text[GENA_SID_SIZE]);

/** SEQ of the event after that one: never 0 again (GENA-8). */
uint32_t gena_get_next_seq(uint32_t seq);

/** One state variable and its value. Borrowed. */
struct gena_property {
	const char *name;
	const char *value;
};

/** Body of a NOTIFY (GENA-7). Owns: caller gives *out to xmldoc_fini(). Errors: false,
 * *out untouched. */
bool gena_write_body(const struct gena_property *properties, size_t count,
		     struct xmldoc *out) __attribute__((warn_unused_result));

/** What the head of a NOTIFY says. Borrowed. */
struct gena_head {
	struct ip_addr host;
	uint16_t port;
	const char *path; /* of gena_callback_get_path() */
	const char *sid;
	uint32_t seq;
	size_t length; /* of the body */
};

/** Write the head of a NOTIFY, GENA_HEAD_SIZE octets at most (GENA-7). */
void gena_write_head(struct writer *writer, const struct gena_head *head);

/** Status of an HTTP status line, with or without what follows it; 0 = it is none. */
uint16_t gena_parse_status(const char *line);

#endif
