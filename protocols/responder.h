/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_RESPONDER_H
#define PROTOCOLS_RESPONDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/datagram.h"
#include "protocols/worker.h"

/**
 * Everything the worker pcp decides: what a datagram of NAT-PMP or PCP, or a message of
 * core, leads to. Knows no sockets, no timers and no clock.
 */
struct responder;

/** Families of one LAN, each with sockets of its own. */
enum responder_family { RESPONDER_IPV4, RESPONDER_IPV6 };
#define RESPONDER_FAMILIES (RESPONDER_IPV6 + 1)

/** What the responder needs done. Neither may call it back. */
struct responder_ops {
	/** Send all of these; the batch is emptied afterwards. */
	void (*send)(void *user, struct datagram_batch *batch);
	/** Ask core. Errors: false, it cannot take a request now. */
	bool (*ask)(void *user, const struct request *request);
};

/** Owns: caller frees; ops must outlive it. Errors: NULL, out of memory. */
struct responder *responder_new(const struct responder_ops *ops, void *user);
/** Safe on NULL. */
void responder_free(struct responder *responder);

/**
 * A message of core. Errors: -EPROTO, core never says that; -ENOMEM.
 */
int responder_take_message(struct responder *responder, uint32_t type, const void *body,
			   size_t length, int64_t now_ms)
	__attribute__((warn_unused_result));

/**
 * A datagram that came by the port of a LAN (lan_info.lan). slow: by its slow lane.
 * False: it was of no use to anybody. Replies wait for responder_flush().
 */
bool responder_take_datagram(struct responder *responder, size_t lan,
			     const struct datagram *in, bool slow, int64_t now_ms);

/** Whether a batch from a slow lane finds room: until then its queue is the kernel's.
 */
bool responder_has_slow_room(struct responder *responder, int64_t now_ms);

/** Have what waits sent: at the end of a wake-up. */
void responder_flush(struct responder *responder);

/**
 * Send the announcements (NP-56, PCP-39) and Mapping Updates (PCP-40) that are due, a
 * bounded number. Returns when to be called again; TIME_NEVER when nothing waits.
 */
int64_t responder_run(struct responder *responder, int64_t now_ms);

/** True, once, when core has said something that sockets or MSG_READY depend on. */
bool responder_steal_changed(struct responder *responder);

/** What core said of the LAN in that place; ifindex 0 = no such LAN. */
const struct lan_info *responder_get_lan(const struct responder *responder, size_t lan);

/** Whether the port of that LAN and family is to be open. */
bool responder_is_wanted(const struct responder *responder, size_t lan,
			 enum responder_family family);

/**
 * The port of that LAN and family is open now, or closed: only then is anything sent
 * there. Clients of one that opens are told (NP-55, PCP-37).
 */
void responder_set_open(struct responder *responder, size_t lan,
			enum responder_family family, bool open, int64_t now_ms);

#endif
