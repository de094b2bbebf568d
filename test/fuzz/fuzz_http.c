/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of HTTP that is ours: a method, then headers, one a line. Splitting them is
 * libmicrohttpd's work; judging them is what is tried here (HTTP-2, HTTP-3, HTTP-4).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/http.h"
#include "protocols/soap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Take the next line out of the text; NULL at its end. */
static char *next_line(char **text)
{
	char *line = strsep(text, "\n");

	if (line)
		line[strcspn(line, "\r")] = '\0';
	return line;
}

static void add_header(struct http_headers *headers, char *line)
{
	char *value = strchr(line, ':');

	if (!value)
		return;
	*value++ = '\0';
	http_headers_add(headers, line, value + strspn(value, " \t"));
}

static void check_accepted(const struct http_headers *headers)
{
	if (headers->repeated || headers->octets > HTTP_HEADERS_MAX ||
	    (headers->host && !strstr(headers->host, "192.168.1.1") &&
	     !strchr(headers->host, '[')))
		abort();
}

/* What a head is does not depend on how much came behind it; but that a line is too
 * long is seen before the whole of it is. */
static void check_head(const char *text, size_t size)
{
	uint16_t status = 0;
	uint16_t again = 0;

	if (!http_head_scan(text, size, &status))
		return;
	if (status != 0 && status != 400 && status != 413 && status != 414)
		abort();
	for (size_t part = size; part > 0 && http_head_scan(text, part, &again);
	     part = part / 2)
		if (again != status && again != 414)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lan_info lan = {.ifindex = 1, .address_count = 2};
	struct http_headers headers = {.octets = 0};
	struct soap_action action;
	enum http_method method;
	char *text = malloc(size + 1);
	char *rest = text;
	char *line;
	const char *value;

	if (!text || !addr_parse("192.168.1.1", &lan.addresses[0].addr) ||
	    !addr_parse("2001:db8::1", &lan.addresses[1].addr))
		abort();
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	check_head(text, size);
	line = next_line(&rest);
	method = http_parse_method(line ? line : "");
	while ((line = next_line(&rest)))
		add_header(&headers, line);
	if (http_headers_check(&headers, false, &lan) == 0)
		check_accepted(&headers);
	(void)http_content_type_is_xml(headers.content_type);
	value = http_headers_get_soap_action(&headers, method);
	if (value && soap_parse_action(value, &action) &&
	    strpbrk(action.type, "<>\"' "))
		abort();
	free(text);
	return 0;
}
