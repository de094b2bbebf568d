/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_SSDP_SERVER_H
#define PROTOCOLS_SSDP_SERVER_H

#include "protocols/ssdp_responder.h"

/** Discovery on one LAN in one family: the sockets of port 1900 there, one that
 * receives and announces, and those by which answers leave. */
struct ssdp_server;

/**
 * Open the sockets and start to announce: byebye for what a former run left behind,
 * then alive (SSDP-13, SSDP-14).
 * Owns: caller closes. Errors: -errno, *out untouched.
 */
int ssdp_server_open(const struct ssdp_config *config, struct ssdp_server **out)
	__attribute__((warn_unused_result));
/** Announce that BOOTID is another from now on, and that all else goes on (SSDP-15). */
void ssdp_server_say_update(struct ssdp_server *server, uint32_t boot_id);
/** LOCATION has changed: announce it, without byebye. */
void ssdp_server_renew(struct ssdp_server *server);
/** Say byebye and close. Safe on NULL. */
void ssdp_server_close(struct ssdp_server *server);

#endif
