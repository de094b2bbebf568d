/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_SOCKETS_H
#define DAEMON_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/** Asks the kernel which ports programs of the gateway itself use (sock_diag). */
struct sockets;

/** Owns: caller frees. Errors: NULL, logged: then no port counts as used. */
struct sockets *sockets_new(void);
void sockets_free(struct sockets *sockets);

/**
 * True when a socket of this host would get what arrives for the address and port on
 * that interface. One query to the kernel, no walk. False where the kernel cannot tell.
 */
bool sockets_is_used(struct sockets *sockets, uint8_t protocol,
		     const struct ip_addr *address, uint16_t port, uint32_t ifindex);

#endif
