/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

/* What is shorter is as if it were not there. */
static void copy_attr(const struct netlink_attrs *attrs, unsigned int type, void *out,
		      size_t size)
{
	const struct nlattr *attr = attrs->at[type];

	if (attr && mnl_attr_get_payload_len(attr) >= size)
		memcpy(out, mnl_attr_get_payload(attr), size);
}

uint32_t ruleset_attrs_get_number(const struct netlink_attrs *attrs, unsigned int type)
{
	uint32_t number = 0;

	copy_attr(attrs, type, &number, sizeof(number));
	return ntohl(number);
}

uint64_t ruleset_attrs_get_long(const struct netlink_attrs *attrs, unsigned int type)
{
	uint64_t number = 0;

	copy_attr(attrs, type, &number, sizeof(number));
	return be64toh(number);
}

uint8_t ruleset_attrs_get_octet(const struct netlink_attrs *attrs, unsigned int type)
{
	uint8_t octet = 0;

	copy_attr(attrs, type, &octet, sizeof(octet));
	return octet;
}

const char *ruleset_attrs_get_text(const struct netlink_attrs *attrs, unsigned int type)
{
	const struct nlattr *attr = attrs->at[type];

	if (!attr || mnl_attr_get_payload_len(attr) == 0 ||
	    memchr(mnl_attr_get_payload(attr), '\0', mnl_attr_get_payload_len(attr)) ==
		    NULL)
		return NULL;
	return mnl_attr_get_str(attr);
}

static bool parse_code(struct ruleset_data *out, uint32_t code)
{
	/* The lower half of what leaves nf_tables is the verdict of netfilter. */
	switch ((int32_t)code) {
	case NFT_CONTINUE:
	case NFT_BREAK:
		out->goes_on = true;
		return true;
	case NFT_JUMP:
		out->verdict.decision = RULESET_JUMP;
		return true;
	case NFT_GOTO:
		out->verdict.decision = RULESET_GOTO;
		return true;
	case NFT_RETURN:
		out->verdict.decision = RULESET_RETURN;
		return true;
	case NF_ACCEPT:
		out->verdict.decision = RULESET_ACCEPT;
		return true;
	default:
		out->verdict.decision = (code & NF_VERDICT_MASK) == NF_DROP
						? RULESET_DROP
						: RULESET_ANYTHING;
		return (int32_t)code >= 0;
	}
}

static int parse_verdict(const struct ruleset *ruleset, uint32_t table,
			 const struct nlattr *nest, struct ruleset_data *out)
{
	struct netlink_attrs attrs;
	const char *chain;

	netlink_attrs_read_nest(&attrs, nest);
	out->has_verdict = true;
	out->verdict.chain = RULESET_NONE;
	if (!attrs.at[NFTA_VERDICT_CODE] ||
	    !parse_code(out, ruleset_attrs_get_number(&attrs, NFTA_VERDICT_CODE)))
		return -EINVAL;
	chain = ruleset_attrs_get_text(&attrs, NFTA_VERDICT_CHAIN);
	if (chain)
		out->verdict.chain = ruleset_find_chain_index(ruleset, table, chain);
	return 0;
}

int ruleset_parse_data(struct ruleset *ruleset, uint32_t table,
		       const struct nlattr *nest, struct ruleset_data *out)
{
	struct netlink_attrs attrs;
	const struct nlattr *value;

	*out = (struct ruleset_data){0};
	netlink_attrs_read_nest(&attrs, nest);
	value = attrs.at[NFTA_DATA_VALUE];
	if (attrs.at[NFTA_DATA_VERDICT])
		return parse_verdict(ruleset, table, attrs.at[NFTA_DATA_VERDICT], out);
	if (!value || mnl_attr_get_payload_len(value) == 0 ||
	    mnl_attr_get_payload_len(value) > RULESET_DATA_MAX)
		return -EINVAL;
	out->length = mnl_attr_get_payload_len(value);
	return ruleset_add_bytes(ruleset, mnl_attr_get_payload(value), out->length,
				 &out->data);
}
