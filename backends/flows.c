/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/flows.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/netlink.h"

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
 * long that a flow outlives its lease by a second. Where the kernel cannot choose and
 * very many flows must be looked at, that would need more than a part of the time: such
 * searches rest longer, and those for flows that came in do not wait for them. What
 * other processes did in the meantime is no reason to rest.
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
#define BEGUN_SIZE ((size_t)2 * FLOWS_PORTS_SIZE) /* TCP, then UDP */

static void end_inbound(struct flows *flows)
{
	/* Flows that came in carry our mark: the kernel sends no others. */
	struct flows_query query = {.family = AF_UNSPEC, .mark = flows->mark};

	if (flows->has_orphans) {
		flows_search_run(flows, &query, flows_match_orphan);
	} else if (flows->ended.count > 0) {
		flows_search_run(flows, &query, flows_match_inbound);
	}
}

static void end_outbound(struct flows *flows)
{
	struct flows_query query = {.family = AF_INET};

	if (flows->left.count == 1) {
		const struct flows_ended *only = &flows->left.items[0];

		query.fields = FLOWS_FIELD_SOURCE | FLOWS_FIELD_PROTOCOL |
			       FLOWS_FIELD_SOURCE_PORT;
		query.source = addr_to_ipv4(&only->internal);
		query.protocol = only->protocol;
		query.source_port = only->internal_port;
	}
	if (flows->left.count > 0)
		flows_search_run(flows, &query, flows_match_outbound);
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

		flows_search_run(flows, &query, flows_match_fresh);
	}
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
		flows_search_run(flows, &query, flows_match_foreign);
	}
}

static bool has_inbound(const struct flows *flows)
{
	return flows->ended.count > 0 || flows->has_orphans;
}

static bool has_others(const struct flows *flows)
{
	return flows->left.count > 0 || flows->begun_count > 0 || flows->has_fresh ||
	       flows->gone_count > 0;
}

static void sort(struct flows_endings *endings)
{
	if (endings->count > 0)
		qsort(endings->items, endings->count, sizeof(*endings->items),
		      flows_match_compare);
}

static void forget_inbound(struct flows *flows)
{
	flows->has_orphans = false;
	flows->ended.count = 0;
}

static void forget_others(struct flows *flows)
{
	if (flows->begun_count > 0)
		memset(flows->begun, 0, BEGUN_SIZE);
	if (flows->has_fresh)
		memset(flows->fresh, 0, FLOWS_PORTS_SIZE);
	flows->begun_count = 0;
	flows->has_fresh = false;
	flows->left.count = 0;
	flows->gone_count = 0;
}

/* Where the kernel can choose, it sends little; else one look serves all kinds. */
static void end_others(struct flows *flows)
{
	const struct flows_query query = {.family = AF_INET};

	sort(&flows->left);
	if (flows->left.count > 1 || flows->begun_count > 1 || flows->gone_count > 0) {
		flows_search_run(flows, &query, flows_match_any);
		return;
	}
	end_outbound(flows);
	end_fresh(flows);
	end_foreign(flows);
}

static void end_together(struct flows *flows)
{
	const struct flows_query query = {.family = AF_UNSPEC};

	sort(&flows->ended);
	sort(&flows->left);
	flows_search_run(flows, &query, flows_match_any);
}

static int64_t get_rest_ms(int64_t worked_us)
{
	const int64_t rest_ms = worked_us * SEARCH_REST / 1000;

	return rest_ms < SEARCH_REST_MAX_MS ? rest_ms : SEARCH_REST_MAX_MS;
}

static int64_t get_others_rest_ms(int64_t worked_us)
{
	const int64_t rest_ms = get_rest_ms(worked_us);
	const int64_t least_ms = worked_us * SEARCH_REST_LEAST / 1000;

	return rest_ms > least_ms ? rest_ms : least_ms;
}

/* All kinds, and all of them rest then. */
static void search_together(struct flows *flows)
{
	const int64_t begin_us = clock_process_us();

	end_together(flows);
	forget_inbound(flows);
	forget_others(flows);
	flows->resting_until_ms =
		clock_now_ms() + get_rest_ms(clock_process_us() - begin_us);
	flows->others_resting_until_ms = flows->resting_until_ms;
}

static void search_inbound(struct flows *flows)
{
	const int64_t begin_us = clock_process_us();

	sort(&flows->ended);
	end_inbound(flows);
	forget_inbound(flows);
	flows->resting_until_ms =
		clock_now_ms() + get_rest_ms(clock_process_us() - begin_us);
}

static void search_others(struct flows *flows)
{
	const int64_t begin_us = clock_process_us();

	end_others(flows);
	forget_others(flows);
	flows->others_resting_until_ms =
		clock_now_ms() + get_others_rest_ms(clock_process_us() - begin_us);
}

static void arm(struct flows *flows, int64_t resting_until_ms)
{
	const int64_t now_ms = clock_now_ms();
	struct itimerspec when = {0};
	int64_t due_ms = now_ms + SEARCH_DELAY_MS;

	if (due_ms < resting_until_ms)
		due_ms = resting_until_ms;
	if (flows->armed && flows->due_ms <= due_ms)
		return;
	when.it_value.tv_sec = (due_ms - now_ms) / 1000;
	when.it_value.tv_nsec = (due_ms - now_ms) % 1000 * 1000000;
	flows->armed = timerfd_settime(flows->timer, 0, &when, NULL) == 0;
	flows->due_ms = due_ms;
}

/* all: do not put anything off. */
static void search(struct flows *flows, bool all)
{
	flows->armed = false;
	if (flows_search_count(flows) <= SEARCH_TOGETHER_MAX) {
		search_together(flows);
	} else {
		if (has_inbound(flows))
			search_inbound(flows);
		if (has_others(flows) &&
		    (all || clock_now_ms() >= flows->others_resting_until_ms))
			search_others(flows);
	}
	flows->judge->end(flows->judge_user);
	if (has_others(flows))
		arm(flows, flows->others_resting_until_ms);
}

void flows_run(struct flows *flows)
{
	uint64_t expirations;

	if (flows->mnl && read(flows->timer, &expirations, sizeof(expirations)) > 0)
		search(flows, false);
}

static void note_gone(struct flows *flows, struct in_addr address, bool whole)
{
	if (flows->gone_count == FLOWS_GONE_MAX)
		search(flows, true);
	flows->gone[flows->gone_count++] =
		(struct flows_gone){.address = address, .whole = whole};
	arm(flows, flows->others_resting_until_ms);
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
		if (!flows_match_has_address(flows, old[i].s_addr))
			note_gone(flows, old[i], same);
}

static void note_foreign(struct flows *flows, const struct rule *rule)
{
	uint8_t *begun =
		flows_match_find_begun(flows, rule->protocol, rule->external_port);

	if (!flows_match_has_begun(flows, rule->protocol, rule->external_port))
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
	arm(flows, flows->others_resting_until_ms);
}

static bool append(struct flows_endings *endings, const struct flows_ended *ended)
{
	struct flows_ended *items =
		array_reserve(endings->items, endings->count, &endings->size,
			      sizeof(*items), ENDED_START);

	if (!items)
		return false;
	endings->items = items;
	endings->items[endings->count++] = *ended;
	return true;
}

static bool append_ended(struct flows *flows, const struct flows_ended *ended)
{
	return append(&flows->ended, ended) &&
	       (!ended->outbound || append(&flows->left, ended));
}

void flows_note_end(struct flows *flows, const struct rule *rule)
{
	const struct flows_ended ended = {
		.protocol = rule->protocol,
		/* What keeps a flow must not end it, nor others that left with its
		 * port, before they are idle (RFC 6887 §12.1). */
		.outbound =
			rule->outbound && !rule->flow && addr_is_ipv4(&rule->internal),
		.external_port = rule->external_port,
		.internal_port = rule->internal_port,
		.internal = rule->internal,
	};

	if (!flows->mnl)
		return;
	if (!append_ended(flows, &ended)) {
		/* Memory is short: make room by doing now what is due. */
		search(flows, true);
		if (!append_ended(flows, &ended))
			flows->has_orphans = true;
	}
	arm(flows, flows->resting_until_ms);
}

void flows_note_orphans(struct flows *flows)
{
	if (!flows->mnl)
		return;
	flows->has_orphans = true;
	arm(flows, flows->resting_until_ms);
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
	flows->fresh = calloc(FLOWS_PORTS_SIZE, 1);
	if (flows->timer >= 0 && flows->buffer && flows->begun && flows->fresh)
		return 0;
	flows_close(flows);
	return -ENOMEM;
}

void flows_close(struct flows *flows)
{
	if (flows->armed && flows->begun && flows->fresh)
		search(flows, true);
	netlink_close(flows->mnl);
	if (flows->timer >= 0)
		close(flows->timer);
	free(flows->buffer);
	free(flows->begun);
	free(flows->fresh);
	free(flows->ended.items);
	free(flows->left.items);
	*flows = (struct flows){.timer = -1};
}
