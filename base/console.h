/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_CONSOLE_H
#define BASE_CONSOLE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct json_object;

/* What the programs that a person starts have in common: how they write. */

/** Columns where nobody says how many there are. */
#define CONSOLE_WIDTH_DEFAULT 80
/** Columns of a text that are taken at the least, however narrow the terminal. */
#define CONSOLE_TEXT_MIN 20
#define CONSOLE_COLOR_END "\033[0m"

/** How a person reads it. */
struct console_style {
	bool color;
	size_t width; /* of a line */
};

/** Where a text stands, and what is at the end of a line that goes on. */
struct console_layout {
	size_t indent;
	size_t first; /* columns of its first line that are taken */
	size_t width;
	const char *more;
	bool cut_words; /* those that are longer than a line */
};

/** Columns as an option names them; 0 = the default. Errors: false, it is no number. */
bool console_style_set_width(struct console_style *style, const char *text)
	__attribute__((warn_unused_result));

/** A text, wrapped between words, each further line indented. */
void console_write_text(const char *text, const struct console_layout *layout,
			FILE *file);
/** An object on a line of its own. */
void console_write_json(struct json_object *object, FILE *file);
/**
 * What was written so far goes out. Errors: false, reported; a reader that has gone is
 * none.
 */
bool console_flush(const char *who, FILE *file) __attribute__((warn_unused_result));

/** A line on standard error, behind the name of who says it. */
void console_report(const char *who, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void console_report_list(const char *who, const char *format, va_list arguments)
	__attribute__((format(printf, 2, 0)));

#endif
