/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_FLOWS_H
#define BACKENDS_FLOWS_H

/* The end of conntrack flows, for every firewall; nobody outside backends/ includes it.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/backend.h"

#define FLOWS_BUFFER_SIZE 65536

/** A flow that came in through a lease, or may have; IPv6: external equals internal. */
struct flows_key {
	uint8_t protocol;
	uint16_t external_port;
	uint16_t internal_port;
	uint16_t peer_port;
	struct ip_addr internal;
	struct ip_addr peer;
};

/** What a firewall lets pass now: asked during a search, which ends with end(). */
struct flows_judge {
	/** True when a rule lets this flow in; false when the kernel does not answer.
	 */
	bool (*admits)(void *user, const struct flows_key *flow);
	/** True when none does; false when the kernel does not answer. Asked of many.
	 */
	bool (*rejects)(void *user, const struct flows_key *flow);
	/**
	 * True when traffic of the IPv4 internal endpoint leaves with this external
	 * port; false when the kernel does not answer.
	 */
	bool (*translates)(void *user, const struct flows_key *flow);
	/**
	 * True when no rule has this protocol, external port and internal endpoint,
	 * filters aside; false when the kernel does not answer.
	 */
	bool (*is_foreign)(void *user, const struct flows_key *flow);
	void (*end)(void *user);
};

/** Bits of CTA_FILTER_ORIG_FLAGS (Linux 5.8); older kernels send everything. */
enum flows_field {
	FLOWS_FIELD_SOURCE = 1 << 0,
	FLOWS_FIELD_DESTINATION = 1 << 1,
	FLOWS_FIELD_PROTOCOL = 1 << 3,
	FLOWS_FIELD_SOURCE_PORT = 1 << 4,
	FLOWS_FIELD_DESTINATION_PORT = 1 << 5,
};

/** What flows the kernel shall send; which of them are meant is asked again. */
struct flows_query {
	unsigned int family;
	uint32_t mark;		   /* 0: any */
	unsigned int fields;	   /* of the original direction that count */
	unsigned int reply_fields; /* of the other direction, or else of this one */
	struct in_addr source;
	struct in_addr destination;
	uint8_t protocol;
	uint16_t source_port;
	uint16_t destination_port;
};

struct flows;
struct nf_conntrack;
/** End all flows that match says yes to. Errors: logged, once. */
void flows_search_run(struct flows *flows, const struct flows_query *query,
		      bool (*match)(struct flows *flows,
				    const struct nf_conntrack *flow));

/** How many flows there are, of everybody; SIZE_MAX when the kernel does not say. */
size_t flows_search_count(struct flows *flows);

/** An address that the WAN had. */
struct flows_gone {
	struct in_addr address;
	bool whole; /* it is on no interface: all flows end, not only those of leases */
};
#define FLOWS_GONE_MAX 16
/** Octets of one bit for each port. */
#define FLOWS_PORTS_SIZE (65536 / 8)

/** What tells the flows of a rule that has ended. */
struct flows_ended {
	uint8_t protocol;
	bool outbound;
	uint16_t external_port;
	uint16_t internal_port;
	struct ip_addr internal;
};

/** Rules that have ended. */
struct flows_endings {
	struct flows_ended *items;
	size_t count;
	size_t size;
};

/**
 * Ends conntrack flows: those of rules that have ended, and those that began before
 * their rule was there. A search walks the kernel's whole table, so searches are put
 * off a little, shared, and limited to a part of the time. Flows that came in through a
 * rule carry a mark, by which the kernel chooses: they are sought first, and sooner
 * again than all others, for which most flows of the host must be looked at.
 */
struct flows {
	struct mnl_socket *mnl;
	uint32_t seq;
	uint32_t mark;
	int timer; /* timerfd: readable when a search is due */
	bool armed;
	bool complained;
	bool has_orphans; /* flows of rules that ended unseen */
	bool has_fresh;	  /* there are bits in fresh */
	int64_t due_ms;	  /* while armed */
	int64_t resting_until_ms;
	int64_t others_resting_until_ms;
	uint8_t *buffer;
	uint8_t *fresh; /* one bit for each external port that got a UDP rule */
	uint8_t *begun; /* one bit for each external port that got a rule: TCP, UDP */
	size_t begun_count;
	uint8_t last_protocol; /* of begun */
	uint16_t last_port;
	struct flows_endings ended; /* by which somebody came in */
	struct flows_endings left;  /* by which somebody left */
	size_t address_count;
	struct in_addr addresses[BACKEND_ADDRESSES_MAX];
	char wan[IF_NAMESIZE]; /* that had these addresses */
	size_t gone_count;
	struct flows_gone gone[FLOWS_GONE_MAX];
	const struct flows_judge *judge;
	void *judge_user;
};

/**
 * judge: asked whenever flows are looked for. Errors: -ENOMEM; else -errno, logged: the
 * flows are out of reach, and all that follows does nothing.
 */
int flows_open(struct flows *flows, uint32_t mark, const struct flows_judge *judge,
	       void *user) __attribute__((warn_unused_result));
/** Does what is still due. */
void flows_close(struct flows *flows);
/** A rule has ended: its flows shall, unless another rule admits them. */
void flows_note_end(struct flows *flows, const struct rule *rule);
/** Rules have ended of which nobody noted which: all flows without a rule shall end. */
void flows_note_orphans(struct flows *flows);
/** A rule has been made: UDP flows that passed it by, and other hosts' flows that own
 * its external port, shall end.
 */
void flows_note_begin(struct flows *flows, const struct rule *rule);
/** The kernel holds this change; keep_flows: what ends no flow of an ended rule. */
void flows_note_change(struct flows *flows, const struct backend_change *change,
		       bool keep_flows);
/** External addresses, where flows are looked for; those of addresses that go, end. */
void flows_set_network(struct flows *flows, const struct backend_network *network);
/** When `timer` is readable; does nothing before. */
void flows_run(struct flows *flows);

/** For qsort() and sorted_find_first(): the order of struct flows_ended in a search. */
int flows_match_compare(const void *a, const void *b);
/** True for an external IPv4 address, in network order. */
bool flows_match_has_address(const struct flows *flows, uint32_t address);
/** The octet of `begun` that has the port's bit. */
uint8_t *flows_match_find_begun(const struct flows *flows, uint8_t protocol,
				uint16_t port);
bool flows_match_has_begun(const struct flows *flows, uint8_t protocol, uint16_t port);

/*
 * True for a flow that shall end: of a rule that ended, by which it came in; of one
 * that nobody noted; of one by which it left; one that passes a new rule by; one of
 * another host that owns the external port of a new rule; and for all of these, and
 * those of addresses that are gone.
 */
bool flows_match_inbound(struct flows *flows, const struct nf_conntrack *flow);
bool flows_match_orphan(struct flows *flows, const struct nf_conntrack *flow);
bool flows_match_outbound(struct flows *flows, const struct nf_conntrack *flow);
bool flows_match_fresh(struct flows *flows, const struct nf_conntrack *flow);
bool flows_match_foreign(struct flows *flows, const struct nf_conntrack *flow);
bool flows_match_any(struct flows *flows, const struct nf_conntrack *flow);

#endif
