/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool conf_fail(struct conf_parser *parser, const struct conf_where *where,
	       const char *format, ...)
{
	char message[CONF_ERROR_MAX];
	va_list args;
	int length;

	if (parser->failed)
		return false;
	parser->failed = true;
	if (where == NULL)
		where = &parser->at;
	va_start(args, format);
	(void)vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (where->line > 0)
		length = snprintf(parser->error, CONF_ERROR_MAX, "%s:%u: %s",
				  where->file, where->line, message);
	else
		length =
			snprintf(parser->error, CONF_ERROR_MAX, "%s: %s",
				 where->file ? where->file : "portreeve.conf", message);
	/* The end says what would be right; where it does not fit, say that there is
	 * more. */
	if (length >= CONF_ERROR_MAX)
		memcpy(parser->error + CONF_ERROR_MAX - 4, "...", 4);
	return false;
}

bool conf_word_next(const char **at, char word[CONF_LINE_SIZE])
{
	bool quoted = false;
	size_t length = 0;

	while (**at == ' ')
		++*at;
	if (**at == '\0')
		return false;
	for (; **at != '\0' && (quoted || **at != ' '); ++*at) {
		if (**at == '"')
			quoted = !quoted;
		else if (length < CONF_LINE_SIZE - 1)
			word[length++] = **at;
	}
	word[length] = '\0';
	return true;
}

bool conf_interface_is_valid(const char *name)
{
	const size_t length = strlen(name);

	return length > 0 && length < IF_NAMESIZE && strcspn(name, " /:\"") == length &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       strcmp(name, "auto") != 0;
}
