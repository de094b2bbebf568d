/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_HOSTS_H
#define DAEMON_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/lease.h"
#include "protocols/worker.h"

/**
 * Which machine, known by its network card, has which address of our LANs; and what
 * that means for the leases of the address. Pure: what happened goes in, what is to be
 * done comes out. Hosts with leases are all kept, of others the HOSTS_LOOSE_MAX that
 * were heard of last.
 */
struct hosts;

#define HOSTS_LOOSE_MAX 1024
/** IPv4 addresses of one card that are looked at; one with more that hold leases stands
 * for many machines, and none of their leases moves. */
#define HOSTS_OF_CARD_MAX 8u
/** IPv6 addresses of one card that are looked at: a machine has many. */
#define HOSTS_OF_CARD6_MAX 32u
/** A card that has answered at several IPv4 addresses in turn stands for several
 * machines until it has answered at one only for as long. */
#define HOSTS_MANY_MS INT64_C(600000)
/** After a start, before it is known who is about: no lease follows a card that was
 * heard at any third address. */
#define HOSTS_HEARING_MS INT64_C(120000)
/** An address is not asked for again before. */
#define HOSTS_ASK_PAUSE_MS INT64_C(1000)

/** What the kernel says of an address. */
enum host_state {
	HOST_FORGOTTEN, /* it knows nothing */
	HOST_FAILED,	/* nobody has answered there */
	HOST_HEARD,	/* a card was heard there; not asked since */
	HOST_ANSWERS,	/* a card answers there */
	HOST_FIXED,	/* the owner has written it down: never asked */
};

struct host_news {
	struct ip_addr addr;
	enum host_state state;
	uint8_t mac[LEASE_MAC_SIZE]; /* but for FORGOTTEN and FAILED */
};

enum host_step {
	/** Leases of addr that were given to another machine than mac end. */
	HOST_STEP_END,
	/** Leases that the machine mac has at addr go to `to`. */
	HOST_STEP_MOVE,
	/** Leases of addr that are nobody's are mac's. */
	HOST_STEP_NOTE,
	/** Have the kernel ask the card that it knows at addr. */
	HOST_STEP_PROBE,
	/** Have the kernel find who is at addr. */
	HOST_STEP_RESOLVE,
};

/** What is to be done; what it needs is filled in. */
struct host_decision {
	enum host_step step;
	struct ip_addr addr;
	struct ip_addr to;
	uint8_t mac[LEASE_MAC_SIZE];
};

#define HOSTS_DECISIONS_MAX 32u

struct host_decisions {
	size_t count;
	struct host_decision list[HOSTS_DECISIONS_MAX];
};

/** Owns: caller frees. Errors: NULL when out of memory. */
struct hosts *hosts_new(void);
void hosts_free(struct hosts *hosts);

/**
 * A lease leads to this host from now on; its card is taken from it where it has one.
 * Errors: false when out of memory: the host is as one that was never heard of.
 */
bool hosts_hold(struct hosts *hosts, const struct lease *lease);
/** One lease less leads to it. */
void hosts_release(struct hosts *hosts, const struct lease *lease);
/** Leases of an earlier run are held: a card that has some at two IPv4 addresses stands
 * for two machines. */
void hosts_finish_restore(struct hosts *hosts, int64_t now_ms);

/** What stays at addr is mac's; NULL: nobody's. */
void hosts_set_owner(struct hosts *hosts, const struct ip_addr *addr,
		     const uint8_t *mac);

/** The card at this address, as last heard; NULL = not known. */
const uint8_t *hosts_find_mac(const struct hosts *hosts, const struct ip_addr *addr);

/** The kernel tells what it knows of an address of this LAN, and goes on: nothing is
 * decided before everything is known. */
void hosts_learn(struct hosts *hosts, const struct lan_info *lan,
		 const struct host_news *news);

/**
 * The kernel tells of an address of this LAN; *out is what to do, in this order. It is
 * decided anew from the next news on, so that what could not be done is not forgotten
 * when the kernel is asked for everything again.
 */
void hosts_hear(struct hosts *hosts, const struct lan_info *lan,
		const struct host_news *news, int64_t now_ms,
		struct host_decisions *out);

/** True where leases lead to this address, on this LAN as far as is known. */
bool hosts_is_held(const struct hosts *hosts, const struct ip_addr *addr, uint16_t lan);

/** Hosts that are kept: those with leases, and others. */
size_t hosts_get_count(const struct hosts *hosts);

#endif
