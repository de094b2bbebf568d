/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line for each lease event, and the event itself for those who watch. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
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
	    lease_has_same_extra(before, after))
		return LEASE_EVENT_RENEWED;
	return LEASE_EVENT_CHANGED;
}

static uint32_t get_lan_bit(const struct lease *lease)
{
	static_assert(LANS_MAX <= 32, "a bit for each LAN");

	return lease_is_listed(lease) && lease->lan < LANS_MAX
		       ? UINT32_C(1) << lease->lan
		       : 0;
}

/* The LANs that see the change, as bits. A host that moves to another is seen by both.
 */
static uint32_t change_get_lans(const struct lease_change *change)
{
	uint32_t before = change->kind == LEASE_ADD ? 0 : get_lan_bit(&change->before);
	uint32_t after = change->kind == LEASE_REMOVE ? 0 : get_lan_bit(&change->after);
	bool renewal = change->kind == LEASE_UPDATE && before == after &&
		       change_get_event(change, false) == LEASE_EVENT_RENEWED;

	return renewal ? 0 : before | after;
}

void ledger_count_updates(const struct plan *plan, uint32_t updates[LANS_MAX])
{
	uint32_t lans = 0;

	for (size_t i = 0; i < plan->count; i++)
		lans |= change_get_lans(&plan->changes[i]);
	for (unsigned int lan = 0; lan < LANS_MAX; lan++)
		updates[lan] += lans >> lan & 1;
}

/* What a line says of those who may send: " remote=ADDRESS", or nothing = anybody. */
#define PEERS_TEXT_SIZE 192

static const char *protocol_get_name(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	}
	return "other";
}

/* " remote=ADDRESS", " remote=[ADDRESS]:PORT" or " remote=*:PORT"; returns what it has
 * used. */
static size_t remote_format(char *out, size_t size, const struct ip_addr *remote,
			    uint16_t port)
{
	char text[ADDR_ENDPOINT_TEXT_SIZE];
	int length;

	out[0] = '\0';
	if (addr_is_none(remote) && port == 0)
		return 0;
	if (addr_is_none(remote))
		length = snprintf(out, size, " remote=*:%u", port);
	else
		length = snprintf(out, size, " remote=%s",
				  port == 0 ? addr_format(remote, text)
					    : addr_format_endpoint(remote, port, text));
	return length > 0 && (size_t)length < size ? (size_t)length : 0;
}

/*
 * Who may send, in short: a hole for one host shall not look like one for everybody.
 * `before` is the lease before this change, or NULL: filters that have changed are
 * told with how many there were.
 */
static const char *peers_format(char out[PEERS_TEXT_SIZE], const struct lease *lease,
				const struct lease *before)
{
	bool changed = before && !lease_has_same_filters(before, lease);
	size_t used =
		remote_format(out, PEERS_TEXT_SIZE, &lease->remote, lease->remote_port);
	struct {
		const char *name;
		unsigned int first;
		unsigned int second;
		bool is;
		char glue; /* NUL: there is no second */
	} rows[] = {
		{"filters", lease->filter_count, 0, lease->filter_count > 0 || changed,
		 '\0'},
		{"filters-before", before ? before->filter_count : 0, 0, changed, '\0'},
		{"set", lease->set_first, lease->set_first + lease->set_count - 1U,
		 lease->set_count > 0, '-'},
		{"pinhole", lease->pinhole, 0, lease->pinhole != 0, '\0'},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int length = 0;

		if (rows[i].is && rows[i].glue != '\0')
			length = snprintf(out + used, PEERS_TEXT_SIZE - used,
					  " %s=%u%c%u", rows[i].name, rows[i].first,
					  rows[i].glue, rows[i].second);
		else if (rows[i].is)
			length = snprintf(out + used, PEERS_TEXT_SIZE - used, " %s=%u",
					  rows[i].name, rows[i].first);
		used += length > 0 ? (size_t)length : 0;
	}
	return out;
}

/* why: of a lease that was deleted; NULL of any other. */
static void lease_log(enum log_level level, enum lease_event event, const char *why,
		      const struct lease_change *change, int64_t now_ms)
{
	const struct lease *lease =
		change->kind == LEASE_REMOVE ? &change->before : &change->after;
	const struct lease *before =
		change->kind == LEASE_UPDATE ? &change->before : NULL;
	char internal[ADDR_ENDPOINT_TEXT_SIZE], client[ADDR_TEXT_SIZE];
	char description[ESCAPED_MAX], peers[PEERS_TEXT_SIZE];
	bool forever = lease->expires_ms == TIME_NEVER;

	log_write(
		level,
		"lease %s id=%" PRIu64 " proto=%s ext=%u int=%s lifetime=%u"
		" via=%s client=%s%s%s%s%s%s desc=\"%s\"",
		lease_event_get_name(event), lease->id,
		protocol_get_name(lease->protocol), lease->external_port,
		addr_format_endpoint(&lease->internal, lease->internal_port, internal),
		forever ? 0 : lease_get_left_s(lease, now_ms),
		origin_get_name(lease->origin), addr_format(&lease->client, client),
		lease_is_peer(lease) ? " kind=flow" : "",
		lease->enabled ? "" : " enabled=no", peers_format(peers, lease, before),
		why ? " why=" : "", why ? why : "",
		log_escape(description, sizeof(description),
			   lease_get_description(lease)));
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
		lease_log(level, event, why, change, now_ms);
	}
	ledger->events->lease(ledger->user, event, lease);
	if (change->unasked && ledger->events->unasked)
		ledger->events->unasked(ledger->user, lease);
}

/* What a request means something by. */
#define BY_PROTOCOL 1U
#define BY_INTERNAL 2U
#define BY_EXTERNAL 4U
#define BY_RANGE 8U
#define BY_PINHOLE 16U
#define BY_ALL (BY_PROTOCOL | BY_INTERNAL | BY_EXTERNAL)

struct op_words {
	const char *name; /* NULL: it only looks */
	unsigned int by;
};

/* Operations that ask for something to be done. */
static struct op_words op_get_words(uint8_t op)
{
	static const struct op_words words[REQUEST_OP_COUNT] = {
		[REQUEST_MAP] = {"map", BY_ALL},
		[REQUEST_UNMAP] = {"unmap", BY_PROTOCOL | BY_INTERNAL},
		[REQUEST_UNMAP_ALL] = {"unmap-all", BY_PROTOCOL},
		[REQUEST_PEER] = {"peer", BY_ALL},
		[REQUEST_ADD] = {"add", BY_ALL},
		[REQUEST_DELETE] = {"delete", BY_PROTOCOL | BY_EXTERNAL},
		[REQUEST_ADD_ANY] = {"add-any", BY_ALL},
		[REQUEST_DELETE_RANGE] = {"delete-range",
					  BY_PROTOCOL | BY_EXTERNAL | BY_RANGE},
		[REQUEST_PINHOLE] = {"pinhole", BY_PROTOCOL | BY_INTERNAL},
		[REQUEST_PINHOLE_UPDATE] = {"pinhole-update", BY_PINHOLE},
		[REQUEST_PINHOLE_DELETE] = {"pinhole-delete", BY_PINHOLE},
	};

	return op < REQUEST_OP_COUNT ? words[op] : (struct op_words){NULL, 0};
}

/* Longest text of what a request means: an endpoint, a range and their names. */
#define ASKED_TEXT_SIZE 128

static void asked_format(char out[ASKED_TEXT_SIZE], const struct request *request,
			 unsigned int by)
{
	char internal[ADDR_ENDPOINT_TEXT_SIZE];
	const struct {
		unsigned int bit;
		unsigned int number;
		const char *name;
		const char *text; /* NULL: the number */
	} rows[] = {
		{BY_PROTOCOL, 0, "proto", protocol_get_name(request->protocol)},
		{BY_INTERNAL, 0, "int",
		 addr_format_endpoint(&request->internal, request->internal_port,
				      internal)},
		{BY_EXTERNAL, request->external_port, "ext", NULL},
		{BY_RANGE, request->external_last, "last", NULL},
		{BY_PINHOLE, request->pinhole, "pinhole", NULL},
	};
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int length = 0;

		if ((by & rows[i].bit) && rows[i].text)
			length = snprintf(out + used, ASKED_TEXT_SIZE - used, " %s=%s",
					  rows[i].name, rows[i].text);
		else if (by & rows[i].bit)
			length = snprintf(out + used, ASKED_TEXT_SIZE - used, " %s=%u",
					  rows[i].name, rows[i].number);
		used += length > 0 ? (size_t)length : 0;
	}
}

/* Everything that explains the refusal, and no nonce: it is what guards a lease. */
static void refusal_log(const struct request *request, const struct op_words *words,
			enum result result)
{
	char client[ADDR_TEXT_SIZE], asked[ASKED_TEXT_SIZE], remote[PEERS_TEXT_SIZE];

	asked_format(asked, request, words->by);
	(void)remote_format(remote, sizeof(remote), &request->remote,
			    request->remote_port);
	log_info("request refused result=%s op=%s client=%s%s via=%s%s",
		 result_get_name(result), words->name,
		 addr_format(&request->client, client), asked,
		 origin_get_name(request->origin), remote);
}

void ledger_report_refusals(struct ledger *ledger, const struct request *requests,
			    const struct reply *replies, size_t count, int64_t now_ms)
{
	unsigned int held_back;

	if (!log_is_on(LOG_LEVEL_INFO))
		return;
	for (size_t i = 0; i < count; i++) {
		const struct op_words words = op_get_words(requests[i].op);

		if (replies[i].result == RESULT_OK || !words.name ||
		    !log_limit_pass(&ledger->refusal_limit, now_ms, &held_back))
			continue;
		if (held_back > 0)
			log_info("%u refusals were held back", held_back);
		refusal_log(&requests[i], &words, (enum result)replies[i].result);
	}
}
