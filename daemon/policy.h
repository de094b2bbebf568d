/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_POLICY_H
#define DAEMON_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "conf/conf.h"
#include "protocols/request.h"

/*
 * Never too few: the ends of the external ranges of n rules cut the ports into at most
 * 2n + 1 segments. Every rule takes whole segments, and none is taken twice.
 */
#define POLICY_RANGES_MAX (2 * CONF_RULES_MAX + 1)

/** External ports that one rule allows. */
struct verdict_range {
	struct port_range ports;
	uint32_t lifetime_max_s; /* UINT32_MAX = no limit of the rule's own */
	unsigned int line;	 /* of the configuration that decided; 0 = built in */
};

/** Allowed external ports of a request, in order of the rules, and what decided. */
struct verdict {
	bool third_party; /* internal != client is granted */
	/** Internal ports that no rule tells from the request's own. */
	struct port_range internal;
	size_t range_count;
	struct verdict_range ranges[POLICY_RANGES_MAX];
	/**
	 * Line of the rule that denies the suggested port; where none does, of the
	 * first that denies any. 0 = a built-in rule, or no rule matched the rest.
	 */
	unsigned int denied_line;
};

/**
 * Decide what a request may have: for every single external port, the first rule that
 * matches. What no rule matches is denied. For another host than the client itself,
 * only an allow rule with a third-party grant for that host matches. Without address
 * translation no IPv4 port is allowed at all, with `pinholes = off` none of IPv6. Pure.
 */
void policy_decide(const struct conf *conf, const struct request *request,
		   const char *lan_name, struct verdict *out);

/**
 * True when the external port is allowed; *lifetime_max_s is then its rule's limit, and
 * untouched else. The limits of [limits] come on top of it.
 */
bool verdict_allows(const struct verdict *verdict, uint16_t external_port,
		    uint32_t *lifetime_max_s);

#endif
