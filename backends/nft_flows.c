/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/*
 * The kernel has no index of flows by mapping. A search walks all buckets of its table,
 * 12 ms where there are 262,144 of them, even when it finds nothing: too much for each
 * apply(). What is to be ended is noted there, and one search a little later ends the
 * flows of all rules that ended in the meantime, and with them the flows of peers that
 * sent UDP before their mapping was made and keep trying (no mapping applies to a flow
 * that is there already).
 */
#define SEARCH_DELAY_MS 10
/* After a search, rest this many times as long as it took. */
#define SEARCH_REST 10
#define ENDED_START 64
#define PORT_BITMAP_SIZE (65536 / 8)
/* Deletions sent to the kernel at once, octets; and the longest of them. */
#define DELETE_CHUNK 32768
#define DELETE_MAX 256

/* Bits of CTA_FILTER_ORIG_FLAGS (Linux 5.8); older kernels send everything. */
enum tuple_field {
	FIELD_SOURCE = 1 << 0,
	FIELD_DESTINATION = 1 << 1,
	FIELD_PROTOCOL = 1 << 3,
	FIELD_SOURCE_PORT = 1 << 4,
};

/* What the kernel shall look for; what it sends is checked again. */
struct query {
	unsigned int family;
	uint32_t mark;	     /* 0: any */
	unsigned int fields; /* of the original direction that count */
	struct in_addr source;
	struct in_addr destination;
	uint8_t protocol;
	uint16_t source_port;
};

struct search {
	struct nft_flows *flows;
	bool (*match)(const struct search *search, const struct nf_conntrack *flow);
	struct in_addr address;
	struct nf_conntrack *flow; /* of the message at hand */
	uint8_t *victims;
	size_t used;
	size_t size;
	int error;
};

void nft_flows_set_network(struct nft_flows *flows,
			   const struct backend_network *network)
{
	flows->address_count = 0;
	for (size_t i = 0; i < network->address_count && i < BACKEND_ADDRESSES_MAX; i++)
		if (addr_is_ipv4(&network->addresses[i]))
			flows->addresses[flows->address_count++] =
				addr_to_ipv4(&network->addresses[i]);
}

static struct nlmsghdr *start(struct nft_flows *flows, void *at, uint16_t type,
			      uint16_t flags, unsigned int family)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(at);
	struct nfgenmsg *generic = mnl_nlmsg_put_extra_header(header, sizeof(*generic));

	header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	header->nlmsg_seq = flows->seq++;
	generic->nfgen_family = (uint8_t)family;
	generic->version = NFNETLINK_V0;
	return header;
}

static void put_tuple(struct nlmsghdr *header, const struct query *query)
{
	struct nlattr *tuple = mnl_attr_nest_start(header, CTA_TUPLE_ORIG);
	struct nlattr *part = mnl_attr_nest_start(header, CTA_TUPLE_IP);

	if (query->fields & FIELD_SOURCE)
		mnl_attr_put_u32(header, CTA_IP_V4_SRC, query->source.s_addr);
	if (query->fields & FIELD_DESTINATION)
		mnl_attr_put_u32(header, CTA_IP_V4_DST, query->destination.s_addr);
	mnl_attr_nest_end(header, part);
	part = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(header, CTA_PROTO_NUM, query->protocol);
	if (query->fields & FIELD_SOURCE_PORT)
		mnl_attr_put_u16(header, CTA_PROTO_SRC_PORT, htons(query->source_port));
	mnl_attr_nest_end(header, part);
	mnl_attr_nest_end(header, tuple);
}

static void put_query(struct nlmsghdr *header, const struct query *query)
{
	struct nlattr *filter;

	if (query->mark != 0) {
		mnl_attr_put_u32(header, CTA_MARK, htonl(query->mark));
		mnl_attr_put_u32(header, CTA_MARK_MASK, htonl(query->mark));
	}
	if (query->fields == 0)
		return;
	put_tuple(header, query);
	filter = mnl_attr_nest_start(header, CTA_FILTER);
	mnl_attr_put_u32(header, CTA_FILTER_ORIG_FLAGS, query->fields);
	mnl_attr_put_u32(header, CTA_FILTER_REPLY_FLAGS, 0);
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
	    search->match(search, search->flow) && search->error == 0)
		search->error = add_victim(search);
	return MNL_CB_OK;
}

static int read_flows(struct search *search, uint32_t seq)
{
	struct nft_flows *flows = search->flows;
	int result;

	do {
		ssize_t got =
			mnl_socket_recvfrom(flows->mnl, flows->buffer, NFT_BUFFER_SIZE);

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
static void drop_answers(struct nft_flows *flows)
{
	while (recv(mnl_socket_get_fd(flows->mnl), flows->buffer, NFT_BUFFER_SIZE,
		    MSG_DONTWAIT) >= 0 ||
	       errno == EINTR || errno == ENOBUFS)
		continue;
}

static int delete_victims(struct search *search)
{
	const struct nft_flows *flows = search->flows;
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

static void search_run(struct search *search, const struct query *query)
{
	struct nft_flows *flows = search->flows;
	struct nlmsghdr *request;
	uint32_t seq;
	int error;

	request = start(flows, flows->buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP,
			query->family);
	seq = request->nlmsg_seq;
	put_query(request, query);
	if (mnl_socket_sendto(flows->mnl, request, request->nlmsg_len) < 0)
		error = -errno;
	else
		error = read_flows(search, seq);
	drop_answers(flows);
	if (delete_victims(search) < 0 || error < 0) {
		if (!flows->complained)
			log_warning("flows of ended leases may go on for a while: "
				    "conntrack does not answer (%s); is the module "
				    "nf_conntrack_netlink there?",
				    strerror(error < 0 ? -error : errno));
		flows->complained = true;
	}
	if (search->flow)
		nfct_destroy(search->flow);
	free(search->victims);
}

static int compare_ports(const void *a, const void *b)
{
	const struct nft_ended *left = a;
	const struct nft_ended *right = b;

	if (left->protocol != right->protocol)
		return left->protocol < right->protocol ? -1 : 1;
	return (left->external_port > right->external_port) -
	       (left->external_port < right->external_port);
}

static size_t find_first(const struct nft_flows *flows, const struct nft_ended *wanted)
{
	size_t low = 0;
	size_t high = flows->ended_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_ports(&flows->ended[middle], wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* True when a rule with this protocol, external port and internal endpoint ended. */
static bool has_ended(const struct nft_flows *flows, const struct nft_ended *wanted)
{
	for (size_t i = find_first(flows, wanted); i < flows->ended_count; i++) {
		const struct nft_ended *ended = &flows->ended[i];

		if (compare_ports(ended, wanted) != 0)
			return false;
		if (ended->internal_port == wanted->internal_port &&
		    (ended->outbound || !wanted->outbound) &&
		    addr_equal(&ended->internal, &wanted->internal))
			return true;
	}
	return false;
}

static uint16_t get_port(const struct nf_conntrack *flow, enum nf_conntrack_attr field)
{
	return ntohs(nfct_get_attr_u16(flow, field));
}

/* Came in through a mapping: whom it answers from is the internal endpoint. */
static bool read_inbound(const struct nf_conntrack *flow, struct nft_flow *out)
{
	const void *internal;
	const void *peer;

	*out = (struct nft_flow){
		.protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO),
		.external_port = get_port(flow, ATTR_ORIG_PORT_DST),
		.internal_port = get_port(flow, ATTR_REPL_PORT_SRC),
		.peer_port = get_port(flow, ATTR_ORIG_PORT_SRC),
	};
	if (nfct_get_attr_u8(flow, ATTR_ORIG_L3PROTO) == AF_INET6) {
		internal = nfct_get_attr(flow, ATTR_REPL_IPV6_SRC);
		peer = nfct_get_attr(flow, ATTR_ORIG_IPV6_SRC);
		if (!internal || !peer)
			return false;
		out->internal = addr_from_ipv6(internal);
		out->peer = addr_from_ipv6(peer);
		return true;
	}
	out->internal = addr_from_ipv4(
		(struct in_addr){nfct_get_attr_u32(flow, ATTR_REPL_IPV4_SRC)});
	out->peer = addr_from_ipv4(
		(struct in_addr){nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_SRC)});
	return (nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) != 0;
}

static bool has_address(const struct nft_flows *flows, uint32_t address)
{
	for (size_t i = 0; i < flows->address_count; i++)
		if (flows->addresses[i].s_addr == address)
			return true;
	return false;
}

/* Another rule may share port and endpoint, and admit the flow's peer. */
static bool is_admitted(struct nft_flows *flows, const struct nf_conntrack *flow,
			const struct nft_flow *key)
{
	if (addr_is_ipv4(&key->internal) &&
	    !has_address(flows, nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST)))
		return false;
	return nft_live_admits(&flows->live, key);
}

static bool match_inbound(const struct search *search, const struct nf_conntrack *flow)
{
	struct nft_flow key;
	struct nft_ended wanted;

	if (!read_inbound(flow, &key))
		return false;
	wanted = (struct nft_ended){
		.protocol = key.protocol,
		.external_port = key.external_port,
		.internal_port = key.internal_port,
		.internal = key.internal,
	};
	return has_ended(search->flows, &wanted) &&
	       !is_admitted(search->flows, flow, &key);
}

/* Left through a mapping: answers are addressed to its external port. */
static bool match_outbound(const struct search *search, const struct nf_conntrack *flow)
{
	struct nft_ended wanted = {
		.outbound = true,
		.protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO),
		.external_port = get_port(flow, ATTR_REPL_PORT_DST),
		.internal_port = get_port(flow, ATTR_ORIG_PORT_SRC),
		.internal = addr_from_ipv4(
			(struct in_addr){nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_SRC)}),
	};
	const struct nft_flow key = {
		.protocol = wanted.protocol,
		.external_port = wanted.external_port,
		.internal_port = wanted.internal_port,
		.internal = wanted.internal,
	};

	return (nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_SRC_NAT) &&
	       !(nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) &&
	       has_ended(search->flows, &wanted) &&
	       !(has_address(search->flows,
			     nfct_get_attr_u32(flow, ATTR_REPL_IPV4_DST)) &&
		 nft_live_translates(&search->flows->live, &key));
}

static void end_inbound(struct nft_flows *flows)
{
	/* Flows that came in carry our mark: the kernel sends no others. */
	struct query query = {.family = AF_UNSPEC, .mark = flows->mark};
	struct search search = {.flows = flows, .match = match_inbound};

	if (flows->ended_count > 0)
		search_run(&search, &query);
}

static void end_outbound(struct nft_flows *flows)
{
	struct query query = {.family = AF_INET};
	struct search search = {.flows = flows, .match = match_outbound};
	const struct nft_ended *only = NULL;
	size_t outbound = 0;

	for (size_t i = 0; i < flows->ended_count; i++) {
		if (!flows->ended[i].outbound)
			continue;
		only = &flows->ended[i];
		outbound++;
	}
	if (outbound == 1) {
		query.fields = FIELD_SOURCE | FIELD_PROTOCOL | FIELD_SOURCE_PORT;
		query.source = addr_to_ipv4(&only->internal);
		query.protocol = only->protocol;
		query.source_port = only->internal_port;
	}
	if (outbound > 0)
		search_run(&search, &query);
}

static bool match_fresh(const struct search *search, const struct nf_conntrack *flow)
{
	uint16_t port = get_port(flow, ATTR_ORIG_PORT_DST);

	return nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO) == IPPROTO_UDP &&
	       nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST) == search->address.s_addr &&
	       !(nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) &&
	       (search->flows->fresh[port / 8] & 1U << port % 8);
}

static void end_fresh(struct nft_flows *flows)
{
	for (size_t i = 0; i < flows->address_count && flows->has_fresh; i++) {
		struct query query = {
			.family = AF_INET,
			.fields = FIELD_DESTINATION | FIELD_PROTOCOL,
			.destination = flows->addresses[i],
			.protocol = IPPROTO_UDP,
		};
		struct search search = {
			.flows = flows,
			.match = match_fresh,
			.address = flows->addresses[i],
		};

		search_run(&search, &query);
	}
}

static void search_all(struct nft_flows *flows)
{
	int64_t begin_ms = clock_now_ms();
	int64_t end_ms;

	if (flows->ended_count > 0)
		qsort(flows->ended, flows->ended_count, sizeof(*flows->ended),
		      compare_ports);
	end_inbound(flows);
	end_outbound(flows);
	end_fresh(flows);
	nft_live_drop(&flows->live);
	if (flows->has_fresh)
		memset(flows->fresh, 0, PORT_BITMAP_SIZE);
	flows->has_fresh = false;
	flows->ended_count = 0;
	flows->armed = false;
	end_ms = clock_now_ms();
	flows->resting_until_ms = end_ms + (end_ms - begin_ms) * SEARCH_REST;
}

void nft_flows_run(struct nft_flows *flows)
{
	uint64_t expirations;

	if (read(flows->timer, &expirations, sizeof(expirations)) > 0)
		search_all(flows);
}

static void arm(struct nft_flows *flows)
{
	struct itimerspec when = {0};
	int64_t delay_ms;

	if (flows->armed)
		return;
	delay_ms = flows->resting_until_ms - clock_now_ms();
	if (delay_ms < SEARCH_DELAY_MS)
		delay_ms = SEARCH_DELAY_MS;
	when.it_value.tv_sec = delay_ms / 1000;
	when.it_value.tv_nsec = delay_ms % 1000 * 1000000;
	flows->armed = timerfd_settime(flows->timer, 0, &when, NULL) == 0;
}

void nft_flows_note_begin(struct nft_flows *flows, const struct rule *rule)
{
	/* IPv6 flows are not translated: there is no wrong way to be on. */
	if (rule->protocol != IPPROTO_UDP || !addr_is_ipv4(&rule->internal))
		return;
	flows->fresh[rule->external_port / 8] |=
		(uint8_t)(1U << rule->external_port % 8);
	flows->has_fresh = true;
	arm(flows);
}

void nft_flows_note_end(struct nft_flows *flows, const struct rule *rule)
{
	if (flows->ended_count == flows->ended_size) {
		size_t size =
			flows->ended_size > 0 ? flows->ended_size * 2 : ENDED_START;
		struct nft_ended *ended =
			reallocarray(flows->ended, size, sizeof(*ended));

		if (!ended) {
			/* Memory is short: make room by doing now what is due. */
			if (flows->ended_count == 0)
				return;
			search_all(flows);
		} else {
			flows->ended = ended;
			flows->ended_size = size;
		}
	}
	flows->ended[flows->ended_count++] = (struct nft_ended){
		.protocol = rule->protocol,
		.outbound = rule->outbound && addr_is_ipv4(&rule->internal),
		.external_port = rule->external_port,
		.internal_port = rule->internal_port,
		.internal = rule->internal,
	};
	arm(flows);
}

int nft_flows_open(struct nft_flows *flows, uint32_t mark, struct nft_socket *nft)
{
	*flows = (struct nft_flows){
		.timer = -1, .mark = mark, .seq = 1, .live = {.nft = nft}};
	flows->mnl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!flows->mnl || mnl_socket_bind(flows->mnl, 0, MNL_SOCKET_AUTOPID) < 0)
		goto fail;
	flows->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	flows->buffer = calloc(1, NFT_BUFFER_SIZE);
	flows->fresh = calloc(PORT_BITMAP_SIZE, 1);
	if (flows->timer >= 0 && flows->buffer && flows->fresh)
		return 0;
fail:
	nft_flows_close(flows);
	return -ENOMEM;
}

void nft_flows_close(struct nft_flows *flows)
{
	if (flows->armed && flows->fresh)
		search_all(flows);
	if (flows->mnl)
		mnl_socket_close(flows->mnl);
	if (flows->timer >= 0)
		close(flows->timer);
	free(flows->buffer);
	free(flows->fresh);
	free(flows->ended);
	*flows = (struct nft_flows){.timer = -1};
}
