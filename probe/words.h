/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_WORDS_H
#define PROBE_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/** What codes of gateways mean, in plain words. All texts are static. */

/** Result code of a PCP response (RFC 6887 §7.4), as "NOT_AUTHORIZED: ...". */
const char *words_get_pcp(uint8_t code);
/** UPnPError of an action, as "ConflictInMappingEntry: ...". */
const char *words_get_upnp(int code);
/** What went wrong on the way, of an errno that a socket told. */
const char *words_get_network(int error);

/** Who can reach this external address; NULL where everybody can. */
const char *words_get_reach(const struct ip_addr *external);

/**
 * True when an epoch runs as a clock does (RFC 6886 §3.6, RFC 6887 §8.5).
 * Units: two epochs of the gateway, and the time between them on our clock.
 */
bool words_is_sane_epoch(uint32_t first_s, uint32_t second_s, int64_t elapsed_ms);

/**
 * The host of "http://192.0.2.1:80/path", where it is an IPv4 literal.
 * Errors: false, out untouched.
 */
bool words_parse_host(const char *url, struct ip_addr *out)
	__attribute__((warn_unused_result));

#endif
