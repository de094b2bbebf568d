/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/upnp_control.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "protocols/igd_listing.h"
#include "protocols/soap.h"
#include "protocols/upnp.h"
#include "protocols/upnp_answer.h"
#include "protocols/upnp_events.h"

#define QUERY_ACTION "QueryStateVariable"
#define COOKIE_SLOT_BITS 16

/* A control request that waits for core. */
struct upnp_pending {
	TAILQ_ENTRY(upnp_pending) link; /* waiting, or free */
	uint64_t generation;		/* tells a late reply from ours */
	int64_t deadline_ms;
	struct http_exchange *exchange; /* NULL = free */
	struct igd_call call;
	struct ip_addr client;
	bool query; /* answer as QueryStateVariable */
	char type[SOAP_TYPE_SIZE];
	struct igd_listing *listing; /* of an action that needs many replies */
};

TAILQ_HEAD(upnp_pending_list, upnp_pending);

struct upnp_control {
	struct upnp_control_config config;
	struct event *timer;
	struct log_limit refusal_limit;
	size_t held; /* octets of listings, being gathered or sent */
	struct upnp_pending_list waiting; /* the oldest first */
	struct upnp_pending_list unused;
	struct upnp_pending slots[UPNP_PENDING_MAX];
};

/* ---- refusals without core, which tells of its own ---- */

/* Longest name of an action that is told, escaped. */
#define NAME_TEXT_SIZE (4 * SOAP_NAME_SIZE + 8)

/* Who asks, and by which name: of an action that there may not be. */
struct upnp_asker {
	const struct igd_service *service;
	const char *action;
	struct ip_addr client;
};

static void refuse(struct upnp_control *control, struct http_exchange *exchange,
		   const struct upnp_asker *asker, uint16_t error)
{
	char client[ADDR_TEXT_SIZE], name[NAME_TEXT_SIZE];
	unsigned int held_back;

	if (log_is_on(LOG_LEVEL_INFO) &&
	    log_limit_pass(&control->refusal_limit, clock_now_ms(), &held_back)) {
		if (held_back > 0)
			log_info("%u refusals were held back", held_back);
		log_info("request refused code=%u text=\"%s\" action=%s client=%s "
			 "via=igd",
			 error, igd_service_get_error_text(asker->service, error),
			 log_escape(name, sizeof(name), asker->action),
			 addr_format(&asker->client, client));
	}
	upnp_answer_fault(exchange, asker->service, error);
}

/* ---- requests that wait for core ---- */

static void start_timer(struct upnp_control *control)
{
	struct upnp_pending *oldest = TAILQ_FIRST(&control->waiting);
	struct timeval delay;
	int64_t ms;

	if (!oldest) {
		event_del(control->timer);
		return;
	}
	ms = oldest->deadline_ms - clock_now_ms();
	ms = ms > 0 ? ms : 0;
	delay.tv_sec = (time_t)(ms / 1000);
	delay.tv_usec = (suseconds_t)(ms % 1000 * 1000);
	event_add(control->timer, &delay);
}

/* The slot is free again; whoever holds its cookie holds nothing. */
static struct http_exchange *pending_end(struct upnp_control *control,
					 struct upnp_pending *pending)
{
	struct http_exchange *exchange = pending->exchange;

	http_exchange_set_context(exchange, NULL);
	if (pending->listing)
		control->held -= igd_listing_get_size(pending->listing);
	igd_listing_free(pending->listing);
	pending->listing = NULL;
	pending->exchange = NULL;
	pending->generation++;
	TAILQ_REMOVE(&control->waiting, pending, link);
	TAILQ_INSERT_HEAD(&control->unused, pending, link);
	if (TAILQ_EMPTY(&control->waiting))
		start_timer(control); /* stops it: an idle worker sleeps */
	return exchange;
}

static void fail_pending(struct upnp_control *control, struct upnp_pending *pending,
			 uint16_t error)
{
	const struct upnp_asker asker = {
		.service = pending->call.service,
		.action = pending->query ? QUERY_ACTION : pending->call.action->name,
		.client = pending->client,
	};

	refuse(control, pending_end(control, pending), &asker, error);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct upnp_control *control = user;
	int64_t now_ms = clock_now_ms();
	struct upnp_pending *pending;

	(void)fd;
	(void)what;
	while ((pending = TAILQ_FIRST(&control->waiting)) &&
	       pending->deadline_ms <= now_ms)
		fail_pending(control, pending, 501);
	start_timer(control);
}

/* False: there is no room for what core will say, or core cannot be asked. */
static bool start_asking(struct upnp_control *control, struct upnp_pending *pending,
			 const struct upnp_wording *wording, struct request *request)
{
	uint64_t slot = (uint64_t)(pending - control->slots);

	request->cookie = pending->generation << COOKIE_SLOT_BITS | slot;
	if (wording->call.action->listing) {
		pending->listing = igd_listing_new(request);
		if (!pending->listing)
			return false;
	}
	if (control->config.ask(control->config.user, request) < 0) {
		igd_listing_free(pending->listing);
		pending->listing = NULL;
		return false;
	}
	if (pending->listing)
		control->held += igd_listing_get_size(pending->listing);
	return true;
}

static void ask_core(struct upnp_control *control, struct http_exchange *exchange,
		     const struct upnp_wording *wording, struct request *request)
{
	struct upnp_pending *pending = TAILQ_FIRST(&control->unused);
	bool first = TAILQ_EMPTY(&control->waiting);

	if (!pending || !start_asking(control, pending, wording, request)) {
		const struct upnp_asker asker = {wording->call.service,
						 wording->call.action->name,
						 request->client};

		refuse(control, exchange, &asker, 501);
		return;
	}
	TAILQ_REMOVE(&control->unused, pending, link);
	TAILQ_INSERT_TAIL(&control->waiting, pending, link);
	pending->exchange = exchange;
	pending->deadline_ms = clock_now_ms() + control->config.reply_timeout_ms;
	pending->call = wording->call;
	pending->client = request->client;
	pending->query = wording->query;
	(void)strncpy(pending->type, wording->type, sizeof(pending->type) - 1);
	http_exchange_set_context(exchange, pending);
	if (first)
		start_timer(control);
}

/* The slot is given back before the answer is written, as that may end more. */
static void finish_pending(struct upnp_control *control, struct upnp_pending *pending,
			   const struct igd_answer *answer)
{
	struct upnp_wording wording = {.call = pending->call, .query = pending->query};
	char type[SOAP_TYPE_SIZE];
	struct http_exchange *exchange;

	memcpy(type, pending->type, sizeof(type));
	wording.type = type;
	exchange = pending_end(control, pending);
	if (answer->state == IGD_FAULT)
		upnp_answer_fault(exchange, wording.call.service, answer->error);
	else
		upnp_answer_result(exchange, &wording, &answer->output);
}

static void finish_listing(struct upnp_control *control, struct upnp_pending *pending)
{
	struct upnp_wording wording = {.call = pending->call};
	char type[SOAP_TYPE_SIZE];
	struct http_exchange *exchange;
	struct xmldoc doc;
	size_t size = igd_listing_get_size(pending->listing);

	if (!igd_listing_finish(pending->listing, &doc)) {
		control->held -= size - igd_listing_get_size(pending->listing);
		fail_pending(control, pending, 603);
		return;
	}
	control->held -= size - igd_listing_get_size(pending->listing);
	memcpy(type, pending->type, sizeof(type));
	wording.type = type;
	exchange = pending_end(control, pending);
	upnp_answer_listing(exchange, &wording, &doc, &control->held);
	xmldoc_fini(&doc);
}

/* One of the replies of a listing. */
static void take_page(struct upnp_control *control, struct upnp_pending *pending,
		      const struct reply *reply)
{
	struct igd_listing *listing = pending->listing;
	struct reply last = *reply;
	struct igd_answer answer;
	enum igd_listing_state state;

	control->held -= igd_listing_get_size(listing);
	state = igd_listing_take(listing, reply);
	control->held += igd_listing_get_size(listing);
	if (control->held > UPNP_LISTINGS_OCTETS_MAX) {
		fail_pending(control, pending, 603);
		return;
	}
	switch (state) {
	case IGD_LISTING_READS:
		break;
	case IGD_LISTING_ASKS:
		if (control->config.ask(control->config.user,
					igd_listing_get_request(listing)) < 0)
			fail_pending(control, pending, 501);
		break;
	case IGD_LISTING_DONE:
		finish_listing(control, pending);
		break;
	case IGD_LISTING_FAILS:
		if (last.result == RESULT_OK)
			last.result = RESULT_NO_ENTRY;
		igd_action_finish(&pending->call, &last, &answer);
		finish_pending(control, pending, &answer);
		break;
	case IGD_LISTING_TOO_LONG:
		fail_pending(control, pending, 603);
		break;
	}
}

void upnp_control_take_reply(struct upnp_control *control, const struct reply *reply)
{
	uint64_t slot = reply->cookie & ((UINT64_C(1) << COOKIE_SLOT_BITS) - 1);
	struct upnp_pending *pending;
	struct igd_answer answer;

	if (slot >= UPNP_PENDING_MAX)
		return;
	pending = &control->slots[slot];
	if (!pending->exchange ||
	    pending->generation != reply->cookie >> COOKIE_SLOT_BITS)
		return; /* the client left, or we gave up */
	if (pending->listing) {
		take_page(control, pending, reply);
		return;
	}
	igd_action_finish(&pending->call, reply, &answer);
	finish_pending(control, pending, &answer);
}

/* ---- control requests ---- */

static void conclude(struct upnp_control *control, struct http_exchange *exchange,
		     const struct upnp_wording *wording, const struct upnp_asker *asker,
		     struct igd_answer *answer)
{
	switch (answer->state) {
	case IGD_DONE:
		upnp_answer_result(exchange, wording, &answer->output);
		break;
	case IGD_ASK:
		ask_core(control, exchange, wording, &answer->request);
		break;
	case IGD_FAULT:
		refuse(control, exchange, asker, answer->error);
		break;
	}
}

/* SOAP-9. The argument is varName, in whatever namespace. */
static void run_query(struct upnp_control *control, struct http_exchange *exchange,
		      const struct igd_context *context,
		      const struct igd_service *service, const struct soap_call *call)
{
	const struct soap_arg *arg = soap_call_get_arg(call, IGD_QUERY_ARGUMENT);
	struct upnp_wording wording = {
		.call = {.service = service, .version = context->version},
		.type = SOAP_CONTROL_TYPE,
		.query = true,
	};
	const struct upnp_asker asker = {service, QUERY_ACTION, context->client};
	struct igd_answer answer;

	if (!arg || arg->truncated) {
		refuse(control, exchange, &asker, 402);
		return;
	}
	igd_service_query(context, service, soap_call_get_value(call, arg),
			  &wording.call.action, &answer);
	conclude(control, exchange, &wording, &asker, &answer);
}

/*
 * The type asked for must be one served here, and the body must ask for the same as the
 * header (SOAP-2). Its version says which actions there are and by which rules (IGD-5).
 */
static void run_action(struct upnp_control *control, struct http_exchange *exchange,
		       struct igd_context *context, const struct igd_service *service,
		       const struct soap_call *call)
{
	const struct igd_action *action =
		igd_service_find_action(service, call->action.name);
	struct upnp_wording wording = {
		.call = {service, action,
			 igd_service_parse_type(service, call->action.type)},
		.type = call->action.type,
	};
	const struct upnp_asker asker = {service, call->action.name, context->client};
	struct igd_answer answer;

	context->version = wording.call.version;
	if (!action || context->version == 0 || action->since > context->version) {
		refuse(control, exchange, &asker, 401);
		return;
	}
	igd_action_start(context, service, action, call, &answer);
	conclude(control, exchange, &wording, &asker, &answer);
}

/* HTTP-level errors are HTTP's (SOAP-7); 0 = a call was parsed. */
static uint16_t parse_control(const struct http_request *request,
			      const struct igd_service *service,
			      struct soap_action *header, struct soap_call *call)
{
	const struct soap_filter filter = igd_service_get_filter(service);
	const char *text;

	if (!http_content_type_is_xml(request->headers->content_type))
		return 415;
	text = http_headers_get_soap_action(request->headers, request->method);
	if (!text || !soap_parse_action(text, header) ||
	    !soap_parse_call_for(request->body, request->length, &filter, call))
		return 400;
	return 0;
}

static void handle_control(struct upnp_control *control, struct http_exchange *exchange,
			   const struct http_request *request,
			   const struct igd_site *site,
			   const struct igd_service *service)
{
	struct igd_context context = {
		.wan = control->config.wan,
		.table = control->config.table,
		.lan = request->lan,
		.default_connection = site->default_connection,
		.client = request->client,
		.version = service->version,
		.now_ms = clock_now_ms(),
	};
	struct soap_action header;
	struct soap_call call;
	uint16_t status = parse_control(request, service, &header, &call);
	const struct upnp_asker asker = {service, header.name, request->client};

	if (status)
		upnp_answer_status(exchange, status, NULL);
	else if (strcmp(header.type, call.action.type) != 0 ||
		 strcmp(header.name, call.action.name) != 0)
		refuse(control, exchange, &asker, 401);
	else if (strcmp(header.type, SOAP_CONTROL_TYPE) == 0 &&
		 strcmp(header.name, QUERY_ACTION) == 0)
		run_query(control, exchange, &context, service, &call);
	else
		run_action(control, exchange, &context, service, &call);
}

/* ---- routing (HTTP-5) ---- */

static void serve_bytes(struct http_exchange *exchange,
			const struct http_request *request, const char *content_type,
			const char *bytes, size_t length)
{
	struct http_answer answer = {
		.status = 200,
		.content_type = content_type,
		.bytes = (void *)bytes, /* only read: there is no release */
		.length = length,
	};

	if (request->method == HTTP_GET || request->method == HTTP_HEAD)
		http_exchange_answer(exchange, &answer);
	else
		upnp_answer_status(exchange, 405, "GET, HEAD");
}

static void serve_page(struct http_exchange *exchange,
		       const struct http_request *request)
{
	static const char page[] =
		"<!DOCTYPE html>\n<html "
		"lang=\"en\"><head><title>portreeve</title></head>"
		"<body><h1>portreeve</h1><p>This gateway leases ports to the hosts of "
		"its "
		"network, by UPnP IGD, NAT-PMP and PCP. Its owner sees and changes the "
		"leases with the command <code>portreeve</code> on the "
		"gateway.</p></body>"
		"</html>\n";

	serve_bytes(exchange, request, "text/html; charset=\"utf-8\"", page,
		    sizeof(page) - 1);
}

static void serve_control(struct upnp_control *control, struct http_exchange *exchange,
			  const struct http_request *request,
			  const struct igd_site *site,
			  const struct igd_service *service)
{
	if (request->method == HTTP_POST || request->method == HTTP_M_POST)
		handle_control(control, exchange, request, site, service);
	else
		upnp_answer_status(exchange, 405, "POST, M-POST");
}

/* False when the path is nothing of this face's, as far as this client knows. */
static bool serve_site(struct upnp_control *control, struct http_exchange *exchange,
		       const struct http_request *request, const struct igd_site *site)
{
	bool legacy = http_agent_is_legacy(request->headers->user_agent);
	const struct igd_service *service =
		igd_site_find_control(site, request->path, legacy);
	const struct xmldoc *document;

	if (service) {
		serve_control(control, exchange, request, site, service);
		return true;
	}
	document = igd_site_find_document(site, request->path, legacy);
	if (document) {
		serve_bytes(exchange, request, UPNP_CONTENT_TYPE, document->bytes,
			    document->length);
		return true;
	}
	service = igd_site_find_event(site, request->path, legacy);
	if (service)
		upnp_events_serve(control->config.events, exchange, request, site,
				  service);
	return service != NULL;
}

static void on_http_request(void *user, struct http_exchange *exchange,
			    const struct http_request *request)
{
	struct upnp_control *control = user;

	if (request->method == HTTP_UNKNOWN) {
		upnp_answer_status(exchange, 501, NULL);
		return;
	}
	if (strcmp(request->path, "/") == 0) {
		serve_page(exchange, request);
		return;
	}
	for (size_t i = 0; i < control->config.site_count; i++) {
		const struct igd_site *site = control->config.sites[i];

		if ((request->lan->igd & site->face->bit) &&
		    serve_site(control, exchange, request, site))
			return;
	}
	upnp_answer_status(exchange, 404, NULL);
}

static void on_http_closed(void *user, struct http_exchange *exchange)
{
	struct upnp_pending *pending = http_exchange_get_context(exchange);

	if (pending)
		(void)pending_end(user, pending);
}

/* GENA-6: only what is subscribed to waits for its answer to be gone. */
static void on_http_sent(void *user, uint64_t tag)
{
	const struct upnp_control *control = user;

	upnp_events_take_sent(control->config.events, tag);
}

const struct http_handler *upnp_control_get_handler(void)
{
	static const struct http_handler handler = {
		.request = on_http_request,
		.closed = on_http_closed,
		.sent = on_http_sent,
	};

	return &handler;
}

struct upnp_control *upnp_control_new(const struct upnp_control_config *config)
{
	struct upnp_control *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	control->config = *config;
	control->timer = evtimer_new(config->base, on_timer, control);
	if (!control->timer) {
		free(control);
		return NULL;
	}
	TAILQ_INIT(&control->waiting);
	TAILQ_INIT(&control->unused);
	for (size_t i = 0; i < UPNP_PENDING_MAX; i++) {
		control->slots[i].generation = 1;
		TAILQ_INSERT_TAIL(&control->unused, &control->slots[i], link);
	}
	return control;
}

void upnp_control_free(struct upnp_control *control)
{
	if (!control)
		return;
	event_free(control->timer);
	free(control);
}
