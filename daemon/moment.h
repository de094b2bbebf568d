/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_MOMENT_H
#define DAEMON_MOMENT_H

#include "daemon/store.h"

/** Both clocks at one instant; for the edges of the event loop only. */
struct store_time moment_now(void);

#endif
