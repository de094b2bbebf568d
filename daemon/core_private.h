/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_CORE_PRIVATE_H
#define DAEMON_CORE_PRIVATE_H

#include <event2/event.h>

#include "base/log.h"
#include "base/msg.h"
#include "daemon/control.h"
#include "daemon/core.h"
#include "daemon/ledger.h"
#include "daemon/network.h"
#include "daemon/outside.h"
#include "daemon/reload.h"
#include "daemon/updates.h"

/** What the files of core share; nobody else includes this. */
/** Kinds of workers. */
#define WORKERS_MAX 3
struct core_worker {
	struct core *core;
	const struct worker_ops *ops;
	struct msg_channel *channel;
	bool ready;
	unsigned int attached;
	bool renewing;	      /* a reload replaces it */
	unsigned int renewed; /* so often */
	struct worker_ready sockets;
};

/** A reload under way. */
struct core_reload {
	bool active;
	bool changed;
	uint8_t workers;     /* LAN_PROTOCOL_... of those that are waited for */
	uint32_t serial;     /* of the last call that it answers */
	uint32_t asked;	     /* of the last call there was */
	int64_t deadline_ms; /* for the workers */
	uint64_t *ids;	     /* leases to be looked at */
	size_t count;
	size_t at; /* the next */
	size_t ended;
	char restart[RELOAD_RESTART_MAX];
	struct event *timer;
};

struct core {
	struct event_base *base;
	struct conf conf;
	const struct core_events *events;
	void *user;
	struct wan *wan;
	struct links *links;
	struct network network;
	bool network_known;		    /* chosen once */
	char network_error[CONF_ERROR_MAX]; /* said last of it; "" = it can be chosen */
	struct ledger *ledger;
	struct updates *updates;
	struct control_source source;
	struct control *control;
	struct core_worker workers[WORKERS_MAX];
	struct event *wan_event;
	struct event *backend_event;
	struct foreign *foreign; /* NULL = there is nothing to look at */
	struct event *foreign_event;
	struct event *foreign_timer;
	int64_t foreign_told_ms; /* when it was looked at */
	int64_t foreign_pause_ms;
	struct event *expiry_timer;
	struct event *heal_timer;
	struct event *serving_timer;
	int64_t expiry_due_ms;
	int64_t heal_due_ms; /* TIME_NEVER = not due */
	struct event *mend_timer;
	int64_t mend_pause_ms; /* the last; 0 = the store is whole */
	struct event *table_timer;
	/* what worker upnp knows of the table, and since when */
	uint32_t table_told_ids[LANS_MAX];
	int64_t table_told_ms;
	struct core_reload reload;
	struct outside outside;
	struct event *outside_timer;   /* to ask */
	struct event *outside_news;    /* clients are to follow what was heard */
	struct core_hosts *hosts;      /* NULL = leases are an address's */
	struct neighbours *neighbours; /* NULL = hosts are known by address only */
	int instance_fd;	       /* -1 = not held */
	/* what is due, and so armed already */
	bool foreign_due;
	bool mend_due;
	bool table_due;
	bool serving;
	int64_t started_ms;
	uint64_t dropped;
	size_t request_count;
	struct request requests[LEDGER_GROUP_MAX];
	struct reply replies[LEDGER_GROUP_MAX];
};

/** A disturbed firewall is put right after this, so that a reload counts once. */
#define CORE_HEAL_DELAY_MS 100
/** What could not be put right is tried again after this. */
#define CORE_HEAL_RETRY_MS 2000
/** The store is written anew after the same, then after twice as long each time, for
 * that encodes every lease; longest after this. */
#define CORE_MEND_PAUSE_MAX_MS 60000

/** Changes of the table that nobody asked UPnP for are told together, so often. */
#define CORE_TABLE_INTERVAL_MS 100

/** The firewall besides our table is looked at so long after others changed it; longer
 * and longer while they go on, and soon again when they have been quiet. */
#define CORE_FOREIGN_PAUSE_MIN_MS 100
#define CORE_FOREIGN_PAUSE_MAX_MS 700
#define CORE_FOREIGN_QUIET_MS 3000
/* Where something is wrong that nobody may tell us the end of. */
#define CORE_FOREIGN_RETRY_S 5

/** A worker that has not opened its sockets by then does not hold up the others. */
#define CORE_SERVING_MAX_MS 3000

/** Tell the owner, once, that clients get answers. */
void core_set_serving(struct core *core);
int core_timers_open(struct core *core) __attribute__((warn_unused_result));
void core_timers_close(struct core *core);
/** Have kernel and disk compared and put right after a while, once. */
void core_plan_heal(struct core *core, int64_t delay_ms);
/** Something was done: arm what follows from it, the next expiry and the disk's retry.
 */
void core_follow_up(struct core *core);

/* core_network.c */
/** Read and choose anew. Errors: false, logged. */
bool core_read_network(struct core *core, struct network *out)
	__attribute__((warn_unused_result));
/** Read and choose anew, and have clients, firewall and workers follow what changed. */
void core_follow_network(struct core *core);
/** For core_stun_open(); user is the core. */
void core_network_learned(evutil_socket_t fd, short what, void *user);
/** For the event of rtnetlink's descriptor; user is the core. */
void core_network_changed(evutil_socket_t fd, short what, void *user);

/* core_foreign.c */
/** Look, and integrate as the configuration says. Errors: -ENOMEM. */
int core_foreign_open(struct core *core) __attribute__((warn_unused_result));
void core_foreign_close(struct core *core);
/** Look again soon. */
void core_foreign_plan(struct core *core);
/** The configuration is another one. */
void core_foreign_follow_conf(struct core *core);
/** See backend_events.quiet. */
void core_foreign_set_quiet(struct core *core, bool on);
bool core_foreign_has_port(const struct core *core, uint8_t protocol, uint16_t port);
/** NULL = nothing can be looked at. */
const struct foreign_figures *core_foreign_get_figures(const struct core *core);

/* core_stun.c */
/** ask: sends what core_stun_get_task() brings; follow: has clients follow what was
 * heard; user is the core of both. Errors: -ENOMEM. */
int core_stun_open(struct core *core, event_callback_fn ask, event_callback_fn follow)
	__attribute__((warn_unused_result));
void core_stun_close(struct core *core);
/** The WAN was looked at: have it say what clients are to be told, and ask the server
 * if that is news. */
void core_stun_follow(struct core *core, struct wan_choice *wan);
/** The worker that asks is there. */
void core_stun_worker_ready(struct core *core);
/** What it has heard. Errors: false, that makes no sense. */
bool core_stun_take(struct core *core, const struct stun_told *told)
	__attribute__((warn_unused_result));
/** What is to be asked now, if it is time. */
bool core_stun_get_task(struct core *core, struct stun_task *out)
	__attribute__((warn_unused_result));
/** Whether the configuration asks for this worker. */
bool core_is_worker_wanted(const struct core *core, const struct worker_ops *ops);

/* core_hosts.c */
/** Where the configuration has leases be a machine's. Errors: -errno. */
int core_hosts_open(struct core *core) __attribute__((warn_unused_result));
void core_hosts_close(struct core *core);
/** The configuration was changed. */
void core_hosts_follow_conf(struct core *core);
/** Networks of the LANs were changed. */
void core_hosts_follow_network(struct core *core);
/** Of each event of a lease. */
void core_hosts_on_lease(struct core *core, enum lease_event event,
			 const struct lease *lease);
/** For ledger_events; user is the core. */
bool core_hosts_find_mac(void *user, const struct ip_addr *host,
			 uint8_t mac[LEASE_MAC_SIZE]);

/* core_log.c */
/** Log what the lines about the network say now and did not say before; before NULL =
 * all of it. */
void core_log_network(const struct network *before, const struct network *now);
/** An anycast address of PCP is to be served and no interface has it. */
bool core_misses_anycast(const struct core *core);
/** Warn of it, with what to do. */
void core_log_anycast(const struct core *core);

/* core_table.c */
/** tell: sends what core_table_take() brings; user is the core. Errors: -ENOMEM. */
int core_table_open(struct core *core, event_callback_fn tell)
	__attribute__((warn_unused_result));
void core_table_close(struct core *core);
/** Worker upnp was not told yet what has become of the table. */
bool core_table_is_news(const struct core *core);
/** The table as it is now, to be sent at once: it is told then. */
void core_table_take(struct core *core, struct table_info *out);
/** Have it told soon if there is news. Costs nothing where there is none. */
void core_table_follow_up(struct core *core);

/* core_reload.c */
int core_reload_open(struct core *core) __attribute__((warn_unused_result));
void core_reload_close(struct core *core);
/** For control_source: user is the core. */
uint32_t core_reload_ask(void *user);

/** For core_table_open(). */
void core_worker_tell_table(evutil_socket_t fd, short what, void *core);
/** For core_stun_open(). */
void core_worker_ask_stun(evutil_socket_t fd, short what, void *core);

/** Tell a worker everything it needs to serve. */
void core_worker_greet(struct core_worker *worker);
void core_worker_send_wan(struct core_worker *worker);
/** The log level of the configuration. */
void core_worker_send_level(struct core_worker *worker);
void core_worker_send_lan(struct core_worker *worker, const struct lan_info *lan);
/** The place of a kind of worker; a new one if it has none yet. NULL = too many kinds.
 */
struct core_worker *core_worker_find(struct core *core, const struct worker_ops *ops);
/** Mapping Updates go to the worker that speaks PCP; user is the core. */
const struct updates_sink *core_worker_get_sink(void);
/** Take the channel. Owns: takes fd when it returns 0. */
int core_worker_attach(struct core_worker *worker, int fd)
	__attribute__((warn_unused_result));

#endif
