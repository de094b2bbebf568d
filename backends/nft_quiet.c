/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "backends/nft_foreign.h"
#include "base/clock.h"
#include "base/log.h"

/* So many changes within a tick are worth the system calls that it costs to leave, and
 * to listen again. */
#define QUIET_MIN 16
/* Where none was made within a tick, listening is taken up again: a change of others
 * that falls between is found then. */
#define QUIET_TICK_MS 100
/* After a change of others listening tells more: which they were. Longer and longer
 * while they go on. */
#define LISTEN_MIN_MS 10000
#define LISTEN_MAX_MS 600000

int nft_quiet_open(struct nft_quiet *quiet, struct nft_socket *nft,
		   struct nft_watch *watch, const struct backend_events *events,
		   void *user)
{
	*quiet = (struct nft_quiet){
		.nft = nft,
		.watch = watch,
		.events = events,
		.user = user,
		.listen_ms = LISTEN_MIN_MS,
		.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
	};
	return quiet->timer < 0 ? -errno : 0;
}

void nft_quiet_close(struct nft_quiet *quiet)
{
	if (quiet->timer >= 0)
		close(quiet->timer);
	quiet->timer = -1;
}

static bool set_timer(const struct nft_quiet *quiet, long tick_ms)
{
	const struct itimerspec tick = {
		.it_interval.tv_nsec = tick_ms * 1000000,
		.it_value.tv_nsec = tick_ms * 1000000,
	};

	return timerfd_settime(quiet->timer, 0, &tick, NULL) == 0;
}

static void tell_owner(const struct nft_quiet *quiet, bool on)
{
	if (quiet->events->quiet)
		quiet->events->quiet(quiet->user, on);
}

/* True when it is not for certain that nobody has changed anything meanwhile. */
static bool stop(struct nft_quiet *quiet)
{
	struct nft_socket *nft = quiet->nft;
	uint32_t expected = nft->generation;
	uint32_t there = 0;
	bool deaf;

	quiet->on = false;
	nft->generation = 0;
	(void)set_timer(quiet, 0);
	/* First: what comes after the question is heard. */
	deaf = nft_watch_join(quiet->watch) < 0;
	tell_owner(quiet, false);
	if (deaf)
		log_error("cannot listen for firewall changes any more");
	return deaf || nft->overtaken || nft_foreign_get_generation(nft, &there) < 0 ||
	       there != expected;
}

bool nft_quiet_end(struct nft_quiet *quiet)
{
	int64_t now_ms;
	bool news;

	if (!quiet->on)
		return false;
	news = stop(quiet);
	quiet->nft->overtaken = false;
	if (!news)
		return false;
	now_ms = clock_now_ms();
	/* they have been quiet for as long again */
	if (now_ms > quiet->listen_until_ms + quiet->listen_ms)
		quiet->listen_ms = LISTEN_MIN_MS;
	quiet->listen_until_ms = now_ms + quiet->listen_ms;
	if (quiet->listen_ms <= LISTEN_MAX_MS / 2)
		quiet->listen_ms *= 2;
	return true;
}

void nft_quiet_begin(struct nft_quiet *quiet, size_t count, int64_t now_ms)
{
	struct nft_socket *nft = quiet->nft;

	if (now_ms - quiet->tick_ms > QUIET_TICK_MS) {
		quiet->tick_ms = now_ms;
		quiet->count = 0;
	}
	quiet->count += count;
	quiet->busy = true;
	if (quiet->on || quiet->count < QUIET_MIN || now_ms < quiet->listen_until_ms ||
	    nft_foreign_get_generation(nft, &nft->generation) < 0)
		return;
	/* What comes before the question is heard. */
	if (!set_timer(quiet, QUIET_TICK_MS) || nft_watch_leave(quiet->watch) < 0) {
		(void)set_timer(quiet, 0);
		nft->generation = 0;
		return;
	}
	quiet->on = true;
	nft->overtaken = false;
	tell_owner(quiet, true);
}

bool nft_quiet_check(struct nft_quiet *quiet)
{
	return quiet->nft->overtaken && nft_quiet_end(quiet);
}

bool nft_quiet_run(struct nft_quiet *quiet)
{
	uint64_t expirations;
	bool busy = quiet->busy;

	if (read(quiet->timer, &expirations, sizeof(expirations)) < 0)
		return false;
	quiet->busy = false;
	return !busy && nft_quiet_end(quiet);
}
