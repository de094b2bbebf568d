/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

#include <linux/netfilter.h>

#include "doctor/firewall.h"

static bool lan_is_private(const struct lan_info *lan)
{
	for (size_t i = 0; i < lan->address_count; i++)
		if (addr_is_ipv4(&lan->addresses[i].addr) &&
		    addr_is_private(&lan->addresses[i].addr))
			return true;
	return false;
}

/* That nobody translates at all can be told; whom a rule is for often cannot. */
void check_translation(const struct facts *facts, struct findings *findings)
{
	const struct facts_firewall *firewall = &facts->firewall;
	const char *wan = facts->network.wan.name;
	struct finding *finding;
	bool needed = false;

	for (size_t i = 0; i < facts->network.lan_count; i++)
		needed |= lan_is_private(&facts->network.lans[i]);
	if (facts->network_error == 0 && (!needed || !facts->conf.wan.nat))
		return;
	if (!firewall_can_ask(facts, "no-translation", findings))
		return;
	finding = findings_add(findings, "no-translation", wan);
	if ((firewall->ruleset && ruleset_has_source_nat(firewall->ruleset)) ||
	    legacy_has_rules(&firewall->translation, NF_INET_POST_ROUTING)) {
		finding_say(finding, FINDING_OK,
			    "there are rules that translate what leaves");
		return;
	}
	if (firewall->translation.state == LEGACY_UNREADABLE) {
		finding_say(finding, FINDING_UNKNOWN,
			    "the nat table of iptables-legacy cannot be read");
		return;
	}
	finding_say(finding, FINDING_PROBLEM,
		    "nothing translates the private addresses of hosts when they talk "
		    "to the internet: portreeve does it for leases only");
	if (!name_is_plain(wan))
		return;
	finding_fix(finding,
		    "nft 'table ip lan_nat { chain postrouting { type nat hook "
		    "postrouting priority srcnat; oifname \"%s\" masquerade; }; }'",
		    wan);
	finding_keep(finding, "the same table in /etc/nftables.conf");
}
