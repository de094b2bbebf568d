/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/set.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/sorted.h"

#define START_ELEMENTS 64

int nft_elements_append(struct nft_elements *elements,
			const struct nft_element *element)
{
	struct nft_element *items =
		array_reserve(elements->items, elements->count, &elements->size,
			      sizeof(*items), START_ELEMENTS);

	if (!items)
		return -ENOMEM;
	elements->items = items;
	elements->items[elements->count++] = *element;
	return 0;
}

int nft_elements_append_narrow(struct nft_elements *elements)
{
	size_t count = elements->count;
	bool found[UINT8_MAX + 1] = {false};
	int error = 0;

	for (size_t i = 0; i < count; i++)
		if (nft_element_is_narrow(&elements->items[i]))
			found[elements->items[i].key[0]] = true;
	for (unsigned int protocol = 0; protocol <= UINT8_MAX && error == 0;
	     protocol++) {
		struct nft_element narrow = nft_element_get_narrow((uint8_t)protocol);

		if (found[protocol])
			error = nft_elements_append(elements, &narrow);
	}
	return error;
}

void nft_elements_fini(struct nft_elements *elements)
{
	free(elements->items);
	*elements = (struct nft_elements){0};
}

static int compare_keys(const void *a, const void *b)
{
	const struct nft_element *left = a;
	const struct nft_element *right = b;
	int order;

	if (left->set != right->set)
		return left->set < right->set ? -1 : 1;
	order = memcmp(left->key, right->key, NFT_KEY_MAX);
	return order ? order : memcmp(left->key_end, right->key_end, NFT_KEY_MAX);
}

void nft_elements_sort(struct nft_elements *elements)
{
	if (elements->count > 0)
		qsort(elements->items, elements->count, sizeof(*elements->items),
		      compare_keys);
}

struct nft_element *nft_elements_find(const struct nft_elements *elements,
				      const struct nft_element *wanted)
{
	if (elements->count == 0)
		return NULL;
	return bsearch(wanted, elements->items, elements->count,
		       sizeof(*elements->items), compare_keys);
}

static int compare_targets(const void *a, const void *b)
{
	return nft_element_compare_target(a, b);
}

/* `wanted` has the lowest key of its target. */
const struct nft_element *nft_elements_find_target(const struct nft_elements *elements,
						   enum nft_set set,
						   const struct nft_element *wanted,
						   size_t *count)
{
	struct nft_element target = *wanted;
	size_t first;
	size_t end;

	target.set = set;
	first = sorted_find_first(elements->items, elements->count,
				  sizeof(*elements->items), &target, compare_targets);
	end = first;
	while (end < elements->count &&
	       nft_element_compare_target(&elements->items[end], &target) == 0)
		end++;
	*count = end - first;
	return *count > 0 ? &elements->items[first] : NULL;
}

struct collector {
	struct nft_elements *elements;
	enum nft_set set;
	int error;
};

static int collect_element(struct nftnl_set_elem *from, void *user)
{
	struct collector *collector = user;
	struct nft_element element;

	if (collector->error == 0 && nft_element_parse(collector->set, from, &element))
		collector->error = nft_elements_append(collector->elements, &element);
	return 0;
}

static int collect_message(const struct nlmsghdr *answer, void *user)
{
	struct collector *collector = user;
	struct nftnl_set *set = nftnl_set_alloc();

	if (!set)
		return -ENOMEM;
	if (nftnl_set_elems_nlmsg_parse(answer, set) < 0)
		collector->error = -EPROTO;
	else
		nftnl_set_elem_foreach(set, collect_element, collector);
	nftnl_set_free(set);
	return collector->error;
}

static struct nlmsghdr *start_request(struct nft_socket *nft, enum nft_set set,
				      uint16_t flags)
{
	struct nlmsghdr *request = nft_socket_start(nft, NFT_MSG_GETSETELEM, flags);

	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET,
			  nft_set_get_shape(set)->name);
	return request;
}

/*
 * The kernel dumps a hash in pieces and finds its place again by counting. When the
 * hash grew in between (it does so on its own, some time after elements were added),
 * the order has changed: some elements come twice, and as many do not come.
 */
static bool sort_and_check(const struct nft_elements *elements, size_t first)
{
	struct nft_element *items = elements->items;

	if (elements->count - first < 2)
		return true;
	qsort(items + first, elements->count - first, sizeof(*items), compare_keys);
	for (size_t i = first + 1; i < elements->count; i++)
		if (compare_keys(&items[i - 1], &items[i]) == 0)
			return false;
	return true;
}

int nft_elements_dump(struct nft_elements *elements, struct nft_socket *nft,
		      enum nft_set set)
{
	size_t before = elements->count;
	int error = -EINTR;

	for (unsigned int i = 0; i < NFT_DUMP_TRIES && error == -EINTR; i++) {
		struct collector collector = {.elements = elements, .set = set};

		elements->count = before;
		error = nft_socket_ask(nft, start_request(nft, set, NLM_F_DUMP),
				       collect_message, &collector);
		if (error == 0 && !sort_and_check(elements, before))
			error = -EINTR;
	}
	return error;
}

int nft_elements_dump_all(struct nft_elements *elements, struct nft_socket *nft,
			  enum nft_set first)
{
	int error = 0;

	for (unsigned int set = first; set < NFT_SET_COUNT && error == 0; set++)
		error = nft_elements_dump(elements, nft, (enum nft_set)set);
	return error;
}

int nft_elements_get(struct nft_socket *nft, struct nft_element *element)
{
	const struct nft_set_shape *shape = nft_set_get_shape(element->set);
	struct nft_elements found = {0};
	struct collector collector = {.elements = &found, .set = element->set};
	struct nlmsghdr *request = start_request(nft, element->set, 0);
	struct nlattr *list = mnl_attr_nest_start(request, NFTA_SET_ELEM_LIST_ELEMENTS);
	struct nlattr *nest = mnl_attr_nest_start(request, NFTA_LIST_ELEM);
	struct nlattr *value = mnl_attr_nest_start(request, NFTA_SET_ELEM_KEY);
	int error;

	mnl_attr_put(request, NFTA_DATA_VALUE, shape->key_length, element->key);
	mnl_attr_nest_end(request, value);
	if (shape->interval) {
		value = mnl_attr_nest_start(request, NFTA_SET_ELEM_KEY_END);
		mnl_attr_put(request, NFTA_DATA_VALUE, shape->key_length,
			     element->key_end);
		mnl_attr_nest_end(request, value);
	}
	mnl_attr_nest_end(request, nest);
	mnl_attr_nest_end(request, list);
	error = nft_socket_ask(nft, request, collect_message, &collector);
	if (error == 0 && found.count == 0)
		error = -ENOENT;
	if (error == 0)
		*element = found.items[0];
	nft_elements_fini(&found);
	return error;
}
