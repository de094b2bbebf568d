/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/ssdp_limit.h"

#include <stddef.h>

#define ANSWER 1000 /* credit of one answer */

static void bucket_fill(struct ssdp_bucket *bucket, int64_t rate, int64_t burst,
			int64_t now_ms)
{
	int64_t passed_ms = now_ms - bucket->at_ms;
	int64_t full_ms = burst * ANSWER / rate;

	bucket->at_ms = now_ms;
	if (passed_ms < 0)
		return;
	if (passed_ms > full_ms)
		passed_ms = full_ms;
	bucket->credit += passed_ms * rate; /* rate a second is rate/1000 a ms */
	if (bucket->credit > burst * ANSWER)
		bucket->credit = burst * ANSWER;
}

void ssdp_limit_init(struct ssdp_limit *limit, int64_t now_ms)
{
	*limit = (struct ssdp_limit){
		.total = {.at_ms = now_ms,
			  .credit = (int64_t)SSDP_LIMIT_TOTAL_BURST * ANSWER},
	};
}

/* The bucket of this source; a new source gets a full one. */
static struct ssdp_bucket *find_bucket(struct ssdp_limit *limit,
				       const struct ip_addr *source, int64_t now_ms)
{
	struct ssdp_bucket *oldest = &limit->sources[0];

	for (size_t i = 0; i < SSDP_LIMIT_SOURCES; i++) {
		struct ssdp_bucket *bucket = &limit->sources[i];

		if (addr_equal(&bucket->source, source))
			return bucket;
		if (addr_is_none(&bucket->source) ||
		    (!addr_is_none(&oldest->source) && bucket->at_ms < oldest->at_ms))
			oldest = bucket;
	}
	*oldest = (struct ssdp_bucket){
		.source = *source,
		.at_ms = now_ms,
		.credit = (int64_t)SSDP_LIMIT_SOURCE_BURST * ANSWER,
	};
	return oldest;
}

bool ssdp_limit_take(struct ssdp_limit *limit, const struct ip_addr *source,
		     unsigned int answers, int64_t now_ms)
{
	struct ssdp_bucket *bucket = find_bucket(limit, source, now_ms);
	int64_t cost = (int64_t)answers * ANSWER;
	int64_t reserve = 0;

	bucket_fill(bucket, SSDP_LIMIT_SOURCE_RATE, SSDP_LIMIT_SOURCE_BURST, now_ms);
	bucket_fill(&limit->total, SSDP_LIMIT_TOTAL_RATE, SSDP_LIMIT_TOTAL_BURST,
		    now_ms);
	if (bucket->credit < (int64_t)SSDP_LIMIT_SOURCE_BURST * ANSWER / 2)
		reserve = (int64_t)SSDP_LIMIT_RESERVE * ANSWER;
	if (bucket->credit < cost || limit->total.credit < cost + reserve)
		return false;
	bucket->credit -= cost;
	limit->total.credit -= cost;
	return true;
}
