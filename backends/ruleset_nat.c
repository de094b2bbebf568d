/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset.h"

#include <linux/netfilter.h>

#include "backends/ruleset_private.h"

bool ruleset_has_source_nat(const struct ruleset *ruleset)
{
	for (size_t i = 0;; i++) {
		uint32_t index = ruleset_find_base(ruleset, RULESET_TYPE_NAT,
						   NF_INET_POST_ROUTING, i);
		const struct ruleset_chain *chain;

		if (index == RULESET_NONE)
			return false;
		chain = ruleset_get_chain(ruleset, index);
		if (chain->rule_count > 0 && ruleset_sees_family(ruleset, chain, false))
			return true;
	}
}
