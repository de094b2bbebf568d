/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_LOG_LAB_H
#define TEST_UNIT_LOG_LAB_H

#include "base/log.h"

/* What this process logs, kept for the test that looks at it. */

/** From now on, lines up to this level are kept and not shown. */
void log_lab_start(enum log_level level);
/** They are shown again. Returns what was kept. Owns: static, until the next start. */
const char *log_lab_stop(void);

#endif
