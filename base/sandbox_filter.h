/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_SANDBOX_FILTER_H
#define BASE_SANDBOX_FILTER_H

#include <stdbool.h>

#include "base/sandbox.h"

/**
 * Load the system call filter of a profile; SANDBOX_LAUNCHER has none, because what it
 * starts would inherit it. wide: let the runtime of a sanitizer work, keep only what
 * limits sockets. Errors: -errno.
 */
int sandbox_filter_load(enum sandbox_profile profile, bool raw, bool wide)
	__attribute__((warn_unused_result));

#endif
