/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_REPORT_FOREIGN_H
#define DAEMON_REPORT_FOREIGN_H

#include <stddef.h>
#include <stdint.h>

#include "backends/foreign.h"

struct conf;
struct json_object;
struct ledger;

/** Problems whose texts are made at run time. */
#define REPORT_PROBLEMS_MAX 12
struct report_problems {
	size_t count;
	struct {
		const char *code;
		char text[192 + 2 * RULESET_NAME_MAX];
	} items[REPORT_PROBLEMS_MAX];
};

/**
 * "integration" of the answer of Status; figures NULL = nothing can be looked at.
 * Owns: caller frees. Errors: NULL, out of memory.
 */
struct json_object *report_integration_new(const struct conf *conf,
					   const struct foreign_figures *figures,
					   const struct ledger *ledger);
void report_find_foreign(const struct conf *conf, const struct foreign_figures *figures,
			 int64_t now_ms, struct report_problems *out);

#endif
