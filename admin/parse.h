/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADMIN_PARSE_H
#define ADMIN_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/**
 * "3600", "90s", "1h", "2d", "1h30m", "never". Units: seconds; 0 = for ever.
 * Errors: false, out untouched: not such a text, or above UINT32_MAX.
 */
bool parse_duration(const char *text, uint32_t *out)
	__attribute__((warn_unused_result));

/**
 * "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80".
 * *port is 0 where there is none. Errors: false, outs untouched.
 */
bool parse_endpoint(const char *text, struct ip_addr *addr, uint16_t *port)
	__attribute__((warn_unused_result));

#endif
