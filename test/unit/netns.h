/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_NETNS_H
#define TEST_UNIT_NETNS_H

#include <stdbool.h>

/**
 * Two network namespaces of this process alone, gone when it ends: the gateway's and
 * that of all hosts around it. A socket stays in the namespace it was made in, so one
 * process can be both sides.
 */
struct netns_pair {
	int gateway;
	int hosts;
};

/** Needs root or user namespaces. Errors: -EPERM, not permitted here: skip. */
int netns_make_pair(struct netns_pair *out) __attribute__((warn_unused_result));

/** A veth pair: `name` at the gateway, `peer` at the hosts. Errors: false, told. */
bool netns_make_link(const struct netns_pair *pair, const char *name, const char *peer);

/** Enter ns for good: what is opened from now on is there. Errors: false. */
bool netns_enter(int ns) __attribute__((warn_unused_result));

/** A shell command, where we are now. Errors: false, told. */
bool netns_run(const char *command);

#endif
