/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>

#include "conf/conf.h"

static const struct option options_long[] = {
	{"check-config", no_argument, NULL, OPTIONS_CHECK_CONFIG},
	{"single", no_argument, NULL, OPTIONS_SINGLE},
	{"help", no_argument, NULL, OPTIONS_HELP},
	{"version", no_argument, NULL, OPTIONS_VERSION},
	{NULL, 0, NULL, 0},
};

static struct options options_refuse(const char *what, const char *argument)
{
	(void)fprintf(stderr,
		      "portreeved: %s: %s\n"
		      "Try 'portreeved --help'.\n",
		      what, argument);
	return (struct options){.action = OPTIONS_WRONG};
}

struct options options_parse(int argc, char **argv)
{
	struct options options = {.action = OPTIONS_RUN};
	char letters[3] = "-";
	int letter;

	/* Zero, not one, so that a second call (a test's) starts anew. */
	optind = 0;
	opterr = 0;
	while ((letter = getopt_long(argc, argv, "+:c:hV", options_long, NULL)) != -1) {
		switch (letter) {
		case 'c':
			options.file = optarg;
			break;
		case 'h':
			options.action = OPTIONS_HELP;
			break;
		case 'V':
			options.action = OPTIONS_VERSION;
			break;
		case ':':
			return options_refuse("option needs a value", argv[optind - 1]);
		case '?':
			if (isalnum(optopt))
				letters[1] = (char)optopt;
			return options_refuse("unknown option",
					      letters[1] ? letters : argv[optind - 1]);
		default:
			options.action = (enum options_action)letter;
			break;
		}
	}
	if (optind < argc)
		return options_refuse("unexpected argument", argv[optind]);
	return options;
}

void options_print_help(void)
{
	(void)printf(
		"Usage: portreeved [-c FILE] [--check-config] [--single]\n"
		"\n"
		"Opens ports of this gateway for hosts of the LAN that ask by UPnP "
		"IGD,\n"
		"NAT-PMP or PCP. Stays in the foreground and logs to stderr.\n"
		"\n"
		"  -c FILE         configuration instead of %s\n"
		"  --check-config  read the configuration, say what is wrong with it\n"
		"  --single        all roles in one process, for tests and debuggers\n"
		"  -h, --help      show this\n"
		"  -V, --version   show the version\n"
		"\n"
		"Exit status: 0 stopped as asked, 1 error, 2 wrong arguments or "
		"configuration.\n",
		CONF_DEFAULT_FILE);
}
