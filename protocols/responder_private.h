/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_RESPONDER_PRIVATE_H
#define PROTOCOLS_RESPONDER_PRIVATE_H

#include "base/log.h"
#include "protocols/announce.h"
#include "protocols/natpmp.h"
#include "protocols/pending.h"
#include "protocols/responder.h"
#include "protocols/throttle.h"
#include "protocols/updates.h"

/** What the files of the responder share; nobody else includes this. */

/* One LAN, its place is lan_info.lan. */
struct responder_lan {
	struct lan_info info; /* ifindex 0 = no such LAN now */
	bool open[RESPONDER_FAMILIES];
	struct announce_series series;
	struct throttle throttle; /* from when core first told of it */
};

struct responder {
	const struct responder_ops *ops;
	void *user;
	struct worker_setup setup;
	struct wan_info wan; /* nat is 0 until core has spoken */
	bool changed;
	struct rate *rate; /* NULL until core has spoken */
	struct pending *pending;
	struct updates *updates;
	int64_t updates_resume_ms; /* after a burst */
	struct log_limit full_limit;
	struct log_limit rate_limit;
	struct log_limit updates_limit;
	struct responder_lan lans[LANS_MAX];
	struct datagram_batch out;
};

/* A datagram on its way through here. */
struct responder_arrival {
	struct responder_lan *lan;
	const struct datagram *in;
	struct pending_path path;
	bool slow;
	int64_t now_ms;
	uint32_t epoch_s;
};

/* What is served where, and what waits to be sent: responder_send.c */

uint32_t responder_get_epoch_s(const struct responder *responder, int64_t now_ms);
enum responder_family responder_get_family(const struct ip_addr *addr);
bool responder_serves_natpmp(const struct responder *responder,
			     const struct responder_lan *lan);
bool responder_serves_pcp(const struct responder_lan *lan);
/** An address that hosts of this LAN may ask, and are answered from (PCP-119). */
bool responder_is_own_address(const struct responder_lan *lan,
			      const struct ip_addr *addr);
/** fe80::/10 */
bool responder_is_link_local(const struct ip_addr *addr);

/** A place in the burst with the way filled in; the caller adds bytes. */
struct datagram *responder_add_datagram(struct responder *responder,
					const struct pending_path *path);
/** The datagram added last is complete; length 0: there is nothing to send after all.
 */
void responder_end_datagram(struct responder *responder, struct datagram *out,
			    size_t length);

void responder_send_natpmp(struct responder *responder, const struct pending_path *path,
			   const struct natpmp_reply *reply);

/* A datagram's way through: responder_ask.c */

bool responder_take_natpmp(struct responder *responder,
			   const struct responder_arrival *arrival);
bool responder_take_pcp(struct responder *responder,
			const struct responder_arrival *arrival);
/** Core's answer to one of them. */
void responder_take_reply(struct responder *responder, const struct reply *reply);

/* What nobody asked for: responder_tell.c */

void responder_restart_announcements(struct responder *responder, int64_t now_ms);
/** Errors: -EPROTO. */
int responder_take_update(struct responder *responder,
			  const struct mapping_update *update, int64_t now_ms);

#endif
