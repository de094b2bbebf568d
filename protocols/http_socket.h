/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_HTTP_SOCKET_H
#define PROTOCOLS_HTTP_SOCKET_H

#include <stdint.h>

#include "protocols/worker.h"

/**
 * A listening TCP socket of one family, non-blocking, that hears the LAN's interface
 * only (HTTP-4).
 * Owns: caller closes *out. Errors: -errno.
 */
int http_socket_listen(const struct lan_info *lan, int family, uint16_t port, int *out)
	__attribute__((warn_unused_result));

/** The address that a connection came to; all zero = none that we know. */
struct ip_addr http_socket_get_local(int fd);

#endif
