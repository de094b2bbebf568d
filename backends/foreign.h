/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_FOREIGN_H
#define BACKENDS_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/backend.h"
#include "backends/ruleset.h"

/**
 * The firewall of the host besides our own table: which ports it gives away, whether it
 * keeps leased traffic out, and the one rule per chain that makes it let that pass.
 */
struct foreign;

enum foreign_how {
	FOREIGN_OFF,   /* look only */
	FOREIGN_AUTO,  /* a rule in each base chain that would keep traffic out */
	FOREIGN_CHAIN, /* a rule in the chain that is named */
};

struct foreign_config {
	uint32_t mark;
	bool ipv4_only; /* there are no leases of IPv6 */
	enum foreign_how how;
	char family[8];
	char table[RULESET_NAME_MAX];
	char chain[RULESET_NAME_MAX];
};

/** What stands for the traffic of leases. */
struct foreign_sample {
	size_t lan; /* its place in the network */
	bool ipv6;
	uint8_t protocol;
	uint32_t mark;
};

/**
 * The first packet of a leased flow, from the internet to a host of that LAN.
 * Errors: false: there is no WAN, or the LAN has no network of that family.
 */
bool foreign_make_packet(const struct foreign_sample *sample,
			 const struct backend_network *network, struct packet *out)
	__attribute__((warn_unused_result));

/** Rules of ours in chains of others, at most. */
#define FOREIGN_RULES_MAX 16
/** Chains that refuse one, of which is told. */
#define FOREIGN_REFUSED_MAX 4

/** A chain that keeps leased traffic out and into which no rule can be put. */
struct foreign_refusal {
	char chain[8 + 2 * RULESET_NAME_MAX];
	bool owned; /* its table is another program's, by the flag owner */
	int error;  /* -errno */
};

/** What `status` says. */
struct foreign_figures {
	bool readable; /* else nothing below is known */
	size_t rule_count;
	/** Chains that hold a rule of ours: "inet fw4 forward". */
	char rules[FOREIGN_RULES_MAX][8 + 2 * RULESET_NAME_MAX];
	uint64_t restored; /* times that somebody removed one and it was put back */
	/** A marked packet of a lease, by family of the address: IPv4, IPv6. */
	struct packet_verdict verdicts[2];
	/** Who translates such a packet before we are asked, IPv4: PACKET_DROPPED. */
	struct packet_verdict translation;
	bool chain_missing; /* FOREIGN_CHAIN and there is no such chain */
	bool partial;	    /* there are more rules than are read */
	size_t left_out;    /* chains that want a rule beyond FOREIGN_RULES_MAX */
	size_t refused_count;
	struct foreign_refusal refused[FOREIGN_REFUSED_MAX];
	int error; /* of the last refresh, -errno */
	int64_t failed_since_ms;
};

/**
 * Begin to watch. Nothing is read or changed before foreign_refresh().
 * Owns: caller frees by foreign_close(). Errors: -errno, logged; -EPROTONOSUPPORT where
 * the kernel has no nf_tables, not logged.
 */
int foreign_open(const struct foreign_config *config, struct foreign **out)
	__attribute__((warn_unused_result));
/** Take our rules out of chains of others, unless keep. Safe on NULL. */
void foreign_close(struct foreign *foreign, bool keep);
/** Another configuration, by a reload; foreign_refresh() makes it so. */
void foreign_set_config(struct foreign *foreign, const struct foreign_config *config);
int foreign_get_fd(const struct foreign *foreign);
/** Drain notifications: true when others changed theirs, so that a refresh is due. */
bool foreign_drain(struct foreign *foreign);
/** Hear nothing of them for a while: somebody else tells if they change anything. */
void foreign_set_quiet(struct foreign *foreign, bool on);
/**
 * Read the ruleset and put our rules where they belong: one, first in its chain, no
 * other. Errors: -errno, logged once for each kind in a row.
 */
int foreign_refresh(struct foreign *foreign, const struct backend_network *network,
		    int64_t now_ms);
/** True when a rule of others may translate that port at the WAN. */
bool foreign_has_port(const struct foreign *foreign, uint8_t protocol, uint16_t port);
const struct foreign_figures *foreign_get_figures(const struct foreign *foreign);

#endif
