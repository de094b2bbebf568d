/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>
#include <stdlib.h>

/* One walk over two sorted lists, into as many transactions as it takes. */
struct walk {
	struct nft_socket *nft;
	struct nft_batch *batch;
	struct nft_elements *wanted;
	struct nft_elements *there;
	struct nft_difference *difference;
	uint8_t *kept; /* for each element there: somebody wants it */
	/* Elements that accompany mappings: they count where no mapping does. */
	size_t others_added;
	size_t others_removed;
};

static bool is_mapping(enum nft_set set)
{
	return (set >= NFT_DNAT4 && set <= NFT_DNAT4_FROM) ||
	       (set >= NFT_PINHOLE6 && set <= NFT_PINHOLE6_FROM);
}

static int send_when_long(struct walk *walk, size_t octets)
{
	int error;

	if (walk->batch->used < octets)
		return 0;
	error = nft_batch_send(walk->batch, walk->nft);
	nft_batch_begin(walk->batch, walk->nft);
	return error;
}

static int remove_strays(struct walk *walk)
{
	for (size_t i = 0; i < walk->there->count; i++) {
		const struct nft_element *element = &walk->there->items[i];
		int error;

		if (walk->kept[i])
			continue;
		if (is_mapping(element->set))
			walk->difference->removed++;
		else if (nft_set_get_shape(element->set)->timeout)
			walk->others_removed++;
		else if (element->set != NFT_NARROW4)
			walk->difference->network++;
		nft_batch_element(walk->batch, walk->nft, NFT_OP_REMOVE, element);
		error = send_when_long(walk, NFT_CHUNK_OCTETS);
		if (error < 0)
			return error;
	}
	return 0;
}

static bool timeout_differs(const struct nft_element *a, const struct nft_element *b)
{
	uint64_t more = a->timeout_ms > b->timeout_ms ? a->timeout_ms : b->timeout_ms;
	uint64_t less = a->timeout_ms > b->timeout_ms ? b->timeout_ms : a->timeout_ms;

	/* "For ever" is 0 and differs from any time left, however little that is. */
	return (less == 0 && more > 0) || more - less > NFT_TIMEOUT_SLACK_MS;
}

static void put(struct walk *walk, const struct nft_element *element,
		const struct nft_element *there)
{
	if (there && nft_element_equal(there, element) && there->timeout_ms > 0) {
		nft_batch_element(walk->batch, walk->nft, NFT_OP_UPDATE, element);
		return;
	}
	if (there)
		nft_batch_element(walk->batch, walk->nft, NFT_OP_REMOVE, there);
	nft_batch_element(walk->batch, walk->nft, NFT_OP_PUT, element);
}

static int add_missing(struct walk *walk)
{
	for (size_t i = 0; i < walk->wanted->count; i++) {
		const struct nft_element *element = &walk->wanted->items[i];
		const struct nft_element *there =
			nft_elements_find(walk->there, element);
		bool same = there && nft_element_equal(there, element);
		int error;

		if (same && !timeout_differs(there, element))
			continue;
		if (i > 0 && nft_element_same_key(element, element - 1))
			continue;
		if (!same && is_mapping(element->set))
			walk->difference->added++;
		else if (!same && nft_set_get_shape(element->set)->timeout)
			walk->others_added++;
		else if (!same)
			walk->difference->network++;
		put(walk, element, there);
		error = send_when_long(walk, NFT_CHUNK_OCTETS);
		if (error < 0)
			return error;
	}
	return 0;
}

int nft_difference_apply(struct nft_socket *nft, struct nft_batch *batch,
			 struct nft_elements *wanted, struct nft_elements *there,
			 struct nft_difference *difference)
{
	struct walk walk = {.nft = nft,
			    .batch = batch,
			    .wanted = wanted,
			    .there = there,
			    .difference = difference};
	int error;

	*difference = (struct nft_difference){0};
	nft_elements_sort(wanted);
	nft_elements_sort(there);
	walk.kept = calloc(there->count + 1, 1);
	if (!walk.kept)
		return -ENOMEM;
	for (size_t i = 0; i < wanted->count; i++) {
		const struct nft_element *found =
			nft_elements_find(there, &wanted->items[i]);

		if (found)
			walk.kept[found - there->items] = 1;
	}
	nft_batch_begin(batch, nft);
	error = remove_strays(&walk);
	if (error == 0)
		error = add_missing(&walk);
	if (error == 0)
		error = nft_batch_send(batch, nft);
	free(walk.kept);
	if (difference->added + difference->removed == 0) {
		difference->added = walk.others_added > 0;
		difference->removed = walk.others_added == 0 && walk.others_removed > 0;
	}
	return error;
}
