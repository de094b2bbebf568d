/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_PRINT_H
#define PROBE_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/console.h"
#include "probe/step.h"
#include "probe/verdict.h"

/** One step: aligned columns, the text wrapped. */
void print_write_step(const struct console_style *style, const struct step *step,
		      FILE *file);
/** The last line. */
void print_write_verdict(const struct console_style *style,
			 const struct verdict *verdict, FILE *file);

/**
 * Everything as one JSON object on one line. gateway: "" = none was found.
 * Errors: false: out of memory.
 */
bool print_write_json(const char *gateway, const struct step_list *list,
		      const struct verdict *verdict, FILE *file)
	__attribute__((warn_unused_result));

#endif
