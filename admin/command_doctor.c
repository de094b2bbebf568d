/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin/admin.h"
#include "admin/part.h"

#define DOCTOR_FILE "portreeve-doctor"
#define DOCTOR_BUILD_DIRECTORY "../doctor"

enum exit_code command_doctor(const struct options *options, char *const *operands)
{
	struct part part;

	(void)operands;
	part_init(&part, DOCTOR_FILE, options);
	part_add_option(&part, "-c", options->config);
	if (options->no_search)
		part_add(&part, "--no-search");
	/* Without one, the configuration says where the daemon listens. */
	if (options->socket_is_given)
		part_add_option(&part, "--socket", options->socket);
	return part_execute(&part, DOCTOR_BUILD_DIRECTORY);
}
