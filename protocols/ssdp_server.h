/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_SSDP_SERVER_H
#define PROTOCOLS_SSDP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/ssdp.h"
#include "protocols/worker.h"

struct event_base;

/** Root devices announced on one LAN. */
#define SSDP_ROOTS_MAX 2
/** Hops a multicast may make (SSDP-16). */
#define SSDP_TTL 2
/** Units: ms. Longest delay of an answer to a multicast search: Tailscale listens for
 * 250 ms only (SSDP-6, CL-9). */
#define SSDP_DELAY_MAX_MS 80
/** How often each set of notifications is sent: UDP loses some (SSDP-13). */
#define SSDP_REPEAT 2

/** One root device: what it announces. Borrowed; must outlive the server. */
struct ssdp_root {
	const struct ssdp_target *targets;
	size_t target_count;
	const char *path;
	uint32_t config_id;
	/** Another root stands for both: this one answers only searches for its own
	 * uuids and for types above version 1 (IGD-6). */
	bool reserved;
};

struct ssdp_config {
	struct event_base *base;
	const struct lan_info *lan; /* must outlive the server; may change */
	int family;		    /* AF_INET or AF_INET6: each has a server */
	uint16_t http_port;
	bool strict;
	uint32_t boot_id;
	size_t root_count;
	struct ssdp_root roots[SSDP_ROOTS_MAX];
};

/** Discovery on one LAN: one socket, bound to its interface. */
struct ssdp_server;

/**
 * Open the socket and start to announce: byebye for what a former run left behind, then
 * alive (SSDP-13, SSDP-14).
 * Owns: caller closes. Errors: -errno, *out untouched.
 */
int ssdp_server_open(const struct ssdp_config *config, struct ssdp_server **out)
	__attribute__((warn_unused_result));
/** Say byebye and close. Safe on NULL. */
void ssdp_server_close(struct ssdp_server *server);

#endif
