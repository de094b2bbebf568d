/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_SSDP_RESPONDER_H
#define PROTOCOLS_SSDP_RESPONDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/datagram.h"
#include "protocols/ssdp.h"
#include "protocols/worker.h"

struct event_base;

/** Root devices announced on one LAN. */
#define SSDP_ROOTS_MAX 2
/** Units: ms. Longest delay of an answer to a multicast search: Tailscale listens for
 * 250 ms only (SSDP-6, CL-9). */
#define SSDP_DELAY_MAX_MS 80
/** How often each set of notifications is sent: UDP loses some (SSDP-13). */
#define SSDP_REPEAT 2

/** One root device: what it announces. Borrowed; must outlive the server. */
struct ssdp_root {
	const struct ssdp_target *targets; /* its own type first (CL-9) */
	size_t target_count;
	const char *path;
	uint32_t config_id;
	/** Another root stands for both: this one answers only searches for its own
	 * uuids and for types above version 1 (IGD-6). */
	bool reserved;
	/** Not offered on this LAN. But an earlier run may have, and nobody else will
	 * say byebye for it (SSDP-14). */
	bool former;
};

struct ssdp_config {
	struct event_base *base;    /* of the server */
	const struct lan_info *lan; /* must outlive the server; may change */
	int family;		    /* AF_INET or AF_INET6: each has a server */
	uint16_t http_port;
	bool strict;
	uint32_t boot_id;
	size_t root_count;
	struct ssdp_root roots[SSDP_ROOTS_MAX];
};

/** Now, and what the calendar calls it: for DATE. */
struct ssdp_moment {
	int64_t now_ms;
	int64_t wall_ms;
};

struct ssdp_responder_ops {
	/** Send what is in the batch. */
	void (*send)(void *user, struct datagram_batch *batch);
	/** Any number below limit, by chance. */
	uint32_t (*draw)(void *user, uint32_t limit);
};

/**
 * Discovery on one LAN in one family, apart from any socket: who is answered what, from
 * which address and when; what is announced.
 */
struct ssdp_responder;

/**
 * The first set of notifications is due within 100 ms (SSDP-13).
 * Owns: caller frees. ops is borrowed. Errors: NULL (memory).
 */
struct ssdp_responder *ssdp_responder_new(const struct ssdp_config *config,
					  const struct ssdp_responder_ops *ops,
					  void *user, int64_t now_ms);
/** Safe on NULL. Says nothing. */
void ssdp_responder_free(struct ssdp_responder *responder);

/** A datagram came in: what waits for nothing is answered, the rest is for
 * ssdp_responder_run(). */
void ssdp_responder_take(struct ssdp_responder *responder, const struct datagram *in,
			 const struct ssdp_moment *moment);
/** Send what is due. Returns when the next is, in now_ms. */
int64_t ssdp_responder_run(struct ssdp_responder *responder,
			   const struct ssdp_moment *moment);
/** Begin with byebye for all that an earlier run may have announced (SSDP-14). */
void ssdp_responder_say_first_byebye(struct ssdp_responder *responder);
/** Send byebye for everything, now (SSDP-14). */
void ssdp_responder_say_byebye(struct ssdp_responder *responder);
/** Announce that BOOTID is another from now on, and that all else goes on (SSDP-15). */
void ssdp_responder_say_update(struct ssdp_responder *responder, uint32_t boot_id);
/** LOCATION has changed: the next alive set is due within 100 ms. */
void ssdp_responder_renew(struct ssdp_responder *responder, int64_t now_ms);

#endif
