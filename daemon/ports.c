/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ports.h"

#define HASH_NONFATAL_OOM 1
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "base/clock.h"

#define WORD_BITS 64u
#define WORDS (65536u / WORD_BITS)

/* Key of a port: what is hashed must have no gaps. */
static uint32_t hold_key(uint16_t wan, uint16_t port)
{
	return (uint32_t)wan << 16 | port;
}

/*
 * Leases of one peer each. All have the internal port p where (i - p)^2 sums up to
 * nothing: n, the sum and the sum of squares tell that without a walk, and each lease
 * is taken out again as it went in.
 */
struct narrow_count {
	uint32_t count;
	uint32_t remotes; /* of them not about one flow */
	uint64_t sum, squares;
};

struct hold {
	uint32_t key;
	uint32_t leases; /* 0 = it rests */
	int64_t rest_until_ms;
	struct ip_addr host;
	struct narrow_count narrow[2]; /* UDP, TCP */
	UT_hash_handle hh;
	struct hold *prev, *next; /* in the queue of resting ports, oldest first */
};

struct ports {
	struct hold *holds;
	struct hold *resting;
	uint64_t *taken[PORTS_WANS_MAX]; /* one bit a port; NULL = no port taken */
};

struct ports *ports_new(void)
{
	return calloc(1, sizeof(struct ports));
}

void ports_free(struct ports *ports)
{
	struct hold *hold, *next;

	if (!ports)
		return;
	hold = ports->holds;
	HASH_CLEAR(hh, ports->holds);
	for (; hold; hold = next) {
		next = hold->hh.next;
		free(hold);
	}
	for (size_t wan = 0; wan < PORTS_WANS_MAX; wan++)
		free(ports->taken[wan]);
	free(ports);
}

static struct hold *ports_find(const struct ports *ports, uint16_t wan, uint16_t port)
{
	uint32_t key = hold_key(wan, port);
	struct hold *hold;

	HASH_FIND(hh, ports->holds, &key, sizeof(key), hold);
	return hold;
}

bool ports_is_free_for(const struct ports *ports, uint16_t wan, uint16_t port,
		       const struct ip_addr *host, int64_t now_ms)
{
	const struct hold *hold = ports_find(ports, wan, port);

	return !hold || addr_equal(&hold->host, host) ||
	       (hold->leases == 0 && hold->rest_until_ms <= now_ms);
}

static struct hold *ports_add(struct ports *ports, uint16_t wan, uint16_t port)
{
	struct hold *hold;

	if (!ports->taken[wan])
		ports->taken[wan] = calloc(WORDS, sizeof(uint64_t));
	if (!ports->taken[wan])
		return NULL;
	hold = calloc(1, sizeof(*hold));
	if (!hold)
		return NULL;
	hold->key = hold_key(wan, port);
	HASH_ADD(hh, ports->holds, key, sizeof(hold->key), hold);
	if (!hold->hh.tbl) {
		free(hold);
		return NULL;
	}
	ports->taken[wan][port / WORD_BITS] |= UINT64_C(1) << (port % WORD_BITS);
	return hold;
}

int ports_hold(struct ports *ports, uint16_t wan, uint16_t port,
	       const struct ip_addr *host)
{
	struct hold *hold = ports_find(ports, wan, port);

	if (hold && hold->leases > 0 && !addr_equal(&hold->host, host))
		return -EADDRINUSE;
	if (!hold)
		hold = ports_add(ports, wan, port);
	else if (hold->leases == 0)
		DL_DELETE(ports->resting, hold);
	if (!hold)
		return -ENOMEM;
	hold->host = *host;
	hold->leases++;
	return 0;
}

void ports_release(struct ports *ports, uint16_t wan, uint16_t port, int64_t now_ms)
{
	struct hold *hold = ports_find(ports, wan, port);

	if (!hold || --hold->leases > 0)
		return;
	hold->rest_until_ms = now_ms + PORT_REST_MS;
	DL_APPEND(ports->resting, hold);
}

static struct narrow_count *ports_find_narrow(const struct ports *ports,
					      const struct ports_narrow *narrow)
{
	struct hold *hold = ports_find(ports, narrow->wan, narrow->port);

	return hold ? &hold->narrow[narrow->protocol == IPPROTO_TCP] : NULL;
}

void ports_add_narrow(struct ports *ports, const struct ports_narrow *narrow)
{
	struct narrow_count *count = ports_find_narrow(ports, narrow);
	uint64_t port = narrow->internal_port;

	if (!count)
		return;
	count->count++;
	count->remotes += !narrow->flow;
	count->sum += port;
	count->squares += port * port;
}

void ports_remove_narrow(struct ports *ports, const struct ports_narrow *narrow)
{
	struct narrow_count *count = ports_find_narrow(ports, narrow);
	uint64_t port = narrow->internal_port;

	if (!count)
		return;
	count->count--;
	count->remotes -= !narrow->flow;
	count->sum -= port;
	count->squares -= port * port;
}

bool ports_has_narrow_besides(const struct ports *ports,
			      const struct ports_narrow *like)
{
	const struct narrow_count *count = ports_find_narrow(ports, like);
	uint64_t port = like->internal_port;

	return count &&
	       count->squares + count->count * port * port != 2 * port * count->sum;
}

bool ports_has_remote(const struct ports *ports, const struct ports_narrow *like)
{
	const struct narrow_count *count = ports_find_narrow(ports, like);

	return count && count->remotes > 0;
}

int64_t ports_get_rest_until(const struct ports *ports, uint16_t wan, uint16_t port)
{
	const struct hold *hold = ports_find(ports, wan, port);

	return hold && hold->leases == 0 ? hold->rest_until_ms : 0;
}

void ports_unhold(struct ports *ports, uint16_t wan, uint16_t port)
{
	struct hold *hold = ports_find(ports, wan, port);

	/* rest_until_ms still says until when it rested; one in the past is no rest */
	if (hold && --hold->leases == 0)
		DL_APPEND(ports->resting, hold);
}

static uint64_t ports_free_bits(const struct ports *ports, uint16_t wan, uint32_t word,
				struct port_range range)
{
	uint64_t bits = ports->taken[wan] ? ~ports->taken[wan][word] : ~UINT64_C(0);
	uint32_t first = word * WORD_BITS;

	if (range.first > first)
		bits &= ~UINT64_C(0) << (range.first - first);
	if (range.last < first + WORD_BITS - 1)
		bits &= ~UINT64_C(0) >> (first + WORD_BITS - 1 - range.last);
	return bits;
}

uint16_t ports_find_free(const struct ports *ports, uint16_t wan,
			 struct port_range range, uint16_t start)
{
	uint32_t first = range.first / WORD_BITS;
	uint32_t count = range.last / WORD_BITS - first + 1;
	uint32_t at;

	if (start < range.first || start > range.last)
		start = range.first;
	at = start / WORD_BITS;
	/* One step more than words, so that the start's own word is seen whole. */
	for (uint32_t step = 0; step <= count; step++) {
		uint64_t bits = ports_free_bits(ports, wan, at, range);

		if (step == 0)
			bits &= ~UINT64_C(0) << (start % WORD_BITS);
		if (bits != 0)
			return (uint16_t)(at * WORD_BITS +
					  (uint32_t)__builtin_ctzll(bits));
		at = at + 1 < first + count ? at + 1 : first;
	}
	return 0;
}

/*
 * The places of one word that `count` free ports begin at. Two runs of the same length
 * that touch or overlap make a longer one: so each step up to doubles the length.
 */
static uint64_t ports_run_starts(const struct ports *ports, uint16_t wan, uint32_t word,
				 const struct ports_wish *wish)
{
	uint64_t low = ports_free_bits(ports, wan, word, wish->range);
	uint64_t high = 0;
	unsigned int length = 1;

	if (word < wish->range.last / WORD_BITS)
		high = ports_free_bits(ports, wan, word + 1, wish->range);
	while (length < wish->count) {
		unsigned int step = wish->count - length;

		step = step < length ? step : length;
		low &= low >> step | high << (WORD_BITS - step);
		high &= high >> step;
		length += step;
	}
	if (wish->parity == PORTS_EVEN)
		low &= UINT64_C(0x5555555555555555);
	else if (wish->parity == PORTS_ODD)
		low &= UINT64_C(0xaaaaaaaaaaaaaaaa);
	return low;
}

uint16_t ports_find_free_run(const struct ports *ports, uint16_t wan,
			     const struct ports_wish *wish, uint16_t start)
{
	uint32_t first = wish->range.first / WORD_BITS;
	uint32_t count = wish->range.last / WORD_BITS - first + 1;
	uint32_t at;

	if (start < wish->range.first || start > wish->range.last)
		start = wish->range.first;
	at = start / WORD_BITS;
	/* One step more than words, so that the start's own word is seen whole. */
	for (uint32_t step = 0; step <= count; step++) {
		uint64_t starts = ports_run_starts(ports, wan, at, wish);

		if (step == 0)
			starts &= ~UINT64_C(0) << (start % WORD_BITS);
		if (starts != 0)
			return (uint16_t)(at * WORD_BITS +
					  (uint32_t)__builtin_ctzll(starts));
		at = at + 1 < first + count ? at + 1 : first;
	}
	return 0;
}

static void ports_forget(struct ports *ports, struct hold *hold)
{
	uint64_t *taken = ports->taken[hold->key >> 16];
	uint16_t port = hold->key & UINT16_MAX;

	/* what rests is in the hash and has its bit */
	assert(ports->holds && taken);
	taken[port / WORD_BITS] &= ~(UINT64_C(1) << (port % WORD_BITS));
	HASH_DEL(ports->holds, hold);
	free(hold);
}

void ports_reap(struct ports *ports, int64_t now_ms)
{
	struct hold *hold, *next;

	DL_FOREACH_SAFE (ports->resting, hold, next) {
		if (hold->rest_until_ms > now_ms)
			break;
		DL_DELETE(ports->resting, hold);
		ports_forget(ports, hold);
	}
}

int64_t ports_get_due(const struct ports *ports)
{
	return ports->resting ? ports->resting->rest_until_ms : TIME_NEVER;
}
