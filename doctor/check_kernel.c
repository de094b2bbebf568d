/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

#include <errno.h>
#include <string.h>

bool facts_use_iptables(const struct facts *facts)
{
	if (facts->daemon.state == FACTS_DAEMON_RUNS)
		return strcmp(facts->daemon.backend, "iptables") == 0;
	return facts->conf.backend.type == CONF_BACKEND_IPTABLES ||
	       (facts->conf.backend.type == CONF_BACKEND_AUTO &&
		facts->firewall.error == -EPROTONOSUPPORT &&
		facts->kernel.iptables_module != FACT_NO);
}

static void check_nftables(const struct facts *facts, struct findings *findings)
{
	struct finding *finding;

	if (facts_use_iptables(facts))
		return;
	finding = findings_add(findings, "nftables-missing", "");
	if (facts->firewall.error == 0 || facts->firewall.error == -E2BIG ||
	    facts->daemon.state == FACTS_DAEMON_RUNS)
		finding_say(finding, FINDING_OK, "the kernel has nf_tables");
	else if (facts->firewall.error == -EPROTONOSUPPORT)
		finding_say(finding, FINDING_PROBLEM,
			    "this kernel has no nf_tables (CONFIG_NF_TABLES), which "
			    "forwards leases: use a kernel that has it%s",
			    facts->kernel.iptables_module == FACT_YES
				    ? ", or type = iptables in [backend]"
				    : "");
	else if (!facts->root)
		finding_say(finding, FINDING_UNKNOWN,
			    "only root may ask whether the kernel has nf_tables: run "
			    "it as root");
	else
		finding_say(finding, FINDING_UNKNOWN, "nf_tables does not answer: %s",
			    strerror(-facts->firewall.error));
}

static void check_iptables(const struct facts *facts, struct findings *findings)
{
	struct finding *finding;

	if (!facts_use_iptables(facts))
		return;
	finding = findings_add(findings, "iptables-missing", "");
	switch (facts->kernel.iptables_module) {
	case FACT_YES:
		finding_say(finding, FINDING_OK, "the kernel has iptables");
		break;
	case FACT_NO:
		finding_say(
			finding, FINDING_PROBLEM,
			"type = iptables, but this kernel has no ip_tables "
			"(CONFIG_IP_NF_IPTABLES): use type = nftables in [backend]");
		break;
	case FACT_UNKNOWN:
		finding_say(finding, FINDING_UNKNOWN,
			    "the modules of this kernel cannot be read");
		break;
	}
}

static void check_conntrack(const struct facts *facts, struct findings *findings)
{
	const struct facts_kernel *kernel = &facts->kernel;
	struct finding *finding = findings_add(findings, "conntrack-missing", "");

	if (kernel->conntrack == FACT_YES)
		finding_say(finding, FINDING_OK, "the kernel tracks connections");
	else if (kernel->conntrack_module == FACT_YES &&
		 facts->daemon.state != FACTS_DAEMON_RUNS)
		finding_say(finding, FINDING_OK,
			    "connection tracking is not loaded; it is when portreeved "
			    "needs it");
	else if (kernel->conntrack_module == FACT_UNKNOWN)
		finding_say(finding, FINDING_UNKNOWN,
			    "connection tracking is not loaded, and the modules of "
			    "this kernel cannot be read: run it as root");
	else if (kernel->conntrack_module == FACT_YES) {
		finding_say(finding, FINDING_PROBLEM,
			    "connection tracking is not loaded, though portreeved "
			    "runs: nothing is translated");
		finding_fix(finding, "modprobe nf_conntrack");
	} else
		finding_say(finding, FINDING_PROBLEM,
			    "this kernel has no connection tracking "
			    "(CONFIG_NF_CONNTRACK): nothing can be translated; use a "
			    "kernel that has it");
}

static void say_forwarding(struct finding *finding, enum fact on, const char *key)
{
	switch (on) {
	case FACT_YES:
		finding_say(finding, FINDING_OK, "%s passes on between interfaces",
			    finding->subject);
		break;
	case FACT_UNKNOWN:
		finding_say(finding, FINDING_UNKNOWN, "/proc/sys cannot be read: %s",
			    key);
		break;
	case FACT_NO:
		finding_say(finding, FINDING_PROBLEM,
			    "this host passes no %s packets on from one interface to "
			    "another: %s is 0",
			    finding->subject, key);
		finding_fix(finding, "sysctl -w %s=1", key);
		finding_keep(finding, "a line %s = 1 in /etc/sysctl.d/portreeve.conf",
			     key);
		break;
	}
}

static void check_interface(enum fact on, const char *name, struct findings *findings)
{
	struct finding *finding;

	if (on != FACT_NO)
		return;
	finding = findings_add(findings, "forwarding-off", name);
	finding_say(finding, FINDING_PROBLEM,
		    "IPv4 packets that come in by %s are not passed on: its switch "
		    "forwarding is 0",
		    name);
	if (!name_is_plain(name))
		return;
	finding_fix(finding, "sysctl -w net/ipv4/conf/%s/forwarding=1", name);
	finding_keep(finding,
		     "a line net/ipv4/conf/%s/forwarding = 1 in "
		     "/etc/sysctl.d/portreeve.conf",
		     name);
}

static bool lan_has_ipv6(const struct lan_info *lan)
{
	for (size_t i = 0; i < lan->address_count; i++)
		if (!addr_is_ipv4(&lan->addresses[i].addr) &&
		    !addr_is_link_local(&lan->addresses[i].addr))
			return true;
	return false;
}

static void check_forwarding(const struct facts *facts, struct findings *findings)
{
	const struct facts_kernel *kernel = &facts->kernel;
	bool ipv6 = false;

	say_forwarding(findings_add(findings, "forwarding-off", "IPv4"),
		       kernel->forwarding4, "net.ipv4.ip_forward");
	for (size_t i = 0; i < facts->network.lan_count; i++)
		ipv6 |= lan_has_ipv6(&facts->network.lans[i]);
	if (ipv6)
		say_forwarding(findings_add(findings, "forwarding-off", "IPv6"),
			       kernel->forwarding6, "net.ipv6.conf.all.forwarding");
	if (kernel->forwarding4 != FACT_YES)
		return;
	check_interface(kernel->wan_forwarding, facts->network.wan.name, findings);
	for (size_t i = 0; i < facts->network.lan_count; i++)
		check_interface(kernel->lan_forwarding[i], facts->network.lans[i].name,
				findings);
}

/* It matters only where the way back to the internet is not the way it came. */
static void check_reverse_path(const struct facts *facts, struct findings *findings)
{
	const struct wan_choice *wan = &facts->network.wan;
	struct finding *finding = findings_add(findings, "reverse-path", wan->name);

	if (!wan->present || facts->links.default_ifindex == 0 ||
	    facts->kernel.wan_strict == FACT_UNKNOWN) {
		finding_say(finding, FINDING_UNKNOWN,
			    "without WAN and default route it means nothing");
		return;
	}
	if (facts->kernel.wan_strict == FACT_NO ||
	    facts->links.default_ifindex == wan->ifindex) {
		finding_say(finding, FINDING_OK,
			    "the kernel lets packets from the internet in by %s",
			    wan->name);
		return;
	}
	finding_say(finding, FINDING_PROBLEM,
		    "the kernel drops packets from the internet that come in by %s: "
		    "the default route leaves elsewhere, and rp_filter is strict",
		    wan->name);
	if (!name_is_plain(wan->name))
		return;
	finding_fix(finding, "sysctl -w net/ipv4/conf/%s/rp_filter=2", wan->name);
	finding_keep(finding,
		     "a line net/ipv4/conf/%s/rp_filter = 2 in "
		     "/etc/sysctl.d/portreeve.conf",
		     wan->name);
}

void check_kernel(const struct facts *facts, struct findings *findings)
{
	check_nftables(facts, findings);
	check_iptables(facts, findings);
	check_conntrack(facts, findings);
	check_forwarding(facts, findings);
	check_reverse_path(facts, findings);
}
