/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "admin/admin.h"
#include "base/console.h"

void admin_report(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	console_report_list("portreeve", format, arguments);
	va_end(arguments);
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
