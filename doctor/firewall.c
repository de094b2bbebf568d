/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/firewall.h"

#include <errno.h>
#include <string.h>

static void say_error(const struct facts *facts, struct finding *finding)
{
	int error = facts->firewall.error;

	if (!facts->root || error == -EPERM)
		finding_say(finding, FINDING_UNKNOWN,
			    "only root may read the firewall: run it as root");
	else if (error == -E2BIG)
		finding_say(finding, FINDING_UNKNOWN,
			    "the firewall has more rules than are read here");
	else
		finding_say(finding, FINDING_UNKNOWN, "the firewall cannot be read: %s",
			    strerror(-error));
}

bool firewall_can_ask(const struct facts *facts, const char *id,
		      struct findings *findings)
{
	const struct facts_firewall *firewall = &facts->firewall;

	if (facts->network_error != 0) {
		finding_say(findings_add(findings, id, ""), FINDING_UNKNOWN,
			    "it is not known which interfaces are WAN and LANs");
		return false;
	}
	/* Where there is no nf_tables, nothing is dropped there. */
	if (!firewall->ruleset && firewall->error != -EPROTONOSUPPORT) {
		say_error(facts, findings_add(findings, id, ""));
		return false;
	}
	return true;
}

void firewall_say_legacy(const struct facts *facts, const char *id,
			 struct findings *findings)
{
	for (int i = 0; i < 2; i++)
		if (facts->firewall.legacy[i].state == LEGACY_UNREADABLE)
			finding_say(
				findings_add(findings, id, i == 0 ? "IPv4" : "IPv6"),
				FINDING_UNKNOWN,
				"the chains of %s cannot be read: run it as root",
				i == 0 ? "iptables-legacy" : "ip6tables-legacy");
}
