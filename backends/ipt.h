/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_IPT_H
#define BACKENDS_IPT_H

/* What the files of the iptables backend share; nobody else includes it. */

#include <libiptc/libxtc.h>
#include <libiptc/xtcshared.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/backend.h"
#include "backends/flows.h"
#include "backends/rule.h"

/** Names of our chains begin so. */
#define IPT_PREFIX "PORTREEVE"
/** Longest name of a chain, with its NUL. */
#define IPT_NAME_MAX XT_EXTENSION_MAXNAMELEN
/** Ports that the rules of one chain, a leaf of a tree, are about. */
#define IPT_LEAF_PORTS 256

/* --- libiptc, for IPv4 and IPv6 alike --- */

/** One of the two libraries; a rule is the octets of its entry. */
struct ipt_family {
	bool ipv6;
	const char *what; /* "iptables" */
	const struct xtc_ops *ops;
	const void *(*first_rule)(const char *chain, struct xtc_handle *handle);
	const void *(*next_rule)(const void *rule, struct xtc_handle *handle);
	const char *(*get_target)(const void *rule, struct xtc_handle *handle);
	int (*insert)(const char *chain, const void *rule, unsigned int at,
		      struct xtc_handle *handle);
	int (*delete)(const char *chain, unsigned int at, struct xtc_handle *handle);
	int (*delete_chain)(const char *chain, struct xtc_handle *handle);
	int (*get_references)(unsigned int *out, const char *chain,
			      struct xtc_handle *handle);
};

const struct ipt_family *ipt_family_get(bool ipv6);

/* --- rules --- */

/** Ports from first to last; all zero: any. */
struct ipt_ports {
	uint16_t first;
	uint16_t last;
};

enum ipt_action {
	IPT_DO_GOTO, /* `chain` */
	IPT_DO_JUMP, /* `chain` */
	IPT_DO_ACCEPT,
	IPT_DO_RETURN,
	IPT_DO_DNAT, /* `to` and `to_port` */
	IPT_DO_SNAT, /* `to` and `to_port` */
	IPT_DO_MASQUERADE,
	IPT_DO_MASQUERADE_RANDOM,
	IPT_DO_SET_MARK, /* the bits of `mark`, in the connection mark; they match
			  * nothing
			  */
};

/** Ports of the `multiport` match, which takes 15 of them; a range takes two. */
#define IPT_SLOTS_MAX 15

/** What a rule matches and does; what is zero is any. */
struct ipt_spec {
	uint8_t protocol;
	uint16_t states; /* XT_CONNTRACK_STATE_..., one of them */
	struct ipt_ports source_ports;
	struct ipt_ports destination_ports;
	struct ipt_ports original_ports; /* destination ports of the first packet */
	uint16_t peer_port;		 /* source port of the first packet */
	uint16_t reply_port;		 /* source port of the answer */
	uint8_t slot_count;
	bool slots_are_destinations; /* else they are source ports */
	uint16_t slots[IPT_SLOTS_MAX];
	bool ranges[IPT_SLOTS_MAX]; /* from this port to the next slot's */
	uint32_t mark;		    /* of the connection */
	const char *in;
	const char *out;
	struct prefix source;
	struct prefix destination;
	struct prefix original_source;
	struct prefix original_destination;
	struct prefix reply_source;
	enum ipt_action action;
	const char *chain;
	struct ip_addr to;
	uint16_t to_port; /* 0: inwards, the port stays as it is */
	const char *comment;
};

/** Revisions of targets: those that iptables would write, so that it can read ours. */
struct ipt_forms {
	uint8_t set_mark;
	uint8_t dnat;
};

/**
 * Ask the kernel for the matches and targets that we use. Errors: -EPERM;
 * -EPROTONOSUPPORT: there is no such family, or it lacks something, which is logged.
 */
int ipt_forms_probe(bool ipv6, struct ipt_forms *out)
	__attribute__((warn_unused_result));

/** Rules in the making, each as the octets of its entry. Reused; never shrinks. */
struct ipt_list {
	bool ipv6;
	struct ipt_forms forms;
	bool failed; /* out of memory */
	size_t count;
	size_t used;
	size_t size;
	uint8_t *octets;
	size_t offset_size;
	size_t *offsets;
};

/** Forget what is in it. */
void ipt_list_begin(struct ipt_list *list, bool ipv6, struct ipt_forms forms);
/** Errors: list->failed. */
void ipt_list_add(struct ipt_list *list, const struct ipt_spec *spec);
const void *ipt_list_get(const struct ipt_list *list, size_t index);
void ipt_list_fini(struct ipt_list *list);

/**
 * True when a rule of the kernel matches and does what the wanted one does. target: of
 * the kernel's rule, as libiptc tells it.
 */
bool ipt_rule_is(const struct ipt_family *family, const void *there, const char *target,
		 const void *wanted);
/** The chain that a rule of ours goes or jumps to, or NULL. */
const char *ipt_rule_get_chain(const struct ipt_family *family, const void *rule);
/** Packets and octets that a rule of the kernel has seen. */
struct rule_counters ipt_rule_get_counters(const struct ipt_family *family,
					   const void *there);
/**
 * What a rule of a leaf that marks says, its external address aside; it has one filter
 * at most. Errors: false, it is none of ours.
 */
bool ipt_rule_parse(const struct ipt_family *family, const void *there,
		    const char *target, struct rule *out)
	__attribute__((warn_unused_result));
/**
 * The ports of a rule that is about many, one by one, ascending. Errors: 0, it is about
 * none, or about more than one leaf has.
 */
size_t ipt_rule_parse_ports(const void *there, uint16_t ports[IPT_LEAF_PORTS])
	__attribute__((warn_unused_result));
/** The address that a rule translates to, if that is for the external port of `rule`.
 */
bool ipt_rule_parse_snat(const void *there, const struct rule *rule,
			 struct ip_addr *external) __attribute__((warn_unused_result));

/** A port that a rule translates inwards. */
struct ipt_mapping {
	uint32_t host;
	uint16_t port;
	uint16_t to_port; /* 0: the same */
	bool added;	  /* it comes, else it goes */
};

/**
 * The ports that a rule of an IPv4 table translates, all in one way. Errors: 0: it does
 * something else, or looks at more than ports.
 */
size_t ipt_rule_parse_mapping(const void *there, uint16_t ports[IPT_LEAF_PORTS],
			      struct ipt_mapping *out)
	__attribute__((warn_unused_result));

/** What changes when rules go and others come: one for many ports counts as many. */
struct ipt_tally {
	bool ipv6;
	size_t added; /* rules that say nothing of ports */
	size_t removed;
	size_t count;
	size_t size;
	struct ipt_mapping *mappings;
};

/** rule: of the kernel or to be. added: it comes, else it goes. */
void ipt_tally_note(struct ipt_tally *tally, const void *rule, bool added);
/** Add up, and free. Errors: none; out of memory it counts less. */
void ipt_tally_finish(struct ipt_tally *tally, size_t *added, size_t *removed);

/* --- one table --- */

enum ipt_table_name {
	IPT_MANGLE4,
	IPT_MANGLE6,
	IPT_NAT4,
};

#define IPT_TABLE_COUNT (IPT_NAT4 + 1)

/** A table as it was read, and what shall change in it; not shared with the kernel. */
struct ipt_table {
	const struct ipt_family *family;
	const char *name;
	struct xtc_handle *handle;
	bool changed;
	/** What was to be mended, or would have been. */
	size_t added;
	size_t removed;
};

/** Errors: -ENOENT: no such table, or its modules are missing; -EPERM; -errno. */
int ipt_table_open(struct ipt_table *table, const struct ipt_family *family,
		   const char *name) __attribute__((warn_unused_result));
/** Forget what is not committed. Safe on what is closed. */
void ipt_table_close(struct ipt_table *table);
bool ipt_table_has_chain(const struct ipt_table *table, const char *chain);
/** True when nothing is in it, and a rule jumps to it, so that it cannot go. */
bool ipt_table_is_stuck(const struct ipt_table *table, const char *chain);
/** Make a chain where there is none. Errors: -errno. */
int ipt_table_make_chain(struct ipt_table *table, const char *chain)
	__attribute__((warn_unused_result));
/** Empty a chain and remove it; one that somebody still jumps to stays, empty. */
int ipt_table_drop_chain(struct ipt_table *table, const char *chain)
	__attribute__((warn_unused_result));
/**
 * Make a chain hold these rules in this order; what is right stays, with its counters.
 * Errors: -errno; -ENOENT: there is no such chain.
 */
int ipt_table_make_rules(struct ipt_table *table, const char *chain,
			 const struct ipt_list *wanted)
	__attribute__((warn_unused_result));
/** Sum of what these rules counted. Errors: -ENOENT: one is not there. */
int ipt_table_count(const struct ipt_table *table, const char *chain,
		    const struct ipt_list *wanted, struct rule_counters *out)
	__attribute__((warn_unused_result));
/** As ipt_table_make_rules(), but only counts what would change. */
int ipt_table_compare(struct ipt_table *table, const char *chain,
		      const struct ipt_list *wanted)
	__attribute__((warn_unused_result));
/**
 * Make a chain of somebody else hold the wanted rule once, and no other rule that
 * jumps to a chain of ours: or none, where `wanted` is empty. first: before all others;
 * else wherever it is. Errors: -errno.
 */
int ipt_table_make_jump(struct ipt_table *table, const char *chain,
			const struct ipt_list *wanted, bool first)
	__attribute__((warn_unused_result));
/** How many rules of a chain are like the one of the list, and how many are not. */
size_t ipt_table_count_same(const struct ipt_table *table, const char *chain,
			    const struct ipt_list *rule);
size_t ipt_table_count_others(const struct ipt_table *table, const char *chain,
			      const struct ipt_list *rule);
/** Take all such rules out, and put one first if it shall be there. Errors: -errno. */
int ipt_table_place(struct ipt_table *table, const char *chain,
		    const struct ipt_list *rule, bool wanted)
	__attribute__((warn_unused_result));
/** True when a rule of others, before ours, decides about packets. */
bool ipt_table_is_overtaken(const struct ipt_table *table, const char *chain,
			    const struct ipt_list *wanted);
/** True when ipt_table_make_jump() has nothing to do, place aside. */
bool ipt_table_has_jump(const struct ipt_table *table, const char *chain,
			const struct ipt_list *wanted);
/** Hand the changes to the kernel, if there are any. Errors: -errno, nothing changed.
 */
int ipt_table_commit(struct ipt_table *table) __attribute__((warn_unused_result));

/* --- leases --- */

/**
 * Leaves of a branch. A chain costs three rules more in a table that is written as a
 * whole, so that small leaves make changes slow, large ones packets.
 */
#define IPT_LEAVES (65536 / IPT_LEAF_PORTS)
#define IPT_BRANCH_LEAVES 16
#define IPT_BRANCHES (IPT_LEAVES / IPT_BRANCH_LEAVES)
#define IPT_PROTOCOLS 2
/** Internal ports of a list: fewer, as many hosts have the same ones. */
#define IPT_INNER_PORTS 8
#define IPT_INNERS (65536 / IPT_INNER_PORTS)

struct ipt_held {
	struct rule rule;
	bool any;		     /* peer may use it */
	uint32_t asked;		     /* serial of the counters that were told last */
	struct ipt_held *next_outer; /* by external port */
	struct ipt_held *next_inner; /* by internal port */
};

struct ipt_step;

/** Rules that the kernel shall hold, by the leaves that they are in. */
struct ipt_model {
	size_t count;
	struct ipt_held *outer4[IPT_PROTOCOLS][IPT_LEAVES];
	struct ipt_held *inner4[IPT_PROTOCOLS][IPT_INNERS];
	struct ipt_held *outer6[IPT_PROTOCOLS][IPT_LEAVES];
	size_t ends4[IPT_PROTOCOLS][IPT_BRANCHES]; /* both ports of IPv4 rules */
	struct ipt_step *steps; /* of the transaction in the making */
	size_t step_count;
	size_t step_size;
};

/** Errors: -EEXIST, -EINVAL, -ENOMEM: nothing changed. */
int ipt_model_add(struct ipt_model *model, const struct rule *rule)
	__attribute__((warn_unused_result));
/** A rule that is not there is no error. Errors: -EINVAL, -ENOMEM. */
int ipt_model_remove(struct ipt_model *model, const struct rule *rule)
	__attribute__((warn_unused_result));
void ipt_model_commit(struct ipt_model *model);
void ipt_model_undo(struct ipt_model *model);
/** As it was before the transaction in the making; and forth again. */
void ipt_model_step_back(struct ipt_model *model);
void ipt_model_step_forth(struct ipt_model *model);
void ipt_model_fini(struct ipt_model *model);
/** The very rule, timeout aside, or NULL. */
struct ipt_held *ipt_model_find(struct ipt_model *model, const struct rule *rule);

/* --- what the chains hold --- */

/** Trees of chains by protocol and port: root, branches, leaves. */
enum ipt_tree {
	IPT_MARK_TREE4, /* by external port: mark, and count */
	IPT_MARK_TREE6,
	IPT_DNAT_TREE, /* by external port */
	IPT_SNAT_TREE, /* by source port */
};

#define IPT_TREE_COUNT (IPT_SNAT_TREE + 1)

struct ipt_layout {
	uint32_t mark;
	struct ipt_forms forms;
	struct backend_network network;
	struct ipt_model model;
};

/** A leaf of a tree; protocol 0 = TCP, 1 = UDP. */
struct ipt_place {
	enum ipt_tree tree;
	unsigned int protocol;
	unsigned int leaf;
};

enum ipt_table_name ipt_tree_get_table(enum ipt_tree tree);
/** Name of a leaf, of the branch it is on, and of the root. */
void ipt_tree_get_leaf_name(const struct ipt_place *place, char name[IPT_NAME_MAX]);
void ipt_tree_get_branch_name(const struct ipt_place *place, char name[IPT_NAME_MAX]);
const char *ipt_tree_get_root_name(enum ipt_tree tree);
/** True when a chain of this table is a leaf; *mapping: one that lets packets in. */
bool ipt_tree_is_leaf_name(enum ipt_table_name table, const char *chain, bool *mapping);
/** True when a root, a branch or a leaf of any tree may be named so. */
bool ipt_tree_has_name(const char *chain);
/** The leaf where a rule with this port is. */
struct ipt_place ipt_tree_get_place(enum ipt_tree tree, uint8_t protocol,
				    uint16_t port);
bool ipt_tree_has_leaf(const struct ipt_layout *layout, const struct ipt_place *place);
bool ipt_tree_has_branch(const struct ipt_layout *layout,
			 const struct ipt_place *place);
void ipt_tree_fill_leaf(const struct ipt_layout *layout, const struct ipt_place *place,
			struct ipt_list *list);
void ipt_tree_fill_branch(const struct ipt_layout *layout,
			  const struct ipt_place *place, struct ipt_list *list);
void ipt_tree_fill_root(const struct ipt_layout *layout, enum ipt_tree tree,
			struct ipt_list *list);

/** The entries of one lease in a leaf: add them to the list. */
void ipt_lease_add_mark(const struct rule *rule, struct ipt_list *list);
void ipt_lease_add_dnat(const struct rule *rule, struct ipt_list *list);
/** What keeps the port of a rule that has a way out; flow: only to that peer. */
void ipt_lease_add_snat(const struct rule *rule, bool flow, struct ipt_list *list);
/** The way in of leases of one host, `rule` is one of them, that keep these ports. */
void ipt_lease_add_dnats(const struct rule *rule, const uint16_t *ports, size_t count,
			 struct ipt_list *list);
/** One or more entries for these ports, ascending, of one protocol. */
void ipt_lease_add_held(unsigned int protocol, const uint16_t *ports, size_t count,
			struct ipt_list *list);

struct ipt_bundled {
	const struct rule *rule;
};

/** Leases of a leaf that keep their ports: those of a host share rules. */
struct ipt_bundle {
	bool failed; /* out of memory */
	size_t count;
	size_t size;
	struct ipt_bundled *items;
};

/** Errors: bundle->failed. */
void ipt_bundle_add(struct ipt_bundle *bundle, const struct rule *rule);
/** Their rules, in the same order however they came. Frees the bundle. */
void ipt_bundle_fill(struct ipt_bundle *bundle, struct ipt_list *list);

/** Chains that leases lead to. */
#define IPT_CHAIN_SET IPT_PREFIX "-SET"
#define IPT_CHAIN_FLOW IPT_PREFIX "-SET-FLOW"
#define IPT_CHAIN_HELD IPT_PREFIX "-HELD"

/** A chain that is always there, or a jump out of a chain of the kernel. */
struct ipt_fixed {
	const char *chain;
	void (*fill)(const struct ipt_layout *layout, struct ipt_list *list);
	enum ipt_table_name table;
	bool jump; /* `chain` is the kernel's, and holds but one rule of ours */
};

/** Owns: static; NULL past the end. */
const struct ipt_fixed *ipt_fixed_get(size_t index);
/** True when a chain of this name can be but ours; others may begin as ours do. */
bool ipt_chain_is_ours(const char *chain);

/* --- the kernel's tables, and the layout --- */

/** Leaves that a transaction touches; each once. */
struct ipt_touched {
	size_t count;
	size_t size;
	struct ipt_place *places;
	bool failed; /* out of memory */
};

bool ipt_touched_has(const struct ipt_touched *touched, enum ipt_table_name name);
void ipt_touched_add(struct ipt_touched *touched, const struct rule *rule);
void ipt_touched_fini(struct ipt_touched *touched);

/** What sync() has mended. */
struct ipt_difference {
	size_t mappings_added; /* rules that let packets in */
	size_t mappings_removed;
	size_t marks_added; /* rules that mark and count; IPv4 */
	size_t marks_removed;
	size_t others_added; /* what else accompanies them */
	size_t others_removed;
	bool changed; /* anything at all */
};

/** Name of a table for libiptc, and the library. */
const char *ipt_sync_get_table(enum ipt_table_name name);
bool ipt_sync_is_ipv6(enum ipt_table_name name);

/**
 * See whether leaves, and what leads to them, are as a layout before the change says.
 * Errors: -ENOENT: no, somebody else has been there; -errno.
 */
int ipt_sync_survey(struct ipt_table *table, const struct ipt_layout *before,
		    enum ipt_table_name name, const struct ipt_touched *touched)
	__attribute__((warn_unused_result));
/**
 * Bring leaves, and the branches that lead to them, into the state of the layout.
 * Errors: -ENOENT: what leads to them is not as it should be; -errno.
 */
int ipt_sync_touched(struct ipt_table *table, const struct ipt_layout *layout,
		     enum ipt_table_name name, const struct ipt_touched *touched)
	__attribute__((warn_unused_result));
/** The same with the chains that are always there. Errors: the same. */
int ipt_sync_fixed(struct ipt_table *table, const struct ipt_layout *layout,
		   enum ipt_table_name name) __attribute__((warn_unused_result));
/** Everything; chains of ours that are no more go. Errors: -errno. */
int ipt_sync_all(struct ipt_table *table, const struct ipt_layout *layout,
		 enum ipt_table_name name, struct ipt_difference *difference)
	__attribute__((warn_unused_result));
/** See whether the kernel has what the layout says. Errors: -ENOENT: no; -errno. */
int ipt_sync_check(struct ipt_table *table, const struct ipt_layout *layout,
		   enum ipt_table_name name) __attribute__((warn_unused_result));
/** Its user is a struct ipt_layout. Owns: static. */
const struct flows_judge *ipt_judge_get(void);

/**
 * Rules that the kernel holds. external: address of IPv4 rules without outbound, which
 * say none. Errors: as backend dump().
 */
int ipt_dump_visit(const struct ipt_layout *layout, bool ipv6,
		   int (*visit)(void *user, const struct rule *rule), void *user)
	__attribute__((warn_unused_result));

/** A table of counters as it was read, for who asks for many in a row. */
struct ipt_counts {
	struct ipt_table table;
	uint32_t serial;
	int64_t until_ms;
};

/** Errors: -ENOENT, -errno. */
int ipt_counts_get(struct ipt_counts *counts, struct ipt_layout *layout,
		   const struct rule *rule, struct rule_counters *out)
	__attribute__((warn_unused_result));
void ipt_counts_drop(struct ipt_counts *counts);

/* --- rules of others before ours --- */

/** How often our jumps were put before others' rules again. */
struct ipt_rank {
	unsigned int times;
	int64_t since_ms; /* the first of them */
	bool lost;	  /* enough of that: somebody insists */
};

/** A look at the table nat: true when sync() shall put our jumps first again. */
bool ipt_rank_is_wrong(struct ipt_rank *rank, const struct ipt_table *table,
		       const struct ipt_layout *layout, int64_t now_ms);

/* --- the rule in a chain of others --- */

/** Put it where it belongs, and nowhere else. *failed: it did the last time, too, and
 * was logged. Errors: -errno. */
int ipt_accept_sync(const struct ipt_layout *layout, bool ipv6,
		    const struct backend_accept *accept, bool *failed)
	__attribute__((warn_unused_result));

/* --- ports that rules of others translate --- */

/** One bit for each port. */
struct ipt_given {
	uint8_t udp[65536 / 8];
	uint8_t tcp[65536 / 8];
};

/** Look at a table, open; of others than nat there is nothing to see. */
void ipt_given_read(struct ipt_given *given, const struct ipt_table *table,
		    const struct ipt_layout *layout);
bool ipt_given_has(const struct ipt_given *given, uint8_t protocol, uint16_t port);

/* --- the lock --- */

/** Descriptor of the file that iptables locks, too; -1 = none. */
struct ipt_lock {
	int fd;
	bool complained;
};

/** fd: open already, or 0. Owns: fd stays the caller's. Errors: none; logged. */
void ipt_lock_open(struct ipt_lock *lock, int fd);
void ipt_lock_close(struct ipt_lock *lock);
/** Errors: -EBUSY, somebody holds it; logged when that is not for a moment. */
int ipt_lock_take(struct ipt_lock *lock) __attribute__((warn_unused_result));
/** The same with another patience, for who can wait. */
int ipt_lock_wait(struct ipt_lock *lock, int patience_ms)
	__attribute__((warn_unused_result));
void ipt_lock_release(struct ipt_lock *lock);

/** See remove_leftovers() of struct backend_ops. */
void ipt_leftovers_remove(uint32_t mark);

/** The rule in both families, as the owner wants it. */
struct ipt_accept {
	const struct ipt_layout *layout;
	const struct backend_accept *wanted;
	bool has_ipv6;
	bool failed[2]; /* IPv4, IPv6 */
};

/** The lock is held. What cannot be done is logged once, and tried at each look. */
void ipt_accept_see_to(struct ipt_accept *accept);
/** The lock is held. Errors: the first -errno; the other is out. */
int ipt_accept_take_back(struct ipt_accept *accept) __attribute__((warn_unused_result));
/** A look: true when sync() shall see to it; what it could not do is tried here. */
bool ipt_accept_is_missing(struct ipt_accept *accept, bool ipv6, struct ipt_lock *lock);
bool ipt_accept_has_failed(const struct ipt_accept *accept);
/** See get_passage() of struct backend_ops. */
void ipt_accept_get_passage(const struct ipt_accept *accept, bool ipv6,
			    struct backend_passage *out);

/* --- looks at the tables --- */

struct ipt_look {
	int timer;	   /* readable when one is due */
	unsigned int next; /* what is looked at next */
	bool has_ipv6;
	const struct ipt_layout *layout;
	struct ipt_given *given;
	struct ipt_rank *rank;
	struct ipt_accept *accept;
	struct ipt_lock *lock;
};

/** The caller has set all but the first two. Errors: -errno. */
int ipt_look_open(struct ipt_look *look) __attribute__((warn_unused_result));
/** Safe on a timer of -1. */
void ipt_look_close(struct ipt_look *look);
/** True once for each time that the timer is readable. */
bool ipt_look_is_due(struct ipt_look *look);
/** Look, at a part of all where it takes long. False: sync() shall mend something. */
bool ipt_look_run(struct ipt_look *look);

/** Take out all that is ours. Errors: -errno. */
int ipt_sync_remove(struct ipt_table *table, const struct ipt_layout *layout,
		    enum ipt_table_name name) __attribute__((warn_unused_result));

#endif
