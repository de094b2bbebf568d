/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/run.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "probe/words.h"

/* What came back with an error is of no interest. */
#define ERROR_SIZE 64

enum run_wait run_wait_fd(const struct run *run, int fd, int64_t deadline_ms)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
			       {.fd = run->stop_fd, .events = POLLIN}};

	for (;;) {
		int64_t left_ms = deadline_ms - clock_now_ms();
		int ready = poll(fds, 2, left_ms > 0 ? (int)left_ms : 0);

		if (ready < 0 && errno != EINTR)
			return RUN_TIMEOUT;
		if (ready > 0)
			return fds[1].revents != 0 ? RUN_STOPPED : RUN_READY;
		if (ready == 0 && left_ms <= 0)
			return RUN_TIMEOUT;
	}
}

bool run_is_stopped(const struct run *run)
{
	return run->stop_fd >= 0 && run_wait_fd(run, -1, 0) == RUN_STOPPED;
}

struct run run_get_cleanup(const struct run *run)
{
	struct run cleanup = *run;

	cleanup.hurry = run->hurry || run_is_stopped(run);
	cleanup.stop_fd = -1;
	return cleanup;
}

int64_t run_get_deadline(const struct run *run)
{
	int64_t limit_ms = run->timeout_ms;

	if (run->hurry && limit_ms > RUN_CLEANUP_MS)
		limit_ms = RUN_CLEANUP_MS;
	return clock_now_ms() + limit_ms;
}

void run_want_errors(int fd)
{
	const int on = 1;

	/* Without it silence is all that there is: no reason to give up. */
	(void)setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
}

void run_drain_errors(int fd)
{
	uint8_t octets[ERROR_SIZE];

	while (recv(fd, octets, sizeof(octets), MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		;
}

void run_tell(const struct run *run, struct step *step, int64_t began_ms)
{
	step->ms = clock_now_ms() - began_ms;
	run->tell(run->arg, step);
}

void run_say_untried(struct step *step, int error)
{
	step->cause = STEP_CAUSE_HOST;
	(void)step_say(step, STEP_NONE, "could not be tried: %s",
		       words_get_network(error));
}

/* What a socket told of port 5351. */
static void say_network(struct step *step, int error)
{
	/* A gateway cannot cause it: a rule of this host drops what is sent. */
	if (error == EPERM)
		run_say_untried(step, error);
	else if (error == ECONNREFUSED)
		(void)step_say(step, STEP_NONE, "not offered: UDP port 5351: %s",
			       words_get_network(error));
	else
		(void)step_say(step, STEP_NO, "UDP port 5351: %s",
			       words_get_network(error));
}

void run_say_unheard(struct step *step, enum heard heard, int error, int64_t waited_ms)
{
	switch (heard) {
	case HEARD_NETWORK:
		say_network(step, error);
		break;
	case HEARD_NOTHING:
		(void)step_say(step, STEP_NO, "no answer within %" PRId64 " ms",
			       waited_ms);
		break;
	case HEARD_STOPPED:
		(void)step_say(step, STEP_NONE, "interrupted");
		break;
	case HEARD_ANSWER:
	case HEARD_REFUSAL:
	case HEARD_WRONG:
		break;
	}
}

struct run_epoch run_get_epoch(uint32_t epoch_s)
{
	return (struct run_epoch){.epoch_s = epoch_s, .at_ms = clock_now_ms()};
}

void run_tell_epoch(const struct run *run, enum step_protocol protocol,
		    const struct run_epoch *first, uint32_t epoch_s)
{
	struct step step = step_init(protocol, "epoch");
	int64_t now_ms = clock_now_ms();

	step.answered = 1;
	if (words_is_sane_epoch(first->epoch_s, epoch_s, now_ms - first->at_ms))
		(void)step_say(&step, STEP_OK, "its clock runs as ours does");
	else
		(void)step_say(&step, STEP_NO,
			       "its epoch went from %" PRIu32 " to %" PRIu32
			       " s in %" PRId64 " ms: clients take that for a restart",
			       first->epoch_s, epoch_s, now_ms - first->at_ms);
	run_tell(run, &step, now_ms);
}

int run_open_target(const struct run *run, uint16_t *port)
{
	struct sockaddr_storage address;
	socklen_t length = addr_to_sockaddr(&run->own, 0, &address);
	int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, length) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	*port = addr_get_sockaddr_port(&address);
	return fd;
}
