/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_ASK_H
#define DOCTOR_ASK_H

#include "conf/conf.h"
#include "doctor/facts.h"

/**
 * Ask the daemon at its control socket for its status. What it says is in force is
 * written over conf, so that checks look at what is, not at what a file says.
 */
void ask_daemon(const char *path, struct facts_daemon *out, struct conf *conf);

/** The same of an answer of Status, for tests. Errors: false: no status. */
bool ask_read_status(const char *text, size_t length, struct facts_daemon *out,
		     struct conf *conf) __attribute__((warn_unused_result));

#endif
