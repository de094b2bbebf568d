/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_FLOW_TIMES_H
#define DAEMON_FLOW_TIMES_H

#include <stdint.h>

/** How long the kernel keeps a silent flow that is up. Units: seconds; 0 = unknown. */
struct flow_times {
	uint32_t tcp_s;
	uint32_t udp_s;
};

/**
 * As the connection tracking of our network namespace is set now. What cannot be read,
 * because the kernel tracks nothing yet, is 0.
 */
struct flow_times flow_times_read(void);

#endif
