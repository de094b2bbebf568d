/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_FINDING_H
#define DOCTOR_FINDING_H

#include <stdbool.h>
#include <stddef.h>

#define FINDING_SUBJECT_SIZE 64
#define FINDING_TEXT_SIZE 768
#define FINDING_FIX_SIZE 512
/** More than all checks have for all LANs. */
#define FINDINGS_MAX 192

/** How portreeve-doctor ends; the numbers are those of portreeve. */
enum doctor_exit {
	DOCTOR_EXIT_OK = 0,
	DOCTOR_EXIT_ERROR = 1,
	DOCTOR_EXIT_USAGE = 2,
	DOCTOR_EXIT_DEGRADED = 7,
};

enum finding_state {
	FINDING_PROBLEM,
	FINDING_UNKNOWN, /* it cannot be told from here */
	FINDING_OK,
};

#define FINDING_STATE_COUNT (FINDING_OK + 1)

/** One thing that was looked at. Texts are printable ASCII. */
struct finding {
	const char *id; /* fixed word, of doc/portreeve.1; static */
	enum finding_state state;
	char subject[FINDING_SUBJECT_SIZE]; /* an interface, a family; "" = the gateway
					     */
	char text[FINDING_TEXT_SIZE];
	char fix[FINDING_FIX_SIZE];	 /* commands that mend it; "" = there is none */
	char lasting[FINDING_TEXT_SIZE]; /* how it stays mended; "" = as it is */
};

struct findings {
	size_t count;
	struct finding list[FINDINGS_MAX];
};

/** "problem", "unknown", "ok". Owns: static. */
const char *finding_get_state_name(enum finding_state state);

/**
 * Add a finding; its text is cut to fit and made printable. Owns: borrowed, until the
 * findings go; id and subject are copied or static. Never NULL: when the list is full
 * the last one is written over.
 */
struct finding *findings_add(struct findings *findings, const char *id,
			     const char *subject);
/** State and text of a finding. */
void finding_say(struct finding *finding, enum finding_state state, const char *format,
		 ...) __attribute__((format(printf, 3, 4)));
/** The command that mends it. */
void finding_fix(struct finding *finding, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/** How it stays so. */
void finding_keep(struct finding *finding, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

size_t findings_count(const struct findings *findings, enum finding_state state);
/** Problems make 7; what cannot be told makes nothing. */
enum doctor_exit findings_get_exit(const struct findings *findings);

/** True when a name may stand in a command line as it is. */
bool name_is_plain(const char *name);
/** The same of a path. */
bool name_is_path(const char *path);

#endif
