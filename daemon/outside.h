/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_OUTSIDE_H
#define DAEMON_OUTSIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "daemon/network.h"
#include "protocols/worker.h"

/** What is asked again without anything having changed. */
#define OUTSIDE_INTERVAL_MS INT64_C(300000)
/** The first try after a failure; each one after it waits twice as long, up to ... */
#define OUTSIDE_RETRY_MS INT64_C(1000)
#define OUTSIDE_RETRY_MAX_MS INT64_C(60000)
/** A worker that says nothing for so long has forgotten the question. */
#define OUTSIDE_PATIENCE_MS INT64_C(120000)
/** What a server has said is told for so long when it says no more. */
#define OUTSIDE_KEEP_MS (2 * OUTSIDE_INTERVAL_MS)

enum outside_state {
	OUTSIDE_OFF,	/* no server is to be asked */
	OUTSIDE_IDLE,	/* there is no address to ask from */
	OUTSIDE_ASKING, /* no answer yet since the WAN is as it is */
	OUTSIDE_KNOWN,	/* the server has answered */
	OUTSIDE_FAILED, /* it does not any more, or never did */
};

/** "off", "idle", "asking", "ok", "failed". */
const char *outside_get_state_name(enum outside_state state);

/**
 * The address that a STUN server sees. Pure: core asks it what to do, and tells it what
 * came. It never says whether ports can be mapped, only which address clients are told:
 * the one learned, and the interface's own while nothing is known of another one.
 */
struct outside {
	enum outside_state state;
	int64_t since_ms;	/* of the state */
	enum stun_outcome why;	/* OUTSIDE_FAILED */
	struct ip_addr learned; /* none = nothing is known */
	int64_t answered_ms;	/* when `learned` was said; before: of an earlier WAN */
	bool confirmed;		/* `learned` is about the WAN as it is */
	bool pending;		/* a question is under way */
	uint32_t serial;	/* of it */
	uint32_t failures;	/* since the last answer */
	int64_t due_ms;		/* of outside_advance() */
	/* what it is all about */
	char host[CONF_HOST_MAX];
	uint16_t port;
	uint32_t ifindex;
	struct ip_addr local;
};

/**
 * presumed: what clients were told last, in an earlier run maybe. It is taken for true
 * until the first question is answered or fails, where the WAN's own address cannot be:
 * so a restart is no new epoch (PCP-32).
 */
void outside_init(struct outside *outside, const struct ip_addr *presumed,
		  int64_t now_ms);

/**
 * The WAN, or the configuration, may be another one: begin anew if that is so, and have
 * `wan` say what clients are to be told.
 */
void outside_follow(struct outside *outside, const struct conf_wan *conf,
		    struct wan_choice *wan, int64_t now_ms);

/** True when a question is to be sent now; its fields that we know are in *out. */
bool outside_advance(struct outside *outside, int64_t now_ms, struct stun_task *out)
	__attribute__((warn_unused_result));

/** There is a worker that knows of no question: ask it. */
void outside_renew_worker(struct outside *outside, int64_t now_ms);

/**
 * What the worker says. Answers to earlier questions are passed over. Errors: false, it
 * makes no sense.
 */
bool outside_take(struct outside *outside, const struct stun_told *told, int64_t now_ms)
	__attribute__((warn_unused_result));

/** When to call outside_advance() next; TIME_NEVER. */
int64_t outside_get_due_ms(const struct outside *outside);

/** Why there is no answer, in words: "it does not answer". */
const char *outside_get_reason(const struct outside *outside);

#endif
