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
	if (options->gateway) {
		part_add(&part, "--gateway");
		part_add(&part, options->gateway);
	}
	if (options->has_timeout) {
		(void)snprintf(timeout, sizeof(timeout), "%" PRId64,
			       options->timeout_ms / 1000);
		part_add(&part, "--timeout");
		part_add(&part, timeout);
	}
	return part_execute(&part, PROBE_BUILD_DIRECTORY);
}
