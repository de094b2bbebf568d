/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_BACKEND_H
#define BACKENDS_BACKEND_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/** Remote peers of one rule. */
#define RULE_FILTERS_MAX 16
/** Interfaces and addresses in struct backend_network. */
#define BACKEND_LANS_MAX 32
#define BACKEND_LAN_NETWORKS_MAX 16
#define BACKEND_ADDRESSES_MAX 8

/** A remote peer that may use a rule; length 0 and port 0 mean any. */
struct rule_filter {
	struct prefix prefix;
	uint16_t port;
};

/**
 * One lease as the firewall sees it. IPv4: translate external to internal, and back for
 * outbound traffic of the internal endpoint. IPv6: external equals internal, a pinhole.
 */
struct rule {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	bool outbound;	  /* also translate outbound traffic of the internal endpoint */
	/** Keeps one flow: it has one filter, an address and a port, comes before
	 * rules with other filters, and also translates traffic to that peer. Flows
	 * that the internal endpoint began outlive it. */
	bool flow;
	uint16_t external_port; /* host order, like every port here */
	uint16_t internal_port;
	uint8_t filter_count; /* 0 = any remote peer */
	/** IPv4: may be none without `outbound`: no address on the WAN now. */
	struct ip_addr external;
	struct ip_addr internal;
	struct rule_filter filters[RULE_FILTERS_MAX];
	/** Units: milliseconds from now until the kernel drops it; 0 = never. */
	uint64_t timeout_ms;
};

enum change_kind {
	CHANGE_ADD,
	CHANGE_REPLACE, /* before is there, after shall be: the rule is never absent */
	CHANGE_DELETE,
};

/** Only the key of `before` matters: everything but timeout_ms. */
struct backend_change {
	enum change_kind kind;
	struct rule before; /* REPLACE, DELETE */
	struct rule after;  /* ADD, REPLACE */
};

/** What the rules refer to besides leases; changes when interfaces or addresses do. */
struct backend_network {
	char wan[IF_NAMESIZE]; /* may be empty: no WAN now */
	size_t lan_count;
	char lans[BACKEND_LANS_MAX][IF_NAMESIZE];
	/** Hosts of each LAN, of both families; for backends that cannot tell by which
	 * interface a packet came when it leaves. */
	uint8_t lan_network_counts[BACKEND_LANS_MAX];
	struct prefix lan_networks[BACKEND_LANS_MAX][BACKEND_LAN_NETWORKS_MAX];
	size_t address_count; /* external addresses on the WAN interface */
	struct ip_addr addresses[BACKEND_ADDRESSES_MAX];
};

/** Longest name of a table or chain of others, with its NUL. */
#define BACKEND_NAME_MAX 32

/**
 * One rule of ours in the host's own firewall, that lets leased flows pass: for
 * firewalls whose tables are of the same kind as ours.
 */
struct backend_accept {
	enum {
		BACKEND_ACCEPT_OFF,
		BACKEND_ACCEPT_AUTO, /* where packets are forwarded, if any are refused
				      */
		BACKEND_ACCEPT_CHAIN,
	} how;
	/* Of BACKEND_ACCEPT_CHAIN. */
	bool ipv6;
	char table[BACKEND_NAME_MAX];
	char chain[BACKEND_NAME_MAX];
};

struct backend_config {
	uint32_t mark;	 /* bit set on the connection mark of leased flows */
	bool keep_flows; /* do not remove conntrack entries of deleted leases */
	/** What iptables locks, opened by somebody who may; 0: the backend opens it. */
	int lock_fd;
	struct backend_accept accept;
};

struct rule_counters {
	uint64_t packets;
	uint64_t octets;
};

/** What the backend tells its owner without being asked. */
struct backend_events {
	/** Somebody else changed or removed our rules: call sync(). Perhaps not ours,
	 * but something. From apply() and set_network(), too. */
	void (*disturbed)(void *user);
	/**
	 * For as long as it is on nobody of this process need listen to the kernel's
	 * notifications of tables, which make every change dearer: the backend finds
	 * by itself that others have changed something, and tells by disturbed() once
	 * it is off. From any function. NULL = nobody else listens.
	 */
	void (*quiet)(void *user, bool on);
};

/** What keeps a backend from its work, or from a part of it, for longer: bits. */
enum backend_trouble {
	/** It has no IPv6: rules of that family are refused, and passed over by sync().
	 */
	BACKEND_TROUBLE_NO_IPV6 = 1 << 0,
	/** Somebody puts rules before ours again and again, which decide instead. */
	BACKEND_TROUBLE_OVERTAKEN = 1 << 1,
	/** The rule of backend_config.accept cannot be made. */
	BACKEND_TROUBLE_ACCEPT = 1 << 2,
};

/** What the host's own firewall of the same kind does with leased flows. */
struct backend_passage {
	bool passes;   /* for certain; else nobody knows */
	char rule[96]; /* where a rule of ours is, for the owner; "" = nowhere */
};

struct backend;

/**
 * A firewall. Plain data in, no knowledge of leases, clients or protocols; no callback
 * into the caller but backend_events. One instance a process.
 */
struct backend_ops {
	const char *name;
	/** The kernel removes rules by itself when their timeout ends. */
	bool has_timeouts;
	/**
	 * Reach the kernel; changes nothing there yet but may find what a former run
	 * left. Errors: -errno, logged with what is missing and what would mend it.
	 * Owns: caller frees *out by close().
	 */
	int (*open)(const struct backend_config *config,
		    const struct backend_events *events, void *user,
		    struct backend **out);
	/** keep: leave rules in the kernel for a restart without a gap. Safe on NULL.
	 * Errors: -errno, logged: rules stay that should have gone. */
	int (*close)(struct backend *backend, bool keep);
	/** Another backend_config.keep_flows; NULL where the backend ends no flows. */
	void (*set_keep_flows)(struct backend *backend, bool keep_flows);
	/** Another backend_config.accept; NULL where the backend makes no such rule. */
	void (*set_accept)(struct backend *backend,
			   const struct backend_accept *accept);
	/** Set interfaces and addresses. Errors: -errno, nothing changed. */
	int (*set_network)(struct backend *backend,
			   const struct backend_network *network);
	/**
	 * Make all changes or none, in order, in one transaction; only what a REPLACE
	 * of filters leaves behind may go by a second one, so that no peer of both
	 * before and after is ever turned away. When it returns 0 the kernel holds
	 * them. Flows of deleted rules end soon after, out of event(), unless
	 * keep_flows. A DELETE of what has timed out already is no error. Errors:
	 * nothing changed, and -EEXIST: a rule clashes with one that is there, or with
	 * another of the batch (rule_overlaps()); -EINVAL: a rule makes no sense;
	 * -EOPNOTSUPP: the kernel's sets cannot say such a rule. These three concern
	 * the changes alone: the rules that are there are as they should be.
	 * -ENOENT: our table, or a part of it, is gone: sync(), then try again;
	 * -ENOTCONN: before the first sync(); other -errno: out of the kernel.
	 */
	int (*apply)(struct backend *backend, const struct backend_change *changes,
		     size_t count);
	/**
	 * Make the kernel hold exactly these rules: what a former run left is kept
	 * where it is right, mended where it is not. Counts what had to be added and
	 * removed. Flows that came in by rules that are no more end soon after, unless
	 * keep_flows. Errors: -errno.
	 */
	int (*sync)(struct backend *backend, const struct rule *rules, size_t count,
		    size_t *added, size_t *removed);
	/**
	 * Call visit for every rule that the kernel holds now.
	 * Errors: -errno; visit's non-zero answer ends the walk and is returned.
	 */
	int (*dump)(struct backend *backend,
		    int (*visit)(void *user, const struct rule *), void *user);
	/** Traffic of one rule since it was made. Errors: -ENOENT, -errno. */
	int (*counters)(struct backend *backend, const struct rule *rule,
			struct rule_counters *out);
	/** Descriptor that becomes readable when event() should be called, or -1. */
	int (*fd)(struct backend *backend);
	/** Bits of enum backend_trouble; NULL where there is never any. */
	unsigned int (*get_troubles)(const struct backend *backend);
	void (*event)(struct backend *backend);
	/**
	 * True when a rule of others, of the same kind as ours, may translate that port
	 * at the WAN; as of a few seconds ago. NULL where foreign.h sees these.
	 */
	bool (*has_port)(const struct backend *backend, uint8_t protocol,
			 uint16_t port);
	/** NULL where foreign.h tells. */
	void (*get_passage)(const struct backend *backend, bool ipv6,
			    struct backend_passage *out);
	/**
	 * Remove all that a run with this backend left, for one that has another:
	 * without an instance, and before privileges are dropped. What cannot be done
	 * is logged, with the command that does it. NULL where nothing can be left.
	 */
	void (*remove_leftovers)(uint32_t mark);
};

const struct backend_ops *backend_get_nftables(void);
const struct backend_ops *backend_get_iptables(void);
const struct backend_ops *backend_get_memory(void);

/** True when a and b say the same, timeout aside. */
bool rule_equal(const struct rule *a, const struct rule *b);
/**
 * True when a and b, of one protocol and external endpoint, would admit the same remote
 * peer. A rule open to all does so with another one only: it leaves the peers of rules
 * with filters to these, and these theirs to rules that keep a flow.
 */
bool rule_overlaps(const struct rule *a, const struct rule *b);

#endif
