/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_RULESET_PRIVATE_H
#define BACKENDS_RULESET_PRIVATE_H

/* What the files that read others' rulesets share; nobody else includes it. */

#include "backends/ruleset.h"
#include "base/netlink.h"

/** Tables, chains and sets that are read, at most: -E2BIG. */
#define RULESET_TABLES_MAX 1024
#define RULESET_CHAINS_MAX 65536
#define RULESET_SETS_MAX 65536
/** Elements of one set, and of all: what has more is as if it could not be read. */
#define RULESET_SET_ELEMENTS_MAX 8192
#define RULESET_ELEMENTS_MAX 65536
/** Octets of names, constants and keys, at most: -E2BIG. */
#define RULESET_BYTES_MAX (64u << 20)
/** Jumps within jumps; the kernel allows 16. */
#define RULESET_DEPTH_MAX 32
/** Rules that one walk looks at before it gives up. */
#define RULESET_STEPS_MAX 2000000
/** The registers of the kernel, octets, and those that only we use behind them. */
#define RULESET_KERNEL_REGISTERS 64
#define RULESET_REGISTERS 96
/** Longest constant that anything is compared with. */
#define RULESET_DATA_MAX 64
/** Parts of one key of a set. */
#define RULESET_PARTS_MAX 16
/** The longest header that is looked into: IPv6. */
#define RULESET_FIELD_MAX 40
#define RULESET_OWN_TABLE "portreeve"

/** What a chain's rules are for, as far as we ask. */
enum ruleset_type { RULESET_TYPE_OTHER, RULESET_TYPE_FILTER, RULESET_TYPE_NAT };

/** False, true, or it depends on what we do not know. In this order: and = the least.
 */
enum ruleset_truth { RULESET_FALSE, RULESET_MAYBE, RULESET_TRUE };

enum ruleset_field {
	RULESET_FIELD_UNKNOWN,
	RULESET_FIELD_IN_NAME,
	RULESET_FIELD_OUT_NAME,
	RULESET_FIELD_IN_INDEX,
	RULESET_FIELD_OUT_INDEX,
	RULESET_FIELD_FAMILY,
	RULESET_FIELD_PROTOCOL,
	RULESET_FIELD_ETHERTYPE,
	RULESET_FIELD_PACKET_TYPE,
	RULESET_FIELD_SECPATH,
	RULESET_FIELD_STATE,
	RULESET_FIELD_XT_STATE, /* the same, as the match "conntrack" sees it */
	RULESET_FIELD_STATUS,
	RULESET_FIELD_MARK,
	RULESET_FIELD_DIRECTION,
	RULESET_FIELD_SOURCE_TYPE,
	RULESET_FIELD_DESTINATION_TYPE,
	RULESET_FIELD_XT_SOURCE_TYPE, /* one bit for each type */
	RULESET_FIELD_XT_DESTINATION_TYPE,
	RULESET_FIELD_ROUTE,  /* there is one back */
	RULESET_FIELD_ABSENT, /* options and extension headers */
	RULESET_FIELD_NETWORK,
	RULESET_FIELD_TRANSPORT,
};
#define RULESET_FIELD_COUNT (RULESET_FIELD_TRANSPORT + 1)

enum ruleset_kind {
	RULESET_LOAD,	  /* field, offset, length -> target */
	RULESET_CONSTANT, /* data, length -> target */
	RULESET_BITWISE,  /* source, data = mask, data2 = xor, length -> target */
	RULESET_SWAP,	  /* source, op = octets of a number, length -> target */
	RULESET_COMPARE,  /* source, op (enum nft_cmp_ops), data, length */
	RULESET_RANGE,	  /* source, op = inverted, data, data2, length */
	RULESET_LOOKUP,	  /* source, index = set, op = inverted */
	RULESET_MAP,	  /* source, index = set -> target */
	RULESET_VERDICTS, /* source, index = set */
	RULESET_VERDICT,  /* op (enum ruleset_decision), index = chain */
	RULESET_PORTS, /* op (enum ruleset_ports_of), data = ranges, length = count */
	RULESET_NO_PORTS,   /* the same, inverted */
	RULESET_PERHAPS,    /* may match or not; registers are unknown after it */
	RULESET_NEVER,	    /* no packet that we ask about */
	RULESET_OFFLOAD,    /* no first packet */
	RULESET_GUARD,	    /* a limit, op = matches beyond it */
	RULESET_SET_MARK,   /* of the connection */
	RULESET_SET_PACKET, /* something in its headers */
	RULESET_STRANGE,    /* may do anything */
};

/** What a rule may decide. */
enum ruleset_decision {
	RULESET_ACCEPT,
	RULESET_DROP,
	RULESET_RETURN,
	RULESET_JUMP,
	RULESET_GOTO,
	RULESET_TRANSLATE, /* the destination */
	RULESET_ANYTHING,  /* somebody else decides: accept or drop */
};

enum ruleset_ports_of {
	RULESET_PORTS_SOURCE,
	RULESET_PORTS_DESTINATION,
	RULESET_PORTS_EITHER,
};

/** Of a base chain that no packet comes by that we ask about. */
#define RULESET_HOOK_NONE UINT8_MAX

/** How far a packet has come: what rules see of it. */
enum ruleset_stage {
	RULESET_STAGE_RAW,     /* no connection is known */
	RULESET_STAGE_TRACKED, /* but its destination was not translated */
	RULESET_STAGE_ROUTED,
	RULESET_STAGE_LEAVING, /* its source may have been translated */
};

/** A chain or set that is not there. */
#define RULESET_NONE UINT32_MAX

struct ruleset_verdict {
	enum ruleset_decision decision;
	uint32_t chain; /* of jump and goto; RULESET_NONE: not known */
};

/** Registers are offsets in octets; data are offsets in the ruleset's bytes. */
struct ruleset_expr {
	enum ruleset_kind kind;
	enum ruleset_field field;
	uint8_t source;
	uint8_t target;
	uint8_t op;
	uint16_t offset;
	uint16_t length;
	uint32_t data;
	uint32_t data2;
	uint32_t index;
};

struct ruleset_table {
	uint8_t family;
	uint32_t name;
	bool dormant;	 /* the kernel calls none of its chains */
	bool own;	 /* ours */
	bool is_owned;	 /* by a socket: nobody else changes it */
	bool is_xtables; /* iptables (nf_tables variant) looks after it */
	bool hooked;	 /* a chain of it is called by the kernel */
};

struct ruleset_chain {
	uint32_t table;
	uint32_t name;
	uint32_t sequence; /* in the order of the kernel */
	bool is_base;
	uint8_t hook;	  /* NF_INET_*, or RULESET_HOOK_NONE */
	uint32_t devices; /* of ingress: their names, each of IFNAMSIZ octets */
	uint32_t device_count;
	enum ruleset_type type;
	bool drops; /* the policy */
	int32_t priority;
	uint32_t first_rule;
	uint32_t rule_count;
	bool unread; /* too many rules, or never quiet: it may do anything */
};

struct ruleset_rule {
	uint32_t chain;
	uint32_t sequence;
	uint64_t handle;
	uint32_t first_expr;
	uint32_t expr_count;
	bool commented; /* with FOREIGN_COMMENT */
};

struct ruleset_element {
	uint32_t key;
	uint32_t key_end; /* the same where it is one key */
	bool is_end;	  /* the key is where an interval has ended */
	bool catches_all;
	bool has_verdict;
	struct ruleset_verdict verdict;
	uint32_t data; /* of a map */
	uint16_t data_length;
};

struct ruleset_set {
	uint32_t table;
	uint32_t name;
	uint32_t flags; /* NFT_SET_* */
	uint16_t key_length;
	uint8_t part_count;
	uint8_t parts[RULESET_PARTS_MAX]; /* octets, with the padding behind each */
	bool wanted;			  /* a rule looks into it */
	bool known;			  /* its elements were read */
	uint32_t first_element;
	uint32_t element_count;
};

/** A growing array. Items are copied in; places change while it grows. */
struct ruleset_list {
	void *items;
	size_t count;
	size_t size;
};

struct ruleset {
	struct ruleset_list bytes;
	struct ruleset_list tables;
	struct ruleset_list chains; /* sorted by table and name, once read */
	struct ruleset_list sets;   /* the same */
	struct ruleset_list rules;  /* by chain, in order */
	struct ruleset_list exprs;
	struct ruleset_list elements;
	struct if_nameindex *links;
	uint32_t generation; /* 0: it changed while it was read */
	bool partial;	     /* a chain is unread */
};

/** Errors: NULL, out of memory. */
struct ruleset *ruleset_new(void);
/** Add an item of `width` octets. Errors: -E2BIG, -ENOMEM. */
int ruleset_append(struct ruleset_list *list, const void *item, size_t width,
		   size_t max) __attribute__((warn_unused_result));
/** Keep octets; *at is where. Errors: -E2BIG, -ENOMEM. */
int ruleset_add_bytes(struct ruleset *ruleset, const void *bytes, size_t length,
		      uint32_t *at) __attribute__((warn_unused_result));
int ruleset_add_expr(struct ruleset *ruleset, const struct ruleset_expr *expr)
	__attribute__((warn_unused_result));

const uint8_t *ruleset_get_bytes(const struct ruleset *ruleset, uint32_t at);
const char *ruleset_get_name(const struct ruleset *ruleset, uint32_t at);
struct ruleset_table *ruleset_get_table(const struct ruleset *ruleset, uint32_t index);
struct ruleset_chain *ruleset_get_chain(const struct ruleset *ruleset, uint32_t index);
struct ruleset_set *ruleset_get_set(const struct ruleset *ruleset, uint32_t index);
struct ruleset_rule *ruleset_get_rule(const struct ruleset *ruleset, uint32_t index);
struct ruleset_expr *ruleset_get_expr(const struct ruleset *ruleset, uint32_t index);
struct ruleset_element *ruleset_get_element(const struct ruleset *ruleset,
					    uint32_t index);
const char *ruleset_get_family(uint8_t family);

/** RULESET_NONE when it is not there. Chains and sets must have been sorted. */
uint32_t ruleset_find_table(const struct ruleset *ruleset, uint8_t family,
			    const char *name);
uint32_t ruleset_find_chain_index(const struct ruleset *ruleset, uint32_t table,
				  const char *name);
uint32_t ruleset_find_set_index(const struct ruleset *ruleset, uint32_t table,
				const char *name);
void ruleset_sort_chains(struct ruleset *ruleset);
void ruleset_sort_sets(struct ruleset *ruleset);
/** Give each chain its rules, and tell the tables of iptables. */
void ruleset_sort_rules(struct ruleset *ruleset);
/**
 * Make intervals of the elements of a set, which are the last that were added.
 * Errors: -E2BIG, -ENOMEM.
 */
int ruleset_close_set(struct ruleset *ruleset, uint32_t index)
	__attribute__((warn_unused_result));
/** True when the rule does nothing but accept connections with a mark, *mark. */
bool ruleset_accepts_mark(const struct ruleset *ruleset,
			  const struct ruleset_rule *rule, uint32_t *mark);
/**
 * Base chains of a type at a hook in the order in which the kernel calls them, without
 * our own: the index-th. RULESET_NONE past the last.
 */
uint32_t ruleset_find_base(const struct ruleset *ruleset, enum ruleset_type type,
			   uint8_t hook, size_t index);
/** True when the chain of that family sees such packets. */
bool ruleset_sees_family(const struct ruleset *ruleset,
			 const struct ruleset_chain *chain, bool ipv6);

struct nlmsghdr;
struct nlattr;

/**
 * Take one message of a dump in. set: whose elements are dumped.
 * Errors: -E2BIG, -ENOMEM. A message that makes no sense is left out.
 */
int ruleset_parse_message(struct ruleset *ruleset, const struct nlmsghdr *message,
			  uint32_t set) __attribute__((warn_unused_result));

/** 0 where it is not there; ruleset_attrs_get_number() takes 4 octets in network order.
 */
uint8_t ruleset_attrs_get_octet(const struct netlink_attrs *attrs, unsigned int type);
uint32_t ruleset_attrs_get_number(const struct netlink_attrs *attrs, unsigned int type);
uint64_t ruleset_attrs_get_long(const struct netlink_attrs *attrs, unsigned int type);
/** NULL without an end. */
const char *ruleset_attrs_get_text(const struct netlink_attrs *attrs,
				   unsigned int type);

/** NFTA_DATA_*: a value or a verdict. Errors: -EINVAL, -E2BIG, -ENOMEM. */
struct ruleset_data {
	bool has_verdict;
	struct ruleset_verdict verdict;
	bool goes_on; /* the verdict is none */
	uint32_t data;
	uint16_t length;
};
int ruleset_parse_data(struct ruleset *ruleset, uint32_t table,
		       const struct nlattr *nest, struct ruleset_data *out)
	__attribute__((warn_unused_result));

/** Where an expression is told: the table of its rule, and what it says of it. */
struct ruleset_place {
	struct ruleset *ruleset;
	uint32_t table;
	bool is_xtables; /* out: there is an expression of iptables */
	bool commented;	 /* out: FOREIGN_COMMENT, as iptables says it */
};

/** One expression (NFTA_EXPR_*). Errors: -E2BIG, -ENOMEM. */
int ruleset_parse_expr(struct ruleset_place *place, const struct nlattr *nest)
	__attribute__((warn_unused_result));

/** A match or target of iptables. */
struct ruleset_extension {
	const char *name;
	uint32_t revision;
	const void *info;
	size_t length;
	bool ipv6;
};
int ruleset_parse_match(struct ruleset_place *place,
			const struct ruleset_extension *extension)
	__attribute__((warn_unused_result));
int ruleset_parse_target(struct ruleset_place *place,
			 const struct ruleset_extension *extension)
	__attribute__((warn_unused_result));

/** Destination ports, a bit for each. */
struct ruleset_ports {
	uint64_t words[1024];
};

void ruleset_ports_fill(struct ruleset_ports *ports);
void ruleset_ports_add(struct ruleset_ports *ports, unsigned int first,
		       unsigned int last);
void ruleset_ports_keep(struct ruleset_ports *ports, const struct ruleset_ports *other);
void ruleset_ports_remove(struct ruleset_ports *ports,
			  const struct ruleset_ports *other);
void ruleset_ports_join(struct ruleset_ports *ports, const struct ruleset_ports *other);
bool ruleset_ports_are_none(const struct ruleset_ports *ports);
/** More than half of all. */
bool ruleset_ports_are_most(const struct ruleset_ports *ports);
/** The first range at `from` or behind. False: there is none. */
bool ruleset_ports_get_range(const struct ruleset_ports *ports, unsigned int from,
			     struct port_range *out);

/** A part of a packet: where a bit of known is not set, the bit of value is zero. */
struct ruleset_octets {
	uint8_t value[RULESET_FIELD_MAX];
	uint8_t known[RULESET_FIELD_MAX];
};

/** What the rules see of a packet. */
struct ruleset_view {
	struct ruleset_octets fields[RULESET_FIELD_COUNT];
	bool is_new;
	bool has_ports;
	/** Any destination port: rules tell which. */
	bool any_port;
	/** Out: a rule may have changed the mark. */
	bool mark_changed;
};

/** hook: NF_INET_*. Addresses that are none and ports 0 are not known. */
void ruleset_view_init(struct ruleset_view *view, const struct ruleset *ruleset,
		       uint8_t hook, enum ruleset_stage stage,
		       const struct packet *packet);

/** What the expressions of a rule leave to those behind them; all zero at first. */
struct ruleset_registers {
	uint8_t value[RULESET_REGISTERS];
	uint8_t known[RULESET_REGISTERS];
	uint8_t tags[RULESET_REGISTERS]; /* octets of a port, with view->any_port */
};

void ruleset_registers_forget(struct ruleset_registers *registers, size_t at,
			      size_t length);
void ruleset_registers_load(struct ruleset_registers *registers,
			    const struct ruleset_view *view,
			    const struct ruleset_expr *expr);
void ruleset_registers_put(struct ruleset_registers *registers, size_t at,
			   const uint8_t *bytes, size_t length);
void ruleset_registers_mask(struct ruleset_registers *registers,
			    const struct ruleset *ruleset,
			    const struct ruleset_expr *expr);
void ruleset_registers_swap(struct ruleset_registers *registers,
			    const struct ruleset_expr *expr);
/** Where among these octets the destination port is that is not known; -1: nowhere. */
int ruleset_registers_find_port(const struct ruleset_registers *registers, size_t at,
				size_t length);
/** Without two octets from `skip` on, if that is not negative. */
enum ruleset_truth ruleset_registers_are_equal(
	const struct ruleset_registers *registers, size_t at, const uint8_t *bytes,
	size_t length, int skip);
enum ruleset_truth ruleset_registers_are_within(
	const struct ruleset_registers *registers, size_t at, const uint8_t *first,
	const uint8_t *last, size_t length);

/** How a rule is applied. */
struct ruleset_eval {
	const struct ruleset *ruleset;
	struct ruleset_view *view;
	/** With view->any_port: those for which the rule may match; narrowed. */
	struct ruleset_ports *ports;
	/** A port was asked for, other than to leave it out. */
	bool port_matched;
	/**
	 * Called for each decision that the rule may come to; in all of those calls
	 * together with MAYBE, or in the last with TRUE.
	 */
	void (*decide)(void *user, const struct ruleset_verdict *verdict,
		       enum ruleset_truth truth);
	void *user;
};

void ruleset_eval_rule(struct ruleset_eval *eval, const struct ruleset_rule *rule);

#endif
