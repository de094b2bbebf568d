/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin/part.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/program.h"

void part_add(struct part *part, const char *argument)
{
	assert(part->count < PART_ARGUMENTS_MAX);
	part->arguments[part->count++] = argument;
}

void part_add_option(struct part *part, const char *option, const char *value)
{
	if (!value)
		return;
	part_add(part, option);
	part_add(part, value);
}

void part_init(struct part *part, const char *file, const struct options *options)
{
	part->count = 0;
	part_add(part, file);
	if (options->json)
		part_add(part, "--json");
	if (options->color)
		part_add(part, "--color");
	if (options->width == 0)
		return;
	(void)snprintf(part->width, sizeof(part->width), "%zu", options->width);
	part_add_option(part, "--width", part->width);
}

/** Become the program at that place; returns only when it is not there. -errno. */
static int part_try(const struct part *part, const char *way)
{
	char *argv[PART_ARGUMENTS_MAX + 1];
	char path[PATH_MAX];
	int error = program_find_part(way, part->arguments[0], path);

	if (error < 0)
		return error;
	/* execv() changes none of them, though its type allows it to. */
	memcpy(argv, part->arguments, part->count * sizeof(argv[0]));
	argv[part->count] = NULL;
	(void)execv(path, argv);
	return -errno;
}

enum exit_code part_execute(const struct part *part, const char *directory)
{
	int error = part_try(part, PORTREEVE_PART_WAY);

	if (error == -ENOENT)
		error = part_try(part, directory);
	admin_report(
		"cannot start %s, a part of this program: it is not in %s from its "
		"directory (%s); install portreeve again",
		part->arguments[0], PORTREEVE_PART_WAY, strerror(-error));
	return EXIT_CODE_ERROR;
}
