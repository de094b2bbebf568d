/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/step.h"

#include <stdio.h>
#include <string.h>

static const char *const step_protocols[STEP_PROTOCOL_COUNT] = {
	[STEP_GATEWAY] = "gateway", [STEP_NATPMP] = "nat-pmp", [STEP_PCP] = "pcp",
	[STEP_PCP6] = "pcp-v6",	    [STEP_UPNP] = "upnp",      [STEP_ALL] = "all",
};

static const char *const step_outcomes[STEP_OUTCOME_COUNT] = {
	[STEP_OK] = "ok",
	[STEP_WARN] = "warn",
	[STEP_NO] = "no",
	[STEP_NONE] = "-",
};

const char *step_get_protocol_name(enum step_protocol protocol)
{
	return step_protocols[protocol];
}

const char *step_get_outcome_name(enum step_outcome outcome)
{
	return step_outcomes[outcome];
}

struct step step_init(enum step_protocol protocol, const char *name)
{
	struct step step = {.protocol = (uint8_t)protocol, .outcome = STEP_NONE};

	(void)snprintf(step.name, sizeof(step.name), "%s", name);
	return step;
}

static bool octet_is_printable(char octet)
{
	return octet >= ' ' && octet <= '~';
}

struct step *step_say(struct step *step, enum step_outcome outcome, const char *format,
		      ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(step->text, sizeof(step->text), format, arguments);
	va_end(arguments);
	for (char *at = step->text; *at != '\0'; at++) {
		if (!octet_is_printable(*at))
			*at = '?';
	}
	step->outcome = (uint8_t)outcome;
	return step;
}

static bool text_is_printable(const char *text, size_t size)
{
	const char *end = memchr(text, '\0', size);

	if (!end)
		return false;
	for (; text < end; text++) {
		if (!octet_is_printable(*text))
			return false;
	}
	return true;
}

bool step_is_valid(const struct step *step)
{
	return step->protocol < STEP_PROTOCOL_COUNT &&
	       step->outcome < STEP_OUTCOME_COUNT && step->answered <= 1 &&
	       step->cause < STEP_CAUSE_COUNT && step->ms >= 0 &&
	       text_is_printable(step->name, sizeof(step->name)) &&
	       text_is_printable(step->text, sizeof(step->text));
}
