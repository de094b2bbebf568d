/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/igd.h"

#include <string.h>
#include <strings.h>

#include "protocols/status.h"
#include "protocols/upnp.h"

#define UPNP_SERVICE_PREFIX "urn:schemas-upnp-org:service:"
#define VALUE_SIZE 256

const struct igd_action *igd_service_find_action(const struct igd_service *service,
						 const char *name)
{
	for (size_t i = 0; i < service->action_count; i++)
		if (service->actions[i].since <= service->version &&
		    strcmp(service->actions[i].name, name) == 0)
			return &service->actions[i];
	return NULL;
}

const struct igd_var *igd_service_find_var(const struct igd_service *service,
					   const char *name)
{
	for (size_t i = 0; i < service->var_count; i++)
		if (service->vars[i].since <= service->version &&
		    strcmp(service->vars[i].name, name) == 0)
			return &service->vars[i];
	return NULL;
}

bool igd_service_has_events(const struct igd_service *service)
{
	for (size_t i = 0; i < service->var_count; i++)
		if (service->vars[i].evented)
			return true;
	return false;
}

uint8_t igd_service_parse_type(const struct igd_service *service, const char *type)
{
	size_t prefix = strlen(UPNP_SERVICE_PREFIX);
	size_t name = strlen(service->name);
	uint64_t version;

	if (strncmp(type, UPNP_SERVICE_PREFIX, prefix) != 0 ||
	    strncmp(type + prefix, service->name, name) != 0 ||
	    type[prefix + name] != ':')
		return 0;
	type += prefix + name + 1;
	if (type[0] == '0' || !parse_number(type, service->version, &version))
		return 0;
	return (uint8_t)version;
}

void igd_output_add(struct igd_output *output, const char *text)
{
	size_t length = strlen(text);

	if (output->count == IGD_ARGS_MAX)
		return;
	if (length + 1 > sizeof(output->text) - output->used)
		length = 0;
	if (output->used == sizeof(output->text))
		output->used--; /* full: share the last NUL */
	output->offsets[output->count++] = (uint16_t)output->used;
	memcpy(output->text + output->used, text, length);
	output->text[output->used + length] = '\0';
	output->used += length + 1;
}

void igd_output_add_number(struct igd_output *output, uint64_t value)
{
	char digits[24] = "";
	struct writer writer = writer_init(digits, sizeof(digits) - 1);

	upnp_write_number(&writer, value);
	igd_output_add(output, digits);
}

const char *igd_output_get(const struct igd_output *output, size_t index)
{
	return index < output->count ? output->text + output->offsets[index] : "";
}

static uint16_t parse_boolean(const char *text, uint32_t *out)
{
	static const struct {
		const char *text;
		uint32_t value;
	} rows[] = {
		{"0", 0}, {"1", 1}, {"false", 0}, {"true", 1}, {"no", 0}, {"yes", 1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcasecmp(rows[i].text, text) == 0) {
			*out = rows[i].value;
			return 0;
		}
	return 402;
}

/* Not a number is 402, a number that does not fit 601 (SOAP-4). */
static uint16_t parse_unsigned(const char *text, uint64_t max, uint32_t *out)
{
	uint64_t value;

	if (parse_number(text, max, &value)) {
		*out = (uint32_t)value;
		return 0;
	}
	return *text != '\0' && text[strspn(text, "0123456789")] == '\0' ? 601 : 402;
}

static bool is_allowed(const struct igd_var *var, const char *text)
{
	size_t i;

	for (i = 0; i < IGD_ALLOWED_MAX && var->allowed[i]; i++)
		if (strcasecmp(var->allowed[i], text) == 0)
			return true;
	return i == 0;
}

static uint16_t parse_value(const struct igd_var *var, const char *text, uint32_t *out)
{
	switch (var->type) {
	case IGD_STRING:
		return is_allowed(var, text) ? 0 : 601;
	case IGD_BOOLEAN:
		return parse_boolean(text, out);
	case IGD_UI2:
		return parse_unsigned(text, UINT16_MAX, out);
	case IGD_UI4:
		return parse_unsigned(text, UINT32_MAX, out);
	}
	return 402;
}

static uint16_t parse_args(const struct igd_service *service,
			   const struct igd_action *action,
			   const struct soap_call *call,
			   struct igd_value values[IGD_ARGS_MAX])
{
	for (size_t i = 0; i < IGD_ARGS_MAX && action->in[i].name; i++) {
		const struct soap_arg *arg =
			soap_call_get_arg(call, action->in[i].name);
		const struct igd_var *var =
			igd_service_find_var(service, action->in[i].var);
		uint16_t error;

		if (!arg || !var || arg->repeated || (arg->truncated && !var->clipped))
			return 402;
		values[i].text = soap_call_get_value(call, arg);
		values[i].length = arg->length;
		values[i].number = 0;
		error = parse_value(var, values[i].text, &values[i].number);
		if (error)
			return error;
	}
	return 0;
}

static void output_add_var(const struct igd_context *context, const struct igd_var *var,
			   struct igd_output *output)
{
	char text[VALUE_SIZE];
	struct writer writer = writer_init(text, sizeof(text) - 1);

	var->read(context, &writer);
	text[writer.failed ? 0 : writer.used] = '\0';
	igd_output_add(output, text);
}

/* An action without a handler gets the state variables that its arguments name. */
static uint16_t start_get(const struct igd_context *context,
			  const struct igd_service *service,
			  const struct igd_action *action, struct igd_output *output)
{
	for (size_t i = 0; i < IGD_ARGS_MAX && action->out[i].name; i++) {
		const struct igd_var *var =
			igd_service_find_var(service, action->out[i].var);

		if (!var || !var->read)
			return 501;
		output_add_var(context, var, output);
	}
	return 0;
}

static void answer_init(struct igd_answer *answer)
{
	answer->state = IGD_DONE;
	answer->error = 0;
	answer->output.count = 0;
	answer->output.used = 0;
}

static void answer_fail(struct igd_answer *answer, uint16_t error)
{
	if (error == 0)
		return;
	answer->state = IGD_FAULT;
	answer->error = error;
}

/* What every request of this context has in common. */
static void request_init(const struct igd_context *context, struct request *request)
{
	memset(request, 0, sizeof(*request));
	request->origin = ORIGIN_IGD;
	request->igd_version = context->version;
	request->lan = context->lan->lan;
	request->ifindex = context->lan->ifindex;
	request->client = context->client;
	request->internal = context->client;
}

static bool keep_argument(const void *user, const struct soap_action *call,
			  const char *name)
{
	const struct igd_action *action = igd_service_find_action(user, call->name);

	if (!action)
		return strcmp(name, IGD_QUERY_ARGUMENT) == 0;
	for (size_t i = 0; i < IGD_ARGS_MAX && action->in[i].name; i++)
		if (strcmp(action->in[i].name, name) == 0)
			return true;
	return false;
}

struct soap_filter igd_service_get_filter(const struct igd_service *service)
{
	return (struct soap_filter){.keep = keep_argument, .user = service};
}

void igd_action_start(const struct igd_context *context,
		      const struct igd_service *service,
		      const struct igd_action *action, const struct soap_call *call,
		      struct igd_answer *answer)
{
	struct igd_value values[IGD_ARGS_MAX];
	uint16_t error;

	answer_init(answer);
	request_init(context, &answer->request);
	error = parse_args(service, action, call, values);
	if (error == 601 && action->range_error)
		error = action->range_error;
	if (error == 0 && action->start)
		error = action->start(context, values, answer);
	else if (error == 0)
		error = start_get(context, service, action, &answer->output);
	answer_fail(answer, error);
}

/*
 * A delete knows no conflict: to the version 1 face, what one may not delete is not
 * there (IGD-32, PCP-133). A range has a word of its own for that (IGD-33, IGD-34).
 */
static uint16_t reply_get_error(const struct igd_call *call, const struct reply *reply)
{
	enum result result = (enum result)reply->result;

	if (call->service->codes == IGD_CODES_FIREWALL)
		return status_get(result)->v6fc;
	if (result == RESULT_NO_ENTRY &&
	    (reply->op == REQUEST_DELETE_RANGE || reply->op == REQUEST_LIST))
		return 730;
	if (call->version > 1)
		return status_get(result)->igd2;
	if (reply->op == REQUEST_DELETE && result == RESULT_FOREIGN)
		result = RESULT_NO_ENTRY;
	return status_get(result)->igd1;
}

void igd_action_finish(const struct igd_call *call, const struct reply *reply,
		       struct igd_answer *answer)
{
	answer_init(answer);
	if (reply->result >= RESULT_COUNT)
		answer_fail(answer, 501);
	else if (reply->result != RESULT_OK)
		answer_fail(answer, reply_get_error(call, reply));
	else if (call->action->finish)
		answer_fail(answer, call->action->finish(reply, call->version,
							 &answer->output));
}

const char *igd_service_get_error_text(const struct igd_service *service, uint16_t code)
{
	static const char *const firewall[] = {
		"PinholeSpaceExhausted",
		"FirewallDisabled",
		"InboundPinholeNotAllowed",
		"NoSuchEntry",
		"ProtocolNotSupported",
		"InternalPortWildcardingNotAllowed",
		"ProtocolWildcardingNotAllowed",
		"WildCardNotPermittedInSrcIP",
		"NoTrafficReceived",
	};
	const unsigned int first = 701;

	if (service->codes == IGD_CODES_FIREWALL && code >= first &&
	    code < first + sizeof(firewall) / sizeof(firewall[0]))
		return firewall[code - first];
	return status_get_upnp_text(code);
}

/* The action that takes nothing and gives just this variable. */
static const struct igd_action *find_getter(const struct igd_service *service,
					    const char *var)
{
	for (size_t i = 0; i < service->action_count; i++) {
		const struct igd_action *action = &service->actions[i];

		if (action->since <= service->version && !action->in[0].name &&
		    action->out[0].name && !action->out[1].name &&
		    strcmp(action->out[0].var, var) == 0)
			return action;
	}
	return NULL;
}

void igd_service_query(const struct igd_context *context,
		       const struct igd_service *service, const char *name,
		       const struct igd_action **action, struct igd_answer *answer)
{
	const struct igd_var *var = igd_service_find_var(service, name);

	*action = NULL;
	answer_init(answer);
	request_init(context, &answer->request);
	if (!var) {
		answer_fail(answer, 404);
		return;
	}
	if (var->read) {
		output_add_var(context, var, &answer->output);
		return;
	}
	*action = find_getter(service, name);
	if (*action && (*action)->start)
		answer_fail(answer, (*action)->start(context, NULL, answer));
	else
		answer_fail(answer, 501);
}
