/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADMIN_LEASE_H
#define ADMIN_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "admin/format.h"

struct json_object;

/** A lease as the daemon told it. Strings are borrowed from the message, not escaped.
 */
struct lease_view {
	int64_t id;
	const char *protocol;
	const char *external_address; /* NULL = the gateway has none now */
	const char *internal_address;
	const char *remote;	     /* NULL = any, but for filters */
	struct json_object *filters; /* NULL = none; borrowed */
	const char *expires;
	const char *created;
	const char *origin;
	const char *client;
	const char *mac; /* of the internal host; "" = not known */
	const char *lan;
	const char *description;
	int64_t remote_port; /* 0 = any; of a pinhole without remote too */
	int64_t pinhole;     /* UniqueID of UPnP; 0 = none */
	int64_t set_first;
	int64_t set_count; /* 0 = of no set */
	int64_t external_port;
	int64_t internal_port;
	int64_t lifetime_s; /* -1 = never ends */
	int64_t octets;
	int64_t packets;
	struct json_object *nat; /* NULL = an older daemon; borrowed */
	bool enabled;
	bool flow; /* PCP's PEER: the host's own way out to one peer, kept */
};

/** Read a lease object. Errors: false, reported; *out untouched. */
bool lease_read(struct json_object *object, struct lease_view *out)
	__attribute__((warn_unused_result));

#define LEASE_ENDPOINT_SIZE 96
/** "192.0.2.1:80", "[2001:db8::1]:80", "-:80" without an address; safe to show. */
const char *lease_format_endpoint(char out[LEASE_ENDPOINT_SIZE], const char *address,
				  int64_t port);
/** "1h 58m" or "never". */
const char *lease_format_left(char out[FORMAT_NUMBER_SIZE],
			      const struct lease_view *lease);

/**
 * Who may send, when not everybody: "198.51.100.7", "198.51.100.7:3478", "*:3478",
 * "203.0.113.0/24 port 443", "3 filters"; "" = everybody. Safe to show.
 */
const char *lease_format_remote(char out[LEASE_ENDPOINT_SIZE],
				const struct lease_view *lease);

/** "tcp 192.0.2.1:80 -> 192.168.1.20:8080", then more of it: one line without its end.
 */
void lease_print_line(const struct lease_view *lease, FILE *file);
/** Everything, one line for each. */
void lease_print_all(const struct lease_view *lease, FILE *file, bool color);

#endif
