/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_RULESET_WIRE_H
#define TEST_UNIT_RULESET_WIRE_H

#include "backends/ruleset.h"
#include "test/unit/netns.h"

/*
 * Packets that go through the rules of the real kernel, to see that it does with them
 * what the walk says.
 */

/** Addresses, routes and forwarding for both ends; we are left at the gateway. */
void ruleset_wire_open(const struct netns_pair *pair);
/**
 * Load what counts, marks and translates, in our own table, which no walk sees.
 * mark: that first packets get at priority -150.
 */
void ruleset_wire_load(uint32_t mark);
/** Send the packet into wan0. True: no rule at the forward hook has dropped it. */
bool ruleset_wire_send(const struct packet *packet);

#endif
