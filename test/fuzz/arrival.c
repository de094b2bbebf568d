/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/fuzz/arrival.h"

#include <string.h>

#define PEER_PORT 1234

uint8_t arrival_read(struct reader *input, uint32_t ifindex,
		     struct ip_addr (*pick)(uint8_t number), struct datagram *out)
{
	uint8_t flags = reader_u8(input);

	memset(out, 0, sizeof(*out));
	out->peer = pick(reader_u8(input));
	out->local = pick(reader_u8(input));
	out->ifindex = (flags & ARRIVAL_OTHER_LINK) != 0 ? ifindex + 1 : ifindex;
	out->peer_port = (flags & ARRIVAL_NO_PORT) != 0 ? 0 : PEER_PORT;
	out->truncated = (flags & ARRIVAL_TRUNCATED) != 0;
	return flags;
}
