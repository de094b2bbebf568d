/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_PINHOLES_H
#define DAEMON_PINHOLES_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/lease.h"

/**
 * Leases by the UniqueID of WANIPv6FirewallControl, which is 16 bits wide: a place for
 * each, in memory that the first one takes.
 */
struct pinholes;

/** Owns: caller frees. Errors: NULL when out of memory. */
struct pinholes *pinholes_new(void);
void pinholes_free(struct pinholes *pinholes);

/** The lease stays where it is. Errors: false when out of memory. */
bool pinholes_add(struct pinholes *pinholes, uint16_t id, const struct lease *lease)
	__attribute__((warn_unused_result));
void pinholes_remove(struct pinholes *pinholes, uint16_t id);
/** NULL = none has it. */
const struct lease *pinholes_get(const struct pinholes *pinholes, uint16_t id);
/** One that no lease has, the first from `start` on, going round; 0 = there is none. */
uint16_t pinholes_find_free(const struct pinholes *pinholes, uint16_t start);

#endif
