/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A control request: the SOAPACTION header up to the first NUL or line end, then the
 * body. Whatever comes out as a request keeps to what core is told of it, and whatever
 * is written as an answer can be parsed again (SOAP-8).
 */
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/igd.h"
#include "protocols/soap.h"

#define HEADER_SIZE 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_request(const struct request *request)
{
	check(request->op < REQUEST_OP_COUNT && request->origin == ORIGIN_IGD);
	check(request->filter_count == 0 && request->enabled <= 1);
	check(memchr(request->description, '\0', sizeof(request->description)) != NULL);
	if (request->op == REQUEST_DELETE_RANGE || request->op == REQUEST_LIST)
		check(request->external_port != 0 &&
		      request->external_port <= request->external_last &&
		      request->after == 0);
	if (request->op == REQUEST_PINHOLE)
		check(request->internal_port != 0 && request->pinhole == 0 &&
		      request->lifetime_s > 0 && request->lifetime_s <= 86400 &&
		      !addr_is_ipv4(&request->internal));
	if (request->op == REQUEST_PINHOLE_UPDATE ||
	    request->op == REQUEST_PINHOLE_DELETE || request->op == REQUEST_PINHOLE_GET)
		check(request->pinhole != 0);
	if (request->op == REQUEST_ADD || request->op == REQUEST_ADD_ANY)
		check((request->external_port != 0 || request->op == REQUEST_ADD_ANY) &&
		      request->internal_port != 0 && request->lifetime_s > 0 &&
		      request->lifetime_s <= IGD_LEASE_MAX_S &&
		      addr_is_ipv4(&request->internal) &&
		      (request->protocol == IPPROTO_TCP ||
		       request->protocol == IPPROTO_UDP));
}

static void run_actions(const struct soap_call *call, const struct igd_service *service)
{
	static const struct table_info table = {.update_ids = {7}};
	static const struct wan_info wan = {.up_since_ms = 1, .nat = 1, .carrier = 1};
	static const struct lan_info lan = {.lan = 1, .ifindex = 2};
	struct igd_context context = {
		.wan = &wan,
		.lan = &lan,
		.table = &table,
		.version = service->version,
		.default_connection = "uuid:x:WANConnectionDevice:1,y",
		.now_ms = 5000,
	};
	static struct igd_answer answer;

	check(addr_parse("192.168.1.20", &context.client));
	for (size_t i = 0; i < service->action_count; i++) {
		if (service->actions[i].since > service->version)
			continue;
		igd_action_start(&context, service, &service->actions[i], call,
				 &answer);
		if (answer.state == IGD_ASK)
			check_request(&answer.request);
		check((answer.state == IGD_FAULT) == (answer.error != 0));
	}
}

/* With whatever came, and as the worker does with what the service has. */
static void run_service(const char *body, size_t length, const struct soap_call *all,
			const struct igd_service *service)
{
	const struct soap_filter filter = igd_service_get_filter(service);
	static struct soap_call call;

	check(soap_parse_call_for(body, length, &filter, &call));
	run_actions(all, service);
	run_actions(&call, service);
}

/* Send every argument back, as if it were an out-argument. */
static void check_round_trip(const struct soap_call *call)
{
	static const struct soap_action action = {"urn:x:service:y:1", "Act"};
	static struct soap_call again;
	struct soap_out outs[SOAP_ARGS_MAX];
	struct xmldoc doc;

	for (size_t i = 0; i < call->arg_count; i++)
		outs[i] = (struct soap_out){
			.name = "v",
			.value = soap_call_get_value(call, &call->args[i]),
			.document = i % 2 == 1};
	check(soap_write_response(&action, outs, call->arg_count, &doc));
	check(soap_parse_call_for(doc.bytes, doc.length, NULL, &again));
	if (call->arg_count > 0)
		check(strcmp(soap_call_get_value(&again, &again.args[0]),
			     outs[0].value) == 0);
	xmldoc_fini(&doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct soap_call call;
	struct soap_action action;
	char header[HEADER_SIZE];
	const char *text = (const char *)data;
	size_t length = 0;

	while (length < size && length < HEADER_SIZE - 1 && text[length] != '\0' &&
	       text[length] != '\n')
		length++;
	if (length > 0)
		memcpy(header, text, length);
	header[length] = '\0';
	if (soap_parse_action(header, &action))
		check(strpbrk(action.type, "<>&\"'\r\n ") == NULL &&
		      strpbrk(action.name, "<>&\"'\r\n ") == NULL);
	if (length < size)
		length++; /* the line end */
	text += length;
	size -= length;
	if (!soap_parse_call_for(text, size, NULL, &call))
		return 0;
	check(call.arg_count <= SOAP_ARGS_MAX && call.text_used <= sizeof(call.text));
	run_service(text, size, &call, igd_get_wanip1());
	run_service(text, size, &call, igd_get_wanip2());
	run_service(text, size, &call, igd_get_v6fc1());
	run_service(text, size, &call, igd_get_wancic1());
	run_service(text, size, &call, igd_get_l3f1());
	check_round_trip(&call);
	return 0;
}
