/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_PLAN_H
#define DAEMON_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/result.h"
#include "daemon/conntrack.h"
#include "daemon/lease.h"
#include "daemon/policy.h"
#include "protocols/request.h"

struct table;

enum lease_change_kind {
	LEASE_ADD,
	LEASE_UPDATE, /* same id, same keys */
	LEASE_REMOVE,
};

/** One step from the table as it is to the table as it shall be. */
struct lease_change {
	enum lease_change_kind kind;
	struct lease before; /* UPDATE, REMOVE */
	struct lease after;  /* ADD, UPDATE */
	/** The answer is not about this lease: its client hears of it all the same
	 * (PCP-116). */
	bool unasked;
};

/** What is true of the gateway while a request is planned. */
struct plan_context {
	const struct request *request;
	const struct verdict *verdict; /* NULL for the owner: everything is allowed */
	struct ip_addr external;       /* of the WAN; none = unknown */
	uint32_t leases_per_client;    /* 0 = no limit */
	uint32_t leases_total;
	uint32_t lifetime_max_s; /* 0 = no limit */
	uint32_t lifetime_min_s; /* for PCP */
	uint32_t filters_max;	 /* of one lease (PCP-80) */
	uint32_t ports_max;	 /* of one set (PCP-116) */
	bool nonce_relaxed;	 /* a renewal may bring another nonce (PCP-50) */
	uint64_t next_id;	 /* of the first lease that the plan adds */
	uint32_t random;	 /* where the search for a free port starts */
	int64_t now_ms;
	/** Leases were lost lately: keep off ports that others may want back (NP-36).
	 */
	bool cautious;
	/** True when the gateway itself uses the port on the WAN side (NP-37). */
	bool (*is_port_used)(void *user, uint8_t protocol, uint16_t port);
	/** Fill in what the kernel knows of the flow; false = there is none (PCP-89).
	 * NULL: no flow is ever known. */
	bool (*find_flow)(void *user, struct flow *flow);
	/** True when another endpoint has a flow to flow->remote that leaves with
	 * flow->external_port. NULL: never. */
	bool (*is_flow_taken)(void *user, const struct flow *flow);
	/** True when both addresses are one host's of the LAN (V6FW-7). NULL: never. */
	bool (*is_same_host)(void *user, uint16_t lan, const struct ip_addr *a,
			     const struct ip_addr *b);
	void *user;
};

/** What shall happen, and what the client shall be told if it does. */
struct plan {
	enum result result;
	bool has_lease;	     /* `lease` is what the answer is about */
	struct lease lease;  /* granted, renewed or looked up; of a set the first */
	uint16_t port_count; /* of a set: how many ports it has; else 0 */
	/** Refused: when asking again may help, 0 = not known (PCP-49, PCP-76). */
	uint32_t retry_s;
	size_t count;
	size_t size;
	struct lease_change *changes; /* in order; owned by the plan, kept for reuse */
	struct arena extras;	      /* filters and descriptions of the leases here */
};

/** Begin anew: no lease, no change, OK. What it held is borrowed no more. */
void plan_reset(struct plan *plan);
/** The lease gets filters and description of its own, which end with the plan. Errors:
 * false, out of memory. */
bool plan_keep_extra(struct plan *plan, struct lease *lease)
	__attribute__((warn_unused_result));

/**
 * Decide a request against the table. Pure: the table does not change, and all that can
 * be refused is refused here. Units: lifetimes in the answer are the lease's
 * expires_ms. Source: RFC 6886 §3.3, §3.4; RFC 6887 §11.3; WANIPConnection:1 §2.2.
 * Errors: plan->result; a refused plan has no changes, but for NP-48 where as much as
 * can be deleted is deleted.
 */
void lease_plan(const struct table *table, const struct plan_context *context,
		struct plan *plan);

/**
 * The lease that PCP's MAP, UNMAP or PEER is about, whose text a renewal without one
 * keeps (PCP-112); NULL = none, or another operation.
 */
const struct lease *plan_find_asked(const struct table *table,
				    const struct request *request);

/** Plan the end of one lease, by expiry or by the owner; NO_ENTRY when it is not there.
 */
void lease_plan_end(const struct table *table, uint64_t id, struct plan *plan);

/** True for a lease that the machine of this card asked for, or that leads to it; never
 * of the owner's. */
bool lease_is_of_machine(const struct lease *lease, const uint8_t mac[LEASE_MAC_SIZE]);

/** More leases of one machine do not move: they end. */
#define PLAN_MOVE_MAX 256

/** A machine that has another address. */
struct plan_move {
	struct ip_addr from, to;
	uint8_t mac[LEASE_MAC_SIZE];
	uint16_t lan;	  /* of `to` */
	uint64_t next_id; /* of the first lease that the plan adds */
	/** True when the configuration allows the lease at its new address. */
	bool (*is_allowed)(void *user, const struct lease *lease);
	void *user;
};

/**
 * The leases of the machine, at most `size`, that have no place at its new address: the
 * same is there already, the rules do not allow it, or what stays holds their port.
 * Returns how many.
 */
size_t lease_find_left(const struct table *table, const struct plan_move *move,
		       uint64_t *ids, size_t size);
/**
 * Plan that all leases of the machine go where it is, each with its port outside, its
 * end and all else that it has, and a new id. lease_find_left() finds none. The port
 * does not rest: it is the same machine's.
 */
void lease_plan_move(const struct table *table, const struct plan_move *move,
		     struct plan *plan);

/** Plan that leases of the host that are nobody's yet, at most PLAN_MOVE_MAX, are the
 * machine's: what the kernel does not change. */
void lease_plan_machine(const struct table *table, const struct ip_addr *host,
			const uint8_t mac[LEASE_MAC_SIZE], struct plan *plan);

/**
 * Filters that are a prefix or have a port, which all leases together and those of one
 * client may have: each change of one costs the kernel as much as there are, so that
 * some thousands of one host's would make everybody wait. IPv6 hosts together may have
 * plan_get_ipv6_share() of them. More is RESULT_PEERS.
 */
#define PLAN_WIDE_FILTERS_MAX 1024
#define PLAN_WIDE_FILTERS_OF_CLIENT_MAX 64

/**
 * Of what all hosts may have, leases or wide filters, how many IPv6 hosts may have
 * together: one host has as many addresses there as it likes, each a client to us, and
 * must not take what IPv4 hosts need. 0 = no limit, as there.
 */
uint32_t plan_get_ipv6_share(uint32_t total);

/** Owns: frees what the plan holds, not the plan. */
void plan_fini(struct plan *plan);

/**
 * Do the plan in the table. Errors: -ENOMEM, -EEXIST, -EADDRINUSE: the table is as
 * before. After 0 lease_rollback() undoes it, provided nothing else was done since.
 */
int lease_commit(struct table *table, const struct lease_change *changes, size_t count,
		 int64_t now_ms) __attribute__((warn_unused_result));
void lease_rollback(struct table *table, const struct lease_change *changes,
		    size_t count);

#endif
