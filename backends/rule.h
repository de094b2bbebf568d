/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_RULE_H
#define BACKENDS_RULE_H

/* What every firewall asks of a rule; nobody outside backends/ includes it. */

#include "backends/backend.h"

/** A rule's filters, none inside another. Never cleared as a whole: it is large. */
struct rule_peers {
	bool any; /* no filter, or one that lets everybody in: there are no items */
	unsigned int count;
	struct rule_filter items[RULE_FILTERS_MAX];
};

/**
 * What the filters of a rule admit, said with as few as can be, in order of addresses.
 * Errors: -EINVAL, filters that make no sense.
 */
int rule_get_peers(const struct rule *rule, struct rule_peers *peers)
	__attribute__((warn_unused_result));

/**
 * See whether a rule makes sense, and what its filters admit.
 * Errors: -EINVAL, it does not.
 */
int rule_check(const struct rule *rule, struct rule_peers *peers)
	__attribute__((warn_unused_result));

/** True when packets can be sent from or to this address. */
bool rule_is_ipv4_host(const struct ip_addr *addr);

/** True when every address of `narrow` is one of `wide`. */
bool rule_prefix_covers(const struct prefix *wide, const struct prefix *narrow);

#endif
