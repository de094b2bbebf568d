/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_PRINT_H
#define DOCTOR_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "doctor/finding.h"

/** Columns where nobody says how many there are. */
#define PRINT_WIDTH_DEFAULT 80

/** How a person reads it. */
struct print_style {
	bool color;
	size_t width; /* of a line */
};

/** All findings, problems first, and the verdict. */
void print_write_findings(const struct print_style *style,
			  const struct findings *findings, FILE *file);

/** The same as one JSON object on one line. Errors: false: out of memory. */
bool print_write_json(const struct findings *findings, FILE *file)
	__attribute__((warn_unused_result));

#endif
