/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_FUZZ_ARRIVAL_H
#define TEST_FUZZ_ARRIVAL_H

#include "base/buf.h"
#include "protocols/datagram.h"

/* Flags of an arrival; the others are the target's own. */
#define ARRIVAL_OTHER_LINK 1
#define ARRIVAL_NO_PORT 2
#define ARRIVAL_TRUNCATED 4

/**
 * Read how a datagram comes: an octet of flags, and one for each end, of which pick
 * makes an address. Its bytes are left to read. Returns the flags.
 */
uint8_t arrival_read(struct reader *input, uint32_t ifindex,
		     struct ip_addr (*pick)(uint8_t number), struct datagram *out);

#endif
