/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

#define RELOAD_RESTART_MAX 256

/** What a new configuration asks for that the running one does not. */
struct reload_diff {
	bool changed; /* anything at all; the rest says what follows from it */
	bool network; /* WAN or LANs: choose anew, and tell */
	/** LAN_PROTOCOL_... of the workers that were told once, and start again. */
	uint8_t workers;
	bool policy;  /* rules: leases are looked at again */
	bool foreign; /* integrate */
	bool hosts;   /* how hosts are known */
	bool log;
	/** Places whose LAN is another one: what leases there were is nobody's. */
	uint32_t replaced;
	/** Keys that only a restart of the daemon changes, such as "[global] user",
	 * with ", " between them; "" = none. They keep their old values. */
	char restart[RELOAD_RESTART_MAX];
};

/**
 * Compare, and make `next` what shall be in force: keys that need a restart as they
 * were, LANs that stay at their old places, LANs that go left as places without
 * protocols, new ones behind them, or, where all places are taken, in such a place.
 * Where `next` names no LAN they are chosen, and nothing of this is done. Pure.
 */
void reload_merge(const struct conf *now, struct conf *next, struct reload_diff *out);

/** Give `next` the values of `now` for keys that need a restart. Pure. */
void reload_keep(const struct conf *now, struct conf *next);

/** A place of a LAN that left: it stays, so that no other takes its index. */
bool reload_is_left(const struct conf_lan *lan);

#endif
