/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/ssdp_limit.h"

#include <stdbool.h>

#define ANSWER 1000 /* credit of one answer */

static void credit_fill(struct ssdp_credit *credit, int64_t rate, int64_t burst,
			int64_t now_ms)
{
	int64_t passed_ms = now_ms - credit->at_ms;
	int64_t full_ms = burst * ANSWER / rate;

	credit->at_ms = now_ms;
	if (passed_ms < 0)
		return;
	if (passed_ms > full_ms)
		passed_ms = full_ms;
	credit->left += passed_ms * rate; /* rate a second is rate/1000 a ms */
	if (credit->left > burst * ANSWER)
		credit->left = burst * ANSWER;
}

static bool credit_take(struct ssdp_credit *credit, int64_t cost)
{
	if (credit->left < cost)
		return false;
	credit->left -= cost;
	return true;
}

static struct ssdp_credit credit_full(int64_t burst, int64_t now_ms)
{
	return (struct ssdp_credit){.at_ms = now_ms, .left = burst * ANSWER};
}

void ssdp_limit_init(struct ssdp_limit *limit, uint64_t seed, int64_t now_ms)
{
	limit->seed = seed;
	limit->total = credit_full(SSDP_LIMIT_TOTAL_BURST, now_ms);
	limit->singles = credit_full(SSDP_LIMIT_SINGLE_BURST, now_ms);
	limit->arrivals = credit_full(SSDP_LIMIT_NEW_BURST, now_ms);
}

/* NULL = not in there. */
static struct ssdp_source *segment_find(struct ssdp_segment *segment, uint32_t hash,
					const struct ip_addr *addr)
{
	for (size_t i = 0; i < segment->count; i++)
		if (segment->hashes[i] == hash &&
		    addr_equal(&segment->sources[i].addr, addr))
			return &segment->sources[i];
	return NULL;
}

static size_t segment_find_quietest(const struct ssdp_segment *segment)
{
	size_t quietest = 0;

	for (size_t i = 1; i < segment->count; i++)
		if (segment->sources[i].credit.at_ms <
		    segment->sources[quietest].credit.at_ms)
			quietest = i;
	return quietest;
}

static struct ssdp_source *segment_put(struct ssdp_segment *segment, size_t place,
				       uint32_t hash, const struct ssdp_source *source)
{
	segment->hashes[place] = hash;
	segment->sources[place] = *source;
	return &segment->sources[place];
}

static void segment_remove(struct ssdp_segment *segment,
			   const struct ssdp_source *source)
{
	size_t place = (size_t)(source - segment->sources);
	size_t last = --segment->count;

	segment->hashes[place] = segment->hashes[last];
	segment->sources[place] = segment->sources[last];
}

/* A newcomer has come back: it is known from now on, if there is room. */
static struct ssdp_source *promote(struct ssdp_limit *limit, uint32_t hash,
				   struct ssdp_source *source, int64_t now_ms)
{
	struct ssdp_segment *known = &limit->known;
	struct ssdp_source *promoted;
	size_t place = known->count;

	if (now_ms - source->since_ms < SSDP_LIMIT_QUIET_MS)
		return source;
	if (place == SSDP_LIMIT_KNOWN) {
		place = segment_find_quietest(known);
		if (now_ms - known->sources[place].credit.at_ms < SSDP_LIMIT_FORGET_MS)
			return source;
	} else {
		known->count++;
	}
	promoted = segment_put(known, place, hash, source);
	promoted->known = true;
	segment_remove(&limit->newcomers, source);
	return promoted;
}

/* A new source has a full credit. NULL: too many are new. */
static struct ssdp_source *take_in(struct ssdp_limit *limit, uint32_t hash,
				   const struct ip_addr *addr, int64_t now_ms)
{
	struct ssdp_segment *newcomers = &limit->newcomers;
	const struct ssdp_source source = {
		.addr = *addr,
		.credit = credit_full(SSDP_LIMIT_SOURCE_BURST, now_ms),
		.since_ms = now_ms,
		.served_ms = now_ms - SSDP_LIMIT_QUIET_MS,
	};
	size_t place = newcomers->count;

	if (!credit_take(&limit->arrivals, ANSWER))
		return NULL;
	if (place == SSDP_LIMIT_NEWCOMERS)
		place = segment_find_quietest(newcomers);
	else
		newcomers->count++;
	return segment_put(newcomers, place, hash, &source);
}

/* What is known of this source; NULL: too many are new. */
static struct ssdp_source *find_source(struct ssdp_limit *limit,
				       const struct ip_addr *addr, int64_t now_ms)
{
	uint32_t hash = addr_get_hash(addr, limit->seed);
	struct ssdp_source *source = segment_find(&limit->known, hash, addr);

	if (source)
		return source;
	source = segment_find(&limit->newcomers, hash, addr);
	return source ? promote(limit, hash, source, now_ms)
		      : take_in(limit, hash, addr, now_ms);
}

/* All that was asked for, if the source's credit and the total have it. */
static bool take_all(struct ssdp_limit *limit, struct ssdp_source *source, int64_t cost)
{
	int64_t reserve = 0;

	if (source->credit.left < (int64_t)SSDP_LIMIT_SOURCE_BURST * ANSWER / 2)
		reserve = (int64_t)SSDP_LIMIT_RESERVE * ANSWER;
	if (source->credit.left < cost || limit->total.left < cost + reserve)
		return false;
	source->credit.left -= cost;
	limit->total.left -= cost;
	return true;
}

/* The first of what was asked for, for one that was quiet. */
static bool take_single(struct ssdp_limit *limit, struct ssdp_source *source,
			int64_t now_ms)
{
	if (now_ms - source->served_ms < SSDP_LIMIT_QUIET_MS ||
	    source->credit.left < ANSWER)
		return false;
	if (!source->known && !credit_take(&limit->singles, ANSWER))
		return false;
	source->credit.left -= ANSWER;
	return true;
}

unsigned int ssdp_limit_take(struct ssdp_limit *limit, const struct ip_addr *addr,
			     unsigned int answers, int64_t now_ms)
{
	struct ssdp_source *source;

	credit_fill(&limit->total, SSDP_LIMIT_TOTAL_RATE, SSDP_LIMIT_TOTAL_BURST,
		    now_ms);
	credit_fill(&limit->singles, SSDP_LIMIT_SINGLE_RATE, SSDP_LIMIT_SINGLE_BURST,
		    now_ms);
	credit_fill(&limit->arrivals, SSDP_LIMIT_NEW_RATE, SSDP_LIMIT_NEW_BURST,
		    now_ms);
	source = find_source(limit, addr, now_ms);
	if (!source)
		return 0;
	credit_fill(&source->credit, SSDP_LIMIT_SOURCE_RATE, SSDP_LIMIT_SOURCE_BURST,
		    now_ms);
	if (!take_all(limit, source, (int64_t)answers * ANSWER)) {
		if (!take_single(limit, source, now_ms))
			return 0;
		answers = 1;
	}
	source->served_ms = now_ms;
	return answers;
}
