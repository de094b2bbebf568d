/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Drives a backend from a test, nftables or what the argument names: one command a line
 * on standard input, answers on standard output, each ended by a line "ok ..." or
 * "error NAME".
 *
 *   open [keep-flows] [accept [ip|ip6 TABLE CHAIN]]   close [keep]
 *   network WAN|- LAN,LAN|- ADDR,ADDR|- [NETWORK,NETWORK: one of each LAN]
 *   event MILLISECONDS   troubles
 *   add RULE   delete RULE   replace RULE > RULE   (kept until) apply
 *   want RULE  (kept until) sync         dump       counters RULE
 *
 * RULE: PROTOCOL EXTERNAL PORT INTERNAL PORT TIMEOUT_MS out|- [PREFIX@PORT ...]
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#define CHANGES_MAX 4096
#define LINE_MAX_OCTETS 4096 /* two rules with all their filters */
#define MARK 0x10000000

struct tool {
	const struct backend_ops *ops;
	struct backend *backend;
	unsigned int disturbed;
	size_t change_count;
	size_t rule_count;
	struct backend_change changes[CHANGES_MAX];
	struct rule rules[CHANGES_MAX];
};

static void on_disturbed(void *user)
{
	struct tool *tool = user;

	tool->disturbed++;
}

static const struct backend_events events = {.disturbed = on_disturbed};

static bool next_number(char **at, uint64_t max, uint64_t *out)
{
	const char *word = strtok_r(NULL, " \n", at);

	return word && parse_number(word, max, out);
}

static bool next_addr(char **at, struct ip_addr *out)
{
	const char *word = strtok_r(NULL, " \n", at);

	return word && addr_parse(word, out);
}

static bool parse_filter(char *word, struct rule_filter *filter)
{
	char *port = strchr(word, '@');
	uint64_t number;

	if (!port || !parse_number(port + 1, UINT16_MAX, &number))
		return false;
	*port = '\0';
	filter->port = (uint16_t)number;
	return prefix_parse(word, &filter->prefix);
}

static bool parse_filters(char **at, struct rule *rule)
{
	for (char *word = strtok_r(NULL, " \n", at); word && strcmp(word, ">") != 0;
	     word = strtok_r(NULL, " \n", at)) {
		if (rule->filter_count == RULE_FILTERS_MAX ||
		    !parse_filter(word, &rule->filters[rule->filter_count++]))
			return false;
	}
	return true;
}

static bool parse_rule(char **at, struct rule *rule)
{
	const char *protocol = strtok_r(NULL, " \n", at);
	const char *word;
	uint64_t external;
	uint64_t internal;

	*rule = (struct rule){0};
	if (!protocol || !next_addr(at, &rule->external) ||
	    !next_number(at, UINT16_MAX, &external) ||
	    !next_addr(at, &rule->internal) ||
	    !next_number(at, UINT16_MAX, &internal) ||
	    !next_number(at, UINT64_MAX, &rule->timeout_ms))
		return false;
	rule->protocol = strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP;
	rule->external_port = (uint16_t)external;
	rule->internal_port = (uint16_t)internal;
	word = strtok_r(NULL, " \n", at);
	rule->outbound = word && strncmp(word, "out", 3) == 0;
	rule->flow = word && strstr(word, "flow");
	return parse_filters(at, rule);
}

/* "out", "flow", "outflow", "-" */
static const char *get_kind(const struct rule *rule)
{
	if (rule->flow)
		return rule->outbound ? "outflow" : "flow";
	return rule->outbound ? "out" : "-";
}

static void print_rule(const struct rule *rule)
{
	char external[ADDR_TEXT_SIZE];
	char internal[ADDR_TEXT_SIZE];
	char prefix[PREFIX_TEXT_SIZE];

	printf("rule %s %s %u %s %u %llu %s",
	       rule->protocol == IPPROTO_UDP ? "udp" : "tcp",
	       addr_format(&rule->external, external), rule->external_port,
	       addr_format(&rule->internal, internal), rule->internal_port,
	       (unsigned long long)rule->timeout_ms, get_kind(rule));
	for (unsigned int i = 0; i < rule->filter_count; i++)
		printf(" %s@%u", prefix_format(&rule->filters[i].prefix, prefix),
		       rule->filters[i].port);
	printf("\n");
}

static int visit(void *user, const struct rule *rule)
{
	size_t *count = user;

	++*count;
	print_rule(rule);
	return 0;
}

static void answer(int error)
{
	if (error < 0)
		printf("error %s\n", strerrorname_np(-error));
	else
		printf("ok\n");
}

static bool keep_change(struct tool *tool, const char *command, char **at)
{
	struct backend_change *change = &tool->changes[tool->change_count];

	if (tool->change_count == CHANGES_MAX)
		return false;
	*change = (struct backend_change){0};
	if (strcmp(command, "add") == 0) {
		change->kind = CHANGE_ADD;
		if (!parse_rule(at, &change->after))
			return false;
	} else {
		change->kind = CHANGE_DELETE;
		if (!parse_rule(at, &change->before))
			return false;
	}
	if (strcmp(command, "replace") == 0) {
		change->kind = CHANGE_REPLACE;
		if (!parse_rule(at, &change->after))
			return false;
	}
	tool->change_count++;
	return true;
}

static bool parse_networks(struct backend_network *network, char *networks)
{
	char *inner = NULL;
	size_t lan = 0;

	for (const char *text = networks ? strtok_r(networks, ",", &inner) : NULL; text;
	     text = strtok_r(NULL, ",", &inner)) {
		network->lan_network_counts[lan] = 1;
		if (!prefix_parse(text, &network->lan_networks[lan++][0]))
			return false;
	}
	return true;
}

static int do_network(struct tool *tool, char **at)
{
	struct backend_network network = {0};
	const char *wan = strtok_r(NULL, " \n", at);
	char *lans = strtok_r(NULL, " \n", at);
	char *addresses = strtok_r(NULL, " \n", at);
	char *inner = NULL;

	if (!wan || !lans || !addresses)
		return -EINVAL;
	if (strcmp(wan, "-") != 0)
		(void)snprintf(network.wan, sizeof(network.wan), "%s", wan);
	for (const char *name = strtok_r(lans, ",-", &inner); name;
	     name = strtok_r(NULL, ",", &inner))
		(void)snprintf(network.lans[network.lan_count++], IF_NAMESIZE, "%s",
			       name);
	for (const char *name = strtok_r(addresses, ",-", &inner); name;
	     name = strtok_r(NULL, ",", &inner))
		if (!addr_parse(name, &network.addresses[network.address_count++]))
			return -EINVAL;
	if (!parse_networks(&network, strtok_r(NULL, " \n", at)))
		return -EINVAL;
	return tool->ops->set_network(tool->backend, &network);
}

static void do_sync(struct tool *tool)
{
	size_t added = 0;
	size_t removed = 0;
	int error = tool->ops->sync(tool->backend, tool->rules, tool->rule_count,
				    &added, &removed);

	tool->rule_count = 0;
	if (error < 0)
		answer(error);
	else
		printf("ok %zu %zu\n", added, removed);
}

/* Serve the backend's descriptor until the owner is told something, or time is up. */
static void do_event(struct tool *tool, char **at)
{
	uint64_t wait_ms = 0;
	unsigned int served = 0;
	int64_t end_ms = clock_now_ms();
	struct pollfd entry = {.fd = tool->ops->fd(tool->backend), .events = POLLIN};

	if (!next_number(at, 60000, &wait_ms)) {
		answer(-EINVAL);
		return;
	}
	end_ms += (int64_t)wait_ms;
	for (int64_t now_ms = clock_now_ms(); now_ms < end_ms && tool->disturbed == 0;
	     now_ms = clock_now_ms())
		if (poll(&entry, 1, (int)(end_ms - now_ms)) > 0) {
			tool->ops->event(tool->backend);
			served++;
		}
	printf("ok %u %u\n", tool->disturbed, served);
	tool->disturbed = 0;
}

static void do_counters(struct tool *tool, char **at)
{
	struct rule_counters counters = {0};
	struct rule rule;
	int error = parse_rule(at, &rule)
			    ? tool->ops->counters(tool->backend, &rule, &counters)
			    : -EINVAL;

	if (error < 0)
		answer(error);
	else
		printf("ok %llu %llu\n", (unsigned long long)counters.packets,
		       (unsigned long long)counters.octets);
}

static void do_dump(struct tool *tool)
{
	size_t count = 0;
	int error = tool->ops->dump(tool->backend, visit, &count);

	if (error < 0)
		answer(error);
	else
		printf("ok %zu\n", count);
}

static void parse_accept(char **at, struct backend_accept *accept)
{
	const char *family = strtok_r(NULL, " \n", at);
	const char *table = strtok_r(NULL, " \n", at);
	const char *chain = strtok_r(NULL, " \n", at);

	accept->how = chain ? BACKEND_ACCEPT_CHAIN : BACKEND_ACCEPT_AUTO;
	if (!chain)
		return;
	accept->ipv6 = strcmp(family, "ip6") == 0;
	(void)snprintf(accept->table, sizeof(accept->table), "%s", table);
	(void)snprintf(accept->chain, sizeof(accept->chain), "%s", chain);
}

static void do_open(struct tool *tool, char **at)
{
	struct backend_config config = {.mark = MARK};

	for (const char *word = strtok_r(NULL, " \n", at); word;
	     word = strtok_r(NULL, " \n", at)) {
		if (strcmp(word, "accept") == 0)
			parse_accept(at, &config.accept);
		else
			config.keep_flows = true;
	}
	answer(tool->ops->open(&config, &events, tool, &tool->backend));
}

static void do_apply(struct tool *tool)
{
	size_t count = tool->change_count;

	tool->change_count = 0;
	answer(tool->ops->apply(tool->backend, tool->changes, count));
}

static void do_close(struct tool *tool, char **at)
{
	int error = tool->ops->close(tool->backend, strtok_r(NULL, " \n", at) != NULL);

	tool->backend = NULL;
	answer(error);
}

static void do_want(struct tool *tool, char **at)
{
	if (tool->rule_count < CHANGES_MAX &&
	    parse_rule(at, &tool->rules[tool->rule_count])) {
		tool->rule_count++;
		answer(0);
	} else {
		answer(-EINVAL);
	}
}

static void do_troubles(struct tool *tool)
{
	printf("ok %u\n",
	       tool->ops->get_troubles ? tool->ops->get_troubles(tool->backend) : 0);
}

static void run(struct tool *tool, char *line)
{
	char *at = NULL;
	const char *command = strtok_r(line, " \n", &at);

	if (!command)
		return;
	if (strcmp(command, "open") == 0)
		do_open(tool, &at);
	else if (strcmp(command, "close") == 0)
		do_close(tool, &at);
	else if (strcmp(command, "network") == 0)
		answer(do_network(tool, &at));
	else if (strcmp(command, "apply") == 0)
		do_apply(tool);
	else if (strcmp(command, "want") == 0)
		do_want(tool, &at);
	else if (strcmp(command, "sync") == 0)
		do_sync(tool);
	else if (strcmp(command, "dump") == 0)
		do_dump(tool);
	else if (strcmp(command, "counters") == 0)
		do_counters(tool, &at);
	else if (strcmp(command, "event") == 0)
		do_event(tool, &at);
	else if (strcmp(command, "troubles") == 0)
		do_troubles(tool);
	else
		answer(keep_change(tool, command, &at) ? 0 : -EINVAL);
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[LINE_MAX_OCTETS];
	struct tool *tool = calloc(1, sizeof(*tool));

	if (!tool)
		return 1;
	log_init("backend_tool", LOG_LEVEL_DEBUG);
	tool->ops = argc > 1 && strcmp(argv[1], "iptables") == 0
			    ? backend_get_iptables()
			    : backend_get_nftables();
	while (fgets(line, sizeof(line), stdin))
		run(tool, line);
	/* End of input without "close" is a daemon that died: rules stay. */
	if (tool->backend)
		tool->ops->close(tool->backend, true);
	free(tool);
	return 0;
}
