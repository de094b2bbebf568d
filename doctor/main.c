/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/console.h"
#include "base/log.h"
#include "doctor/check.h"
#include "doctor/gather.h"
#include "doctor/print.h"
#include "doctor/search.h"

#define WHO "portreeve: doctor"

/** The command line. */
struct options {
	struct gather_options gather;
	bool json;
	bool no_search;
	struct console_style style;
};

/** All that a run needs; large. */
struct doctor {
	struct facts facts;
	struct findings findings;
};

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"socket", required_argument, NULL, 's'},
	{"json", no_argument, NULL, 'j'},
	{"no-search", no_argument, NULL, 'n'},
	{"color", no_argument, NULL, 'C'},
	{"width", required_argument, NULL, 'w'},
	{NULL, 0, NULL, 0},
};

static bool options_set(struct options *options, int option)
{
	switch (option) {
	case 'c':
		options->gather.file = optarg;
		return true;
	case 's':
		options->gather.socket = optarg;
		return true;
	case 'j':
		options->json = true;
		return true;
	case 'n':
		options->no_search = true;
		return true;
	case 'C':
		options->style.color = true;
		return true;
	case 'w':
		return console_style_set_width(&options->style, optarg);
	default:
		return false;
	}
}

/* Errors: false, reported. */
static bool options_read(struct options *options, int argc, char **argv)
{
	int option;

	*options = (struct options){.style = {.width = CONSOLE_WIDTH_DEFAULT}};
	while ((option = getopt_long(argc, argv, "c:", long_options, NULL)) != -1) {
		if (!options_set(options, option)) {
			console_report(
				WHO,
				"usage: portreeve-doctor [-c FILE] [--socket PATH] "
				"[--json] [--no-search] [--color] "
				"[--width COLUMNS]");
			return false;
		}
	}
	if (optind < argc) {
		console_report(WHO, "no operand is taken: '%s'", argv[optind]);
		return false;
	}
	return true;
}

static enum doctor_exit findings_tell(const struct options *options,
				      const struct findings *findings)
{
	if (!options->json) {
		print_write_findings(&options->style, findings, stdout);
	} else if (!print_write_json(findings, stdout)) {
		console_report(WHO, "out of memory");
		return DOCTOR_EXIT_ERROR;
	}
	if (!console_flush(WHO, stdout))
		return DOCTOR_EXIT_ERROR;
	return findings_get_exit(findings);
}

static enum doctor_exit doctor_run(const struct options *options)
{
	struct doctor *doctor = calloc(1, sizeof(*doctor));
	struct ruleset *ruleset = NULL;
	struct search search;
	enum doctor_exit end;

	if (!doctor) {
		console_report(WHO, "out of memory");
		return DOCTOR_EXIT_ERROR;
	}
	gather_facts(&options->gather, &doctor->facts, &ruleset);
	/* While hosts take their time to answer, the firewall is walked. */
	if (!options->no_search)
		search_start(&doctor->facts.network, &search);
	check_all(&doctor->facts, &doctor->findings);
	if (!options->no_search)
		search_finish(&search, &doctor->facts.network, &doctor->facts.search);
	check_search(&doctor->facts, &doctor->findings);
	end = findings_tell(options, &doctor->findings);
	gather_free(&doctor->facts, ruleset);
	free(doctor);
	return end;
}

int main(int argc, char **argv)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct options options;

	if (!options_read(&options, argc, argv))
		return DOCTOR_EXIT_USAGE;
	if (sigaction(SIGPIPE, &ignore, NULL) < 0)
		return DOCTOR_EXIT_ERROR;
	log_init("doctor", LOG_LEVEL_ERROR);
	return (int)doctor_run(&options);
}
