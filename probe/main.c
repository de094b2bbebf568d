/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/console.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "probe/apart.h"
#include "probe/attempt.h"
#include "probe/print.h"
#include "probe/route.h"
#include "probe/run.h"
#include "probe/verdict.h"
#include "probe/words.h"

#define TIMEOUT_DEFAULT_S 3
#define TIMEOUT_MAX_S 3600
/* Of the user that owns nothing, where the system has no name for it. */
#define NOBODY 65534

#define WHO "portreeve: probe"

/** The command line. */
struct options {
	const char *gateway; /* NULL = find it */
	bool json;
	struct console_style style;
	int64_t timeout_ms;
};

/** What is told, and how. */
struct output {
	const struct options *options;
	struct step_list list;
};

static const struct option long_options[] = {
	{"gateway", required_argument, NULL, 'g'},
	{"json", no_argument, NULL, 'j'},
	{"color", no_argument, NULL, 'c'},
	{"width", required_argument, NULL, 'w'},
	{"timeout", required_argument, NULL, 't'},
	{NULL, 0, NULL, 0},
};

static bool options_set(struct options *options, int option)
{
	uint64_t number = 0;

	switch (option) {
	case 'g':
		options->gateway = optarg;
		return true;
	case 'j':
		options->json = true;
		return true;
	case 'c':
		options->style.color = true;
		return true;
	case 'w':
		return console_style_set_width(&options->style, optarg);
	case 't':
		if (!parse_number(optarg, TIMEOUT_MAX_S, &number) || number == 0)
			return false;
		options->timeout_ms = (int64_t)number * 1000;
		return true;
	default:
		return false;
	}
}

/* Errors: false, reported. */
static bool options_read(struct options *options, int argc, char **argv)
{
	int option;

	*options = (struct options){.style = {.width = CONSOLE_WIDTH_DEFAULT},
				    .timeout_ms = TIMEOUT_DEFAULT_S * INT64_C(1000)};
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (!options_set(options, option)) {
			console_report(
				WHO,
				"usage: portreeve-probe [--gateway ADDRESS] [--json] "
				"[--color] [--width COLUMNS] [--timeout SECONDS]");
			return false;
		}
	}
	if (optind < argc) {
		console_report(WHO, "no operand is taken: '%s'", argv[optind]);
		return false;
	}
	return true;
}

static void output_tell(void *arg, const struct step *step)
{
	struct output *output = arg;

	verdict_add_step(&output->list, step);
	if (output->options->json)
		return;
	print_write_step(&output->options->style, step, stdout);
	(void)fflush(stdout);
}

/* Where the gateway is. Errors: false, the step says why. */
static bool gateway_find(const struct options *options, struct run *run,
			 struct step *step)
{
	struct route route = {.interface = ""};
	struct route_way way;
	char text[2][ADDR_TEXT_SIZE];
	int error;

	if (options->gateway && addr_parse(options->gateway, &route.gateway)) {
		(void)addr_format(&route.gateway, text[0]);
	} else if (!route_find_default(&route)) {
		(void)step_say(step, STEP_NO,
			       "this host has no IPv4 default route, so no gateway; "
			       "name one with --gateway");
		return false;
	}
	run->gateway = route.gateway;
	(void)addr_format(&run->gateway, text[0]);
	error = route_find_way(&run->gateway, &way);
	if (error < 0) {
		(void)step_say(step, STEP_NO, "%s: %s", text[0],
			       words_get_network(-error));
		return false;
	}
	run->own = way.own;
	memcpy(run->interface, way.interface, sizeof(run->interface));
	(void)addr_format(&run->own, text[1]);
	if (addr_equal(&run->own, &run->gateway)) {
		step->cause = STEP_CAUSE_HOST;
		(void)step_say(step, STEP_WARN,
			       "%s is this host itself: a gateway serves its LANs only",
			       text[0]);
	} else if (!way.on_link) {
		(void)step_say(step, STEP_WARN,
			       "%s, from %s on %s, is behind another router: gateways "
			       "answer their own LAN only",
			       text[0], text[1], run->interface);
	} else {
		(void)step_say(step, STEP_OK, "%s, from %s on %s", text[0], text[1],
			       run->interface);
	}
	return true;
}

/* The router of IPv6, where this host has a public address to ask for. */
static bool gateway_find6(struct run *run)
{
	struct route route;

	if (!route_find_default6(&route, &run->own))
		return false;
	run->gateway = route.gateway;
	run->scope = if_nametoindex(route.interface);
	memcpy(run->interface, route.interface, sizeof(run->interface));
	return true;
}

/* Readable when the user wants it to end. Errors: -1. */
static int signals_open(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t stop;

	(void)sigemptyset(&stop);
	(void)sigaddset(&stop, SIGINT);
	(void)sigaddset(&stop, SIGTERM);
	(void)sigaddset(&stop, SIGHUP);
	if (sigaction(SIGPIPE, &ignore, NULL) < 0 ||
	    sigprocmask(SIG_BLOCK, &stop, NULL) < 0)
		return -1;
	return signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Root becomes nobody; anybody else stays who it is, with nothing to gain. */
static int privileges_drop(void)
{
	const struct passwd *nobody = geteuid() == 0 ? getpwnam("nobody") : NULL;

	log_init("probe", LOG_LEVEL_NOTICE);
	return sandbox_enter(SANDBOX_PROBE, nobody ? nobody->pw_uid : NOBODY,
			     nobody ? nobody->pw_gid : NOBODY, false);
}

static enum probe_exit output_finish(struct output *output, const struct run *run,
				     bool interrupted)
{
	const struct options *options = output->options;
	struct verdict verdict;
	char gateway[ADDR_TEXT_SIZE] = "";
	size_t told = output->list.count;

	verdict_conclude(&output->list);
	verdict = verdict_decide(&output->list, interrupted);
	if (!addr_is_none(&run->gateway))
		(void)addr_format(&run->gateway, gateway);
	if (options->json) {
		if (!print_write_json(gateway, &output->list, &verdict, stdout)) {
			console_report(WHO, "out of memory");
			return PROBE_EXIT_ERROR;
		}
	} else {
		for (; told < output->list.count; told++)
			print_write_step(&options->style, &output->list.steps[told],
					 stdout);
		print_write_verdict(&options->style, &verdict, stdout);
	}
	if (!console_flush(WHO, stdout))
		return PROBE_EXIT_ERROR;
	return verdict.exit;
}

static enum probe_exit probe_run(const struct options *options)
{
	struct output output = {.options = options};
	struct run run = {.timeout_ms = options->timeout_ms,
			  .stop_fd = signals_open(),
			  .tell = output_tell,
			  .arg = &output};
	struct step step = step_init(STEP_GATEWAY, "route");
	int64_t began_ms = clock_now_ms();
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct run run6;
	bool found, found6;

	if (run.stop_fd < 0 || null_fd < 0) {
		console_report(WHO, "cannot start: %s", strerror(errno));
		return PROBE_EXIT_ERROR;
	}
	found = gateway_find(options, &run, &step);
	run6 = run;
	found6 = !options->gateway && gateway_find6(&run6);
	if (privileges_drop() < 0)
		return PROBE_EXIT_ERROR;
	run_tell(&run, &step, began_ms);
	if (found)
		attempt_run_natpmp(&run);
	if (found && !run_is_stopped(&run))
		attempt_run_pcp(&run);
	if (found6 && !run_is_stopped(&run))
		attempt_run_pcp6(&run6);
	if (found && !run_is_stopped(&run))
		apart_run_upnp(&run, null_fd);
	return output_finish(&output, &run, run_is_stopped(&run));
}

int main(int argc, char **argv)
{
	struct options options;
	struct ip_addr gateway;

	if (!options_read(&options, argc, argv))
		return PROBE_EXIT_USAGE;
	if (options.gateway && (!addr_parse(options.gateway, &gateway) ||
				!addr_is_ipv4(&gateway) || addr_is_none(&gateway))) {
		console_report(WHO, "--gateway: '%s' is not an IPv4 address",
			       options.gateway);
		return PROBE_EXIT_USAGE;
	}
	return (int)probe_run(&options);
}
