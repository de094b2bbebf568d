/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <string.h>

/* Octets of a register and of the four long ones that older programs use. */
#define SHORT_REGISTER 4
#define LONG_REGISTER 16
/* Behind the hops in the header of IPv4; addresses do not end before it. */
#define IP_HOPS_END 10

/* One expression at hand: what the kernel says of it, and what becomes of it. */
struct parse {
	struct ruleset_place *place;
	struct netlink_attrs attrs;
	struct ruleset_expr expr;
};

static int add(const struct parse *parse)
{
	return ruleset_add_expr(parse->place->ruleset, &parse->expr);
}

static int add_kind(struct parse *parse, enum ruleset_kind kind)
{
	parse->expr.kind = kind;
	return add(parse);
}

static int add_verdict(struct parse *parse, enum ruleset_decision decision)
{
	parse->expr.op = (uint8_t)decision;
	parse->expr.index = RULESET_NONE;
	return add_kind(parse, RULESET_VERDICT);
}

static uint32_t get_number(const struct parse *parse, unsigned int type)
{
	return ruleset_attrs_get_number(&parse->attrs, type);
}

/* Where a register begins; false when it does not hold so many octets. */
static bool get_register(const struct parse *parse, unsigned int type, size_t length,
			 uint8_t *at)
{
	uint32_t number = get_number(parse, type);
	uint32_t offset;

	if (number >= NFT_REG32_00 && number <= NFT_REG32_15)
		offset = (number - NFT_REG32_00) * SHORT_REGISTER;
	else if (number >= NFT_REG_1 && number <= NFT_REG_4)
		offset = (number - NFT_REG_1) * LONG_REGISTER;
	else
		return false;
	*at = (uint8_t)offset;
	return length <= RULESET_KERNEL_REGISTERS - offset;
}

/* Octets of a field in its register. */
static uint16_t get_width(enum ruleset_field field)
{
	if (field == RULESET_FIELD_IN_NAME || field == RULESET_FIELD_OUT_NAME)
		return LONG_REGISTER;
	return SHORT_REGISTER;
}

static int add_load(struct parse *parse, enum ruleset_field field, unsigned int type)
{
	if (field == RULESET_FIELD_UNKNOWN)
		return add_kind(parse, RULESET_PERHAPS);
	parse->expr.field = field;
	parse->expr.length = get_width(field);
	if (!get_register(parse, type, parse->expr.length, &parse->expr.target))
		return -EINVAL;
	return add_kind(parse, RULESET_LOAD);
}

static enum ruleset_field get_meta_field(uint32_t key)
{
	switch (key) {
	case NFT_META_IIF:
		return RULESET_FIELD_IN_INDEX;
	case NFT_META_OIF:
		return RULESET_FIELD_OUT_INDEX;
	case NFT_META_IIFNAME:
		return RULESET_FIELD_IN_NAME;
	case NFT_META_OIFNAME:
		return RULESET_FIELD_OUT_NAME;
	case NFT_META_NFPROTO:
		return RULESET_FIELD_FAMILY;
	case NFT_META_L4PROTO:
		return RULESET_FIELD_PROTOCOL;
	case NFT_META_PROTOCOL:
		return RULESET_FIELD_ETHERTYPE;
	case NFT_META_PKTTYPE:
		return RULESET_FIELD_PACKET_TYPE;
	case NFT_META_SECPATH:
		return RULESET_FIELD_SECPATH;
	default:
		return RULESET_FIELD_UNKNOWN;
	}
}

static int parse_meta(struct parse *parse)
{
	/* What may be set is nothing that we know of a packet anyway. */
	if (parse->attrs.at[NFTA_META_SREG])
		return 0;
	return add_load(parse, get_meta_field(get_number(parse, NFTA_META_KEY)),
			NFTA_META_DREG);
}

static int parse_ct(struct parse *parse)
{
	enum ruleset_field field = RULESET_FIELD_UNKNOWN;
	uint32_t key = get_number(parse, NFTA_CT_KEY);

	if (parse->attrs.at[NFTA_CT_SREG])
		return key == NFT_CT_MARK ? add_kind(parse, RULESET_SET_MARK) : 0;
	if (key == NFT_CT_STATE)
		field = RULESET_FIELD_STATE;
	else if (key == NFT_CT_DIRECTION)
		field = RULESET_FIELD_DIRECTION;
	else if (key == NFT_CT_STATUS)
		field = RULESET_FIELD_STATUS;
	else if (key == NFT_CT_MARK)
		field = RULESET_FIELD_MARK;
	else if (key == NFT_CT_PROTOCOL)
		field = RULESET_FIELD_PROTOCOL;
	else if (key == NFT_CT_L3PROTOCOL)
		field = RULESET_FIELD_FAMILY;
	return add_load(parse, field, NFTA_CT_DREG);
}

static int parse_fib(struct parse *parse)
{
	enum ruleset_field field = RULESET_FIELD_UNKNOWN;
	uint32_t flags = get_number(parse, NFTA_FIB_FLAGS);
	uint32_t result = get_number(parse, NFTA_FIB_RESULT);

	if (result == NFT_FIB_RESULT_ADDRTYPE)
		field = flags & NFTA_FIB_F_DADDR ? RULESET_FIELD_DESTINATION_TYPE
						 : RULESET_FIELD_SOURCE_TYPE;
	else if ((flags & NFTA_FIB_F_PRESENT) && (flags & NFTA_FIB_F_SADDR))
		field = RULESET_FIELD_ROUTE;
	return add_load(parse, field, NFTA_FIB_DREG);
}

static int parse_payload(struct parse *parse)
{
	struct ruleset_expr *expr = &parse->expr;
	uint32_t base = get_number(parse, NFTA_PAYLOAD_BASE);
	uint32_t offset = get_number(parse, NFTA_PAYLOAD_OFFSET);
	uint32_t length = get_number(parse, NFTA_PAYLOAD_LEN);

	/* The class of a packet and its hops are nothing to us. */
	if (parse->attrs.at[NFTA_PAYLOAD_SREG])
		return offset < IP_HOPS_END && length <= IP_HOPS_END - offset
			       ? 0
			       : add_kind(parse, RULESET_SET_PACKET);
	if (length > RULESET_KERNEL_REGISTERS ||
	    !get_register(parse, NFTA_PAYLOAD_DREG, length, &expr->target))
		return -EINVAL;
	if ((base != NFT_PAYLOAD_NETWORK_HEADER &&
	     base != NFT_PAYLOAD_TRANSPORT_HEADER) ||
	    offset > UINT16_MAX)
		return add_kind(parse, RULESET_PERHAPS);
	expr->field = base == NFT_PAYLOAD_NETWORK_HEADER ? RULESET_FIELD_NETWORK
							 : RULESET_FIELD_TRANSPORT;
	expr->offset = (uint16_t)offset;
	expr->length = (uint16_t)length;
	return add_kind(parse, RULESET_LOAD);
}

static int parse_exthdr(struct parse *parse)
{
	/* Most often the size of a segment. */
	if (parse->attrs.at[NFTA_EXTHDR_SREG])
		return 0;
	if (get_number(parse, NFTA_EXTHDR_OP) == NFT_EXTHDR_OP_TCPOPT)
		return add_kind(parse, RULESET_PERHAPS);
	if (get_number(parse, NFTA_EXTHDR_FLAGS) & NFT_EXTHDR_F_PRESENT)
		return add_load(parse, RULESET_FIELD_ABSENT, NFTA_EXTHDR_DREG);
	return add_kind(parse, RULESET_NEVER);
}

/* A constant of the expression. *length: as long as it must be, or 0. */
static int get_constant(const struct parse *parse, unsigned int type, uint16_t *length,
			uint32_t *at)
{
	struct ruleset_data data;
	int error = ruleset_parse_data(parse->place->ruleset, parse->place->table,
				       parse->attrs.at[type], &data);

	if (error < 0)
		return error;
	if (data.has_verdict || (*length != 0 && data.length != *length))
		return -EINVAL;
	*length = data.length;
	*at = data.data;
	return 0;
}

static int parse_cmp(struct parse *parse)
{
	struct ruleset_expr *expr = &parse->expr;
	int error = get_constant(parse, NFTA_CMP_DATA, &expr->length, &expr->data);

	if (error < 0)
		return error;
	expr->op = (uint8_t)get_number(parse, NFTA_CMP_OP);
	if (!get_register(parse, NFTA_CMP_SREG, expr->length, &expr->source))
		return -EINVAL;
	return add_kind(parse, RULESET_COMPARE);
}

static int parse_range(struct parse *parse)
{
	struct ruleset_expr *expr = &parse->expr;
	int error =
		get_constant(parse, NFTA_RANGE_FROM_DATA, &expr->length, &expr->data);

	if (error == 0)
		error = get_constant(parse, NFTA_RANGE_TO_DATA, &expr->length,
				     &expr->data2);
	if (error < 0)
		return error;
	expr->op = get_number(parse, NFTA_RANGE_OP) == NFT_RANGE_NEQ;
	if (!get_register(parse, NFTA_RANGE_SREG, expr->length, &expr->source))
		return -EINVAL;
	return add_kind(parse, RULESET_RANGE);
}

static int parse_bitwise(struct parse *parse)
{
	struct ruleset_expr *expr = &parse->expr;
	uint32_t length = get_number(parse, NFTA_BITWISE_LEN);
	int error;

	/* Shifts, and what newer kernels do with two registers. */
	if (get_number(parse, NFTA_BITWISE_OP) != NFT_BITWISE_BOOL)
		return add_kind(parse, RULESET_PERHAPS);
	if (length == 0 || length > RULESET_DATA_MAX ||
	    !get_register(parse, NFTA_BITWISE_SREG, length, &expr->source) ||
	    !get_register(parse, NFTA_BITWISE_DREG, length, &expr->target))
		return -EINVAL;
	expr->length = (uint16_t)length;
	error = get_constant(parse, NFTA_BITWISE_MASK, &expr->length, &expr->data);
	if (error == 0)
		error = get_constant(parse, NFTA_BITWISE_XOR, &expr->length,
				     &expr->data2);
	return error < 0 ? error : add_kind(parse, RULESET_BITWISE);
}

static int parse_byteorder(struct parse *parse)
{
	struct ruleset_expr *expr = &parse->expr;
	uint32_t length = get_number(parse, NFTA_BYTEORDER_LEN);
	uint32_t size = get_number(parse, NFTA_BYTEORDER_SIZE);

	if ((size != 2 && size != 4 && size != 8) || length % size != 0 ||
	    !get_register(parse, NFTA_BYTEORDER_SREG, length, &expr->source) ||
	    !get_register(parse, NFTA_BYTEORDER_DREG, length, &expr->target))
		return -EINVAL;
	expr->op = (uint8_t)size;
	expr->length = (uint16_t)length;
	return add_kind(parse, RULESET_SWAP);
}

static int parse_immediate(struct parse *parse)
{
	struct ruleset_expr *expr = &parse->expr;
	struct ruleset_data data;
	int error = ruleset_parse_data(parse->place->ruleset, parse->place->table,
				       parse->attrs.at[NFTA_IMMEDIATE_DATA], &data);

	if (error < 0 || data.goes_on)
		return error;
	if (data.has_verdict) {
		expr->op = (uint8_t)data.verdict.decision;
		expr->index = data.verdict.chain;
		return add_kind(parse, RULESET_VERDICT);
	}
	expr->data = data.data;
	expr->length = data.length;
	if (!get_register(parse, NFTA_IMMEDIATE_DREG, data.length, &expr->target))
		return -EINVAL;
	return add_kind(parse, RULESET_CONSTANT);
}

static int parse_lookup(struct parse *parse)
{
	struct ruleset *ruleset = parse->place->ruleset;
	struct ruleset_expr *expr = &parse->expr;
	const char *name = ruleset_attrs_get_text(&parse->attrs, NFTA_LOOKUP_SET);
	enum ruleset_kind kind = RULESET_LOOKUP;
	struct ruleset_set *set;

	if (!name)
		return -EINVAL;
	expr->index = ruleset_find_set_index(ruleset, parse->place->table, name);
	if (expr->index == RULESET_NONE)
		return -EINVAL;
	set = ruleset_get_set(ruleset, expr->index);
	expr->length = set->key_length;
	expr->op = (get_number(parse, NFTA_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV) != 0;
	if (set->key_length == 0 || set->key_length > RULESET_DATA_MAX ||
	    !get_register(parse, NFTA_LOOKUP_SREG, set->key_length, &expr->source))
		return -EINVAL;
	set->wanted = true;
	if (parse->attrs.at[NFTA_LOOKUP_DREG]) {
		kind = RULESET_VERDICTS;
		if (get_number(parse, NFTA_LOOKUP_DREG) != NFT_REG_VERDICT) {
			kind = RULESET_MAP;
			if (!get_register(parse, NFTA_LOOKUP_DREG, 1, &expr->target))
				return -EINVAL;
		}
	}
	return add_kind(parse, kind);
}

static int add_guard(struct parse *parse, uint32_t inverted)
{
	parse->expr.op = inverted != 0;
	return add_kind(parse, RULESET_GUARD);
}

static int parse_limit(struct parse *parse)
{
	return add_guard(parse, get_number(parse, NFTA_LIMIT_FLAGS) & NFT_LIMIT_F_INV);
}

static int parse_connlimit(struct parse *parse)
{
	return add_guard(parse,
			 get_number(parse, NFTA_CONNLIMIT_FLAGS) & NFT_CONNLIMIT_F_INV);
}

/* To put something in a set works, unless something is said with it: a limit. */
static int parse_dynset(struct parse *parse)
{
	const struct nlattr *expr = parse->attrs.at[NFTA_DYNSET_EXPR];
	struct netlink_attrs attrs;
	struct parse inner = {.place = parse->place};
	const char *name;

	if (get_number(parse, NFTA_DYNSET_FLAGS) & NFT_DYNSET_F_INV ||
	    parse->attrs.at[NFTA_DYNSET_EXPRESSIONS])
		return add_kind(parse, RULESET_PERHAPS);
	if (!expr)
		return 0;
	netlink_attrs_read_nest(&attrs, expr);
	netlink_attrs_read_nest(&inner.attrs, attrs.at[NFTA_EXPR_DATA]);
	name = ruleset_attrs_get_text(&attrs, NFTA_EXPR_NAME);
	if (name && strcmp(name, "limit") == 0)
		return parse_limit(&inner);
	if (name && strcmp(name, "connlimit") == 0)
		return parse_connlimit(&inner);
	if (name && strcmp(name, "counter") == 0)
		return 0;
	return add_kind(parse, RULESET_PERHAPS);
}

static int parse_objref(struct parse *parse)
{
	switch (get_number(parse, NFTA_OBJREF_IMM_TYPE)) {
	case NFT_OBJECT_COUNTER:
	case NFT_OBJECT_CT_HELPER:
	case NFT_OBJECT_TUNNEL:
	case NFT_OBJECT_CT_TIMEOUT:
	case NFT_OBJECT_SECMARK:
	case NFT_OBJECT_CT_EXPECT:
		return 0;
	case NFT_OBJECT_SYNPROXY:
		return add_kind(parse, RULESET_STRANGE);
	default:
		return add_kind(parse, RULESET_PERHAPS);
	}
}

static int parse_nat(struct parse *parse)
{
	uint32_t family = get_number(parse, NFTA_NAT_FAMILY);

	if (get_number(parse, NFTA_NAT_TYPE) != NFT_NAT_DNAT)
		return add_verdict(parse, RULESET_ACCEPT);
	/* In chains of both families it passes packets of the other one. */
	if (family == NFPROTO_IPV6)
		return 0;
	return add_verdict(parse, RULESET_TRANSLATE);
}

static int parse_extension(const struct parse *parse,
			   struct ruleset_extension *extension)
{
	const struct ruleset *ruleset = parse->place->ruleset;
	const struct nlattr *info = parse->attrs.at[NFTA_MATCH_INFO];

	parse->place->is_xtables = true;
	*extension = (struct ruleset_extension){
		.name = ruleset_attrs_get_text(&parse->attrs, NFTA_MATCH_NAME),
		.revision = get_number(parse, NFTA_MATCH_REV),
		.ipv6 = ruleset_get_table(ruleset, parse->place->table)->family ==
			NFPROTO_IPV6,
	};
	if (!extension->name || !info)
		return -EINVAL;
	extension->info = mnl_attr_get_payload(info);
	extension->length = mnl_attr_get_payload_len(info);
	return 0;
}

/* The attributes of a target are those of a match, by other names. */
static int parse_match(struct parse *parse)
{
	struct ruleset_extension extension;
	int error = parse_extension(parse, &extension);

	return error < 0 ? error : ruleset_parse_match(parse->place, &extension);
}

static int parse_target(struct parse *parse)
{
	struct ruleset_extension extension;
	int error = parse_extension(parse, &extension);

	return error < 0 ? error : ruleset_parse_target(parse->place, &extension);
}

static int parse_perhaps(struct parse *parse)
{
	return add_kind(parse, RULESET_PERHAPS);
}

static int parse_offload(struct parse *parse)
{
	return add_kind(parse, RULESET_OFFLOAD);
}

static int parse_reject(struct parse *parse)
{
	return add_verdict(parse, RULESET_DROP);
}

static int parse_queue(struct parse *parse)
{
	return add_verdict(parse, RULESET_ANYTHING);
}

static int parse_redirect(struct parse *parse)
{
	return add_verdict(parse, RULESET_TRANSLATE);
}

static int parse_masquerade(struct parse *parse)
{
	return add_verdict(parse, RULESET_ACCEPT);
}

/* Nothing to us. */
static int parse_nothing(struct parse *parse)
{
	(void)parse;
	return 0;
}

static const struct {
	const char *name;
	int (*parse)(struct parse *parse);
} parsers[] = {
	{"bitwise", parse_bitwise},
	{"byteorder", parse_byteorder},
	{"cmp", parse_cmp},
	{"connlimit", parse_connlimit},
	{"counter", parse_nothing},
	{"ct", parse_ct},
	{"dup", parse_nothing},
	{"dynset", parse_dynset},
	{"exthdr", parse_exthdr},
	{"fib", parse_fib},
	{"flow_offload", parse_offload},
	{"hash", parse_perhaps},
	{"immediate", parse_immediate},
	{"last", parse_nothing},
	{"limit", parse_limit},
	{"log", parse_nothing},
	{"lookup", parse_lookup},
	{"masq", parse_masquerade},
	{"match", parse_match},
	{"meta", parse_meta},
	{"nat", parse_nat},
	{"notrack", parse_nothing},
	{"numgen", parse_perhaps},
	{"objref", parse_objref},
	{"osf", parse_perhaps},
	{"payload", parse_payload},
	{"queue", parse_queue},
	{"quota", parse_perhaps},
	{"range", parse_range},
	{"redir", parse_redirect},
	{"reject", parse_reject},
	{"rt", parse_perhaps},
	{"socket", parse_perhaps},
	{"target", parse_target},
	{"tunnel", parse_perhaps},
	{"xfrm", parse_perhaps},
};

int ruleset_parse_expr(struct ruleset_place *place, const struct nlattr *nest)
{
	struct parse parse = {.place = place};
	struct netlink_attrs attrs;
	const char *name;

	netlink_attrs_read_nest(&attrs, nest);
	netlink_attrs_read_nest(&parse.attrs, attrs.at[NFTA_EXPR_DATA]);
	name = ruleset_attrs_get_text(&attrs, NFTA_EXPR_NAME);
	for (size_t i = 0; name && i < sizeof(parsers) / sizeof(parsers[0]); i++)
		if (strcmp(parsers[i].name, name) == 0)
			return parsers[i].parse(&parse);
	return add_kind(&parse, RULESET_STRANGE);
}
