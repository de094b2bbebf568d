/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_ATTEMPT_H
#define PROBE_ATTEMPT_H

#include "probe/run.h"

/*
 * What is tried with each protocol. Every step is told as it is done; a mapping that
 * was made, or may have been, is deleted again, after an interrupt too.
 */

/** NAT-PMP (RFC 6886), with libnatpmp. */
void attempt_run_natpmp(const struct run *run);
/** PCP (RFC 6887), with the codec of this project. */
void attempt_run_pcp(const struct run *run);
/** The same where gateway and own are IPv6 addresses: a pinhole. */
void attempt_run_pcp6(const struct run *run);
/** UPnP IGD, with libupnp: threads begin here, so in a process of its own. */
void attempt_run_upnp(const struct run *run);

#endif
