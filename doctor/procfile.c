/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/procfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 4096

int procfile_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;
	int error;

	text[0] = '\0';
	if (fd < 0)
		return -errno;
	length = read(fd, text, size - 1);
	error = length < 0 ? -errno : 0;
	text[length < 0 ? 0 : length] = '\0';
	(void)close(fd);
	return error;
}

int procfile_find(const char *path, const char *word)
{
	FILE *file = fopen(path, "re");
	char line[LINE_SIZE];
	bool found = false;

	if (!file)
		return -errno;
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, word) != NULL;
	(void)fclose(file);
	return found;
}
