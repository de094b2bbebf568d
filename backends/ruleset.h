/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_RULESET_H
#define BACKENDS_RULESET_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/**
 * What others have in nf_tables, read to find out what becomes of a packet. Nobody is
 * asked to write such a ruleset in a way that we understand: what is not understood is
 * kept as such, and an answer that depends on it is "cannot tell".
 */
struct ruleset;

/** Where our own chain for new flows stands, in nft_ruleset.nft: dstnat - 5. */
#define RULESET_NAT_PRIORITY (-105)
/**
 * Where our own forward chain stands, in nft_ruleset.nft: chains before it see a first
 * packet without the mark.
 */
#define RULESET_MARK_PRIORITY (-155)

/** Chains beyond that are as if nobody knew what they do. */
#define RULESET_RULES_MAX 65536
#define RULESET_NAME_MAX 64

/**
 * Read the chains of all tables that the kernel calls. Where somebody changes something
 * all the time, each chain is as it was at one moment, not all of them at the same.
 * Owns: caller frees by ruleset_free(). Errors: -EPERM, -EPROTONOSUPPORT: no nf_tables
 * in this kernel; -E2BIG: too many chains, -errno.
 */
int ruleset_read(struct ruleset **out) __attribute__((warn_unused_result));
/** Safe on NULL. */
void ruleset_free(struct ruleset *ruleset);
/** The generation of all tables when it was read; 0: there was more than one. */
uint32_t ruleset_get_generation(const struct ruleset *ruleset);
/** True when chains of it were not read: too many rules, or never quiet for long
 * enough.
 */
bool ruleset_is_partial(const struct ruleset *ruleset);

/**
 * A packet as a hook sees it: no fragment, without options or extension headers, not
 * out of a tunnel of IPsec, come the way that answers go. Of traffic so quiet that
 * limits against floods let it pass (limit ... return, limit over ... drop). An address
 * that is none and a port 0 are not known: what asks for them may match or not.
 */
struct packet {
	bool ipv6;
	char in[IF_NAMESIZE];  /* "" = comes from this host */
	char out[IF_NAMESIZE]; /* "" = is for this host */
	uint8_t protocol;
	bool is_new;	 /* first of its flow; else of an established one */
	bool translated; /* its destination was translated: ct status dnat */
	bool multicast;	 /* for a group: to us, and to others */
	struct ip_addr source;
	struct ip_addr destination; /* behind the translation */
	uint16_t source_port;
	uint16_t destination_port;
	/** Before the translation, if translated. */
	struct ip_addr outer_destination;
	uint16_t outer_port;
	uint32_t mark; /* of the connection */
};

enum packet_fate {
	PACKET_PASSES,	/* as far as nf_tables is asked */
	PACKET_DROPPED, /* for certain; rejected counts as dropped */
	PACKET_UNKNOWN, /* it depends on what we do not understand */
};

/** In the order in which a packet comes by; INPUT or FORWARD. */
enum packet_hook {
	PACKET_HOOK_INGRESS, /* of its interface: families inet and netdev */
	PACKET_HOOK_PREROUTING,
	PACKET_HOOK_INPUT,
	PACKET_HOOK_FORWARD,
	PACKET_HOOK_POSTROUTING,
};
#define PACKET_HOOK_COUNT (PACKET_HOOK_POSTROUTING + 1)

/** Why: where the packet ends, or what is not understood. */
struct packet_verdict {
	enum packet_fate fate;
	enum packet_hook hook;
	char family[8]; /* "inet", "ip", "ip6", "netdev" */
	char table[RULESET_NAME_MAX];
	char base_chain[RULESET_NAME_MAX]; /* that the kernel called */
	char chain[RULESET_NAME_MAX];	   /* where the rule stands; may be the same */
	uint64_t handle;  /* of the rule; 0 = the policy of the base chain */
	int32_t priority; /* of the base chain */
	/** The chain is one that iptables (nf_tables variant) looks after. */
	bool is_xtables;
};

/**
 * Where a packet would end on its way through all base chains of type filter at this
 * hook, in their order, but those of our own table. The first chain that drops it
 * decides; a chain that may drop it makes PACKET_UNKNOWN unless a later one drops for
 * certain. The place is filled in unless it passes. Chains before our own forward chain
 * do not see the mark on a first packet. Pure.
 */
void ruleset_walk(const struct ruleset *ruleset, enum packet_hook hook,
		  const struct packet *packet, struct packet_verdict *out);

/**
 * The same for one base chain alone, without rules of ours in it: the index-th at the
 * hook in the order of priorities, whatever its family; it passes what it does not see.
 * The base chain is filled in whatever becomes of the packet. Returns false past the
 * last.
 */
bool ruleset_walk_one(const struct ruleset *ruleset, enum packet_hook hook,
		      size_t index, const struct packet *packet,
		      struct packet_verdict *out);
/**
 * The same as if nothing matched that may match or not: PACKET_DROPPED where a chain
 * lets pass only what it names, PACKET_PASSES where it keeps out only that.
 */
bool ruleset_walk_default(const struct ruleset *ruleset, enum packet_hook hook,
			  size_t index, const struct packet *packet,
			  struct packet_verdict *out);

/**
 * The same as ruleset_walk() at all hooks that the packet comes by, on its way to this
 * host if its `out` is empty: what is said there holds for all of them.
 */
void ruleset_walk_path(const struct ruleset *ruleset, const struct packet *packet,
		       struct packet_verdict *out);
/**
 * Call visit for each base chain on that way that does not let the packet pass, for
 * certain or perhaps, as if those before it did. Errors: none; visit cannot stop it.
 */
void ruleset_visit_path(const struct ruleset *ruleset, const struct packet *packet,
			void (*visit)(void *user, const struct packet_verdict *verdict),
			void *user);
/**
 * Would the base chain where the packet ends let it pass if the chain of that name in
 * the same table accepted all that comes into it?
 */
bool ruleset_passes_by(const struct ruleset *ruleset,
		       const struct packet_verdict *place, const struct packet *packet,
		       const char *chain);
/**
 * Does a chain of others translate the destination (DNAT, redirect) of this first
 * packet before ours is asked? PACKET_DROPPED: for certain, and the place is filled in.
 */
void ruleset_walk_translation(const struct ruleset *ruleset,
			      const struct packet *packet, struct packet_verdict *out);

/**
 * Call visit for each range of ports that rules or maps of others translate at
 * prerouting for first IPv4 packets from `wan` to an address of this host (DNAT,
 * redirect), by TCP, then by UDP, in order, without overlaps. Where a rule asks for the
 * port, or a rule that leads to it did, it is told whatever else the rule asks for: the
 * port may be taken. A rule that does not ask for the port takes all ports, and is told
 * if it matches for certain: one that asks for an address, or what else we do not know,
 * may be about another host altogether. One that takes most ports is not told, asked or
 * not: it is for a host that gets whatever nobody else wants. What a rule before it
 * accepts, returns or drops for certain is not told. Errors: none; visit cannot stop
 * it.
 */
void ruleset_visit_dnat(const struct ruleset *ruleset, const char *wan,
			void (*visit)(void *user, uint8_t protocol,
				      struct port_range range),
			void *user);

/**
 * True when somebody but us has a rule that may translate the source of IPv4 packets
 * that leave: a rule in a chain of type nat at postrouting. Pure.
 */
bool ruleset_has_source_nat(const struct ruleset *ruleset);

/** A rule by its place, as ruleset_find_chain() and integrate need it. */
struct ruleset_chain_view {
	const char *family, *table, *chain;
	bool is_xtables; /* native expressions there break iptables -L */
	bool is_base;
	/** Its table has the flag owner: whoever owns it refuses rules of others. */
	bool is_owned;
	int32_t priority;
};

/** NULL family = any. Errors: false: there is no such chain. */
bool ruleset_find_chain(const struct ruleset *ruleset, const char *family,
			const char *table, const char *chain,
			struct ruleset_chain_view *out);

/**
 * Rules of all chains but our own that carry the comment of ours (FOREIGN_COMMENT, in
 * their user data or as a match of iptables, which iptables-restore makes of it) and do
 * nothing but accept a mark of the connection, whichever: visit gets chain, handle and
 * whether it is the first of its chain.
 */
void ruleset_visit_own_rules(const struct ruleset *ruleset,
			     void (*visit)(void *user,
					   const struct ruleset_chain_view *chain,
					   uint64_t handle, bool first),
			     void *user);

/** The mark that the rule accepts and asks for nothing else; 0: it is not like that. */
uint32_t ruleset_get_accepted_mark(const struct ruleset *ruleset,
				   const struct ruleset_chain_view *chain,
				   uint64_t handle);

/** How the accept rule of ours is known again. */
#define FOREIGN_COMMENT "portreeve"

#endif
