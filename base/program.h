/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

#include <limits.h>

/**
 * Path of another part of portreeve, by a way from the directory of the running
 * program, so that an installation can be moved or staged; a way that begins with a
 * slash is from the root. Nothing says that the file is there.
 * Errors: -errno, path undefined.
 */
int program_find_part(const char *way, const char *file, char path[PATH_MAX])
	__attribute__((warn_unused_result));

#endif
