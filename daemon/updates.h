/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_UPDATES_H
#define DAEMON_UPDATES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "daemon/ledger.h"
#include "daemon/network.h"
#include "protocols/worker.h"

struct event_base;

/**
 * Tells PCP clients of what became of their leases without their doing: another
 * external address, or an end before its time (PCP-40..42). Not of expiry, nor of what
 * they asked for themselves. Many leases are told of a few at a time.
 */
struct updates;

/** Where the messages go: the worker that speaks PCP. */
struct updates_sink {
	bool (*is_up)(void *user);    /* it serves; else updates wait for it */
	bool (*has_room)(void *user); /* it keeps up with what it was told already */
	void (*send)(void *user, const struct mapping_update *update);
};

/** Borrows all for its life. Owns: caller frees. Errors: NULL, out of memory. */
struct updates *lease_updates_new(struct event_base *base, struct ledger *ledger,
				  const struct network *network,
				  const struct updates_sink *sink, void *user);
/** Safe on NULL. */
void lease_updates_free(struct updates *updates);

/**
 * The external address is another one: tell every PCP client of an IPv4 lease, from the
 * next turn of the loop on, and end the leases that were for the old one only (PCP-41).
 */
void lease_updates_begin(struct updates *updates);
/** The worker is up: go on. */
void lease_updates_continue(struct updates *updates);
/**
 * The lease is not what its client was answered last: tell it, in the next turn of the
 * loop, behind the answers of this one.
 */
void lease_updates_tell(struct updates *updates, uint64_t id);
/** A lease has ended, for `why`: tell its client, if that is news to it. */
void lease_updates_tell_end(struct updates *updates, const struct lease *lease,
			    enum lease_end why);

/**
 * What the client of this lease is to be told. Pure. False: it has none that listens on
 * a LAN of this network.
 */
bool lease_updates_fill(const struct lease *lease, const struct network *network,
			struct mapping_update *out) __attribute__((warn_unused_result));

#endif
