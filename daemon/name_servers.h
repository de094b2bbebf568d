/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_NAME_SERVERS_H
#define DAEMON_NAME_SERVERS_H

#include <stddef.h>

#include "daemon/wan.h"
#include "protocols/worker.h"

/**
 * The name servers that a text of resolv.conf(5) names, the first of them; 127.0.0.1
 * where it names none. links: for the scope behind a "%". Pure. Returns how many there
 * are in out.
 */
size_t name_servers_parse(const char *text, const struct links *links,
			  struct stun_name_server out[STUN_NAME_SERVERS_MAX]);

/** Those of the machine, as they are now. */
size_t name_servers_read(const struct links *links,
			 struct stun_name_server out[STUN_NAME_SERVERS_MAX]);

#endif
