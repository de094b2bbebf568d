/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LEDGER_H
#define DAEMON_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "daemon/lease.h"
#include "daemon/network.h"
#include "daemon/store.h"
#include "protocols/request.h"

struct backend_passage;
struct backend_network;
struct backend_ops;
struct rule_counters;
struct table;

enum lease_event {
	LEASE_EVENT_ADDED,
	LEASE_EVENT_RENEWED, /* only its end moved */
	LEASE_EVENT_CHANGED,
	LEASE_EVENT_DELETED,
	LEASE_EVENT_EXPIRED,
};

#define LEASE_EVENT_COUNT (LEASE_EVENT_EXPIRED + 1)

/** Why a lease ended. */
enum lease_end {
	LEASE_END_CLIENT, /* a host asked for it */
	LEASE_END_TIME,
	LEASE_END_OWNER,   /* of the gateway, by the admin tool */
	LEASE_END_ADDRESS, /* it was for an external address that is gone (PCP-41) */
	LEASE_END_POLICY,  /* the rules of a reload do not allow it */
	LEASE_END_HOST,	   /* another machine has its address now */
	LEASE_END_MOVED,   /* its machine has another address: a new one follows it */
};

#define LEASE_END_COUNT (LEASE_END_MOVED + 1)

/** "nat-pmp", "pcp", "igd", "static". */
const char *origin_get_name(uint8_t origin);
/** "added", "renewed", ... */
const char *lease_event_get_name(enum lease_event event);
/** "client", "time", "owner", "address", "policy", "host", "moved". */
const char *lease_end_get_name(enum lease_end end);

/** What `status` says of the ledger. */
struct ledger_figures {
	uint64_t requests, granted, refused;
	uint64_t heals; /* times the kernel had to be put right */
	bool store_on, store_failed, backend_failed;
	bool store_damaged;    /* leases were lost at start */
	unsigned int troubles; /* of the firewall: bits of enum backend_trouble */
	int64_t epoch_origin_ms;
};

struct ledger_events {
	/** A lease event; lease is borrowed. */
	void (*lease)(void *user, enum lease_event event, const struct lease *lease);
	/** Someone changed our rules: call ledger_heal() soon. */
	void (*disturbed)(void *user);
	/** See backend_events.quiet; may be NULL. */
	void (*quiet)(void *user, bool on);
	/** A request renewed this lease besides the one that it was answered about; may
	 * be NULL. lease is borrowed. */
	void (*unasked)(void *user, const struct lease *lease);
	/** True when the two addresses are those of one host of the LAN, as V6FW-7 lets
	 * us find out. NULL: never, but where they are the same. */
	bool (*same_host)(void *user, uint16_t lan, const struct ip_addr *a,
			  const struct ip_addr *b);
	/** The network card at this address now; false = not known, mac untouched. No
	 * system call. NULL: never known. */
	bool (*find_mac)(void *user, const struct ip_addr *host,
			 uint8_t mac[LEASE_MAC_SIZE]);
	/** True when somebody else's rules give that port of the WAN away. NULL: never.
	 */
	bool (*port_given)(void *user, uint8_t protocol, uint16_t port);
};

/**
 * The one truth about leases: decides requests by policy and table, and answers only
 * when kernel and store hold what it says. Knows no sockets and no clients
 * but by their requests.
 */
struct ledger;

/** What a ledger is made of; all borrowed for its life but network. */
struct ledger_setup {
	const struct conf *conf;
	const struct network *network; /* names of the LANs; read during the call */
	const struct backend_ops *backend;
	const struct ledger_events *events;
	void *user;
	struct store_time at; /* now */
};

/**
 * Open backend and store and take back what the store holds. The kernel is not touched
 * before ledger_set_network().
 * Errors: -errno, logged.
 */
int ledger_open(const struct ledger_setup *setup, struct ledger **out)
	__attribute__((warn_unused_result));
/** Clean end: rules leave the kernel unless the configuration keeps them. Errors:
 * -errno, logged: they stay. */
int ledger_close(struct ledger *ledger);

/** Interfaces or addresses changed: kernel follows. The first call restores the rules.
 */
int ledger_set_network(struct ledger *ledger, const struct network *network,
		       int64_t now_ms) __attribute__((warn_unused_result));

/**
 * Names and protocols of the LANs, as ledger_set_network() takes them too. lost: places
 * that are another LAN's now, as bits; leases there are forbidden until the next call.
 */
void ledger_follow_lans(struct ledger *ledger, const struct network *network,
			uint32_t lost);

/**
 * Clients are to be told this external address from now on. True when it is not the one
 * that they were told before, in an earlier run maybe: a new epoch has begun (PCP-32).
 * No address, the same one again, and the first of all are no epoch. Since when it is
 * there is in the meta from then on, over restarts of the daemon too (IGD-40). Call it
 * before ledger_set_network().
 */
bool ledger_follow_external(struct ledger *ledger, const struct ip_addr *external,
			    const struct store_time *at);

/** Requests decided together. */
#define LEDGER_GROUP_MAX 64

/**
 * Decide a group of requests, at most LEDGER_GROUP_MAX: one kernel transaction, one
 * store transaction. If the group fails, each is tried alone. replies[i] answers
 * requests[i].
 */
void ledger_decide(struct ledger *ledger, const struct request *requests, size_t count,
		   struct reply *replies, const struct store_time *at);

/**
 * The answer to a REQUEST_LIST that ledger_decide() has answered with `decided`: the
 * leases of one page, each with more = 1, and then the last one. Returns how many there
 * are in out. Costs as much as the client has leases.
 */
size_t ledger_list(struct ledger *ledger, const struct request *request,
		   const struct reply *decided, const struct store_time *at,
		   struct reply out[REQUEST_LIST_MAX + 1]);

/** End one lease, for the owner. Its last state goes to *out, good until the next call
 * that changes anything. */
enum result ledger_end(struct ledger *ledger, uint64_t id, const struct store_time *at,
		       struct lease *out) __attribute__((warn_unused_result));
/** End one lease that its client did not ask to end. */
enum result ledger_revoke(struct ledger *ledger, uint64_t id, enum lease_end why,
			  const struct store_time *at)
	__attribute__((warn_unused_result));
/** Within the event of a lease that has ended: why. */
enum lease_end ledger_get_end(const struct ledger *ledger);

/**
 * What is due: end what has expired, a bounded number, and have what was written put on
 * the disk. Returns when to call again, or TIME_NEVER.
 */
int64_t ledger_expire(struct ledger *ledger, const struct store_time *at);

/** Leases ended in one transaction; the rest follow at once. */
#define LEDGER_ENDS_MAX 256

/**
 * True when the configuration does not allow the lease: its LAN, what it was asked by,
 * or the rules. Never of one that the owner made. With forbidden-leases = keep only
 * where no lease is to be had at all, as of IPv6 with pinholes = off.
 */
bool ledger_is_forbidden(const struct ledger *ledger, const struct lease *lease);

/**
 * Of these leases, at most LEDGER_ENDS_MAX, end those that are forbidden; *ended grows
 * by how many. Errors: -errno, call it again with the same; those not ended are as
 * they were.
 */
int ledger_end_forbidden(struct ledger *ledger, const uint64_t *ids, size_t count,
			 const struct store_time *at, size_t *ended)
	__attribute__((warn_unused_result));

/** The configuration was changed: take what is kept of it elsewhere. */
void ledger_follow_conf(struct ledger *ledger);

/**
 * The address is the machine's of this card: leases that were given to another one end,
 * at most LEDGER_ENDS_MAX. Errors: -EAGAIN, there may be more: call it again; -errno.
 */
int ledger_end_strangers(struct ledger *ledger, const struct ip_addr *host,
			 const uint8_t mac[LEASE_MAC_SIZE], const struct store_time *at)
	__attribute__((warn_unused_result));
/** The card at this address became known: leases that have none are that machine's. */
void ledger_note_machine(struct ledger *ledger, const struct ip_addr *host,
			 const uint8_t mac[LEASE_MAC_SIZE],
			 const struct store_time *at);

/** A machine that has another address. */
struct ledger_move {
	struct ip_addr from, to;
	uint8_t mac[LEASE_MAC_SIZE];
	uint16_t lan;
};

/**
 * The leases that the machine had at `from` lead to `to`, with all else as it was: one
 * transaction. Leases that have no place there end (see lease_find_left()), those of
 * the owner stay. Errors: -EAGAIN, call it again; -errno: those not ended are as they
 * were.
 */
int ledger_move_machine(struct ledger *ledger, const struct ledger_move *move,
			const struct store_time *at)
	__attribute__((warn_unused_result));

/** When ledger_expire() should be called next; TIME_NEVER = no need. Cheap. */
int64_t ledger_get_due(const struct ledger *ledger);

/** Make the kernel agree with the table and the network; false = try again later. */
bool ledger_heal(struct ledger *ledger, const struct store_time *at);
/**
 * Another worker upnp begins: BOOTID.UPNP.ORG in the meta grows by BOOT_ID_STEP, and is
 * on the disk where there is one (SSDP-15).
 */
void ledger_renew_boot_id(struct ledger *ledger, const struct store_time *at);
/** Make the store agree with the table after a failure; false = try again later. */
bool ledger_mend_store(struct ledger *ledger, const struct store_time *at);

/** Backend's descriptor to watch, or -1; call ledger_backend_event() when readable. */
/** See get_passage() of struct backend_ops. Errors: false, foreign.h tells. */
bool ledger_get_passage(const struct ledger *ledger, bool ipv6,
			struct backend_passage *out)
	__attribute__((warn_unused_result));
int ledger_get_fd(const struct ledger *ledger);
void ledger_backend_event(struct ledger *ledger);

const struct table *ledger_get_table(const struct ledger *ledger);
const struct ledger_figures *ledger_get_figures(struct ledger *ledger);
/** As the kernel shall have it. */
const struct backend_network *ledger_get_network(const struct ledger *ledger);
const struct store_meta *ledger_get_meta(const struct ledger *ledger);
const char *ledger_get_backend_name(const struct ledger *ledger);
/** Leases that the firewall has a rule of; it has none before the first network. */
size_t ledger_count_rules(const struct ledger *ledger);
/**
 * Of each of LANS_MAX LANs a number, one more for each operation that added, ended or
 * changed a mapping of IPv4 there; renewals, flows of PEER and pinholes do not count.
 * Begins at 0 at each start (IGD-36).
 */
const uint32_t *ledger_get_update_ids(const struct ledger *ledger);
/** External address of a lease as clients were told; none = unknown. */
struct ip_addr ledger_get_external(const struct ledger *ledger,
				   const struct lease *lease);
/** Traffic of a lease. Zero where the backend cannot tell. */
void ledger_get_traffic(struct ledger *ledger, const struct lease *lease,
			int64_t now_ms, struct rule_counters *out);
/** Name of the LAN a lease came from; "" where it is no more. */
const char *ledger_get_lan_name(const struct ledger *ledger, uint16_t lan);

#endif
