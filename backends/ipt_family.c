/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <libiptc/libip6tc.h>
#include <libiptc/libiptc.h>

static const void *first4(const char *chain, struct xtc_handle *handle)
{
	return iptc_first_rule(chain, handle);
}

static const void *next4(const void *rule, struct xtc_handle *handle)
{
	return iptc_next_rule(rule, handle);
}

static const char *target4(const void *rule, struct xtc_handle *handle)
{
	return iptc_get_target(rule, handle);
}

static int insert4(const char *chain, const void *rule, unsigned int at,
		   struct xtc_handle *handle)
{
	return iptc_insert_entry(chain, rule, at, handle);
}

static const void *first6(const char *chain, struct xtc_handle *handle)
{
	return ip6tc_first_rule(chain, handle);
}

static const void *next6(const void *rule, struct xtc_handle *handle)
{
	return ip6tc_next_rule(rule, handle);
}

static const char *target6(const void *rule, struct xtc_handle *handle)
{
	return ip6tc_get_target(rule, handle);
}

static int insert6(const char *chain, const void *rule, unsigned int at,
		   struct xtc_handle *handle)
{
	return ip6tc_insert_entry(chain, rule, at, handle);
}

const struct ipt_family *ipt_family_get(bool ipv6)
{
	static const struct ipt_family families[] = {
		{
			.what = "iptables",
			.ops = &iptc_ops,
			.first_rule = first4,
			.next_rule = next4,
			.get_target = target4,
			.insert = insert4,
			.delete = iptc_delete_num_entry,
			.delete_chain = iptc_delete_chain,
			.get_references = iptc_get_references,
		},
		{
			.ipv6 = true,
			.what = "ip6tables",
			.ops = &ip6tc_ops,
			.first_rule = first6,
			.next_rule = next6,
			.get_target = target6,
			.insert = insert6,
			.delete = ip6tc_delete_num_entry,
			.delete_chain = ip6tc_delete_chain,
			.get_references = ip6tc_get_references,
		},
	};

	return &families[ipv6];
}
