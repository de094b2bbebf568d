/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/rate.h"

#include <stdlib.h>

#define RATE_SETS 256 /* a power of two */
#define RATE_WAYS 4
#define TOKEN 1000 /* a token in thousandths, so that a millisecond counts */

struct bucket {
	struct ip_addr client;
	int64_t level; /* thousandths of tokens at `at_ms` */
	int64_t at_ms; /* when it was last asked */
	bool used;
};

struct rate {
	int64_t per_second;
	uint64_t seed; /* so that nobody can choose whom to share a set with */
	struct bucket sets[RATE_SETS][RATE_WAYS];
};

struct rate *rate_new(uint32_t per_second)
{
	struct rate *rate = calloc(1, sizeof(*rate));

	if (!rate)
		return NULL;
	rate->per_second = per_second;
	rate->seed = addr_make_seed();
	return rate;
}

void rate_free(struct rate *rate)
{
	free(rate);
}

void rate_set(struct rate *rate, uint32_t per_second)
{
	rate->per_second = per_second;
}

static struct bucket *rate_find(struct rate *rate, const struct ip_addr *client,
				int64_t now_ms)
{
	struct bucket *set = rate->sets[addr_get_hash(client, rate->seed) % RATE_SETS];
	struct bucket *oldest = &set[0];

	for (size_t way = 0; way < RATE_WAYS; way++) {
		if (set[way].used && addr_equal(&set[way].client, client))
			return &set[way];
		if (!set[way].used || (oldest->used && set[way].at_ms < oldest->at_ms))
			oldest = &set[way];
	}
	*oldest = (struct bucket){.client = *client,
				  .level = rate->per_second * TOKEN,
				  .at_ms = now_ms,
				  .used = true};
	return oldest;
}

bool rate_take(struct rate *rate, const struct ip_addr *client, int64_t now_ms)
{
	struct bucket *bucket;
	int64_t full = rate->per_second * TOKEN;
	int64_t elapsed_ms;

	if (rate->per_second == 0)
		return true;
	bucket = rate_find(rate, client, now_ms);
	elapsed_ms = now_ms - bucket->at_ms;
	/* a bucket is full after a second: no need to count on, nor to overflow */
	bucket->level = elapsed_ms >= 1000
				? full
				: bucket->level + elapsed_ms * rate->per_second;
	if (bucket->level > full)
		bucket->level = full;
	bucket->at_ms = now_ms;
	if (bucket->level < TOKEN)
		return false;
	bucket->level -= TOKEN;
	return true;
}
