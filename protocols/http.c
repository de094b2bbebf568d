/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/http.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"

#define BLANKS " \t"
#define HTTP_SCHEME "http://"
/* Digits of a length that fits into 64 bits. */
#define LENGTH_DIGITS_MAX 19
/* An address literal in brackets, and a port. */
#define HOST_SIZE (ADDR_TEXT_SIZE + 8)
#define ENVELOPE_MAN "http://schemas.xmlsoap.org/soap/envelope/"

enum http_method http_parse_method(const char *method)
{
	static const struct {
		const char *name;
		enum http_method method;
	} rows[] = {
		{"GET", HTTP_GET},
		{"HEAD", HTTP_HEAD},
		{"POST", HTTP_POST},
		{"M-POST", HTTP_M_POST},
		{"SUBSCRIBE", HTTP_SUBSCRIBE},
		{"UNSUBSCRIBE", HTTP_UNSUBSCRIBE},
		{"NOTIFY", HTTP_OTHER},
		{"OPTIONS", HTTP_OTHER},
		{"PUT", HTTP_OTHER},
		{"DELETE", HTTP_OTHER},
		{"TRACE", HTTP_OTHER},
		{"CONNECT", HTTP_OTHER},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, method) == 0)
			return rows[i].method;
	return HTTP_UNKNOWN;
}

/* Digits, and blanks before them. */
static uint16_t check_length(const char *text, size_t length)
{
	size_t i = 0;

	while (i < length && strchr(BLANKS, text[i]))
		i++;
	if (i == length)
		return 400;
	for (size_t k = i; k < length; k++)
		if (text[k] < '0' || text[k] > '9')
			return 400;
	return length - i > LENGTH_DIGITS_MAX ? 413 : 0;
}

/* A line that goes on with the one before it begins with a blank: folded. */
static uint16_t check_line(const char *line, size_t length)
{
	static const char content_length[] = "Content-Length";
	const char *colon = memchr(line, ':', length);
	size_t name = colon ? (size_t)(colon - line) : 0;

	if (name == 0 || memchr(line, ' ', name) || memchr(line, '\t', name))
		return 400;
	if (name != strlen(content_length) ||
	    strncasecmp(line, content_length, name) != 0)
		return 0;
	return check_length(colon + 1, length - name - 1);
}

static uint16_t check_request_line(const char *line, size_t length)
{
	unsigned int arguments = 0;

	for (size_t i = 0; i < length; i++)
		arguments += line[i] == '&';
	return length > HTTP_LINE_MAX || arguments >= HTTP_ARGUMENTS_MAX ? 414 : 0;
}

bool http_head_scan(const char *text, size_t length, uint16_t *status)
{
	bool begun = false; /* the request line; empty ones before it are skipped */
	uint16_t found = 0;
	const char *line = text;
	const char *end;

	while ((end = memchr(line, '\n', length - (size_t)(line - text)))) {
		size_t size = (size_t)(end - line);

		if (size > 0 && line[size - 1] == '\r')
			size--;
		if (memchr(line, '\r', size) || memchr(line, '\0', size))
			found = 400;
		if (size == 0 && begun) {
			*status = found;
			return true;
		}
		if (!found)
			found = begun ? check_line(line, size)
				      : check_request_line(line, size);
		begun |= size > 0;
		line = end + 1;
	}
	if (begun || (size_t)(text + length - line) <= HTTP_LINE_MAX)
		return false;
	*status = 414;
	return true;
}

/* "01-SOAPACTION" */
static bool is_m_soap_action(const char *name)
{
	return name[0] >= '0' && name[0] <= '9' && name[1] >= '0' && name[1] <= '9' &&
	       strcasecmp(name + 2, "-SOAPACTION") == 0;
}

static void note(struct http_headers *headers, const char **slot, const char *value)
{
	if (*slot)
		headers->repeated = true;
	*slot = value;
}

void http_headers_add(struct http_headers *headers, const char *name, const char *value)
{
	const struct {
		const char *name;
		const char **slot;
	} rows[] = {
		{"Host", &headers->host},
		{"Content-Type", &headers->content_type},
		{"Content-Length", &headers->content_length},
		{"Transfer-Encoding", &headers->transfer_encoding},
		{"Expect", &headers->expect},
		{"Man", &headers->man},
		{"SOAPAction", &headers->soap_action},
		{"User-Agent", &headers->user_agent},
		{"Callback", &headers->callback},
		{"NT", &headers->nt},
		{"SID", &headers->sid},
		{"Timeout", &headers->timeout},
	};

	headers->octets += strlen(name) + strlen(value) + 4; /* ": " and CRLF */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcasecmp(rows[i].name, name) == 0) {
			note(headers, rows[i].slot, value);
			return;
		}
	if (is_m_soap_action(name)) {
		note(headers, &headers->m_soap_action, value);
		memcpy(headers->m_prefix, name, sizeof(headers->m_prefix));
	}
}

static bool is_ours(const char *host, const struct lan_info *lan)
{
	char text[ADDR_TEXT_SIZE];
	bool bracket = *host == '[';
	const char *from = bracket ? host + 1 : host;
	size_t length = strcspn(from, bracket ? "]" : ":");
	const char *rest = from + length;
	size_t zone = strcspn(from, "%");
	struct ip_addr addr;
	uint64_t port;

	if (length >= sizeof(text) || (bracket && *rest++ != ']'))
		return false;
	if (*rest != '\0' &&
	    (*rest != ':' || !parse_number(rest + 1, UINT16_MAX, &port)))
		return false;
	/* The client's name of the link; some send it, which RFC 6874 §3 forbids. */
	length = zone < length ? zone : length;
	memcpy(text, from, length);
	text[length] = '\0';
	return addr_parse(text, &addr) && addr_is_ipv4(&addr) == !bracket &&
	       (zone >= (size_t)(rest - from) || addr_is_link_local(&addr)) &&
	       lan_info_has_address(lan, &addr);
}

bool http_host_is_ours(const char *host, const struct lan_info *lan)
{
	char text[HOST_SIZE];

	return span_copy(span_from_text(host), text, sizeof(text)) &&
	       is_ours(text, lan);
}

const char *http_target_get_path(const char *target, const struct lan_info *lan)
{
	char host[HOST_SIZE];
	size_t length;

	if (strncasecmp(target, HTTP_SCHEME, strlen(HTTP_SCHEME)) != 0)
		return target;
	target += strlen(HTTP_SCHEME);
	length = strcspn(target, "/");
	if (length >= sizeof(host))
		return NULL;
	memcpy(host, target, length);
	host[length] = '\0';
	if (!is_ours(host, lan))
		return NULL;
	return target[length] == '\0' ? "/" : target + length;
}

uint16_t http_headers_check(const struct http_headers *headers, bool is_http_1_0,
			    const struct lan_info *lan)
{
	uint64_t length = 0;
	char text[24];

	if (headers->octets > HTTP_HEADERS_MAX)
		return 431;
	if (headers->repeated)
		return 400;
	if (headers->content_length && headers->transfer_encoding)
		return 400; /* two lengths are none */
	if (headers->transfer_encoding &&
	    strcasecmp(headers->transfer_encoding, "chunked") != 0)
		return 501;
	if (!headers->host && !is_http_1_0)
		return 400;
	if (headers->host && !http_host_is_ours(headers->host, lan))
		return 403;
	if (headers->content_length &&
	    (!span_copy(span_from_text(headers->content_length), text, sizeof(text)) ||
	     !parse_number(text, UINT64_MAX, &length)))
		return 400;
	return length > HTTP_BODY_MAX ? 413 : 0;
}

bool http_content_type_is_xml(const char *content_type)
{
	static const char *const types[] = {"text/xml", "application/xml",
					    "application/soap+xml"};
	size_t length;

	if (!content_type)
		return true;
	length = strcspn(content_type, "; \t");
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i]) == length &&
		    strncasecmp(types[i], content_type, length) == 0)
			return true;
	return false;
}

bool http_agent_is_legacy(const char *user_agent)
{
	static const char *const names[] = {"Microsoft-Windows", "FDSSDP", "Xbox"};

	for (size_t i = 0; user_agent && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasestr(user_agent, names[i]))
			return true;
	return false;
}

/* MAN: "http://schemas.xmlsoap.org/soap/envelope/"; ns=01 */
static bool man_names_prefix(const char *man, const char prefix[2])
{
	const char *ns;

	if (*man == '"')
		man++;
	if (strncmp(man, ENVELOPE_MAN, strlen(ENVELOPE_MAN)) != 0)
		return false;
	man += strlen(ENVELOPE_MAN);
	ns = strcasestr(man, "ns=");
	return ns && ns[3] == prefix[0] && ns[4] == prefix[1];
}

const char *http_headers_get_soap_action(const struct http_headers *headers,
					 enum http_method method)
{
	if (method != HTTP_M_POST || headers->soap_action)
		return headers->soap_action;
	if (!headers->m_soap_action || !headers->man ||
	    !man_names_prefix(headers->man, headers->m_prefix))
		return NULL;
	return headers->m_soap_action;
}
