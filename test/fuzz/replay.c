/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands in for libFuzzer where the compiler has none: runs the fuzz target over every
 * file of the directories named on the command line.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes sit in a block of exactly their size, so that a sanitizer sees overreads.
 */
static int replay_stream(FILE *file, size_t size)
{
	uint8_t *data = malloc(size > 0 ? size : 1);
	int result = -1;

	if (data == NULL)
		return -1;
	if (fread(data, 1, size, file) == size) {
		LLVMFuzzerTestOneInput(data, size);
		result = 0;
	}
	free(data);
	return result;
}

/* Returns 1 when the file ran, 0 when it is no regular file, -1 on errors. */
static int replay_file(const char *path)
{
	struct stat info;
	FILE *file;
	int result = -1;

	if (stat(path, &info) < 0)
		return -1;
	if (!S_ISREG(info.st_mode))
		return 0;
	file = fopen(path, "rb");
	if (file == NULL)
		return -1;
	if (replay_stream(file, (size_t)info.st_size) == 0)
		result = 1;
	if (fclose(file) != 0)
		return -1;
	return result;
}

/* How many files ran; -1 on errors. */
static int replay_directory(const char *path)
{
	struct dirent **names = NULL;
	const int count = scandir(path, &names, NULL, alphasort);
	int ran = 0;

	for (int i = 0; i < count; i++) {
		char name[4096];
		int result = -1;

		if (snprintf(name, sizeof(name), "%s/%s", path, names[i]->d_name) <
		    (int)sizeof(name))
			result = replay_file(name);
		if (result < 0)
			perror(name);
		ran = result < 0 || ran < 0 ? -1 : ran + result;
		free(names[i]);
	}
	free(names);
	return count < 0 ? -1 : ran;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		const int ran = replay_directory(argv[i]);

		/* An empty corpus would be a test that cannot fail. */
		if (ran <= 0) {
			(void)fprintf(stderr, "%s: %s\n", argv[i],
				      ran < 0 ? "cannot replay" : "no seeds");
			return EXIT_FAILURE;
		}
		total += ran;
	}
	printf("%d seeds\n", total);
	return total > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
