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
/* Passes over everything, while others change what is being read. */
#define READ_TRIES 2
/* Tries of one list, of one chain and of one set that others keep changing. */
#define LIST_TRIES 16
#define CHAIN_TRIES 4
#define SET_TRIES 3
/* FNV-1a over handles: tells whether a chain is the one that was read before. */
#define HASH_START 0xcbf29ce484222325U
#define HASH_PRIME 0x100000001b3U

struct reader {
	struct mnl_socket *mnl;
	struct ruleset *ruleset;
	uint8_t *buffer;
	uint32_t seq;
	/* Of the dump at hand. */
	uint32_t set;
	uint64_t hash;	     /* of the handles of its rules, in order */
	uint32_t generation; /* of the last that was asked for */
	bool interrupted;
	int error;
	bool busy; /* a dump of this pass was interrupted */
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

/* A rule keeps its handle as long as it is the same. */
static void note_rule(struct reader *reader, const struct nlmsghdr *message)
{
	struct netlink_attrs attrs;

	netlink_attrs_read(&attrs, message, sizeof(struct nfgenmsg));
	reader->hash ^= ruleset_attrs_get_long(&attrs, NFTA_RULE_HANDLE);
	reader->hash *= HASH_PRIME;
}

static int on_message(const struct nlmsghdr *message, void *user)
{
	struct reader *reader = user;

	if (message->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN)) {
		struct netlink_attrs attrs;

		netlink_attrs_read(&attrs, message, sizeof(struct nfgenmsg));
		reader->generation = ruleset_attrs_get_number(&attrs, NFTA_GEN_ID);
		/* It is one answer, and no acknowledgement follows. */
		return MNL_CB_STOP;
	}
	if (message->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE))
		note_rule(reader, message);
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
	if (netlink_clear_interruption(reader->buffer, (size_t)got))
		reader->interrupted = true;
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
	reader->busy = reader->busy || reader->interrupted;
	if (result == MNL_CB_STOP && reader->error == 0)
		return reader->interrupted ? -EINTR : 0;
	if (reader->error < 0)
		result = reader->error;
	close_socket(reader);
	error = open_socket(reader);
	return error < 0 ? error : result;
}

/* A list is short: to read it without an interruption takes a few tries at most. */
static int read_list(struct reader *reader, uint16_t type, struct ruleset_list *list)
{
	int error = -EINTR;

	reader->set = RULESET_NONE;
	for (unsigned int i = 0; i < LIST_TRIES && error == -EINTR; i++) {
		list->count = 0;
		error = ask(reader, start(reader, type, NLM_F_DUMP, NFPROTO_UNSPEC));
	}
	return error;
}

static int ask_generation(struct reader *reader, uint32_t *generation)
{
	int error = ask(reader, start(reader, NFT_MSG_GETGEN, 0, NFPROTO_UNSPEC));

	*generation = reader->generation;
	return error;
}

static int ask_elements(struct reader *reader, const struct ruleset_set *set)
{
	const struct ruleset *ruleset = reader->ruleset;
	struct nlmsghdr *request =
		start(reader, NFT_MSG_GETSETELEM, NLM_F_DUMP,
		      ruleset_get_table(ruleset, set->table)->family);

	mnl_attr_put_strz(
		request, NFTA_SET_ELEM_LIST_TABLE,
		ruleset_get_name(ruleset,
				 ruleset_get_table(ruleset, set->table)->name));
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET,
			  ruleset_get_name(ruleset, set->name));
	return ask(reader, request);
}

/* A set that is too large, never quiet or gone, or that makes no sense, stays unknown.
 */
static int read_elements(struct reader *reader, uint32_t index)
{
	struct ruleset *ruleset = reader->ruleset;
	struct ruleset_set *set = ruleset_get_set(ruleset, index);
	int error = -EINTR;

	reader->set = index;
	set->first_element = (uint32_t)ruleset->elements.count;
	for (unsigned int i = 0; i < SET_TRIES && error == -EINTR; i++) {
		ruleset->elements.count = set->first_element;
		set->element_count = 0;
		error = ask_elements(reader, set);
	}
	if (error == 0)
		error = ruleset_close_set(ruleset, index);
	set->known = error == 0;
	if (error == -E2BIG || error == -EINVAL || error == -EINTR ||
	    error == -ENOENT) {
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

/* How far the lists were filled before a chain. */
struct fill {
	size_t bytes;
	size_t rules;
	size_t exprs;
};

static struct fill get_fill(const struct ruleset *ruleset)
{
	return (struct fill){
		.bytes = ruleset->bytes.count,
		.rules = ruleset->rules.count,
		.exprs = ruleset->exprs.count,
	};
}

static void set_fill(struct ruleset *ruleset, const struct fill *fill)
{
	ruleset->bytes.count = fill->bytes;
	ruleset->rules.count = fill->rules;
	ruleset->exprs.count = fill->exprs;
}

static int ask_rules(struct reader *reader, const struct ruleset_chain *chain)
{
	const struct ruleset *ruleset = reader->ruleset;
	const struct ruleset_table *table = ruleset_get_table(ruleset, chain->table);
	struct nlmsghdr *request =
		start(reader, NFT_MSG_GETRULE, NLM_F_DUMP, table->family);

	mnl_attr_put_strz(request, NFTA_RULE_TABLE,
			  ruleset_get_name(ruleset, table->name));
	mnl_attr_put_strz(request, NFTA_RULE_CHAIN,
			  ruleset_get_name(ruleset, chain->name));
	reader->hash = HASH_START;
	return ask(reader, request);
}

/*
 * The kernel counts as an interruption whatever anybody changes anywhere: a chain that
 * has the same rules twice in a row was read whole all the same. One that never has, or
 * has too many, is not known.
 */
static int read_chain(struct reader *reader, uint32_t index)
{
	struct ruleset *ruleset = reader->ruleset;
	struct ruleset_chain *chain = ruleset_get_chain(ruleset, index);
	const struct fill fill = get_fill(ruleset);
	uint64_t hash = 0;
	int error = -EINTR;

	for (unsigned int i = 0; i < CHAIN_TRIES && error == -EINTR; i++) {
		set_fill(ruleset, &fill);
		error = ask_rules(reader, chain);
		if (error == -EINTR && reader->hash == hash)
			error = 0;
		hash = reader->hash;
	}
	if (error != -E2BIG && error != -EINTR)
		return error == -ENOENT ? 0 : error;
	set_fill(ruleset, &fill);
	chain->unread = true;
	ruleset->partial = true;
	return 0;
}

/* Chains of a table that has none at any hook decide nothing. */
static bool is_chain_wanted(const struct ruleset *ruleset, uint32_t index)
{
	const struct ruleset_table *table =
		ruleset_get_table(ruleset, ruleset_get_chain(ruleset, index)->table);

	return table->hooked && !table->own;
}

/* Those that hooks call first: if there is no room for all, the others wait. */
static int read_chains(struct reader *reader)
{
	const struct ruleset *ruleset = reader->ruleset;
	const uint32_t count = (uint32_t)ruleset->chains.count;
	int error = 0;

	for (uint32_t i = 0; i < count; i++)
		if (ruleset_get_chain(ruleset, i)->is_base)
			ruleset_get_table(ruleset, ruleset_get_chain(ruleset, i)->table)
				->hooked = true;
	for (uint32_t i = 0; error == 0 && i < count * 2; i++)
		if (ruleset_get_chain(ruleset, i % count)->is_base == (i < count) &&
		    is_chain_wanted(ruleset, i % count))
			error = read_chain(reader, i % count);
	return error;
}

/* In this order: each names what came before it. */
static int read_parts(struct reader *reader)
{
	struct ruleset *ruleset = reader->ruleset;
	int error = read_list(reader, NFT_MSG_GETTABLE, &ruleset->tables);

	if (error == 0)
		error = read_list(reader, NFT_MSG_GETCHAIN, &ruleset->chains);
	if (error < 0)
		return error;
	ruleset_sort_chains(ruleset);
	error = read_list(reader, NFT_MSG_GETSET, &ruleset->sets);
	if (error < 0)
		return error;
	ruleset_sort_sets(ruleset);
	error = read_chains(reader);
	if (error < 0)
		return error;
	ruleset_sort_rules(ruleset);
	return read_all_elements(reader);
}

/* The ruleset has a generation if nobody has changed anything meanwhile. */
static int try_read(struct reader *reader)
{
	uint32_t before;
	uint32_t after;
	int error;

	ruleset_free(reader->ruleset);
	reader->busy = false;
	reader->ruleset = ruleset_new();
	if (!reader->ruleset)
		return -ENOMEM;
	reader->ruleset->links = if_nameindex();
	error = ask_generation(reader, &before);
	/* Where there is no nf_tables, nobody knows such a message. */
	if (error < 0)
		return error == -EINVAL ? -EPROTONOSUPPORT : error;
	error = read_parts(reader);
	if (error == 0)
		error = ask_generation(reader, &after);
	if (error == 0 && before == after)
		reader->ruleset->generation = before;
	return error;
}

/* Where somebody is so fast that dumps are interrupted, a second pass is no better. */
int ruleset_read(struct ruleset **out)
{
	struct reader reader = {.buffer = malloc(BUFFER_SIZE)};
	int error = reader.buffer ? open_socket(&reader) : -ENOMEM;

	for (unsigned int i = 0; i < READ_TRIES && error == 0; i++) {
		error = try_read(&reader);
		if (error == 0 && (reader.ruleset->generation != 0 || reader.busy))
			break;
	}
	close_socket(&reader);
	free(reader.buffer);
	if (error < 0)
		ruleset_free(reader.ruleset);
	else
		*out = reader.ruleset;
	return error;
}
