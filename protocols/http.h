/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_HTTP_H
#define PROTOCOLS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "protocols/worker.h"

/* The rules of HTTP that are ours, apart from any socket. */

/** Octets of all header names and values of a request (HTTP-3). */
#define HTTP_HEADERS_MAX 8192
/** Octets of a request line, and arguments in its target; no URL of ours has any.
 * libmicrohttpd has room for few, and says nothing to him who sends more. */
#define HTTP_LINE_MAX 2048
#define HTTP_ARGUMENTS_MAX 32
/** Octets of a request's body (HTTP-3). */
#define HTTP_BODY_MAX 65536

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_M_POST, /* HTTP Extension Framework, SOAP-1 */
	HTTP_SUBSCRIBE,
	HTTP_UNSUBSCRIBE,
	HTTP_OTHER,   /* of HTTP or UPnP, but nothing here takes it: 405 */
	HTTP_UNKNOWN, /* 501 */
};

enum http_method http_parse_method(const char *method);

/**
 * Look at the head of a request, its request line and headers, as it came. Lines end
 * with CR LF, and with LF alone.
 * Returns false when more of it has to come; else *status is the HTTP status to refuse
 * it with, 0 = fine: 400 a folded header, a NUL or CR in it, no name before the colon
 * or a length that is none (HTTP-2), 413 one that nobody means, 414 too long a request
 * line, whole or not. A blank behind a length counts as none: libmicrohttpd answers
 * that twice. Source: RFC 7230 §3.1.1, §3.2.4, §3.3.2, §3.5.
 */
bool http_head_scan(const char *text, size_t length, uint16_t *status);

/** The headers that we look at. Borrowed strings; NULL = not there. */
struct http_headers {
	const char *host;
	const char *content_type;
	const char *content_length;
	const char *transfer_encoding;
	const char *expect;
	const char *man;
	const char *soap_action;
	const char *m_soap_action; /* NN-SOAPACTION of an M-POST */
	char m_prefix[2];	   /* that NN */
	const char *user_agent;
	const char *callback; /* of GENA, as the next three */
	const char *nt;
	const char *sid;
	const char *timeout;
	bool repeated; /* one of these came twice */
	size_t octets;
};

/** Note one header of the request; names in any case (HTTP-2, CL-15). */
void http_headers_add(struct http_headers *headers, const char *name,
		      const char *value);

/**
 * Check what must hold for every request, before its body is read.
 * Errors: the HTTP status to answer: 400 repeated or contradictory headers, or no Host
 * in HTTP/1.1; 403 a Host that is no address of ours (HTTP-4: DNS rebinding); 413, 431
 * too large; 501 a transfer coding other than chunked. 0 = fine.
 */
uint16_t http_headers_check(const struct http_headers *headers, bool is_http_1_0,
			    const struct lan_info *lan);

/**
 * True when Host is an address literal of ours on this LAN, with or without a port;
 * blanks around it do not count (RFC 7230 §3.2.4).
 */
bool http_host_is_ours(const char *host, const struct lan_info *lan);

/**
 * Path of a request target; of "http://host/path", too, when that host is ours.
 * Source: RFC 7230 §5.3.2. Errors: NULL: another host's (HTTP-4).
 */
const char *http_target_get_path(const char *target, const struct lan_info *lan);

/**
 * True for the control points that stop at what version 2 and IPv6 brought: Windows and
 * Xbox (IGD-6). They are shown nothing of it. NULL = no.
 */
bool http_agent_is_legacy(const char *user_agent);

/** True for a content type that can be SOAP; none given counts as one (SOAP-7). */
bool http_content_type_is_xml(const char *content_type);

/** SOAPACTION of a POST, or of an M-POST whose MAN names its prefix; NULL = none. */
const char *http_headers_get_soap_action(const struct http_headers *headers,
					 enum http_method method);

#endif
