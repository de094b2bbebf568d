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
	limit->newcomers = credit_full(SSDP_LIMIT_NEW_BURST, now_ms);
}

static bool is_settled(const struct ssdp_source *source)
{
	return source->credit.at_ms - source->since_ms >= SSDP_LIMIT_SETTLED_MS;
}

/* True when a had rather be forgotten than b, as far as they are quiet. */
static bool is_less(const struct ssdp_source *a, const struct ssdp_source *b)
{
	if (is_settled(a) != is_settled(b))
		return is_settled(b);
	return a->credit.at_ms < b->credit.at_ms;
}

/* A place for a source that is new. */
static size_t find_place(struct ssdp_limit *limit, int64_t now_ms)
{
	const struct ssdp_source *sources = limit->sources;
	size_t least = 0, last = 0;

	if (limit->count < SSDP_LIMIT_SOURCES)
		return limit->count++;
	for (size_t i = 1; i < limit->count; i++) {
		if (is_less(&sources[i], &sources[least]))
			least = i;
		if (sources[i].since_ms > sources[last].since_ms)
			last = i;
	}
	if (is_settled(&sources[least]) &&
	    now_ms - sources[least].credit.at_ms < SSDP_LIMIT_FORGET_MS)
		return last;
	return least;
}

/* What is known of this source; a new one gets a full credit. NULL: too many are new.
 */
static struct ssdp_source *find_source(struct ssdp_limit *limit,
				       const struct ip_addr *addr, int64_t now_ms)
{
	uint32_t hash = addr_get_hash(addr, limit->seed);
	size_t place;

	for (size_t i = 0; i < limit->count; i++)
		if (limit->hashes[i] == hash &&
		    addr_equal(&limit->sources[i].addr, addr))
			return &limit->sources[i];
	if (!credit_take(&limit->newcomers, ANSWER))
		return NULL;
	place = find_place(limit, now_ms);
	limit->hashes[place] = hash;
	limit->sources[place] = (struct ssdp_source){
		.addr = *addr,
		.credit = credit_full(SSDP_LIMIT_SOURCE_BURST, now_ms),
		.since_ms = now_ms,
		.served_ms = now_ms - SSDP_LIMIT_QUIET_MS,
	};
	return &limit->sources[place];
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

unsigned int ssdp_limit_take(struct ssdp_limit *limit, const struct ip_addr *addr,
			     unsigned int answers, int64_t now_ms)
{
	struct ssdp_source *source;
	bool quiet;

	credit_fill(&limit->total, SSDP_LIMIT_TOTAL_RATE, SSDP_LIMIT_TOTAL_BURST,
		    now_ms);
	credit_fill(&limit->singles, SSDP_LIMIT_SINGLE_RATE, SSDP_LIMIT_SINGLE_BURST,
		    now_ms);
	credit_fill(&limit->newcomers, SSDP_LIMIT_NEW_RATE, SSDP_LIMIT_NEW_BURST,
		    now_ms);
	source = find_source(limit, addr, now_ms);
	if (!source)
		return 0;
	credit_fill(&source->credit, SSDP_LIMIT_SOURCE_RATE, SSDP_LIMIT_SOURCE_BURST,
		    now_ms);
	quiet = now_ms - source->served_ms >= SSDP_LIMIT_QUIET_MS;
	if (!take_all(limit, source, (int64_t)answers * ANSWER)) {
		if (!quiet || source->credit.left < ANSWER ||
		    !credit_take(&limit->singles, ANSWER))
			return 0;
		source->credit.left -= ANSWER;
		answers = 1;
	}
	source->served_ms = now_ms;
	return answers;
}
