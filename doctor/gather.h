/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_GATHER_H
#define DOCTOR_GATHER_H

#include "doctor/facts.h"

/** Where to look. */
struct gather_options {
	const char *file;   /* of the configuration; NULL = the default */
	const char *socket; /* of the daemon; NULL = as the configuration says */
};

/**
 * Look at everything but the network itself. Changes nothing, and reads no octet that
 * comes from outside. Owns: caller frees with gather_free().
 */
void gather_facts(const struct gather_options *options, struct facts *out,
		  struct ruleset **ruleset);
void gather_free(struct facts *facts, struct ruleset *ruleset);

#endif
