/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_GENA_LAB_H
#define TEST_UNIT_GENA_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct event;

/* Units: ms that a timer may be early: libevent reads a coarse clock. */
#define TIMER_EARLY_MS 10

/* Subscribers of all kinds, in the loop of upnp_lab.h. */

/** What a subscriber does with an event. */
enum sink_mode {
	SINK_ANSWER, /* 200 */
	SINK_REFUSE, /* 412 */
	SINK_FAIL,   /* 500 */
	SINK_HOLD,   /* reads it and says nothing until sink_answer() */
	SINK_DRIP,   /* answers in two pieces */
	SINK_BABBLE, /* answers without an end of line */
	SINK_HANG_UP,
	SINK_DEAD, /* the kernel accepts, nobody reads */
};

struct sink_connection {
	TAILQ_ENTRY(sink_connection) link;
	struct sink *sink;
	struct event *event;
	int fd;
	bool whole;  /* one event has come */
	bool closed; /* by the other side */
	size_t used;
	size_t size;
	char *in;
};

/** One callback of a host. */
struct sink {
	enum sink_mode mode;
	uint16_t port;
	int fd;
	struct event *event; /* NULL of SINK_DEAD */
	unsigned int accepted;
	unsigned int closed;
	unsigned int count; /* events that have come whole */
	char peer[64];	    /* who connected last */
	char *last;	    /* the last event */
	TAILQ_HEAD(, sink_connection) connections;
};

/** Owns: caller frees. */
struct sink *sink_new(const char *host, enum sink_mode mode);
void sink_free(struct sink *sink);
/** Answer the events that are held. */
void sink_answer(struct sink *sink, const char *text);

/** Wait until it has had this many events, or connections; fails at the deadline. */
void sink_wait(struct sink *sink, unsigned int count);
void sink_wait_accepted(struct sink *sink, unsigned int count);
/** Value of a header of the last event, up to its line's end. Borrowed: static. */
const char *sink_get_header(const struct sink *sink, const char *name);
/** Value of a variable in the last event; NULL = it is not in it. Borrowed: static. */
const char *sink_get_value(const struct sink *sink, const char *name);
/** Variables in the last event. */
unsigned int sink_count_values(const struct sink *sink);

#endif
