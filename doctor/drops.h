/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_DROPS_H
#define DOCTOR_DROPS_H

#include "doctor/facts.h"

#define DROPS_MAX 48

/* Bits of struct drop.families. */
#define DROP_IPV4 0x1u
#define DROP_IPV6 0x2u

/** The chain that Docker leaves to the owner. */
#define DROP_DOCKER_CHAIN "DOCKER-USER"

/** A chain that drops, or may drop, packets that should pass. */
struct drop {
	struct packet_verdict verdict; /* of the first one */
	bool legacy;		       /* a chain of iptables-legacy */
	bool sure;		       /* it drops some for certain */
	/** They would pass if the chain that Docker leaves to its owner took them. */
	bool docker_passes;
	unsigned int families;
	uint32_t lans;	   /* bits by index */
	unsigned int what; /* bits, as the caller numbers packets */
};

struct drops {
	size_t count;
	struct drop list[DROPS_MAX];
};

/** Which packet is asked about. */
struct drops_case {
	uint32_t lan;
	unsigned int what; /* one bit */
};

/**
 * Ask every chain on the way of the packet what becomes of it, and note those that do
 * not let it pass. Pure.
 */
void drops_ask(struct drops *drops, const struct facts_firewall *firewall,
	       const struct packet *packet, const struct drops_case *which);
/** Has that chain been noted there too? */
bool drops_have(const struct drops *drops, const struct drop *drop);

/** "IPv4", "IPv6", "IPv4 and IPv6". Owns: static. */
const char *drop_get_families(unsigned int families);

/** Room for drop_format_chain(). */
#define DROP_CHAIN_SIZE (2 * RULESET_NAME_MAX + 64)

/** "chain forward of table inet filter"; returns text. Owns: caller's storage. */
const char *drop_format_chain(const struct drop *drop, char text[DROP_CHAIN_SIZE]);
/** Why: "its policy is drop"; the same. */
const char *drop_format_reason(const struct drop *drop, char text[DROP_CHAIN_SIZE]);

#endif
