/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *finding_get_state_name(enum finding_state state)
{
	static const char *const names[FINDING_STATE_COUNT] = {
		[FINDING_PROBLEM] = "problem",
		[FINDING_UNKNOWN] = "unknown",
		[FINDING_OK] = "ok",
	};

	return names[state];
}

/* Names of interfaces and chains may be made of any octets. */
static void text_write(char *text, size_t size, const char *format, va_list arguments)
{
	(void)vsnprintf(text, size, format, arguments);
	for (; *text != '\0'; text++) {
		if (*text < ' ' || *text > '~')
			*text = '?';
	}
}

static void text_set(char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void text_set(char *text, size_t size, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	text_write(text, size, format, arguments);
	va_end(arguments);
}

struct finding *findings_add(struct findings *findings, const char *id,
			     const char *subject)
{
	size_t place =
		findings->count < FINDINGS_MAX ? findings->count++ : FINDINGS_MAX - 1;
	struct finding *finding = &findings->list[place];

	*finding = (struct finding){.id = id, .state = FINDING_UNKNOWN};
	text_set(finding->subject, sizeof(finding->subject), "%s", subject);
	return finding;
}

void finding_say(struct finding *finding, enum finding_state state, const char *format,
		 ...)
{
	va_list arguments;

	finding->state = state;
	va_start(arguments, format);
	text_write(finding->text, sizeof(finding->text), format, arguments);
	va_end(arguments);
}

void finding_fix(struct finding *finding, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	text_write(finding->fix, sizeof(finding->fix), format, arguments);
	va_end(arguments);
}

void finding_keep(struct finding *finding, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	text_write(finding->lasting, sizeof(finding->lasting), format, arguments);
	va_end(arguments);
}

size_t findings_count(const struct findings *findings, enum finding_state state)
{
	size_t count = 0;

	for (size_t i = 0; i < findings->count; i++)
		count += findings->list[i].state == state;
	return count;
}

enum doctor_exit findings_get_exit(const struct findings *findings)
{
	return findings_count(findings, FINDING_PROBLEM) > 0 ? DOCTOR_EXIT_DEGRADED
							     : DOCTOR_EXIT_OK;
}

bool name_is_plain(const char *name)
{
	return name[0] != '\0' && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789_-.") == strlen(name);
}

bool name_is_path(const char *path)
{
	return path[0] != '\0' && path[0] != '-' &&
	       strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789_-./") == strlen(path);
}
