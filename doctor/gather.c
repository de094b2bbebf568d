/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/gather.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "doctor/ask.h"
#include "doctor/procfile.h"

#define PATH_SIZE 192
#define VALUE_SIZE 16

/* The value of a switch of the kernel, e.g. "ipv4/conf/wan0/forwarding"; -1: unknown.
 */
static int sysctl_read(const char *name)
{
	char path[PATH_SIZE];
	char text[VALUE_SIZE];
	int value = -1;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	if (procfile_read(path, text, sizeof(text)) < 0 || text[0] < '0' ||
	    text[0] > '9')
		return -1;
	for (const char *at = text; *at >= '0' && *at <= '9' && value < 1000; at++)
		value = (value < 0 ? 0 : value * 10) + (*at - '0');
	return value;
}

static enum fact sysctl_is_on(const char *name)
{
	int value = sysctl_read(name);

	if (value < 0)
		return FACT_UNKNOWN;
	return value > 0 ? FACT_YES : FACT_NO;
}

static int interface_read(const char *interface, const char *name)
{
	char path[PATH_SIZE];

	(void)snprintf(path, sizeof(path), "ipv4/conf/%s/%s", interface, name);
	return sysctl_read(path);
}

static enum fact interface_forwards(const char *interface)
{
	int value = interface_read(interface, "forwarding");

	if (value < 0)
		return FACT_UNKNOWN;
	return value > 0 ? FACT_YES : FACT_NO;
}

/* The kernel takes the larger of both. */
static enum fact interface_is_strict(const char *interface)
{
	int all = sysctl_read("ipv4/conf/all/rp_filter");
	int own = interface_read(interface, "rp_filter");

	if (all < 0 || own < 0)
		return FACT_UNKNOWN;
	return (all > own ? all : own) == 1 ? FACT_YES : FACT_NO;
}

/* Is there a file of that module for this kernel, or is it built in? */
static enum fact module_is_there(const char *module)
{
	static const char *const lists[] = {"modules.dep", "modules.builtin"};
	enum fact fact = FACT_NO;
	struct utsname system;

	if (uname(&system) < 0)
		return FACT_UNKNOWN;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		char path[PATH_SIZE];
		int found;

		(void)snprintf(path, sizeof(path), "/lib/modules/%s/%s", system.release,
			       lists[i]);
		found = procfile_find(path, module);
		if (found > 0)
			return FACT_YES;
		if (found < 0 && found != -ENOENT)
			fact = FACT_UNKNOWN;
	}
	return fact;
}

static void gather_kernel(const struct network *network, struct facts_kernel *out)
{
	out->forwarding4 = sysctl_is_on("ipv4/ip_forward");
	out->forwarding6 = sysctl_is_on("ipv6/conf/all/forwarding");
	out->conntrack =
		sysctl_read("netfilter/nf_conntrack_max") >= 0 ? FACT_YES : FACT_NO;
	out->conntrack_module = module_is_there("/nf_conntrack.ko");
	out->iptables_module = access("/proc/net/ip_tables_names", F_OK) == 0
				       ? FACT_YES
				       : module_is_there("/ip_tables.ko");
	if (network->wan.present) {
		out->wan_forwarding = interface_forwards(network->wan.name);
		out->wan_strict = interface_is_strict(network->wan.name);
	}
	for (size_t i = 0; i < network->lan_count; i++)
		out->lan_forwarding[i] = interface_forwards(network->lans[i].name);
}

static void gather_network(struct facts *facts)
{
	struct wan *wan;

	facts->links_error = wan_open(&wan);
	if (facts->links_error == 0) {
		facts->links_error = wan_read(wan, &facts->links);
		wan_close(wan);
	}
	if (facts->links_error != 0) {
		facts->network_error = facts->links_error;
		(void)snprintf(facts->network_text, sizeof(facts->network_text),
			       "the interfaces cannot be read: %s",
			       strerror(-facts->links_error));
		return;
	}
	facts->network_error = network_choose(&facts->conf, &facts->links, NULL,
					      &facts->network, facts->network_text);
}

static void gather_firewall(struct facts_firewall *out, struct ruleset **ruleset)
{
	*ruleset = NULL;
	out->error = ruleset_read(ruleset);
	out->ruleset = *ruleset;
	legacy_read(&out->legacy[0], "filter", false);
	legacy_read(&out->legacy[1], "filter", true);
	legacy_read(&out->translation, "nat", false);
}

static void gather_conf(const char *file, struct facts *facts)
{
	facts->conf_file = file ? file : CONF_DEFAULT_FILE;
	facts->conf_code = conf_load(file, &facts->conf, facts->conf_error);
	if (facts->conf_code == 0)
		facts->conf_error[0] = '\0';
	else
		conf_init(&facts->conf);
}

void gather_facts(const struct gather_options *options, struct facts *out,
		  struct ruleset **ruleset)
{
	const char *socket = options->socket;

	memset(out, 0, sizeof(*out));
	out->root = geteuid() == 0;
	out->has_systemd = access("/run/systemd/system", F_OK) == 0;
	gather_conf(options->file, out);
	if (!socket)
		socket = out->conf.global.control_socket;
	(void)snprintf(out->socket, sizeof(out->socket), "%s", socket);
	ask_daemon(socket, &out->daemon, &out->conf);
	gather_network(out);
	gather_kernel(&out->network, &out->kernel);
	gather_firewall(&out->firewall, ruleset);
}

void gather_free(struct facts *facts, struct ruleset *ruleset)
{
	ruleset_free(ruleset);
	links_fini(&facts->links);
	legacy_free(&facts->firewall.legacy[0]);
	legacy_free(&facts->firewall.legacy[1]);
	legacy_free(&facts->firewall.translation);
}
