/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft_foreign.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_connmark.h>
#include <stdlib.h>
#include <string.h>

#include "backends/foreign.h"
#include "backends/nft.h"

/* Room of one change in a transaction. */
#define CHANGE_OCTETS 1024
/* User data of a rule is a list of type, length and value; this type is the comment. */
#define USERDATA_COMMENT 0
/* One that nft does not know and leaves alone: this program has put the rule there. */
#define USERDATA_MADE 0x70
/* Tries of a dump that is interrupted. */
#define FIND_TRIES 3

bool nft_place_equal(const struct nft_place *a, const struct nft_place *b)
{
	return strcmp(a->family, b->family) == 0 && strcmp(a->table, b->table) == 0 &&
	       strcmp(a->chain, b->chain) == 0;
}

static uint8_t place_get_family(const struct nft_place *place)
{
	if (strcmp(place->family, "ip") == 0)
		return NFPROTO_IPV4;
	return strcmp(place->family, "ip6") == 0 ? NFPROTO_IPV6 : NFPROTO_INET;
}

/* --- the generation --- */

static int read_generation(const struct nlattr *attribute, void *user)
{
	uint32_t *generation = user;

	if (mnl_attr_get_type(attribute) == NFTA_GEN_ID &&
	    mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
		*generation = ntohl(mnl_attr_get_u32(attribute));
	return MNL_CB_OK;
}

static int on_generation(const struct nlmsghdr *answer, void *user)
{
	(void)mnl_attr_parse(answer, sizeof(struct nfgenmsg), read_generation, user);
	return 0;
}

int nft_foreign_get_generation(struct nft_socket *nft, uint32_t *generation)
{
	uint32_t found = 0;
	int error = nft_socket_ask(nft, nft_socket_start(nft, NFT_MSG_GETGEN, 0),
				   on_generation, &found);

	if (error == 0)
		*generation = found;
	return error;
}

/* --- which rules are ours --- */

/* What the expressions of a rule were found to be. */
struct look {
	bool other;    /* something that no rule of ours has */
	bool loaded;   /* the connection's mark is in `reg` */
	bool compared; /* it is compared with `mark` */
	bool accepts;
	bool named;
	bool by_match; /* named as iptables does it */
	uint32_t reg;
	uint32_t mask;
	uint32_t mark;
};

static uint32_t get_word(const struct nftnl_expr *expr, uint16_t attribute)
{
	uint32_t length = 0, word = 0;
	const void *octets = nftnl_expr_get(expr, attribute, &length);

	if (octets && length == sizeof(word))
		memcpy(&word, octets, sizeof(word));
	return word;
}

static void look_at_ct(struct look *look, const struct nftnl_expr *expr)
{
	look->other = look->other || look->loaded ||
		      nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_KEY) != NFT_CT_MARK ||
		      !nftnl_expr_is_set(expr, NFTNL_EXPR_CT_DREG);
	look->reg = nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_DREG);
	look->loaded = true;
}

static void look_at_bitwise(struct look *look, const struct nftnl_expr *expr)
{
	look->other =
		look->other || !look->loaded || look->mask != 0 ||
		nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_SREG) != look->reg ||
		nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_LEN) != sizeof(uint32_t) ||
		get_word(expr, NFTNL_EXPR_BITWISE_XOR) != 0;
	look->reg = nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_DREG);
	look->mask = get_word(expr, NFTNL_EXPR_BITWISE_MASK);
}

static void look_at_cmp(struct look *look, const struct nftnl_expr *expr)
{
	look->mark = get_word(expr, NFTNL_EXPR_CMP_DATA);
	look->other = look->other || look->compared || look->mark == 0 ||
		      look->mark != look->mask ||
		      nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_SREG) != look->reg ||
		      nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_OP) != NFT_CMP_EQ;
	look->compared = true;
}

static void look_at_match(struct look *look, const struct nftnl_expr *expr)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME);
	struct xt_connmark_mtinfo1 mark;
	uint32_t length = 0;
	const void *octets = nftnl_expr_get(expr, NFTNL_EXPR_MT_INFO, &length);

	if (name && octets && strcmp(name, "comment") == 0) {
		look->named =
			length >= sizeof(FOREIGN_COMMENT) &&
			memcmp(octets, FOREIGN_COMMENT, sizeof(FOREIGN_COMMENT)) == 0;
		look->by_match = look->named;
		look->other = look->other || !look->named;
		return;
	}
	look->other = look->other || look->compared || !name || !octets ||
		      strcmp(name, "connmark") != 0 || length < sizeof(mark);
	if (look->other)
		return;
	memcpy(&mark, octets, sizeof(mark));
	look->other = mark.mark != mark.mask || mark.mark == 0 || mark.invert != 0;
	look->mark = mark.mark;
	look->compared = true;
}

static void look_at_immediate(struct look *look, const struct nftnl_expr *expr)
{
	look->accepts =
		nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_DREG) == NFT_REG_VERDICT &&
		nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT) == NF_ACCEPT;
	look->other = look->other || !look->accepts;
}

static void look_at_counter(struct look *look, const struct nftnl_expr *expr)
{
	(void)look;
	(void)expr;
}

static int look_at(struct nftnl_expr *expr, void *user)
{
	static const struct {
		const char *name;
		void (*look_at)(struct look *look, const struct nftnl_expr *expr);
	} rows[] = {
		{"ct", look_at_ct},
		{"bitwise", look_at_bitwise},
		{"cmp", look_at_cmp},
		{"match", look_at_match},
		{"immediate", look_at_immediate},
		{"counter", look_at_counter},
	};
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct look *look = user;

	/* behind the verdict there is nothing */
	look->other = look->other || look->accepts;
	for (size_t i = 0; name && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(name, rows[i].name) == 0) {
			rows[i].look_at(look, expr);
			return 0;
		}
	look->other = true;
	return 0;
}

static bool has_text(const struct nftnl_rule *rule, uint8_t type)
{
	uint32_t left = 0;
	const uint8_t *at = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &left);

	while (at && left >= 2 && left - 2 >= at[1]) {
		if (at[0] == type && at[1] == sizeof(FOREIGN_COMMENT) &&
		    memcmp(at + 2, FOREIGN_COMMENT, sizeof(FOREIGN_COMMENT)) == 0)
			return true;
		left -= 2U + at[1];
		at += 2U + at[1];
	}
	return false;
}

struct find {
	struct nft_accept *found;
	size_t count;
	bool begun; /* a rule was seen */
};

static int on_rule(const struct nlmsghdr *answer, void *user)
{
	struct find *find = user;
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct look look = {0};
	bool first = !find->begun;

	if (!rule)
		return -ENOMEM;
	if (nftnl_rule_nlmsg_parse(answer, rule) == 0) {
		find->begun = true;
		look.named = has_text(rule, USERDATA_COMMENT);
		(void)nftnl_expr_foreach(rule, look_at, &look);
		if (look.named && look.compared && look.accepts && !look.other &&
		    find->count < NFT_ACCEPTS_MAX)
			find->found[find->count++] = (struct nft_accept){
				.handle = nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE),
				.mark = look.mark,
				.first = first,
				.made = look.by_match || has_text(rule, USERDATA_MADE),
			};
	}
	nftnl_rule_free(rule);
	return 0;
}

static int ask_chain(struct nft_socket *nft, const struct nft_place *place,
		     struct find *find)
{
	struct nlmsghdr *request =
		nftnl_nlmsg_build_hdr((char *)nft->buffer, NFT_MSG_GETRULE,
				      place_get_family(place), NLM_F_DUMP, nft->seq++);

	mnl_attr_put_strz(request, NFTA_RULE_TABLE, place->table);
	mnl_attr_put_strz(request, NFTA_RULE_CHAIN, place->chain);
	return nft_socket_ask(nft, request, on_rule, find);
}

/* Changes of whatever chain interrupt a dump. One of this chain is news, and it will be
 * looked at again. */
int nft_foreign_find(struct nft_socket *nft, const struct nft_place *place,
		     struct nft_accept found[NFT_ACCEPTS_MAX], size_t *count)
{
	struct find find;
	int error = -EINTR;

	for (int i = 0; i < FIND_TRIES && error == -EINTR; i++) {
		find = (struct find){.found = found};
		error = ask_chain(nft, place, &find);
	}
	if (error == -ENOENT || error == -EINTR)
		error = 0;
	if (error == 0)
		*count = find.count;
	return error;
}

/* --- our rule as the kernel takes it --- */

struct nest {
	struct nlattr *element;
	struct nlattr *data;
};

static struct nest begin_expression(struct nlmsghdr *header, const char *name)
{
	struct nest nest = {.element = mnl_attr_nest_start(header, NFTA_LIST_ELEM)};

	mnl_attr_put_strz(header, NFTA_EXPR_NAME, name);
	nest.data = mnl_attr_nest_start(header, NFTA_EXPR_DATA);
	return nest;
}

static void end_expression(struct nlmsghdr *header, struct nest nest)
{
	mnl_attr_nest_end(header, nest.data);
	mnl_attr_nest_end(header, nest.element);
}

static void put_number(struct nlmsghdr *header, uint16_t type, uint32_t number)
{
	mnl_attr_put_u32(header, type, htonl(number));
}

/* Marks are in host order. */
static void put_mark(struct nlmsghdr *header, uint16_t type, uint32_t mark)
{
	struct nlattr *nest = mnl_attr_nest_start(header, type);

	mnl_attr_put_u32(header, NFTA_DATA_VALUE, mark);
	mnl_attr_nest_end(header, nest);
}

/* ct mark and MARK == MARK */
static void put_native(struct nlmsghdr *header, uint32_t mark)
{
	struct nest nest = begin_expression(header, "ct");

	put_number(header, NFTA_CT_DREG, NFT_REG_1);
	put_number(header, NFTA_CT_KEY, NFT_CT_MARK);
	end_expression(header, nest);
	nest = begin_expression(header, "bitwise");
	put_number(header, NFTA_BITWISE_SREG, NFT_REG_1);
	put_number(header, NFTA_BITWISE_DREG, NFT_REG_1);
	put_number(header, NFTA_BITWISE_LEN, sizeof(mark));
	put_mark(header, NFTA_BITWISE_MASK, mark);
	put_mark(header, NFTA_BITWISE_XOR, 0);
	end_expression(header, nest);
	nest = begin_expression(header, "cmp");
	put_number(header, NFTA_CMP_SREG, NFT_REG_1);
	put_number(header, NFTA_CMP_OP, NFT_CMP_EQ);
	put_mark(header, NFTA_CMP_DATA, mark);
	end_expression(header, nest);
}

static void put_match(struct nlmsghdr *header, const char *name, uint32_t revision,
		      const void *info, size_t length)
{
	struct nest nest = begin_expression(header, "match");

	mnl_attr_put_strz(header, NFTA_MATCH_NAME, name);
	put_number(header, NFTA_MATCH_REV, revision);
	mnl_attr_put(header, NFTA_MATCH_INFO, length, info);
	end_expression(header, nest);
}

/* -m connmark --mark MARK/MARK -m comment --comment portreeve */
static void put_xtables(struct nlmsghdr *header, uint32_t mark)
{
	uint8_t connmark[XT_ALIGN(sizeof(struct xt_connmark_mtinfo1))] = {0};
	const struct xt_connmark_mtinfo1 info = {.mark = mark, .mask = mark};
	const struct xt_comment_info comment = {.comment = FOREIGN_COMMENT};
	struct nest nest;

	memcpy(connmark, &info, sizeof(info));
	put_match(header, "connmark", 1, connmark, sizeof(connmark));
	put_match(header, "comment", 0, &comment, sizeof(comment));
	nest = begin_expression(header, "counter");
	mnl_attr_put_u64(header, NFTA_COUNTER_BYTES, 0);
	mnl_attr_put_u64(header, NFTA_COUNTER_PACKETS, 0);
	end_expression(header, nest);
}

static void put_accept(struct nlmsghdr *header)
{
	struct nest nest = begin_expression(header, "immediate");
	struct nlattr *data, *verdict;

	put_number(header, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = mnl_attr_nest_start(header, NFTA_IMMEDIATE_DATA);
	verdict = mnl_attr_nest_start(header, NFTA_DATA_VERDICT);
	put_number(header, NFTA_VERDICT_CODE, NF_ACCEPT);
	mnl_attr_nest_end(header, verdict);
	mnl_attr_nest_end(header, data);
	end_expression(header, nest);
}

static void put_rule(struct nlmsghdr *header, const struct nft_place *place,
		     uint32_t mark)
{
	uint8_t userdata[2 * (2 + sizeof(FOREIGN_COMMENT))] = {USERDATA_COMMENT,
							       sizeof(FOREIGN_COMMENT)};
	uint8_t *made = userdata + sizeof(userdata) / 2;
	struct nlattr *list = mnl_attr_nest_start(header, NFTA_RULE_EXPRESSIONS);

	if (place->xtables)
		put_xtables(header, mark);
	else
		put_native(header, mark);
	put_accept(header);
	mnl_attr_nest_end(header, list);
	memcpy(userdata + 2, FOREIGN_COMMENT, sizeof(FOREIGN_COMMENT));
	memcpy(made, userdata, sizeof(userdata) / 2);
	made[0] = USERDATA_MADE;
	/* iptables keeps its comments in a match of their own. */
	if (!place->xtables)
		mnl_attr_put(header, NFTA_RULE_USERDATA, sizeof(userdata), userdata);
}

static size_t put_change(struct nft_socket *nft, uint8_t *at, uint32_t mark,
			 const struct nft_foreign_change *change)
{
	bool removes = change->handle != 0;
	uint16_t type = removes ? NFT_MSG_DELRULE : NFT_MSG_NEWRULE;
	struct nlmsghdr *header = nftnl_nlmsg_build_hdr(
		(char *)at, type, place_get_family(change->place),
		removes ? NLM_F_ACK : NLM_F_CREATE | NLM_F_ACK, nft->seq++);

	mnl_attr_put_strz(header, NFTA_RULE_TABLE, change->place->table);
	mnl_attr_put_strz(header, NFTA_RULE_CHAIN, change->place->chain);
	if (removes)
		mnl_attr_put_u64(header, NFTA_RULE_HANDLE, htobe64(change->handle));
	else
		put_rule(header, change->place, mark);
	return header->nlmsg_len;
}

int nft_foreign_commit(struct nft_socket *nft, uint32_t generation, uint32_t mark,
		       const struct nft_foreign_change *changes, size_t count)
{
	uint8_t *bytes = malloc((count + 2) * CHANGE_OCTETS);
	struct nlmsghdr *header;
	size_t used;
	uint32_t last;
	int error;

	if (!bytes)
		return -ENOMEM;
	header = nftnl_batch_begin((char *)bytes, nft->seq++);
	if (generation != 0)
		put_number(header, NFNL_BATCH_GENID, generation);
	used = header->nlmsg_len;
	for (size_t i = 0; i < count; i++)
		used += put_change(nft, bytes + used, mark, &changes[i]);
	last = nft->seq - 1;
	used += nftnl_batch_end((char *)bytes + used, nft->seq++)->nlmsg_len;
	error = nft_socket_send(nft, bytes, used, last);
	free(bytes);
	return error;
}
