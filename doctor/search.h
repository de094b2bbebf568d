/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_SEARCH_H
#define DOCTOR_SEARCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/network.h"
#include "doctor/facts.h"

/** How long answers are waited for: MX of the search, and the way. */
#define SEARCH_TIME_MS 1300

/**
 * A search for UPnP gateways on the LANs, by a child process without privileges: what
 * comes from the network is read there, and comes here as a fixed structure.
 */
struct search {
	pid_t pid; /* -1: it could not be started */
	int fd;
};

/** Begin; goes on beside whatever the caller does. */
void search_start(const struct network *network, struct search *out);
/** Wait for its end, SEARCH_TIME_MS after the begin and little more. */
void search_finish(struct search *search, const struct network *network,
		   struct facts_search *out);

/**
 * Is this datagram an answer of a gateway to a search (UDA 1.1 §1.3.3)? Pure.
 */
bool search_is_gateway(const char *text, size_t length);

#endif
