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

static enum lease_event change_get_event(const struct lease_change *change,
					 bool expired)
{
	struct lease before = change->before;

	switch (change->kind) {
	case LEASE_ADD:
		return LEASE_EVENT_ADDED;
	case LEASE_REMOVE:
		return expired ? LEASE_EVENT_EXPIRED : LEASE_EVENT_DELETED;
	case LEASE_UPDATE:
		break;
	}
	if (before.enabled == change->after.enabled &&
	    before.origin == change->after.origin &&
	    strcmp(before.description, change->after.description) == 0)
		return LEASE_EVENT_RENEWED;
	return LEASE_EVENT_CHANGED;
}

static void lease_log(enum log_level level, enum lease_event event,
		      const struct lease *lease, int64_t now_ms)
{
	char internal[ADDR_TEXT_SIZE], client[ADDR_TEXT_SIZE];
	char description[ESCAPED_MAX];
	bool forever = lease->expires_ms == TIME_NEVER;
	int64_t left_ms = lease->expires_ms - now_ms;

	log_write(level,
		  "lease %s id=%" PRIu64 " proto=%s ext=%u int=%s:%u lifetime=%" PRId64
		  " via=%s client=%s desc=\"%s\"",
		  lease_event_get_name(event), lease->id,
		  lease->protocol == IPPROTO_TCP ? "tcp" : "udp", lease->external_port,
		  addr_format(&lease->internal, internal), lease->internal_port,
		  forever || left_ms < 0 ? 0 : (left_ms + 999) / 1000,
		  origin_get_name(lease->origin), addr_format(&lease->client, client),
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
	unsigned int held_back;

	if (log_is_on(level) &&
	    log_limit_pass(&ledger->log_limit, now_ms, &held_back)) {
		if (held_back > 0)
			log_notice("%u lease lines were held back", held_back);
		lease_log(level, event, lease, now_ms);
	}
	ledger->events->lease(ledger->user, event, lease);
}
