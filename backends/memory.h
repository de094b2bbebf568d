/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_MEMORY_H
#define BACKENDS_MEMORY_H

#include "backends/backend.h"

/**
 * Tests only: the memory backend fails its n-th call of apply from now (1 = the next)
 * with -error, once. 0 = no fault planned. Every call before and after works.
 */
void memory_plan_fault(struct backend *backend, unsigned int nth_apply, int error);

/** Number of rules held. */
size_t memory_get_count(const struct backend *backend);

#endif
