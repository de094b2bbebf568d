/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iptables tells nobody what it does: so we look, every few seconds. To read a table of
 * thousands of leases takes as long as a change of it, and whoever asks for one then
 * waits: so a look that has taken long goes on later.
 */
#include "backends/ipt.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"

#define ROUND_MS 3000
/* After so long of a round, the rest comes after a pause. */
#define SPELL_MS 4
#define PAUSE_MS 100

/* What there is to be looked at: our tables, and the rules in those of others. */
#define ITEMS (IPT_TABLE_COUNT + 2)

static int set_timer(const struct ipt_look *look, int64_t delay_ms)
{
	const struct itimerspec when = {
		.it_value = {.tv_sec = delay_ms / 1000,
			     .tv_nsec = delay_ms % 1000 * 1000000},
		.it_interval = {.tv_sec = ROUND_MS / 1000},
	};

	return timerfd_settime(look->timer, 0, &when, NULL) < 0 ? -errno : 0;
}

int ipt_look_open(struct ipt_look *look)
{
	look->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	return look->timer < 0 ? -errno : set_timer(look, ROUND_MS);
}

void ipt_look_close(struct ipt_look *look)
{
	if (look->timer >= 0)
		(void)close(look->timer);
	look->timer = -1;
}

static bool is_whole(const struct ipt_look *look, enum ipt_table_name name)
{
	struct ipt_table table;
	int error;

	if (name == IPT_MANGLE6 && !look->has_ipv6)
		return true;
	error = ipt_table_open(&table, ipt_family_get(ipt_sync_is_ipv6(name)),
			       ipt_sync_get_table(name));
	if (error == 0)
		ipt_given_read(look->given, &table, look->layout);
	if (error == 0)
		error = ipt_sync_check(&table, look->layout, name);
	if (error == 0 && name == IPT_NAT4 &&
	    ipt_rank_is_wrong(look->rank, &table, look->layout, clock_now_ms()))
		error = -ENOENT;
	ipt_table_close(&table);
	return error != -ENOENT;
}

static bool is_right(const struct ipt_look *look, unsigned int item)
{
	if (item < IPT_TABLE_COUNT)
		return is_whole(look, (enum ipt_table_name)item);
	return !ipt_accept_is_missing(look->accept, item > IPT_TABLE_COUNT, look->lock);
}

bool ipt_look_is_due(struct ipt_look *look)
{
	uint64_t expirations;

	return read(look->timer, &expirations, sizeof(expirations)) > 0;
}

bool ipt_look_run(struct ipt_look *look)
{
	const int64_t end_ms = clock_now_ms() + SPELL_MS;
	bool right = true;

	do
		right = is_right(look, look->next++);
	while (right && look->next < ITEMS && clock_now_ms() < end_ms);
	if (!right || look->next == ITEMS)
		look->next = 0;
	else
		/* The timer falls back to whole rounds by itself. */
		(void)!set_timer(look, PAUSE_MS);
	return right;
}
