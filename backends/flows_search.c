/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/flows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/netlink.h"

/* Deletions sent to the kernel at once, octets; and the longest of them. */
#define DELETE_CHUNK 32768
#define DELETE_MAX 256
/* Looks, when the kernel does not answer one. */
#define SEARCH_TRIES 2

struct search {
	struct flows *flows;
	bool (*match)(struct flows *flows, const struct nf_conntrack *flow);
	struct nf_conntrack *flow; /* of the message at hand */
	uint8_t *victims;
	size_t used;
	size_t size;
	int error;
};

static struct nlmsghdr *start(struct flows *flows, void *at, uint16_t type,
			      uint16_t flags, unsigned int family)
{
	struct nlmsghdr *header = netlink_put_netfilter(at, NFNL_SUBSYS_CTNETLINK, type,
							flags, (uint8_t)family);

	header->nlmsg_seq = flows->seq++;
	return header;
}

static void put_tuple(struct nlmsghdr *header, const struct flows_query *query,
		      uint16_t direction, unsigned int fields)
{
	struct nlattr *tuple = mnl_attr_nest_start(header, direction);
	struct nlattr *part = mnl_attr_nest_start(header, CTA_TUPLE_IP);

	if (fields & FLOWS_FIELD_SOURCE)
		mnl_attr_put_u32(header, CTA_IP_V4_SRC, query->source.s_addr);
	if (fields & FLOWS_FIELD_DESTINATION)
		mnl_attr_put_u32(header, CTA_IP_V4_DST, query->destination.s_addr);
	mnl_attr_nest_end(header, part);
	part = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(header, CTA_PROTO_NUM, query->protocol);
	if (fields & FLOWS_FIELD_SOURCE_PORT)
		mnl_attr_put_u16(header, CTA_PROTO_SRC_PORT, htons(query->source_port));
	if (fields & FLOWS_FIELD_DESTINATION_PORT)
		mnl_attr_put_u16(header, CTA_PROTO_DST_PORT,
				 htons(query->destination_port));
	mnl_attr_nest_end(header, part);
	mnl_attr_nest_end(header, tuple);
}

static void put_query(struct nlmsghdr *header, const struct flows_query *query)
{
	struct nlattr *filter;

	if (query->mark != 0) {
		mnl_attr_put_u32(header, CTA_MARK, htonl(query->mark));
		mnl_attr_put_u32(header, CTA_MARK_MASK, htonl(query->mark));
	}
	if (query->fields == 0 && query->reply_fields == 0)
		return;
	if (query->fields != 0)
		put_tuple(header, query, CTA_TUPLE_ORIG, query->fields);
	if (query->reply_fields != 0)
		put_tuple(header, query, CTA_TUPLE_REPLY, query->reply_fields);
	filter = mnl_attr_nest_start(header, CTA_FILTER);
	mnl_attr_put_u32(header, CTA_FILTER_ORIG_FLAGS, query->fields);
	mnl_attr_put_u32(header, CTA_FILTER_REPLY_FLAGS, query->reply_fields);
	mnl_attr_nest_end(header, filter);
}

static int add_victim(struct search *search)
{
	struct nf_conntrack *name;
	struct nlmsghdr *header;

	if (search->size - search->used < DELETE_MAX) {
		size_t size = search->size > 0 ? search->size * 2 : DELETE_CHUNK;
		uint8_t *victims = realloc(search->victims, size);

		if (!victims)
			return -ENOMEM;
		search->victims = victims;
		search->size = size;
	}
	name = nfct_new();
	if (!name)
		return -ENOMEM;
	nfct_copy(name, search->flow, NFCT_CP_ORIG);
	if (nfct_attr_is_set(search->flow, ATTR_ZONE) > 0)
		nfct_set_attr_u16(name, ATTR_ZONE,
				  nfct_get_attr_u16(search->flow, ATTR_ZONE));
	header = start(search->flows, search->victims + search->used,
		       IPCTNL_MSG_CT_DELETE, 0,
		       nfct_get_attr_u8(search->flow, ATTR_ORIG_L3PROTO));
	if (nfct_nlmsg_build(header, name) == 0)
		search->used += header->nlmsg_len;
	nfct_destroy(name);
	return 0;
}

static int on_flow(const struct nlmsghdr *answer, void *user)
{
	struct search *search = user;

	if (search->flow)
		nfct_destroy(search->flow);
	search->flow = nfct_new();
	if (!search->flow) {
		search->error = -ENOMEM;
		return MNL_CB_OK;
	}
	if (nfct_nlmsg_parse(answer, search->flow) == 0 &&
	    search->match(search->flows, search->flow) && search->error == 0)
		search->error = add_victim(search);
	return MNL_CB_OK;
}

static int read_flows(struct search *search, uint32_t seq)
{
	struct flows *flows = search->flows;
	int result;

	do {
		ssize_t got = mnl_socket_recvfrom(flows->mnl, flows->buffer,
						  FLOWS_BUFFER_SIZE);

		if (got < 0)
			return -errno;
		result = mnl_cb_run(flows->buffer, (size_t)got, seq,
				    mnl_socket_get_portid(flows->mnl), on_flow, search);
		if (result < 0)
			return -errno;
	} while (result == MNL_CB_OK);
	return search->error;
}

/* A flow that is gone already answers -ENOENT, which is what was wanted. */
static void drop_answers(struct flows *flows)
{
	while (recv(mnl_socket_get_fd(flows->mnl), flows->buffer, FLOWS_BUFFER_SIZE,
		    MSG_DONTWAIT) >= 0 ||
	       errno == EINTR || errno == ENOBUFS)
		continue;
}

static int delete_victims(struct search *search)
{
	const struct flows *flows = search->flows;
	size_t at = 0;

	while (at < search->used) {
		size_t end = at;

		while (end < search->used && end - at < DELETE_CHUNK) {
			const struct nlmsghdr *header =
				(const void *)(search->victims + end);

			end += header->nlmsg_len;
		}
		if (mnl_socket_sendto(flows->mnl, search->victims + at, end - at) < 0)
			return -errno;
		drop_answers(search->flows);
		at = end;
	}
	return 0;
}

/* Look, and end what matches. Errors: -errno, some of it may have ended. */
static int search_once(struct search *search, const struct flows_query *query)
{
	struct flows *flows = search->flows;
	struct nlmsghdr *request = start(flows, flows->buffer, IPCTNL_MSG_CT_GET,
					 NLM_F_DUMP, query->family);
	uint32_t seq = request->nlmsg_seq;
	int error, failed;

	search->used = 0;
	search->error = 0;
	put_query(request, query);
	if (mnl_socket_sendto(flows->mnl, request, request->nlmsg_len) < 0)
		error = -errno;
	else
		error = read_flows(search, seq);
	drop_answers(flows);
	failed = delete_victims(search);
	return error < 0 ? error : failed;
}

static int on_count(const struct nlmsghdr *answer, void *user)
{
	struct netlink_attrs attrs;
	size_t *count = user;

	if (mnl_nlmsg_get_payload_len(answer) < sizeof(struct nfgenmsg))
		return MNL_CB_OK;
	netlink_attrs_read(&attrs, answer, sizeof(struct nfgenmsg));
	if (attrs.at[CTA_STATS_GLOBAL_ENTRIES] &&
	    mnl_attr_validate(attrs.at[CTA_STATS_GLOBAL_ENTRIES], MNL_TYPE_U32) == 0)
		*count = ntohl(mnl_attr_get_u32(attrs.at[CTA_STATS_GLOBAL_ENTRIES]));
	return MNL_CB_OK;
}

size_t flows_search_count(struct flows *flows)
{
	struct nlmsghdr *request = start(flows, flows->buffer, IPCTNL_MSG_CT_GET_STATS,
					 NLM_F_ACK, AF_UNSPEC);
	uint32_t seq = request->nlmsg_seq;
	size_t count = SIZE_MAX;
	ssize_t got;

	if (mnl_socket_sendto(flows->mnl, request, request->nlmsg_len) < 0)
		return SIZE_MAX;
	/* the kernel answers while it is being asked */
	got = recv(mnl_socket_get_fd(flows->mnl), flows->buffer, FLOWS_BUFFER_SIZE,
		   MSG_DONTWAIT);
	if (got > 0)
		(void)mnl_cb_run(flows->buffer, (size_t)got, seq,
				 mnl_socket_get_portid(flows->mnl), on_count, &count);
	drop_answers(flows);
	return count;
}

void flows_search_run(struct flows *flows, const struct flows_query *query,
		      bool (*match)(struct flows *flows,
				    const struct nf_conntrack *flow))
{
	struct search search = {.flows = flows, .match = match};
	int error = -EINTR;

	/* An answer that got lost must not have a flow outlive its lease. */
	for (unsigned int i = 0; i < SEARCH_TRIES && error < 0; i++)
		error = search_once(&search, query);
	if (error < 0) {
		if (!flows->complained)
			log_warning("flows of ended leases may go on for a while: "
				    "conntrack does not answer (%s); is the module "
				    "nf_conntrack_netlink there?",
				    strerror(-error));
		flows->complained = true;
	}
	if (search.flow)
		nfct_destroy(search.flow);
	free(search.victims);
}
