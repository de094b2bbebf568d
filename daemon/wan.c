/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/wan.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/netlink.h"

/* A datagram of a dump; the kernel fills 32 KiB at most when the reader takes as much.
 */
#define WAN_BUFFER_SIZE 32768
/* A dump that something changed under is begun anew so often. */
#define WAN_DUMP_TRIES 10
/* Notifications read at one wake-up. */
#define WAN_DRAIN_MAX 1024

/* What a read fills. What was seen last tells news from noise later. */
struct wan_view {
	struct links links;
	uint32_t default_metric;
	bool nexthops; /* a way out goes by an object of its own */
	size_t place;  /* of the link that the last address was of */
	bool overflow; /* more links than there may be */
	int error;     /* -ENOMEM */
};

struct wan {
	struct mnl_socket *query;
	struct mnl_socket *watch;
	uint32_t sequence;
	bool overflow_told;
	struct wan_view seen; /* as of the last wan_read() */
	struct wan_view fresh;
	char buffer[WAN_BUFFER_SIZE];
};

/* One address as a message tells it. */
struct wan_address {
	uint32_t ifindex;
	enum address_rank rank;
	struct prefix prefix;
};

typedef void wan_take(struct wan_view *view, const struct nlmsghdr *message);

static bool attribute_read_u32(const struct nlattr *attr, uint32_t *out)
{
	if (!attr || mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
		return false;
	*out = mnl_attr_get_u32(attr);
	return true;
}

static int watch_join(struct mnl_socket *watch)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
				     RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE};
	int error = 0;

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]) && error == 0; i++)
		error = netlink_join_group(watch, groups[i]);
	/* older kernels than 5.3 have neither these nor routes by them */
	(void)!netlink_join_group(watch, RTNLGRP_NEXTHOP);
	return error;
}

int wan_open(struct wan **out)
{
	struct wan *wan = calloc(1, sizeof(*wan));
	int error = 0;

	if (!wan)
		return -ENOMEM;
	wan->query = netlink_open(NETLINK_ROUTE, 0);
	if (wan->query)
		wan->watch = netlink_open(NETLINK_ROUTE, 0);
	if (!wan->watch)
		error = -errno;
	else
		error = watch_join(wan->watch);
	if (error != 0) {
		log_error("cannot watch network interfaces: rtnetlink: %s",
			  strerror(-error));
		wan_close(wan);
		return error;
	}
	*out = wan;
	return 0;
}

void wan_close(struct wan *wan)
{
	if (!wan)
		return;
	netlink_close(wan->query);
	netlink_close(wan->watch);
	links_fini(&wan->seen.links);
	links_fini(&wan->fresh.links);
	free(wan);
}

int wan_get_fd(const struct wan *wan)
{
	return mnl_socket_get_fd(wan->watch);
}

static void link_parse_stats(const struct nlattr *attr, struct link *link)
{
	struct rtnl_link_stats64 stats = {0};
	size_t length;

	if (!attr)
		return;
	length = mnl_attr_get_payload_len(attr);
	/* Old kernels tell fewer fields, new ones more; ours come first. */
	memcpy(&stats, mnl_attr_get_payload(attr),
	       length < sizeof(stats) ? length : sizeof(stats));
	link->octets_in = stats.rx_bytes;
	link->octets_out = stats.tx_bytes;
	link->packets_in = stats.rx_packets;
	link->packets_out = stats.tx_packets;
}

/* Ethernet to the eye, but hosts are behind another network. */
static bool link_is_overlay(const struct nlattr *linkinfo)
{
	static const char *const kinds[] = {
		"erspan", "geneve", "gretap", "ip6erspan", "ip6gretap", "tun", "vxlan"};
	struct netlink_attrs attributes;
	const struct nlattr *kind;

	netlink_attrs_read_nest(&attributes, linkinfo);
	kind = attributes.at[IFLA_INFO_KIND];
	if (!kind || mnl_attr_validate(kind, MNL_TYPE_NUL_STRING) < 0)
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(mnl_attr_get_str(kind), kinds[i]) == 0)
			return true;
	return false;
}

static bool link_is_tunnel(const struct ifinfomsg *info, const struct nlattr *linkinfo)
{
	return info->ifi_type != ARPHRD_ETHER ||
	       (info->ifi_flags & (IFF_POINTOPOINT | IFF_NOARP)) != 0 ||
	       link_is_overlay(linkinfo);
}

/* False when the message is not about an interface of its own, e.g. a bridge's port. */
static bool link_parse(const struct nlmsghdr *message, struct link *link)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct netlink_attrs attributes;
	const struct nlattr *name;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info) ||
	    info->ifi_family != AF_UNSPEC || info->ifi_index <= 0)
		return false;
	netlink_attrs_read(&attributes, message, sizeof(*info));
	name = attributes.at[IFLA_IFNAME];
	if (!name || mnl_attr_validate(name, MNL_TYPE_NUL_STRING) < 0 ||
	    mnl_attr_get_payload_len(name) > sizeof(link->name))
		return false;
	memset(link, 0, sizeof(*link));
	link->ifindex = (uint32_t)info->ifi_index;
	link->up = info->ifi_flags & IFF_UP;
	link->carrier = info->ifi_flags & IFF_RUNNING;
	link->loopback = info->ifi_flags & IFF_LOOPBACK;
	link->tunnel =
		!link->loopback && link_is_tunnel(info, attributes.at[IFLA_LINKINFO]);
	memcpy(link->name, mnl_attr_get_payload(name), mnl_attr_get_payload_len(name));
	link_parse_stats(attributes.at[IFLA_STATS64], link);
	return true;
}

static void take_link(struct wan_view *view, const struct nlmsghdr *message)
{
	struct link link;
	int error;

	if (message->nlmsg_type != RTM_NEWLINK || !link_parse(message, &link))
		return;
	error = links_add(&view->links, &link);
	if (error == -ENOSPC)
		view->overflow = true;
	else if (error != 0)
		view->error = error;
}

static enum address_rank address_get_rank(uint32_t flags, const struct ip_addr *addr)
{
	if (flags & (IFA_F_TENTATIVE | IFA_F_DEPRECATED | IFA_F_DADFAILED))
		return RANK_UNUSABLE;
	if (addr_is_ipv4(addr))
		return flags & IFA_F_SECONDARY ? RANK_IPV4_SECONDARY
					       : RANK_IPV4_PRIMARY;
	if (addr_is_link_local(addr))
		return RANK_IPV6_LINK_LOCAL;
	/* The same bit as IFA_F_SECONDARY. */
	return flags & IFA_F_TEMPORARY ? RANK_IPV6_TEMPORARY : RANK_IPV6;
}

static bool address_read(const struct nlattr *attr, uint8_t family, struct ip_addr *out)
{
	struct in_addr ipv4;
	struct in6_addr ipv6;

	if (!attr)
		return false;
	if (family == AF_INET && mnl_attr_get_payload_len(attr) == sizeof(ipv4)) {
		memcpy(&ipv4, mnl_attr_get_payload(attr), sizeof(ipv4));
		*out = addr_from_ipv4(ipv4);
		return true;
	}
	if (family == AF_INET6 && mnl_attr_get_payload_len(attr) == sizeof(ipv6)) {
		memcpy(&ipv6, mnl_attr_get_payload(attr), sizeof(ipv6));
		*out = addr_from_ipv6(&ipv6);
		return true;
	}
	return false;
}

static bool address_parse(const struct nlmsghdr *message, struct wan_address *out)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
	struct netlink_attrs attributes;
	uint32_t flags;
	uint8_t base;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return false;
	netlink_attrs_read(&attributes, message, sizeof(*info));
	flags = info->ifa_flags;
	(void)attribute_read_u32(attributes.at[IFA_FLAGS], &flags);
	/* IFA_ADDRESS is the peer's where a link has two ends. */
	if (!address_read(attributes.at[IFA_LOCAL], info->ifa_family,
			  &out->prefix.addr) &&
	    !address_read(attributes.at[IFA_ADDRESS], info->ifa_family,
			  &out->prefix.addr))
		return false;
	base = info->ifa_family == AF_INET ? 96 : 0;
	if (info->ifa_prefixlen > 128 - base)
		return false;
	out->prefix.length = (uint8_t)(base + info->ifa_prefixlen);
	out->ifindex = info->ifa_index;
	out->rank = address_get_rank(flags, &out->prefix.addr);
	return true;
}

static void take_address(struct wan_view *view, const struct nlmsghdr *message)
{
	struct wan_address address;
	size_t place;

	if (message->nlmsg_type != RTM_NEWADDR || !address_parse(message, &address))
		return;
	/* those of one link are told together */
	place = links_find_place(&view->links, address.ifindex, view->place);
	view->place = place;
	if (place < view->links.count)
		link_add_address(&view->links.list[place], &address.prefix,
				 address.rank);
}

/* Is this message about an IPv4 default route, or half of one, of whatever table? */
static bool route_leads_out(const struct nlmsghdr *message)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);

	return mnl_nlmsg_get_payload_len(message) >= sizeof(*route) &&
	       route->rtm_family == AF_INET && route->rtm_dst_len <= 1 &&
	       route->rtm_type == RTN_UNICAST;
}

static bool route_is_half(const struct nlmsghdr *message)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);

	return route->rtm_dst_len == 1;
}

static bool route_is_main(const struct nlmsghdr *message)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);

	return route->rtm_table == RT_TABLE_MAIN;
}

/* One way that a route goes. */
struct route_hop {
	uint32_t ifindex;
	struct ip_addr gateway;
};

/* Interfaces with a way out are no LANs. */
static void route_mark_link(struct links *links, const struct route_hop *hop,
			    const struct ip_addr *source, uint32_t metric)
{
	size_t place = links_find_place(links, hop->ifindex, 0);
	struct link *link;

	if (hop->ifindex == 0 || place == links->count)
		return;
	link = &links->list[place];
	if (link->default_route && metric >= link->route_metric)
		return;
	link->default_route = true;
	link->route_metric = metric;
	link->route_source = *source;
	link->route_gateway = hop->gateway;
}

static void route_mark_half(struct links *links, uint32_t ifindex)
{
	size_t place = links_find_place(links, ifindex, 0);

	if (ifindex != 0 && place < links->count)
		links->list[place].half_route = true;
}

/* The first way of a route that has several. */
static void hop_read_first(const struct nlattr *multipath, struct route_hop *out)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(multipath);
	const struct nlattr *attr = (const struct nlattr *)(hop + 1);
	int left = mnl_attr_get_payload_len(multipath);

	if (left < (int)sizeof(*hop) || left < hop->rtnh_len)
		return;
	out->ifindex = (uint32_t)hop->rtnh_ifindex;
	left = hop->rtnh_len - (int)sizeof(*hop);
	for (; mnl_attr_ok(attr, left); attr = mnl_attr_next(attr)) {
		if (mnl_attr_get_type(attr) == RTA_GATEWAY)
			(void)address_read(attr, AF_INET, &out->gateway);
		left -= MNL_ALIGN(attr->nla_len);
	}
}

static void take_default(struct wan_view *view, const struct nlmsghdr *message,
			 const struct route_hop *hop,
			 const struct netlink_attrs *attributes)
{
	struct ip_addr source = {{0}};
	uint32_t metric = 0;

	(void)address_read(attributes->at[RTA_PREFSRC], AF_INET, &source);
	(void)attribute_read_u32(attributes->at[RTA_PRIORITY], &metric);
	view->links.has_default = true;
	if (!route_is_main(message))
		return;
	route_mark_link(&view->links, hop, &source, metric);
	if (hop->ifindex == 0 ||
	    (view->links.default_ifindex != 0 && metric >= view->default_metric))
		return;
	view->links.default_ifindex = hop->ifindex;
	view->default_metric = metric;
}

static void take_route(struct wan_view *view, const struct nlmsghdr *message)
{
	struct netlink_attrs attributes;
	struct route_hop hop = {0};

	if (message->nlmsg_type != RTM_NEWROUTE || !route_leads_out(message))
		return;
	netlink_attrs_read(&attributes, message, sizeof(struct rtmsg));
	if (attributes.at[RTA_MULTIPATH])
		hop_read_first(attributes.at[RTA_MULTIPATH], &hop);
	(void)attribute_read_u32(attributes.at[RTA_OIF], &hop.ifindex);
	(void)address_read(attributes.at[RTA_GATEWAY], AF_INET, &hop.gateway);
	if (attributes.at[RTA_NH_ID])
		view->nexthops = true;
	if (route_is_half(message))
		route_mark_half(&view->links, hop.ifindex);
	else
		take_default(view, message, &hop, &attributes);
}

static int query_send(struct wan *wan, struct nlmsghdr *message)
{
	message->nlmsg_seq = ++wan->sequence;
	if (mnl_socket_sendto(wan->query, message, message->nlmsg_len) < 0)
		return -errno;
	return 0;
}

/*
 * One message of an answer. Returns 1 = more to come, 0 = that was all, -errno. What is
 * left of an earlier question is passed over by its sequence number.
 */
static int query_take(struct wan *wan, struct wan_view *view,
		      const struct nlmsghdr *message, wan_take *take)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);

	if (message->nlmsg_seq != wan->sequence)
		return 1;
	if (message->nlmsg_type == NLMSG_DONE)
		return 0;
	if (message->nlmsg_type == NLMSG_ERROR)
		return mnl_nlmsg_get_payload_len(message) < sizeof(*error)
			       ? -EBADMSG
			       : error->error;
	if (message->nlmsg_type >= NLMSG_MIN_TYPE)
		take(view, message);
	return message->nlmsg_flags & NLM_F_MULTI ? 1 : 0;
}

/* Errors: -EINTR when the kernel says that the dump is not of one moment; -errno. */
static int query_receive(struct wan *wan, struct wan_view *view, wan_take *take)
{
	bool interrupted = false;
	int more = 1;

	while (more > 0) {
		ssize_t got = mnl_socket_recvfrom(wan->query, wan->buffer,
						  sizeof(wan->buffer));
		struct nlmsghdr *message = (struct nlmsghdr *)wan->buffer;
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		for (; more > 0 && mnl_nlmsg_ok(message, left);
		     message = mnl_nlmsg_next(message, &left)) {
			if (message->nlmsg_seq == wan->sequence &&
			    (message->nlmsg_flags & NLM_F_DUMP_INTR))
				interrupted = true;
			more = query_take(wan, view, message, take);
		}
	}
	return more == 0 && interrupted ? -EINTR : more;
}

/* header: octets of the family's own header, whose first octet is the family. */
static int query_dump(struct wan *wan, uint16_t type, uint8_t family, wan_take *take)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(wan->buffer);
	size_t header = type == RTM_GETLINK   ? sizeof(struct ifinfomsg)
			: type == RTM_GETADDR ? sizeof(struct ifaddrmsg)
					      : sizeof(struct rtmsg);
	uint8_t *extra = mnl_nlmsg_put_extra_header(message, header);
	int error;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	extra[0] = family;
	error = query_send(wan, message);
	return error == 0 ? query_receive(wan, &wan->fresh, take) : error;
}

static void view_clear(struct wan_view *view)
{
	struct links links = view->links;

	links_clear(&links);
	*view = (struct wan_view){.links = links};
}

static int wan_read_once(struct wan *wan)
{
	int error;

	view_clear(&wan->fresh);
	error = query_dump(wan, RTM_GETLINK, AF_UNSPEC, take_link);
	if (error == 0)
		error = query_dump(wan, RTM_GETADDR, AF_UNSPEC, take_address);
	if (error == 0)
		error = query_dump(wan, RTM_GETROUTE, AF_INET, take_route);
	return error == 0 ? wan->fresh.error : error;
}

int wan_read(struct wan *wan, struct links *out)
{
	struct wan_view old = wan->seen;
	int error = -EINTR;

	for (unsigned int i = 0; i < WAN_DUMP_TRIES && error == -EINTR; i++)
		error = wan_read_once(wan);
	if (error == 0)
		error = links_copy(out, &wan->fresh.links);
	if (error != 0)
		return error;
	if (wan->fresh.overflow && !wan->overflow_told)
		log_warning("more than %d network interfaces: the rest is not seen",
			    LINKS_MAX);
	wan->overflow_told = wan->fresh.overflow;
	wan->seen = wan->fresh;
	wan->fresh = old;
	return 0;
}

int wan_read_traffic(struct wan *wan, uint32_t ifindex, struct link *out)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(wan->buffer);
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	int error;

	message->nlmsg_type = RTM_GETLINK;
	message->nlmsg_flags = NLM_F_REQUEST;
	info->ifi_index = (int)ifindex;
	error = query_send(wan, message);
	if (error != 0)
		return error;
	view_clear(&wan->fresh);
	error = query_receive(wan, &wan->fresh, take_link);
	if (error != 0)
		return error;
	if (wan->fresh.links.count != 1)
		return -ENODEV;
	*out = wan->fresh.links.list[0];
	return 0;
}

/* Counters, a bridge's states, queue lengths: most messages about links are noise. */
static bool link_is_news(const struct wan_view *seen, const struct nlmsghdr *message)
{
	const struct link *known;
	struct link link;

	if (!link_parse(message, &link))
		return false;
	known = links_find_index(&seen->links, link.ifindex);
	if (message->nlmsg_type == RTM_DELLINK)
		return known != NULL;
	return !known || known->up != link.up || known->carrier != link.carrier ||
	       strcmp(known->name, link.name) != 0;
}

/* Each router advertisement tells the same IPv6 address again, with a new lifetime. */
static bool address_is_news(const struct wan_view *seen, const struct nlmsghdr *message)
{
	struct wan_address address;
	const struct link *link;
	size_t place;

	if (!address_parse(message, &address))
		return false;
	if (message->nlmsg_type == RTM_DELADDR)
		return true;
	place = links_find_place(&seen->links, address.ifindex, 0);
	if (place == seen->links.count)
		return true;
	link = &seen->links.list[place];
	for (size_t i = 0; i < link->address_count; i++)
		if (addr_equal(&link->addresses[i].addr, &address.prefix.addr) &&
		    link->addresses[i].length == address.prefix.length)
			return link->ranks[i] != address.rank;
	return true;
}

static bool message_is_news(const struct wan_view *seen, const struct nlmsghdr *message)
{
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return link_is_news(seen, message);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return address_is_news(seen, message);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return route_leads_out(message);
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		/* routes by it go without a word of their own */
		return seen->nexthops;
	default: /* the kernel's set of types, not ours */
		return false;
	}
}

struct news {
	const struct wan_view *seen;
	bool any;
};

static void news_take(void *user, const struct nlmsghdr *message)
{
	struct news *news = user;

	news->any = message_is_news(news->seen, message) || news->any;
}

bool wan_drain(struct wan *wan)
{
	const struct netlink_inlet inlet = {.socket = wan->watch,
					    .buffer = wan->buffer,
					    .size = sizeof(wan->buffer),
					    .datagrams = WAN_DRAIN_MAX};
	struct news news = {.seen = &wan->seen};

	return netlink_drain(&inlet, news_take, &news) || news.any;
}
