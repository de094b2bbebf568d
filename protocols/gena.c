/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/gena.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t"
#define HTTP_SCHEME "http://"
#define EVENT_NT "upnp:event"
#define TIMEOUT_PREFIX "Second-"
#define EVENT_NS "urn:schemas-upnp-org:event-1-0"
/* Longest port as text, with its NUL. */
#define PORT_SIZE 6

/* ---- CALLBACK ---- */

/*
 * Nothing that could end a line, a header or an element of ours: what stands in a path
 * is sent back as it is (GENA-7).
 */
static bool path_is_clean(const struct span *path)
{
	for (size_t i = 0; i < path->length; i++) {
		unsigned char c = (unsigned char)path->at[i];

		if (c <= ' ' || c >= 0x7f || strchr("<>\"#", c))
			return false;
	}
	return path->length == 0 || path->at[0] == '/';
}

static bool parse_port(const struct span *text, uint16_t *out)
{
	char digits[PORT_SIZE];
	uint64_t port;

	if (!span_copy(*text, digits, sizeof(digits)) ||
	    !parse_number(digits, UINT16_MAX, &port) || port < GENA_PORT_MIN)
		return false;
	*out = (uint16_t)port;
	return true;
}

/*
 * "192.0.2.1:5000" or "[2001:db8::1]:5000". Without a port it would be 80, which is
 * none of a subscriber. A user, a name or a zone is no address literal.
 */
static bool parse_authority(const struct span *authority, const struct ip_addr *client,
			    uint16_t *port)
{
	const bool bracket = authority->length > 0 && authority->at[0] == '[';
	const char *end = authority->at + authority->length;
	const char *colon = memrchr(authority->at, ':', authority->length);
	struct span host, digits;
	char text[ADDR_TEXT_SIZE];
	struct ip_addr addr;

	if (!colon)
		return false;
	host = (struct span){authority->at, (size_t)(colon - authority->at)};
	digits = (struct span){colon + 1, (size_t)(end - colon - 1)};
	if (bracket) {
		if (host.length < 2 || host.at[host.length - 1] != ']')
			return false;
		host = (struct span){host.at + 1, host.length - 2};
	}
	return span_copy(host, text, sizeof(text)) && addr_parse(text, &addr) &&
	       addr_is_ipv4(&addr) == !bracket && addr_equal(&addr, client) &&
	       parse_port(&digits, port);
}

static bool add_url(struct gena_callback *callback, const struct span *url,
		    const struct ip_addr *client)
{
	const size_t scheme = strlen(HTTP_SCHEME);
	struct span authority, path;
	uint16_t port;

	if (callback->count == GENA_URLS_MAX || url->length < scheme ||
	    strncasecmp(url->at, HTTP_SCHEME, scheme) != 0)
		return false;
	authority = (struct span){url->at + scheme, 0};
	while (scheme + authority.length < url->length &&
	       authority.at[authority.length] != '/')
		authority.length++;
	path = (struct span){authority.at + authority.length,
			     url->length - scheme - authority.length};
	if (!parse_authority(&authority, client, &port) || !path_is_clean(&path) ||
	    path.length > GENA_PATH_MAX)
		return false;
	if (path.length == 0)
		path = (struct span){"/", 1};
	/* It fits: scheme and host were longer than "/" and the NUL are. */
	if (!span_copy(path, callback->text + callback->used,
		       sizeof(callback->text) - callback->used))
		return false;
	callback->urls[callback->count++] =
		(struct gena_url){port, (uint16_t)callback->used};
	callback->used += path.length + 1;
	return true;
}

/* One or more <URL>, blanks between them. */
static bool parse_callback(const char *text, const struct ip_addr *client,
			   struct gena_callback *out)
{
	out->count = 0;
	out->used = 0;
	if (strlen(text) > GENA_CALLBACK_MAX)
		return false;
	text += strspn(text, BLANKS);
	while (*text == '<') {
		struct span url = {text + 1, strcspn(text + 1, ">")};

		text = url.at + url.length;
		if (*text != '>' || !add_url(out, &url, client))
			return false;
		text++;
		text += strspn(text, BLANKS);
	}
	return *text == '\0' && out->count > 0;
}

const char *gena_callback_get_path(const struct gena_callback *callback, size_t index)
{
	return callback->text + callback->urls[index].path;
}

/* ---- the other headers ---- */

/* "Second-1800". "infinite", nonsense and none are the same (GENA-5). */
static uint32_t parse_timeout(const char *text)
{
	const size_t prefix = strlen(TIMEOUT_PREFIX);
	struct span span = span_from_text(text ? text : "");
	char digits[24];
	uint64_t asked_s;

	if (span.length < prefix || strncasecmp(span.at, TIMEOUT_PREFIX, prefix) != 0)
		return GENA_TIMEOUT_MIN_S;
	span = (struct span){span.at + prefix, span.length - prefix};
	if (!span_copy(span, digits, sizeof(digits)) ||
	    !parse_number(digits, UINT64_MAX, &asked_s) || asked_s < GENA_TIMEOUT_MIN_S)
		return GENA_TIMEOUT_MIN_S;
	return asked_s < GENA_TIMEOUT_MAX_S ? (uint32_t)asked_s : GENA_TIMEOUT_MAX_S;
}

static uint16_t parse_new(const struct http_headers *headers,
			  const struct ip_addr *client, struct gena_call *out)
{
	struct span nt = span_from_text(headers->nt ? headers->nt : "");

	if (!headers->callback || !span_equals(nt, EVENT_NT) ||
	    !parse_callback(headers->callback, client, &out->callback))
		return 412;
	out->kind = GENA_SUBSCRIBE;
	return 0;
}

uint16_t gena_parse_call(enum http_method method, const struct http_headers *headers,
			 const struct ip_addr *client, struct gena_call *out)
{
	struct span sid;

	out->timeout_s = parse_timeout(headers->timeout);
	if (headers->sid && (headers->nt || headers->callback))
		return 400;
	if (!headers->sid)
		return method == HTTP_SUBSCRIBE ? parse_new(headers, client, out) : 412;
	sid = span_from_text(headers->sid);
	if (!span_copy(sid, out->sid, sizeof(out->sid)))
		return 412; /* none of ours */
	out->kind = method == HTTP_SUBSCRIBE ? GENA_RENEW : GENA_UNSUBSCRIBE;
	return 0;
}

/* ---- what we send ---- */

const char *gena_make_sid(const uint8_t random[16], char text[GENA_SID_SIZE])
{
	char own[UPNP_UUID_SIZE];
	uint8_t uuid[16];

	memcpy(uuid, random, sizeof(uuid));
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	(void)snprintf(text, GENA_SID_SIZE, GENA_SID_PREFIX "%s",
		       upnp_format_uuid(uuid, own));
	return text;
}

uint32_t gena_get_next_seq(uint32_t seq)
{
	return seq == UINT32_MAX ? 1 : seq + 1;
}

bool gena_write_body(const struct gena_property *properties, size_t count,
		     struct xmldoc *out)
{
	struct xml_writer *writer = xml_writer_new();

	xml_writer_open(writer, "e:propertyset");
	xml_writer_attribute(writer, "xmlns:e", EVENT_NS);
	for (size_t i = 0; i < count; i++) {
		xml_writer_open(writer, "e:property");
		xml_writer_element(writer, properties[i].name, properties[i].value);
		xml_writer_close(writer);
	}
	xml_writer_close(writer);
	return xml_writer_finish(writer, out);
}

static void write_header(struct writer *writer, const char *name, const char *value)
{
	upnp_write_text(writer, name);
	upnp_write_text(writer, ": ");
	upnp_write_text(writer, value);
	upnp_write_text(writer, "\r\n");
}

static void write_number(struct writer *writer, const char *name, uint64_t value)
{
	upnp_write_text(writer, name);
	upnp_write_text(writer, ": ");
	upnp_write_number(writer, value);
	upnp_write_text(writer, "\r\n");
}

static void write_host(struct writer *writer, const struct gena_head *head)
{
	const bool bracket = !addr_is_ipv4(&head->host);
	char text[ADDR_TEXT_SIZE];

	upnp_write_text(writer, "HOST: ");
	upnp_write_text(writer, bracket ? "[" : "");
	upnp_write_text(writer, addr_format(&head->host, text));
	upnp_write_text(writer, bracket ? "]:" : ":");
	upnp_write_number(writer, head->port);
	upnp_write_text(writer, "\r\n");
}

void gena_write_head(struct writer *writer, const struct gena_head *head)
{
	upnp_write_text(writer, "NOTIFY ");
	upnp_write_text(writer, head->path);
	upnp_write_text(writer, " HTTP/1.1\r\n");
	write_host(writer, head);
	write_header(writer, "CONTENT-TYPE", UPNP_CONTENT_TYPE);
	write_header(writer, "NT", EVENT_NT);
	write_header(writer, "NTS", "upnp:propchange");
	write_header(writer, "SID", head->sid);
	write_number(writer, "SEQ", head->seq);
	write_number(writer, "CONTENT-LENGTH", head->length);
	/* One event a connection: nothing of ours waits in a subscriber. */
	write_header(writer, "CONNECTION", "close");
	upnp_write_text(writer, "\r\n");
}

/* "HTTP/1.1 200 OK" */
uint16_t gena_parse_status(const char *line)
{
	const char version[] = "HTTP/1.";
	const size_t prefix = sizeof(version) - 1;
	char digits[4] = "";
	uint64_t status;

	if (strncmp(line, version, prefix) != 0 || line[prefix] < '0' ||
	    line[prefix] > '9' || line[prefix + 1] != ' ')
		return 0;
	line += prefix + 2;
	for (size_t i = 0; i < 3 && line[i] != '\0'; i++)
		digits[i] = line[i];
	if (!parse_number(digits, 999, &status) || status < 100 ||
	    !strchr(" \r\n", line[3]))
		return 0;
	return (uint16_t)status;
}
