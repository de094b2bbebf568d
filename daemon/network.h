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

/** Interfaces of which is kept that they were the WAN. */
#define NETWORK_FORMER_WANS_MAX 16

/** Is there a way out by the WAN? */
enum wan_route {
	WAN_ROUTE_THERE,
	WAN_ROUTE_NONE, /* there is no IPv4 default route */
	WAN_ROUTE_LAN,	/* it goes out by an interface that is a LAN by configuration */
};

/** Where the address that clients are told comes from. */
enum wan_source {
	WAN_SOURCE_INTERFACE,
	WAN_SOURCE_CONFIGURATION,
	WAN_SOURCE_STUN,
};

/** "interface", "configuration", "stun". */
const char *wan_source_get_name(enum wan_source source);

/** The WAN as chosen. */
struct wan_choice {
	uint32_t ifindex;	/* 0 = not there now */
	char name[IF_NAMESIZE]; /* "" = not known: the default route will tell */
	bool present;
	bool up;
	bool carrier;
	/** Of its IPv4 addresses the one that it goes out with; none = has none. */
	struct ip_addr address;
	struct ip_addr external; /* told to clients */
	enum wan_source source;	 /* of `external` */
	bool private_address;	 /* what is told is private or CGNAT: warn */
	enum wan_route route;
};

/** Which interfaces we serve, by configuration and what the kernel has. */
struct network {
	struct wan_choice wan;
	size_t lan_count;
	/**
	 * ifindex 0 = configured, not there now. protocols 0 = no LAN any more; its
	 * place stays empty, because leases know it.
	 */
	struct lan_info lans[LANS_MAX];
	bool lan_joined[LANS_MAX];  /* while we ran; may go without being missed */
	bool lan_guessed[LANS_MAX]; /* its place is that of an automatic choice */
	bool lans_automatic;	    /* the configuration names none */
	bool lans_full;		    /* one more would be a LAN, but there is no place */
	size_t former_wan_count;
	char wan_named[IF_NAMESIZE]; /* by the configuration; "" = automatic */
	/** That were the WAN in this run: no automatic choice takes them for LANs. A
	 * configuration that names another one, or none, begins this anew. */
	char former_wans[NETWORK_FORMER_WANS_MAX][IF_NAMESIZE];
};

/**
 * Choose. Pure. before: what was chosen last, NULL at start. Named interfaces may be
 * missing: they are waited for. An automatic WAN is where the default route goes, the
 * last one while there is none. A LAN's index is its place in out->lans: the same as
 * long as we run; automatic ones keep theirs when they go, and more may join. What a
 * configuration named that names none any more is served while it would be at start.
 * Errors: -ENODEV, -EINVAL with a clear message; *out untouched. An automatic choice
 * cannot fail any more once there is a `before`.
 */
int network_choose(const struct conf *conf, const struct links *links,
		   const struct network *before, struct network *out,
		   char error[CONF_ERROR_MAX]) __attribute__((warn_unused_result));

bool wan_choice_equal(const struct wan_choice *a, const struct wan_choice *b);

/** Have clients told this address, which was learned, and not the interface's own. */
void network_set_external(struct wan_choice *wan, const struct ip_addr *external,
			  enum wan_source source);

/**
 * Write LANs that were chosen into a configuration that names none, each at its index:
 * what a reload compares another one with. A place without a LAN has no protocols.
 */
void network_pin(const struct network *network, struct conf *conf);

#endif
