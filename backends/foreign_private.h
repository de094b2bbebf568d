/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_FOREIGN_PRIVATE_H
#define BACKENDS_FOREIGN_PRIVATE_H

/* What the files of foreign share; nobody else includes it. */

#include "backends/foreign.h"
#include "backends/nft.h"
#include "backends/nft_foreign.h"

/** Chains of others that are looked at. */
#define FOREIGN_CHAINS_MAX 64
/** Packets that stand for all of leases: each LAN, IPv4 and IPv6, TCP and UDP. */
#define FOREIGN_SAMPLES_MAX ((size_t)BACKEND_LANS_MAX * 4)
#define FOREIGN_PORT_COUNT 65536

struct foreign {
	struct foreign_config config;
	struct nft_socket socket;
	struct nft_watch watch;
	struct foreign_figures figures;
	/* Chains that have had a rule of ours in this run. */
	size_t known_count;
	struct nft_place known[FOREIGN_RULES_MAX];
	int last_error;	     /* told of last */
	bool missing_told;   /* that there is no such chain */
	bool settled;	     /* what another run left was looked for */
	bool samples_ground; /* of a WAN and a LAN, not only to find chains by */
	size_t sample_count;
	struct packet samples[FOREIGN_SAMPLES_MAX];
	uint8_t taken[2][FOREIGN_PORT_COUNT / 8]; /* TCP, UDP */
};

/** A chain of others, and what becomes of our rule there. */
struct foreign_chain {
	struct nft_place place;
	bool keeps_out; /* leased traffic, but for a rule of ours, whoever sends it */
	bool blocked;	/* it drops that although it has one */
	bool helpless;	/* there is no mark yet */
	bool owned;	/* nobody but its owner puts rules there */
	bool is_base;
	bool named; /* by the configuration */
	bool holds; /* afterwards it has a rule of ours */
	int error;  /* why it has none although it ought to */
	size_t first_change;
	size_t change_count;
	bool added;
	bool moved; /* it had one, in a place that was no good or for another mark */
};

/** What a refresh has found and is about to do. */
struct foreign_plan {
	size_t chain_count;
	struct foreign_chain chains[FOREIGN_CHAINS_MAX];
	size_t change_count;
	struct nft_foreign_change changes[NFT_FOREIGN_CHANGES_MAX];
	size_t made;	 /* changes */
	size_t left_out; /* chains that ought to have a rule, beyond the bound */
};

/** Chains that hold a rule of ours, or may want one, and what they do. */
void foreign_plan_add_chains(struct foreign_plan *plan, struct foreign *foreign,
			     const struct ruleset *ruleset);
/** What to take out and to put in there. Errors: -errno. */
int foreign_plan_decide(struct foreign_plan *plan, struct foreign *foreign)
	__attribute__((warn_unused_result));
/**
 * Change all at once; or, where that is refused, chain by chain, each of which then has
 * its error. generation: as nft_foreign_commit(). Errors: -ERESTART, -ENOMEM.
 */
int foreign_plan_commit(struct foreign_plan *plan, struct foreign *foreign,
			uint32_t generation) __attribute__((warn_unused_result));
/** True when that chain has had a rule of ours in this run. */
bool foreign_is_known(const struct foreign *foreign, const struct nft_place *place);

#endif
