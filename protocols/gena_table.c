/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/gena_table.h"

#include <stdlib.h>
#include <string.h>

void gena_table_init(struct gena_table *table)
{
	TAILQ_INIT(&table->list);
	table->count = 0;
	table->last_id = 0;
}

void gena_table_fini(struct gena_table *table)
{
	struct gena_subscription *sub = TAILQ_FIRST(&table->list);

	while (sub) {
		struct gena_subscription *next = TAILQ_NEXT(sub, link);

		gena_table_remove(table, sub);
		sub = next;
	}
}

/* A LAN shuts out no other, IPv6 no IPv4, and a host no other (GENA-12). */
static bool has_room(const struct gena_table *table,
		     const struct gena_subscriber *subscriber)
{
	const struct gena_subscription *sub;
	unsigned int of_lan = 0, of_ipv6 = 0, of_host = 0;

	TAILQ_FOREACH (sub, &table->list, link) {
		const struct gena_subscriber *other = &sub->subscriber;

		if (other->ifindex != subscriber->ifindex)
			continue;
		of_lan++;
		if (!addr_is_ipv4(&other->host))
			of_ipv6++;
		if (addr_equal(&other->host, &subscriber->host))
			of_host++;
	}
	return table->count < GENA_SUBSCRIPTIONS_MAX &&
	       of_lan < GENA_SUBSCRIPTIONS_PER_LAN_MAX &&
	       (addr_is_ipv4(&subscriber->host) ||
		of_ipv6 < GENA_SUBSCRIPTIONS_PER_LAN_IPV6_MAX) &&
	       of_host < GENA_SUBSCRIPTIONS_PER_HOST_MAX;
}

struct gena_subscription *gena_table_add(struct gena_table *table,
					 const struct gena_call *call,
					 const struct gena_subscriber *subscriber,
					 const uint8_t random[16], int64_t now_ms)
{
	struct gena_subscription *sub;

	if (!has_room(table, subscriber))
		return NULL;
	sub = calloc(1, sizeof(*sub));
	if (!sub)
		return NULL;
	sub->id = ++table->last_id;
	sub->subscriber = *subscriber;
	sub->callback = call->callback;
	sub->changed = UINT32_MAX;
	(void)gena_make_sid(random, sub->sid);
	gena_subscription_renew(sub, call->timeout_s, now_ms);
	TAILQ_INSERT_TAIL(&table->list, sub, link);
	table->count++;
	return sub;
}

void gena_table_remove(struct gena_table *table, struct gena_subscription *sub)
{
	TAILQ_REMOVE(&table->list, sub, link);
	table->count--;
	free(sub);
}

struct gena_subscription *gena_table_find(struct gena_table *table, const char *sid,
					  const struct gena_subscriber *subscriber,
					  int64_t now_ms)
{
	struct gena_subscription *sub;

	TAILQ_FOREACH (sub, &table->list, link)
		if (!sub->leaving && sub->expires_ms > now_ms &&
		    strcmp(sub->sid, sid) == 0 &&
		    sub->subscriber.subject == subscriber->subject &&
		    addr_equal(&sub->subscriber.host, &subscriber->host))
			return sub;
	return NULL;
}

struct gena_subscription *gena_table_find_id(struct gena_table *table, uint64_t id)
{
	struct gena_subscription *sub;

	TAILQ_FOREACH (sub, &table->list, link)
		if (sub->id == id)
			return sub;
	return NULL;
}

struct gena_subscription *gena_table_find_expired(struct gena_table *table,
						  int64_t now_ms)
{
	struct gena_subscription *sub;

	TAILQ_FOREACH (sub, &table->list, link)
		if (sub->expires_ms <= now_ms && !sub->in_flight)
			return sub;
	return NULL;
}

void gena_subscription_renew(struct gena_subscription *sub, uint32_t timeout_s,
			     int64_t now_ms)
{
	sub->expires_ms = now_ms + (int64_t)timeout_s * 1000;
}

bool gena_subscription_leave(struct gena_subscription *sub)
{
	sub->leaving = true;
	return sub->told;
}

bool gena_subscription_is_due(const struct gena_subscription *sub, int64_t now_ms)
{
	return sub->answered && !sub->in_flight && sub->changed != 0 &&
	       sub->expires_ms > now_ms;
}

uint32_t gena_subscription_begin(struct gena_subscription *sub, uint32_t *seq)
{
	sub->sent = sub->changed | sub->missed;
	sub->changed = 0;
	sub->missed = 0;
	sub->in_flight = true;
	*seq = sub->seq;
	sub->seq = gena_get_next_seq(sub->seq);
	return sub->sent;
}

/*
 * An event that was given up is not sent again; what it held goes into the next one,
 * which has a number of its own (GENA-8, GENA-10). A first event may come before the
 * subscriber has read its SID, so that a 412 to it means little.
 */
bool gena_subscription_end(struct gena_subscription *sub, enum gena_outcome outcome)
{
	const bool first = !sub->told;

	sub->in_flight = false;
	sub->told = true;
	if (outcome == GENA_DELIVERED) {
		sub->heard = true;
		sub->failures = 0;
	} else {
		sub->missed = sub->sent;
		sub->failures++;
	}
	sub->sent = 0;
	return sub->leaving ||
	       sub->failures >=
		       (sub->heard ? GENA_FAILURES_MAX : GENA_UNHEARD_FAILURES_MAX) ||
	       (outcome == GENA_REFUSED && !first);
}

bool gena_subscription_is_unheard(const struct gena_subscription *sub)
{
	return sub->told && !sub->heard && !sub->in_flight;
}

void gena_subscription_retry(struct gena_subscription *sub)
{
	sub->changed |= sub->missed;
}
