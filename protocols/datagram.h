/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_DATAGRAM_H
#define PROTOCOLS_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/** Datagrams that one system call receives or sends. */
#define DATAGRAM_BATCH_MAX 64
/** Room for one: more than PCP's 1100 octets, so that too long is seen (PCP-1). */
#define DATAGRAM_SIZE_MAX 1536

/** One datagram and the way it came, or goes. */
struct datagram {
	uint32_t ifindex;
	struct ip_addr
		local; /* our end: destination of what came, source of what goes */
	struct ip_addr peer;
	uint16_t peer_port;
	bool truncated; /* it was longer than DATAGRAM_SIZE_MAX */
	uint16_t length;
	uint8_t bytes[DATAGRAM_SIZE_MAX];
};

struct datagram_batch {
	size_t count;
	struct datagram list[DATAGRAM_BATCH_MAX];
};

/**
 * UDP over IPv4 on every address of one interface and on no other interface: bound to
 * it, non-blocking, close-on-exec. Multicast leaves by it too, with a TTL of 1 (NP-59).
 * Needs no privilege. Owns: *out, closed by the caller.
 * Errors: -EADDRINUSE, -ENODEV, ...; *out untouched.
 */
int datagram_open_ipv4(uint32_t ifindex, uint16_t port, int *out)
	__attribute__((warn_unused_result));

/**
 * Receive what is there, at most a batch, over the former contents of *batch. ifindex
 * is 0 where the kernel does not say by which interface it came. Errors: -errno, batch
 * empty; -EAGAIN when nothing is there.
 */
int datagram_receive(int fd, struct datagram_batch *batch)
	__attribute__((warn_unused_result));

/**
 * Send those of the batch that go out by ifindex, each from its local address. What the
 * kernel does not take is dropped: whoever waits for it asks again.
 */
void datagram_send(int fd, uint32_t ifindex, struct datagram_batch *batch);

#endif
