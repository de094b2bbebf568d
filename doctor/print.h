/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_PRINT_H
#define DOCTOR_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/console.h"
#include "doctor/finding.h"

/** All findings, problems first, and the verdict. */
void print_write_findings(const struct console_style *style,
			  const struct findings *findings, FILE *file);

/** The same as one JSON object on one line. Errors: false: out of memory. */
bool print_write_json(const struct findings *findings, FILE *file)
	__attribute__((warn_unused_result));

#endif
