/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports that rules of others send elsewhere before a packet comes to ours, or after: a
 * lease of such a port would not work, or would take it from its owner.
 */
#include "backends/ipt.h"

#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <string.h>

/* The kernel's header has an old name for something else. */
#undef ipt_table

/* Jumps that are followed; nobody has as many. */
#define CHAINS_MAX 128
#define PORTS 65536
#define RANGES_MAX XT_MULTI_PORTS

#define UDP 0x1u
#define TCP 0x2u

/* Packets that may come to a place: none of its ranges is any port. */
struct packets {
	unsigned int protocols;
	bool any_port;
	unsigned int count;
	struct ipt_ports ranges[RANGES_MAX];
};

/* Chains still to be looked at. libiptc knows one place in a table at a time. */
struct work {
	size_t count;
	struct {
		const char *chain;
		struct packets packets;
	} items[CHAINS_MAX];
};

static bool comes_from_wan(const struct ipt_ip *ip, const char *wan)
{
	bool same = true;

	for (size_t i = 0; i < sizeof(ip->iniface) && same; i++)
		same = ((ip->iniface[i] ^ wan[i]) & ip->iniface_mask[i]) == 0;
	return same != ((ip->invflags & IPT_INV_VIA_IN) != 0);
}

static bool goes_to_wan(const struct ipt_ip *ip, const struct backend_network *network)
{
	for (size_t i = 0; i < network->address_count; i++) {
		struct in_addr addr = addr_to_ipv4(&network->addresses[i]);
		bool same = (addr.s_addr & ip->dmsk.s_addr) == ip->dst.s_addr;

		if (addr_is_ipv4(&network->addresses[i]) &&
		    same != ((ip->invflags & IPT_INV_DSTIP) != 0))
			return true;
	}
	return false;
}

static unsigned int get_protocols(const struct ipt_ip *ip)
{
	unsigned int protocols = 0;

	if (ip->proto == 0)
		return UDP | TCP;
	if (ip->proto == IPPROTO_UDP)
		protocols = UDP;
	else if (ip->proto == IPPROTO_TCP)
		protocols = TCP;
	return ip->invflags & XT_INV_PROTO ? protocols ^ (UDP | TCP) : protocols;
}

static bool has_port(const struct packets *packets, unsigned int port)
{
	for (unsigned int i = 0; i < packets->count; i++)
		if (port >= packets->ranges[i].first && port <= packets->ranges[i].last)
			return true;
	return packets->any_port;
}

/* What leads on to it, and its own condition: the narrower one, where one is in the
 * other; else where both are, which is none or few. */
static void narrow(struct packets *packets, const struct packets *by)
{
	struct packets both = {.protocols = packets->protocols};

	if (by->any_port)
		return;
	if (packets->any_port) {
		both = *by;
		both.protocols = packets->protocols;
		*packets = both;
		return;
	}
	for (unsigned int i = 0; i < packets->count; i++)
		for (unsigned int j = 0; j < by->count; j++) {
			const struct ipt_ports *a = &packets->ranges[i];
			const struct ipt_ports *b = &by->ranges[j];
			struct ipt_ports range = {
				a->first > b->first ? a->first : b->first,
				a->last < b->last ? a->last : b->last};

			if (range.first <= range.last && both.count < RANGES_MAX)
				both.ranges[both.count++] = range;
		}
	*packets = both;
}

/* All but some, and all, are any: a host that gets what nobody else wants. */
static void narrow_range(struct packets *packets, const uint16_t ports[2],
			 bool inverted)
{
	const struct packets by = {
		.any_port = inverted || (ports[0] <= 1 && ports[1] == PORTS - 1),
		.count = 1,
		.ranges = {{ports[0], ports[1]}},
	};

	narrow(packets, &by);
}

static void narrow_multiport(struct packets *packets,
			     const struct xt_multiport_v1 *ports)
{
	struct packets by = {.any_port = ports->flags == XT_MULTIPORT_SOURCE ||
					 ports->invert != 0};

	for (unsigned int i = 0; i < ports->count && i < XT_MULTI_PORTS; i++) {
		struct ipt_ports *range = &by.ranges[by.count++];

		range->first = ports->ports[i];
		if (ports->pflags[i] && i + 1 < XT_MULTI_PORTS)
			i++;
		range->last = ports->ports[i];
	}
	narrow(packets, &by);
}

/* What is not about ports may match. */
static void narrow_match(struct packets *packets, const struct xt_entry_match *match)
{
	const char *name = match->u.user.name;
	const struct xt_tcp *tcp = (const void *)match->data;
	const struct xt_udp *udp = (const void *)match->data;

	if (strcmp(name, "tcp") == 0)
		narrow_range(packets, tcp->dpts, tcp->invflags & XT_TCP_INV_DSTPT);
	else if (strcmp(name, "udp") == 0)
		narrow_range(packets, udp->dpts, udp->invflags & XT_UDP_INV_DSTPT);
	else if (strcmp(name, "multiport") == 0 && match->u.user.revision == 1)
		narrow_multiport(packets, (const void *)match->data);
}

/* Packets from the WAN to its address that a rule may match. */
static void narrow_rule(struct packets *packets, const struct ipt_entry *entry,
			const struct backend_network *network)
{
	if (!comes_from_wan(&entry->ip, network->wan) ||
	    !goes_to_wan(&entry->ip, network)) {
		packets->protocols = 0;
		return;
	}
	packets->protocols &= get_protocols(&entry->ip);
	for (size_t at = sizeof(*entry); at < entry->target_offset;) {
		const struct xt_entry_match *match =
			(const void *)((const char *)entry + at);

		narrow_match(packets, match);
		at += match->u.user.match_size;
	}
}

static void give(struct ipt_given *given, const struct packets *packets)
{
	for (unsigned int port = 1; port < PORTS && !packets->any_port; port++) {
		if (!has_port(packets, port))
			continue;
		if (packets->protocols & UDP)
			given->udp[port / 8] |= (uint8_t)(1u << port % 8);
		if (packets->protocols & TCP)
			given->tcp[port / 8] |= (uint8_t)(1u << port % 8);
	}
}

static void look_at_rule(const struct ipt_table *table, const void *rule,
			 struct packets *packets, struct work *work,
			 struct ipt_given *given)
{
	const char *target = table->family->get_target(rule, table->handle);

	if (packets->protocols == 0 || !target ||
	    strncmp(target, IPT_PREFIX, strlen(IPT_PREFIX)) == 0)
		return;
	if (strcmp(target, "DNAT") == 0 || strcmp(target, "REDIRECT") == 0) {
		give(given, packets);
	} else if (ipt_table_has_chain(table, target) && work->count < CHAINS_MAX) {
		work->items[work->count].chain = target;
		work->items[work->count++].packets = *packets;
	}
}

void ipt_given_read(struct ipt_given *given, const struct ipt_table *table,
		    const struct ipt_layout *layout)
{
	const struct ipt_family *family = table->family;
	struct work work = {
		.count = 1,
		.items = {{"PREROUTING", {.protocols = UDP | TCP, .any_port = true}}},
	};

	if (strcmp(table->name, ipt_sync_get_table(IPT_NAT4)) != 0)
		return;
	memset(given, 0, sizeof(*given));
	for (size_t i = 0; i < work.count; i++)
		for (const void *rule =
			     family->first_rule(work.items[i].chain, table->handle);
		     rule; rule = family->next_rule(rule, table->handle)) {
			struct packets packets = work.items[i].packets;

			narrow_rule(&packets, rule, &layout->network);
			look_at_rule(table, rule, &packets, &work, given);
		}
}

bool ipt_given_has(const struct ipt_given *given, uint8_t protocol, uint16_t port)
{
	const uint8_t *bits = protocol == IPPROTO_UDP ? given->udp : given->tcp;

	return (bits[port / 8] & 1u << port % 8) != 0;
}
