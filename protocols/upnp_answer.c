/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/upnp_answer.h"

#include <stdlib.h>
#include <string.h>

#include "protocols/soap.h"
#include "protocols/upnp.h"

/* A long answer on its way: what it holds is given back when it was sent. */
struct held_answer {
	size_t *held;
	size_t length;
	char bytes[];
};

static void release_document(void *bytes)
{
	struct xmldoc doc = {.bytes = bytes};

	xmldoc_fini(&doc);
}

static void release_held(void *bytes)
{
	char *start = (char *)bytes - offsetof(struct held_answer, bytes);
	struct held_answer *answer = (struct held_answer *)(void *)start;

	*answer->held -= answer->length;
	free(answer);
}

void upnp_answer_status(struct http_exchange *exchange, uint16_t status,
			const char *allow)
{
	struct http_answer answer = {.status = status, .allow = allow};

	http_exchange_answer(exchange, &answer);
}

static void answer_document(struct http_exchange *exchange, uint16_t status,
			    struct xmldoc *doc)
{
	struct http_answer answer = {
		.status = status,
		.content_type = UPNP_CONTENT_TYPE,
		.bytes = doc->bytes,
		.length = doc->length,
		.release = release_document,
	};

	http_exchange_answer(exchange, &answer);
}

/* SOAP-6: HTTP 500 */
void upnp_answer_fault(struct http_exchange *exchange,
		       const struct igd_service *service, uint16_t error)
{
	struct xmldoc doc;

	if (soap_write_fault(error, igd_service_get_error_text(service, error), &doc))
		answer_document(exchange, 500, &doc);
	else
		upnp_answer_status(exchange, 500, NULL);
}

static struct soap_action name_action(const struct upnp_wording *wording)
{
	struct soap_action action = {.name = "QueryStateVariable"};

	if (!wording->query)
		(void)strncpy(action.name, wording->call.action->name,
			      sizeof(action.name) - 1);
	(void)strncpy(action.type, wording->type, sizeof(action.type) - 1);
	return action;
}

void upnp_answer_result(struct http_exchange *exchange,
			const struct upnp_wording *wording,
			const struct igd_output *output)
{
	const struct soap_action action = name_action(wording);
	struct soap_out args[IGD_ARGS_MAX];
	struct xmldoc doc;
	size_t count = 0;

	if (wording->query)
		args[count++] = (struct soap_out){.name = "return",
						  .value = igd_output_get(output, 0)};
	else
		for (; count < output->count && count < IGD_ARGS_MAX; count++)
			args[count] = (struct soap_out){
				.name = wording->call.action->out[count].name,
				.value = igd_output_get(output, count)};
	if (soap_write_response(&action, args, count, &doc))
		answer_document(exchange, 200, &doc);
	else
		upnp_answer_status(exchange, 500, NULL);
}

void upnp_answer_listing(struct http_exchange *exchange,
			 const struct upnp_wording *wording,
			 const struct xmldoc *listing, size_t *held)
{
	const struct soap_action action = name_action(wording);
	const struct soap_out out = {.name = wording->call.action->out[0].name,
				     .value = listing->bytes,
				     .document = true};
	struct held_answer *copy = NULL;
	struct http_answer answer = {
		.status = 200,
		.content_type = UPNP_CONTENT_TYPE,
		.release = release_held,
	};
	struct xmldoc doc = {NULL, 0};

	if (soap_write_response(&action, &out, 1, &doc))
		copy = malloc(sizeof(*copy) + doc.length);
	if (!copy) {
		xmldoc_fini(&doc);
		upnp_answer_status(exchange, 500, NULL);
		return;
	}
	copy->held = held;
	copy->length = doc.length;
	memcpy(copy->bytes, doc.bytes, doc.length);
	xmldoc_fini(&doc);
	*held += copy->length;
	answer.bytes = copy->bytes;
	answer.length = copy->length;
	http_exchange_answer(exchange, &answer);
}
