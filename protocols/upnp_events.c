/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/upnp_events.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "protocols/gena.h"
#include "protocols/gena_client.h"
#include "protocols/gena_table.h"
#include "protocols/upnp_answer.h"

/* Room for the value of an evented variable; DefaultConnectionService is the longest.
 */
#define VALUE_SIZE 192

/* A service of a face on a LAN that somebody watches, and its values told last. */
struct upnp_topic {
	TAILQ_ENTRY(upnp_topic) link;
	const struct igd_site *site;
	const struct igd_service *service;
	const struct lan_info *lan;
	unsigned int users;
	size_t count;
	const struct igd_var *vars[UPNP_EVENTED_MAX];
	char values[UPNP_EVENTED_MAX][VALUE_SIZE];
};

struct upnp_events {
	struct upnp_events_config config;
	struct gena_client *client;
	struct gena_table table;
	TAILQ_HEAD(, upnp_topic) topics;
	struct event *timer; /* the lease table waits for its turn */
	int64_t table_ms;    /* when it had one */
	struct event *retry; /* of those that nothing has reached yet */
};

/* ---- values ---- */

static void read_value(const struct upnp_events *events, const struct upnp_topic *topic,
		       const struct igd_var *var, char value[VALUE_SIZE])
{
	const struct igd_context context = {
		.wan = events->config.wan,
		.lan = topic->lan,
		.default_connection = topic->site->default_connection,
		.table = events->config.table,
		.version = topic->service->version,
		.now_ms = clock_now_ms(),
	};
	struct writer writer = writer_init(value, VALUE_SIZE - 1);

	var->read(&context, &writer);
	value[writer.failed ? 0 : writer.used] = '\0';
}

/* Variables whose values differ from those told last, as bits. */
static uint32_t topic_read(const struct upnp_events *events, struct upnp_topic *topic)
{
	uint32_t changed = 0;

	for (size_t i = 0; i < topic->count; i++) {
		char value[VALUE_SIZE];

		read_value(events, topic, topic->vars[i], value);
		if (strcmp(value, topic->values[i]) == 0)
			continue;
		memcpy(topic->values[i], value, sizeof(value));
		changed |= UINT32_C(1) << i;
	}
	return changed;
}

/* Everyone who watches the topic is to learn of what has changed. */
static void topic_refresh(struct upnp_events *events, struct upnp_topic *topic)
{
	const uint32_t changed = topic_read(events, topic);
	struct gena_subscription *sub;

	if (changed == 0)
		return;
	TAILQ_FOREACH (sub, &events->table.list, link)
		if (sub->subscriber.subject == topic)
			sub->changed |= changed;
}

static void topic_find_vars(struct upnp_topic *topic)
{
	const struct igd_service *service = topic->service;

	for (size_t i = 0; i < service->var_count; i++) {
		const struct igd_var *var = &service->vars[i];

		if (var->evented && var->read && var->since <= service->version &&
		    topic->count < UPNP_EVENTED_MAX)
			topic->vars[topic->count++] = var;
	}
}

/* Owns: topic_release(). Errors: NULL (memory). */
static struct upnp_topic *topic_get(struct upnp_events *events,
				    const struct lan_info *lan,
				    const struct igd_site *site,
				    const struct igd_service *service)
{
	struct upnp_topic *topic;

	TAILQ_FOREACH (topic, &events->topics, link)
		if (topic->lan == lan && topic->site == site &&
		    topic->service == service) {
			topic->users++;
			return topic;
		}
	topic = calloc(1, sizeof(*topic));
	if (!topic)
		return NULL;
	topic->lan = lan;
	topic->site = site;
	topic->service = service;
	topic->users = 1;
	topic_find_vars(topic);
	(void)topic_read(events, topic);
	TAILQ_INSERT_TAIL(&events->topics, topic, link);
	return topic;
}

/* One less that watches it. */
static void topic_release(struct upnp_events *events, struct upnp_topic *topic)
{
	if (--topic->users > 0)
		return;
	TAILQ_REMOVE(&events->topics, topic, link);
	free(topic);
}

/* ---- subscriptions ---- */

static void subscription_drop(struct upnp_events *events, struct gena_subscription *sub)
{
	struct upnp_topic *topic = sub->subscriber.subject;

	gena_client_cancel(events->client, sub->id);
	gena_table_remove(&events->table, sub);
	topic_release(events, topic);
}

static void drop_expired(struct upnp_events *events, int64_t now_ms)
{
	struct gena_subscription *sub;

	while ((sub = gena_table_find_expired(&events->table, now_ms)))
		subscription_drop(events, sub);
}

/* Errors: false, memory. */
static bool write_body(const struct upnp_topic *topic, uint32_t mask,
		       struct xmldoc *out)
{
	struct gena_property properties[UPNP_EVENTED_MAX];
	size_t count = 0;

	for (size_t i = 0; i < topic->count; i++)
		if (mask & UINT32_C(1) << i)
			properties[count++] = (struct gena_property){
				topic->vars[i]->name, topic->values[i]};
	return gena_write_body(properties, count, out);
}

/* The event under way has ended. Returns false when its subscription has, too. */
static bool subscription_end(struct upnp_events *events, struct gena_subscription *sub,
			     enum gena_outcome outcome)
{
	const struct timeval delay = {.tv_sec = GENA_RETRY_MS / 1000};

	if (gena_subscription_end(sub, outcome)) {
		subscription_drop(events, sub);
		return false;
	}
	if (gena_subscription_is_unheard(sub) &&
	    !event_pending(events->retry, EV_TIMEOUT, NULL))
		event_add(events->retry, &delay);
	return true;
}

/* The next event of a subscription that is due, with the values of now (GENA-9). */
static void subscription_send(struct upnp_events *events, struct gena_subscription *sub)
{
	struct upnp_topic *topic = sub->subscriber.subject;
	struct gena_event event = {
		.tag = sub->id,
		.subscriber = &sub->subscriber,
		.callback = &sub->callback,
		.sid = sub->sid,
	};
	uint32_t mask;

	topic_refresh(events, topic);
	event.delay_ms = sub->told ? 0 : UPNP_FIRST_EVENT_DELAY_MS;
	mask = gena_subscription_begin(sub, &event.seq);
	memcpy(event.device, topic->lan->name, sizeof(event.device));
	if (write_body(topic, mask, &event.body) &&
	    gena_client_deliver(events->client, &event) == 0)
		return;
	log_debug("no memory for an event");
	(void)subscription_end(events, sub, GENA_FAILED);
}

static void send_due(struct upnp_events *events)
{
	const int64_t now_ms = clock_now_ms();
	struct gena_subscription *sub = TAILQ_FIRST(&events->table.list);

	while (sub) {
		struct gena_subscription *next = TAILQ_NEXT(sub, link);

		if (gena_subscription_is_due(sub, now_ms))
			subscription_send(events, sub);
		sub = next;
	}
}

static void flush(struct upnp_events *events)
{
	struct upnp_topic *topic;

	drop_expired(events, clock_now_ms());
	TAILQ_FOREACH (topic, &events->topics, link)
		topic_refresh(events, topic);
	send_due(events);
}

static void on_done(void *user, uint64_t tag, enum gena_outcome outcome)
{
	struct upnp_events *events = user;
	struct gena_subscription *sub = gena_table_find_id(&events->table, tag);

	if (sub && subscription_end(events, sub, outcome) &&
	    gena_subscription_is_due(sub, clock_now_ms()))
		subscription_send(events, sub);
}

static void on_retry(evutil_socket_t fd, short what, void *user)
{
	struct upnp_events *events = user;
	struct gena_subscription *sub;

	(void)fd;
	(void)what;
	TAILQ_FOREACH (sub, &events->table.list, link)
		if (gena_subscription_is_unheard(sub))
			gena_subscription_retry(sub);
	send_due(events);
}

/* ---- requests ---- */

/* tag: not 0 where the first event waits for the answer. */
static void answer_granted(struct http_exchange *exchange,
			   const struct gena_subscription *sub, uint32_t timeout_s,
			   uint64_t tag)
{
	struct http_answer answer = {.status = 200, .tag = tag};

	answer.fields[0].name = "SID";
	(void)snprintf(answer.fields[0].value, HTTP_FIELD_SIZE, "%s", sub->sid);
	answer.fields[1].name = "TIMEOUT";
	(void)snprintf(answer.fields[1].value, HTTP_FIELD_SIZE, "Second-%u", timeout_s);
	http_exchange_answer(exchange, &answer);
}

static void subscribe(struct upnp_events *events, struct http_exchange *exchange,
		      const struct gena_call *call,
		      const struct gena_subscriber *subscriber)
{
	struct upnp_topic *topic = subscriber->subject;
	struct gena_subscription *sub = NULL;
	uint8_t random[16];

	if (getrandom(random, sizeof(random), 0) == (ssize_t)sizeof(random))
		sub = gena_table_add(&events->table, call, subscriber, random,
				     clock_now_ms());
	if (!sub) {
		upnp_answer_status(exchange, 503, NULL);
		return;
	}
	topic->users++;
	answer_granted(exchange, sub, call->timeout_s, sub->id);
}

/* GENA-3, GENA-4: of an own subscription to this very service, else 412 */
static void change(struct upnp_events *events, struct http_exchange *exchange,
		   const struct gena_call *call,
		   const struct gena_subscriber *subscriber)
{
	const int64_t now_ms = clock_now_ms();
	struct gena_subscription *sub =
		gena_table_find(&events->table, call->sid, subscriber, now_ms);

	if (!sub) {
		upnp_answer_status(exchange, 412, NULL);
	} else if (call->kind == GENA_RENEW) {
		gena_subscription_renew(sub, call->timeout_s, now_ms);
		answer_granted(exchange, sub, call->timeout_s, 0);
	} else {
		if (gena_subscription_leave(sub))
			subscription_drop(events, sub);
		upnp_answer_status(exchange, 200, NULL);
	}
}

static uint16_t parse_subscriber(const struct http_request *request,
				 struct gena_call *call, struct gena_subscriber *out)
{
	const struct ip_addr *local =
		lan_info_get_address_for(request->lan, &request->client);
	uint16_t status = gena_parse_call(request->method, request->headers,
					  &request->client, call);

	if (status || !local)
		return status ? status : 503;
	out->host = request->client;
	out->local = *local;
	out->ifindex = request->lan->ifindex;
	return 0;
}

void upnp_events_serve(struct upnp_events *events, struct http_exchange *exchange,
		       const struct http_request *request, const struct igd_site *site,
		       const struct igd_service *service)
{
	struct gena_subscriber subscriber;
	struct upnp_topic *topic = NULL;
	struct gena_call call;
	uint16_t status;

	if (request->method != HTTP_SUBSCRIBE && request->method != HTTP_UNSUBSCRIBE) {
		upnp_answer_status(exchange, 405, "SUBSCRIBE, UNSUBSCRIBE");
		return;
	}
	drop_expired(events, clock_now_ms());
	status = parse_subscriber(request, &call, &subscriber);
	if (!status)
		topic = topic_get(events, request->lan, site, service);
	if (!topic) {
		upnp_answer_status(exchange, status ? status : 503, NULL);
		return;
	}
	subscriber.subject = topic;
	if (call.kind == GENA_SUBSCRIBE)
		subscribe(events, exchange, &call, &subscriber);
	else
		change(events, exchange, &call, &subscriber);
	topic_release(events, topic);
}

void upnp_events_take_sent(struct upnp_events *events, uint64_t tag)
{
	struct gena_subscription *sub = gena_table_find_id(&events->table, tag);

	if (!sub)
		return;
	sub->answered = true;
	if (gena_subscription_is_due(sub, clock_now_ms()))
		subscription_send(events, sub);
}

/* ---- what core says ---- */

void upnp_events_take_wan(struct upnp_events *events)
{
	flush(events);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct upnp_events *events = user;

	(void)fd;
	(void)what;
	events->table_ms = clock_now_ms();
	flush(events);
}

/* A busy table changes more often than anybody wants to hear of. */
void upnp_events_take_table(struct upnp_events *events)
{
	const int64_t now_ms = clock_now_ms();
	const int64_t wait_ms = events->table_ms + UPNP_TABLE_INTERVAL_MS - now_ms;
	const struct timeval delay = {.tv_usec = (suseconds_t)(wait_ms * 1000)};

	if (TAILQ_EMPTY(&events->table.list) ||
	    event_pending(events->timer, EV_TIMEOUT, NULL))
		return;
	if (wait_ms > 0) {
		event_add(events->timer, &delay);
		return;
	}
	events->table_ms = now_ms;
	flush(events);
}

static bool is_served(const struct gena_subscription *sub, const struct lan_info *lan)
{
	const struct upnp_topic *topic = sub->subscriber.subject;

	return lan->ifindex == sub->subscriber.ifindex &&
	       (lan->protocols & LAN_PROTOCOL_UPNP) &&
	       (lan->igd & topic->site->face->bit) &&
	       lan_info_has_address(lan, &sub->subscriber.local) &&
	       lan_info_has_host(lan, &sub->subscriber.host);
}

/* AF_UNSPEC: whoever is not served any more; else also all of that family. */
static void drop_of_lan(struct upnp_events *events, const struct lan_info *lan,
			int family)
{
	struct gena_subscription *sub = TAILQ_FIRST(&events->table.list);

	while (sub) {
		struct gena_subscription *next = TAILQ_NEXT(sub, link);
		const struct upnp_topic *topic = sub->subscriber.subject;
		const bool ipv4 = addr_is_ipv4(&sub->subscriber.host);

		if (topic->lan == lan &&
		    (family == (ipv4 ? AF_INET : AF_INET6) || !is_served(sub, lan)))
			subscription_drop(events, sub);
		sub = next;
	}
}

void upnp_events_end(struct upnp_events *events, const struct lan_info *lan, int family)
{
	drop_of_lan(events, lan, family);
}

void upnp_events_take_lan(struct upnp_events *events, const struct lan_info *lan)
{
	drop_of_lan(events, lan, AF_UNSPEC);
	flush(events);
}

/* ---- life ---- */

struct upnp_events *upnp_events_new(const struct upnp_events_config *config)
{
	struct upnp_events *events = calloc(1, sizeof(*events));
	struct gena_client_config client = {
		.base = config->base,
		.timeout_ms = config->delivery_timeout_ms,
		.done = on_done,
		.user = events,
	};

	if (!events)
		return NULL;
	events->config = *config;
	events->table_ms = clock_now_ms() - UPNP_TABLE_INTERVAL_MS;
	gena_table_init(&events->table);
	TAILQ_INIT(&events->topics);
	events->client = gena_client_new(&client);
	events->timer = evtimer_new(config->base, on_timer, events);
	events->retry = evtimer_new(config->base, on_retry, events);
	if (!events->client || !events->timer || !events->retry) {
		upnp_events_free(events);
		return NULL;
	}
	return events;
}

void upnp_events_free(struct upnp_events *events)
{
	struct upnp_topic *topic;

	if (!events)
		return;
	gena_client_free(events->client);
	gena_table_fini(&events->table);
	topic = TAILQ_FIRST(&events->topics);
	while (topic) {
		struct upnp_topic *next = TAILQ_NEXT(topic, link);

		free(topic);
		topic = next;
	}
	if (events->timer)
		event_free(events->timer);
	if (events->retry)
		event_free(events->retry);
	free(events);
}
