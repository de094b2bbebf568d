/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_HOSTS_PRIVATE_H
#define DAEMON_HOSTS_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/index.h"
#include "base/pool.h"
#include "daemon/hosts.h"

/* The table of hosts and cards, between what it holds and what is decided by it. */

/* What a host does with one address says nothing of those of the other kind. */
enum host_family {
	HOST_IPV4,
	HOST_IPV6, /* a machine has many at a time */
};
#define HOST_FAMILIES (HOST_IPV6 + 1)

struct card_key {
	uint8_t mac[LEASE_MAC_SIZE];
	uint16_t lan;
};

/* A network card, as long as it is heard somewhere or has leases. */
struct card {
	struct card_key key;
	struct host *heard[HOST_FAMILIES]; /* it is there, as far as we know */
	struct host *owned[HOST_FAMILIES]; /* its leases are there */
	size_t owned_count[HOST_FAMILIES];
	int64_t many_ms; /* when it last answered at several IPv4 addresses in turn */
	bool paired;	 /* and has leases at several since */
	struct ip_addr answered; /* the IPv4 address that it last answered at */
	uint32_t handle;
	uint32_t next_by_key;
};

struct host {
	struct ip_addr addr;
	uint16_t lan;
	enum host_state state;
	struct card *heard; /* NULL in the states that have no card */
	struct card *owner; /* whose leases it has; NULL = not known */
	size_t leases;
	int64_t asked_ms;
	int64_t heard_ms;      /* since when the card is heard here */
	int64_t answered_ms;   /* when it last began to answer */
	bool has_target;       /* leases go there when nobody answers here */
	struct ip_addr target; /* the owner answers there */
	uint32_t handle;
	uint32_t next_by_addr;
	struct host *heard_prev, *heard_next;
	struct host *owned_prev, *owned_next;
	struct host *prev, *next; /* of those without leases, oldest first */
};

struct hosts {
	struct pool *hosts;
	struct pool *cards;
	struct index *by_addr; /* hosts */
	struct index *by_key;  /* cards */
	struct host *loose;
	size_t loose_count;
	int64_t restored_ms; /* leases of an earlier run came */
};

/* Long before anything that we know of. */
#define HOSTS_LONG_AGO_MS (INT64_MIN / 2)

enum host_family hosts_get_family(const struct host *host);
/** Errors: NULL where there is none. */
struct host *hosts_find_host(const struct hosts *hosts, const struct ip_addr *addr);
struct card *hosts_find_card(const struct hosts *hosts, const struct card_key *key);
/** card: NULL = nobody's. */
void hosts_give_host(struct hosts *hosts, struct host *host, struct card *card);
/**
 * Take in what the kernel tells now; *before is whose card was there, untouched if
 * nobody's. Errors: NULL where the host is not one to be looked at.
 */
struct host *hosts_take_news(struct hosts *hosts, const struct lan_info *lan,
			     const struct host_news *news, int64_t now_ms,
			     struct card_key *before);
/** Nobody is there: forget it, unless it has leases. */
void hosts_forget_empty(struct hosts *hosts, struct host *host);

#endif
