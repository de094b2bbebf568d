/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>

/** Exit statuses of portreeved. */
#define EXIT_STATUS_ERROR 1 /* it cannot do its work here */
#define EXIT_STATUS_USAGE                                                              \
	2 /* wrong arguments or configuration; nothing was changed                     \
	   */

enum options_action {
	OPTIONS_RUN,
	OPTIONS_SINGLE,	      /* all roles in this one process */
	OPTIONS_CHECK_CONFIG, /* read the configuration, say what is wrong */
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_WRONG, /* said what, on stderr */
};

struct options {
	enum options_action action;
	const char *file; /* configuration; NULL = the default */
};

/** Read the command line. Owns: file points into argv. */
struct options options_parse(int argc, char **argv);

void options_print_help(void);

#endif
