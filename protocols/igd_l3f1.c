/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <strings.h>

#include "protocols/igd.h"
#include "protocols/upnp.h"

/* Layer3Forwarding:1 (L3F1, igd.md §9): there is one connection, and it is the default.
 */

#define ROW_COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define SERVICE_ID "urn:upnp-org:serviceId:"
#define UDN_LENGTH 41 /* "uuid:" and the uuid */

static void read_default_connection(const struct igd_context *context,
				    struct writer *out)
{
	upnp_write_text(out, context->default_connection);
}

static const struct igd_var vars[] = {
	{.name = "DefaultConnectionService",
	 .type = IGD_STRING,
	 .evented = true,
	 .read = read_default_connection},
};

/*
 * Only what is set already can be set (IGD-61): another device is 720, a service that
 * we do not have 721, one that is no connection 723.
 */
static uint16_t start_set(const struct igd_context *context, const struct igd_value *in,
			  struct igd_answer *answer)
{
	static const char *const others[] = {SERVICE_ID "WANCommonIFC1",
					     SERVICE_ID "L3Forwarding1",
					     SERVICE_ID "WANIPv6Firewall1"};
	const char *wanted = in[0].text;
	const char *comma = strchr(wanted, ',');

	(void)answer;
	if (*wanted == '\0')
		return 402;
	if (strcasecmp(wanted, context->default_connection) == 0)
		return 0;
	if (!comma || strncasecmp(wanted, context->default_connection, UDN_LENGTH) != 0)
		return 720;
	for (size_t i = 0; i < ROW_COUNT(others); i++)
		if (strcasecmp(comma + 1, others[i]) == 0)
			return 723;
	return 721;
}

static const struct igd_action actions[] = {
	{.name = "SetDefaultConnectionService",
	 .in = {{"NewDefaultConnectionService", "DefaultConnectionService"}},
	 .start = start_set},
	{.name = "GetDefaultConnectionService",
	 .out = {{"NewDefaultConnectionService", "DefaultConnectionService"}}},
};

const struct igd_service *igd_get_l3f1(void)
{
	static const struct igd_service service = {
		.name = "Layer3Forwarding",
		.version = 1,
		.id = "L3Forwarding1",
		.vars = vars,
		.var_count = ROW_COUNT(vars),
		.actions = actions,
		.action_count = ROW_COUNT(actions),
	};

	return &service;
}
