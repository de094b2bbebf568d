/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_PRINT_H
#define PROBE_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "probe/step.h"
#include "probe/verdict.h"

/** Columns where nobody says how many there are. */
#define PRINT_WIDTH_DEFAULT 80

/** How a person reads it. */
struct print_style {
	bool color;
	size_t width; /* of a line */
};

/** One step: aligned columns, the text wrapped. */
void print_write_step(const struct print_style *style, const struct step *step,
		      FILE *file);
/** The last line. */
void print_write_verdict(const struct print_style *style, const struct verdict *verdict,
			 FILE *file);

/**
 * Everything as one JSON object on one line. gateway: "" = none was found.
 * Errors: false: out of memory.
 */
bool print_write_json(const char *gateway, const struct step_list *list,
		      const struct verdict *verdict, FILE *file)
	__attribute__((warn_unused_result));

#endif
