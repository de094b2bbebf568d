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

struct sock_fprog;

/**
 * What is sent, by sockets of its own: datagrams to hosts that are gone wait in the
 * kernel for seconds, at the expense of whatever leaves by the same socket.
 */
enum datagram_use { DATAGRAM_REPLY, DATAGRAM_UPDATE, DATAGRAM_MULTICAST };
#define DATAGRAM_USES (DATAGRAM_MULTICAST + 1)

/** One datagram and the way it came, or goes. */
struct datagram {
	uint8_t use;  /* enum datagram_use, of one that is sent */
	uint8_t hops; /* that it may make, of one that is sent; 0 = as the port has it
		       */
	bool left;    /* it has been sent, or cannot be */
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

/** A port on one interface, in one family. */
struct datagram_port {
	int family; /* AF_INET, AF_INET6 */
	uint32_t ifindex;
	uint16_t port;
	/** Programs that allow the same (SO_REUSEADDR) may have the port too; what is
	 * for a group comes to each of those that joined it. */
	bool shared;
};

/**
 * UDP of one family on every address of one interface and on no other interface: bound
 * to it, non-blocking, close-on-exec. Multicast leaves by it too and goes no further
 * than the link (NP-59, PCP-38). Needs no privilege.
 * Owns: *out, closed by the caller.
 * Errors: -EADDRINUSE, where it is not shared also when the other server would share
 * the port; -ENODEV, ...; *out untouched.
 */
int datagram_open(const struct datagram_port *port, int *out)
	__attribute__((warn_unused_result));

/** Hear what is sent to a multicast group on this port's interface. Errors: -errno. */
int datagram_join(int fd, const struct datagram_port *port, const struct ip_addr *group)
	__attribute__((warn_unused_result));

/**
 * A second socket for the same port: until datagram_select() says otherwise, each
 * datagram goes to one of them by chance. first: of datagram_open() with the same
 * port. Owns: *out, closed by the caller. Errors: -errno.
 */
int datagram_open_second(int first, const struct datagram_port *port, int *out)
	__attribute__((warn_unused_result));

/**
 * Which of the two gets a datagram: what `choice` returns, 0 = first, 1 = second. Sees
 * the datagram from behind the UDP header on, the IP header at SKF_NET_OFF. Of copies
 * that go to both, multicast and broadcast, the first gets those that `filter` returns
 * nonzero for. Errors: -errno, as before or half done.
 */
int datagram_select(int first, const struct sock_fprog *choice,
		    const struct sock_fprog *filter)
	__attribute__((warn_unused_result));

/**
 * Where the first is the only one that receives, of a shared port: have every datagram
 * come to it. Errors: -errno.
 */
int datagram_select_first(int first) __attribute__((warn_unused_result));

/**
 * One more for the same port, that only sends: what `choice` returns is never it, and
 * it takes no copies. first has been told to choose already. Owns: *out, closed by the
 * caller. Errors: -errno.
 */
int datagram_open_sender(const struct datagram_port *port, int *out)
	__attribute__((warn_unused_result));

/**
 * Receive what is there, at most a batch, over the former contents of *batch. ifindex
 * is 0 where the kernel does not say by which interface it came. Errors: -errno, batch
 * empty; -EAGAIN when nothing is there.
 */
int datagram_receive(int fd, struct datagram_batch *batch)
	__attribute__((warn_unused_result));

/** Which datagrams of a batch leave by a socket. */
struct datagram_route {
	int family;
	uint32_t ifindex;
	enum datagram_use use;
};

/** What has become of them. */
struct datagram_outcome {
	unsigned int stuck;  /* no room in the socket: another one may have some */
	unsigned int failed; /* no socket can send them */
};

/**
 * Send those of the batch that go this way and have not left yet, each from its local
 * address; all but the stuck ones have left then.
 */
struct datagram_outcome datagram_send(int fd, const struct datagram_route *route,
				      struct datagram_batch *batch);

#endif
