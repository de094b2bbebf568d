/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_PORTS_H
#define DAEMON_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/** WANs told apart. */
#define PORTS_WANS_MAX 8
/**
 * How long a freed external port rests before another host may get it (NP-41, PCP-70).
 */
#define PORT_REST_MS INT64_C(120000)

/**
 * Who holds which external port. A port is held by one internal host, TCP and UDP
 * alike: while a host has TCP p nobody else gets UDP p (NP-34). A freed port rests
 * before another host may have it; its last holder may take it back at once. Hosts are
 * those of IPv4, which share the ports of one address.
 */
struct ports;

/** Owns: caller frees. Errors: NULL when out of memory. */
struct ports *ports_new(void);
void ports_free(struct ports *ports);

/** True when host may take the port: free, rested, or its own. */
bool ports_is_free_for(const struct ports *ports, uint16_t wan, uint16_t port,
		       const struct ip_addr *host, int64_t now_ms);

/** Count one lease more on the port. Errors: -ENOMEM; -EADDRINUSE, another host's. */
int ports_hold(struct ports *ports, uint16_t wan, uint16_t port,
	       const struct ip_addr *host) __attribute__((warn_unused_result));
/** One lease less; the last one sends the port to rest until now_ms + PORT_REST_MS. */
void ports_release(struct ports *ports, uint16_t wan, uint16_t port, int64_t now_ms);

/** Until when a port that nobody holds rests; a time in the past = it does not. */
int64_t ports_get_rest_until(const struct ports *ports, uint16_t wan, uint16_t port);

/** A lease of one peer, on a port that is held; others may share it with other ports
 * inside. */
struct ports_narrow {
	uint16_t wan, port;
	uint16_t internal_port;
	uint8_t protocol;
	bool flow; /* one flow of it only, as PEER asks */
};

/** Count such a lease while its port is held, and no more before that is released.
 * Errors: -ENOMEM. */
int ports_add_narrow(struct ports *ports, const struct ports_narrow *narrow)
	__attribute__((warn_unused_result));
void ports_remove_narrow(struct ports *ports, const struct ports_narrow *narrow);
/** True when there is one with another internal port. */
bool ports_has_narrow_besides(const struct ports *ports,
			      const struct ports_narrow *like);
/** True when there is one that is not about one flow, whatever its internal port. */
bool ports_has_remote(const struct ports *ports, const struct ports_narrow *like);

/** Undo a ports_hold(): the port is held or rests as it did before. */
void ports_unhold(struct ports *ports, uint16_t wan, uint16_t port);

/**
 * A port in the range that nobody holds and that does not rest, the first at or after
 * `start`, going round; 0 = none. Costs at most one look at each 64 ports of the range.
 */
uint16_t ports_find_free(const struct ports *ports, uint16_t wan,
			 struct port_range range, uint16_t start);

/** Longest run of ports that ports_find_free_run() looks for. */
#define PORTS_RUN_MAX 64u
enum ports_parity {
	PORTS_ANY,
	PORTS_EVEN,
	PORTS_ODD,
};

/** A run of ports to look for. */
struct ports_wish {
	struct port_range range;  /* where it must lie */
	uint16_t count;		  /* 1..PORTS_RUN_MAX */
	enum ports_parity parity; /* of its first port */
};

/**
 * The first port of such a run that nobody holds and that does not rest, the first at
 * or after `start`, going round; 0 = none. Costs at most a dozen operations for each 64
 * ports of the range.
 */
uint16_t ports_find_free_run(const struct ports *ports, uint16_t wan,
			     const struct ports_wish *wish, uint16_t start);

/** Ports that one ports_reap() forgets, so that nobody waits long for it. */
#define PORTS_REAP_MAX 1024
/** Forget ports that have rested, the longest ones first, at most PORTS_REAP_MAX: while
 * there are more, ports_get_due() is in the past. */
void ports_reap(struct ports *ports, int64_t now_ms);
/** When the first port has rested, which may be long ago; TIME_NEVER = none rests. */
int64_t ports_get_due(const struct ports *ports);

#endif
