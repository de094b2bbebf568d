/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/print.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

/* The columns before the text: protocol, step, outcome, milliseconds. */
#define TEXT_COLUMN 37

static const char *outcome_get_color(uint8_t outcome)
{
	switch ((enum step_outcome)outcome) {
	case STEP_OK:
		return "\033[32m";
	case STEP_WARN:
		return "\033[33m";
	case STEP_NO:
		return "\033[31m";
	case STEP_NONE:
		return "\033[2m";
	}
	return "";
}

void print_write_step(const struct console_style *style, const struct step *step,
		      FILE *file)
{
	const char *color = style->color ? outcome_get_color(step->outcome) : "";
	const struct console_layout layout = {.indent = TEXT_COLUMN,
					      .first = TEXT_COLUMN,
					      .width = style->width,
					      .more = "",
					      .cut_words = true};

	(void)fprintf(file, "%-7s  %-11s  %s%-4s%s %5" PRId64 " ms  ",
		      step_get_protocol_name(step->protocol), step->name, color,
		      step_get_outcome_name(step->outcome),
		      style->color ? CONSOLE_COLOR_END : "", step->ms);
	console_write_text(step->text, &layout, file);
}

void print_write_verdict(const struct console_style *style,
			 const struct verdict *verdict, FILE *file)
{
	const char *color = "";

	if (style->color)
		color = verdict->exit == PROBE_EXIT_OK ? "\033[1;32m" : "\033[1;31m";
	(void)fprintf(file, "%s%s%s\n", color, verdict->text,
		      style->color ? CONSOLE_COLOR_END : "");
}

static bool json_add(struct json_object *object, const char *name,
		     struct json_object *value)
{
	return json_object_object_add(object, name, value) == 0;
}

static struct json_object *json_of_step(const struct step *step)
{
	struct json_object *object = json_object_new_object();
	struct json_object *good = NULL;

	if (!object)
		return NULL;
	if (step->outcome != STEP_NONE)
		good = json_object_new_boolean(step->outcome != STEP_NO);
	if (json_add(object, "protocol",
		     json_object_new_string(step_get_protocol_name(step->protocol))) &&
	    json_add(object, "step", json_object_new_string(step->name)) &&
	    json_add(object, "ok", good) &&
	    json_add(object, "outcome",
		     json_object_new_string(
			     step->outcome == STEP_NONE
				     ? "none"
				     : step_get_outcome_name(step->outcome))) &&
	    json_add(object, "ms", json_object_new_int64(step->ms)) &&
	    json_add(object, "text", json_object_new_string(step->text)))
		return object;
	json_object_put(object);
	return NULL;
}

static bool json_fill(struct json_object *object, const char *gateway,
		      const struct step_list *list, const struct verdict *verdict)
{
	struct json_object *steps = json_object_new_array();

	if (!json_add(object, "gateway",
		      gateway[0] != '\0' ? json_object_new_string(gateway) : NULL) ||
	    !json_add(object, "steps", steps))
		return false;
	for (size_t i = 0; i < list->count; i++) {
		struct json_object *step = json_of_step(&list->steps[i]);

		if (!step || json_object_array_add(steps, step) != 0)
			return false;
	}
	return json_add(object, "verdict", json_object_new_string(verdict->text)) &&
	       json_add(object, "exit", json_object_new_int((int)verdict->exit));
}

bool print_write_json(const char *gateway, const struct step_list *list,
		      const struct verdict *verdict, FILE *file)
{
	struct json_object *object = json_object_new_object();
	bool good = object && json_fill(object, gateway, list, verdict);

	if (good)
		console_write_json(object, file);
	json_object_put(object);
	return good;
}
