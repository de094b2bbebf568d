/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

/* Types of what is in a rule's user data, as nft has them. */
#define USER_DATA_COMMENT 0
/* What follows a rule, where there is something in it that we cannot even read. */
static const struct ruleset_expr strange = {.kind = RULESET_STRANGE};

static int add_text(struct ruleset *ruleset, const char *text, uint32_t *at)
{
	return ruleset_add_bytes(ruleset, text, strlen(text) + 1, at);
}

static bool is_wanted_family(uint8_t family)
{
	return family == NFPROTO_INET || family == NFPROTO_IPV4 ||
	       family == NFPROTO_IPV6 || family == NFPROTO_NETDEV;
}

static int parse_table(struct ruleset *ruleset, uint8_t family,
		       const struct netlink_attrs *attrs)
{
	const char *name = ruleset_attrs_get_text(attrs, NFTA_TABLE_NAME);
	uint32_t flags = ruleset_attrs_get_number(attrs, NFTA_TABLE_FLAGS);
	struct ruleset_table table = {
		.family = family,
		.dormant = (flags & NFT_TABLE_F_DORMANT) != 0,
		.is_owned = (flags & NFT_TABLE_F_OWNER) != 0,
	};
	int error;

	if (!name)
		return 0;
	table.own = family == NFPROTO_INET && strcmp(name, RULESET_OWN_TABLE) == 0;
	error = add_text(ruleset, name, &table.name);
	if (error < 0)
		return error;
	return ruleset_append(&ruleset->tables, &table, sizeof(table),
			      RULESET_TABLES_MAX);
}

static enum ruleset_type get_type(const char *text)
{
	if (!text)
		return RULESET_TYPE_OTHER;
	if (strcmp(text, "filter") == 0)
		return RULESET_TYPE_FILTER;
	return strcmp(text, "nat") == 0 ? RULESET_TYPE_NAT : RULESET_TYPE_OTHER;
}

static int add_device(struct ruleset *ruleset, const struct nlattr *attr,
		      struct ruleset_chain *chain)
{
	char name[IFNAMSIZ] = "";
	uint32_t at;
	int error;

	memcpy(name, mnl_attr_get_payload(attr),
	       strnlen(mnl_attr_get_payload(attr),
		       mnl_attr_get_payload_len(attr) < sizeof(name)
			       ? mnl_attr_get_payload_len(attr)
			       : sizeof(name) - 1));
	error = ruleset_add_bytes(ruleset, name, sizeof(name), &at);
	if (error == 0 && chain->device_count++ == 0)
		chain->devices = at;
	return error;
}

/* Where the names of devices go. */
struct device_list {
	struct ruleset *ruleset;
	struct ruleset_chain *chain;
	int error;
};

static int take_device(const struct nlattr *attr, void *user)
{
	struct device_list *list = user;

	list->error = add_device(list->ruleset, attr, list->chain);
	return list->error == 0 ? MNL_CB_OK : MNL_CB_STOP;
}

/* Which devices a chain of ingress is bound to: one, or a list. */
static int parse_devices(struct ruleset *ruleset, const struct netlink_attrs *hook,
			 struct ruleset_chain *chain)
{
	const struct nlattr *list = hook->at[NFTA_HOOK_DEVS];
	struct device_list devices = {.ruleset = ruleset, .chain = chain};

	if (!list)
		return hook->at[NFTA_HOOK_DEV]
			       ? add_device(ruleset, hook->at[NFTA_HOOK_DEV], chain)
			       : 0;
	if (mnl_attr_parse_nested(list, take_device, &devices) < 0)
		return -EBADMSG;
	return devices.error;
}

/* Families number their hooks each in its own way. */
static uint8_t get_hook(uint8_t family, uint32_t number)
{
	if (family == NFPROTO_NETDEV)
		return number == NF_NETDEV_INGRESS ? NF_INET_INGRESS
						   : RULESET_HOOK_NONE;
	return (uint8_t)number;
}

static int parse_hook(struct ruleset *ruleset, uint8_t family,
		      const struct nlattr *attr, struct ruleset_chain *chain)
{
	struct netlink_attrs hook;

	netlink_attrs_read_nest(&hook, attr);
	chain->hook =
		get_hook(family, ruleset_attrs_get_number(&hook, NFTA_HOOK_HOOKNUM));
	chain->priority = (int32_t)ruleset_attrs_get_number(&hook, NFTA_HOOK_PRIORITY);
	return parse_devices(ruleset, &hook, chain);
}

static int parse_chain(struct ruleset *ruleset, uint8_t family,
		       const struct netlink_attrs *attrs)
{
	const char *table = ruleset_attrs_get_text(attrs, NFTA_CHAIN_TABLE);
	const char *name = ruleset_attrs_get_text(attrs, NFTA_CHAIN_NAME);
	const struct nlattr *hook = attrs->at[NFTA_CHAIN_HOOK];
	struct ruleset_chain chain = {
		.sequence = (uint32_t)ruleset->chains.count,
		.is_base = hook != NULL,
		.type = get_type(ruleset_attrs_get_text(attrs, NFTA_CHAIN_TYPE)),
	};
	int error = 0;

	if (!table || !name)
		return 0;
	chain.table = ruleset_find_table(ruleset, family, table);
	if (chain.table == RULESET_NONE)
		return 0;
	chain.drops = hook && attrs->at[NFTA_CHAIN_POLICY] &&
		      ruleset_attrs_get_number(attrs, NFTA_CHAIN_POLICY) == NF_DROP;
	if (hook)
		error = parse_hook(ruleset, family, hook, &chain);
	if (error < 0)
		return error;
	error = add_text(ruleset, name, &chain.name);
	if (error < 0)
		return error;
	return ruleset_append(&ruleset->chains, &chain, sizeof(chain),
			      RULESET_CHAINS_MAX);
}

/* Octets of one part of a concatenated key. */
static int parse_part(const struct nlattr *part, void *user)
{
	struct ruleset_set *set = user;
	struct netlink_attrs field;
	uint32_t length;

	netlink_attrs_read_nest(&field, part);
	length = ruleset_attrs_get_number(&field, NFTA_SET_FIELD_LEN);
	if (set->part_count == RULESET_PARTS_MAX || length > RULESET_DATA_MAX)
		return MNL_CB_ERROR;
	set->parts[set->part_count++] = (uint8_t)((length + 3) / 4 * 4);
	return MNL_CB_OK;
}

/* Errors: false, it makes no sense. */
static bool parse_parts(struct ruleset_set *set, const struct nlattr *desc)
{
	struct netlink_attrs attrs;
	unsigned int total = 0;

	netlink_attrs_read_nest(&attrs, desc);
	if (!attrs.at[NFTA_SET_DESC_CONCAT])
		return true;
	if (mnl_attr_parse_nested(attrs.at[NFTA_SET_DESC_CONCAT], parse_part, set) < 0)
		return false;
	for (unsigned int i = 0; i < set->part_count; i++)
		total += set->parts[i];
	return total == set->key_length;
}

static int parse_set(struct ruleset *ruleset, uint8_t family,
		     const struct netlink_attrs *attrs)
{
	const char *table = ruleset_attrs_get_text(attrs, NFTA_SET_TABLE);
	const char *name = ruleset_attrs_get_text(attrs, NFTA_SET_NAME);
	struct ruleset_set set = {
		.flags = ruleset_attrs_get_number(attrs, NFTA_SET_FLAGS),
		.key_length =
			(uint16_t)ruleset_attrs_get_number(attrs, NFTA_SET_KEY_LEN),
	};
	int error;

	if (!table || !name)
		return 0;
	set.table = ruleset_find_table(ruleset, family, table);
	if (set.table == RULESET_NONE || !parse_parts(&set, attrs->at[NFTA_SET_DESC]))
		return 0;
	error = add_text(ruleset, name, &set.name);
	if (error < 0)
		return error;
	return ruleset_append(&ruleset->sets, &set, sizeof(set), RULESET_SETS_MAX);
}

/* User data is a row of type, length, octets. */
static bool is_commented(const struct nlattr *attr)
{
	const uint8_t *at;
	size_t left;

	if (!attr)
		return false;
	at = mnl_attr_get_payload(attr);
	left = mnl_attr_get_payload_len(attr);
	while (left >= 2 && (size_t)at[1] + 2 <= left) {
		if (at[0] == USER_DATA_COMMENT && at[1] == sizeof(FOREIGN_COMMENT) &&
		    memcmp(at + 2, FOREIGN_COMMENT, sizeof(FOREIGN_COMMENT)) == 0)
			return true;
		left -= (size_t)at[1] + 2;
		at += at[1] + 2;
	}
	return false;
}

/* Expressions of a rule, or elements of a set, while they are read. */
struct row {
	struct ruleset_place place;
	uint32_t set;
	int error;
};

static int take_expr(const struct nlattr *expr, void *user)
{
	struct row *row = user;

	row->error = ruleset_parse_expr(&row->place, expr);
	return row->error < 0 ? MNL_CB_STOP : MNL_CB_OK;
}

/* -EINVAL: there is more, or something that makes no sense. */
static int parse_row(struct row *row, const struct nlattr *list, mnl_attr_cb_t take)
{
	if (list && mnl_attr_parse_nested(list, take, row) < 0)
		return -EINVAL;
	return row->error;
}

static int parse_rule(struct ruleset *ruleset, uint8_t family,
		      const struct netlink_attrs *attrs)
{
	const char *table = ruleset_attrs_get_text(attrs, NFTA_RULE_TABLE);
	const char *chain = ruleset_attrs_get_text(attrs, NFTA_RULE_CHAIN);
	struct row row = {.place = {.ruleset = ruleset}};
	struct ruleset_place *place = &row.place;
	struct ruleset_rule rule = {
		.handle = ruleset_attrs_get_long(attrs, NFTA_RULE_HANDLE),
		.sequence = (uint32_t)ruleset->rules.count,
		.first_expr = (uint32_t)ruleset->exprs.count,
	};
	int error;

	if (!table || !chain)
		return 0;
	place->table = ruleset_find_table(ruleset, family, table);
	if (place->table == RULESET_NONE ||
	    ruleset_get_table(ruleset, place->table)->own)
		return 0;
	rule.chain = ruleset_find_chain_index(ruleset, place->table, chain);
	if (rule.chain == RULESET_NONE)
		return 0;
	error = parse_row(&row, attrs->at[NFTA_RULE_EXPRESSIONS], take_expr);
	if (error == -EINVAL)
		error = ruleset_add_expr(ruleset, &strange);
	if (error < 0)
		return error;
	rule.expr_count = (uint32_t)ruleset->exprs.count - rule.first_expr;
	rule.commented =
		place->commented || is_commented(attrs->at[NFTA_RULE_USERDATA]);
	if (place->is_xtables)
		ruleset_get_table(ruleset, place->table)->is_xtables = true;
	return ruleset_append(&ruleset->rules, &rule, sizeof(rule), RULESET_RULES_MAX);
}

static int add_key(struct ruleset *ruleset, const struct ruleset_set *set,
		   const struct nlattr *attr, uint32_t *at)
{
	struct ruleset_data key;
	int error = ruleset_parse_data(ruleset, set->table, attr, &key);

	if (error < 0)
		return error;
	*at = key.data;
	return key.has_verdict || key.length != set->key_length ? -EINVAL : 0;
}

static int parse_element(struct ruleset *ruleset, const struct ruleset_set *set,
			 const struct nlattr *nest)
{
	struct ruleset_element element = {0};
	struct netlink_attrs attrs;
	struct ruleset_data data = {0};
	uint32_t flags;
	int error = 0;

	netlink_attrs_read_nest(&attrs, nest);
	flags = ruleset_attrs_get_number(&attrs, NFTA_SET_ELEM_FLAGS);
	element.is_end = (flags & NFT_SET_ELEM_INTERVAL_END) != 0;
	element.catches_all = (flags & NFT_SET_ELEM_CATCHALL) != 0;
	if (!element.catches_all)
		error = add_key(ruleset, set, attrs.at[NFTA_SET_ELEM_KEY],
				&element.key);
	element.key_end = element.key;
	if (error == 0 && attrs.at[NFTA_SET_ELEM_KEY_END])
		error = add_key(ruleset, set, attrs.at[NFTA_SET_ELEM_KEY_END],
				&element.key_end);
	if (error == 0 && attrs.at[NFTA_SET_ELEM_DATA])
		error = ruleset_parse_data(ruleset, set->table,
					   attrs.at[NFTA_SET_ELEM_DATA], &data);
	if (error < 0)
		return error;
	element.has_verdict = data.has_verdict && !data.goes_on;
	element.verdict = data.verdict;
	element.data = data.data;
	element.data_length = data.length;
	return ruleset_append(&ruleset->elements, &element, sizeof(element),
			      RULESET_ELEMENTS_MAX);
}

static int take_element(const struct nlattr *element, void *user)
{
	struct row *row = user;
	struct ruleset *ruleset = row->place.ruleset;
	struct ruleset_set *set = ruleset_get_set(ruleset, row->set);

	row->error = parse_element(ruleset, set, element);
	if (row->error == 0 && ++set->element_count > RULESET_SET_ELEMENTS_MAX)
		row->error = -E2BIG;
	return row->error < 0 ? MNL_CB_STOP : MNL_CB_OK;
}

/* -EINVAL, -E2BIG: this set cannot be known. */
static int parse_elements(struct ruleset *ruleset, uint32_t set,
			  const struct netlink_attrs *attrs)
{
	struct row row = {.place = {.ruleset = ruleset}, .set = set};

	return parse_row(&row, attrs->at[NFTA_SET_ELEM_LIST_ELEMENTS], take_element);
}

int ruleset_parse_message(struct ruleset *ruleset, const struct nlmsghdr *message,
			  uint32_t set)
{
	struct nfgenmsg generic;
	struct netlink_attrs attrs;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(generic))
		return 0;
	memcpy(&generic, mnl_nlmsg_get_payload(message), sizeof(generic));
	if (!is_wanted_family(generic.nfgen_family) ||
	    message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
		return 0;
	netlink_attrs_read(&attrs, message, sizeof(struct nfgenmsg));
	switch (message->nlmsg_type & 0xff) {
	case NFT_MSG_NEWTABLE:
		return parse_table(ruleset, generic.nfgen_family, &attrs);
	case NFT_MSG_NEWCHAIN:
		return parse_chain(ruleset, generic.nfgen_family, &attrs);
	case NFT_MSG_NEWSET:
		return parse_set(ruleset, generic.nfgen_family, &attrs);
	case NFT_MSG_NEWRULE:
		return parse_rule(ruleset, generic.nfgen_family, &attrs);
	case NFT_MSG_NEWSETELEM:
		return set == RULESET_NONE ? 0 : parse_elements(ruleset, set, &attrs);
	default:
		return 0;
	}
}
