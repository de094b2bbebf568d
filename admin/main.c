/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/buf.h"
#include "base/control.h"
#include "conf/conf.h"

#define OPERANDS_MAX 1024
/* That of portreeve-probe, for one step. */
#define PROBE_TIMEOUT_DEFAULT_S 3

/* Options, as bits of what a command line holds and of what a command takes. */
enum {
	GIVEN_HOST = 0x1,
	GIVEN_PROTO = 0x2,
	GIVEN_LIFETIME = 0x4,
	GIVEN_REMOTE = 0x8,
	GIVEN_DESCRIPTION = 0x10,
	GIVEN_HELP = 0x20,
	GIVEN_VERSION = 0x40,
	GIVEN_CLIENT = 0x80, /* in place of operands */
	GIVEN_GATEWAY = 0x100,
	GIVEN_CONFIG = 0x200,
	GIVEN_NO_SEARCH = 0x400,
};

struct command {
	const char *name;
	const char *synopsis; /* behind the name */
	const char *summary;
	const char *help;
	unsigned int takes; /* GIVEN_... besides the options that all take */
	int operands_min;
	int operands_max;
	int timeout_s; /* of --timeout, unless said; 0 = it has none */
	enum exit_code (*run)(const struct options *options, char *const *operands);
};

static const struct command commands[] = {
	{"status", "", "say how the gateway is; exit 7 when something is wrong",
	 "Shows interfaces, leases, firewall, store and workers, and every problem "
	 "that\n"
	 "portreeved knows of. Exits 7 when there is one.\n",
	 0, 0, 0, ADMIN_TIMEOUT_DEFAULT_S, command_status},
	{"list", "[--host ADDR] [--proto tcp|udp]", "list the leases",
	 "  --host ADDR        only leases to this internal address\n"
	 "  --proto tcp|udp    only leases of this protocol\n",
	 GIVEN_HOST | GIVEN_PROTO, 0, 0, ADMIN_TIMEOUT_DEFAULT_S, command_list},
	{"show", "ID", "show everything about one lease",
	 "ID is the number in `list`.\n", 0, 1, 1, ADMIN_TIMEOUT_DEFAULT_S,
	 command_show},
	{"watch", "", "tell what happens to leases, until Ctrl-C",
	 "One line for each lease added, renewed, changed, deleted or expired. With "
	 "--json\n"
	 "one object a line; the first says {\"ready\":true}.\n",
	 0, 0, 0, ADMIN_TIMEOUT_DEFAULT_S, command_watch},
	{"add",
	 "PROTO EXTERNAL_PORT INTERNAL_ADDRESS[:PORT] [--lifetime TIME] [--remote "
	 "ADDR] "
	 "[--description TEXT]",
	 "open a port, by default for ever",
	 "  PROTO              tcp or udp\n"
	 "  EXTERNAL_PORT      on the gateway; 0 = as the internal port, or any\n"
	 "  INTERNAL_ADDRESS   of the host, an IPv6 address in brackets: "
	 "[fd00::5]:80;\n"
	 "                     without PORT the external port\n"
	 "  --lifetime TIME    3600, 90m, 1h, 2d, 1h30m; 0 or never = for ever "
	 "(default)\n"
	 "  --remote ADDR      only from this address\n"
	 "  --description TEXT what it is for\n",
	 GIVEN_LIFETIME | GIVEN_REMOTE | GIVEN_DESCRIPTION, 3, 3,
	 ADMIN_TIMEOUT_DEFAULT_S, command_add},
	{"delete", "ID... | --client ADDR", "end leases at once",
	 "  ID                 the number in `list`\n"
	 "  --client ADDR      all leases of this host but static ones, for a DHCP "
	 "server\n"
	 "                     to say that the host is gone\n",
	 GIVEN_CLIENT, 1, OPERANDS_MAX, ADMIN_TIMEOUT_DEFAULT_S, command_delete},
	{"reload", "", "have the configuration read again",
	 "portreeved checks it, and uses it when there is no mistake in it: else "
	 "nothing\n"
	 "changes, and the exit status is 1. What only a restart changes is told. "
	 "Leases\n"
	 "that it does not allow end, unless it says forbidden-leases = keep.\n",
	 0, 0, 0, ADMIN_TIMEOUT_DEFAULT_S, command_reload},
	{"probe", "[--gateway ADDRESS]",
	 "ask a gateway for ports as a client does; exit 7 when it fails",
	 "  --gateway ADDRESS  IPv4 address; without it that of the default route\n\n"
	 "Run it on a host of a LAN; it needs no portreeved there, and no root. Opens "
	 "a\n"
	 "port by NAT-PMP, PCP and UPnP IGD, closes it again, and tells of every "
	 "step.\n",
	 GIVEN_GATEWAY, 0, 0, PROBE_TIMEOUT_DEFAULT_S, command_probe},
	{"doctor", "[-c FILE] [--no-search]",
	 "find what keeps leases from working; exit 7 when it does",
	 "  -c, --config FILE  configuration to go by; a portreeved that runs is "
	 "asked\n"
	 "                     what is in force\n"
	 "  --no-search        send nothing to LANs, to find other gateways there\n\n"
	 "Run it on the gateway, as root: others may not read the firewall. Looks at "
	 "the\n"
	 "firewall and the network, says what is wrong and which command mends it, "
	 "and\n"
	 "changes nothing. It takes as long as it takes: --timeout means nothing to "
	 "it.\n",
	 GIVEN_CONFIG | GIVEN_NO_SEARCH, 0, 0, 0, command_doctor},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

/** timeout_s 0: it has none. */
static void print_global_help(int timeout_s)
{
	(void)fputs("Options of every command:\n"
		    "  --socket PATH      control socket of portreeved (environment: "
		    "PORTREEVE_SOCKET)\n"
		    "  --json             answer in JSON, for programs\n"
		    "  --color=WHEN       auto (default), always or never\n",
		    stdout);
	if (timeout_s != 0)
		(void)printf("  --timeout SECONDS  how long to wait for an answer "
			     "(default %d)\n",
			     timeout_s);
	(void)fputs("  -h, --help         this text; of a command: portreeve COMMAND "
		    "--help\n"
		    "  -V, --version\n",
		    stdout);
}

static void print_help(void)
{
	(void)fputs("Usage: portreeve [OPTION...] COMMAND\n\n"
		    "Look after the port leases of this gateway.\n\n",
		    stdout);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		(void)printf("  %-7s %s\n", commands[i].name, commands[i].summary);
	(void)printf("  %-7s %s\n\n", "help", "this text; help COMMAND tells more");
	print_global_help(ADMIN_TIMEOUT_DEFAULT_S);
}

static void print_command_help(const struct command *command)
{
	(void)printf("Usage: portreeve %s%s%s\n\n%c%s.\n\n%s\n", command->name,
		     command->synopsis[0] != '\0' ? " " : "", command->synopsis,
		     command->summary[0] - 'a' + 'A', command->summary + 1,
		     command->help);
	print_global_help(command->timeout_s);
}

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/** What getopt_long() answers for each long option. */
enum {
	OPTION_SOCKET = 256,
	OPTION_JSON,
	OPTION_COLOR,
	OPTION_TIMEOUT,
	OPTION_HOST,
	OPTION_PROTO,
	OPTION_CLIENT,
	OPTION_LIFETIME,
	OPTION_REMOTE,
	OPTION_DESCRIPTION,
	OPTION_GATEWAY,
	OPTION_NO_SEARCH,
};

static const struct option long_options[] = {
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{"json", no_argument, NULL, OPTION_JSON},
	{"color", required_argument, NULL, OPTION_COLOR},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"host", required_argument, NULL, OPTION_HOST},
	{"proto", required_argument, NULL, OPTION_PROTO},
	{"client", required_argument, NULL, OPTION_CLIENT},
	{"lifetime", required_argument, NULL, OPTION_LIFETIME},
	{"remote", required_argument, NULL, OPTION_REMOTE},
	{"description", required_argument, NULL, OPTION_DESCRIPTION},
	{"gateway", required_argument, NULL, OPTION_GATEWAY},
	{"config", required_argument, NULL, 'c'},
	{"no-search", no_argument, NULL, OPTION_NO_SEARCH},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

/** The terminal's colour and width, unless the user says otherwise. */
static void options_init(struct options *options)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	struct winsize size;

	*options =
		(struct options){.timeout_ms = ADMIN_TIMEOUT_DEFAULT_S * INT64_C(1000)};
	if (!isatty(STDOUT_FILENO))
		return;
	options->color = (no_color == NULL || no_color[0] == '\0') && term != NULL &&
			 strcmp(term, "dumb") != 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		options->width = size.ws_col;
}

static bool options_set_color(struct options *options, const char *when)
{
	if (strcmp(when, "auto") == 0)
		return true;
	options->color = strcmp(when, "always") == 0;
	if (options->color || strcmp(when, "never") == 0)
		return true;
	admin_report("--color: '%s' is none of auto, always, never", when);
	return false;
}

static bool options_set_timeout(struct options *options, const char *text)
{
	uint64_t timeout_s;

	if (!parse_number(text, ADMIN_TIMEOUT_MAX_S, &timeout_s) || timeout_s == 0) {
		admin_report("--timeout: '%s' is not 1 to %d seconds", text,
			     ADMIN_TIMEOUT_MAX_S);
		return false;
	}
	options->timeout_ms = (int64_t)timeout_s * 1000;
	options->has_timeout = true;
	return true;
}

/** One option; *given gains its bit. Errors: false, reported. */
static bool options_set(struct options *options, int option, unsigned int *given)
{
	switch (option) {
	case OPTION_SOCKET:
		options->socket = optarg;
		options->socket_is_given = true;
		return true;
	case OPTION_JSON:
		options->json = true;
		return true;
	case OPTION_COLOR:
		return options_set_color(options, optarg);
	case OPTION_TIMEOUT:
		return options_set_timeout(options, optarg);
	case OPTION_HOST:
		options->host = optarg;
		*given |= GIVEN_HOST;
		return true;
	case OPTION_PROTO:
		options->proto = optarg;
		*given |= GIVEN_PROTO;
		return true;
	case OPTION_CLIENT:
		options->client = optarg;
		*given |= GIVEN_CLIENT;
		return true;
	case OPTION_LIFETIME:
		options->lifetime = optarg;
		*given |= GIVEN_LIFETIME;
		return true;
	case OPTION_REMOTE:
		options->remote = optarg;
		*given |= GIVEN_REMOTE;
		return true;
	case OPTION_DESCRIPTION:
		options->description = optarg;
		*given |= GIVEN_DESCRIPTION;
		return true;
	case OPTION_GATEWAY:
		options->gateway = optarg;
		*given |= GIVEN_GATEWAY;
		return true;
	case OPTION_NO_SEARCH:
		options->no_search = true;
		*given |= GIVEN_NO_SEARCH;
		return true;
	case 'c':
		options->config = optarg;
		*given |= GIVEN_CONFIG;
		return true;
	case 'h':
		*given |= GIVEN_HELP;
		return true;
	case 'V':
		*given |= GIVEN_VERSION;
		return true;
	default: /* getopt_long() has said what is wrong */
		return false;
	}
}

/** Options may stand before and after the command. Errors: false, reported. */
static bool options_read(struct options *options, int argc, char **argv,
			 unsigned int *given)
{
	static char own_name[] = "portreeve"; /* what getopt's messages begin with */
	int option;

	argv[0] = own_name;
	options_init(options);
	while ((option = getopt_long(argc, argv, "c:hV", long_options, NULL)) != -1) {
		if (!options_set(options, option, given))
			return false;
	}
	return true;
}

/** Where the daemon listens: --socket, environment, configuration, default. */
static void options_find_socket(struct options *options, struct conf *conf)
{
	char error[CONF_ERROR_MAX];
	const char *environment = getenv("PORTREEVE_SOCKET");

	if (options->socket != NULL)
		return;
	if (environment != NULL && environment[0] != '\0') {
		options->socket = environment;
		options->socket_is_given = true;
	} else if (conf_load(NULL, conf, error) == 0 &&
		   conf->global.control_socket[0] != '\0')
		options->socket = conf->global.control_socket;
	else
		options->socket = CONTROL_SOCKET_DEFAULT;
}

static enum exit_code command_run(const struct command *command,
				  struct options *options, unsigned int given,
				  char *const *operands)
{
	static struct conf conf; /* holds the path; large */
	bool bare = (given & command->takes & GIVEN_CLIENT) != 0;
	int count = 0;

	while (operands[count] != NULL)
		count++;
	if ((given & ~command->takes) != 0 ||
	    count < (bare ? 0 : command->operands_min) ||
	    count > (bare ? 0 : command->operands_max)) {
		admin_report("usage: portreeve %s%s%s", command->name,
			     command->synopsis[0] != '\0' ? " " : "",
			     command->synopsis);
		return EXIT_CODE_USAGE;
	}
	options_find_socket(options, &conf);
	return command->run(options, operands);
}

static enum exit_code run(int argc, char **argv)
{
	struct options options;
	const struct command *command = NULL;
	unsigned int given = 0;
	bool help;

	if (!options_read(&options, argc, argv, &given))
		return EXIT_CODE_USAGE;
	if ((given & GIVEN_VERSION) != 0) {
		(void)puts("portreeve " PORTREEVE_VERSION);
		return EXIT_CODE_OK;
	}
	help = (given & GIVEN_HELP) != 0;
	/* `help help` is `help`. */
	while (optind < argc && strcmp(argv[optind], "help") == 0) {
		help = true;
		optind++;
	}
	if (optind < argc) {
		command = command_find(argv[optind]);
		if (command == NULL) {
			admin_report("no command '%s'; see portreeve --help",
				     argv[optind]);
			return EXIT_CODE_USAGE;
		}
	}
	if (command == NULL && !help) {
		admin_report("no command given; see portreeve --help");
		return EXIT_CODE_USAGE;
	}
	if (command == NULL)
		print_help();
	else if (help)
		print_command_help(command);
	else
		return command_run(command, &options, given, argv + optind + 1);
	return EXIT_CODE_OK;
}

int main(int argc, char **argv)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	enum exit_code code;

	/* A reader that goes away, as `head` does, is no error and no signal. */
	if (sigaction(SIGPIPE, &ignore, NULL) != 0)
		return EXIT_CODE_ERROR;
	code = run(argc, argv);
	(void)admin_flush(&code);
	return (int)code;
}
