/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_OUTLET_H
#define PROTOCOLS_OUTLET_H

#include <stdbool.h>
#include <stdint.h>

#include "protocols/datagram.h"

/**
 * Sockets that one port is given in a second, in the place of those that are full. What
 * they held stays in the kernel for about three seconds more: at 208 KiB each, some
 * 40 MiB at the very worst.
 */
#define OUTLET_RENEWALS_PER_SECOND 64

/** The socket of one use. */
struct outlet_way {
	int fd; /* -1 = none */
	int64_t window_start_ms;
	uint32_t renewals; /* in the second since window_start_ms */
};

/**
 * The ways out of one port. Until a neighbour is found, or is known not to be there,
 * its datagrams count against the socket that sent them; a few hosts that are switched
 * off, or addresses that nobody has, fill it. Such a socket is given up for a new one,
 * so that what is for others leaves at once; each use has its own. Multicast, which
 * waits for no neighbour, leaves by the port's first socket, by which nothing else
 * does.
 */
struct outlet {
	struct datagram_port port;
	struct outlet_way ways[DATAGRAM_USES];
};

/**
 * first: of datagram_open() with the same port, after datagram_select(). Owns:
 * outlet_close() closes what is opened here; first stays the caller's. Errors: -errno,
 * nothing is open.
 */
int outlet_open(struct outlet *outlet, int first) __attribute__((warn_unused_result));

/** Safe on what is closed. */
void outlet_close(struct outlet *outlet);

/**
 * Send what goes this way and has not left. Returns how many datagrams could not be
 * sent: the hosts are not reached, or too many sockets were full already.
 */
unsigned int outlet_send(struct outlet *outlet, struct datagram_batch *batch,
			 int64_t now_ms);

#endif
