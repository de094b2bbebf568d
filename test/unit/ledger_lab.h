/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_LEDGER_LAB_H
#define TEST_UNIT_LEDGER_LAB_H

#include "conf/conf.h"
#include "daemon/ledger.h"

/* What tests of the ledger share: a real store, and a gateway with one LAN. */

struct ip_addr ledger_lab_address(const char *text);

/** What a ledger stands on; what a test's fixture begins with. */
struct ledger_lab {
	struct conf conf;
	struct network network;
	const struct backend_ops *backend;
	struct store_time at;
	struct ledger *ledger;
};

/**
 * A fixture of so many octets, zero but for the lab that it begins with: defaults
 * without a limit of requests, a directory of its own for the store, a firewall in
 * memory, 203.0.113.1 on interface 1, and lan0, which is interface 2. No ledger yet.
 */
void *ledger_lab_new(size_t size);
/** Of cmocka: the ledger is closed, the directory goes, and so does the fixture. */
int ledger_lab_teardown(void **state);

/** Of all that the lab holds; user is that of the events. */
struct ledger_setup ledger_lab_get_setup(const struct ledger_lab *lab,
					 const struct ledger_events *events,
					 void *user);
/** As core does it, instead of the ledger before, which may be NULL. */
void ledger_lab_open(struct ledger_lab *lab, const struct ledger_events *events,
		     void *user);
void ledger_lab_close(struct ledger_lab *lab);
/** Both clocks go on. */
void ledger_lab_pass_time(struct ledger_lab *lab, int64_t ms);

/** Events that a test does not look at. */
void ledger_lab_ignore_lease(void *user, enum lease_event event,
			     const struct lease *lease);
void ledger_lab_ignore_disturbed(void *user);

#endif
