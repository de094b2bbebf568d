/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <arpa/inet.h>
#include <libiptc/libip6tc.h>
#include <libiptc/libiptc.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

/* Longer than the longest: an IPv6 entry with every match that we use. */
#define ENTRY_MAX 1024
#define LIST_START 16
#define LABEL_MAX                                                                      \
	28 /* of a target that is a chain; XT_EXTENSION_MAXNAMELEN less NUL            \
	    */

/* An entry in the making: head, matches, target. */
struct maker {
	bool ipv6;
	struct ipt_forms forms;
	size_t used;
	_Alignas(struct xt_entry_target) uint8_t octets[ENTRY_MAX];
};

/* Where the data of a match or target begin; zeroed, as the kernel leaves its padding.
 */
static void *append(struct maker *maker, const char *name, uint8_t revision,
		    size_t length)
{
	struct xt_entry_target *part = (void *)(maker->octets + maker->used);
	size_t size = XT_ALIGN(sizeof(*part)) + XT_ALIGN(length);

	part->u.user.target_size = (uint16_t)size;
	part->u.user.revision = revision;
	(void)snprintf(part->u.user.name, sizeof(part->u.user.name), "%s", name);
	maker->used += size;
	return part->data;
}

static void put_mask(uint8_t *at, unsigned int bits, size_t length)
{
	memset(at, 0, length);
	for (unsigned int i = 0; i < bits && i < length * 8; i++)
		at[i / 8] |= (uint8_t)(0x80U >> i % 8);
}

/* An IPv4 address is the last four octets of ours, and the first of the kernel's. */
static void put_prefix(const struct maker *maker, const struct prefix *prefix,
		       void *addr, void *mask)
{
	size_t length = maker->ipv6 ? 16 : 4;
	unsigned int skipped = maker->ipv6 ? 0 : 96;

	memcpy(addr, prefix->addr.bytes + 16 - length, length);
	put_mask(mask, prefix->length - skipped, length);
}

static bool is_said(const struct maker *maker, const struct prefix *prefix)
{
	return prefix->length > (maker->ipv6 ? 0 : 96);
}

static void put_interface(const char *name, char *to, unsigned char *mask)
{
	size_t length = name ? strnlen(name, IFNAMSIZ - 1) : 0;

	if (length == 0)
		return;
	memcpy(to, name, length);
	memset(mask, 0xff, length + 1);
}

static void put_head4(struct maker *maker, const struct ipt_spec *spec)
{
	struct ipt_entry *entry = (void *)maker->octets;

	entry->ip.proto = spec->protocol;
	if (is_said(maker, &spec->source))
		put_prefix(maker, &spec->source, &entry->ip.src, &entry->ip.smsk);
	if (is_said(maker, &spec->destination))
		put_prefix(maker, &spec->destination, &entry->ip.dst, &entry->ip.dmsk);
	put_interface(spec->in, entry->ip.iniface, entry->ip.iniface_mask);
	put_interface(spec->out, entry->ip.outiface, entry->ip.outiface_mask);
	if (spec->action == IPT_DO_GOTO)
		entry->ip.flags |= IPT_F_GOTO;
	maker->used = sizeof(*entry);
}

static void put_head6(struct maker *maker, const struct ipt_spec *spec)
{
	struct ip6t_entry *entry = (void *)maker->octets;

	entry->ipv6.proto = spec->protocol;
	if (spec->protocol != 0)
		entry->ipv6.flags |= IP6T_F_PROTO;
	if (is_said(maker, &spec->source))
		put_prefix(maker, &spec->source, &entry->ipv6.src, &entry->ipv6.smsk);
	if (is_said(maker, &spec->destination))
		put_prefix(maker, &spec->destination, &entry->ipv6.dst,
			   &entry->ipv6.dmsk);
	put_interface(spec->in, entry->ipv6.iniface, entry->ipv6.iniface_mask);
	put_interface(spec->out, entry->ipv6.outiface, entry->ipv6.outiface_mask);
	if (spec->action == IPT_DO_GOTO)
		entry->ipv6.flags |= IP6T_F_GOTO;
	maker->used = sizeof(*entry);
}

static struct ipt_ports settle(struct ipt_ports ports)
{
	return ports.last != 0 ? ports : (struct ipt_ports){0, UINT16_MAX};
}

/* Of both ends at once. */
static void put_port_pair(struct maker *maker, const struct ipt_spec *spec)
{
	const struct ipt_ports source = settle(spec->source_ports);
	const struct ipt_ports destination = settle(spec->destination_ports);

	if (spec->protocol == IPPROTO_TCP) {
		struct xt_tcp *tcp = append(maker, "tcp", 0, sizeof(*tcp));

		*tcp = (struct xt_tcp){.spts = {source.first, source.last},
				       .dpts = {destination.first, destination.last}};
	} else {
		struct xt_udp *udp = append(maker, "udp", 0, sizeof(*udp));

		*udp = (struct xt_udp){.spts = {source.first, source.last},
				       .dpts = {destination.first, destination.last}};
	}
}

static void put_slot(struct xt_multiport_v1 *multiport, struct ipt_ports ports)
{
	multiport->pflags[multiport->count] = ports.last > ports.first;
	multiport->ports[multiport->count++] = ports.first;
	if (ports.last > ports.first)
		multiport->ports[multiport->count++] = ports.last;
}

/*
 * `multiport` also where it is but one port: kernels look for a match by name in a list
 * that has the latest first, and `tcp` and `udp` are the first of all. There is one
 * such search for each rule in each change.
 */
static void put_ports(struct maker *maker, const struct ipt_spec *spec)
{
	const bool by_source = spec->source_ports.last != 0;
	struct xt_multiport_v1 *multiport;

	if (by_source && spec->destination_ports.last != 0) {
		put_port_pair(maker, spec);
		return;
	}
	if (!by_source && spec->destination_ports.last == 0)
		return;
	multiport = append(maker, "multiport", 1, sizeof(*multiport));
	multiport->flags = by_source ? XT_MULTIPORT_SOURCE : XT_MULTIPORT_DESTINATION;
	put_slot(multiport, by_source ? spec->source_ports : spec->destination_ports);
}

static void put_slots(struct maker *maker, const struct ipt_spec *spec)
{
	struct xt_multiport_v1 *multiport;

	if (spec->slot_count == 0)
		return;
	multiport = append(maker, "multiport", 1, sizeof(*multiport));
	multiport->flags = spec->slots_are_destinations ? XT_MULTIPORT_DESTINATION
							: XT_MULTIPORT_SOURCE;
	multiport->count = spec->slot_count;
	for (unsigned int i = 0; i < spec->slot_count && i < XT_MULTI_PORTS; i++) {
		multiport->ports[i] = spec->slots[i];
		multiport->pflags[i] = spec->ranges[i];
	}
}

/* As iptables writes it: the mask of one host is all ones, of IPv4 too. */
static void put_ct_prefix(const struct maker *maker, const struct prefix *prefix,
			  union nf_inet_addr *addr, union nf_inet_addr *mask)
{
	put_prefix(maker, prefix, addr, mask);
	if (prefix->length == 128)
		memset(mask, 0xff, sizeof(*mask));
}

static void put_ct_ports(struct ipt_ports ports, uint16_t *first, uint16_t *last)
{
	*first = ports.first;
	*last = ports.last;
}

static void put_ct_addresses(const struct maker *maker, const struct ipt_spec *spec,
			     struct xt_conntrack_mtinfo3 *info)
{
	if (is_said(maker, &spec->original_source)) {
		info->match_flags |= XT_CONNTRACK_ORIGSRC;
		put_ct_prefix(maker, &spec->original_source, &info->origsrc_addr,
			      &info->origsrc_mask);
	}
	if (is_said(maker, &spec->original_destination)) {
		info->match_flags |= XT_CONNTRACK_ORIGDST;
		put_ct_prefix(maker, &spec->original_destination, &info->origdst_addr,
			      &info->origdst_mask);
	}
	if (is_said(maker, &spec->reply_source)) {
		info->match_flags |= XT_CONNTRACK_REPLSRC;
		put_ct_prefix(maker, &spec->reply_source, &info->replsrc_addr,
			      &info->replsrc_mask);
	}
}

static void put_conntrack(struct maker *maker, const struct ipt_spec *spec)
{
	struct xt_conntrack_mtinfo3 *info;

	if (spec->states == 0 && spec->original_ports.last == 0 &&
	    spec->peer_port == 0 && spec->reply_port == 0 &&
	    !is_said(maker, &spec->original_source) &&
	    !is_said(maker, &spec->original_destination) &&
	    !is_said(maker, &spec->reply_source))
		return;
	info = append(maker, "conntrack", 3, sizeof(*info));
	if (spec->states != 0) {
		info->match_flags |= XT_CONNTRACK_STATE;
		info->state_mask = spec->states;
	}
	put_ct_addresses(maker, spec, info);
	if (spec->peer_port != 0) {
		info->match_flags |= XT_CONNTRACK_ORIGSRC_PORT;
		put_ct_ports((struct ipt_ports){spec->peer_port, spec->peer_port},
			     &info->origsrc_port, &info->origsrc_port_high);
	}
	if (spec->original_ports.last != 0) {
		info->match_flags |= XT_CONNTRACK_ORIGDST_PORT;
		put_ct_ports(spec->original_ports, &info->origdst_port,
			     &info->origdst_port_high);
	}
	if (spec->reply_port != 0) {
		info->match_flags |= XT_CONNTRACK_REPLSRC_PORT;
		put_ct_ports((struct ipt_ports){spec->reply_port, spec->reply_port},
			     &info->replsrc_port, &info->replsrc_port_high);
	}
}

static void put_mark(struct maker *maker, const struct ipt_spec *spec)
{
	struct xt_connmark_mtinfo1 *info;

	if (spec->mark == 0 || spec->action == IPT_DO_SET_MARK)
		return;
	info = append(maker, "connmark", 1, sizeof(*info));
	info->mark = spec->mark;
	info->mask = spec->mark;
}

static void put_comment(struct maker *maker, const struct ipt_spec *spec)
{
	struct xt_comment_info *info;

	if (!spec->comment)
		return;
	info = append(maker, "comment", 0, sizeof(*info));
	(void)snprintf(info->comment, sizeof(info->comment), "%s", spec->comment);
}

static void put_nat(struct maker *maker, const char *name, const struct ipt_spec *spec)
{
	struct nf_nat_ipv4_multi_range_compat *data =
		append(maker, name, 0, sizeof(*data));
	struct nf_nat_ipv4_range *range = &data->range[0];

	data->rangesize = 1;
	if (spec->action == IPT_DO_MASQUERADE_RANDOM)
		range->flags = NF_NAT_RANGE_PROTO_RANDOM;
	if (spec->action != IPT_DO_DNAT && spec->action != IPT_DO_SNAT)
		return;
	range->flags = NF_NAT_RANGE_MAP_IPS;
	range->min_ip = addr_to_ipv4(&spec->to).s_addr;
	range->max_ip = range->min_ip;
	if (spec->to_port == 0)
		return;
	range->flags |= NF_NAT_RANGE_PROTO_SPECIFIED;
	range->min.all = htons(spec->to_port);
	range->max.all = range->min.all;
}

/* The same with ports that can be shifted, which we do not. */
static void put_dnat2(struct maker *maker, const struct ipt_spec *spec)
{
	struct nf_nat_range2 *range = append(maker, "DNAT", 2, sizeof(*range));

	range->flags = NF_NAT_RANGE_MAP_IPS;
	range->min_addr.ip = addr_to_ipv4(&spec->to).s_addr;
	range->max_addr.ip = range->min_addr.ip;
	if (spec->to_port == 0)
		return;
	range->flags |= NF_NAT_RANGE_PROTO_SPECIFIED;
	range->min_proto.all = htons(spec->to_port);
	range->max_proto.all = range->min_proto.all;
}

/* The second form can also shift a mark, which we do not. */
static void put_set_mark(struct maker *maker, const struct ipt_spec *spec)
{
	struct xt_connmark_tginfo1 *info;
	struct xt_connmark_tginfo2 *longer;

	if (maker->forms.set_mark == 2) {
		longer = append(maker, "CONNMARK", 2, sizeof(*longer));
		longer->mode = XT_CONNMARK_SET;
		longer->ctmark = spec->mark;
		longer->ctmask = spec->mark;
		longer->nfmask = UINT32_MAX; /* as iptables writes it */
		return;
	}
	info = append(maker, "CONNMARK", 1, sizeof(*info));
	info->mode = XT_CONNMARK_SET;
	info->ctmark = spec->mark;
	info->ctmask = spec->mark;
	info->nfmask = UINT32_MAX;
}

static void put_target(struct maker *maker, const struct ipt_spec *spec)
{
	switch (spec->action) {
	case IPT_DO_GOTO:
	case IPT_DO_JUMP:
		(void)append(maker, spec->chain, 0, sizeof(int));
		break;
	case IPT_DO_ACCEPT:
		(void)append(maker, XTC_LABEL_ACCEPT, 0, sizeof(int));
		break;
	case IPT_DO_RETURN:
		(void)append(maker, XTC_LABEL_RETURN, 0, sizeof(int));
		break;
	case IPT_DO_DNAT:
		if (maker->forms.dnat == 2)
			put_dnat2(maker, spec);
		else
			put_nat(maker, "DNAT", spec);
		break;
	case IPT_DO_SNAT:
		put_nat(maker, "SNAT", spec);
		break;
	case IPT_DO_MASQUERADE:
	case IPT_DO_MASQUERADE_RANDOM:
		put_nat(maker, "MASQUERADE", spec);
		break;
	case IPT_DO_SET_MARK:
		put_set_mark(maker, spec);
		break;
	}
}

static void put_offsets(struct maker *maker, size_t target)
{
	struct ipt_entry *entry4 = (void *)maker->octets;
	struct ip6t_entry *entry6 = (void *)maker->octets;

	if (maker->ipv6) {
		entry6->target_offset = (uint16_t)target;
		entry6->next_offset = (uint16_t)maker->used;
	} else {
		entry4->target_offset = (uint16_t)target;
		entry4->next_offset = (uint16_t)maker->used;
	}
}

/* Matches in the order that iptables would find cheapest to test. */
static void make(struct maker *maker, const struct ipt_spec *spec)
{
	size_t target;

	if (maker->ipv6)
		put_head6(maker, spec);
	else
		put_head4(maker, spec);
	put_ports(maker, spec);
	put_slots(maker, spec);
	put_mark(maker, spec);
	put_conntrack(maker, spec);
	put_comment(maker, spec);
	target = maker->used;
	put_target(maker, spec);
	put_offsets(maker, target);
}

/* --- lists --- */

void ipt_list_begin(struct ipt_list *list, bool ipv6, struct ipt_forms forms)
{
	list->ipv6 = ipv6;
	list->forms = forms;
	list->failed = false;
	list->count = 0;
	list->used = 0;
}

static bool reserve(struct ipt_list *list, size_t octets)
{
	size_t *offsets = array_reserve(list->offsets, list->count, &list->offset_size,
					sizeof(*offsets), LIST_START);

	if (!offsets)
		return false;
	list->offsets = offsets;
	if (list->used + octets > list->size) {
		size_t size = (list->used + octets) * 2;
		uint8_t *bigger = realloc(list->octets, size);

		if (!bigger)
			return false;
		list->octets = bigger;
		list->size = size;
	}
	return true;
}

void ipt_list_add(struct ipt_list *list, const struct ipt_spec *spec)
{
	struct maker maker = {.ipv6 = list->ipv6, .forms = list->forms};

	make(&maker, spec);
	if (list->failed || !reserve(list, maker.used)) {
		list->failed = true;
		return;
	}
	memcpy(list->octets + list->used, maker.octets, maker.used);
	list->offsets[list->count++] = list->used;
	list->used += maker.used;
}

const void *ipt_list_get(const struct ipt_list *list, size_t index)
{
	return list->octets + list->offsets[index];
}

void ipt_list_fini(struct ipt_list *list)
{
	free(list->octets);
	free(list->offsets);
	*list = (struct ipt_list){0};
}
