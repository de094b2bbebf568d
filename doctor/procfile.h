/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_PROCFILE_H
#define DOCTOR_PROCFILE_H

#include <stdbool.h>
#include <stddef.h>

/**
 * The beginning of a small file of the kernel, as text. Units: size with the NUL.
 * Errors: -errno, text is then empty.
 */
int procfile_read(const char *path, char *text, size_t size)
	__attribute__((warn_unused_result));

/** True when some line of a large file holds the word. Errors: -errno. */
int procfile_find(const char *path, const char *word)
	__attribute__((warn_unused_result));

#endif
