/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Group commit: requests are planned and done in the table one after the other, then
 * the kernel takes all their changes in one transaction, then the store. Nobody is told
 * anything before that. If the kernel refuses the group, the table goes back to where
 * it was and each request is tried alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "backends/backend.h"
#include "base/rate.h"
#include "daemon/ledger_private.h"
#include "daemon/policy.h"
#include "daemon/ports.h"
#include "daemon/sockets.h"
#include "daemon/table.h"

/* Ids that the store reserves at a time. */
#define ID_STRETCH 4096

static bool ledger_is_port_used(void *user, uint8_t protocol, uint16_t port)
{
	struct ledger *ledger = user;
	const struct books *books = &ledger->books;

	if (books->backend_ops->has_port &&
	    books->backend_ops->has_port(books->backend, protocol, port))
		return true;
	if (ledger->events->port_given &&
	    ledger->events->port_given(ledger->user, protocol, port))
		return true;
	return ledger->sockets && !addr_is_none(&ledger->wan_address) &&
	       sockets_is_used(ledger->sockets, protocol, &ledger->wan_address, port,
			       ledger->wan_ifindex);
}

/* From the kernel's generator (PCP-102), a pool at a time: one system call for many. */
static uint32_t ledger_get_random(struct ledger *ledger)
{
	if (ledger->random_left == 0) {
		/* Cannot fail once the kernel has booted; what is left in the pool
		 * would only be a guessable place to start the search for a port from.
		 */
		(void)!getrandom(ledger->random_pool, sizeof(ledger->random_pool),
				 GRND_NONBLOCK);
		ledger->random_left = LEDGER_RANDOM_POOL;
	}
	return ledger->random_pool[--ledger->random_left];
}

static uint32_t ledger_get_lifetime_max(const struct ledger *ledger,
					const struct request *request)
{
	return request->origin == ORIGIN_IGD ? ledger->conf->limits.igd_lifetime_max_s
					     : ledger->conf->limits.lifetime_max_s;
}

static bool request_is_change(const struct request *request)
{
	switch ((enum request_op)request->op) {
	case REQUEST_MAP:
	case REQUEST_UNMAP:
	case REQUEST_UNMAP_ALL:
	case REQUEST_PEER:
	case REQUEST_ADD:
	case REQUEST_DELETE:
	case REQUEST_ADD_ANY:
	case REQUEST_DELETE_RANGE:
	case REQUEST_PINHOLE:
	case REQUEST_PINHOLE_UPDATE:
	case REQUEST_PINHOLE_DELETE:
		return true;
	case REQUEST_GET:
	case REQUEST_INDEX:
	case REQUEST_TRAFFIC:
	case REQUEST_LIST:
	case REQUEST_PINHOLE_GET:
		return false;
	}
	return false;
}

static bool conf_has_description(const struct conf *conf)
{
	for (size_t i = 0; i < conf->rule_count; i++)
		if (conf->rules[i].description[0] != '\0')
			return true;
	return false;
}

/* The lease whose text a renewal of PCP without DESCRIPTION keeps (PCP-112). */
static const struct lease *ledger_find_text(const struct ledger *ledger,
					    const struct request *request)
{
	if (request->origin != ORIGIN_PCP || request->has_description ||
	    !conf_has_description(ledger->conf))
		return NULL;
	return plan_find_asked(ledger->table, request);
}

/*
 * A renewal is judged by the text that its lease keeps: by none it might get what the
 * text is denied, or the reverse. One that names its pinhole by UniqueID only is judged
 * by what that is.
 */
static void ledger_judge(const struct ledger *ledger, const struct request *request,
			 struct verdict *verdict)
{
	bool named = request->op == REQUEST_PINHOLE_UPDATE;
	const struct lease *lease =
		named ? table_get_by_pinhole(ledger->table, request->pinhole)
		      : ledger_find_text(ledger, request);
	struct request judged;

	if (lease && lease->origin != ORIGIN_STATIC) {
		judged = *request;
		lease_copy_description(lease, judged.description);
		if (named) {
			judged.client = lease->client;
			judged.internal = lease->internal;
			judged.protocol = lease->protocol;
			judged.internal_port = lease->internal_port;
			judged.external_port = lease->external_port;
		}
		request = &judged;
	}
	policy_decide(ledger->conf, request, ledger_get_lan_name(ledger, request->lan),
		      verdict);
}

static bool ledger_is_same_host(void *user, uint16_t lan, const struct ip_addr *a,
				const struct ip_addr *b)
{
	const struct ledger *ledger = user;

	return ledger->events->same_host &&
	       ledger->events->same_host(ledger->user, lan, a, b);
}

/*
 * A pinhole for the host that asks, which does so by another address of its own: as if
 * it had asked by that which the pinhole is for (V6FW-7). Else the request as it is.
 */
static const struct request *ledger_identify(struct ledger *ledger,
					     const struct request *request,
					     struct request *own)
{
	if (request->op != REQUEST_PINHOLE ||
	    addr_equal(&request->internal, &request->client) ||
	    !ledger_is_same_host(ledger, request->lan, &request->client,
				 &request->internal))
		return request;
	*own = *request;
	own->client = request->internal;
	return own;
}

static void ledger_plan(struct ledger *ledger, const struct request *asked,
			int64_t now_ms)
{
	const struct conf *conf = ledger->conf;
	struct request own;
	const struct request *request = ledger_identify(ledger, asked, &own);
	struct verdict verdict;
	bool owner = request->origin == ORIGIN_STATIC;
	struct plan_context context = {
		.request = request,
		.verdict = owner ? NULL : &verdict,
		.external = ledger->told_external,
		.leases_per_client = conf->limits.leases_per_client,
		.leases_total = conf->limits.leases_total,
		.lifetime_max_s = ledger_get_lifetime_max(ledger, request),
		.lifetime_min_s = conf->limits.lifetime_min_s,
		.filters_max = conf->limits.filters_per_lease,
		.ports_max = conf->limits.ports_per_request,
		.nonce_relaxed = conf->global.pcp_nonce_relaxed,
		.next_id = ledger->next_id,
		.random = ledger_get_random(ledger),
		.now_ms = now_ms,
		.cautious = now_ms < ledger->cautious_until_ms,
		.is_port_used = ledger_is_port_used,
		.find_flow = ledger_find_flow,
		.is_flow_taken = ledger_is_flow_taken,
		.is_same_host = ledger_is_same_host,
		.user = ledger,
	};

	if (!owner)
		ledger_judge(ledger, request, &verdict);
	lease_plan(ledger->table, &context, &ledger->plan);
}

/* Add the plan's changes to those of the group. */
static bool group_take(struct plan *group, const struct plan *plan)
{
	size_t need = group->count + plan->count;

	if (need > group->size) {
		size_t size = need > 2 * group->size ? need : 2 * group->size;
		struct lease_change *grown =
			reallocarray(group->changes, size, sizeof(*grown));

		if (!grown)
			return false;
		group->changes = grown;
		group->size = size;
	}
	for (size_t i = 0; i < plan->count; i++) {
		struct lease_change *change = &group->changes[group->count + i];

		*change = plan->changes[i];
		if ((change->kind != LEASE_ADD &&
		     !plan_keep_extra(group, &change->before)) ||
		    (change->kind != LEASE_REMOVE &&
		     !plan_keep_extra(group, &change->after)))
			return false;
	}
	group->count = need;
	return true;
}

void ledger_clear_group(struct ledger *ledger)
{
	plan_reset(&ledger->group);
	memset(ledger->staged_updates, 0, sizeof(ledger->staged_updates));
}

void ledger_report_group(struct ledger *ledger, bool expired, int64_t now_ms)
{
	const struct plan *group = &ledger->group;

	for (size_t lan = 0; lan < LANS_MAX; lan++)
		ledger->update_ids[lan] += ledger->staged_updates[lan];
	for (size_t i = 0; i < group->count; i++) {
		ledger_follow_pinhole(ledger, &group->changes[i], now_ms);
		ledger_report(ledger, &group->changes[i], expired, now_ms);
	}
}

/* Whose it is from now on, as far as that is known. What is only changed on the way,
 * and not renewed, stays whose it was. */
static void change_fill_machine(const struct ledger *ledger,
				struct lease_change *change)
{
	const struct lease *before = &change->before;
	struct lease *after = &change->after;
	bool fresh = change->kind == LEASE_ADD;

	if (change->kind == LEASE_REMOVE || after->origin == ORIGIN_STATIC ||
	    (fresh && after->has_mac))
		return;
	if (!fresh && before->has_mac && !after->has_mac) {
		after->has_mac = true;
		memcpy(after->mac, before->mac, sizeof(after->mac));
	}
	if ((fresh || after->expires_ms != before->expires_ms) &&
	    ledger->events->find_mac(ledger->user, &after->internal, after->mac))
		after->has_mac = true;
}

bool ledger_stage(struct ledger *ledger, int64_t now_ms)
{
	struct plan *plan = &ledger->plan;

	for (size_t i = 0; ledger->events->find_mac && i < plan->count; i++)
		change_fill_machine(ledger, &plan->changes[i]);
	if (lease_commit(ledger->table, plan->changes, plan->count, now_ms) != 0)
		return false;
	if (!group_take(&ledger->group, plan)) {
		lease_rollback(ledger->table, plan->changes, plan->count);
		return false;
	}
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->changes[i].kind == LEASE_ADD &&
		    plan->changes[i].after.id == ledger->next_id)
			ledger->next_id++;
		if (plan->changes[i].kind == LEASE_UPDATE)
			ledger_follow_pinhole(ledger, &plan->changes[i], now_ms);
	}
	ledger_count_updates(plan, ledger->staged_updates);
	/* ids are written ahead, so that none is used twice after a crash */
	if (ledger->next_id + 1 >= ledger->books.meta.next_id)
		ledger->books.meta.next_id = ledger->next_id + ID_STRETCH;
	return true;
}

/* The owner should know: it is a limit of his, or somebody takes it all. */
static void ledger_warn_full(struct ledger *ledger, const struct request *request,
			     int64_t now_ms)
{
	char client[ADDR_TEXT_SIZE];
	unsigned int held_back;

	if (ledger->plan.result == RESULT_TABLE_FULL &&
	    log_limit_pass(&ledger->full_limit, now_ms, &held_back))
		log_warning(
			"no lease left for %s: %zu are held, %zu of them over IPv6, of "
			"[limits] leases-total = %u, of which IPv6 may have half; "
			"suppressed=%u",
			addr_format(&request->client, client),
			table_get_count(ledger->table),
			table_get_ipv6_count(ledger->table),
			ledger->conf->limits.leases_total, held_back);
}

/* Decide one request into the group; its answer holds if the group does. */
static void ledger_decide_one(struct ledger *ledger, const struct request *request,
			      int64_t now_ms, struct reply *reply)
{
	ledger->plan.count = 0;
	ledger->plan.has_lease = false;
	if (request->origin != ORIGIN_STATIC && request_is_change(request) &&
	    !rate_take(ledger->rate, &request->client, now_ms))
		ledger->plan.result = RESULT_RATE;
	else
		ledger_plan(ledger, request, now_ms);
	if (ledger->plan.count > 0 && !ledger_stage(ledger, now_ms)) {
		ledger->plan.count = 0;
		ledger->plan.result = RESULT_NO_MEMORY;
	}
	ledger_warn_full(ledger, request, now_ms);
	ledger_answer(ledger, request, now_ms, reply);
}

int ledger_apply(struct ledger *ledger, const struct lease_change *changes,
		 size_t count, int64_t now_ms)
{
	int error = books_apply(&ledger->books, changes, count, now_ms);
	size_t added = 0, removed = 0;
	unsigned int held_back;
	const bool own = error != -ENOENT; /* nobody else has changed anything */

	if (!own) {
		error = books_sync(&ledger->books, now_ms, &added, &removed);
		ledger_report_heal(ledger, added, removed, now_ms);
	}
	/* What is not possible says nothing about the rest; all else has us compare. */
	ledger->figures.backend_failed = error != 0 && error != -EEXIST &&
					 error != -EINVAL && error != -EOPNOTSUPP;
	if (ledger->figures.backend_failed) {
		ledger->own_failure = own;
		ledger->events->disturbed(ledger->user);
	}
	if (error != 0 && !ledger->figures.backend_failed)
		log_debug("the firewall has no place for %zu changes: %s", count,
			  strerror(-error));
	else if (error != 0 &&
		 log_limit_pass(&ledger->refused_limit, now_ms, &held_back))
		log_error("the firewall refused %zu changes: %s; suppressed=%u", count,
			  strerror(-error), held_back);
	return error;
}

static void ledger_refuse(struct reply *reply, enum result result)
{
	*reply = (struct reply){
		.cookie = reply->cookie,
		.op = reply->op,
		.result = (uint8_t)result,
		.protocol = reply->protocol,
		.internal_port = reply->internal_port,
		.epoch_s = reply->epoch_s,
	};
}

/* What the kernel's answer to one request alone means to the client: its filters clash
 * with those of another lease of the port, or among themselves (PCP-80). */
static enum result ledger_get_result(int error, const struct request *request)
{
	if (error == -EEXIST)
		return RESULT_CONFLICT;
	if (error == -EOPNOTSUPP && request->filter_count > 0)
		return RESULT_PEERS;
	return RESULT_BACKEND;
}

/* The group failed as a whole: each alone, so that one cannot refuse another's. */
static void ledger_retry_alone(struct ledger *ledger, const struct request *request,
			       const struct store_time *at, struct reply *reply)
{
	struct plan *group = &ledger->group;
	int error;

	ledger_clear_group(ledger);
	ledger_plan(ledger, request, at->now_ms);
	if (ledger->plan.count > 0 && !ledger_stage(ledger, at->now_ms))
		ledger->plan.result = RESULT_NO_MEMORY;
	ledger_answer(ledger, request, at->now_ms, reply);
	if (group->count == 0)
		return;
	error = ledger_apply(ledger, group->changes, group->count, at->now_ms);
	if (error != 0) {
		lease_rollback(ledger->table, group->changes, group->count);
		ledger_refuse(reply, ledger_get_result(error, request));
		return;
	}
	books_write(&ledger->books, group->changes, group->count, at);
	ledger_report_group(ledger, false, at->now_ms);
}

static void ledger_count(struct ledger *ledger, const struct reply *replies,
			 size_t count)
{
	ledger->figures.requests += count;
	for (size_t i = 0; i < count; i++)
		if (replies[i].result == RESULT_OK)
			ledger->figures.granted++;
		else
			ledger->figures.refused++;
}

void ledger_decide(struct ledger *ledger, const struct request *requests, size_t count,
		   struct reply *replies, const struct store_time *at)
{
	struct plan *group = &ledger->group;

	if (count > LEDGER_GROUP_MAX)
		count = LEDGER_GROUP_MAX;
	/* the owner asks alone, not in a group */
	ledger->end = count > 0 && requests[0].origin == ORIGIN_STATIC
			      ? LEASE_END_OWNER
			      : LEASE_END_CLIENT;
	ledger_clear_group(ledger);
	for (size_t i = 0; i < count; i++)
		ledger_decide_one(ledger, &requests[i], at->now_ms, &replies[i]);
	if (group->count > 0 &&
	    ledger_apply(ledger, group->changes, group->count, at->now_ms) != 0) {
		lease_rollback(ledger->table, group->changes, group->count);
		for (size_t i = 0; i < count; i++)
			/* others may have been answered by what is undone now */
			if (replies[i].result != RESULT_RATE)
				ledger_retry_alone(ledger, &requests[i], at,
						   &replies[i]);
	} else {
		books_write(&ledger->books, group->changes, group->count, at);
		ledger_report_group(ledger, false, at->now_ms);
	}
	ledger_extend_flows(ledger, requests, replies, count);
	ledger_count(ledger, replies, count);
	ledger_report_refusals(ledger, requests, replies, count, at->now_ms);
}
