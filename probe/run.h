/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_RUN_H
#define PROBE_RUN_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "probe/step.h"

/** How long a test mapping lives at most, if nobody deletes it. */
#define RUN_LIFETIME_S 120
/** For the deletes once the user has interrupted the run. */
#define RUN_CLEANUP_MS 1000

/** What all protocols of a run share. */
struct run {
	struct ip_addr gateway; /* IPv4, but for attempt_run_pcp6() */
	struct ip_addr own;	/* our address towards it */
	uint32_t scope;		/* interface of a link-local gateway */
	char interface[IF_NAMESIZE];
	int64_t timeout_ms; /* of one step */
	int stop_fd;	    /* readable or closed: end soon, and clean up; -1 = none */
	bool hurry;	    /* the user waits for the end */
	/** Called with each step when it is done. */
	void (*tell)(void *arg, const struct step *step);
	void *arg;
};

enum run_wait {
	RUN_READY,   /* fd is readable, or has an error to tell */
	RUN_TIMEOUT, /* the deadline has come */
	RUN_STOPPED, /* the user wants it to end */
};

/** Wait for fd. Units: instants of clock_now_ms(). */
enum run_wait run_wait_fd(const struct run *run, int fd, int64_t deadline_ms);

/** True once stop_fd tells so. */
bool run_is_stopped(const struct run *run);

/** For deletes: nothing interrupts them, but they hurry after an interrupt. */
struct run run_get_cleanup(const struct run *run);

/** Deadline of a step that begins now. */
int64_t run_get_deadline(const struct run *run);

/** Have a UDP socket tell of unreachable hosts too, not of closed ports only. */
void run_want_errors(int fd);
/** The error that a socket told was taken note of. */
void run_drain_errors(int fd);

/** The step is done: its time since then, and telling. */
void run_tell(const struct run *run, struct step *step, int64_t began_ms);

/** What stands between a request over UDP and its answer. */
enum heard {
	HEARD_ANSWER,
	HEARD_REFUSAL, /* that has no answer in it */
	HEARD_WRONG,   /* not of that protocol */
	HEARD_NETWORK, /* an errno */
	HEARD_NOTHING,
	HEARD_STOPPED,
};

/** Say that this host cannot even begin. error: an errno. */
void run_say_untried(struct step *step, int error);

/** Say that nothing was heard of port 5351. error: of HEARD_NETWORK. */
void run_say_unheard(struct step *step, enum heard heard, int error, int64_t waited_ms);

/** A gateway's epoch, and when it told it. */
struct run_epoch {
	uint32_t epoch_s;
	int64_t at_ms;
};

struct run_epoch run_get_epoch(uint32_t epoch_s);

/** The step "epoch": the same gateway tells this one now. */
void run_tell_epoch(const struct run *run, enum step_protocol protocol,
		    const struct run_epoch *first, uint32_t epoch_s);

/**
 * A UDP socket with a port of our own, which a test mapping leads to; nobody reads it.
 * Errors: -errno.
 */
int run_open_target(const struct run *run, uint16_t *port)
	__attribute__((warn_unused_result));

#endif
