/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* FNV-1a, 32 bits: tells versions apart, resists nobody. */
#define HASH_START 0x811c9dc5U
#define HASH_PRIME 0x01000193U

#define DEFINITION "redefine bit = 0x%08x\n"
#define REPLACEMENT "table inet " NFT_TABLE "\ndelete table inet " NFT_TABLE "\n"

/*
 * An interface may be called `a"b` or `e*`, which in a ruleset would mean something
 * else. Such a name is left to sync(), which puts it in as octets.
 */
static bool is_plain(const struct nft_element *element)
{
	const char *name = (const char *)element->key;

	if (element->set != NFT_WAN_IF && element->set != NFT_LAN_IF)
		return true;
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789._-@")] == '\0';
}

static int write_text(FILE *file, const struct nft_skeleton *skeleton,
		      const struct nft_elements *elements)
{
	enum nft_set set = NFT_SET_COUNT;

	if (fprintf(file, REPLACEMENT DEFINITION "%s", skeleton->mark,
		    nft_ruleset_get_text()) < 0)
		return -ENOMEM;
	for (size_t i = 0; elements && i < elements->count; i++) {
		const struct nft_element *element = &elements->items[i];
		char text[NFT_TEXT_MAX];

		if (!is_plain(element))
			continue;
		if (element->set != set &&
		    fprintf(file, "%sadd element inet " NFT_TABLE " %s {\n",
			    set != NFT_SET_COUNT ? "}\n" : "",
			    nft_set_get_shape(element->set)->name) < 0)
			return -ENOMEM;
		set = element->set;
		if (nft_element_format(element, text) < 0 ||
		    fprintf(file, "%s,\n", text) < 0)
			return -ENOMEM;
	}
	return fprintf(file, "%s", set != NFT_SET_COUNT ? "}\n" : "") < 0 ? -ENOMEM : 0;
}

/* Owns: caller frees. NULL when memory is short. */
static char *make_text(const struct nft_skeleton *skeleton,
		       const struct nft_elements *elements)
{
	char *text = NULL;
	size_t length = 0;
	FILE *file = open_memstream(&text, &length);
	int error;

	if (!file)
		return NULL;
	error = write_text(file, skeleton, elements);
	if (fclose(file) == 0 && error == 0)
		return text;
	free(text);
	return NULL;
}

/* The first line of what libnftables says is the one that names the cause. */
static void log_refusal(struct nft_ctx *ctx)
{
	const char *text = nft_ctx_get_error_buffer(ctx);
	int length = (int)strcspn(text, "\n");

	log_error("the kernel refuses the ruleset (%.*s): it needs nf_tables with inet "
		  "NAT and masquerade, connection marks, and sets with concatenations, "
		  "intervals, timeouts and counters (Linux 5.11 or later, modules "
		  "nft_nat "
		  "nft_masq nft_ct nf_conntrack)",
		  length, text);
}

/*
 * With a context of its own each time: one that is kept holds half a megabyte for every
 * table of the host. Dry, the kernel sees the whole transaction but not its end, and
 * drops it.
 */
static int run(const struct nft_skeleton *skeleton, const struct nft_elements *elements,
	       bool dry)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	char *text = make_text(skeleton, elements);
	int error = -ENOMEM;

	if (ctx && text && nft_ctx_buffer_error(ctx) == 0 &&
	    nft_ctx_buffer_output(ctx) == 0) {
		nft_ctx_set_dry_run(ctx, dry);
		error = nft_run_cmd_from_buffer(ctx, text) == 0 ? 0 : -EPROTONOSUPPORT;
	}
	if (error == -EPROTONOSUPPORT)
		log_refusal(ctx);
	free(text);
	if (ctx)
		nft_ctx_free(ctx);
	return error;
}

int nft_skeleton_probe(const struct nft_skeleton *skeleton)
{
	return run(skeleton, NULL, true);
}

static uint32_t hash_octets(uint32_t hash, const void *octets, size_t length)
{
	const uint8_t *at = octets;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ at[i]) * HASH_PRIME;
	return hash;
}

/* Which attributes of a kind of object say what it does, and which is its table. */
struct object_kind {
	uint16_t request;
	uint16_t table;
	uint16_t attributes[4];
};

static const struct object_kind kinds[] = {
	{NFT_MSG_GETCHAIN,
	 NFTA_CHAIN_TABLE,
	 {NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE}},
	{NFT_MSG_GETRULE, NFTA_RULE_TABLE, {NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS}},
	{NFT_MSG_GETSET,
	 NFTA_SET_TABLE,
	 {NFTA_SET_NAME, NFTA_SET_FLAGS, NFTA_SET_KEY_LEN, NFTA_SET_DATA_LEN}},
};

struct hasher {
	const struct object_kind *kind;
	uint32_t hash;
	bool ours; /* the object at hand is in our table */
};

static bool is_hashed(const struct object_kind *kind, uint16_t type)
{
	for (size_t i = 0; i < sizeof(kind->attributes) / sizeof(kind->attributes[0]);
	     i++)
		if (kind->attributes[i] == type)
			return type != 0;
	return false;
}

static int hash_attribute(const struct nlattr *attribute, void *user)
{
	struct hasher *hasher = user;
	uint16_t type = mnl_attr_get_type(attribute);

	if (type == hasher->kind->table)
		hasher->ours = mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0 &&
			       strcmp(mnl_attr_get_str(attribute), NFT_TABLE) == 0;
	else if (is_hashed(hasher->kind, type))
		hasher->hash = hash_octets(hasher->hash, attribute, attribute->nla_len);
	return MNL_CB_OK;
}

static int hash_object(const struct nlmsghdr *answer, void *user)
{
	struct hasher *hasher = user;
	uint32_t before = hasher->hash;

	hasher->ours = false;
	if (mnl_attr_parse(answer, sizeof(struct nfgenmsg), hash_attribute, hasher) < 0)
		return -EPROTO;
	if (!hasher->ours)
		hasher->hash = before;
	return 0;
}

/* Text and mark that we would load, and what the kernel has made of it. */
static int take_fingerprint(const struct nft_skeleton *skeleton, struct nft_socket *nft,
			    uint32_t *out)
{
	const char *text = nft_ruleset_get_text();
	struct hasher hasher = {.hash = hash_octets(HASH_START, text, strlen(text))};
	int error = 0;

	hasher.hash = hash_octets(hasher.hash, &skeleton->mark, sizeof(skeleton->mark));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && error == 0; i++) {
		struct nlmsghdr *request =
			nft_socket_start(nft, kinds[i].request, NLM_F_DUMP);

		hasher.kind = &kinds[i];
		/* Chains come from all tables, whatever the request says. */
		mnl_attr_put_strz(request, kinds[i].table, NFT_TABLE);
		error = nft_socket_ask(nft, request, hash_object, &hasher);
	}
	if (error == 0)
		*out = hasher.hash;
	return error;
}

struct recorded {
	unsigned int count;
	uint32_t value;
};

static int read_recorded(struct nftnl_set_elem *element, void *user)
{
	struct recorded *recorded = user;
	uint32_t length = 0;
	const void *key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &length);

	if (key && length == sizeof(recorded->value))
		memcpy(&recorded->value, key, length);
	recorded->count++;
	return 0;
}

static int on_recorded(const struct nlmsghdr *answer, void *user)
{
	struct nftnl_set *set = nftnl_set_alloc();

	if (!set)
		return -ENOMEM;
	if (nftnl_set_elems_nlmsg_parse(answer, set) == 0)
		nftnl_set_elem_foreach(set, read_recorded, user);
	nftnl_set_free(set);
	return 0;
}

static int ignore_answer(const struct nlmsghdr *answer, void *user)
{
	(void)answer;
	(void)user;
	return 0;
}

static int check_once(const struct nft_skeleton *skeleton, struct nft_socket *nft,
		      enum nft_skeleton_state *state)
{
	struct nlmsghdr *request = nft_socket_start(nft, NFT_MSG_GETTABLE, 0);
	struct recorded recorded = {0};
	uint32_t fingerprint = 0;
	int error;

	mnl_attr_put_strz(request, NFTA_TABLE_NAME, NFT_TABLE);
	error = nft_socket_ask(nft, request, ignore_answer, NULL);
	*state = NFT_SKELETON_ABSENT;
	if (error < 0)
		return error == -ENOENT ? 0 : error;
	request = nft_socket_start(nft, NFT_MSG_GETSETELEM, NLM_F_DUMP);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, "fingerprint");
	error = nft_socket_ask(nft, request, on_recorded, &recorded);
	*state = NFT_SKELETON_OTHER;
	if (error < 0)
		return error == -ENOENT ? 0 : error;
	error = take_fingerprint(skeleton, nft, &fingerprint);
	if (error < 0)
		return error;
	if (recorded.count == 1 && recorded.value == fingerprint)
		*state = NFT_SKELETON_OURS;
	return 0;
}

int nft_skeleton_check(const struct nft_skeleton *skeleton, struct nft_socket *nft,
		       enum nft_skeleton_state *state)
{
	int error = -EINTR;

	for (unsigned int i = 0; i < NFT_DUMP_TRIES && error == -EINTR; i++)
		error = check_once(skeleton, nft, state);
	return error;
}

int nft_skeleton_load(const struct nft_skeleton *skeleton, struct nft_socket *nft,
		      const struct nft_elements *elements)
{
	struct nft_batch batch = {0};
	uint32_t fingerprint = 0;
	int error = run(skeleton, elements, false);

	if (error < 0)
		return error;
	error = -EINTR;
	for (unsigned int i = 0; i < NFT_DUMP_TRIES && error == -EINTR; i++)
		error = take_fingerprint(skeleton, nft, &fingerprint);
	if (error < 0)
		return error;
	nft_batch_begin(&batch, nft);
	nft_batch_fingerprint(&batch, fingerprint);
	error = nft_batch_send(&batch, nft);
	nft_batch_fini(&batch);
	return error;
}
