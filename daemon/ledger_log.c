/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line for each lease event, and the event itself for those who watch. */
#include <inttypes.h>
#include <string.h>

#include "daemon/ledger_private.h"

/* Escaped, a description is at most four times as long. */
#define ESCAPED_MAX 512

static const char *const origin_names[ORIGIN_COUNT] = {
	[ORIGIN_NATPMP] = "nat-pmp",
	[ORIGIN_PCP] = "pcp",
	[ORIGIN_IGD] = "igd",
	[ORIGIN_STATIC] = "static",
};

const char *origin_get_name(uint8_t origin)
{
	return origin < ORIGIN_COUNT ? origin_names[origin] : "unknown";
}

static bool lease_has_same_filters(const struct lease *a, const struct lease *b)
{
	if (a->filter_count != b->filter_count)
		return false;
	for (uint8_t i = 0; i < a->filter_count; i++)
		if (a->filters[i].port != b->filters[i].port ||
		    a->filters[i].prefix.length != b->filters[i].prefix.length ||
		    !addr_equal(&a->filters[i].prefix.addr, &b->filters[i].prefix.addr))
			return false;
	return true;
}

static enum lease_event change_get_event(const struct lease_change *change,
					 bool expired)
{
	const struct lease *before = &change->before, *after = &change->after;

	switch (change->kind) {
	case LEASE_ADD:
		return LEASE_EVENT_ADDED;
	case LEASE_REMOVE:
		return expired ? LEASE_EVENT_EXPIRED : LEASE_EVENT_DELETED;
	case LEASE_UPDATE:
		break;
	}
	if (before->enabled == after->enabled && before->origin == after->origin &&
	    lease_has_same_filters(before, after) &&
	    strcmp(before->description, after->description) == 0)
		return LEASE_EVENT_RENEWED;
	return LEASE_EVENT_CHANGED;
}

/* why: of a lease that was deleted; NULL of any other. */
static void lease_log(enum log_level level, enum lease_event event, const char *why,
		      const struct lease *lease, int64_t now_ms)
{
	char internal[ADDR_TEXT_SIZE], client[ADDR_TEXT_SIZE];
	char description[ESCAPED_MAX];
	bool forever = lease->expires_ms == TIME_NEVER;
	int64_t left_ms = lease->expires_ms - now_ms;

	log_write(level,
		  "lease %s id=%" PRIu64 " proto=%s ext=%u int=%s:%u lifetime=%" PRId64
		  " via=%s client=%s%s%s desc=\"%s\"",
		  lease_event_get_name(event), lease->id,
		  lease->protocol == IPPROTO_TCP ? "tcp" : "udp", lease->external_port,
		  addr_format(&lease->internal, internal), lease->internal_port,
		  forever || left_ms < 0 ? 0 : (left_ms + 999) / 1000,
		  origin_get_name(lease->origin), addr_format(&lease->client, client),
		  why ? " why=" : "", why ? why : "",
		  log_escape(description, sizeof(description), lease->description));
}

void ledger_report(struct ledger *ledger, const struct lease_change *change,
		   bool expired, int64_t now_ms)
{
	enum lease_event event = change_get_event(change, expired);
	const struct lease *lease =
		change->kind == LEASE_REMOVE ? &change->before : &change->after;
	enum log_level level =
		event == LEASE_EVENT_RENEWED ? LOG_LEVEL_INFO : LOG_LEVEL_NOTICE;
	const char *why =
		event == LEASE_EVENT_DELETED ? lease_end_get_name(ledger->end) : NULL;
	unsigned int held_back;

	if (log_is_on(level) &&
	    log_limit_pass(&ledger->log_limit, now_ms, &held_back)) {
		if (held_back > 0)
			log_notice("%u lease lines were held back", held_back);
		lease_log(level, event, why, lease, now_ms);
	}
	ledger->events->lease(ledger->user, event, lease);
	if (change->unasked && ledger->events->unasked)
		ledger->events->unasked(ledger->user, lease);
}
