/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_UPNP_H
#define PROTOCOLS_UPNP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/** SERVER of every answer: OS/version UPnP/1.1 product/version (SSDP-10, SOAP-5). */
#define UPNP_SERVER "Linux/1.0 UPnP/1.1 portreeve/" PORTREEVE_VERSION
/** What UDA 1.1 §3.1 and HTTP-5 ask for, to the letter: libtorrent reads it (CL-13). */
#define UPNP_CONTENT_TYPE "text/xml; charset=\"utf-8\""

#define UPNP_DATE_SIZE 30 /* "Sun, 06 Nov 1994 08:49:37 GMT" with its NUL */
#define UPNP_UUID_SIZE 37 /* 8-4-4-4-12 with its NUL */

/**
 * Write an instant as an HTTP date; returns text. Never asks libc for a time zone,
 * which would open a file. Units: wall_ms since 1970, not before. Source: RFC 9110
 * §5.6.7.
 */
const char *upnp_format_date(int64_t wall_ms, char text[UPNP_DATE_SIZE]);

/** Write a uuid in lower case; returns text. */
const char *upnp_format_uuid(const uint8_t uuid[16], char text[UPNP_UUID_SIZE]);

/** Append a NUL-terminated text without its NUL. */
void upnp_write_text(struct writer *writer, const char *text);
/** Append a decimal number. */
void upnp_write_number(struct writer *writer, uint64_t value);

#endif
