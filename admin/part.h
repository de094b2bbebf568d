/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADMIN_PART_H
#define ADMIN_PART_H

#include <stddef.h>

#include "admin/admin.h"

#define PART_ARGUMENTS_MAX 14
#define PART_NUMBER_SIZE 24

/** The command line of another program of ours, which does the work of a command. */
struct part {
	const char *arguments[PART_ARGUMENTS_MAX];
	size_t count;
	char width[PART_NUMBER_SIZE];
};

/** file: its name. --json, --color and --width are put in as options say. */
void part_init(struct part *part, const char *file, const struct options *options);
/** Owns: argument is borrowed. At most PART_ARGUMENTS_MAX, with those of part_init().
 */
void part_add(struct part *part, const char *argument);
/** An option with its value; nothing where that is NULL. */
void part_add_option(struct part *part, const char *option, const char *value);
/**
 * Become that program. directory: of the program in a build, where nothing is
 * installed. Returns only when it cannot be started: reported.
 */
enum exit_code part_execute(const struct part *part, const char *directory);

#endif
