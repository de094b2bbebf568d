/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include "daemon/ledger.h"
#include "daemon/network.h"

struct event_base;
struct json_object;

/** Connections at a time; more are turned away. */
#define CONTROL_CLIENTS_MAX 32
/** Connections of one user, root aside. */
#define CONTROL_CLIENTS_PER_USER 8

/** What the control socket serves from; borrowed for its life. */
struct control_source {
	/** Set when the daemon is ready to serve; NULL before. */
	struct ledger *ledger;
	const struct network *network;
	/** Have the configuration read anew; control_finish_reload() follows. Never 0.
	 */
	uint32_t (*reload)(void *user);
	/** The answer of Status. Owns: control frees it. Errors: NULL. */
	struct json_object *(*status_new)(void *user);
	void *user;
};

/** The socket of the admin tool, doc/control.md. */
struct control;

/**
 * Take the socket's name. A socket of a daemon that is gone is replaced.
 * Errors: -EADDRINUSE when another daemon answers there; -errno; logged.
 */
int control_open(struct event_base *base, const char *path,
		 const struct control_source *source, struct control **out)
	__attribute__((warn_unused_result));
/** Close connections and remove the socket's name. Safe on NULL. */
void control_close(struct control *control);

/** What has become of a reload. */
struct control_reload {
	uint32_t after;	   /* serials behind this one are answered ... */
	uint32_t serial;   /* ... up to this one */
	const char *error; /* why nothing has changed; NULL = it is in force */
	bool changed;
	size_t ended;	     /* leases that it does not allow */
	size_t left;	     /* of these, what the firewall does not let go yet */
	const char *restart; /* see struct reload_diff; never NULL */
};

/** Answer those who called Reload. */
void control_finish_reload(struct control *control,
			   const struct control_reload *reload);

/** Tell everybody who watches. */
void control_publish(struct control *control, enum lease_event event,
		     const struct lease *lease);

#endif
