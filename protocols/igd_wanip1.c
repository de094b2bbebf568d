/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "protocols/igd.h"
#include "protocols/upnp.h"

/*
 * WANIPConnection:1 (WANIPC1, igd.md §6 and §7) with version-1 semantics: error 718
 * where another port may help, 402 for arguments, lease 0 means "long" (IGD-5, IGD-15).
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

static const struct igd_var vars[] = {
	{"ConnectionType",
	 IGD_STRING,
	 false,
	 read_connection_type,
	 {"Unconfigured", "IP_Routed", "IP_Bridged"}},
	{"PossibleConnectionTypes", IGD_STRING, true, read_connection_type, {NULL}},
	{"ConnectionStatus",
	 IGD_STRING,
	 true,
	 read_status,
	 {"Unconfigured", "Connected", "Disconnected"}},
	{"Uptime", IGD_UI4, false, read_uptime, {NULL}},
	{"LastConnectionError",
	 IGD_STRING,
	 false,
	 read_last_error,
	 {"ERROR_NONE", "ERROR_NO_CARRIER", "ERROR_UNKNOWN"}},
	{"RSIPAvailable", IGD_BOOLEAN, false, read_rsip, {NULL}},
	{"NATEnabled", IGD_BOOLEAN, false, read_nat, {NULL}},
	{"ExternalIPAddress", IGD_STRING, true, read_external_address, {NULL}},
	{"PortMappingNumberOfEntries", IGD_UI2, true, NULL, {NULL}},
	{"PortMappingEnabled", IGD_BOOLEAN, false, NULL, {NULL}},
	{"PortMappingLeaseDuration", IGD_UI4, false, NULL, {NULL}},
	{"RemoteHost", IGD_STRING, false, NULL, {NULL}},
	{"ExternalPort", IGD_UI2, false, NULL, {NULL}},
	{"InternalPort", IGD_UI2, false, NULL, {NULL}},
	{"PortMappingProtocol", IGD_STRING, false, NULL, {"TCP", "UDP"}},
	{"InternalClient", IGD_STRING, false, NULL, {NULL}},
	{"PortMappingDescription", IGD_STRING, false, NULL, {NULL}},
};

/* ---- arguments to requests ---- */

/* The key of a mapping leads the arguments of three actions (IGD-10). */
enum key_arg {
	ARG_REMOTE_HOST,
	ARG_EXTERNAL_PORT,
	ARG_PROTOCOL,
};

/* What follows it in AddPortMapping. */
enum add_arg {
	ARG_INTERNAL_PORT = ARG_PROTOCOL + 1,
	ARG_INTERNAL_CLIENT,
	ARG_ENABLED,
	ARG_DESCRIPTION,
	ARG_LEASE,
};

/*
 * RemoteHost: empty, "*" and 0.0.0.0 are any; else an IPv4 literal. A host name would
 * have to be resolved, which we do not (IGD-17).
 */
static uint16_t parse_remote_host(const char *text, struct request *request)
{
	struct ip_addr addr;

	if (*text == '\0' || strcmp(text, "*") == 0)
		return 0;
	if (!addr_parse(text, &addr) || !addr_is_ipv4(&addr))
		return 402;
	if (addr_is_none(&addr))
		return 0;
	if (!addr_is_host(&addr))
		return 402;
	request->remote = addr;
	return 0;
}

static uint16_t parse_key(const struct igd_value *in, struct request *request)
{
	request->external_port = (uint16_t)in[ARG_EXTERNAL_PORT].number;
	request->protocol = strcasecmp(in[ARG_PROTOCOL].text, "TCP") == 0 ? IPPROTO_TCP
									  : IPPROTO_UDP;
	return parse_remote_host(in[ARG_REMOTE_HOST].text, request);
}

/*
 * Empty is the sender, as forgetful clients mean it (IGD-19). An IPv6 literal is no
 * internal client of an IPv4 service, a name is not looked up (CL-18). Whether another
 * host may be named is core's to say (IGD-21).
 */
static uint16_t parse_internal_client(const char *text, struct request *request)
{
	struct ip_addr addr;

	if (*text == '\0')
		return addr_is_ipv4(&request->client) ? 0 : 402;
	if (!addr_parse(text, &addr) || !addr_is_ipv4(&addr) || addr_is_none(&addr))
		return 402;
	request->internal = addr;
	return 0;
}

static uint16_t start_add(const struct igd_context *context, const struct igd_value *in,
			  struct igd_answer *answer)
{
	struct request *request = &answer->request;
	uint32_t lease_s = in[ARG_LEASE].number;
	uint16_t error = parse_key(in, request);

	if (error == 0)
		error = parse_internal_client(in[ARG_INTERNAL_CLIENT].text, request);
	if (error)
		return error;
	if (request->external_port == 0)
		return 716; /* no "all ports" here (IGD-20) */
	if (in[ARG_INTERNAL_PORT].number == 0)
		return 402; /* IGD-19 */
	if (!context->wan->nat)
		return 501; /* nothing is translated: a promise would be a lie (NP-5) */
	request->op = REQUEST_ADD;
	request->prefer_failure = 1;
	request->internal_port = (uint16_t)in[ARG_INTERNAL_PORT].number;
	request->enabled = (uint8_t)in[ARG_ENABLED].number; /* IGD-26 */
	/* 0 and what is longer than a week get a week, never 725 (IGD-15). */
	request->lifetime_s =
		lease_s == 0 || lease_s > IGD_LEASE_MAX_S ? IGD_LEASE_MAX_S : lease_s;
	text_copy_clean(request->description, sizeof(request->description),
			in[ARG_DESCRIPTION].text, in[ARG_DESCRIPTION].length);
	answer->state = IGD_ASK;
	return 0;
}

/* Port 0 is in no mapping, so there is nothing to find (IGD-20, CL-27). */
static uint16_t ask_key(const struct igd_value *in, enum request_op op,
			struct igd_answer *answer)
{
	uint16_t error = parse_key(in, &answer->request);

	if (error)
		return error;
	if (answer->request.external_port == 0)
		return 714;
	answer->request.op = (uint8_t)op;
	answer->state = IGD_ASK;
	return 0;
}

static uint16_t start_delete(const struct igd_context *context,
			     const struct igd_value *in, struct igd_answer *answer)
{
	(void)context;
	return ask_key(in, REQUEST_DELETE, answer);
}

static uint16_t start_get_specific(const struct igd_context *context,
				   const struct igd_value *in,
				   struct igd_answer *answer)
{
	(void)context;
	return ask_key(in, REQUEST_GET, answer);
}

static uint16_t start_get_generic(const struct igd_context *context,
				  const struct igd_value *in, struct igd_answer *answer)
{
	(void)context;
	answer->request.op = REQUEST_INDEX;
	answer->request.index = in[0].number;
	answer->state = IGD_ASK;
	return 0;
}

/* ---- replies to arguments ---- */

static void add_remote_host(const struct reply *reply, struct igd_output *output)
{
	char text[ADDR_TEXT_SIZE];

	if (addr_is_none(&reply->remote))
		igd_output_add(output, "");
	else
		igd_output_add(output, addr_format(&reply->remote, text));
}

/* What GetSpecificPortMappingEntry gives, and GetGeneric after the key (IGD-31). */
static void finish_get_specific(const struct reply *reply, struct igd_output *output)
{
	char text[ADDR_TEXT_SIZE];
	char description[DESCRIPTION_MAX + 1];

	igd_output_add_number(output, reply->internal_port);
	igd_output_add(output, addr_format(&reply->internal, text));
	igd_output_add(output, reply->enabled ? "1" : "0");
	text_copy_clean(description, sizeof(description), reply->description,
			strnlen(reply->description, DESCRIPTION_MAX));
	igd_output_add(output, description);
	/* Version 1 says 0 for a mapping without an end. */
	igd_output_add_number(output,
			      reply->origin == ORIGIN_STATIC ? 0 : reply->lifetime_s);
}

static void finish_get_generic(const struct reply *reply, struct igd_output *output)
{
	add_remote_host(reply, output);
	igd_output_add_number(output, reply->external_port);
	igd_output_add(output, reply->protocol == IPPROTO_TCP ? "TCP" : "UDP");
	finish_get_specific(reply, output);
}

/* ---- the connection itself, which is not a LAN host's to change (IGD-39) ---- */

static uint16_t start_set_connection_type(const struct igd_context *context,
					  const struct igd_value *in,
					  struct igd_answer *answer)
{
	(void)context;
	(void)in;
	(void)answer;
	return 703;
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
	return is_connected(context) ? 501 : 711;
}

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
	 .out = {{"NewRemoteHost", "RemoteHost"},
		 {"NewExternalPort", "ExternalPort"},
		 {"NewProtocol", "PortMappingProtocol"},
		 {"NewInternalPort", "InternalPort"},
		 {"NewInternalClient", "InternalClient"},
		 {"NewEnabled", "PortMappingEnabled"},
		 {"NewPortMappingDescription", "PortMappingDescription"},
		 {"NewLeaseDuration", "PortMappingLeaseDuration"}},
	 .start = start_get_generic,
	 .finish = finish_get_generic},
	{.name = "GetSpecificPortMappingEntry",
	 .in = {{"NewRemoteHost", "RemoteHost"},
		{"NewExternalPort", "ExternalPort"},
		{"NewProtocol", "PortMappingProtocol"}},
	 .out = {{"NewInternalPort", "InternalPort"},
		 {"NewInternalClient", "InternalClient"},
		 {"NewEnabled", "PortMappingEnabled"},
		 {"NewPortMappingDescription", "PortMappingDescription"},
		 {"NewLeaseDuration", "PortMappingLeaseDuration"}},
	 .start = start_get_specific,
	 .finish = finish_get_specific},
	{.name = "AddPortMapping",
	 .in = {{"NewRemoteHost", "RemoteHost"},
		{"NewExternalPort", "ExternalPort"},
		{"NewProtocol", "PortMappingProtocol"},
		{"NewInternalPort", "InternalPort"},
		{"NewInternalClient", "InternalClient"},
		{"NewEnabled", "PortMappingEnabled"},
		{"NewPortMappingDescription", "PortMappingDescription"},
		{"NewLeaseDuration", "PortMappingLeaseDuration"}},
	 .start = start_add},
	{.name = "DeletePortMapping",
	 .in = {{"NewRemoteHost", "RemoteHost"},
		{"NewExternalPort", "ExternalPort"},
		{"NewProtocol", "PortMappingProtocol"}},
	 .start = start_delete},
	{.name = "GetExternalIPAddress",
	 .out = {{"NewExternalIPAddress", "ExternalIPAddress"}}},
};

const struct igd_service *igd_get_wanip1(void)
{
	static const struct igd_service service = {
		.name = "WANIPConnection",
		.version = 1,
		.id = "WANIPConn1",
		.vars = vars,
		.var_count = ROW_COUNT(vars),
		.actions = actions,
		.action_count = ROW_COUNT(actions),
	};

	return &service;
}
