/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE 65536
/* Tries while others change what is being read. */
#define READ_TRIES 3

struct reader {
	struct mnl_socket *mnl;
	struct ruleset *ruleset;
	uint8_t *buffer;
	uint32_t seq;
	/* Of the dump at hand. */
	uint32_t set;
	uint32_t generation; /* of the last that was asked for */
	bool interrupted;
	int error;
};

static void close_socket(struct reader *reader)
{
	netlink_close(reader->mnl);
	reader->mnl = NULL;
}

static int open_socket(struct reader *reader)
{
	reader->mnl = netlink_open(NETLINK_NETFILTER, 0);
	return reader->mnl ? 0 : -errno;
}

static struct nlmsghdr *start(struct reader *reader, uint16_t type, uint16_t flags,
			      uint8_t family)
{
	struct nlmsghdr *header = netlink_put_netfilter(
		reader->buffer, NFNL_SUBSYS_NFTABLES, type, flags, family);

	header->nlmsg_seq = ++reader->seq;
	return header;
}

static int on_message(const struct nlmsghdr *message, void *user)
{
	struct reader *reader = user;

	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		reader->interrupted = true;
	if (message->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN)) {
		struct netlink_attrs attrs;

		netlink_attrs_read(&attrs, message, sizeof(struct nfgenmsg));
		reader->generation = ruleset_attrs_get_number(&attrs, NFTA_GEN_ID);
		/* It is one answer, and no acknowledgement follows. */
		return MNL_CB_STOP;
	}
	reader->error = ruleset_parse_message(reader->ruleset, message, reader->set);
	return reader->error < 0 ? MNL_CB_STOP : MNL_CB_OK;
}

static int receive(struct reader *reader)
{
	ssize_t got;

	do
		got = mnl_socket_recvfrom(reader->mnl, reader->buffer, BUFFER_SIZE);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	got = mnl_cb_run(reader->buffer, (size_t)got, reader->seq,
			 mnl_socket_get_portid(reader->mnl), on_message, reader);
	return got < 0 ? -errno : (int)got;
}

/*
 * Send a request and take in the answer. A dump of which no more is wanted is broken
 * off, with its socket: it might be long.
 */
static int ask(struct reader *reader, const struct nlmsghdr *request)
{
	int result;
	int error;

	reader->interrupted = false;
	reader->error = 0;
	if (mnl_socket_sendto(reader->mnl, request, request->nlmsg_len) < 0)
		return -errno;
	do
		result = receive(reader);
	while (result == MNL_CB_OK);
	if (result == MNL_CB_STOP && reader->error == 0)
		return reader->interrupted ? -EINTR : 0;
	if (reader->error < 0)
		result = reader->error;
	close_socket(reader);
	error = open_socket(reader);
	return error < 0 ? error : result;
}

static int dump(struct reader *reader, uint16_t type)
{
	reader->set = RULESET_NONE;
	return ask(reader, start(reader, type, NLM_F_DUMP, NFPROTO_UNSPEC));
}

static int ask_generation(struct reader *reader, uint32_t *generation)
{
	int error = ask(reader, start(reader, NFT_MSG_GETGEN, 0, NFPROTO_UNSPEC));

	*generation = reader->generation;
	return error;
}

/* A set that is too large, or that makes no sense, stays unknown. */
static int read_elements(struct reader *reader, uint32_t index)
{
	struct ruleset *ruleset = reader->ruleset;
	struct ruleset_set *set = ruleset_get_set(ruleset, index);
	const struct ruleset_table *table = ruleset_get_table(ruleset, set->table);
	struct nlmsghdr *request =
		start(reader, NFT_MSG_GETSETELEM, NLM_F_DUMP, table->family);
	int error;

	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE,
			  ruleset_get_name(ruleset, table->name));
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET,
			  ruleset_get_name(ruleset, set->name));
	reader->set = index;
	set->first_element = (uint32_t)ruleset->elements.count;
	error = ask(reader, request);
	if (error == 0)
		error = ruleset_close_set(ruleset, index);
	set->known = error == 0;
	if (error == -E2BIG || error == -EINVAL) {
		ruleset->elements.count = set->first_element;
		set->element_count = 0;
		return 0;
	}
	return error;
}

static int read_all_elements(struct reader *reader)
{
	const struct ruleset *ruleset = reader->ruleset;
	int error = 0;

	for (uint32_t i = 0; i < ruleset->sets.count && error == 0; i++)
		if (ruleset_get_set(ruleset, i)->wanted)
			error = read_elements(reader, i);
	return error;
}

/* In this order: each names what came before it. */
static int read_parts(struct reader *reader)
{
	int error = dump(reader, NFT_MSG_GETTABLE);

	if (error == 0)
		error = dump(reader, NFT_MSG_GETCHAIN);
	if (error < 0)
		return error;
	ruleset_sort_chains(reader->ruleset);
	error = dump(reader, NFT_MSG_GETSET);
	if (error < 0)
		return error;
	ruleset_sort_sets(reader->ruleset);
	error = dump(reader, NFT_MSG_GETRULE);
	if (error < 0)
		return error;
	ruleset_sort_rules(reader->ruleset);
	return read_all_elements(reader);
}

/* -EINTR, -ENOENT: somebody changed something meanwhile. */
static int try_read(struct reader *reader)
{
	uint32_t before;
	uint32_t after;
	int error;

	ruleset_free(reader->ruleset);
	reader->ruleset = ruleset_new();
	if (!reader->ruleset)
		return -ENOMEM;
	reader->ruleset->links = if_nameindex();
	error = ask_generation(reader, &before);
	/* Where there is no nf_tables, nobody knows such a message. */
	if (error < 0)
		return error == -EINVAL ? -EPROTONOSUPPORT : error;
	error = read_parts(reader);
	if (error < 0)
		return error == -ENOENT ? -EINTR : error;
	error = ask_generation(reader, &after);
	if (error < 0)
		return error;
	return before == after ? 0 : -EINTR;
}

int ruleset_read(struct ruleset **out)
{
	struct reader reader = {.buffer = malloc(BUFFER_SIZE)};
	int error = reader.buffer ? open_socket(&reader) : -ENOMEM;

	if (error == 0)
		error = -EINTR;
	for (unsigned int i = 0; i < READ_TRIES && error == -EINTR; i++)
		error = try_read(&reader);
	close_socket(&reader);
	free(reader.buffer);
	if (error < 0)
		ruleset_free(reader.ruleset);
	else
		*out = reader.ruleset;
	return error;
}
