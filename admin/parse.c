/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin/parse.h"

#include <string.h>

#include "base/buf.h"

/** Seconds of the unit that a letter names; 0 = no such unit. */
static uint64_t unit_get_seconds(char letter)
{
	switch (letter) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 3600;
	case 'd':
		return 86400;
	case 'w':
		return 604800;
	default: /* any other character */
		return 0;
	}
}

bool parse_duration(const char *text, uint32_t *out)
{
	uint64_t total_s = 0;

	if (strcmp(text, "never") == 0) {
		*out = 0;
		return true;
	}
	if (parse_number(text, UINT32_MAX, &total_s)) {
		*out = (uint32_t)total_s;
		return true;
	}
	do {
		size_t digits = strspn(text, "0123456789");
		char number_text[16];
		uint64_t number, unit_s;

		if (digits == 0 || digits >= sizeof(number_text))
			return false;
		memcpy(number_text, text, digits);
		number_text[digits] = '\0';
		unit_s = unit_get_seconds(text[digits]);
		if (unit_s == 0 || !parse_number(number_text, UINT32_MAX, &number))
			return false;
		total_s += number * unit_s;
		if (total_s > UINT32_MAX)
			return false;
		text += digits + 1;
	} while (*text != '\0');
	*out = (uint32_t)total_s;
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
