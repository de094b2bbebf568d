/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/throttle.h"

#include <errno.h>
#include <stddef.h>

#include "base/rate.h"

_Static_assert(THROTTLE_WINDOW_MS == 1000, "a rate is of a second");

int throttle_init(struct throttle *throttle)
{
	*throttle = (struct throttle){.rate = rate_new(THROTTLE_ANSWERS_MAX)};
	return throttle->rate ? 0 : -ENOMEM;
}

void throttle_fini(struct throttle *throttle)
{
	rate_free(throttle->rate);
	throttle->rate = NULL;
}

bool throttle_pass(struct throttle *throttle, const struct ip_addr *peer,
		   int64_t now_ms)
{
	if (!rate_take(throttle->rate, peer, now_ms))
		return false;
	if (throttle->answers == 0 ||
	    now_ms - throttle->window_start_ms >= THROTTLE_WINDOW_MS) {
		throttle->window_start_ms = now_ms;
		throttle->answers = 0;
	}
	if (throttle->answers >= THROTTLE_TOTAL_MAX)
		return false;
	throttle->answers++;
	return true;
}
