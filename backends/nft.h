/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_NFT_H
#define BACKENDS_NFT_H

/* What the files of the nftables backend share; nobody else includes it. */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/backend.h"
#include "backends/flows.h"

#define NFT_TABLE "portreeve"
/** Longest key: protocol . IPv6 address . port . IPv6 address . port, 4-octet aligned.
 */
#define NFT_KEY_MAX 44
/** IPv4 address . port. */
#define NFT_DATA_LENGTH 8
/**
 * Boxes of one rule: each filter is one, and one without a port one more for every
 * filter with a port around it. There are most where half of the filters have a port.
 */
#define NFT_BOXES_MAX (RULE_FILTERS_MAX + RULE_FILTERS_MAX * RULE_FILTERS_MAX / 4)
/** Elements of one rule: its boxes (or one, held), as many counters, its way out. */
#define NFT_ELEMENTS_MAX (2 * NFT_BOXES_MAX + 1)
/**
 * One transaction of sync() ends when it is longer than this. Between transactions the
 * kernel lets its hashes grow: 10,000 rules take 114 ms like this, 650 ms at a
 * megabyte.
 */
#define NFT_CHUNK_OCTETS ((size_t)32 * 1024)
/** A timeout in the kernel may be wrong by this much before sync() mends it. */
#define NFT_TIMEOUT_SLACK_MS 2000
/** Tries of a dump that other people's changes keep interrupting. */
#define NFT_DUMP_TRIES 20

/** The sets of the skeleton that hold elements of ours. */
enum nft_set {
	NFT_WAN_IF,
	NFT_LAN_IF,
	NFT_WAN4,
	NFT_NARROW4,
	NFT_DNAT4,
	NFT_DNAT4_FLOW,
	NFT_DNAT4_PEER,
	NFT_DNAT4_FROM,
	NFT_SNAT4,
	NFT_SNAT4_FLOW,
	NFT_HELD4,
	NFT_COUNT4,
	NFT_COUNT4_FLOW,
	NFT_COUNT4_PEER,
	NFT_COUNT4_FROM,
	NFT_PINHOLE6,
	NFT_PINHOLE6_FLOW,
	NFT_PINHOLE6_PEER,
	NFT_PINHOLE6_FROM,
};

#define NFT_SET_COUNT (NFT_PINHOLE6_FROM + 1)

/** What a set looks like; lengths in octets as the kernel stores them. */
struct nft_set_shape {
	const char *name;
	uint8_t key_length;
	uint8_t data_length; /* 0: not a map */
	bool interval;
	bool timeout;
	uint8_t target_length; /* of a key that ends with a remote peer; 0: of others */
};

const struct nft_set_shape *nft_set_get_shape(enum nft_set set);

/** One element, in the octets of the kernel. Unused octets are zero. */
struct nft_element {
	enum nft_set set;
	uint8_t key[NFT_KEY_MAX];
	uint8_t key_end[NFT_KEY_MAX]; /* equal to key where the set has no intervals */
	uint8_t data[NFT_DATA_LENGTH];
	/** Units: milliseconds left; 0 = for ever. */
	uint64_t timeout_ms;
	struct rule_counters counters; /* of a dumped element */
};

/** Remote peers that one element admits: a prefix, from one port to another. */
struct nft_box {
	struct prefix prefix;
	uint16_t first_port;
	uint16_t last_port;
};

/** Boxes that do not overlap. Not to be cleared as a whole: it is large. */
struct nft_boxes {
	unsigned int count;
	bool any; /* no filter, or one that lets everybody in: there are no boxes */
	struct nft_box items[NFT_BOXES_MAX];
};

struct rule_peers;
/** Cut what they admit, exactly, into boxes. */
void nft_boxes_from_peers(const struct rule_peers *peers, struct nft_boxes *boxes);
bool nft_box_covers(const struct nft_box *box, const struct prefix *prefix,
		    uint16_t port);
bool nft_box_overlaps(const struct nft_box *a, const struct nft_box *b);
/** One address and any port: an element of a set whose name ends in _PEER. */
bool nft_box_is_peer(const struct nft_box *box);

/** Elements of a rule, and how many. Errors: -EINVAL for a rule that makes no sense. */
int nft_element_from_rule(const struct rule *rule, struct nft_element *elements)
	__attribute__((warn_unused_result));
/** The element that counts, or the pinhole, of a rule and one box; NULL = any peer. */
struct nft_element nft_element_get_counter(const struct rule *rule,
					   const struct nft_box *box);
/**
 * The internal endpoint's rule that a counting element or pinhole speaks of. An IPv4
 * rule's external address is none: the counters outlive a change of it.
 */
void nft_element_to_rule(const struct nft_element *element, struct rule *rule);
/** The element that translates to what a counting one speaks of. */
struct nft_element nft_element_get_mapping(const struct nft_element *counter);
/** The element of NFT_SNAT4 that the rule would have; its data may differ. */
struct nft_element nft_element_get_outbound(const struct rule *rule);
/** What an element of NFT_SNAT4 translates to: returns the port. */
uint16_t nft_element_get_external(const struct nft_element *element,
				  struct ip_addr *addr);
/**
 * The remote peers of an element of a set whose name ends in _PEER or _FROM.
 * Errors: false where no prefix says them, so that the element is none of ours.
 */
bool nft_element_get_box(const struct nft_element *element, struct nft_box *box)
	__attribute__((warn_unused_result));
/**
 * True for an element of an IPv4 rule with a filter, or of one flow. Packets get to it
 * where its protocol is in NFT_NARROW4 only.
 */
bool nft_element_is_narrow(const struct nft_element *element);
/** The element of NFT_NARROW4. */
struct nft_element nft_element_get_narrow(uint8_t protocol);
/** Elements of interfaces and addresses; returns how many, at most NFT_NETWORK_MAX. */
size_t nft_element_from_network(const struct backend_network *network,
				struct nft_element *elements);
#define NFT_NETWORK_MAX (1 + BACKEND_LANS_MAX + BACKEND_ADDRESSES_MAX)
/** Same set, key and interval. */
bool nft_element_same_key(const struct nft_element *a, const struct nft_element *b);
/**
 * Order as by set and key, but elements of rules that differ in nothing but their
 * filters are equal. For sets whose keys end with a peer.
 */
int nft_element_compare_target(const struct nft_element *a,
			       const struct nft_element *b);
/** True when the element's interval holds the peer of `point`, which has only one. */
bool nft_element_holds_peer(const struct nft_element *element,
			    const struct nft_element *point);
/** And the same data: nothing but the time left may differ. */
bool nft_element_equal(const struct nft_element *a, const struct nft_element *b);
/** Parse an element of a dump. Errors: false where its shape is not ours. */
struct nftnl_set_elem;
bool nft_element_parse(enum nft_set set, struct nftnl_set_elem *from,
		       struct nft_element *out);

/** What a batch does with an element. */
enum nft_operation {
	NFT_OP_ADD,    /* must not be there yet */
	NFT_OP_UPDATE, /* make it so, with this timeout, whether it is there or not */
	NFT_OP_REMOVE, /* may be gone already: its own timeout may have come first */
	NFT_OP_PUT,    /* may be there already */
};

/** One transaction in the making. Consecutive elements of one set share a message. */
struct nft_batch {
	uint8_t *bytes;
	size_t used;
	size_t size;
	size_t message; /* offset of the open message, 0 = none */
	size_t list;	/* offset of its nested list of elements */
	size_t last;	/* offset of the last message */
	uint32_t seq;
	enum nft_set set;
	unsigned int type; /* of the open message */
	unsigned int flags;
	/** Protocols that it needs in NFT_NARROW4: TCP and UDP, 1U << protocol. */
	uint32_t narrow;
	bool changes; /* something for certain: it adds what is not there, say */
	bool failed;  /* out of memory */
};

/** The request socket. */
struct nft_socket {
	struct mnl_socket *mnl;
	uint32_t port_id;
	uint32_t seq;
	size_t send_room; /* SO_SNDBUF as it is now */
	bool updates;	  /* the kernel changes timeouts in place (Linux 6.12) */
	bool destroys;	  /* the kernel knows "delete if there" (Linux 6.3) */
	/** What the tables' generation must be for a transaction of nft_batch_send(),
	 * and is after it; 0 = any. */
	uint32_t generation;
	bool overtaken; /* it was another one: somebody else has changed something */
	uint8_t *buffer;
};

/** Errors: -errno. */
int nft_socket_open(struct nft_socket *nft) __attribute__((warn_unused_result));
void nft_socket_close(struct nft_socket *nft);
/** Ask the kernel whether it has nf_tables and lets us. Errors: -errno, logged. */
int nft_socket_probe(struct nft_socket *nft) __attribute__((warn_unused_result));
/** Start a message in buffer (NFT_BUFFER_SIZE octets), for our family. */
struct nlmsghdr *nft_socket_start(struct nft_socket *nft, uint16_t type,
				  uint16_t flags);
/**
 * Send one request and hand every answer to visit.
 * Errors: -errno; -EINTR when a dump was interrupted; what visit answers below zero.
 */
int nft_socket_ask(struct nft_socket *nft, struct nlmsghdr *request,
		   int (*visit)(const struct nlmsghdr *answer, void *user), void *user)
	__attribute__((warn_unused_result));
#define NFT_BUFFER_SIZE 65536
/**
 * Send a whole transaction, whose last message but its end has last_seq and wants an
 * acknowledgement. Errors: -errno, nothing changed.
 */
int nft_socket_send(struct nft_socket *nft, const uint8_t *bytes, size_t length,
		    uint32_t last_seq) __attribute__((warn_unused_result));

/** Begin, fill and send a transaction. The batch keeps its memory for the next one. */
void nft_batch_begin(struct nft_batch *batch, struct nft_socket *nft);
/** With what is not removed goes its element of NFT_NARROW4, at the end. */
void nft_batch_element(struct nft_batch *batch, const struct nft_socket *nft,
		       enum nft_operation operation, const struct nft_element *element);
/** Remove every element of a set. */
void nft_batch_flush(struct nft_batch *batch, enum nft_set set);
/** Make sure the table is there, then remove it with all that is in it. */
void nft_batch_drop_table(struct nft_batch *batch);
/** Put `fingerprint` into the set of that name, alone. */
void nft_batch_fingerprint(struct nft_batch *batch, uint32_t fingerprint);
/** Close the last message and the transaction; nft_batch_send() calls it. */
void nft_batch_finish(struct nft_batch *batch);
/**
 * Where the generation is not the one demanded the transaction is made all the same:
 * `overtaken` says so. Errors: -errno, nothing changed. An empty batch is 0 at once.
 */
int nft_batch_send(struct nft_batch *batch, struct nft_socket *nft)
	__attribute__((warn_unused_result));
void nft_batch_fini(struct nft_batch *batch);

/** Elements that a dump found. Owns: items, freed by nft_elements_fini(). */
struct nft_elements {
	struct nft_element *items;
	size_t count;
	size_t size;
};

/** Add what `set` holds. Errors: -ENOENT without a table; -errno. */
int nft_elements_dump(struct nft_elements *elements, struct nft_socket *nft,
		      enum nft_set set) __attribute__((warn_unused_result));
/** All sets, from `first` on. Errors: as above. */
int nft_elements_dump_all(struct nft_elements *elements, struct nft_socket *nft,
			  enum nft_set first) __attribute__((warn_unused_result));
/** Errors: -ENOMEM. */
int nft_elements_append(struct nft_elements *elements,
			const struct nft_element *element)
	__attribute__((warn_unused_result));
/** Add what NFT_NARROW4 has to hold for their sake. Errors: -ENOMEM. */
int nft_elements_append_narrow(struct nft_elements *elements)
	__attribute__((warn_unused_result));
/** Read one element with its counters. Errors: -ENOENT, -errno. */
int nft_elements_get(struct nft_socket *nft, struct nft_element *element)
	__attribute__((warn_unused_result));
/** Sort by set and key. */
void nft_elements_sort(struct nft_elements *elements);
/** Find in sorted elements by set and key; NULL when it is not there. */
struct nft_element *nft_elements_find(const struct nft_elements *elements,
				      const struct nft_element *wanted);
/**
 * In sorted elements, those of `set` with the target of `wanted`, which is of that set
 * or of another that begins its keys alike. Returns the first, and *count of them.
 */
const struct nft_element *nft_elements_find_target(const struct nft_elements *elements,
						   enum nft_set set,
						   const struct nft_element *wanted,
						   size_t *count);
void nft_elements_fini(struct nft_elements *elements);

/**
 * Who may use which port, by filtered rules: no two of them may admit the same peer,
 * which the kernel's sets refuse in some cases only. Beside the kernel's own elements,
 * by target; rules without filters are not in it. A change of a transaction counts at
 * once and is undone, or made good, with it.
 */
struct nft_claims {
	struct nft_claim *targets; /* a hash */
	struct nft_claim_change *changes;
	size_t change_count;
	size_t change_size;
};

/** Elements that are no filtered mapping or pinhole are let through.
 * Errors: -EEXIST: another one admits some of these peers; -ENOMEM.
 */
int nft_claims_add(struct nft_claims *claims, const struct nft_element *element,
		   int64_t now_ms) __attribute__((warn_unused_result));
/** Errors: -ENOMEM. */
int nft_claims_remove(struct nft_claims *claims, const struct nft_element *element)
	__attribute__((warn_unused_result));
void nft_claims_commit(struct nft_claims *claims);
void nft_claims_undo(struct nft_claims *claims);
void nft_claims_fini(struct nft_claims *claims);

/**
 * Rules that sorted elements of all sets stand for. Rules that differ in nothing but
 * their filters come as one with all of these, or as few as can be. external: address
 * of IPv4 rules without outbound, which say none. Errors: as backend dump().
 */
int nft_rules_visit(const struct nft_elements *elements, const struct ip_addr *external,
		    int (*visit)(void *user, const struct rule *rule), void *user);

/** What the kernel admits now: asked for singly, and read when there are many to ask.
 */
struct nft_live {
	struct nft_socket *nft;
	struct nft_elements elements;
	unsigned int asked;
	bool loaded;
	int error;
};

/** Its questions; their user is a struct nft_live. Owns: static. */
const struct flows_judge *nft_live_get_judge(void);

/** Difference between elements wanted and there; both are sorted by it. */
struct nft_difference {
	size_t added;	/* rules that were not whole */
	size_t removed; /* mappings and pinholes that nobody wanted */
	/** Interfaces, addresses and protocols that were not right, but for protocols
	 * that are too many: those are no harm. */
	size_t network;
};
int nft_difference_apply(struct nft_socket *nft, struct nft_batch *batch,
			 struct nft_elements *wanted, struct nft_elements *there,
			 struct nft_difference *difference)
	__attribute__((warn_unused_result));

/** The text of nft_ruleset.nft, comments aside. Owns: static. */
const char *nft_ruleset_get_text(void);

/** The skeleton, by libnftables, and whether the kernel's table is still what we
 * loaded.
 */
struct nft_skeleton {
	uint32_t mark;
};

enum nft_skeleton_state {
	NFT_SKELETON_ABSENT,
	NFT_SKELETON_OTHER, /* another version's, or tampered with */
	NFT_SKELETON_OURS,
};

/** Let the kernel check the whole ruleset and take none of it. Errors: -errno, logged.
 */
int nft_skeleton_probe(const struct nft_skeleton *skeleton)
	__attribute__((warn_unused_result));
/** Errors: -errno. */
int nft_skeleton_check(const struct nft_skeleton *skeleton, struct nft_socket *nft,
		       enum nft_skeleton_state *state)
	__attribute__((warn_unused_result));
/**
 * Load the skeleton with these elements, in the place of whatever the table is now, in
 * one transaction. Errors: -errno, logged, nothing changed.
 */
int nft_skeleton_load(const struct nft_skeleton *skeleton, struct nft_socket *nft,
		      const struct nft_elements *elements)
	__attribute__((warn_unused_result));
/** An element as nft reads it, between the braces of `add element`. Returns its length.
 */
#define NFT_TEXT_MAX 512
int nft_element_format(const struct nft_element *element, char text[NFT_TEXT_MAX]);

/** Listens for what other people do to our table. */
struct nft_watch {
	struct mnl_socket *mnl;
};

/** own: port id whose changes are not news. Errors: -errno. */
int nft_watch_open(struct nft_watch *watch, uint32_t own)
	__attribute__((warn_unused_result));
/**
 * Listen for what other people do to tables that are not ours. own: port id whose
 * changes are not news; nor are those of our elements, whoever makes them.
 */
int nft_watch_open_others(struct nft_watch *watch, uint32_t own)
	__attribute__((warn_unused_result));
void nft_watch_close(struct nft_watch *watch);
/** Hear no more, and hear again; what came before can still be read. Errors: -errno. */
int nft_watch_leave(struct nft_watch *watch) __attribute__((warn_unused_result));
int nft_watch_join(struct nft_watch *watch) __attribute__((warn_unused_result));
int nft_watch_get_fd(const struct nft_watch *watch);
/** Read all that waits; true when some of it was about our table, or was lost. */
bool nft_watch_drain(struct nft_watch *watch);
/** The same about tables, chains, rules and sets of others. */
bool nft_watch_drain_others(struct nft_watch *watch);

/**
 * The kernel describes each element that changes to everybody who listens: a third of
 * what a grant costs it. So while many transactions are made nobody of us listens, and
 * changes of others are found by the tables' generation, which each transaction says it
 * expects and grows by one with it.
 */
struct nft_quiet {
	struct nft_socket *nft;
	struct nft_watch *watch;
	const struct backend_events *events;
	void *user;
	int timer;	 /* timerfd: readable when nft_quiet_run() should be called */
	bool on;	 /* nobody listens */
	bool busy;	 /* there was a transaction since the last tick */
	int64_t tick_ms; /* when count began */
	size_t count;	 /* changes */
	int64_t listen_until_ms;
	int64_t listen_ms; /* the next time */
};

/** Errors: -errno. */
int nft_quiet_open(struct nft_quiet *quiet, struct nft_socket *nft,
		   struct nft_watch *watch, const struct backend_events *events,
		   void *user) __attribute__((warn_unused_result));
void nft_quiet_close(struct nft_quiet *quiet);
/** Before transactions with so many changes: perhaps nobody listens from now on. */
void nft_quiet_begin(struct nft_quiet *quiet, size_t count, int64_t now_ms);
/** After them. True when somebody else has changed something. */
bool nft_quiet_check(struct nft_quiet *quiet) __attribute__((warn_unused_result));
/** When `timer` is readable, does nothing before. True as above. */
bool nft_quiet_run(struct nft_quiet *quiet) __attribute__((warn_unused_result));
/** Listen again, whatever there is to do. True as above. */
bool nft_quiet_end(struct nft_quiet *quiet);

/** See remove_leftovers() of struct backend_ops. */
void nft_leftovers_remove(uint32_t mark);

#endif
