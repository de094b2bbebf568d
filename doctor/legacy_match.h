/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_LEGACY_MATCH_H
#define DOCTOR_LEGACY_MATCH_H

#include "doctor/legacy.h"

/** Does a packet match? In this order the smaller of two is what both together say. */
enum legacy_match {
	LEGACY_MATCH_NO,
	LEGACY_MATCH_MAYBE, /* it depends on what we do not understand */
	LEGACY_MATCH_YES,
};

/** Longest name of a match or target, with its NUL. */
#define LEGACY_NAME_SIZE 32

/** What a rule does when it matches. */
struct legacy_target {
	char name[LEGACY_NAME_SIZE]; /* "" = a verdict or a jump */
	int verdict;		     /* of a target without name */
};

/** A rule of a table, read. Offsets are from the beginning of the table. */
struct legacy_rule {
	enum legacy_match match;
	struct legacy_target target;
	uint32_t next;
};

/**
 * Read the rule at an offset as far as it concerns a packet. Errors: false, *out
 * undefined: there is none, the table is not what the kernel promises.
 */
bool legacy_read_rule(const struct legacy_table *table, uint32_t offset,
		      const struct packet *packet, struct legacy_rule *out)
	__attribute__((warn_unused_result));

#endif
