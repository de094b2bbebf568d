/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADMIN_CLIENT_H
#define ADMIN_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "admin/admin.h"
#include "base/varlink.h"

/** A connection to the daemon. What goes wrong on it is reported in one line. */
struct client;

/**
 * Connect. Owns: *out is freed with client_free(). Errors: what the tool shall end
 * with, *out untouched.
 */
enum exit_code client_open(const struct options *options, struct client **out)
	__attribute__((warn_unused_result));
/** Safe on NULL. */
void client_free(struct client *client);

/** Send a call. Owns: takes parameters (may be NULL). */
enum exit_code client_call(struct client *client, const char *method,
			   struct json_object *parameters, bool more)
	__attribute__((warn_unused_result));
/**
 * Wait for the next reply. Owns: *out is freed with varlink_reply_fini(). Errors: the
 * connection ended, the time is over, a message is no reply, or the daemon answered
 * with an error: reported, *out untouched.
 */
enum exit_code client_next(struct client *client, struct varlink_reply *out)
	__attribute__((warn_unused_result));
/** From now on wait for ever, but only as long as somebody reads our stdout. */
void client_wait_for_ever(struct client *client);
/** After client_next() failed: true when it was because nobody reads our stdout. */
bool client_is_unread(const struct client *client);

/** A call with one reply. */
enum exit_code client_ask(struct client *client, const char *method,
			  struct json_object *parameters, struct varlink_reply *out)
	__attribute__((warn_unused_result));

/** The same with a connection of its own and no parameters; show() tells what came. */
enum exit_code client_show(const struct options *options, const char *method,
			   enum exit_code (*show)(const struct options *options,
						  struct json_object *parameters))
	__attribute__((warn_unused_result));

#endif
