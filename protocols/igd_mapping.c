/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/igd_mapping.h"

#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "protocols/upnp.h"

/* ---- arguments to requests ---- */

/* The key of a mapping leads the arguments of three actions (IGD-10). */
enum key_arg {
	ARG_REMOTE_HOST,
	ARG_EXTERNAL_PORT,
	ARG_PROTOCOL,
};

/* What follows it in AddPortMapping and AddAnyPortMapping. */
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

/* One of the two that are allowed, in any case (IGD-18). */
static uint8_t parse_protocol(const char *text)
{
	return strcasecmp(text, "TCP") == 0 ? IPPROTO_TCP : IPPROTO_UDP;
}

static uint16_t parse_key(const struct igd_value *in, struct request *request)
{
	request->external_port = (uint16_t)in[ARG_EXTERNAL_PORT].number;
	request->protocol = parse_protocol(in[ARG_PROTOCOL].text);
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

/* What version 2 has a word for, and version 1 has not (IGD-19). */
static uint16_t fail_internal_port(const struct igd_context *context)
{
	return context->version > 1 ? 732 : 402;
}

/* All but the external port, which each action takes as it likes. */
static uint16_t ask_add(const struct igd_context *context, const struct igd_value *in,
			enum request_op op, struct igd_answer *answer)
{
	struct request *request = &answer->request;
	uint32_t lease_s = in[ARG_LEASE].number;
	uint16_t error = parse_internal_client(in[ARG_INTERNAL_CLIENT].text, request);

	if (error)
		return error;
	if (in[ARG_INTERNAL_PORT].number == 0)
		return fail_internal_port(context);
	if (!context->wan->nat)
		return 501; /* nothing is translated: a promise would be a lie (NP-5) */
	request->op = (uint8_t)op;
	request->internal_port = (uint16_t)in[ARG_INTERNAL_PORT].number;
	request->enabled = (uint8_t)in[ARG_ENABLED].number; /* IGD-26 */
	/* 0 and what is longer than a week get a week, never 725 (IGD-14, IGD-15). */
	request->lifetime_s =
		lease_s == 0 || lease_s > IGD_LEASE_MAX_S ? IGD_LEASE_MAX_S : lease_s;
	text_copy_clean(request->description, sizeof(request->description),
			in[ARG_DESCRIPTION].text, in[ARG_DESCRIPTION].length);
	answer->state = IGD_ASK;
	return 0;
}

uint16_t igd_mapping_start_add(const struct igd_context *context,
			       const struct igd_value *in, struct igd_answer *answer)
{
	uint16_t error = parse_key(in, &answer->request);

	if (error)
		return error;
	if (answer->request.external_port == 0)
		return 716; /* no "all ports" here (IGD-20) */
	answer->request.prefer_failure = 1;
	return ask_add(context, in, REQUEST_ADD, answer);
}

/* Port 0 leaves the choice to us, which is more than the standard asks (IGD-20). */
uint16_t igd_mapping_start_add_any(const struct igd_context *context,
				   const struct igd_value *in,
				   struct igd_answer *answer)
{
	uint16_t error = parse_key(in, &answer->request);

	return error ? error : ask_add(context, in, REQUEST_ADD_ANY, answer);
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

uint16_t igd_mapping_start_delete(const struct igd_context *context,
				  const struct igd_value *in, struct igd_answer *answer)
{
	(void)context;
	return ask_key(in, REQUEST_DELETE, answer);
}

uint16_t igd_mapping_start_get(const struct igd_context *context,
			       const struct igd_value *in, struct igd_answer *answer)
{
	(void)context;
	return ask_key(in, REQUEST_GET, answer);
}

uint16_t igd_mapping_start_index(const struct igd_context *context,
				 const struct igd_value *in, struct igd_answer *answer)
{
	(void)context;
	answer->request.op = REQUEST_INDEX;
	answer->request.index = in[0].number;
	answer->state = IGD_ASK;
	return 0;
}

/* Arguments of the two actions upon a range of ports. */
enum range_arg {
	ARG_START,
	ARG_END,
	ARG_RANGE_PROTOCOL,
	ARG_MANAGE, /* of other hosts' mappings, too: nobody here may (IGD-33) */
	ARG_NUMBER,
};

static uint16_t ask_range(const struct igd_value *in, enum request_op op,
			  struct igd_answer *answer)
{
	struct request *request = &answer->request;
	uint32_t start = in[ARG_START].number;
	uint32_t end = in[ARG_END].number;

	if (start > end)
		return 733;
	if (end == 0)
		return 730; /* port 0 is in no mapping */
	request->op = (uint8_t)op;
	request->protocol = parse_protocol(in[ARG_RANGE_PROTOCOL].text);
	request->external_port = (uint16_t)(start > 0 ? start : 1);
	request->external_last = (uint16_t)end;
	answer->state = IGD_ASK;
	return 0;
}

uint16_t igd_mapping_start_delete_range(const struct igd_context *context,
					const struct igd_value *in,
					struct igd_answer *answer)
{
	(void)context;
	return ask_range(in, REQUEST_DELETE_RANGE, answer);
}

uint16_t igd_mapping_start_list(const struct igd_context *context,
				const struct igd_value *in, struct igd_answer *answer)
{
	(void)context;
	answer->request.index = in[ARG_NUMBER].number;
	return ask_range(in, REQUEST_LIST, answer);
}

/* ---- replies to arguments ---- */

/* A mapping without an end: version 1 says 0, version 2 the most there is (IGD-14). */
uint32_t igd_mapping_get_lease_s(const struct reply *reply, uint8_t version)
{
	if (reply->origin != ORIGIN_STATIC)
		return reply->lifetime_s;
	return version > 1 ? IGD_LEASE_MAX_S : 0;
}

static void add_remote_host(const struct reply *reply, struct igd_output *output)
{
	char text[ADDR_TEXT_SIZE];

	if (addr_is_none(&reply->remote))
		igd_output_add(output, "");
	else
		igd_output_add(output, addr_format(&reply->remote, text));
}

uint16_t igd_mapping_finish_add_any(const struct reply *reply, uint8_t version,
				    struct igd_output *output)
{
	(void)version;
	igd_output_add_number(output, reply->external_port);
	return 0;
}

/* What GetSpecificPortMappingEntry gives, and GetGeneric after the key (IGD-31). */
uint16_t igd_mapping_finish_get(const struct reply *reply, uint8_t version,
				struct igd_output *output)
{
	char text[ADDR_TEXT_SIZE];
	char description[DESCRIPTION_MAX + 1];

	igd_output_add_number(output, reply->internal_port);
	igd_output_add(output, addr_format(&reply->internal, text));
	igd_output_add(output, reply->enabled ? "1" : "0");
	text_copy_clean(description, sizeof(description), reply->description,
			strnlen(reply->description, DESCRIPTION_MAX));
	igd_output_add(output, description);
	igd_output_add_number(output, igd_mapping_get_lease_s(reply, version));
	return 0;
}

uint16_t igd_mapping_finish_index(const struct reply *reply, uint8_t version,
				  struct igd_output *output)
{
	add_remote_host(reply, output);
	igd_output_add_number(output, reply->external_port);
	igd_output_add(output, reply->protocol == IPPROTO_TCP ? "TCP" : "UDP");
	return igd_mapping_finish_get(reply, version, output);
}
