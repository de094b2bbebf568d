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
	uid_t uid;	 /* of who called */
	bool admin;	 /* may change things */
	bool watching;	 /* gets every lease event */
	bool broken;	 /* to be ended */
	bool oneway;	 /* the call at hand wants no answer */
	uint32_t reload; /* serial of the Reload that it waits for; 0 = none */
	uint64_t *
		list_ids; /* of a List under way: the leases there were when it began */
	size_t list_count;
	size_t list_at; /* the next to send */
	/** Leases that end by the call at hand, as they were; NULL = not gathered. */
	struct json_object *ended;
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

/* What the methods share. */

/** {"name": value}. Owns: takes value. Errors: NULL; also when value is NULL. */
struct json_object *control_wrap(const char *name, struct json_object *value);
/** A success with these parameters; NULL = no memory: the connection ends. Owns: takes
 * them. */
void control_answer(struct control_client *client, struct json_object *parameters);
void control_refuse(struct control_client *client, enum result result,
		    const char *text);
void control_not_found(struct control_client *client, uint64_t id);
/** True when a bad parameter has been answered. */
bool control_is_bad(struct control_client *client,
		    const struct varlink_members *members);
/** One more lease in the array. Errors: false, out of memory. */
bool control_add_lease(const struct control_source *source, struct json_object *array,
		       const struct lease *lease, const struct store_time *at);

/* control_change.c: the methods that change something. */
void control_method_add(const struct control_source *source,
			struct control_client *client, const struct varlink_call *call,
			struct varlink_members *members);
void control_method_delete(const struct control_source *source,
			   struct control_client *client,
			   const struct varlink_call *call,
			   struct varlink_members *members);
void control_method_reload(const struct control_source *source,
			   struct control_client *client,
			   const struct varlink_call *call,
			   struct varlink_members *members);
/** What a Reload is answered. */
void control_method_reloaded(struct control_client *client,
			     const struct control_reload *reload);

#endif
