/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_STEP_H
#define PROBE_STEP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/** Longest text of a step, with its NUL. */
#define STEP_TEXT_SIZE 512
#define STEP_NAME_SIZE 16
/** More steps than a run ever has. */
#define STEPS_MAX 64

/** Whose step it is, in the order they come. */
enum step_protocol {
	STEP_GATEWAY, /* to find it */
	STEP_NATPMP,
	STEP_PCP,
	STEP_PCP6, /* PCP over IPv6, for a pinhole */
	STEP_UPNP,
	STEP_ALL, /* what follows from the others */
};

#define STEP_PROTOCOL_COUNT (STEP_ALL + 1)

enum step_outcome {
	STEP_OK,
	STEP_WARN, /* works, but the user should know */
	STEP_NO,   /* does not work */
	STEP_NONE, /* the gateway does not offer it, or it was not tried */
};

#define STEP_OUTCOME_COUNT (STEP_NONE + 1)

/** Why there is nothing to judge, where that is to be told in the verdict. */
enum step_cause {
	STEP_CAUSE_PLAIN,
	STEP_CAUSE_HOST,    /* this host stands in the way of the test */
	STEP_CAUSE_REFUSED, /* it is spoken, and the owner does not allow it */
};

#define STEP_CAUSE_COUNT (STEP_CAUSE_REFUSED + 1)

/** What one step found. Fixed size: it crosses from one process to another. */
struct step {
	uint8_t protocol; /* enum step_protocol */
	uint8_t outcome;  /* enum step_outcome */
	uint8_t answered; /* 1: something came back, be it a refusal or rubbish */
	uint8_t cause;	  /* enum step_cause */
	char name[STEP_NAME_SIZE];
	char text[STEP_TEXT_SIZE]; /* plain words, printable ASCII */
	int64_t ms;		   /* how long it took */
	struct ip_addr external;   /* that the gateway told here; else none */
};

/** All steps of a run so far. */
struct step_list {
	size_t count;
	struct step steps[STEPS_MAX];
};

/** "gateway", "nat-pmp", ... Owns: static. */
const char *step_get_protocol_name(enum step_protocol protocol);
/** "ok", "warn", "no", "-". Owns: static. */
const char *step_get_outcome_name(enum step_outcome outcome);

/** A step that has begun; outcome and text are for step_say(). name: not too long. */
struct step step_init(enum step_protocol protocol, const char *name);

/** How it went; the text is cut to fit and made printable. Returns step. */
struct step *step_say(struct step *step, enum step_outcome outcome, const char *format,
		      ...) __attribute__((format(printf, 3, 4)));

/** True when every field is one that this program writes. */
bool step_is_valid(const struct step *step);

#endif
