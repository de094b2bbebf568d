/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/legacy_match.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <string.h>

_Static_assert(LEGACY_NAME_SIZE > XT_EXTENSION_MAXNAMELEN && IFNAMSIZ == IF_NAMESIZE,
	       "names of the kernel fit");

/* IPT_INV_... and IP6T_INV_... are the same bits. */

/* The head of a rule of either family. IPv4 addresses are in the last four octets. */
struct rule_head {
	struct in6_addr source, source_mask;
	struct in6_addr destination, destination_mask;
	char in[IFNAMSIZ], out[IFNAMSIZ];
	unsigned char in_mask[IFNAMSIZ], out_mask[IFNAMSIZ];
	uint16_t protocol; /* 0 = any */
	uint8_t inverse;
	bool odd; /* of a fragment, a type of service, or it does not come back */
	size_t size;
	size_t target_offset;
	size_t next_offset;
};

static struct in6_addr widen(struct in_addr ipv4)
{
	struct in6_addr wide = {.s6_addr = {0}};

	memcpy(&wide.s6_addr[12], &ipv4, sizeof(ipv4));
	return wide;
}

static void head_read4(const uint8_t *at, struct rule_head *out)
{
	struct ipt_entry entry;

	memcpy(&entry, at, sizeof(entry));
	*out = (struct rule_head){
		.source = widen(entry.ip.src),
		.source_mask = widen(entry.ip.smsk),
		.destination = widen(entry.ip.dst),
		.destination_mask = widen(entry.ip.dmsk),
		.protocol = entry.ip.proto,
		.inverse = entry.ip.invflags,
		.odd = (entry.ip.flags & (IPT_F_FRAG | IPT_F_GOTO)) != 0,
		.size = sizeof(entry),
		.target_offset = entry.target_offset,
		.next_offset = entry.next_offset,
	};
	memcpy(out->in, entry.ip.iniface, sizeof(out->in));
	memcpy(out->out, entry.ip.outiface, sizeof(out->out));
	memcpy(out->in_mask, entry.ip.iniface_mask, sizeof(out->in_mask));
	memcpy(out->out_mask, entry.ip.outiface_mask, sizeof(out->out_mask));
}

static void head_read6(const uint8_t *at, struct rule_head *out)
{
	struct ip6t_entry entry;

	memcpy(&entry, at, sizeof(entry));
	*out = (struct rule_head){
		.source = entry.ipv6.src,
		.source_mask = entry.ipv6.smsk,
		.destination = entry.ipv6.dst,
		.destination_mask = entry.ipv6.dmsk,
		.protocol = (entry.ipv6.flags & IP6T_F_PROTO) ? entry.ipv6.proto : 0,
		.inverse = entry.ipv6.invflags,
		.odd = (entry.ipv6.flags & ~IP6T_F_PROTO) != 0,
		.size = sizeof(entry),
		.target_offset = entry.target_offset,
		.next_offset = entry.next_offset,
	};
	memcpy(out->in, entry.ipv6.iniface, sizeof(out->in));
	memcpy(out->out, entry.ipv6.outiface, sizeof(out->out));
	memcpy(out->in_mask, entry.ipv6.iniface_mask, sizeof(out->in_mask));
	memcpy(out->out_mask, entry.ipv6.outiface_mask, sizeof(out->out_mask));
}

/* Errors: false: what is there is no rule. */
static bool head_read(const struct legacy_table *table, uint32_t offset,
		      struct rule_head *out)
{
	size_t size =
		table->ipv6 ? sizeof(struct ip6t_entry) : sizeof(struct ipt_entry);

	if (offset > table->size || table->size - offset < size)
		return false;
	if (table->ipv6)
		head_read6(table->bytes + offset, out);
	else
		head_read4(table->bytes + offset, out);
	return out->target_offset >= size &&
	       out->next_offset >=
		       out->target_offset + sizeof(struct xt_entry_target) &&
	       out->next_offset <= table->size - offset;
}

static bool address_matches(const struct ip_addr *addr, const struct in6_addr *wanted,
			    const struct in6_addr *mask, bool ipv6)
{
	for (size_t i = ipv6 ? 0 : 12; i < sizeof(addr->bytes); i++) {
		if ((addr->bytes[i] & mask->s6_addr[i]) != wanted->s6_addr[i])
			return false;
	}
	return true;
}

static bool interface_matches(const char name[IF_NAMESIZE], const char *wanted,
			      const unsigned char *mask)
{
	for (size_t i = 0; i < IF_NAMESIZE; i++) {
		if ((((unsigned char)name[i] ^ (unsigned char)wanted[i]) & mask[i]) !=
		    0)
			return false;
	}
	return true;
}

static enum legacy_match head_match(const struct rule_head *head,
				    const struct packet *packet)
{
	const struct {
		bool matches;
		unsigned int inverse;
	} rows[] = {
		{address_matches(&packet->source, &head->source, &head->source_mask,
				 packet->ipv6),
		 IPT_INV_SRCIP},
		{address_matches(&packet->destination, &head->destination,
				 &head->destination_mask, packet->ipv6),
		 IPT_INV_DSTIP},
		{interface_matches(packet->in, head->in, head->in_mask),
		 IPT_INV_VIA_IN},
		{interface_matches(packet->out, head->out, head->out_mask),
		 IPT_INV_VIA_OUT},
		{head->protocol == 0 || head->protocol == packet->protocol,
		 IPT_INV_PROTO},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool inverse = (head->inverse & rows[i].inverse) != 0;

		/* "! -p any" is not asked for; the kernel looks at it the same way. */
		if (rows[i].matches == inverse)
			return LEGACY_MATCH_NO;
	}
	return head->odd ? LEGACY_MATCH_MAYBE : LEGACY_MATCH_YES;
}

/* The part of a match behind its head. */
struct match_data {
	const uint8_t *at;
	size_t size;
	uint8_t revision;
};

static enum legacy_match match_from_bool(bool matches)
{
	return matches ? LEGACY_MATCH_YES : LEGACY_MATCH_NO;
}

static enum legacy_match match_comment(const struct match_data *data,
				       const struct packet *packet)
{
	(void)data;
	(void)packet;
	return LEGACY_MATCH_YES;
}

static enum legacy_match match_connmark(const struct match_data *data,
					const struct packet *packet)
{
	struct xt_connmark_mtinfo1 info;

	if (data->revision != 1 || data->size < sizeof(info))
		return LEGACY_MATCH_MAYBE;
	memcpy(&info, data->at, sizeof(info));
	return match_from_bool(((packet->mark & info.mask) == info.mark) !=
			       (info.invert != 0));
}

static unsigned int packet_get_state(const struct packet *packet)
{
	return packet->is_new ? XT_STATE_BIT(IP_CT_NEW)
			      : XT_STATE_BIT(IP_CT_ESTABLISHED);
}

static enum legacy_match match_state(const struct match_data *data,
				     const struct packet *packet)
{
	struct xt_state_info info;

	if (data->size < sizeof(info))
		return LEGACY_MATCH_MAYBE;
	memcpy(&info, data->at, sizeof(info));
	return match_from_bool((info.statemask & packet_get_state(packet)) != 0);
}

static enum legacy_match match_conntrack(const struct match_data *data,
					 const struct packet *packet)
{
	unsigned int state = packet_get_state(packet);
	struct xt_conntrack_mtinfo3 info;

	if (data->revision != 3 || data->size < sizeof(info))
		return LEGACY_MATCH_MAYBE;
	memcpy(&info, data->at, sizeof(info));
	/* The alias says how it is written: -m state. */
	if ((info.match_flags &
	     ~(unsigned int)(XT_CONNTRACK_STATE | XT_CONNTRACK_STATE_ALIAS)) != 0)
		return LEGACY_MATCH_MAYBE;
	if (packet->translated)
		state |= XT_CONNTRACK_STATE_DNAT;
	return match_from_bool(((info.state_mask & state) != 0) !=
			       ((info.invert_flags & XT_CONNTRACK_STATE) != 0));
}

static bool port_is_in(uint16_t port, const uint16_t range[2], bool inverse)
{
	return (port >= range[0] && port <= range[1]) != inverse;
}

static enum legacy_match match_udp(const struct match_data *data,
				   const struct packet *packet)
{
	struct xt_udp info;

	if (data->size < sizeof(info))
		return LEGACY_MATCH_MAYBE;
	memcpy(&info, data->at, sizeof(info));
	return match_from_bool(port_is_in(packet->source_port, info.spts,
					  info.invflags & XT_UDP_INV_SRCPT) &&
			       port_is_in(packet->destination_port, info.dpts,
					  info.invflags & XT_UDP_INV_DSTPT));
}

static enum legacy_match match_tcp(const struct match_data *data,
				   const struct packet *packet)
{
	struct xt_tcp info;

	if (data->size < sizeof(info))
		return LEGACY_MATCH_MAYBE;
	memcpy(&info, data->at, sizeof(info));
	if (!port_is_in(packet->source_port, info.spts,
			info.invflags & XT_TCP_INV_SRCPT) ||
	    !port_is_in(packet->destination_port, info.dpts,
			info.invflags & XT_TCP_INV_DSTPT))
		return LEGACY_MATCH_NO;
	return info.flg_mask != 0 || info.option != 0 ? LEGACY_MATCH_MAYBE
						      : LEGACY_MATCH_YES;
}

static enum legacy_match match_data(const char *name, const struct match_data *data,
				    const struct packet *packet)
{
	static const struct {
		const char *name;
		enum legacy_match (*match)(const struct match_data *data,
					   const struct packet *packet);
	} rows[] = {
		{"comment", match_comment}, {"connmark", match_connmark},
		{"state", match_state},	    {"conntrack", match_conntrack},
		{"udp", match_udp},	    {"tcp", match_tcp},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].match(data, packet);
	}
	return LEGACY_MATCH_MAYBE;
}

/* All matches of the rule that begins at `at`. */
static enum legacy_match matches_match(const uint8_t *at, const struct rule_head *head,
				       const struct packet *packet)
{
	enum legacy_match all = LEGACY_MATCH_YES;
	size_t offset = head->size;

	while (head->target_offset - offset >= sizeof(struct xt_entry_match)) {
		struct xt_entry_match match;
		char name[LEGACY_NAME_SIZE] = "";
		enum legacy_match one;

		memcpy(&match, at + offset, sizeof(match));
		if (match.u.match_size < sizeof(match) ||
		    match.u.match_size > head->target_offset - offset)
			return LEGACY_MATCH_MAYBE;
		memcpy(name, match.u.user.name, sizeof(match.u.user.name));
		one = match_data(
			name,
			&(struct match_data){.at = at + offset + sizeof(match),
					     .size = match.u.match_size - sizeof(match),
					     .revision = match.u.user.revision},
			packet);
		all = one < all ? one : all;
		offset += match.u.match_size;
	}
	return all;
}

bool legacy_read_rule(const struct legacy_table *table, uint32_t offset,
		      const struct packet *packet, struct legacy_rule *out)
{
	struct rule_head head;
	struct xt_entry_target target;
	const uint8_t *at;
	enum legacy_match matches;

	if (!head_read(table, offset, &head))
		return false;
	at = table->bytes + offset;
	memset(out, 0, sizeof(*out));
	out->next = offset + (uint32_t)head.next_offset;
	out->match = head_match(&head, packet);
	matches = matches_match(at, &head, packet);
	if (matches < out->match)
		out->match = matches;
	memcpy(&target, at + head.target_offset, sizeof(target));
	memcpy(out->target.name, target.u.user.name, sizeof(target.u.user.name));
	if (head.next_offset - head.target_offset >= sizeof(struct xt_standard_target))
		memcpy(&out->target.verdict,
		       at + head.target_offset +
			       offsetof(struct xt_standard_target, verdict),
		       sizeof(out->target.verdict));
	return true;
}
