/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "admin/admin.h"
#include "admin/part.h"

#define PROBE_FILE "portreeve-probe"
#define PROBE_BUILD_DIRECTORY "../probe"

enum exit_code command_probe(const struct options *options, char *const *operands)
{
	char timeout[PART_NUMBER_SIZE];
	struct part part;

	(void)operands;
	part_init(&part, PROBE_FILE, options);
	part_add_option(&part, "--gateway", options->gateway);
	if (options->has_timeout) {
		(void)snprintf(timeout, sizeof(timeout), "%" PRId64,
			       options->timeout_ms / 1000);
		part_add_option(&part, "--timeout", timeout);
	}
	return part_execute(&part, PROBE_BUILD_DIRECTORY);
}
