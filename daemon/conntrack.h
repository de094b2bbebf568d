/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_CONNTRACK_H
#define DAEMON_CONNTRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/** One flow from a LAN host out, as the kernel tracks it. Ports in host order. */
struct flow {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t internal_port;
	uint16_t remote_port;
	struct ip_addr internal;
	struct ip_addr remote;
	/** Found: what the remote endpoint sees. */
	struct ip_addr external;
	uint16_t external_port;
	uint32_t left_s; /* until the kernel forgets it when nothing more passes */
};

/**
 * Asks the kernel about single flows; each question costs the same however many flows
 * there are. Source: RFC 6887 §12.
 */
struct conntrack;

/** Owns: caller frees. Errors: -errno, logged. */
int conntrack_open(struct conntrack **out) __attribute__((warn_unused_result));
/** Safe on NULL. */
void conntrack_close(struct conntrack *conntrack);
/** Look for the exact five-tuple and fill in the rest. Errors: false: no such flow. */
bool conntrack_find(struct conntrack *conntrack, struct flow *flow)
	__attribute__((warn_unused_result));
/**
 * True when some other internal endpoint has a flow to flow's remote endpoint that
 * leaves with flow's external one: the kernel has no room for flow there.
 */
bool conntrack_is_taken(struct conntrack *conntrack, const struct flow *flow)
	__attribute__((warn_unused_result));
/** Let the flow live for at least lifetime_s, never shorter than it would (PCP-90).
 * Errors: -ENOENT, -errno. */
int conntrack_extend(struct conntrack *conntrack, const struct flow *flow,
		     uint32_t lifetime_s) __attribute__((warn_unused_result));

#endif
