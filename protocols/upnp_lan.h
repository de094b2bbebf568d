/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_UPNP_LAN_H
#define PROTOCOLS_UPNP_LAN_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/igd_desc.h"
#include "protocols/upnp_control.h"
#include "protocols/worker.h"

struct event;
struct event_base;
struct http_server;
struct ssdp_config;
struct ssdp_server;

/** Address families that a LAN is served in. */
#define UPNP_FAMILIES 2

/** What is served on every LAN. All borrowed, and outlives the LANs. */
struct upnp_offer {
	struct event_base *base;
	struct event *retry; /* a timer: call upnp_lan_open() again */
	const struct worker_setup *setup;
	struct upnp_control *control;
	size_t site_count;
	struct igd_site *sites[UPNP_SITES_MAX];
};

/** The sockets of one family. */
struct upnp_side {
	struct ssdp_server *ssdp;
	struct http_server *http;
	bool ssdp_failed; /* and said so */
	bool http_failed;
};

/** One LAN and what is open on it. */
struct upnp_lan {
	struct lan_info info; /* ifindex 0 = not there */
	/** How often a family has left and joined: added to BOOTID, of both (SSDP-15).
	 */
	uint32_t rejoins;
	struct upnp_side sides[UPNP_FAMILIES];
};

/**
 * Open what is missing, by family; what cannot be opened is said once and tried again
 * by offer->retry. Returns true when something was opened or failed.
 */
bool upnp_lan_open(struct upnp_lan *lan, const struct upnp_offer *offer);
/** Families that have said byebye. */
#define UPNP_LEFT_IPV4 1u
#define UPNP_LEFT_IPV6 2u

/**
 * Take what core says of the LAN: close what it is not served with any more, with
 * byebye from the old addresses (SSDP-14, SSDP-15), and open what it is. An address
 * that came is no reason for byebye; one that went is. Returns UPNP_LEFT_...: what was
 * subscribed to in these families is void (GENA-13).
 */
unsigned int upnp_lan_update(struct upnp_lan *lan, const struct lan_info *info,
			     const struct upnp_offer *offer);
/**
 * The root devices that a LAN is told of, by its lan_info.igd: the first one offered
 * there stands for all (IGD-6). Those not offered are there for their byebye.
 */
void upnp_lan_fill_roots(struct igd_site *const *sites, size_t count, uint8_t igd,
			 struct ssdp_config *config);
/** Close everything. */
void upnp_lan_close(struct upnp_lan *lan);
/** Count what is open and what failed. */
void upnp_lan_count(const struct upnp_lan *lan, struct worker_ready *ready);

#endif
