/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ports.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/index.h"
#include "base/pool.h"

#define WORD_BITS 64u
#define WORDS (65536u / WORD_BITS)
/* UDP, TCP. */
#define PROTOCOLS 2

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

/* By handles of ports.holds, 0 = none. */
struct hold {
	uint32_t key;
	uint32_t leases; /* 0 = it rests */
	int64_t rest_until_ms;
	struct narrow_count *narrow; /* UDP, TCP; NULL = none of either */
	struct in_addr host;
	uint32_t handle;
	uint32_t next_by_key;
	uint32_t prev, next; /* in the queue of resting ports, oldest first */
};

struct ports {
	struct pool *holds;
	struct index *by_key;
	uint32_t oldest, youngest;	 /* of those that rest */
	uint64_t *taken[PORTS_WANS_MAX]; /* one bit a port; NULL = no port taken */
};

static uint32_t hold_get_hash(const void *item, uint64_t seed)
{
	const struct hold *hold = item;

	return index_hash(&hold->key, sizeof(hold->key), seed);
}

static bool hold_is_of(const void *item, const void *key)
{
	const struct hold *hold = item;

	return memcmp(&hold->key, key, sizeof(hold->key)) == 0;
}

static const struct index_kind key_kind = {
	.link = offsetof(struct hold, next_by_key),
	.get_hash = hold_get_hash,
	.is_of = hold_is_of,
};

struct ports *ports_new(void)
{
	struct ports *ports = calloc(1, sizeof(*ports));

	if (!ports)
		return NULL;
	ports->holds = pool_new(sizeof(struct hold));
	if (ports->holds)
		ports->by_key = index_new(ports->holds, &key_kind);
	if (ports->by_key)
		return ports;
	ports_free(ports);
	return NULL;
}

void ports_free(struct ports *ports)
{
	uint32_t handle = 0;

	if (!ports)
		return;
	while (ports->holds && (handle = pool_get_next(ports->holds, handle)) != 0) {
		struct hold *hold = pool_get(ports->holds, handle);

		free(hold->narrow);
	}
	index_free(ports->by_key);
	pool_free(ports->holds);
	for (size_t wan = 0; wan < PORTS_WANS_MAX; wan++)
		free(ports->taken[wan]);
	free(ports);
}

static struct hold *hold_get(const struct ports *ports, uint32_t handle)
{
	return handle != 0 ? pool_get(ports->holds, handle) : NULL;
}

static struct hold *ports_find(const struct ports *ports, uint16_t wan, uint16_t port)
{
	uint32_t key = hold_key(wan, port);
	uint64_t seed = index_get_seed(ports->by_key);
	uint32_t hash = index_hash(&key, sizeof(key), seed);

	return hold_get(ports, index_find(ports->by_key, hash, &key));
}

static bool hold_is_of_host(const struct hold *hold, const struct ip_addr *host)
{
	return hold->host.s_addr == addr_to_ipv4(host).s_addr;
}

/* --- the queue of those that rest --- */

static void rest_append(struct ports *ports, struct hold *hold)
{
	struct hold *last = hold_get(ports, ports->youngest);

	hold->prev = ports->youngest;
	hold->next = 0;
	if (last)
		last->next = hold->handle;
	else
		ports->oldest = hold->handle;
	ports->youngest = hold->handle;
}

static void rest_remove(struct ports *ports, const struct hold *hold)
{
	struct hold *before = hold_get(ports, hold->prev);
	struct hold *behind = hold_get(ports, hold->next);

	if (before)
		before->next = hold->next;
	else
		ports->oldest = hold->next;
	if (behind)
		behind->prev = hold->prev;
	else
		ports->youngest = hold->prev;
}

bool ports_is_free_for(const struct ports *ports, uint16_t wan, uint16_t port,
		       const struct ip_addr *host, int64_t now_ms)
{
	const struct hold *hold = ports_find(ports, wan, port);

	return !hold || hold_is_of_host(hold, host) ||
	       (hold->leases == 0 && hold->rest_until_ms <= now_ms);
}

static struct hold *ports_add(struct ports *ports, uint16_t wan, uint16_t port)
{
	struct hold *hold;
	uint32_t handle;

	if (!ports->taken[wan])
		ports->taken[wan] = calloc(WORDS, sizeof(uint64_t));
	if (!ports->taken[wan])
		return NULL;
	handle = pool_add(ports->holds);
	if (handle == 0)
		return NULL;
	hold = pool_get(ports->holds, handle);
	hold->handle = handle;
	hold->key = hold_key(wan, port);
	index_add(ports->by_key, handle);
	ports->taken[wan][port / WORD_BITS] |= UINT64_C(1) << (port % WORD_BITS);
	return hold;
}

int ports_hold(struct ports *ports, uint16_t wan, uint16_t port,
	       const struct ip_addr *host)
{
	struct hold *hold = ports_find(ports, wan, port);

	if (hold && hold->leases > 0 && !hold_is_of_host(hold, host))
		return -EADDRINUSE;
	if (!hold)
		hold = ports_add(ports, wan, port);
	else if (hold->leases == 0)
		rest_remove(ports, hold);
	if (!hold)
		return -ENOMEM;
	hold->host = addr_to_ipv4(host);
	hold->leases++;
	return 0;
}

void ports_release(struct ports *ports, uint16_t wan, uint16_t port, int64_t now_ms)
{
	struct hold *hold = ports_find(ports, wan, port);

	if (!hold || --hold->leases > 0)
		return;
	hold->rest_until_ms = now_ms + PORT_REST_MS;
	rest_append(ports, hold);
}

static struct narrow_count *ports_find_narrow(const struct ports *ports,
					      const struct ports_narrow *narrow)
{
	struct hold *hold = ports_find(ports, narrow->wan, narrow->port);

	return hold && hold->narrow ? &hold->narrow[narrow->protocol == IPPROTO_TCP]
				    : NULL;
}

int ports_add_narrow(struct ports *ports, const struct ports_narrow *narrow)
{
	struct hold *hold = ports_find(ports, narrow->wan, narrow->port);
	uint64_t port = narrow->internal_port;
	struct narrow_count *count;

	assert(hold);
	if (!hold->narrow)
		hold->narrow = calloc(PROTOCOLS, sizeof(*hold->narrow));
	if (!hold->narrow)
		return -ENOMEM;
	count = ports_find_narrow(ports, narrow);
	count->count++;
	count->remotes += !narrow->flow;
	count->sum += port;
	count->squares += port * port;
	return 0;
}

void ports_remove_narrow(struct ports *ports, const struct ports_narrow *narrow)
{
	struct hold *hold = ports_find(ports, narrow->wan, narrow->port);
	struct narrow_count *count = ports_find_narrow(ports, narrow);
	uint64_t port = narrow->internal_port;

	if (!count)
		return;
	count->count--;
	count->remotes -= !narrow->flow;
	count->sum -= port;
	count->squares -= port * port;
	if (hold->narrow[0].count + hold->narrow[1].count > 0)
		return;
	free(hold->narrow);
	hold->narrow = NULL;
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
		rest_append(ports, hold);
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

	/* what rests has its bit */
	assert(taken);
	taken[port / WORD_BITS] &= ~(UINT64_C(1) << (port % WORD_BITS));
	index_remove(ports->by_key, hold->handle);
	free(hold->narrow);
	pool_remove(ports->holds, hold->handle);
}

void ports_reap(struct ports *ports, int64_t now_ms)
{
	for (int i = 0; i < PORTS_REAP_MAX; i++) {
		struct hold *hold = hold_get(ports, ports->oldest);

		if (!hold || hold->rest_until_ms > now_ms)
			return;
		rest_remove(ports, hold);
		ports_forget(ports, hold);
	}
}

int64_t ports_get_due(const struct ports *ports)
{
	const struct hold *hold = hold_get(ports, ports->oldest);

	return hold ? hold->rest_until_ms : TIME_NEVER;
}
