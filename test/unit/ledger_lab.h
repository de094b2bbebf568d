/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_LEDGER_LAB_H
#define TEST_UNIT_LEDGER_LAB_H

#include "conf/conf.h"
#include "daemon/ledger.h"

/* What tests of the ledger share: a real store, and a gateway with one LAN. */

struct ip_addr ledger_lab_address(const char *text);

/** Defaults without a limit of requests, and a directory of its own for the store. */
void ledger_lab_init_conf(struct conf *conf);
/** The directory goes. */
void ledger_lab_fini_conf(const struct conf *conf);
/** 203.0.113.1 on interface 1, and lan0, which is interface 2. */
void ledger_lab_init_network(struct network *network);

/** As core does it, instead of the ledger before, which may be NULL. */
void ledger_lab_open(const struct ledger_setup *setup, struct ledger **ledger);

/** Events that a test does not look at. */
void ledger_lab_ignore_lease(void *user, enum lease_event event,
			     const struct lease *lease);
void ledger_lab_ignore_disturbed(void *user);

#endif
