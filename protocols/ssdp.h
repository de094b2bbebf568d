/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_SSDP_H
#define PROTOCOLS_SSDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "protocols/upnp.h"

/* SSDP as bytes (UDA 1.1 §1): what was asked, who answers, with which words. */

#define SSDP_PORT 1900
#define SSDP_GROUP "239.255.255.250"
/** Units: seconds an advertisement is good for (SSDP-10). */
#define SSDP_MAX_AGE_S 1800
/** Longest search target; a longer one is none of ours. */
#define SSDP_ST_SIZE 96
/** Longest datagram we send (SSDP-18). */
#define SSDP_DATAGRAM_MAX 512
/** Longest that nobody asked for: over IPv6 it has more lines. */
#define SSDP_NOTIFY_MAX 600
/** Hops that multicast beyond the link may make (SSDP-16). */
#define SSDP_TTL 2
/** Largest MX that counts (SSDP-5). */
#define SSDP_MX_MAX_S 5

/** A multicast group that we are found in (SSDP-1). */
struct ssdp_group {
	int family;
	bool beyond_link; /* its messages may pass a router */
	struct ip_addr addr;
	const char *host; /* HOST of what is sent to it */
};

/** The groups: IPv4's, IPv6's of the link and of the site. NULL beyond the last. */
const struct ssdp_group *ssdp_group_get(size_t index);
/** The group of that address; NULL = none of them. */
const struct ssdp_group *ssdp_group_find(const struct ip_addr *addr);

/** An M-SEARCH. */
struct ssdp_search {
	bool has_man; /* MAN: "ssdp:discover", quotes included */
	bool has_mx;  /* MX is there and a number */
	uint8_t mx_s; /* at most SSDP_MX_MAX_S; 1 where there was none */
	bool legacy;  /* http_agent_is_legacy() of its USER-AGENT (IGD-6) */
	char st[SSDP_ST_SIZE];
};

/**
 * Parse a datagram. Everything but an M-SEARCH with a usable ST is no search: NOTIFY,
 * responses, garbage (SSDP-4, SSDP-19, CL-16).
 * Errors: false, *out untouched.
 */
bool ssdp_parse_search(const void *bytes, size_t length, struct ssdp_search *out)
	__attribute__((warn_unused_result));

/**
 * Whether a multicast search shall be answered. Strict, as UDA 1.1 has it, wants MAN
 * and MX; otherwise sloppy clients are heard too (SSDP-4, SSDP-5).
 */
bool ssdp_search_is_valid(const struct ssdp_search *search, bool strict);

enum ssdp_kind {
	SSDP_ROOT, /* upnp:rootdevice */
	SSDP_UUID, /* uuid:... */
	SSDP_TYPE, /* a device or service type */
};

/** One thing that a root device announces: 3+2d+k of them make the set (SSDP-8). */
struct ssdp_target {
	enum ssdp_kind kind;
	uint8_t version; /* of a type, the highest we serve */
	bool modern;	 /* not told to clients that http_agent_is_legacy() names */
	char type[80];	 /* of a type, without ":version" */
	char uuid[UPNP_UUID_SIZE];
};

/**
 * Whether a search target means this: itself, "ssdp:all", or its type in a version not
 * above ours. *version is then the one the answer names (SSDP-9, CL-10).
 */
bool ssdp_target_matches(const struct ssdp_target *target, const char *st,
			 uint8_t *version);

/** What all messages of one root device on one LAN have in common. */
struct ssdp_origin {
	struct ip_addr address; /* ours on that LAN, for LOCATION (SSDP-12) */
	uint16_t http_port;
	const char *path; /* of the description, from "/" */
	uint32_t boot_id;
	uint32_t next_boot_id; /* of SSDP_UPDATE */
	uint32_t config_id;
};

/** Write one answer to a search (SSDP-10). wall_ms goes into DATE. */
void ssdp_write_response(struct writer *out, const struct ssdp_origin *origin,
			 const struct ssdp_target *target, uint8_t version,
			 int64_t wall_ms);

enum ssdp_nts {
	SSDP_ALIVE,
	SSDP_BYEBYE,
	SSDP_UPDATE, /* from now on BOOTID is another, and all else stays */
};

/** Write one NOTIFY to a group (SSDP-13, SSDP-14, SSDP-15). */
void ssdp_write_notify(struct writer *out, const struct ssdp_group *group,
		       const struct ssdp_origin *origin,
		       const struct ssdp_target *target, enum ssdp_nts nts);

#endif
