/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/apart.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "probe/attempt.h"

/* No run of UPnP has more steps that can take their whole time. */
#define APART_STEPS_MAX 14
/* From the end of its socket to that of the child. */
#define APART_END_MS 2000
/* A child that sends more than that is not our program any more. */
#define APART_MESSAGES_MAX 32
#define APART_LOST 1

struct apart {
	const struct run *run;
	pid_t pid;
	int fd;	      /* to the child */
	int ended_fd; /* readable when a child has ended */
	size_t messages;
};

/* In the child: a step goes to the parent. */
static void apart_send_step(void *arg, const struct step *step)
{
	const int *fd = arg;

	(void)send(*fd, step, sizeof(*step), MSG_NOSIGNAL);
}

_Noreturn static void apart_run_child(const struct run *run, int fd, int null_fd)
{
	struct run child = *run;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || dup2(null_fd, 0) < 0 ||
	    dup2(null_fd, 1) < 0)
		_exit(APART_LOST);
	child.stop_fd = fd;
	child.tell = apart_send_step;
	child.arg = &fd;
	attempt_run_upnp(&child);
	/* Threads of libupnp may be busy for half a minute: no exit handlers. */
	_exit(0);
}

/* One message of the child. Returns false at their end. */
static bool apart_take_step(struct apart *apart)
{
	struct step step;
	ssize_t length = recv(apart->fd, &step, sizeof(step), MSG_TRUNC);

	if (length != sizeof(step) || !step_is_valid(&step) ||
	    step.protocol != STEP_UPNP || apart->messages++ >= APART_MESSAGES_MAX)
		return false;
	apart->run->tell(apart->run->arg, &step);
	return true;
}

/* Until the child has ended or must have. Returns false when it took too long. */
static bool apart_listen(struct apart *apart)
{
	struct run run = *apart->run;
	int64_t deadline_ms = clock_now_ms() + APART_STEPS_MAX * run.timeout_ms;

	for (;;) {
		switch (run_wait_fd(&run, apart->fd, deadline_ms)) {
		case RUN_READY:
			if (!apart_take_step(apart))
				return true;
			break;
		case RUN_STOPPED:
			/* The child sees the end, deletes its mapping, and says so. */
			(void)shutdown(apart->fd, SHUT_WR);
			run.stop_fd = -1;
			break;
		case RUN_TIMEOUT:
			return false;
		}
	}
}

/* How the child ended; -1: it has not. Units: as of waitpid(). */
static int apart_get_end(struct apart *apart)
{
	struct run run = *apart->run;
	int status = 0;

	run.stop_fd = -1;
	if (run_wait_fd(&run, apart->ended_fd, clock_now_ms() + APART_END_MS) !=
		    RUN_READY ||
	    waitpid(apart->pid, &status, WNOHANG) != apart->pid)
		return -1;
	return status;
}

static void apart_tell_end(struct apart *apart, int64_t began_ms)
{
	bool in_time = apart_listen(apart);
	struct step step = step_init(STEP_UPNP, "process");
	int status = in_time ? apart_get_end(apart) : -1;

	step.answered = 1;
	if (status == 0)
		return;
	if (status < 0)
		(void)step_say(&step, STEP_NO,
			       "libupnp does not come to an end; it was given up after "
			       "%" PRId64 " ms",
			       clock_now_ms() - began_ms);
	else if (WIFSIGNALED(status))
		(void)step_say(&step, STEP_NO,
			       "libupnp crashed (signal %d) on what this gateway, or "
			       "another host, sent; its lease ends within %d s",
			       WTERMSIG(status), RUN_LIFETIME_S);
	else
		(void)step_say(&step, STEP_NO,
			       "libupnp ended early (status %d); its lease ends within "
			       "%d s",
			       WEXITSTATUS(status), RUN_LIFETIME_S);
	run_tell(apart->run, &step, began_ms);
}

/* Told where not even the child could be started. */
static void apart_tell_error(const struct run *run, int error)
{
	struct step step = step_init(STEP_UPNP, "process");

	run_say_untried(&step, error);
	run_tell(run, &step, clock_now_ms());
}

static int apart_open_ended(void)
{
	sigset_t ended;

	(void)sigemptyset(&ended);
	(void)sigaddset(&ended, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &ended, NULL) < 0)
		return -1;
	return signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
}

void apart_run_upnp(const struct run *run, int null_fd)
{
	struct apart apart = {.run = run};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		apart_tell_error(run, errno);
		return;
	}
	apart.ended_fd = apart_open_ended();
	apart.fd = pair[0];
	apart.pid = apart.ended_fd < 0 ? -1 : fork();
	if (apart.pid < 0)
		apart_tell_error(run, errno);
	if (apart.pid == 0) {
		close(pair[0]);
		apart_run_child(run, pair[1], null_fd);
	}
	close(pair[1]);
	if (apart.pid > 0)
		apart_tell_end(&apart, clock_now_ms());
	close(pair[0]);
	if (apart.ended_fd >= 0)
		close(apart.ended_fd);
}
