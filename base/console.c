/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/console.h"

#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "base/buf.h"

#define WIDTH_MAX 1000

bool console_style_set_width(struct console_style *style, const char *text)
{
	uint64_t number;

	if (!parse_number(text, WIDTH_MAX, &number))
		return false;
	style->width = number > 0 ? (size_t)number : CONSOLE_WIDTH_DEFAULT;
	return true;
}

/* Octets of text for one line: up to a blank, or of one word that is longer. */
static size_t text_get_line(const char *text, size_t room, bool cut_words)
{
	size_t length = strlen(text);

	if (length <= room)
		return length;
	for (length = room; length > 0 && text[length] != ' '; length--)
		;
	if (length > 0)
		return length;
	return cut_words ? room : strcspn(text, " ");
}

void console_write_text(const char *text, const struct console_layout *layout,
			FILE *file)
{
	size_t more = strlen(layout->more);
	size_t taken = layout->first;

	for (;;) {
		size_t room = layout->width > taken + CONSOLE_TEXT_MIN
				      ? layout->width - taken
				      : CONSOLE_TEXT_MIN;
		size_t length = text_get_line(text, room, layout->cut_words);

		if (text[length] != '\0' && more > 0)
			length = text_get_line(text, room - more, layout->cut_words);
		(void)fprintf(file, "%.*s", (int)length, text);
		text += length;
		text += strspn(text, " ");
		(void)fprintf(file, "%s\n", *text != '\0' ? layout->more : "");
		if (*text == '\0')
			return;
		(void)fprintf(file, "%*s", (int)layout->indent, "");
		taken = layout->indent;
	}
}

void console_write_json(struct json_object *object, FILE *file)
{
	(void)fprintf(file, "%s\n",
		      json_object_to_json_string_ext(
			      object,
			      JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

bool console_flush(const char *who, FILE *file)
{
	if (fflush(file) == 0 || errno == EPIPE)
		return true;
	console_report(who, "cannot write: %s", strerror(errno));
	return false;
}

void console_report(const char *who, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	console_report_list(who, format, arguments);
	va_end(arguments);
}

void console_report_list(const char *who, const char *format, va_list arguments)
{
	(void)fprintf(stderr, "%s: ", who);
	(void)vfprintf(stderr, format, arguments);
	(void)fputs("\n", stderr);
}
