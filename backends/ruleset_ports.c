/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <string.h>

#define WORDS (sizeof(((struct ruleset_ports *)0)->words) / sizeof(uint64_t))

void ruleset_ports_fill(struct ruleset_ports *ports)
{
	memset(ports, 0xff, sizeof(*ports));
}

void ruleset_ports_add(struct ruleset_ports *ports, unsigned int first,
		       unsigned int last)
{
	if (last > UINT16_MAX)
		last = UINT16_MAX;
	for (unsigned int port = first; port <= last;) {
		if (port % 64 == 0 && last - port >= 63) {
			ports->words[port / 64] = UINT64_MAX;
			port += 64;
			continue;
		}
		ports->words[port / 64] |= UINT64_C(1) << (port % 64);
		port++;
	}
}

void ruleset_ports_keep(struct ruleset_ports *ports, const struct ruleset_ports *other)
{
	for (size_t i = 0; i < WORDS; i++)
		ports->words[i] &= other->words[i];
}

void ruleset_ports_remove(struct ruleset_ports *ports,
			  const struct ruleset_ports *other)
{
	for (size_t i = 0; i < WORDS; i++)
		ports->words[i] &= ~other->words[i];
}

void ruleset_ports_join(struct ruleset_ports *ports, const struct ruleset_ports *other)
{
	for (size_t i = 0; i < WORDS; i++)
		ports->words[i] |= other->words[i];
}

bool ruleset_ports_are_none(const struct ruleset_ports *ports)
{
	for (size_t i = 0; i < WORDS; i++)
		if (ports->words[i] != 0)
			return false;
	return true;
}

bool ruleset_ports_are_most(const struct ruleset_ports *ports)
{
	int count = 0;

	for (size_t i = 0; i < WORDS; i++)
		count += __builtin_popcountll(ports->words[i]);
	return count > UINT16_MAX / 2;
}

/* The next port from `from` on that is in (or is not); 65536 when there is none. */
static unsigned int find_port(const struct ruleset_ports *ports, unsigned int from,
			      bool in)
{
	while (from <= UINT16_MAX) {
		uint64_t word = ports->words[from / 64];

		word = (in ? word : ~word) >> (from % 64);
		if (word != 0)
			return from + (unsigned int)__builtin_ctzll(word);
		from = (from / 64 + 1) * 64;
	}
	return UINT16_MAX + 1;
}

bool ruleset_ports_get_range(const struct ruleset_ports *ports, unsigned int from,
			     struct port_range *out)
{
	unsigned int first = find_port(ports, from, true);

	if (first > UINT16_MAX)
		return false;
	out->first = (uint16_t)first;
	out->last = (uint16_t)(find_port(ports, first, false) - 1);
	return true;
}
