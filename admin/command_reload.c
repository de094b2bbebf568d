/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "admin/admin.h"
#include "admin/client.h"
#include "admin/format.h"
#include "base/console.h"
#include "base/control.h"

/** What has become of it, as the daemon told it. */
struct outcome {
	bool changed;
	int64_t ended;
	int64_t left;
	const char *restart;
};

/** Errors: false, reported. */
static bool outcome_read(struct json_object *parameters, struct outcome *out)
{
	struct varlink_members members = varlink_members_init(parameters);

	out->changed = varlink_get_bool(&members, "changed");
	out->ended = varlink_get_int(&members, "ended", 0, INT64_MAX);
	out->left = varlink_get_int(&members, "left", 0, INT64_MAX);
	out->restart = varlink_get_string(&members, "restart");
	if (members.failed == NULL)
		return true;
	admin_report("portreeved sent an answer without '%s'", members.failed);
	return false;
}

static void outcome_print(const struct outcome *outcome)
{
	if (!outcome->changed && outcome->restart[0] != '\0')
		return; /* what is reported says it all */
	if (!outcome->changed)
		(void)puts("The configuration is as it was.");
	else if (outcome->ended == 0)
		(void)puts("The configuration is in force.");
	else
		(void)printf("The configuration is in force; %" PRId64 " %s.\n",
			     outcome->ended,
			     outcome->ended == 1 ? "lease has ended"
						 : "leases have ended");
}

/** What the owner has still to do. */
static enum exit_code outcome_report(const struct outcome *outcome)
{
	char keys[FORMAT_TEXT_SIZE];

	if (outcome->restart[0] != '\0')
		admin_report("%sonly a restart of portreeved changes %s",
			     outcome->changed ? "" : "nothing has changed: ",
			     format_escape(keys, sizeof(keys), outcome->restart));
	if (outcome->left == 0)
		return EXIT_CODE_OK;
	admin_report("the firewall does not take changes: up to %" PRId64
		     " leases that must end go on until it does; see the log",
		     outcome->left);
	return EXIT_CODE_DEGRADED;
}

static enum exit_code reload_show(const struct options *options,
				  struct json_object *parameters)
{
	struct outcome outcome;

	if (!outcome_read(parameters, &outcome))
		return EXIT_CODE_ERROR;
	if (options->json)
		console_write_json(parameters, stdout);
	else
		outcome_print(&outcome);
	return outcome_report(&outcome);
}

enum exit_code command_reload(const struct options *options, char *const *operands)
{
	(void)operands;
	return client_show(options, CONTROL_RELOAD, reload_show);
}
