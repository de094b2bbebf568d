/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_LEGACY_H
#define DOCTOR_LEGACY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/ruleset.h"

/** Larger tables of iptables-legacy are not read. */
#define LEGACY_SIZE_MAX ((size_t)16 * 1024 * 1024)
#define LEGACY_HOOKS 5

enum legacy_state {
	LEGACY_ABSENT, /* the kernel has no such table: nothing is dropped there */
	LEGACY_READ,
	LEGACY_UNREADABLE,
};

/** A table of iptables-legacy, as the kernel hands it out. */
struct legacy_table {
	enum legacy_state state;
	bool ipv6;
	uint32_t hooks; /* bits: chains that it has */
	uint32_t entries[LEGACY_HOOKS];
	uint32_t underflows[LEGACY_HOOKS];
	size_t size;
	uint8_t *bytes; /* allocated */
};

/**
 * Read a table, "filter" or "nat", unless it is not there: to ask for it would make it.
 * Owns: caller frees by legacy_free(), whatever the state is.
 */
void legacy_read(struct legacy_table *table, const char *name, bool ipv6);
void legacy_free(struct legacy_table *table);

/** What becomes of a packet there. */
struct legacy_verdict {
	enum packet_fate fate;
	bool by_policy; /* the policy of the chain dropped it */
};

/** Pure. hook: of enum nf_inet_hooks. The family of packet must be that of table. */
struct legacy_verdict legacy_walk(const struct legacy_table *table, unsigned int hook,
				  const struct packet *packet);

/** True when the chain at a hook has any rule. Pure. */
bool legacy_has_rules(const struct legacy_table *table, unsigned int hook);

#endif
