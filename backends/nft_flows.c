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
 * A peer that sent UDP before its mapping was made has a flow that no mapping applies
 * to, and keeps it alive by trying again. Looking for such flows costs a walk of the
 * conntrack table in the kernel (about 0.1 µs a flow), so it is not done in apply():
 * all ports that got a mapping in the meantime share one search this much later.
 */
#define FRESH_DELAY_MS 50
/* And searches take at most one part in so many of the time. */
#define FRESH_SHARE 20
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
	const struct rule *rules; /* sorted */
	size_t count;
	struct in_addr address;
	struct nf_conntrack *flow; /* of the message at hand */
	uint8_t *victims;
	size_t used;
	size_t size;
	int error;
};

int nft_flows_open(struct nft_flows *flows, uint32_t mark)
{
	*flows = (struct nft_flows){.timer = -1, .mark = mark, .seq = 1};
	flows->mnl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!flows->mnl || mnl_socket_bind(flows->mnl, 0, MNL_SOCKET_AUTOPID) < 0)
		goto fail;
	flows->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	flows->buffer = malloc(NFT_BUFFER_SIZE);
	flows->fresh = calloc(PORT_BITMAP_SIZE, 1);
	if (flows->timer >= 0 && flows->buffer && flows->fresh)
		return 0;
fail:
	nft_flows_close(flows);
	return -ENOMEM;
}

void nft_flows_close(struct nft_flows *flows)
{
	if (flows->mnl)
		mnl_socket_close(flows->mnl);
	if (flows->timer >= 0)
		close(flows->timer);
	free(flows->buffer);
	free(flows->fresh);
	*flows = (struct nft_flows){.timer = -1};
}

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

static int compare_rules(const void *a, const void *b)
{
	const struct rule *left = a;
	const struct rule *right = b;

	if (left->protocol != right->protocol)
		return left->protocol < right->protocol ? -1 : 1;
	return (left->external_port > right->external_port) -
	       (left->external_port < right->external_port);
}

static size_t find_first(const struct search *search, const struct rule *wanted)
{
	size_t low = 0;
	size_t high = search->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_rules(&search->rules[middle], wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* True when a rule has this protocol, external port and internal endpoint. */
static bool find_rule(const struct search *search, const struct rule *wanted)
{
	for (size_t i = find_first(search, wanted); i < search->count; i++) {
		const struct rule *rule = &search->rules[i];

		if (compare_rules(rule, wanted) != 0)
			return false;
		if (rule->internal_port == wanted->internal_port &&
		    (rule->outbound || !wanted->outbound) &&
		    addr_equal(&rule->internal, &wanted->internal))
			return true;
	}
	return false;
}

static uint16_t get_port(const struct nf_conntrack *flow, enum nf_conntrack_attr field)
{
	return ntohs(nfct_get_attr_u16(flow, field));
}

/* Came in through a mapping: whom it answers from is the internal endpoint. */
static bool match_inbound(const struct search *search, const struct nf_conntrack *flow)
{
	struct rule wanted = {
		.protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO),
		.external_port = get_port(flow, ATTR_ORIG_PORT_DST),
		.internal_port = get_port(flow, ATTR_REPL_PORT_SRC),
	};
	const void *address;

	if (nfct_get_attr_u8(flow, ATTR_ORIG_L3PROTO) == AF_INET6) {
		address = nfct_get_attr(flow, ATTR_REPL_IPV6_SRC);
		if (!address)
			return false;
		wanted.internal = addr_from_ipv6(address);
		return find_rule(search, &wanted);
	}
	if (!(nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT))
		return false;
	wanted.internal = addr_from_ipv4(
		(struct in_addr){nfct_get_attr_u32(flow, ATTR_REPL_IPV4_SRC)});
	return find_rule(search, &wanted);
}

/* Left through a mapping: answers are addressed to its external port. */
static bool match_outbound(const struct search *search, const struct nf_conntrack *flow)
{
	struct rule wanted = {
		.outbound = true,
		.protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO),
		.external_port = get_port(flow, ATTR_REPL_PORT_DST),
		.internal_port = get_port(flow, ATTR_ORIG_PORT_SRC),
		.internal = addr_from_ipv4(
			(struct in_addr){nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_SRC)}),
	};

	return (nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_SRC_NAT) &&
	       !(nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) &&
	       find_rule(search, &wanted);
}

static void end_outbound(struct nft_flows *flows, const struct rule *rules,
			 size_t count)
{
	struct query query = {.family = AF_INET};
	const struct rule *only = NULL;
	size_t outbound = 0;

	for (size_t i = 0; i < count; i++) {
		if (!rules[i].outbound || !addr_is_ipv4(&rules[i].internal))
			continue;
		only = &rules[i];
		outbound++;
	}
	if (outbound == 0)
		return;
	if (outbound == 1) {
		query.fields = FIELD_SOURCE | FIELD_PROTOCOL | FIELD_SOURCE_PORT;
		query.source = addr_to_ipv4(&only->internal);
		query.protocol = only->protocol;
		query.source_port = only->internal_port;
	}
	search_run(&(struct search){.flows = flows,
				    .match = match_outbound,
				    .rules = rules,
				    .count = count},
		   &query);
}

void nft_flows_end(struct nft_flows *flows, struct rule *rules, size_t count)
{
	struct query query = {.family = AF_UNSPEC, .mark = flows->mark};

	if (count == 0)
		return;
	qsort(rules, count, sizeof(*rules), compare_rules);
	/* Flows that came in carry our mark: the kernel sends no others. */
	search_run(&(struct search){.flows = flows,
				    .match = match_inbound,
				    .rules = rules,
				    .count = count},
		   &query);
	end_outbound(flows, rules, count);
}

void nft_flows_note(struct nft_flows *flows, const struct rule *rule)
{
	int64_t delay_ms = flows->spent_ms * FRESH_SHARE;
	struct itimerspec when = {0};

	if (rule->protocol != IPPROTO_UDP || !addr_is_ipv4(&rule->internal))
		return;
	flows->fresh[rule->external_port / 8] |=
		(uint8_t)(1U << rule->external_port % 8);
	if (flows->armed)
		return;
	if (delay_ms < FRESH_DELAY_MS)
		delay_ms = FRESH_DELAY_MS;
	when.it_value.tv_sec = delay_ms / 1000;
	when.it_value.tv_nsec = delay_ms % 1000 * 1000000;
	flows->armed = timerfd_settime(flows->timer, 0, &when, NULL) == 0;
}

static bool match_fresh(const struct search *search, const struct nf_conntrack *flow)
{
	uint16_t port = get_port(flow, ATTR_ORIG_PORT_DST);

	return nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO) == IPPROTO_UDP &&
	       nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST) == search->address.s_addr &&
	       !(nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) &&
	       (search->flows->fresh[port / 8] & 1U << port % 8);
}

void nft_flows_run(struct nft_flows *flows)
{
	int64_t begin_ms = clock_now_ms();
	uint64_t expirations;

	if (read(flows->timer, &expirations, sizeof(expirations)) < 0)
		return;
	for (size_t i = 0; i < flows->address_count; i++) {
		struct query query = {
			.family = AF_INET,
			.fields = FIELD_DESTINATION | FIELD_PROTOCOL,
			.destination = flows->addresses[i],
			.protocol = IPPROTO_UDP,
		};

		search_run(&(struct search){.flows = flows,
					    .match = match_fresh,
					    .address = flows->addresses[i]},
			   &query);
	}
	memset(flows->fresh, 0, PORT_BITMAP_SIZE);
	flows->armed = false;
	flows->spent_ms = clock_now_ms() - begin_ms;
}
