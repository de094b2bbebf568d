/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_CHECK_H
#define DOCTOR_CHECK_H

#include "doctor/facts.h"
#include "doctor/finding.h"

/*
 * The checks: facts in, findings out, nothing else is looked at. Every id has at least
 * one finding, unless it makes no sense for the configuration. What rests on facts that
 * are not known is told as such.
 */

/** Everything but what the search found, which takes its time. */
void check_all(const struct facts *facts, struct findings *findings);

/** config-bad, daemon-not-running, daemon-degraded */
void check_daemon(const struct facts *facts, struct findings *findings);
/** no-default-route, lan-wan-swapped, wan-missing, wan-private, wan-cgnat, lan-missing
 */
void check_network(const struct facts *facts, struct findings *findings);
/** other-igd */
void check_search(const struct facts *facts, struct findings *findings);
/** nftables-missing, iptables-missing, conntrack-missing, forwarding-off, reverse-path
 */
void check_kernel(const struct facts *facts, struct findings *findings);
/** forward-dropped, forward-early */
void check_forward(const struct facts *facts, struct findings *findings);
/** input-blocked */
void check_input(const struct facts *facts, struct findings *findings);
/** hairpin-dropped */
void check_hairpin(const struct facts *facts, struct findings *findings);
/** translated-elsewhere */
void check_elsewhere(const struct facts *facts, struct findings *findings);
/** no-translation */
void check_translation(const struct facts *facts, struct findings *findings);

#endif
