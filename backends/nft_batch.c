/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

/* "Delete if it is there"; in kernel headers since Linux 6.3. */
#define DESTROY_SET_ELEMENT 30
/* Room that one element, or a message without elements, takes at most. */
#define PIECE_MAX 512
/* A list of elements is one attribute, whose length has 16 bits. */
#define LIST_MAX 60000
#define START_OCTETS 65536

static bool make_room(struct nft_batch *batch)
{
	size_t size = batch->size > 0 ? batch->size * 2 : START_OCTETS;
	uint8_t *bytes;

	if (batch->failed || batch->size - batch->used >= PIECE_MAX)
		return !batch->failed;
	bytes = realloc(batch->bytes, size);
	if (!bytes) {
		batch->failed = true;
		return false;
	}
	batch->bytes = bytes;
	batch->size = size;
	return true;
}

static struct nlmsghdr *at_offset(const struct nft_batch *batch, size_t offset)
{
	return (void *)(batch->bytes + offset);
}

/* Lengths of the open message and its list are known only now. */
static void close_message(struct nft_batch *batch)
{
	if (batch->message == 0)
		return;
	if (batch->list > 0) {
		struct nlattr *list = (void *)(batch->bytes + batch->list);

		list->nla_len = (uint16_t)(batch->used - batch->list);
	}
	at_offset(batch, batch->message)->nlmsg_len =
		(uint32_t)(batch->used - batch->message);
	batch->message = 0;
	batch->list = 0;
}

static struct nlmsghdr *open_message(struct nft_batch *batch, uint16_t type,
				     uint16_t flags)
{
	struct nlmsghdr *header;

	close_message(batch);
	header = nftnl_nlmsg_build_hdr((char *)batch->bytes + batch->used, type,
				       NFPROTO_INET, flags, batch->seq++);
	batch->message = batch->used;
	batch->last = batch->used;
	batch->used += header->nlmsg_len;
	return header;
}

/* mnl writes behind the message's end; the message then ends where the batch does. */
static struct nlmsghdr *resume(const struct nft_batch *batch)
{
	struct nlmsghdr *header = at_offset(batch, batch->message);

	header->nlmsg_len = (uint32_t)(batch->used - batch->message);
	return header;
}

static void suspend(struct nft_batch *batch)
{
	batch->used = batch->message + at_offset(batch, batch->message)->nlmsg_len;
}

void nft_batch_begin(struct nft_batch *batch, struct nft_socket *nft)
{
	struct nlmsghdr *header;

	batch->used = 0;
	batch->message = 0;
	batch->list = 0;
	batch->last = 0;
	batch->narrow = 0;
	batch->changes = false;
	batch->failed = false;
	batch->seq = nft->seq;
	if (!make_room(batch))
		return;
	header = nftnl_batch_begin((char *)batch->bytes, batch->seq++);
	if (nft->generation != 0)
		mnl_attr_put_u32(header, NFNL_BATCH_GENID, htonl(nft->generation));
	batch->used = header->nlmsg_len;
}

static void open_list(struct nft_batch *batch, enum nft_set set, uint16_t type,
		      uint16_t flags)
{
	struct nlmsghdr *header;

	if (batch->message > 0 && batch->list > 0 && batch->set == set &&
	    batch->type == type && batch->flags == flags &&
	    batch->used - batch->list < LIST_MAX)
		return;
	header = open_message(batch, type, flags);
	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, nft_set_get_shape(set)->name);
	suspend(batch);
	batch->list = batch->used;
	mnl_attr_nest_start(header, NFTA_SET_ELEM_LIST_ELEMENTS);
	suspend(batch);
	batch->set = set;
	batch->type = type;
	batch->flags = flags;
}

static void put_value(struct nlmsghdr *header, uint16_t type, const uint8_t *octets,
		      size_t length)
{
	struct nlattr *nest = mnl_attr_nest_start(header, type);

	mnl_attr_put(header, NFTA_DATA_VALUE, length, octets);
	mnl_attr_nest_end(header, nest);
}

static void put_element(struct nft_batch *batch, const struct nft_element *element,
			bool key_only)
{
	const struct nft_set_shape *shape = nft_set_get_shape(element->set);
	struct nlmsghdr *header = resume(batch);
	struct nlattr *nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM);

	put_value(header, NFTA_SET_ELEM_KEY, element->key, shape->key_length);
	if (shape->interval)
		put_value(header, NFTA_SET_ELEM_KEY_END, element->key_end,
			  shape->key_length);
	if (!key_only) {
		if (shape->data_length > 0)
			put_value(header, NFTA_SET_ELEM_DATA, element->data,
				  shape->data_length);
		if (shape->timeout && element->timeout_ms > 0)
			mnl_attr_put_u64(header, NFTA_SET_ELEM_TIMEOUT,
					 htobe64(element->timeout_ms));
	}
	mnl_attr_nest_end(header, nest);
	suspend(batch);
}

static void add(struct nft_batch *batch, const struct nft_element *element,
		uint16_t flags)
{
	if (!make_room(batch))
		return;
	open_list(batch, element->set, NFT_MSG_NEWSETELEM, flags);
	put_element(batch, element, false);
}

static void delete (struct nft_batch *batch, const struct nft_element *element,
		    bool destroys)
{
	/* An old kernel fails the batch when the element is gone: put it there first.
	 */
	if (!destroys) {
		batch->changes = true;
		add(batch, element, NLM_F_CREATE);
	}
	if (!make_room(batch))
		return;
	open_list(batch, element->set,
		  destroys ? DESTROY_SET_ELEMENT : NFT_MSG_DELSETELEM, 0);
	put_element(batch, element, true);
}

void nft_batch_element(struct nft_batch *batch, const struct nft_socket *nft,
		       enum nft_operation operation, const struct nft_element *element)
{
	if (operation != NFT_OP_REMOVE && nft_element_is_narrow(element))
		batch->narrow |= 1U << element->key[0];
	switch (operation) {
	case NFT_OP_ADD:
		batch->changes = true;
		add(batch, element, NLM_F_CREATE | NLM_F_EXCL);
		break;
	case NFT_OP_PUT:
		add(batch, element, NLM_F_CREATE);
		break;
	case NFT_OP_UPDATE:
		/* In one transaction no packet sees the element gone. */
		if (!nft->updates || element->timeout_ms == 0)
			delete (batch, element, nft->destroys);
		add(batch, element, NLM_F_CREATE);
		break;
	case NFT_OP_REMOVE:
		delete (batch, element, nft->destroys);
		break;
	}
}

void nft_batch_flush(struct nft_batch *batch, enum nft_set set)
{
	struct nlmsghdr *header;

	if (!make_room(batch))
		return;
	header = open_message(batch, NFT_MSG_DELSETELEM, 0);
	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, nft_set_get_shape(set)->name);
	suspend(batch);
}

void nft_batch_drop_table(struct nft_batch *batch)
{
	struct nlmsghdr *header;

	if (!make_room(batch))
		return;
	batch->changes = true;
	header = open_message(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	mnl_attr_put_strz(header, NFTA_TABLE_NAME, NFT_TABLE);
	suspend(batch);
	header = open_message(batch, NFT_MSG_DELTABLE, 0);
	mnl_attr_put_strz(header, NFTA_TABLE_NAME, NFT_TABLE);
	suspend(batch);
}

static void put_fingerprint(struct nft_batch *batch, uint16_t type, uint16_t flags,
			    uint32_t fingerprint)
{
	struct nlmsghdr *header;
	struct nlattr *list;
	struct nlattr *nest;

	if (!make_room(batch))
		return;
	header = open_message(batch, type, flags);
	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, "fingerprint");
	list = mnl_attr_nest_start(header, NFTA_SET_ELEM_LIST_ELEMENTS);
	nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
	put_value(header, NFTA_SET_ELEM_KEY, (const uint8_t *)&fingerprint,
		  sizeof(fingerprint));
	mnl_attr_nest_end(header, nest);
	mnl_attr_nest_end(header, list);
	suspend(batch);
}

void nft_batch_fingerprint(struct nft_batch *batch, uint32_t fingerprint)
{
	put_fingerprint(batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, fingerprint);
}

/*
 * What removes only what is gone already is no change, and the generation stays: one
 * that has grown then was somebody else's. So that it is always ours, something comes
 * and goes. (Should it be the fingerprint itself, the next start makes the table anew.)
 */
static void change_for_certain(struct nft_batch *batch)
{
	if (batch->changes)
		return;
	put_fingerprint(batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, 0);
	put_fingerprint(batch, NFT_MSG_DELSETELEM, 0, 0);
	batch->changes = true;
}

void nft_batch_finish(struct nft_batch *batch)
{
	close_message(batch);
	batch->used += nftnl_batch_end((char *)batch->bytes + batch->used, batch->seq++)
			       ->nlmsg_len;
}

/* The kernel makes the transaction whatever the generation is. */
static void drop_demand(struct nft_batch *batch, struct nft_socket *nft)
{
	struct nlmsghdr *header = at_offset(batch, 0);
	struct nlattr *attribute = mnl_nlmsg_get_payload_offset(
		header, NLMSG_ALIGN(sizeof(struct nfgenmsg)));

	memset(mnl_attr_get_payload(attribute), 0, sizeof(uint32_t));
	nft->generation = 0;
	nft->overtaken = true;
}

static void put_narrow(struct nft_batch *batch)
{
	for (uint8_t protocol = 0; batch->narrow >> protocol != 0; protocol++) {
		struct nft_element element = nft_element_get_narrow(protocol);

		if (batch->narrow >> protocol & 1U)
			add(batch, &element, NLM_F_CREATE);
	}
}

int nft_batch_send(struct nft_batch *batch, struct nft_socket *nft)
{
	struct nlmsghdr *last;
	int error;

	put_narrow(batch);
	if (batch->last == 0 && !batch->failed)
		return 0;
	if (nft->generation != 0)
		change_for_certain(batch);
	if (batch->failed)
		return -ENOMEM;
	nft_batch_finish(batch);
	nft->seq = batch->seq;
	last = at_offset(batch, batch->last);
	last->nlmsg_flags |= NLM_F_ACK;
	error = nft_socket_send(nft, batch->bytes, batch->used, last->nlmsg_seq);
	if (error == -ERESTART && nft->generation != 0) {
		drop_demand(batch, nft);
		error = nft_socket_send(nft, batch->bytes, batch->used,
					last->nlmsg_seq);
	}
	/* It has grown by one, and is never 0. */
	if (error == 0 && nft->generation != 0)
		nft->generation = nft->generation + 1 != 0 ? nft->generation + 1 : 1;
	return error;
}

void nft_batch_fini(struct nft_batch *batch)
{
	free(batch->bytes);
	*batch = (struct nft_batch){0};
}
