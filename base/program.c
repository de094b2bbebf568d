/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/program.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM_SELF "/proc/self/exe"

/* The directory of this program, without a slash at its end. Errors: -errno. */
static int program_get_directory(char directory[PATH_MAX])
{
	ssize_t length = readlink(PROGRAM_SELF, directory, PATH_MAX - 1);
	char *slash;

	if (length < 0)
		return -errno;
	directory[length] = '\0';
	slash = strrchr(directory, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

int program_find_part(const char *way, const char *file, char path[PATH_MAX])
{
	char program[PATH_MAX] = "";
	int length;
	int error = program_get_directory(program);

	if (error < 0)
		return error;
	length = snprintf(path, PATH_MAX, "%s/%s/%s", way[0] == '/' ? "" : program, way,
			  file);
	return length < 0 || length >= PATH_MAX ? -ENAMETOOLONG : 0;
}
