/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include "daemon/ledger.h"
#include "daemon/network.h"
#include "daemon/store.h"

struct foreign_figures;
struct json_object;
struct outside;

/** What `status` tells besides ledger and network. */
struct report_worker {
	const char *name;
	bool up;
	unsigned int restarts;
	unsigned int sockets_failed; /* LAN sockets it could not open */
};

struct report_status {
	struct ledger *ledger;
	const struct conf *conf;
	const struct network *network;
	const struct report_worker *workers;
	size_t worker_count;
	int64_t started_ms;
	uint64_t dropped;     /* requests of workers that could not be taken */
	bool anycast_missing; /* PCP's anycast address is on no interface */
	const struct outside *outside;
	const struct foreign_figures *foreign; /* NULL = nothing can be looked at */
};

/**
 * A lease as doc/control.md shows it. Owns: caller frees. Errors: NULL, out of memory.
 */
struct json_object *report_lease_new(struct ledger *ledger, const struct lease *lease,
				     const struct store_time *at);

/** The answer of Status. Owns: caller frees. Errors: NULL, out of memory. */
struct json_object *report_status_new(const struct report_status *status,
				      const struct store_time *at);

#endif
