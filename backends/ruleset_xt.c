/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_connlimit.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_hashlimit.h>
#include <linux/netfilter/xt_iprange.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_pkttype.h>
#include <linux/netfilter/xt_policy.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <string.h>

/*
 * What the extensions of iptables ask becomes expressions like those of nftables, in
 * registers that nftables does not have. What is not known here may match or not.
 */

#define SCRATCH RULESET_KERNEL_REGISTERS
/* Where the flags are in a TCP header. */
#define TCP_FLAGS 13
/* Where the addresses are in a header, and how long. */
#define IPV4_SOURCE 12
#define IPV6_SOURCE 8

static int add_expr(struct ruleset_place *place, enum ruleset_kind kind)
{
	const struct ruleset_expr expr = {.kind = kind};

	return ruleset_add_expr(place->ruleset, &expr);
}

static int add_load(struct ruleset_place *place, enum ruleset_field field,
		    uint16_t offset, uint16_t length)
{
	const struct ruleset_expr expr = {
		.kind = RULESET_LOAD,
		.field = field,
		.target = SCRATCH,
		.offset = offset,
		.length = length,
	};

	return ruleset_add_expr(place->ruleset, &expr);
}

static int add_mask(struct ruleset_place *place, const void *mask, uint16_t length)
{
	static const uint8_t none[RULESET_DATA_MAX];
	struct ruleset_expr expr = {
		.kind = RULESET_BITWISE,
		.source = SCRATCH,
		.target = SCRATCH,
		.length = length,
	};
	int error = ruleset_add_bytes(place->ruleset, mask, length, &expr.data);

	if (error == 0)
		error = ruleset_add_bytes(place->ruleset, none, length, &expr.data2);
	return error < 0 ? error : ruleset_add_expr(place->ruleset, &expr);
}

static int add_compare(struct ruleset_place *place, enum nft_cmp_ops op,
		       const void *value, uint16_t length)
{
	struct ruleset_expr expr = {
		.kind = RULESET_COMPARE,
		.source = SCRATCH,
		.op = (uint8_t)op,
		.length = length,
	};
	int error = ruleset_add_bytes(place->ruleset, value, length, &expr.data);

	return error < 0 ? error : ruleset_add_expr(place->ruleset, &expr);
}

/* field & mask == value, or not. */
static int add_masked(struct ruleset_place *place, enum ruleset_field field,
		      uint32_t mask, uint32_t value, bool invert)
{
	int error = add_load(place, field, 0, sizeof(mask));

	if (error == 0)
		error = add_mask(place, &mask, sizeof(mask));
	if (error == 0)
		error = add_compare(place, invert ? NFT_CMP_NEQ : NFT_CMP_EQ, &value,
				    sizeof(value));
	return error;
}

/* At least one of these bits is set, or none. */
static int add_any(struct ruleset_place *place, enum ruleset_field field, uint32_t bits,
		   bool invert)
{
	return add_masked(place, field, bits, 0, !invert);
}

static int add_ports(struct ruleset_place *place, enum ruleset_ports_of of,
		     const struct port_range *ranges, size_t count, bool invert)
{
	struct ruleset_expr expr = {
		.kind = invert ? RULESET_NO_PORTS : RULESET_PORTS,
		.op = (uint8_t)of,
		.length = (uint16_t)count,
	};
	int error = ruleset_add_bytes(place->ruleset, ranges, count * sizeof(*ranges),
				      &expr.data);

	return error < 0 ? error : ruleset_add_expr(place->ruleset, &expr);
}

/* A range of all ports asks for nothing. */
static int add_range(struct ruleset_place *place, enum ruleset_ports_of of,
		     const uint16_t ports[2], bool invert)
{
	const struct port_range range = {ports[0], ports[1]};

	if (range.first == 0 && range.last == UINT16_MAX && !invert)
		return 0;
	return add_ports(place, of, &range, 1, invert);
}

static int parse_perhaps(struct ruleset_place *place, const void *info, bool ipv6)
{
	(void)info;
	(void)ipv6;
	return add_expr(place, RULESET_PERHAPS);
}

/* It looks for a header that plain packets do not have. */
static int parse_never(struct ruleset_place *place, const void *info, bool ipv6)
{
	(void)info;
	(void)ipv6;
	return add_expr(place, RULESET_NEVER);
}

static int parse_comment(struct ruleset_place *place, const void *info, bool ipv6)
{
	(void)ipv6;
	place->commented = memcmp(info, FOREIGN_COMMENT, sizeof(FOREIGN_COMMENT)) == 0;
	return 0;
}

_Static_assert(XT_TCP_INV_SRCPT == XT_UDP_INV_SRCPT &&
		       XT_TCP_INV_DSTPT == XT_UDP_INV_DSTPT,
	       "one way to read the ports of both");

static int add_both_ranges(struct ruleset_place *place, const uint16_t source[2],
			   const uint16_t destination[2], uint8_t inverted)
{
	int error = add_range(place, RULESET_PORTS_SOURCE, source,
			      inverted & XT_TCP_INV_SRCPT);

	return error < 0 ? error
			 : add_range(place, RULESET_PORTS_DESTINATION, destination,
				     inverted & XT_TCP_INV_DSTPT);
}

static int parse_tcp(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_tcp tcp;
	int error;

	(void)ipv6;
	memcpy(&tcp, info, sizeof(tcp));
	error = add_both_ranges(place, tcp.spts, tcp.dpts, tcp.invflags);
	if (error == 0 && tcp.option != 0)
		error = add_expr(place, RULESET_PERHAPS);
	if (error < 0 || tcp.flg_mask == 0)
		return error;
	error = add_load(place, RULESET_FIELD_TRANSPORT, TCP_FLAGS, 1);
	if (error == 0)
		error = add_mask(place, &tcp.flg_mask, 1);
	if (error < 0)
		return error;
	return add_compare(place,
			   tcp.invflags & XT_TCP_INV_FLAGS ? NFT_CMP_NEQ : NFT_CMP_EQ,
			   &tcp.flg_cmp, 1);
}

static int parse_udp(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_udp udp;

	(void)ipv6;
	memcpy(&udp, info, sizeof(udp));
	return add_both_ranges(place, udp.spts, udp.dpts, udp.invflags);
}

static int parse_multiport(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_multiport_v1 multi;
	struct port_range ranges[XT_MULTI_PORTS];
	enum ruleset_ports_of of = RULESET_PORTS_EITHER;
	size_t count = 0;

	(void)ipv6;
	memcpy(&multi, info, sizeof(multi));
	if (multi.flags == XT_MULTIPORT_SOURCE)
		of = RULESET_PORTS_SOURCE;
	else if (multi.flags == XT_MULTIPORT_DESTINATION)
		of = RULESET_PORTS_DESTINATION;
	for (size_t i = 0; i < multi.count && i < XT_MULTI_PORTS; i++) {
		ranges[count] = (struct port_range){multi.ports[i], multi.ports[i]};
		/* This one begins a range that the next one ends. */
		if (multi.pflags[i] && i + 1 < XT_MULTI_PORTS)
			ranges[count].last = multi.ports[++i];
		count++;
	}
	return add_ports(place, of, ranges, count, multi.invert);
}

static int parse_connmark(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_connmark_mtinfo1 mark;

	(void)ipv6;
	memcpy(&mark, info, sizeof(mark));
	return add_masked(place, RULESET_FIELD_MARK, mark.mask, mark.mark, mark.invert);
}

static int parse_addrtype(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_addrtype_info_v1 type;
	int error = 0;

	(void)ipv6;
	memcpy(&type, info, sizeof(type));
	if (type.source != 0)
		error = add_any(place, RULESET_FIELD_XT_SOURCE_TYPE, type.source,
				type.flags & XT_ADDRTYPE_INVERT_SOURCE);
	if (error == 0 && type.dest != 0)
		error = add_any(place, RULESET_FIELD_XT_DESTINATION_TYPE, type.dest,
				type.flags & XT_ADDRTYPE_INVERT_DEST);
	return error;
}

static int parse_pkttype(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_pkttype_info type;
	uint32_t wanted;

	(void)ipv6;
	memcpy(&type, info, sizeof(type));
	wanted = (uint32_t)type.pkttype;
	return add_masked(place, RULESET_FIELD_PACKET_TYPE, UINT32_MAX, wanted,
			  type.invert != 0);
}

static int parse_state(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_state_info state;

	(void)ipv6;
	memcpy(&state, info, sizeof(state));
	return add_any(place, RULESET_FIELD_STATE, state.statemask, false);
}

static int add_conntrack(struct ruleset_place *place,
			 const struct xt_conntrack_mtinfo2 *asked)
{
	const uint16_t known = XT_CONNTRACK_STATE | XT_CONNTRACK_STATE_ALIAS |
			       XT_CONNTRACK_STATUS | XT_CONNTRACK_DIRECTION |
			       XT_CONNTRACK_PROTO;
	int error = 0;

	if (asked->match_flags & XT_CONNTRACK_STATE)
		error = add_any(place, RULESET_FIELD_XT_STATE, asked->state_mask,
				asked->invert_flags & XT_CONNTRACK_STATE);
	if (error == 0 && asked->match_flags & XT_CONNTRACK_STATUS)
		error = add_any(place, RULESET_FIELD_STATUS, asked->status_mask,
				asked->invert_flags & XT_CONNTRACK_STATUS);
	if (error == 0 && asked->match_flags & XT_CONNTRACK_DIRECTION)
		error = add_masked(place, RULESET_FIELD_DIRECTION, UINT32_MAX, 0,
				   asked->invert_flags & XT_CONNTRACK_DIRECTION);
	if (error == 0 && asked->match_flags & XT_CONNTRACK_PROTO)
		error = add_masked(place, RULESET_FIELD_PROTOCOL, UINT32_MAX,
				   asked->l4proto,
				   asked->invert_flags & XT_CONNTRACK_PROTO);
	if (error == 0 && asked->match_flags & ~known)
		error = add_expr(place, RULESET_PERHAPS);
	return error;
}

/* Revision 2 has more bits in its masks. */
static int parse_conntrack1(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_conntrack_mtinfo1 from;

	(void)ipv6;
	memcpy(&from, info, sizeof(from));
	return add_conntrack(place, &(const struct xt_conntrack_mtinfo2){
					    .l4proto = from.l4proto,
					    .match_flags = from.match_flags,
					    .invert_flags = from.invert_flags,
					    .state_mask = from.state_mask,
					    .status_mask = from.status_mask,
				    });
}

static int parse_conntrack2(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_conntrack_mtinfo2 asked;

	(void)ipv6;
	memcpy(&asked, info, sizeof(asked));
	return add_conntrack(place, &asked);
}

/* Traffic that came by IPsec, or will go so: plain packets did not come so. */
static int parse_policy(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_policy_info policy;

	(void)ipv6;
	memcpy(&policy, info, sizeof(policy));
	if (!(policy.flags & XT_POLICY_MATCH_IN))
		return add_expr(place, RULESET_PERHAPS);
	return policy.flags & XT_POLICY_MATCH_NONE ? 0 : add_expr(place, RULESET_NEVER);
}

static int add_addresses(struct ruleset_place *place, uint16_t at,
			 const union nf_inet_addr ends[2], bool ipv6, bool invert)
{
	uint16_t length = ipv6 ? sizeof(ends->in6) : sizeof(ends->in);
	struct ruleset_expr expr = {
		.kind = RULESET_RANGE,
		.source = SCRATCH,
		.op = invert,
		.length = length,
	};
	int error = add_load(place, RULESET_FIELD_NETWORK, at, length);

	if (error == 0)
		error = ruleset_add_bytes(place->ruleset, &ends[0], length, &expr.data);
	if (error == 0)
		error = ruleset_add_bytes(place->ruleset, &ends[1], length,
					  &expr.data2);
	return error < 0 ? error : ruleset_add_expr(place->ruleset, &expr);
}

static int parse_iprange(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_iprange_mtinfo range;
	uint16_t source = ipv6 ? IPV6_SOURCE : IPV4_SOURCE;
	uint16_t destination = (uint16_t)(source + (ipv6 ? 16 : 4));
	int error = 0;

	memcpy(&range, info, sizeof(range));
	if (range.flags & IPRANGE_SRC) {
		const union nf_inet_addr ends[] = {range.src_min, range.src_max};

		error = add_addresses(place, source, ends, ipv6,
				      range.flags & IPRANGE_SRC_INV);
	}
	if (error == 0 && range.flags & IPRANGE_DST) {
		const union nf_inet_addr ends[] = {range.dst_min, range.dst_max};

		error = add_addresses(place, destination, ends, ipv6,
				      range.flags & IPRANGE_DST_INV);
	}
	return error;
}

/* beyond: it matches what is more than the limit. */
static int add_guard(struct ruleset_place *place, bool beyond)
{
	const struct ruleset_expr expr = {.kind = RULESET_GUARD, .op = beyond};

	return ruleset_add_expr(place->ruleset, &expr);
}

static int parse_connlimit(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_connlimit_info limit;

	(void)ipv6;
	memcpy(&limit, info, sizeof(limit));
	return add_guard(place, !(limit.flags & XT_CONNLIMIT_INVERT));
}

static int parse_hashlimit1(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_hashlimit_mtinfo1 limit;

	(void)ipv6;
	memcpy(&limit, info, sizeof(limit));
	return add_guard(place, limit.cfg.mode & XT_HASHLIMIT_INVERT);
}

/* The third revision begins like the second. */
static int parse_hashlimit2(struct ruleset_place *place, const void *info, bool ipv6)
{
	struct xt_hashlimit_mtinfo2 limit;

	(void)ipv6;
	memcpy(&limit, info, sizeof(limit));
	return add_guard(place, limit.cfg.mode & XT_HASHLIMIT_INVERT);
}

static const struct {
	const char *name;
	uint32_t revision;
	size_t length; /* at least: what is parsed */
	int (*parse)(struct ruleset_place *place, const void *info, bool ipv6);
} matches[] = {
	{"addrtype", 1, sizeof(struct xt_addrtype_info_v1), parse_addrtype},
	{"ah", 0, 0, parse_never},
	{"comment", 0, sizeof(FOREIGN_COMMENT), parse_comment},
	{"connlimit", 1, sizeof(struct xt_connlimit_info), parse_connlimit},
	{"connmark", 1, sizeof(struct xt_connmark_mtinfo1), parse_connmark},
	{"conntrack", 1, sizeof(struct xt_conntrack_mtinfo1), parse_conntrack1},
	{"conntrack", 2, sizeof(struct xt_conntrack_mtinfo2), parse_conntrack2},
	/* The third one begins like the second. */
	{"conntrack", 3, sizeof(struct xt_conntrack_mtinfo3), parse_conntrack2},
	{"dst", 0, 0, parse_never},
	{"frag", 0, 0, parse_never},
	{"hashlimit", 1, sizeof(struct xt_hashlimit_mtinfo1), parse_hashlimit1},
	{"hashlimit", 2, sizeof(struct xt_hashlimit_mtinfo2), parse_hashlimit2},
	{"hashlimit", 3, sizeof(struct xt_hashlimit_mtinfo3), parse_hashlimit2},
	{"hbh", 0, 0, parse_never},
	{"iprange", 1, sizeof(struct xt_iprange_mtinfo), parse_iprange},
	{"mh", 0, 0, parse_never},
	{"multiport", 1, sizeof(struct xt_multiport_v1), parse_multiport},
	{"pkttype", 0, sizeof(struct xt_pkttype_info), parse_pkttype},
	{"policy", 0, sizeof(struct xt_policy_info), parse_policy},
	{"rt", 0, 0, parse_never},
	{"state", 0, sizeof(struct xt_state_info), parse_state},
	{"tcp", 0, sizeof(struct xt_tcp), parse_tcp},
	{"udp", 0, sizeof(struct xt_udp), parse_udp},
};

int ruleset_parse_match(struct ruleset_place *place,
			const struct ruleset_extension *extension)
{
	for (size_t i = 0; i < sizeof(matches) / sizeof(matches[0]); i++)
		if (strcmp(matches[i].name, extension->name) == 0 &&
		    matches[i].revision == extension->revision &&
		    matches[i].length <= extension->length)
			return matches[i].parse(place, extension->info,
						extension->ipv6);
	return parse_perhaps(place, extension->info, extension->ipv6);
}

static int add_verdict(struct ruleset_place *place, enum ruleset_decision decision)
{
	const struct ruleset_expr expr = {
		.kind = RULESET_VERDICT,
		.op = (uint8_t)decision,
		.index = RULESET_NONE,
	};

	return ruleset_add_expr(place->ruleset, &expr);
}

static bool is_in(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

int ruleset_parse_target(struct ruleset_place *place,
			 const struct ruleset_extension *extension)
{
	/* After these the next rule is looked at. */
	static const char *const passing[] = {
		"AUDIT",   "CHECKSUM", "CLASSIFY", "CONNSECMARK", "CT",
		"DSCP",	   "ECN",      "HL",	   "HMARK",	  "IDLETIMER",
		"LED",	   "LOG",      "MARK",	   "NFLOG",	  "NOTRACK",
		"RATEEST", "SECMARK",  "SET",	   "TCPMSS",	  "TCPOPTSTRIP",
		"TEE",	   "TOS",      "TRACE",	   "TTL",	  NULL,
	};
	static const char *const translating[] = {"DNAT", "NETMAP", "REDIRECT", NULL};
	static const char *const others[] = {"MASQUERADE", "SNAT", NULL};

	if (is_in(extension->name, passing))
		return 0;
	if (is_in(extension->name, translating))
		return add_verdict(place, RULESET_TRANSLATE);
	if (is_in(extension->name, others))
		return add_verdict(place, RULESET_ACCEPT);
	if (strcmp(extension->name, "REJECT") == 0)
		return add_verdict(place, RULESET_DROP);
	if (strcmp(extension->name, "CONNMARK") == 0)
		return add_expr(place, RULESET_SET_MARK);
	if (strcmp(extension->name, "NFQUEUE") == 0)
		return add_verdict(place, RULESET_ANYTHING);
	return add_expr(place, RULESET_STRANGE);
}
