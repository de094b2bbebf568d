/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin/parse.h"

#include <string.h>

#include "base/buf.h"

bool parse_duration(const char *text, uint32_t *out)
{
	if (strcmp(text, "never") != 0)
		return parse_time(text, out);
	*out = 0;
	return true;
}

/** Address in text[0..length) and, after it, nothing or ":PORT". */
static bool endpoint_parse_parts(const char *text, size_t length, const char *rest,
				 struct ip_addr *addr, uint16_t *port)
{
	char addr_text[ADDR_TEXT_SIZE];
	struct ip_addr parsed;
	uint64_t number = 0;

	if (length >= sizeof(addr_text))
		return false;
	memcpy(addr_text, text, length);
	addr_text[length] = '\0';
	if (!addr_parse(addr_text, &parsed))
		return false;
	if (*rest != '\0' &&
	    (*rest != ':' || !parse_number(rest + 1, UINT16_MAX, &number) ||
	     number == 0))
		return false;
	*addr = parsed;
	*port = (uint16_t)number;
	return true;
}

bool parse_endpoint(const char *text, struct ip_addr *addr, uint16_t *port)
{
	const char *end = strchr(text, ']');
	const char *colon = strchr(text, ':');

	if (text[0] == '[') {
		if (end == NULL || colon == NULL || colon > end)
			return false;
		return endpoint_parse_parts(text + 1, (size_t)(end - text - 1), end + 1,
					    addr, port);
	}
	/* Two colons without brackets: all of it is an IPv6 address. */
	if (colon == NULL || strchr(colon + 1, ':') != NULL)
		colon = text + strlen(text);
	return endpoint_parse_parts(text, (size_t)(colon - text), colon, addr, port);
}
