/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_NETWORK_H
#define DAEMON_NETWORK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "conf/conf.h"
#include "daemon/wan.h"
#include "protocols/worker.h"

/** The WAN as chosen. */
struct wan_choice {
	uint32_t ifindex; /* 0 = not there now */
	char name[IF_NAMESIZE];
	bool present;
	bool up;
	bool carrier;
	struct ip_addr address;	 /* primary IPv4 of the interface; none = has none */
	struct ip_addr external; /* told to clients: by configuration, or the same */
	bool private_address;	 /* what is told is private or CGNAT: warn */
};

/** Which interfaces we serve, by configuration and what the kernel has. */
struct network {
	struct wan_choice wan;
	size_t lan_count;
	struct lan_info lans[LANS_MAX]; /* ifindex 0 = configured, not there now */
};

/**
 * Choose. Pure. A LAN's index is its place in out->lans: the same for the same
 * configuration; network_pin() makes it so for an automatic choice too. Configured
 * interfaces may be missing: they are waited for.
 * Errors: -ENODEV, -EINVAL with a clear message; *out untouched.
 */
int network_choose(const struct conf *conf, const struct links *links,
		   struct network *out, char error[CONF_ERROR_MAX])
	__attribute__((warn_unused_result));

/**
 * Write an automatic choice into the configuration as if it had been named there. From
 * then on an interface that goes is waited for, and no other takes its index.
 */
void network_pin(const struct network *network, struct conf *conf);

#endif
