/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <netinet/in.h>
#include <string.h>

#include "protocols/igd.h"
#include "protocols/upnp.h"

/*
 * WANIPv6FirewallControl:1 (V6FC1, igd.md §10). Whether a requester may ask for that
 * host, and whose a pinhole is, core decides (V6FW-7, V6FW-9).
 */

#define ROW_COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/** Table 2-4 of V6FC1. Units: seconds. */
#define LEASE_MIN_S 1u
#define LEASE_MAX_S 86400u
/** "Any protocol", which we do not take. */
#define PROTOCOL_ANY 65535u

/* ---- state variables ---- */

static bool is_firewall_on(const struct igd_context *context)
{
	return context->wan->pinholes != WAN_PINHOLES_NO_FIREWALL;
}

static void read_firewall(const struct igd_context *context, struct writer *out)
{
	upnp_write_text(out, is_firewall_on(context) ? "1" : "0");
}

static void read_allowed(const struct igd_context *context, struct writer *out)
{
	upnp_write_text(out, context->wan->pinholes == WAN_PINHOLES_ON ? "1" : "0");
}

static const struct igd_var vars[] = {
	{.name = "FirewallEnabled",
	 .type = IGD_BOOLEAN,
	 .evented = true,
	 .read = read_firewall},
	{.name = "InboundPinholeAllowed",
	 .type = IGD_BOOLEAN,
	 .evented = true,
	 .read = read_allowed},
	{.name = "A_ARG_TYPE_OutboundPinholeTimeout", .type = IGD_UI4},
	{.name = "A_ARG_TYPE_IPv6Address", .type = IGD_STRING},
	{.name = "A_ARG_TYPE_Port", .type = IGD_UI2},
	{.name = "A_ARG_TYPE_Protocol", .type = IGD_UI2},
	{.name = "A_ARG_TYPE_LeaseTime",
	 .type = IGD_UI4,
	 .range = {LEASE_MIN_S, LEASE_MAX_S, 1}},
	{.name = "A_ARG_TYPE_UniqueID", .type = IGD_UI2},
	{.name = "A_ARG_TYPE_PinholePackets", .type = IGD_UI4},
	{.name = "A_ARG_TYPE_Boolean", .type = IGD_BOOLEAN},
};

/* ---- arguments to requests ---- */

/* The five-tuple leads the arguments of two actions. */
enum tuple_arg {
	ARG_REMOTE_HOST,
	ARG_REMOTE_PORT,
	ARG_INTERNAL_CLIENT,
	ARG_INTERNAL_PORT,
	ARG_PROTOCOL,
	ARG_LEASE, /* of AddPinhole */
};

/* V6FW-1: before anything else is looked at. */
static uint16_t check_firewall(const struct igd_context *context)
{
	if (!is_firewall_on(context))
		return 702;
	return context->wan->pinholes == WAN_PINHOLES_ON ? 0 : 703;
}

/* V6FW-2: what means every host, here or in clients (CL-20). */
static bool is_any_host(const char *text)
{
	static const char *const any[] = {"", "*", "::", "::/0"};

	for (size_t i = 0; i < ROW_COUNT(any); i++)
		if (strcmp(text, any[i]) == 0)
			return true;
	return false;
}

static uint16_t parse_remote(const struct igd_value *in, struct request *request)
{
	const char *host = in[ARG_REMOTE_HOST].text;
	uint32_t port = in[ARG_REMOTE_PORT].number;

	if (!is_any_host(host)) {
		/* Nothing link-local comes in from beyond the gateway. */
		if (!addr_parse(host, &request->remote) ||
		    addr_is_ipv4(&request->remote) || !addr_is_host(&request->remote) ||
		    addr_is_link_local(&request->remote))
			return 402;
	} else if (strcmp(host, "::/0") == 0 && port == in[ARG_INTERNAL_PORT].number) {
		/* syncthing's way to say "from anywhere": it fills in its own port
		 * where it knows of no other (CL-20) */
		port = 0;
	}
	request->remote_port = (uint16_t)port;
	return 0;
}

/* V6FW-3: which addresses are hosts of the LAN is core's to say. */
static uint16_t parse_internal(const struct igd_value *in, struct request *request)
{
	const char *client = in[ARG_INTERNAL_CLIENT].text;
	struct ip_addr addr;

	if (is_any_host(client))
		return 708;
	if (!addr_parse(client, &addr) || addr_is_ipv4(&addr) || addr_is_none(&addr))
		return 402;
	request->internal = addr;
	if (in[ARG_INTERNAL_PORT].number == 0)
		return 706; /* V6FW-4 */
	request->internal_port = (uint16_t)in[ARG_INTERNAL_PORT].number;
	return 0;
}

static bool is_served_protocol(uint32_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

/* V6FW-5: never another time than asked for; 0 is none. */
static uint16_t parse_lease(const struct igd_value *value, struct request *request)
{
	if (value->number < LEASE_MIN_S || value->number > LEASE_MAX_S)
		return 601;
	request->lifetime_s = value->number;
	return 0;
}

static uint16_t start_add(const struct igd_context *context, const struct igd_value *in,
			  struct igd_answer *answer)
{
	struct request *request = &answer->request;
	uint32_t protocol = in[ARG_PROTOCOL].number;
	uint16_t error = check_firewall(context);

	if (error == 0)
		error = parse_remote(in, request);
	if (error == 0)
		error = parse_internal(in, request);
	if (error)
		return error;
	if (!is_served_protocol(protocol))
		return protocol == PROTOCOL_ANY ? 707 : 705; /* V6FW-4 */
	error = parse_lease(&in[ARG_LEASE], request);
	if (error)
		return error;
	request->op = REQUEST_PINHOLE;
	request->protocol = (uint8_t)protocol;
	request->enabled = 1;
	answer->state = IGD_ASK;
	return 0;
}

/* V6FW-8: 0 is nobody's. */
static uint16_t ask_pinhole(const struct igd_context *context,
			    const struct igd_value *in, enum request_op op,
			    struct igd_answer *answer)
{
	uint16_t error = check_firewall(context);

	if (error)
		return error;
	if (in[0].number == 0)
		return 704;
	answer->request.op = (uint8_t)op;
	answer->request.pinhole = (uint16_t)in[0].number;
	answer->state = IGD_ASK;
	return 0;
}

static uint16_t start_update(const struct igd_context *context,
			     const struct igd_value *in, struct igd_answer *answer)
{
	uint16_t error = ask_pinhole(context, in, REQUEST_PINHOLE_UPDATE, answer);

	return error ? error : parse_lease(&in[1], &answer->request);
}

static uint16_t start_delete(const struct igd_context *context,
			     const struct igd_value *in, struct igd_answer *answer)
{
	return ask_pinhole(context, in, REQUEST_PINHOLE_DELETE, answer);
}

static uint16_t start_get(const struct igd_context *context, const struct igd_value *in,
			  struct igd_answer *answer)
{
	return ask_pinhole(context, in, REQUEST_PINHOLE_GET, answer);
}

/*
 * How long the way back stays open for a flow that a host began: the kernel's word, the
 * same for all (V6FW-15). Nobody asks to be let in here, so 703 does not apply.
 */
static uint16_t start_timeout(const struct igd_context *context,
			      const struct igd_value *in, struct igd_answer *answer)
{
	uint32_t protocol = in[ARG_PROTOCOL].number;
	uint32_t timeout_s = protocol == IPPROTO_TCP ? context->wan->flow_timeout_tcp_s
						     : context->wan->flow_timeout_udp_s;

	if (!is_firewall_on(context))
		return 702;
	if (!is_served_protocol(protocol))
		return 705;
	if (timeout_s == 0)
		return 501; /* the kernel does not follow flows */
	igd_output_add_number(&answer->output, timeout_s);
	return 0;
}

/* ---- replies to arguments ---- */

static uint16_t finish_add(const struct reply *reply, uint8_t version,
			   struct igd_output *output)
{
	(void)version;
	igd_output_add_number(output, reply->pinhole);
	return 0;
}

/* V6FW-11 */
static uint16_t finish_packets(const struct reply *reply, uint8_t version,
			       struct igd_output *output)
{
	(void)version;
	igd_output_add_number(output, (uint32_t)reply->packets_in);
	return 0;
}

/* V6FW-10: nothing has come, so nothing is known. */
static uint16_t finish_check(const struct reply *reply, uint8_t version,
			     struct igd_output *output)
{
	(void)version;
	if (reply->packets_in == 0)
		return 709;
	igd_output_add(output, "1");
	return 0;
}

static const struct igd_action actions[] = {
	{.name = "GetFirewallStatus",
	 .out = {{"FirewallEnabled", "FirewallEnabled"},
		 {"InboundPinholeAllowed", "InboundPinholeAllowed"}}},
	{.name = "GetOutboundPinholeTimeout",
	 .in = {{"RemoteHost", "A_ARG_TYPE_IPv6Address"},
		{"RemotePort", "A_ARG_TYPE_Port"},
		{"InternalClient", "A_ARG_TYPE_IPv6Address"},
		{"InternalPort", "A_ARG_TYPE_Port"},
		{"Protocol", "A_ARG_TYPE_Protocol"}},
	 .out = {{"OutboundPinholeTimeout", "A_ARG_TYPE_OutboundPinholeTimeout"}},
	 .start = start_timeout},
	{.name = "AddPinhole",
	 .in = {{"RemoteHost", "A_ARG_TYPE_IPv6Address"},
		{"RemotePort", "A_ARG_TYPE_Port"},
		{"InternalClient", "A_ARG_TYPE_IPv6Address"},
		{"InternalPort", "A_ARG_TYPE_Port"},
		{"Protocol", "A_ARG_TYPE_Protocol"},
		{"LeaseTime", "A_ARG_TYPE_LeaseTime"}},
	 .out = {{"UniqueID", "A_ARG_TYPE_UniqueID"}},
	 .start = start_add,
	 .finish = finish_add},
	{.name = "UpdatePinhole",
	 .in = {{"UniqueID", "A_ARG_TYPE_UniqueID"},
		{"NewLeaseTime", "A_ARG_TYPE_LeaseTime"}},
	 .start = start_update},
	{.name = "DeletePinhole",
	 .in = {{"UniqueID", "A_ARG_TYPE_UniqueID"}},
	 .start = start_delete},
	{.name = "GetPinholePackets",
	 .in = {{"UniqueID", "A_ARG_TYPE_UniqueID"}},
	 .out = {{"PinholePackets", "A_ARG_TYPE_PinholePackets"}},
	 .start = start_get,
	 .finish = finish_packets},
	{.name = "CheckPinholeWorking",
	 .in = {{"UniqueID", "A_ARG_TYPE_UniqueID"}},
	 .out = {{"IsWorking", "A_ARG_TYPE_Boolean"}},
	 .start = start_get,
	 .finish = finish_check},
};

const struct igd_service *igd_get_v6fc1(void)
{
	static const struct igd_service service = {
		.name = "WANIPv6FirewallControl",
		.version = 1,
		.id = "WANIPv6Firewall1",
		.modern = true,
		.codes = IGD_CODES_FIREWALL,
		.vars = vars,
		.var_count = ROW_COUNT(vars),
		.actions = actions,
		.action_count = ROW_COUNT(actions),
	};

	return &service;
}
