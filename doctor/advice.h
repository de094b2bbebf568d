/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_ADVICE_H
#define DOCTOR_ADVICE_H

#include "doctor/drops.h"
#include "doctor/finding.h"

/** What the host looks after its firewall with. */
enum advice_kind {
	ADVICE_NFT,
	ADVICE_IPTABLES, /* either variant */
	ADVICE_UFW,
	ADVICE_FIREWALLD,
	ADVICE_DOCKER,
	ADVICE_FW4,
};

/** May nobody but the program that made the table put a rule there? */
bool drop_is_owned(const struct facts_firewall *firewall, const struct drop *drop);
/** Does the daemon's backend see the chain, so that `integrate` can work there? */
bool drop_is_in_reach(const struct facts *facts, const struct drop *drop);
enum advice_kind advice_get_kind(const struct facts_firewall *firewall,
				 const struct drop *drop);

/** The command that makes the chain accept leased traffic, and how it stays so. */
void advice_add_forward(const struct facts *facts, const struct drop *drop,
			struct finding *finding);
/** The same for a chain that the mark comes too late for. */
void advice_add_early(const struct facts *facts, const struct drop *drop,
		      struct finding *finding);

/** Ports of this host that a LAN needs. */
struct advice_ports {
	const char *interface;
	uint16_t udp[2]; /* 0 = none */
	uint16_t tcp;
};

/** The command that makes the chain accept requests, and how it stays so. */
void advice_add_input(const struct facts *facts, const struct drop *drop,
		      const struct advice_ports *ports, struct finding *finding);

#endif
