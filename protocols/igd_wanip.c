/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/igd.h"
#include "protocols/igd_mapping.h"
#include "protocols/upnp.h"

/*
 * WANIPConnection, versions 1 and 2 (WANIPC1, WANIPC2; igd.md §6 and §7): one list of
 * variables and one of actions, whose later rows only version 2 has (DESC-7). Which
 * version's rules hold is the request's to say (IGD-5).
 */

#define ROW_COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* ---- state variables ---- */

static bool is_connected(const struct igd_context *context)
{
	return context->wan->up_since_ms != 0;
}

static void read_connection_type(const struct igd_context *context, struct writer *out)
{
	(void)context;
	upnp_write_text(out, "IP_Routed");
}

/* Connected whenever mapping can work: clients give up otherwise (IGD-38, CL-19). */
static void read_status(const struct igd_context *context, struct writer *out)
{
	upnp_write_text(out, is_connected(context) ? "Connected" : "Disconnected");
}

/* Seconds since the connection came up (IGD-40). */
static void read_uptime(const struct igd_context *context, struct writer *out)
{
	int64_t up_ms = context->now_ms - context->wan->up_since_ms;

	if (!is_connected(context) || up_ms < 0)
		up_ms = 0;
	upnp_write_number(out, (uint32_t)(up_ms / 1000));
}

static void read_last_error(const struct igd_context *context, struct writer *out)
{
	bool lost = !is_connected(context) && !context->wan->carrier;

	upnp_write_text(out, lost ? "ERROR_NO_CARRIER" : "ERROR_NONE");
}

static void read_rsip(const struct igd_context *context, struct writer *out)
{
	(void)context;
	upnp_write_text(out, "0");
}

static void read_nat(const struct igd_context *context, struct writer *out)
{
	upnp_write_text(out, context->wan->nat ? "1" : "0");
}

/* Empty when unknown, never 0.0.0.0 (IGD-37). */
static void read_external_address(const struct igd_context *context, struct writer *out)
{
	char text[ADDR_TEXT_SIZE];

	if (addr_is_none(&context->wan->external) ||
	    !addr_is_ipv4(&context->wan->external))
		return;
	upnp_write_text(out, addr_format(&context->wan->external, text));
}

/* What the client's LAN is shown, as far as a ui2 goes. */
static void read_entries(const struct igd_context *context, struct writer *out)
{
	uint32_t entries = context->table->entries[context->lan->lan];

	upnp_write_number(out, entries < UINT16_MAX ? entries : UINT16_MAX);
}

static void read_update_id(const struct igd_context *context, struct writer *out)
{
	upnp_write_number(out, context->table->update_ids[context->lan->lan]);
}

static const struct igd_var vars[] = {
	{.name = "ConnectionType",
	 .type = IGD_STRING,
	 .read = read_connection_type,
	 .allowed = {"Unconfigured", "IP_Routed", "IP_Bridged"}},
	{.name = "PossibleConnectionTypes",
	 .type = IGD_STRING,
	 .evented = true,
	 .read = read_connection_type},
	{.name = "ConnectionStatus",
	 .type = IGD_STRING,
	 .evented = true,
	 .read = read_status,
	 .allowed = {"Unconfigured", "Connected", "Disconnected"}},
	{.name = "Uptime", .type = IGD_UI4, .read = read_uptime},
	{.name = "LastConnectionError",
	 .type = IGD_STRING,
	 .read = read_last_error,
	 .allowed = {"ERROR_NONE", "ERROR_NO_CARRIER", "ERROR_UNKNOWN"}},
	{.name = "RSIPAvailable", .type = IGD_BOOLEAN, .read = read_rsip},
	{.name = "NATEnabled", .type = IGD_BOOLEAN, .read = read_nat},
	{.name = "ExternalIPAddress",
	 .type = IGD_STRING,
	 .evented = true,
	 .read = read_external_address},
	{.name = "PortMappingNumberOfEntries",
	 .type = IGD_UI2,
	 .evented = true,
	 .read = read_entries},
	{.name = "PortMappingEnabled", .type = IGD_BOOLEAN},
	{.name = "PortMappingLeaseDuration",
	 .type = IGD_UI4,
	 .range = {0, IGD_LEASE_MAX_S, 2}},
	{.name = "RemoteHost", .type = IGD_STRING},
	{.name = "ExternalPort", .type = IGD_UI2},
	{.name = "InternalPort", .type = IGD_UI2, .range = {1, UINT16_MAX, 2}},
	{.name = "PortMappingProtocol", .type = IGD_STRING, .allowed = {"TCP", "UDP"}},
	{.name = "InternalClient", .type = IGD_STRING},
	{.name = "PortMappingDescription", .type = IGD_STRING, .clipped = true},
	{.name = "SystemUpdateID",
	 .type = IGD_UI4,
	 .evented = true,
	 .read = read_update_id,
	 .since = 2},
	{.name = "A_ARG_TYPE_Manage", .type = IGD_BOOLEAN, .since = 2},
	{.name = "A_ARG_TYPE_PortListing", .type = IGD_STRING, .since = 2},
};

/* ---- the connection itself, which is not a LAN host's to change (IGD-39) ---- */

static uint16_t start_set_connection_type(const struct igd_context *context,
					  const struct igd_value *in,
					  struct igd_answer *answer)
{
	(void)in;
	(void)answer;
	return context->version > 1 ? 731 : 703;
}

static uint16_t start_request_connection(const struct igd_context *context,
					 const struct igd_value *in,
					 struct igd_answer *answer)
{
	(void)in;
	(void)answer;
	return is_connected(context) ? 0 : 704;
}

static uint16_t start_force_termination(const struct igd_context *context,
					const struct igd_value *in,
					struct igd_answer *answer)
{
	(void)in;
	(void)answer;
	if (!is_connected(context))
		return 711;
	return context->version > 1 ? 606 : 501;
}

/* Arguments that several actions have: what names a mapping, what it is, a range. */
#define ARG(name, var)                                                                 \
	{                                                                              \
		name, var                                                              \
	}
#define ARGS_KEY                                                                       \
	ARG("NewRemoteHost", "RemoteHost"), ARG("NewExternalPort", "ExternalPort"),    \
		ARG("NewProtocol", "PortMappingProtocol")
#define ARGS_TARGET                                                                    \
	ARG("NewInternalPort", "InternalPort"),                                        \
		ARG("NewInternalClient", "InternalClient"),                            \
		ARG("NewEnabled", "PortMappingEnabled"),                               \
		ARG("NewPortMappingDescription", "PortMappingDescription"),            \
		ARG("NewLeaseDuration", "PortMappingLeaseDuration")
#define ARGS_RANGE                                                                     \
	ARG("NewStartPort", "ExternalPort"), ARG("NewEndPort", "ExternalPort"),        \
		ARG("NewProtocol", "PortMappingProtocol"),                             \
		ARG("NewManage", "A_ARG_TYPE_Manage")

/* Arguments are in the order of the service document (SOAP-5). */
static const struct igd_action actions[] = {
	{.name = "SetConnectionType",
	 .in = {{"NewConnectionType", "ConnectionType"}},
	 .start = start_set_connection_type},
	{.name = "GetConnectionTypeInfo",
	 .out = {{"NewConnectionType", "ConnectionType"},
		 {"NewPossibleConnectionTypes", "PossibleConnectionTypes"}}},
	{.name = "RequestConnection", .start = start_request_connection},
	{.name = "ForceTermination", .start = start_force_termination},
	{.name = "GetStatusInfo",
	 .out = {{"NewConnectionStatus", "ConnectionStatus"},
		 {"NewLastConnectionError", "LastConnectionError"},
		 {"NewUptime", "Uptime"}}},
	{.name = "GetNATRSIPStatus",
	 .out = {{"NewRSIPAvailable", "RSIPAvailable"},
		 {"NewNATEnabled", "NATEnabled"}}},
	{.name = "GetGenericPortMappingEntry",
	 .in = {{"NewPortMappingIndex", "PortMappingNumberOfEntries"}},
	 .range_error = 713, /* no such entry, as for any other (IGD-30) */
	 .out = {ARGS_KEY, ARGS_TARGET},
	 .start = igd_mapping_start_index,
	 .finish = igd_mapping_finish_index},
	{.name = "GetSpecificPortMappingEntry",
	 .in = {ARGS_KEY},
	 .out = {ARGS_TARGET},
	 .start = igd_mapping_start_get,
	 .finish = igd_mapping_finish_get},
	{.name = "AddPortMapping",
	 .in = {ARGS_KEY, ARGS_TARGET},
	 .start = igd_mapping_start_add},
	{.name = "AddAnyPortMapping",
	 .since = 2,
	 .in = {ARGS_KEY, ARGS_TARGET},
	 .out = {{"NewReservedPort", "ExternalPort"}},
	 .start = igd_mapping_start_add_any,
	 .finish = igd_mapping_finish_add_any},
	{.name = "DeletePortMapping",
	 .in = {ARGS_KEY},
	 .start = igd_mapping_start_delete},
	{.name = "DeletePortMappingRange",
	 .since = 2,
	 .in = {ARGS_RANGE},
	 .start = igd_mapping_start_delete_range},
	{.name = "GetExternalIPAddress",
	 .out = {{"NewExternalIPAddress", "ExternalIPAddress"}}},
	{.name = "GetListOfPortMappings",
	 .since = 2,
	 .in = {ARGS_RANGE, {"NewNumberOfPorts", "PortMappingNumberOfEntries"}},
	 .out = {{"NewPortListing", "A_ARG_TYPE_PortListing"}},
	 .start = igd_mapping_start_list,
	 .listing = true},
};

#define SERVICE(number)                                                                \
	{                                                                              \
		.name = "WANIPConnection", .version = (number), .id = "WANIPConn1",    \
		.vars = vars, .var_count = ROW_COUNT(vars), .actions = actions,        \
		.action_count = ROW_COUNT(actions),                                    \
	}

static const struct igd_service services[] = {SERVICE(1), SERVICE(2)};

const struct igd_service *igd_get_wanip1(void)
{
	return &services[0];
}

const struct igd_service *igd_get_wanip2(void)
{
	return &services[1];
}
