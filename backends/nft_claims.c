/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/array.h"

/*
 * The kernel refuses an interval that begins or ends inside another one, not one around
 * it, nor one that crosses it, and knows nothing of its other sets. So this compares
 * with all that the same external port (IPv6: endpoint) admits: as many as there are
 * filtered rules for that port, however many others there are.
 */
#define START_SIZE 4

/* Longest target: protocol . IPv6 address . port. */
#define TARGET_MAX 24

struct claimed {
	struct nft_box box;
	int64_t expires_ms;
};

struct nft_claim {
	uint8_t target[TARGET_MAX]; /* those of IPv4 are shorter, and zero behind it */
	size_t count;
	size_t size;
	struct claimed *items;
	UT_hash_handle hh;
};

struct nft_claim_change {
	uint8_t target[TARGET_MAX];
	struct claimed claimed;
	bool added;
};

static bool is_claim(enum nft_set set)
{
	return set == NFT_DNAT4_PEER || set == NFT_DNAT4_FROM ||
	       set == NFT_PINHOLE6_PEER || set == NFT_PINHOLE6_FROM;
}

static struct nft_claim *find(const struct nft_claims *claims, const uint8_t *target)
{
	struct nft_claim *claim;

	HASH_FIND(hh, claims->targets, target, TARGET_MAX, claim);
	return claim;
}

static struct nft_claim *make(struct nft_claims *claims, const uint8_t *target)
{
	struct nft_claim *claim = find(claims, target);

	if (claim)
		return claim;
	claim = calloc(1, sizeof(*claim));
	if (!claim)
		return NULL;
	memcpy(claim->target, target, TARGET_MAX);
	HASH_ADD(hh, claims->targets, target, TARGET_MAX, claim);
	return claim;
}

static void drop(struct nft_claims *claims, struct nft_claim *claim)
{
	if (!claims->targets)
		return;
	HASH_DEL(claims->targets, claim);
	free(claim->items);
	free(claim);
}

static bool same_box(const struct nft_box *a, const struct nft_box *b)
{
	return a->first_port == b->first_port && a->last_port == b->last_port &&
	       a->prefix.length == b->prefix.length &&
	       addr_equal(&a->prefix.addr, &b->prefix.addr);
}

/* Room for one change and one box more, before either is made. */
static bool reserve(struct nft_claims *claims, struct nft_claim *claim)
{
	struct nft_claim_change *changes =
		array_reserve(claims->changes, claims->change_count,
			      &claims->change_size, sizeof(*changes), START_SIZE);
	struct claimed *items;

	if (!changes)
		return false;
	claims->changes = changes;
	items = array_reserve(claim->items, claim->count, &claim->size, sizeof(*items),
			      START_SIZE);
	if (!items)
		return false;
	claim->items = items;
	return true;
}

static void note(struct nft_claims *claims, const struct nft_claim *claim,
		 const struct claimed *claimed, bool added)
{
	struct nft_claim_change *change = &claims->changes[claims->change_count++];

	*change = (struct nft_claim_change){.claimed = *claimed, .added = added};
	memcpy(change->target, claim->target, TARGET_MAX);
}

/* Takes away what has timed out, which the kernel has done already. */
static bool is_taken(struct nft_claim *claim, const struct nft_box *box, int64_t now_ms)
{
	for (size_t i = 0; i < claim->count;) {
		struct claimed *other = &claim->items[i];

		if (other->expires_ms <= now_ms)
			*other = claim->items[--claim->count];
		else if (nft_box_overlaps(&other->box, box))
			return true;
		else
			i++;
	}
	return false;
}

static void fill_target(const struct nft_element *element, uint8_t *target)
{
	memset(target, 0, TARGET_MAX);
	memcpy(target, element->key, nft_set_get_shape(element->set)->target_length);
}

int nft_claims_add(struct nft_claims *claims, const struct nft_element *element,
		   int64_t now_ms)
{
	uint8_t target[TARGET_MAX];
	struct claimed claimed = {.expires_ms = INT64_MAX};
	struct nft_claim *claim;

	if (!is_claim(element->set) || !nft_element_get_box(element, &claimed.box))
		return 0;
	fill_target(element, target);
	if (element->timeout_ms > 0 && element->timeout_ms < INT64_MAX / 2)
		claimed.expires_ms = now_ms + (int64_t)element->timeout_ms;
	claim = make(claims, target);
	if (!claim || !reserve(claims, claim))
		return -ENOMEM;
	if (is_taken(claim, &claimed.box, now_ms))
		return -EEXIST;
	claim->items[claim->count++] = claimed;
	note(claims, claim, &claimed, true);
	return 0;
}

static bool take_out(struct nft_claim *claim, const struct nft_box *box,
		     struct claimed *out)
{
	for (size_t i = 0; i < claim->count; i++)
		if (same_box(&claim->items[i].box, box)) {
			*out = claim->items[i];
			claim->items[i] = claim->items[--claim->count];
			return true;
		}
	return false;
}

int nft_claims_remove(struct nft_claims *claims, const struct nft_element *element)
{
	uint8_t target[TARGET_MAX];
	struct claimed claimed;
	struct nft_claim *claim;
	struct nft_box box;

	if (!is_claim(element->set) || !nft_element_get_box(element, &box))
		return 0;
	fill_target(element, target);
	claim = find(claims, target);
	if (!claim)
		return 0;
	if (!reserve(claims, claim))
		return -ENOMEM;
	if (take_out(claim, &box, &claimed))
		note(claims, claim, &claimed, false);
	return 0;
}

/* Targets that changes have left without a claim go only now: an undo needs them. */
void nft_claims_commit(struct nft_claims *claims)
{
	for (size_t i = 0; i < claims->change_count; i++) {
		struct nft_claim *claim = find(claims, claims->changes[i].target);

		if (claim && claim->count == 0)
			drop(claims, claim);
	}
	claims->change_count = 0;
}

/* Backwards; there is room, since lists do not shrink. */
void nft_claims_undo(struct nft_claims *claims)
{
	for (size_t i = claims->change_count; i > 0; i--) {
		const struct nft_claim_change *change = &claims->changes[i - 1];
		struct nft_claim *claim = find(claims, change->target);
		struct claimed claimed;

		if (claim && change->added)
			(void)take_out(claim, &change->claimed.box, &claimed);
		else if (claim && claim->count < claim->size)
			claim->items[claim->count++] = change->claimed;
	}
	nft_claims_commit(claims);
}

void nft_claims_fini(struct nft_claims *claims)
{
	struct nft_claim *claim = claims->targets;

	HASH_CLEAR(hh, claims->targets);
	while (claim) {
		struct nft_claim *next = claim->hh.next;

		free(claim->items);
		free(claim);
		claim = next;
	}
	free(claims->changes);
	*claims = (struct nft_claims){0};
}
