/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "admin/admin.h"

void admin_report(const char *format, ...)
{
	va_list arguments;

	(void)fputs("portreeve: ", stderr);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputs("\n", stderr);
}

bool admin_flush(enum exit_code *code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	if (errno != EPIPE) {
		admin_report("cannot write: %s", strerror(errno));
		*code = EXIT_CODE_ERROR;
	}
	return false;
}
