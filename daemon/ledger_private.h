/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LEDGER_PRIVATE_H
#define DAEMON_LEDGER_PRIVATE_H

#include "base/log.h"
#include "daemon/books.h"
#include "daemon/ledger.h"
#include "daemon/plan.h"

/** Random numbers fetched at a time. */
#define LEDGER_RANDOM_POOL 64

/** What the files of the ledger share; nobody else includes this. */
struct ledger {
	const struct conf *conf;
	const struct ledger_events *events;
	void *user;
	struct books books;
	struct table *table;
	struct rate *rate;
	struct sockets *sockets;     /* NULL = cannot tell */
	struct conntrack *conntrack; /* NULL = no flow is known */
	struct ledger_figures figures;
	enum lease_end end; /* why leases end that end now */
	struct log_limit log_limit;
	struct log_limit refused_limit;
	struct log_limit full_limit;
	struct log_limit heal_limit;
	struct log_limit refusal_limit;
	uint64_t next_id;
	int64_t cautious_until_ms;
	struct backend_network network; /* as the kernel shall have it */
	bool network_set;		/* the kernel had one, and our rules */
	bool network_behind;		/* the kernel has an older one */
	bool own_failure;		/* what is wrong there is no stranger's work */
	uint8_t lan_protocols[LANS_MAX];
	uint32_t lans_lost; /* places whose leases are nobody's, as bits */
	uint32_t wan_ifindex;
	struct ip_addr wan_address; /* on the interface itself */
	struct ip_addr
		told_external; /* what clients are told: another one behind 1:1 NAT */
	uint32_t random_pool[LEDGER_RANDOM_POOL];
	size_t random_left;
	struct plan plan;		      /* of the request at hand */
	struct plan group;		      /* every change of the group so far */
	struct pinhole_count *pinhole_counts; /* by UniqueID; NULL = none yet */
	uint32_t update_ids[LANS_MAX];
	uint32_t staged_updates[LANS_MAX]; /* of the group: they count when it holds */
};

/* ledger_group.c */
void ledger_clear_group(struct ledger *ledger);
/** Do ledger->plan in the table and note it in the group. Errors: false, nothing was
 * done. */
bool ledger_stage(struct ledger *ledger, int64_t now_ms)
	__attribute__((warn_unused_result));
/**
 * The kernel takes the changes, which stand in the table already. Where somebody
 * removed our table a moment ago, it is made anew from ours, and so has them: a client
 * must not be refused for that. Errors: -errno.
 */
int ledger_apply(struct ledger *ledger, const struct lease_change *changes,
		 size_t count, int64_t now_ms) __attribute__((warn_unused_result));
/** The group holds: tell and count what was done. */
void ledger_report_group(struct ledger *ledger, bool expired, int64_t now_ms);

/* ledger_policy.c */
/**
 * What the configuration does not allow ends before the kernel hears of it: what an
 * earlier run granted. Errors: -errno, of the store.
 */
int ledger_withdraw(struct ledger *ledger, const struct store_time *at)
	__attribute__((warn_unused_result));

/** Log and tell what was done. */
void ledger_report(struct ledger *ledger, const struct lease_change *change,
		   bool expired, int64_t now_ms);
/** The plan is one operation more for each LAN whose listed mappings it changes, which
 * is more than to renew them (IGD-36). */
void ledger_count_updates(const struct plan *plan, uint32_t updates[LANS_MAX]);
/** Tell an owner who wants to know (log-level info) why clients were refused. */
void ledger_report_refusals(struct ledger *ledger, const struct request *requests,
			    const struct reply *replies, size_t count, int64_t now_ms);

/* ledger_policy.c */
/** True when the configuration would grant the lease now, whatever is kept. */
bool ledger_allows(const struct ledger *ledger, const struct lease *lease);

/* ledger_end.c */
/**
 * Kernel and store take the group, and it is told. expired: the kernel's refusal does
 * not matter where it has timeouts. Errors: -errno, the table is as before the group.
 */
int ledger_commit_ends(struct ledger *ledger, const struct store_time *at, bool expired)
	__attribute__((warn_unused_result));

/* ledger_heal.c */
/** Count and tell that a comparison found somebody else's changes, if it found any. */
void ledger_report_heal(struct ledger *ledger, size_t added, size_t removed,
			int64_t now_ms);

/** Bits of enum backend_trouble. */
unsigned int ledger_get_troubles(const struct ledger *ledger);

/* ledger_pinhole.c */
/** Packets that the pinhole has let in since it was made, renewals and all. */
uint64_t ledger_count_pinhole(struct ledger *ledger, const struct lease *lease,
			      int64_t now_ms);
/** A change of a lease is about to be made, or was made: keep the count of a pinhole.
 */
void ledger_follow_pinhole(struct ledger *ledger, const struct lease_change *change,
			   int64_t now_ms);

/** The pinhole is about to move: what its rule has counted counts for the new one. */
void ledger_look_at_pinhole(struct ledger *ledger, const struct lease *lease,
			    int64_t now_ms);

/* ledger_reply.c */
/** What the client is told of ledger->plan, which was made of its request. */
void ledger_answer(struct ledger *ledger, const struct request *request, int64_t now_ms,
		   struct reply *reply);

/* ledger_flow.c: conntrack for PEER; without it PEER goes on without flows. */
void ledger_open_flows(struct ledger *ledger);
/** For plan_context: user is the ledger. */
bool ledger_find_flow(void *user, struct flow *flow);
bool ledger_is_flow_taken(void *user, const struct flow *flow);
/** The flows of PEERs that were granted shall last; after kernel and store have them.
 */
void ledger_extend_flows(struct ledger *ledger, const struct request *requests,
			 const struct reply *replies, size_t count);

#endif
