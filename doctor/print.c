/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/print.h"

#include <json-c/json.h>
#include <string.h>

/* Where texts begin, and commands. */
#define TEXT_COLUMN 9
#define COMMAND_COLUMN 13
#define VERDICT_SIZE 128

static const char *state_get_color(enum finding_state state)
{
	switch (state) {
	case FINDING_PROBLEM:
		return "\033[1;31m";
	case FINDING_UNKNOWN:
		return "\033[33m";
	case FINDING_OK:
		return "\033[32m";
	}
	return "";
}

/* "problem  forward-dropped (IPv4)". Returns its columns. */
static size_t print_head(const struct console_style *style,
			 const struct finding *finding, FILE *file)
{
	const char *name = finding->state == FINDING_OK	       ? "ok"
			   : finding->state == FINDING_PROBLEM ? "problem"
							       : "?";
	bool subject = finding->subject[0] != '\0';
	int columns;

	(void)fprintf(file, "%s%-7s%s",
		      style->color ? state_get_color(finding->state) : "", name,
		      style->color ? CONSOLE_COLOR_END : "");
	columns = fprintf(file, "  %s%s%s%s", finding->id, subject ? " (" : "",
			  finding->subject, subject ? ")" : "");
	return 7 + (columns > 0 ? (size_t)columns : 0);
}

/* What to do: commands as they can be pasted, one on a line where there are several. */
static void print_fix(const struct console_style *style, const char *fix, FILE *file)
{
	const struct console_layout layout = {.indent = COMMAND_COLUMN + 4,
					      .first = COMMAND_COLUMN,
					      .width = style->width,
					      .more = " \\"};
	char command[FINDING_FIX_SIZE];

	(void)fprintf(file, "%*s%s\n", TEXT_COLUMN, "", "To mend it now:");
	while (*fix != '\0') {
		const char *end = strstr(fix, "; ");
		size_t length = end ? (size_t)(end - fix) : strlen(fix);

		/* Not the one inside of quotes. */
		if (memchr(fix, '\'', length))
			length = strlen(fix);
		(void)snprintf(command, sizeof(command), "%.*s", (int)length, fix);
		(void)fprintf(file, "%*s", COMMAND_COLUMN, "");
		console_write_text(command, &layout, file);
		fix += length;
		fix += strspn(fix, "; ");
	}
}

static void print_finding(const struct console_style *style,
			  const struct finding *finding, FILE *file)
{
	struct console_layout layout = {.indent = TEXT_COLUMN,
					.first = TEXT_COLUMN,
					.width = style->width,
					.more = ""};
	char text[FINDING_TEXT_SIZE + sizeof("To keep it mended: ")];

	(void)print_head(style, finding, file);
	(void)fprintf(file, "\n%*s", TEXT_COLUMN, "");
	(void)snprintf(text, sizeof(text), "%s%s",
		       finding->state == FINDING_UNKNOWN ? "cannot tell: " : "",
		       finding->text);
	console_write_text(text, &layout, file);
	if (finding->fix[0] != '\0')
		print_fix(style, finding->fix, file);
	if (finding->lasting[0] == '\0')
		return;
	(void)snprintf(text, sizeof(text), "To keep it mended: %s", finding->lasting);
	(void)fprintf(file, "%*s", TEXT_COLUMN, "");
	console_write_text(text, &layout, file);
}

/* There is nothing to do about it: one line where it fits. */
static void print_short(const struct console_style *style,
			const struct finding *finding, FILE *file)
{
	const char *before = finding->state == FINDING_UNKNOWN ? "cannot tell: " : "";
	char text[FINDING_TEXT_SIZE + sizeof("cannot tell: ")];
	size_t columns = print_head(style, finding, file);
	struct console_layout layout = {.indent = TEXT_COLUMN,
					.first = columns + 2,
					.width = style->width,
					.more = ""};

	if (columns + (size_t)CONSOLE_TEXT_MIN * 2 > style->width) {
		(void)fprintf(file, "\n%*s", TEXT_COLUMN, "");
		layout.first = TEXT_COLUMN;
	} else {
		(void)fputs("  ", file);
	}
	(void)snprintf(text, sizeof(text), "%s%s", before, finding->text);
	console_write_text(text, &layout, file);
}

static void verdict_format(const struct findings *findings, char text[VERDICT_SIZE])
{
	size_t problems = findings_count(findings, FINDING_PROBLEM);
	size_t unknown = findings_count(findings, FINDING_UNKNOWN);
	char rest[VERDICT_SIZE / 2] = "";

	if (unknown > 0)
		(void)snprintf(rest, sizeof(rest), "; %zu cannot be told", unknown);
	if (problems == 0)
		(void)snprintf(text, VERDICT_SIZE, "no problem found%s", rest);
	else
		(void)snprintf(text, VERDICT_SIZE, "%zu %s%s", problems,
			       problems == 1 ? "problem" : "problems", rest);
}

void print_write_findings(const struct console_style *style,
			  const struct findings *findings, FILE *file)
{
	char verdict[VERDICT_SIZE];
	const char *color = "";

	for (int state = 0; state < FINDING_STATE_COUNT; state++) {
		for (size_t i = 0; i < findings->count; i++) {
			const struct finding *finding = &findings->list[i];

			if ((int)finding->state != state)
				continue;
			if (finding->state == FINDING_OK ||
			    (finding->state == FINDING_UNKNOWN &&
			     finding->fix[0] == '\0'))
				print_short(style, finding, file);
			else
				print_finding(style, finding, file);
		}
	}
	verdict_format(findings, verdict);
	if (style->color)
		color = findings_get_exit(findings) == DOCTOR_EXIT_OK ? "\033[1;32m"
								      : "\033[1;31m";
	(void)fprintf(file, "%s%s%s\n", color, verdict,
		      style->color ? CONSOLE_COLOR_END : "");
}

static bool json_add(struct json_object *object, const char *name,
		     struct json_object *value)
{
	return json_object_object_add(object, name, value) == 0;
}

/* Null where there is nothing to say. */
static bool json_add_text(struct json_object *object, const char *name,
			  const char *text)
{
	return json_add(object, name,
			text[0] != '\0' ? json_object_new_string(text) : NULL);
}

static struct json_object *json_of_finding(const struct finding *finding)
{
	struct json_object *object = json_object_new_object();

	if (object && json_add_text(object, "id", finding->id) &&
	    json_add_text(object, "subject", finding->subject) &&
	    json_add_text(object, "state", finding_get_state_name(finding->state)) &&
	    json_add_text(object, "text", finding->text) &&
	    json_add_text(object, "fix", finding->fix) &&
	    json_add_text(object, "lasting", finding->lasting))
		return object;
	json_object_put(object);
	return NULL;
}

static bool json_fill(struct json_object *object, const struct findings *findings)
{
	struct json_object *list = json_object_new_array();
	char verdict[VERDICT_SIZE];

	if (!json_add(object, "findings", list))
		return false;
	for (size_t i = 0; i < findings->count; i++) {
		struct json_object *finding = json_of_finding(&findings->list[i]);

		if (!finding || json_object_array_add(list, finding) != 0)
			return false;
	}
	verdict_format(findings, verdict);
	return json_add_text(object, "verdict", verdict) &&
	       json_add(object, "exit",
			json_object_new_int((int)findings_get_exit(findings)));
}

bool print_write_json(const struct findings *findings, FILE *file)
{
	struct json_object *object = json_object_new_object();
	bool good = object && json_fill(object, findings);

	if (good)
		console_write_json(object, file);
	json_object_put(object);
	return good;
}
