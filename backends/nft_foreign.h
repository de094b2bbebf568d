/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_NFT_FOREIGN_H
#define BACKENDS_NFT_FOREIGN_H

/* One rule in a chain of somebody else's, as the kernel is asked for it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/ruleset.h"

struct nft_socket;

/** A chain of others. */
struct nft_place {
	char family[8];
	char table[RULESET_NAME_MAX];
	char chain[RULESET_NAME_MAX];
	bool xtables; /* iptables looks after it, and knows no rules but its own */
};

bool nft_place_equal(const struct nft_place *a, const struct nft_place *b);

/**
 * A rule that is ours by comment and by content: it accepts connections with a mark,
 * and does nothing else.
 */
struct nft_accept {
	uint64_t handle;
	uint32_t mark;
	bool first; /* of its chain */
	/** By this program, as user data or a comment of iptables say; else by hand. */
	bool made;
};

/** Rules of ours in one chain that are looked at; more of them wait for the next time.
 */
#define NFT_ACCEPTS_MAX 16

/** The generation of all tables, which grows by one with each change of any.
 * Errors: -errno. */
int nft_foreign_get_generation(struct nft_socket *nft, uint32_t *generation)
	__attribute__((warn_unused_result));

/**
 * Rules of ours in a chain, in their order. None where there is no such chain. Of a
 * chain that somebody changes meanwhile, what was seen of it. Errors: -errno.
 */
int nft_foreign_find(struct nft_socket *nft, const struct nft_place *place,
		     struct nft_accept found[NFT_ACCEPTS_MAX], size_t *count)
	__attribute__((warn_unused_result));

/** Take one rule out, or put one in before all others. */
struct nft_foreign_change {
	const struct nft_place *place; /* borrowed */
	uint64_t handle;	       /* 0 = put in */
};
/** Of one transaction. */
#define NFT_FOREIGN_CHANGES_MAX 64

/**
 * Make all changes or none, if nobody has changed anything since that generation;
 * generation 0: whatever they did.
 * Errors: -ERESTART: somebody has; -errno.
 */
int nft_foreign_commit(struct nft_socket *nft, uint32_t generation, uint32_t mark,
		       const struct nft_foreign_change *changes, size_t count)
	__attribute__((warn_unused_result));

#endif
