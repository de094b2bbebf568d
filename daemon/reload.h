/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"

/** What a new configuration asks for that the running one does not. */
struct reload_diff {
	bool network; /* WAN or LANs: choose anew */
	bool workers; /* what workers are told once: they start again */
	bool policy;  /* rules: leases are looked at again */
	bool limits;
	bool foreign; /* integrate */
	bool log;
	/** Keys that only a restart of the daemon changes, such as "[global] user",
	 * with
	 * ", " between them; "" = none. They keep their old values. */
	char restart[256];
};

/**
 * Compare, and make `next` what shall be in force: keys that need a restart as they
 * were, LANs that stay at their old places, LANs that go left as places without
 * protocols, new ones behind them or in such a place. Pure.
 * Errors: -ENOSPC: more LANs than there are places; `error` then says so.
 */
int reload_merge(const struct conf *now, struct conf *next, struct reload_diff *out,
		 char error[CONF_ERROR_MAX]) __attribute__((warn_unused_result));

#endif
