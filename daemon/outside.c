/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/outside.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* Codes of an error response (RFC 8489 §14.8). */
#define CODE_MIN 300
#define CODE_MAX 699

static const struct ip_addr none;

const char *outside_get_state_name(enum outside_state state)
{
	static const char *const names[] = {
		[OUTSIDE_OFF] = "off",	     [OUTSIDE_IDLE] = "idle",
		[OUTSIDE_ASKING] = "asking", [OUTSIDE_KNOWN] = "ok",
		[OUTSIDE_FAILED] = "failed",
	};

	return names[state];
}

const char *outside_get_reason(const struct outside *outside)
{
	static const char *const reasons[STUN_OUTCOME_COUNT] = {
		[STUN_OUTCOME_ADDRESS] = "it tells no address of a host",
		[STUN_OUTCOME_NO_NAME] = "its name is not found by DNS",
		[STUN_OUTCOME_SILENCE] = "it does not answer",
		[STUN_OUTCOME_REFUSED] = "it refuses to tell",
		[STUN_OUTCOME_BAD] = "its answer makes no sense",
		[STUN_OUTCOME_UNREACHABLE] = "it is not reached",
	};

	return outside->state == OUTSIDE_FAILED ? reasons[outside->why]
						: "it has not answered yet";
}

static void enter(struct outside *outside, enum outside_state state, int64_t now_ms)
{
	if (outside->state != state)
		outside->since_ms = now_ms;
	outside->state = state;
}

void outside_init(struct outside *outside, const struct ip_addr *presumed,
		  int64_t now_ms)
{
	*outside = (struct outside){
		.learned = *presumed,
		.answered_ms = now_ms,
		.since_ms = now_ms,
		.due_ms = TIME_NEVER,
	};
}

/* --- what it is about --- */

static bool is_same(const struct outside *outside, const struct conf_wan *conf,
		    const struct wan_choice *wan)
{
	return strcmp(outside->host, conf->stun_host) == 0 &&
	       outside->port == conf->stun_port && outside->ifindex == wan->ifindex &&
	       addr_equal(&outside->local, &wan->address);
}

static void begin(struct outside *outside, const struct conf_wan *conf,
		  const struct wan_choice *wan, int64_t now_ms)
{
	const bool wanted = conf->stun_host[0] != '\0';
	const bool can = wan->ifindex != 0 && !addr_is_none(&wan->address);

	(void)snprintf(outside->host, sizeof(outside->host), "%s", conf->stun_host);
	outside->port = conf->stun_port;
	outside->ifindex = wan->ifindex;
	outside->local = wan->address;
	outside->confirmed = false;
	outside->pending = false;
	outside->failures = 0;
	outside->due_ms = wanted && can ? now_ms : TIME_NEVER;
	if (!wanted)
		outside->learned = none;
	enter(outside,
	      !wanted ? OUTSIDE_OFF
	      : can   ? OUTSIDE_ASKING
		      : OUTSIDE_IDLE,
	      now_ms);
}

/* What was learned before the WAN changed may still be so behind another NAT; an
 * address of the internet on the interface itself says that there is none. */
static bool is_credible(const struct outside *outside, const struct wan_choice *wan)
{
	return !addr_is_none(&outside->learned) && !addr_is_none(&wan->address) &&
	       (outside->confirmed || addr_is_private(&wan->address));
}

void outside_follow(struct outside *outside, const struct conf_wan *conf,
		    struct wan_choice *wan, int64_t now_ms)
{
	if (!is_same(outside, conf, wan))
		begin(outside, conf, wan, now_ms);
	if (outside->state != OUTSIDE_OFF && is_credible(outside, wan))
		network_set_external(wan, &outside->learned, WAN_SOURCE_STUN);
}

/* --- questions and answers --- */

bool outside_advance(struct outside *outside, int64_t now_ms, struct stun_task *out)
{
	if (outside->due_ms > now_ms)
		return false;
	memset(out, 0, sizeof(*out));
	outside->pending = true;
	outside->due_ms = now_ms + OUTSIDE_PATIENCE_MS;
	out->serial = ++outside->serial;
	out->ifindex = outside->ifindex;
	out->local = outside->local;
	(void)snprintf(out->host, sizeof(out->host), "%s", outside->host);
	out->port = outside->port;
	out->turn = (uint16_t)outside->failures;
	return true;
}

void outside_renew_worker(struct outside *outside, int64_t now_ms)
{
	outside->pending = false;
	if (outside->due_ms != TIME_NEVER)
		outside->due_ms = now_ms;
}

static int64_t get_retry_ms(uint32_t failures)
{
	int64_t delay_ms = OUTSIDE_RETRY_MS;

	for (uint32_t i = 1; i < failures && delay_ms < OUTSIDE_RETRY_MAX_MS; i++)
		delay_ms *= 2;
	return delay_ms < OUTSIDE_RETRY_MAX_MS ? delay_ms : OUTSIDE_RETRY_MAX_MS;
}

static void take_failure(struct outside *outside, enum stun_outcome why, int64_t now_ms)
{
	outside->failures++;
	outside->why = why;
	outside->due_ms = now_ms + get_retry_ms(outside->failures);
	enter(outside, OUTSIDE_FAILED, now_ms);
	/* A server may be away for a while; what it said holds until it is old. */
	if (!outside->confirmed || now_ms - outside->answered_ms >= OUTSIDE_KEEP_MS) {
		outside->learned = none;
		outside->confirmed = false;
	}
}

static void take_address(struct outside *outside, const struct ip_addr *address,
			 int64_t now_ms)
{
	outside->failures = 0;
	outside->learned = *address;
	outside->confirmed = true;
	outside->answered_ms = now_ms;
	outside->due_ms = now_ms + OUTSIDE_INTERVAL_MS;
	enter(outside, OUTSIDE_KNOWN, now_ms);
}

bool outside_take(struct outside *outside, const struct stun_told *told, int64_t now_ms)
{
	const bool address = told->outcome == STUN_OUTCOME_ADDRESS;
	const bool refused = told->outcome == STUN_OUTCOME_REFUSED;

	if (told->outcome >= STUN_OUTCOME_COUNT ||
	    (refused ? told->code < CODE_MIN || told->code > CODE_MAX
		     : told->code != 0) ||
	    (address ? !addr_is_ipv4(&told->address) : !addr_is_none(&told->address)))
		return false;
	if (!outside->pending || told->serial != outside->serial)
		return true;
	outside->pending = false;
	/* A server may say anything: 127.0.0.1, 224.0.0.1. */
	if (address && addr_is_host(&told->address))
		take_address(outside, &told->address, now_ms);
	else
		take_failure(outside, (enum stun_outcome)told->outcome, now_ms);
	return true;
}

int64_t outside_get_due_ms(const struct outside *outside)
{
	return outside->due_ms;
}
