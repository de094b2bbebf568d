/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules that the kernel has. */
#include "backends/ipt.h"

#include <arpa/inet.h>
#include <libiptc/libip6tc.h>
#include <libiptc/libiptc.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_multiport.h>
#include <string.h>

/* Of a target that is a chain, without its NUL. */
#define LABEL_MAX (IPT_NAME_MAX - 1)

/* The parts of an entry of either family. */
struct view {
	const void *head;
	size_t head_length;
	size_t first; /* match */
	size_t target;
	size_t end;
	struct xt_counters counters;
};

static struct view look(bool ipv6, const void *rule)
{
	const struct ipt_entry *entry4 = rule;
	const struct ip6t_entry *entry6 = rule;

	if (ipv6)
		return (struct view){&entry6->ipv6,	  sizeof(entry6->ipv6),
				     sizeof(*entry6),	  entry6->target_offset,
				     entry6->next_offset, entry6->counters};
	return (struct view){&entry4->ip,	  sizeof(entry4->ip),
			     sizeof(*entry4),	  entry4->target_offset,
			     entry4->next_offset, entry4->counters};
}

/* Behind the NUL of a name the kernel leaves what was there. */
static bool same_part(const struct xt_entry_target *a, const struct xt_entry_target *b)
{
	size_t length = a->u.user.target_size - sizeof(*a);

	return a->u.user.target_size == b->u.user.target_size &&
	       a->u.user.revision == b->u.user.revision &&
	       strncmp(a->u.user.name, b->u.user.name, sizeof(a->u.user.name)) == 0 &&
	       memcmp(a->data, b->data, length) == 0;
}

static const struct xt_entry_target *part_at(const void *rule, size_t offset)
{
	return (const void *)((const uint8_t *)rule + offset);
}

static bool same_matches(const struct view *a, const void *rule_a, const void *rule_b)
{
	for (size_t at = a->first; at < a->target;) {
		const struct xt_entry_target *left = part_at(rule_a, at);

		if (!same_part(left, part_at(rule_b, at)))
			return false;
		at += left->u.user.target_size;
	}
	return true;
}

bool ipt_rule_is(const struct ipt_family *family, const void *there, const char *target,
		 const void *wanted)
{
	const struct view a = look(family->ipv6, wanted);
	const struct view b = look(family->ipv6, there);
	const struct xt_entry_target *target_a = part_at(wanted, a.target);
	const struct xt_entry_target *target_b = part_at(there, b.target);

	if (a.target != b.target || a.end != b.end ||
	    strncmp(target, target_a->u.user.name, LABEL_MAX) != 0 ||
	    memcmp(a.head, b.head, a.head_length) != 0 ||
	    !same_matches(&a, wanted, there))
		return false;
	/* Chains and verdicts are a number in the kernel. */
	return target_a->u.user.target_size ==
		       XT_ALIGN(sizeof(struct xt_standard_target)) ||
	       same_part(target_a, target_b);
}

const char *ipt_rule_get_chain(const struct ipt_family *family, const void *rule)
{
	const struct view view = look(family->ipv6, rule);
	const struct xt_entry_target *target = part_at(rule, view.target);
	const char *name = target->u.user.name;

	if (target->u.user.target_size != XT_ALIGN(sizeof(struct xt_standard_target)) ||
	    strcmp(name, XTC_LABEL_ACCEPT) == 0 || strcmp(name, XTC_LABEL_RETURN) == 0)
		return NULL;
	return name;
}

struct rule_counters ipt_rule_get_counters(const struct ipt_family *family,
					   const void *there)
{
	const struct view view = look(family->ipv6, there);

	return (struct rule_counters){.packets = view.counters.pcnt,
				      .octets = view.counters.bcnt};
}

/* --- what they say --- */

static const void *find_match(const struct view *view, const void *there,
			      const char *name, uint8_t revision)
{
	for (size_t at = view->first; at < view->target;) {
		const struct xt_entry_target *match = part_at(there, at);

		if (strcmp(match->u.user.name, name) == 0 &&
		    match->u.user.revision == revision)
			return match->data;
		at += match->u.user.target_size;
	}
	return NULL;
}

static struct ip_addr get_addr(bool ipv6, const union nf_inet_addr *from)
{
	return ipv6 ? addr_from_ipv6(&from->in6) : addr_from_ipv4(from->in);
}

static uint8_t count_bits(bool ipv6, const union nf_inet_addr *mask)
{
	const unsigned int words = ipv6 ? 4 : 1;
	unsigned int bits = ipv6 ? 0 : 96;

	for (unsigned int i = 0; i < words; i++)
		bits += (unsigned int)__builtin_popcount(mask->all[i]);
	return (uint8_t)bits;
}

static void parse_peer(bool ipv6, const struct xt_conntrack_mtinfo3 *info,
		       struct rule *rule)
{
	struct rule_filter *filter = &rule->filters[0];

	if (!(info->match_flags & (XT_CONNTRACK_ORIGSRC | XT_CONNTRACK_ORIGSRC_PORT)))
		return;
	rule->filter_count = 1;
	filter->port = info->origsrc_port;
	filter->prefix.length = count_bits(ipv6, &info->origsrc_mask);
	filter->prefix.addr = get_addr(ipv6, &info->origsrc_addr);
}

bool ipt_rule_parse(const struct ipt_family *family, const void *there,
		    const char *target, struct rule *out)
{
	const bool ipv6 = family->ipv6;
	const struct view view = look(ipv6, there);
	const struct ipt_ip *head4 = view.head;
	const struct ip6t_ip6 *head6 = view.head;
	const struct xt_conntrack_mtinfo3 *info =
		find_match(&view, there, "conntrack", 3);

	if (!info || !(info->match_flags & XT_CONNTRACK_ORIGDST_PORT))
		return false;
	*out = (struct rule){
		.protocol = (uint8_t)(ipv6 ? head6->proto : head4->proto),
		.flow = strcmp(target, IPT_CHAIN_FLOW) == 0,
		.external_port = info->origdst_port,
		.internal_port = ipv6 ? info->origdst_port : info->replsrc_port,
		.internal = get_addr(ipv6,
				     ipv6 ? &info->origdst_addr : &info->replsrc_addr),
	};
	if (ipv6)
		out->external = out->internal;
	parse_peer(ipv6, info, out);
	return true;
}

/* Errors: 0. */
static size_t get_ports(const struct xt_multiport_v1 *multiport,
			uint16_t ports[IPT_LEAF_PORTS])
{
	size_t count = 0;

	for (unsigned int i = 0; i < multiport->count && i < XT_MULTI_PORTS; i++) {
		const unsigned int first = multiport->ports[i];
		unsigned int last = first;

		if (multiport->pflags[i] && i + 1 < XT_MULTI_PORTS)
			last = multiport->ports[++i];
		if (last < first || count + (last - first) >= IPT_LEAF_PORTS)
			return 0;
		for (unsigned int port = first; port <= last; port++)
			ports[count++] = (uint16_t)port;
	}
	return count;
}

size_t ipt_rule_parse_ports(const void *there, uint16_t ports[IPT_LEAF_PORTS])
{
	const struct view view = look(false, there);
	const struct xt_multiport_v1 *multiport =
		find_match(&view, there, "multiport", 1);

	return multiport ? get_ports(multiport, ports) : 0;
}

static bool is_only_ports(const struct view *view, const void *there,
			  const struct xt_multiport_v1 *multiport)
{
	const struct ipt_ip *ip = view->head;
	const struct xt_entry_target *match = part_at(there, view->first);

	return view->first + match->u.user.target_size == view->target &&
	       multiport->flags == XT_MULTIPORT_DESTINATION && !multiport->invert &&
	       ip->smsk.s_addr == 0 && ip->dmsk.s_addr == 0 && ip->invflags == 0;
}

size_t ipt_rule_parse_mapping(const void *there, uint16_t ports[IPT_LEAF_PORTS],
			      struct ipt_mapping *out)
{
	const struct view view = look(false, there);
	const struct xt_entry_target *target = part_at(there, view.target);
	const struct nf_nat_ipv4_multi_range_compat *ranges =
		(const void *)target->data;
	const struct nf_nat_range2 *range2 = (const void *)target->data;
	const struct xt_multiport_v1 *multiport =
		find_match(&view, there, "multiport", 1);

	if (!multiport || !is_only_ports(&view, there, multiport) ||
	    strcmp(target->u.user.name, "DNAT") != 0)
		return 0;
	if (target->u.user.revision == 2)
		*out = (struct ipt_mapping){
			.host = range2->min_addr.ip,
			.to_port = ntohs(range2->min_proto.all),
		};
	else
		*out = (struct ipt_mapping){
			.host = ranges->range[0].min_ip,
			.to_port = ntohs(ranges->range[0].min.all),
		};
	return get_ports(multiport, ports);
}

bool ipt_rule_parse_snat(const void *there, const struct rule *rule,
			 struct ip_addr *external)
{
	const struct view view = look(false, there);
	const struct xt_entry_target *target = part_at(there, view.target);
	const struct nf_nat_ipv4_multi_range_compat *data = (const void *)target->data;

	if (strcmp(target->u.user.name, "SNAT") != 0 ||
	    ntohs(data->range[0].min.all) != rule->external_port)
		return false;
	*external = addr_from_ipv4((struct in_addr){data->range[0].min_ip});
	return true;
}
