/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_FIREWALL_H
#define DOCTOR_FIREWALL_H

#include "doctor/facts.h"
#include "doctor/finding.h"

/**
 * Can the firewall be asked about LANs? What cannot be told of it is said as findings
 * of that id. Returns false when there is nothing to ask.
 */
bool firewall_can_ask(const struct facts *facts, const char *id,
		      struct findings *findings);

/** Say which tables of iptables-legacy could not be read, the same way. */
void firewall_say_legacy(const struct facts *facts, const char *id,
			 struct findings *findings);

#endif
