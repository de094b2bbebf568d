/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "conf/conf.h"
#include "daemon/launcher.h"
#include "daemon/module.h"
#include "daemon/options.h"
#include "daemon/prepare.h"
#include "daemon/role.h"

static int run_single(const struct conf *conf, const char *file)
{
	int fd = module_open(MODULE_CORE);
	const struct module_core *core = fd < 0 ? NULL : module_load(MODULE_CORE, fd);

	return core ? core->run_single(conf, file) : EXIT_STATUS_ERROR;
}

/* Not an error: it may be made later, or this be for another machine. */
static int check_conf(const struct conf *conf, const char *file)
{
	const char *missing = prepare_find_missing_user(conf);

	if (missing)
		log_warning("there is no user \"%s\", which [global] names: portreeved "
			    "does not start without it",
			    missing);
	(void)printf("%s: no errors\n", file ? file : CONF_DEFAULT_FILE);
	return EXIT_SUCCESS;
}

static int run_with_conf(const struct options *options)
{
	static struct conf conf;
	char error[CONF_ERROR_MAX];

	if (conf_load(options->file, &conf, error) < 0) {
		log_error("%s", error);
		return EXIT_STATUS_USAGE;
	}
	if (options->action == OPTIONS_CHECK_CONFIG)
		return check_conf(&conf, options->file);
	return options->action == OPTIONS_SINGLE ? run_single(&conf, options->file)
						 : launcher_run(&conf, options->file);
}

int main(int argc, char **argv)
{
	struct options options;

	memory_init();
	if (argc > 1 && role_is_argument(argv[1]))
		return role_main(argv);
	options = options_parse(argc, argv);
	switch (options.action) {
	case OPTIONS_RUN:
	case OPTIONS_SINGLE:
	case OPTIONS_CHECK_CONFIG:
		return run_with_conf(&options);
	case OPTIONS_HELP:
		options_print_help();
		return EXIT_SUCCESS;
	case OPTIONS_VERSION:
		(void)printf("portreeved %s\n", PORTREEVE_VERSION);
		return EXIT_SUCCESS;
	case OPTIONS_WRONG:
		return EXIT_STATUS_USAGE;
	}
	return EXIT_STATUS_USAGE;
}
