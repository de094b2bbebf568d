/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LINK_SPEED_H
#define DAEMON_LINK_SPEED_H

#include <stdint.h>

/**
 * What the network card says of its speed, in this network namespace (Linux 5.6).
 * Units: bit/s; 0 = it does not say, as of PPP and tunnels, or there is no link.
 */
uint64_t link_speed_read(uint32_t ifindex);

#endif
