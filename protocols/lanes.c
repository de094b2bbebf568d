/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/lanes.h"

#include <errno.h>
#include <string.h>

#include "base/rate.h"

#define SECOND_MS 1000
/* Where the source address stands in a header, octets (RFC 791 §3.1, RFC 8200 §3). */
#define IPV4_SOURCE_AT 12
#define IPV6_SOURCE_AT 8
#define IPV4_WORDS 1
#define IPV6_WORDS 4
#define WORD_SIZE 4

int lanes_init(struct lanes *lanes)
{
	*lanes = (struct lanes){.rate = rate_new(LANES_PACKETS_PER_SECOND)};
	return lanes->rate ? 0 : -ENOMEM;
}

void lanes_fini(struct lanes *lanes)
{
	rate_free(lanes->rate);
	lanes->rate = NULL;
}

static struct lanes_slow *lanes_find(struct lanes *lanes, const struct ip_addr *source)
{
	for (size_t i = 0; i < lanes->count; i++)
		if (addr_equal(&lanes->slow[i].source, source))
			return &lanes->slow[i];
	return NULL;
}

/* Somebody's place, or NULL: all are louder than whoever comes now. */
static struct lanes_slow *lanes_get_place(struct lanes *lanes, int64_t now_ms)
{
	struct lanes_slow *quietest = &lanes->slow[0];

	if (lanes->count < LANES_SLOW_MAX)
		return &lanes->slow[lanes->count++];
	for (size_t i = 1; i < lanes->count; i++)
		if (lanes->slow[i].loud_ms < quietest->loud_ms)
			quietest = &lanes->slow[i];
	return now_ms - quietest->loud_ms >= LANES_YIELD_MS ? quietest : NULL;
}

static void lanes_keep(struct lanes_slow *slow, int64_t now_ms)
{
	if (now_ms - slow->window_ms >= SECOND_MS) {
		slow->window_ms = now_ms;
		slow->packets = 0;
	}
	if (++slow->packets >= LANES_KEEP_PER_SECOND)
		slow->loud_ms = now_ms;
}

bool lanes_count(struct lanes *lanes, const struct ip_addr *source, int64_t now_ms)
{
	struct lanes_slow *slow = lanes_find(lanes, source);

	if (slow) {
		lanes_keep(slow, now_ms);
		return false;
	}
	if (rate_take(lanes->rate, source, now_ms))
		return false;
	slow = lanes_get_place(lanes, now_ms);
	if (!slow)
		return false;
	*slow = (struct lanes_slow){
		.source = *source, .loud_ms = now_ms, .window_ms = now_ms};
	return true;
}

bool lanes_expire(struct lanes *lanes, int64_t now_ms)
{
	size_t kept = 0;
	size_t before = lanes->count;

	for (size_t i = 0; i < before; i++)
		if (now_ms - lanes->slow[i].loud_ms < LANES_QUIET_MS)
			lanes->slow[kept++] = lanes->slow[i];
	lanes->count = kept;
	return kept != before;
}

/* Address words, each compared; all equal: return, else on behind that return. */
static size_t write_source(const struct ip_addr *source, bool ipv4, uint32_t verdict,
			   struct sock_filter *out)
{
	const size_t words = ipv4 ? IPV4_WORDS : IPV6_WORDS;
	const uint8_t *bytes =
		source->bytes + sizeof(source->bytes) - words * WORD_SIZE;
	const uint32_t at =
		(uint32_t)SKF_NET_OFF + (ipv4 ? IPV4_SOURCE_AT : IPV6_SOURCE_AT);
	size_t used = 0;

	/* The last word first: hosts of a LAN differ there. */
	for (size_t left = words; left > 0; left--) {
		const uint8_t *word = bytes + (left - 1) * WORD_SIZE;
		const uint32_t value = (uint32_t)word[0] << 24 |
				       (uint32_t)word[1] << 16 |
				       (uint32_t)word[2] << 8 | word[3];

		out[used++] = (struct sock_filter)BPF_STMT(
			BPF_LD | BPF_W | BPF_ABS,
			at + (uint32_t)((left - 1) * WORD_SIZE));
		out[used++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value,
						     0, (uint8_t)(2 * (left - 1) + 1));
	}
	out[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict);
	return used;
}

size_t lanes_write_program(const struct lanes *lanes, int family,
			   struct lanes_verdict verdict,
			   struct sock_filter out[LANES_PROGRAM_MAX])
{
	const bool ipv4 = family == AF_INET;
	size_t used = 0;

	for (size_t i = 0; i < lanes->count; i++)
		if (addr_is_ipv4(&lanes->slow[i].source) == ipv4)
			used += write_source(&lanes->slow[i].source, ipv4, verdict.slow,
					     out + used);
	out[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict.other);
	return used;
}
