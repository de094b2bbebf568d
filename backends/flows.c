/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/flows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/netlink.h"
#include "base/sorted.h"

/*
 * The kernel has no index of flows by mapping. A search walks all buckets of its table,
 * 12 ms where there are 262,144 of them, even when it finds nothing: too much for each
 * apply(). What is to be ended is noted there, and one search a little later ends the
 * flows of all rules that ended in the meantime, and with them the flows of peers that
 * sent UDP before their mapping was made and keep trying (no mapping applies to a flow
 * that is there already).
 */
#define SEARCH_DELAY_MS 10
/*
 * After a search, rest this many times as long as it worked: whoever asks meanwhile
 * waits for a search, so that of a hundred answers less than one shall. But never so
 * long that a flow outlives its lease by a second, unless searches work so long that
 * they would need more than a part of the time then. What other processes did in the
 * meantime is no reason to rest.
 */
#define SEARCH_REST 40
#define SEARCH_REST_LEAST 10
#define SEARCH_REST_MAX_MS 500
/*
 * Where there are so few flows, looking at all of them once takes less than walking all
 * buckets once for each kind that is sought.
 */
#define SEARCH_TOGETHER_MAX 2048
#define ENDED_START 64
#define PORT_BITMAP_SIZE (65536 / 8)
#define BEGUN_SIZE ((size_t)2 * PORT_BITMAP_SIZE) /* TCP, then UDP */

static int compare_ports(const void *a, const void *b)
{
	const struct flows_ended *left = a;
	const struct flows_ended *right = b;

	if (left->protocol != right->protocol)
		return left->protocol < right->protocol ? -1 : 1;
	return (left->external_port > right->external_port) -
	       (left->external_port < right->external_port);
}

/* True when a rule with this protocol, external port and internal endpoint ended. */
static bool has_ended(const struct flows *flows, const struct flows_ended *wanted)
{
	size_t i = sorted_find_first(flows->ended, flows->ended_count,
				     sizeof(*flows->ended), wanted, compare_ports);

	for (; i < flows->ended_count; i++) {
		const struct flows_ended *ended = &flows->ended[i];

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
static bool read_inbound(const struct nf_conntrack *flow, struct flows_key *out)
{
	const void *internal;
	const void *peer;

	*out = (struct flows_key){
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

static bool has_address(const struct flows *flows, uint32_t address)
{
	for (size_t i = 0; i < flows->address_count; i++)
		if (flows->addresses[i].s_addr == address)
			return true;
	return false;
}

/* Another rule may share port and endpoint, and admit the flow's peer. */
static bool is_admitted(struct flows *flows, const struct nf_conntrack *flow,
			const struct flows_key *key)
{
	if (addr_is_ipv4(&key->internal) &&
	    !has_address(flows, nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST)))
		return false;
	return flows->judge->admits(flows->judge_user, key);
}

static bool match_inbound(struct flows *flows, const struct nf_conntrack *flow)
{
	struct flows_key key;
	struct flows_ended wanted;

	if (!read_inbound(flow, &key))
		return false;
	wanted = (struct flows_ended){
		.protocol = key.protocol,
		.external_port = key.external_port,
		.internal_port = key.internal_port,
		.internal = key.internal,
	};
	return has_ended(flows, &wanted) && !is_admitted(flows, flow, &key);
}

/* Left through a mapping: answers are addressed to its external port. */
static bool match_outbound(struct flows *flows, const struct nf_conntrack *flow)
{
	struct flows_ended wanted = {
		.outbound = true,
		.protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO),
		.external_port = get_port(flow, ATTR_REPL_PORT_DST),
		.internal_port = get_port(flow, ATTR_ORIG_PORT_SRC),
		.internal = addr_from_ipv4(
			(struct in_addr){nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_SRC)}),
	};
	const struct flows_key key = {
		.protocol = wanted.protocol,
		.external_port = wanted.external_port,
		.internal_port = wanted.internal_port,
		.internal = wanted.internal,
	};

	return (nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_SRC_NAT) &&
	       !(nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) &&
	       has_ended(flows, &wanted) &&
	       !(has_address(flows, nfct_get_attr_u32(flow, ATTR_REPL_IPV4_DST)) &&
		 flows->judge->translates(flows->judge_user, &key));
}

/* Let in by a rule of which nothing is known any more: it timed out, or was removed. */
static bool match_orphan(struct flows *flows, const struct nf_conntrack *flow)
{
	struct flows_key key;

	if (match_inbound(flows, flow))
		return true;
	if (!(nfct_get_attr_u32(flow, ATTR_MARK) & flows->mark) ||
	    !read_inbound(flow, &key))
		return false;
	/* While the WAN lacks an address, rules for it may be on their way. */
	if (addr_is_ipv4(&key.internal) &&
	    !has_address(flows, nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST)))
		return false;
	return flows->judge->rejects(flows->judge_user, &key);
}

static void end_inbound(struct flows *flows)
{
	/* Flows that came in carry our mark: the kernel sends no others. */
	struct flows_query query = {.family = AF_UNSPEC, .mark = flows->mark};

	if (flows->has_orphans) {
		flows_search_run(flows, &query, match_orphan);
	} else if (flows->ended_count > 0) {
		flows_search_run(flows, &query, match_inbound);
	}
}

static void end_outbound(struct flows *flows)
{
	struct flows_query query = {.family = AF_INET};
	const struct flows_ended *only = NULL;
	size_t outbound = 0;

	for (size_t i = 0; i < flows->ended_count; i++) {
		if (!flows->ended[i].outbound)
			continue;
		only = &flows->ended[i];
		outbound++;
	}
	if (outbound == 1) {
		query.fields = FLOWS_FIELD_SOURCE | FLOWS_FIELD_PROTOCOL |
			       FLOWS_FIELD_SOURCE_PORT;
		query.source = addr_to_ipv4(&only->internal);
		query.protocol = only->protocol;
		query.source_port = only->internal_port;
	}
	if (outbound > 0)
		flows_search_run(flows, &query, match_outbound);
}

static uint8_t *find_begun(const struct flows *flows, uint8_t protocol, uint16_t port)
{
	return flows->begun + (protocol == IPPROTO_UDP ? PORT_BITMAP_SIZE : 0) +
	       port / 8;
}

static bool has_begun(const struct flows *flows, uint8_t protocol, uint16_t port)
{
	return (*find_begun(flows, protocol, port) & 1U << port % 8) != 0;
}

static bool is_fresh(const struct flows *flows, uint16_t port)
{
	return (flows->fresh[port / 8] & 1U << port % 8) != 0;
}

static bool match_fresh(struct flows *flows, const struct nf_conntrack *flow)
{
	return nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO) == IPPROTO_UDP &&
	       has_address(flows, nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST)) &&
	       !(nfct_get_attr_u32(flow, ATTR_STATUS) & IPS_DST_NAT) &&
	       is_fresh(flows, get_port(flow, ATTR_ORIG_PORT_DST));
}

static void end_fresh(struct flows *flows)
{
	for (size_t i = 0; i < flows->address_count && flows->has_fresh; i++) {
		struct flows_query query = {
			.family = AF_INET,
			.fields = FLOWS_FIELD_DESTINATION | FLOWS_FIELD_PROTOCOL,
			.destination = flows->addresses[i],
			.protocol = IPPROTO_UDP,
		};

		flows_search_run(flows, &query, match_fresh);
	}
}

/*
 * Another host's flow may own the external port already, since the host's masquerade
 * keeps ports where it can. Then the peer's packets go to that host, and packets of the
 * mapped host to the peer are dropped.
 */
static bool match_foreign(struct flows *flows, const struct nf_conntrack *flow)
{
	uint32_t status = nfct_get_attr_u32(flow, ATTR_STATUS);
	uint8_t protocol = nfct_get_attr_u8(flow, ATTR_ORIG_L4PROTO);
	const struct flows_key key = {
		.protocol = protocol,
		.external_port = get_port(flow, ATTR_REPL_PORT_DST),
		.internal_port = get_port(flow, ATTR_ORIG_PORT_SRC),
		.internal = addr_from_ipv4(
			(struct in_addr){nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_SRC)}),
	};

	return (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) &&
	       (status & IPS_SRC_NAT) && !(status & IPS_DST_NAT) &&
	       has_address(flows, nfct_get_attr_u32(flow, ATTR_REPL_IPV4_DST)) &&
	       has_begun(flows, protocol, key.external_port) &&
	       flows->judge->is_foreign(flows->judge_user, &key);
}

static void end_foreign(struct flows *flows)
{
	for (size_t i = 0; i < flows->address_count && flows->begun_count > 0; i++) {
		struct flows_query query = {
			.family = AF_INET,
			.reply_fields = FLOWS_FIELD_DESTINATION,
			.destination = flows->addresses[i],
		};

		if (flows->begun_count == 1) {
			query.reply_fields |=
				FLOWS_FIELD_PROTOCOL | FLOWS_FIELD_DESTINATION_PORT;
			query.protocol = flows->last_protocol;
			query.destination_port = flows->last_port;
		}
		flows_search_run(flows, &query, match_foreign);
	}
}

static const struct flows_gone *find_gone(const struct flows *flows, uint32_t address)
{
	for (size_t i = 0; i < flows->gone_count; i++)
		if (flows->gone[i].address.s_addr == address)
			return has_address(flows, address) ? NULL : &flows->gone[i];
	return NULL;
}

/* Translated from or to an address that is no more: nothing can come back to it. */
static bool match_gone(struct flows *flows, const struct nf_conntrack *flow)
{
	uint32_t status = nfct_get_attr_u32(flow, ATTR_STATUS);
	const struct flows_gone *gone = NULL;

	if (status & IPS_DST_NAT)
		gone = find_gone(flows, nfct_get_attr_u32(flow, ATTR_ORIG_IPV4_DST));
	if (gone && nfct_get_attr_u32(flow, ATTR_MARK) & flows->mark)
		return true;
	if (!gone && status & IPS_SRC_NAT)
		gone = find_gone(flows, nfct_get_attr_u32(flow, ATTR_REPL_IPV4_DST));
	return gone && gone->whole;
}

static void end_gone(struct flows *flows)
{
	struct flows_query query = {.family = AF_INET};

	if (flows->gone_count > 0)
		flows_search_run(flows, &query, match_gone);
}

/* The searches above as one, where the kernel has left nothing out. */
static bool match_any(struct flows *flows, const struct nf_conntrack *flow)
{
	bool marked = (nfct_get_attr_u32(flow, ATTR_MARK) & flows->mark) != 0;
	bool ipv4 = nfct_get_attr_u8(flow, ATTR_ORIG_L3PROTO) == AF_INET;

	if (marked && flows->has_orphans && match_orphan(flows, flow))
		return true;
	if (marked && flows->ended_count > 0 && match_inbound(flows, flow))
		return true;
	if (!ipv4)
		return false;
	return (flows->ended_count > 0 && match_outbound(flows, flow)) ||
	       (flows->has_fresh && match_fresh(flows, flow)) ||
	       (flows->begun_count > 0 && match_foreign(flows, flow)) ||
	       (flows->gone_count > 0 && match_gone(flows, flow));
}

static void end_all(struct flows *flows)
{
	const struct flows_query query = {.family = AF_UNSPEC};

	if (flows_search_count(flows) <= SEARCH_TOGETHER_MAX) {
		flows_search_run(flows, &query, match_any);
		return;
	}
	end_inbound(flows);
	end_outbound(flows);
	end_fresh(flows);
	end_foreign(flows);
	end_gone(flows);
}

static int64_t get_rest_ms(int64_t worked_us)
{
	const int64_t rest_ms = worked_us * SEARCH_REST / 1000;
	const int64_t least_ms = worked_us * SEARCH_REST_LEAST / 1000;

	if (least_ms > SEARCH_REST_MAX_MS)
		return least_ms;
	return rest_ms < SEARCH_REST_MAX_MS ? rest_ms : SEARCH_REST_MAX_MS;
}

static void search_all(struct flows *flows)
{
	const int64_t begin_us = clock_process_us();

	if (flows->ended_count > 0)
		qsort(flows->ended, flows->ended_count, sizeof(*flows->ended),
		      compare_ports);
	end_all(flows);
	flows->judge->end(flows->judge_user);
	flows->has_orphans = false;
	flows->gone_count = 0;
	if (flows->begun_count > 0)
		memset(flows->begun, 0, BEGUN_SIZE);
	if (flows->has_fresh)
		memset(flows->fresh, 0, PORT_BITMAP_SIZE);
	flows->begun_count = 0;
	flows->has_fresh = false;
	flows->ended_count = 0;
	flows->armed = false;
	flows->resting_until_ms =
		clock_now_ms() + get_rest_ms(clock_process_us() - begin_us);
}

void flows_run(struct flows *flows)
{
	uint64_t expirations;

	if (flows->mnl && read(flows->timer, &expirations, sizeof(expirations)) > 0)
		search_all(flows);
}

static void arm(struct flows *flows)
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

static void note_gone(struct flows *flows, struct in_addr address, bool whole)
{
	if (flows->gone_count == FLOWS_GONE_MAX)
		search_all(flows);
	flows->gone[flows->gone_count++] =
		(struct flows_gone){.address = address, .whole = whole};
	arm(flows);
}

/*
 * While there is no WAN (its route went, perhaps for a moment) nothing is known about
 * its addresses. An address that left the interface can carry nothing; when it is the
 * interface that is another one, the address may still be on the old one and serve the
 * host's own translation: only the flows that came in through leases end.
 */
void flows_set_network(struct flows *flows, const struct backend_network *network)
{
	bool same = strcmp(flows->wan, network->wan) == 0;
	struct in_addr old[BACKEND_ADDRESSES_MAX];
	size_t old_count = flows->address_count;

	if (!flows->mnl || network->wan[0] == '\0')
		return;
	memcpy(old, flows->addresses, sizeof(old));
	memcpy(flows->wan, network->wan, sizeof(flows->wan));
	flows->address_count = 0;
	for (size_t i = 0; i < network->address_count && i < BACKEND_ADDRESSES_MAX; i++)
		if (addr_is_ipv4(&network->addresses[i]))
			flows->addresses[flows->address_count++] =
				addr_to_ipv4(&network->addresses[i]);
	for (size_t i = 0; i < old_count; i++)
		if (!has_address(flows, old[i].s_addr))
			note_gone(flows, old[i], same);
}

static void note_foreign(struct flows *flows, const struct rule *rule)
{
	uint8_t *begun = find_begun(flows, rule->protocol, rule->external_port);

	if (!has_begun(flows, rule->protocol, rule->external_port))
		flows->begun_count++;
	*begun |= (uint8_t)(1U << rule->external_port % 8);
	flows->last_protocol = rule->protocol;
	flows->last_port = rule->external_port;
}

void flows_note_begin(struct flows *flows, const struct rule *rule)
{
	/* IPv6 flows are not translated: there is no wrong way to be on. */
	if (!flows->mnl || !addr_is_ipv4(&rule->internal))
		return;
	/* Other hosts' flows to other peers do not stand in the way of one flow. */
	if (!rule->flow)
		note_foreign(flows, rule);
	/* A first TCP packet without a mapping was refused: it left no flow. */
	if (rule->protocol == IPPROTO_UDP) {
		flows->fresh[rule->external_port / 8] |=
			(uint8_t)(1U << rule->external_port % 8);
		flows->has_fresh = true;
	}
	arm(flows);
}

void flows_note_end(struct flows *flows, const struct rule *rule)
{
	struct flows_ended *ended;

	if (!flows->mnl)
		return;
	ended = array_reserve(flows->ended, flows->ended_count, &flows->ended_size,
			      sizeof(*ended), ENDED_START);
	if (ended)
		flows->ended = ended;
	else if (flows->ended_count == 0)
		return;
	else
		/* Memory is short: make room by doing now what is due. */
		search_all(flows);
	flows->ended[flows->ended_count++] = (struct flows_ended){
		.protocol = rule->protocol,
		/* What keeps a flow must not end it, nor others that left with its
		 * port, before they are idle (RFC 6887 §12.1). */
		.outbound =
			rule->outbound && !rule->flow && addr_is_ipv4(&rule->internal),
		.external_port = rule->external_port,
		.internal_port = rule->internal_port,
		.internal = rule->internal,
	};
	arm(flows);
}

void flows_note_orphans(struct flows *flows)
{
	if (!flows->mnl)
		return;
	flows->has_orphans = true;
	arm(flows);
}

/* The way in changed for somebody: not renewed, not only its way out. */
static bool ends_flows(const struct backend_change *change)
{
	struct rule after = change->after;

	if (change->kind != CHANGE_REPLACE)
		return change->kind == CHANGE_DELETE;
	after.outbound = change->before.outbound;
	return !rule_equal(&change->before, &after);
}

void flows_note_change(struct flows *flows, const struct backend_change *change,
		       bool keep_flows)
{
	bool ends = ends_flows(change);

	if (ends && !keep_flows)
		flows_note_end(flows, &change->before);
	if (change->kind == CHANGE_ADD || (ends && change->kind == CHANGE_REPLACE))
		flows_note_begin(flows, &change->after);
}

int flows_open(struct flows *flows, uint32_t mark, const struct flows_judge *judge,
	       void *user)
{
	*flows = (struct flows){.timer = -1,
				.mark = mark,
				.seq = 1,
				.judge = judge,
				.judge_user = user};
	flows->mnl = netlink_open(NETLINK_NETFILTER, 0);
	if (!flows->mnl) {
		const int error = errno > 0 ? -errno : -EIO;

		log_warning("cannot reach the kernel's flows (netfilter netlink: %s): "
			    "those of leases that end go on until they are idle; load "
			    "the module nf_conntrack_netlink",
			    strerror(-error));
		flows_close(flows);
		return error;
	}
	flows->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	flows->buffer = calloc(1, FLOWS_BUFFER_SIZE);
	flows->begun = calloc(BEGUN_SIZE, 1);
	flows->fresh = calloc(PORT_BITMAP_SIZE, 1);
	if (flows->timer >= 0 && flows->buffer && flows->begun && flows->fresh)
		return 0;
	flows_close(flows);
	return -ENOMEM;
}

void flows_close(struct flows *flows)
{
	if (flows->armed && flows->begun && flows->fresh)
		search_all(flows);
	netlink_close(flows->mnl);
	if (flows->timer >= 0)
		close(flows->timer);
	free(flows->buffer);
	free(flows->begun);
	free(flows->fresh);
	free(flows->ended);
	*flows = (struct flows){.timer = -1};
}
