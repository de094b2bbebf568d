/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_UPNP_CLIENT_H
#define PROBE_UPNP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "probe/run.h"

/**
 * libupnp as a control point, in blocking steps with deadlines. Its threads, its
 * callbacks and its XML stay in upnp_client.c. A step that takes too long is left
 * alone with its thread: the process ends soon, without waiting for it.
 */
struct upnp_client;

/** How a step went: 0, UPNP_CLIENT_..., above 0 a UPnPError of the gateway, below 0 a
 * code of libupnp. */
#define UPNP_CLIENT_TIMEOUT (-10001)
#define UPNP_CLIENT_STOPPED (-10002)
#define UPNP_CLIENT_NO_SERVICE (-10003)
#define UPNP_CLIENT_NO_MEMORY (-10004)
#define UPNP_CLIENT_ELSEWHERE (-10005)

#define UPNP_URL_SIZE 512
#define UPNP_TYPE_SIZE 128
#define UPNP_VALUE_SIZE 128
#define UPNP_NAMES_SIZE 256

/** What a code that is no UPnPError means. Owns: static. */
const char *upnp_client_get_words(int code);

/** Owns: run is borrowed. Errors: a code. */
int upnp_client_open(const struct run *run, struct upnp_client **out)
	__attribute__((warn_unused_result));
/** From now on steps are of this run, as for cleaning up. */
void upnp_client_set_run(struct upnp_client *client, const struct run *run);

/** An answer to a search. */
struct upnp_found {
	char type[UPNP_TYPE_SIZE];
	char location[UPNP_URL_SIZE];
	struct ip_addr host; /* that the location is on; none where it is a name */
};

/** Begin a search; what answers, or went wrong, comes by upnp_client_listen(). */
int upnp_client_search(struct upnp_client *client, const char *target)
	__attribute__((warn_unused_result));
/** The next answer to one of the searches. Errors: a code. */
int upnp_client_listen(struct upnp_client *client, int64_t deadline_ms,
		       struct upnp_found *out) __attribute__((warn_unused_result));

/** The parts of a description that matter, each cut to fit. */
struct upnp_description {
	char device_type[UPNP_TYPE_SIZE];
	char name[UPNP_VALUE_SIZE];
	char service_type[UPNP_TYPE_SIZE]; /* WANIPConnection or WANPPPConnection */
	char control_url[UPNP_URL_SIZE];   /* absolute, on the host of the location */
	char event_url[UPNP_URL_SIZE];	   /* the same; empty where there is none */
};

/**
 * Fetch and read a description. Errors: a code; *out keeps what was read till then.
 */
int upnp_client_describe(struct upnp_client *client, const struct upnp_found *found,
			 int64_t deadline_ms, struct upnp_description *out)
	__attribute__((warn_unused_result));

struct upnp_pair {
	const char *name;
	const char *value;
};

/** One action. Strings are the caller's; values of out are cut to fit. */
struct upnp_call {
	const char *action;
	const struct upnp_pair *in;	 /* ends with a name of NULL; NULL = none */
	const char *const *out;		 /* names wanted, ends with NULL; NULL = none */
	char (*values)[UPNP_VALUE_SIZE]; /* one for each; empty where it is missing */
};

/** Errors: a code. */
int upnp_client_call(struct upnp_client *client, const struct upnp_description *service,
		     const struct upnp_call *call, int64_t deadline_ms)
	__attribute__((warn_unused_result));

/** Errors: a code. */
int upnp_client_subscribe(struct upnp_client *client, const char *url,
			  int64_t deadline_ms) __attribute__((warn_unused_result));
/** The initial event of the subscription: names of what it tells, with blanks. */
int upnp_client_await_event(struct upnp_client *client, int64_t deadline_ms,
			    char names[UPNP_NAMES_SIZE])
	__attribute__((warn_unused_result));
/** Best effort: it ends by itself. */
void upnp_client_unsubscribe(struct upnp_client *client, int64_t deadline_ms);

#endif
