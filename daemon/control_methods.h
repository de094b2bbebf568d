/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_CONTROL_METHODS_H
#define DAEMON_CONTROL_METHODS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/varlink.h"
#include "daemon/control.h"

struct bufferevent;

/** One connection of the control socket; control.c and control_methods.c share it. */
struct control_client {
	struct control *control;
	struct bufferevent *stream;
	struct varlink_buffer input;
	uid_t uid;     /* of who called */
	bool admin;    /* may change things */
	bool watching; /* gets every lease event */
	bool broken;   /* to be ended */
	bool oneway;   /* the call at hand wants no answer */
	uint64_t *
		list_ids; /* of a List under way: the leases there were when it began */
	size_t list_count;
	size_t list_at; /* the next to send */
	struct control_client *prev, *next;
};

/** Do one call and answer it. */
void control_method_call(const struct control_source *source,
			 struct control_client *client,
			 const struct varlink_call *call);
/** Send the next part of a List. */
void control_method_list_more(const struct control_source *source,
			      struct control_client *client);
/** What watchers are told of a lease event. Owns: caller frees. Errors: NULL. */
struct json_object *control_method_event_new(const struct control_source *source,
					     enum lease_event event,
					     const struct lease *lease);
/** Queue a message. Owns: takes it; NULL = out of memory breaks the connection. */
void control_method_send(struct control_client *client, struct json_object *message);

#endif
