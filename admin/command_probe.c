/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/program.h"

#define PROBE_FILE "portreeve-probe"
/* In the directory of a build, where nothing is installed. */
#define PROBE_BUILD_WAY "../probe"
#define NUMBER_SIZE 24
#define ARGUMENTS_MAX 12

/** The command line of portreeve-probe. */
struct arguments {
	const char *list[ARGUMENTS_MAX];
	size_t count;
	char timeout[NUMBER_SIZE];
	char width[NUMBER_SIZE];
};

static void arguments_add(struct arguments *arguments, const char *argument)
{
	arguments->list[arguments->count++] = argument;
}

static void arguments_fill(struct arguments *arguments, const struct options *options)
{
	arguments_add(arguments, PROBE_FILE);
	if (options->json)
		arguments_add(arguments, "--json");
	if (options->color)
		arguments_add(arguments, "--color");
	if (options->gateway) {
		arguments_add(arguments, "--gateway");
		arguments_add(arguments, options->gateway);
	}
	if (options->has_timeout) {
		(void)snprintf(arguments->timeout, sizeof(arguments->timeout),
			       "%" PRId64, options->timeout_ms / 1000);
		arguments_add(arguments, "--timeout");
		arguments_add(arguments, arguments->timeout);
	}
	if (options->width > 0) {
		(void)snprintf(arguments->width, sizeof(arguments->width), "%zu",
			       options->width);
		arguments_add(arguments, "--width");
		arguments_add(arguments, arguments->width);
	}
}

/** Become the program at that place; returns only when it is not there. -errno. */
static int probe_execute(const char *way, const struct arguments *arguments)
{
	char *argv[ARGUMENTS_MAX + 1];
	char path[PATH_MAX];
	int error = program_find_part(way, PROBE_FILE, path);

	if (error < 0)
		return error;
	/* execv() changes none of them, though its type allows it to. */
	memcpy(argv, arguments->list, sizeof(arguments->list));
	argv[arguments->count] = NULL;
	(void)execv(path, argv);
	return -errno;
}

enum exit_code command_probe(const struct options *options, char *const *operands)
{
	struct arguments arguments = {.count = 0};
	int error;

	(void)operands;
	arguments_fill(&arguments, options);
	error = probe_execute(PORTREEVE_PROBE_WAY, &arguments);
	if (error == -ENOENT)
		error = probe_execute(PROBE_BUILD_WAY, &arguments);
	admin_report("cannot start " PROBE_FILE ", a part of this program: it is not "
		     "in " PORTREEVE_PROBE_WAY
		     " from its directory (%s); install portreeve again",
		     strerror(-error));
	return EXIT_CODE_ERROR;
}
