/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_VERDICT_H
#define PROBE_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

#include "probe/step.h"

/** How portreeve-probe ends; the numbers are those of portreeve. */
enum probe_exit {
	PROBE_EXIT_OK = 0,
	PROBE_EXIT_ERROR = 1,
	PROBE_EXIT_USAGE = 2,
	PROBE_EXIT_DEGRADED = 7,
};

/** What all steps together say. */
struct verdict {
	enum probe_exit exit;
	char text[STEP_TEXT_SIZE]; /* one line */
};

/**
 * Add what follows from the steps so far: do the protocols agree on the external
 * address, who can reach it, and what silence may mean.
 */
void verdict_conclude(struct step_list *list);

/**
 * Every protocol that answered works as it says, and at least one does: exit 0.
 * interrupted: the user ended the run before it was done.
 */
struct verdict verdict_decide(const struct step_list *list, bool interrupted);

/** Add a step; when the list is full it is left out. */
void verdict_add_step(struct step_list *list, const struct step *step);

#endif
