/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/control_methods.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/control.h"
#include "daemon/moment.h"
#include "daemon/report.h"
#include "daemon/table.h"

/* A watcher or lister that reads more slowly than this much waits is cut off. */
#define CONTROL_OUTPUT_MAX ((size_t)4 * 1024 * 1024)

void control_method_send(struct control_client *client, struct json_object *message)
{
	size_t length;
	const char *text = varlink_serialize(message, &length);

	if (client->oneway) {
		json_object_put(message);
		return;
	}
	if (!text || bufferevent_write(client->stream, text, length) != 0)
		client->broken = true;
	json_object_put(message);
	if (evbuffer_get_length(bufferevent_get_output(client->stream)) >
	    CONTROL_OUTPUT_MAX)
		client->broken = true;
}

/* {"name": value}. Owns: takes value. Errors: NULL; also when value is NULL. */
static struct json_object *wrap_new(const char *name, struct json_object *value)
{
	struct json_object *object = value ? json_object_new_object() : NULL;

	if (object && varlink_add(object, name, value))
		return object;
	if (!object)
		json_object_put(value);
	json_object_put(object);
	return NULL;
}

/* A success with these parameters, or, when they are NULL, no memory: the connection
 * ends. */
static void control_answer(struct control_client *client,
			   struct json_object *parameters)
{
	if (parameters)
		control_method_send(client, varlink_reply_new(parameters, false));
	else
		client->broken = true;
}

static void control_answer_lease(const struct control_source *source,
				 struct control_client *client,
				 const struct lease *lease)
{
	struct store_time at = moment_now();

	control_answer(client,
		       wrap_new("lease", report_lease_new(source->ledger, lease, &at)));
}

static void control_refuse(struct control_client *client, enum result result,
			   const char *text)
{
	struct json_object *parameters = json_object_new_object();

	if (parameters &&
	    varlink_add_string(parameters, "result", result_get_name(result)) &&
	    varlink_add_string(parameters, "text", text))
		control_method_send(
			client, varlink_error_new(CONTROL_ERROR_REFUSED, parameters));
	else
		client->broken = true;
}

static void control_not_found(struct control_client *client, uint64_t id)
{
	struct json_object *number = json_object_new_int64((int64_t)id);

	control_method_send(client, varlink_error_new(CONTROL_ERROR_NOT_FOUND,
						      wrap_new("id", number)));
}

static void control_no_client(struct control_client *client, const char *host)
{
	struct json_object *text = json_object_new_string(host);

	control_method_send(client, varlink_error_new(CONTROL_ERROR_NOT_FOUND,
						      wrap_new("client", text)));
}

/* True when a bad parameter has been answered. */
static bool control_is_bad(struct control_client *client,
			   const struct varlink_members *members)
{
	const char *bad = varlink_members_finish(members);

	if (bad)
		control_method_send(client, varlink_error_new_parameter(bad));
	return bad != NULL;
}

/* --- methods --- */

static void method_status(const struct control_source *source,
			  struct control_client *client,
			  const struct varlink_call *call,
			  struct varlink_members *members)
{
	(void)call;
	if (control_is_bad(client, members))
		return;
	control_answer(client, wrap_new("status", source->status_new(source->user)));
}

static bool list_add(const struct control_source *source, struct json_object *array,
		     const struct lease *lease, const struct store_time *at)
{
	struct json_object *item = report_lease_new(source->ledger, lease, at);

	if (item && json_object_array_add(array, item) == 0)
		return true;
	json_object_put(item);
	return false;
}

/* The next leases of the List, at most `most`; NULL = out of memory. */
static struct json_object *list_part_new(const struct control_source *source,
					 struct control_client *client, size_t most)
{
	const struct table *table = ledger_get_table(source->ledger);
	struct store_time at = moment_now();
	struct json_object *array = json_object_new_array();
	bool ok = array != NULL;

	while (ok && most-- > 0 && client->list_at < client->list_count) {
		const struct lease *lease =
			table_get_by_id(table, client->list_ids[client->list_at++]);

		if (lease) /* else it has ended meanwhile */
			ok = list_add(source, array, lease, &at);
	}
	if (ok)
		return array;
	json_object_put(array);
	return NULL;
}

static void list_send(const struct control_source *source,
		      struct control_client *client, size_t most)
{
	struct json_object *leases =
		wrap_new("leases", list_part_new(source, client, most));
	bool goes_on = client->list_at < client->list_count;

	if (leases)
		control_method_send(client, varlink_reply_new(leases, goes_on));
	else
		client->broken = true;
	if (goes_on)
		return;
	free(client->list_ids);
	client->list_ids = NULL;
}

void control_method_list_more(const struct control_source *source,
			      struct control_client *client)
{
	list_send(source, client, CONTROL_LEASES_PER_REPLY);
}

static void method_list(const struct control_source *source,
			struct control_client *client, const struct varlink_call *call,
			struct varlink_members *members)
{
	const struct table *table = ledger_get_table(source->ledger);
	const struct lease *lease = NULL;

	if (control_is_bad(client, members))
		return;
	client->list_count = table_get_count(table);
	/* one answer must stay small enough to make while others wait */
	if (!call->more && client->list_count > CONTROL_LEASES_PER_REPLY) {
		control_method_send(
			client, varlink_error_new(VARLINK_ERROR_EXPECTED_MORE, NULL));
		return;
	}
	client->list_at = 0;
	client->list_ids = calloc(client->list_count + 1, sizeof(*client->list_ids));
	if (!client->list_ids) {
		client->broken = true;
		return;
	}
	for (size_t i = 0; (lease = table_get_next(table, lease)); i++)
		client->list_ids[i] = lease->id;
	list_send(source, client, CONTROL_LEASES_PER_REPLY);
}

static void method_show(const struct control_source *source,
			struct control_client *client, const struct varlink_call *call,
			struct varlink_members *members)
{
	uint64_t id = (uint64_t)varlink_get_int(members, "id", 0, INT64_MAX);
	const struct lease *lease;

	(void)call;
	if (control_is_bad(client, members))
		return;
	lease = table_get_by_id(ledger_get_table(source->ledger), id);
	if (lease)
		control_answer_lease(source, client, lease);
	else
		control_not_found(client, id);
}

static void method_watch(const struct control_source *source,
			 struct control_client *client, const struct varlink_call *call,
			 struct varlink_members *members)
{
	(void)source;
	if (control_is_bad(client, members))
		return;
	if (!call->more) {
		control_method_send(
			client, varlink_error_new(VARLINK_ERROR_EXPECTED_MORE, NULL));
		return;
	}
	client->watching = true;
	control_method_send(
		client,
		varlink_reply_new(wrap_new("ready", json_object_new_boolean(true)),
				  true));
}

static void delete_one(const struct control_source *source,
		       struct control_client *client, uint64_t id)
{
	struct store_time at = moment_now();
	struct lease ended;
	enum result result = ledger_end(source->ledger, id, &at, &ended);

	if (result == RESULT_OK)
		control_answer_lease(source, client, &ended);
	else if (result == RESULT_NO_ENTRY)
		control_not_found(client, id);
	else
		control_refuse(client, result, "the firewall did not take the change");
}

/* Some leases of a host that are to end; it may have more. */
struct host_leases {
	size_t total;
	size_t count;
	uint64_t ids[CONTROL_LEASES_PER_REPLY];
};

/* Those it has, and those it asked for; static ones are the owner's own. */
static bool lease_is_of_host(const struct lease *lease, const struct ip_addr *host)
{
	return lease->origin != ORIGIN_STATIC &&
	       (addr_equal(&lease->internal, host) || addr_equal(&lease->client, host));
}

static void host_leases_find(const struct table *table, const struct ip_addr *host,
			     struct host_leases *out)
{
	const struct lease *lease = NULL;

	out->total = out->count = 0;
	while ((lease = table_get_next(table, lease))) {
		if (!lease_is_of_host(lease, host))
			continue;
		out->total++;
		if (out->count < CONTROL_LEASES_PER_REPLY)
			out->ids[out->count++] = lease->id;
	}
}

/* As they are before any ends: one may end with others of its set. NULL = no memory. */
static struct json_object *host_leases_new(const struct control_source *source,
					   const struct host_leases *leases)
{
	const struct table *table = ledger_get_table(source->ledger);
	struct json_object *array = json_object_new_array();
	struct store_time at = moment_now();
	bool ok = array != NULL;

	for (size_t i = 0; ok && i < leases->count; i++)
		ok = list_add(source, array, table_get_by_id(table, leases->ids[i]),
			      &at);
	if (ok)
		return array;
	json_object_put(array);
	return NULL;
}

/* How many ended, and why not all. */
static size_t host_leases_end(const struct control_source *source,
			      const struct host_leases *leases, enum result *result)
{
	struct store_time at = moment_now();
	struct lease last;
	size_t ended = 0;

	for (; ended < leases->count; ended++) {
		*result = ledger_end(source->ledger, leases->ids[ended], &at, &last);
		if (*result != RESULT_OK && *result != RESULT_NO_ENTRY)
			break;
	}
	return ended;
}

/*
 * All leases of a host, for who knows that it is gone (PCP-71). A bounded number, so
 * that nobody waits; `left` says how many there still are.
 */
static void delete_of_host(const struct control_source *source,
			   struct control_client *client, const char *text,
			   const struct ip_addr *host)
{
	struct host_leases leases;
	struct json_object *array, *answer;
	enum result result = RESULT_OK;
	size_t ended;

	host_leases_find(ledger_get_table(source->ledger), host, &leases);
	if (leases.count == 0) {
		control_no_client(client, text);
		return;
	}
	array = host_leases_new(source, &leases);
	ended = array ? host_leases_end(source, &leases, &result) : 0;
	if (array && ended == 0) {
		json_object_put(array);
		control_refuse(client, result, "the firewall did not take the change");
		return;
	}
	if (ended < leases.count && array)
		(void)json_object_array_del_idx(array, ended, leases.count - ended);
	answer = wrap_new("leases", array);
	if (answer &&
	    varlink_add_int(answer, "left", (int64_t)(leases.total - ended))) {
		control_answer(client, answer);
		return;
	}
	json_object_put(answer);
	client->broken = true;
}

static void method_delete(const struct control_source *source,
			  struct control_client *client,
			  const struct varlink_call *call,
			  struct varlink_members *members)
{
	int64_t id = varlink_get_int_or(members, "id", 0, INT64_MAX, -1);
	const char *text = varlink_get_string_or(members, "client", NULL);
	struct ip_addr host;

	(void)call;
	if (control_is_bad(client, members))
		return;
	if ((id < 0) == (text == NULL))
		control_method_send(client, varlink_error_new_parameter("id"));
	else if (!text)
		delete_one(source, client, (uint64_t)id);
	else if (addr_parse(text, &host) && !addr_is_none(&host))
		delete_of_host(source, client, text, &host);
	else
		control_method_send(client, varlink_error_new_parameter("client"));
}

/* The LAN a host is on; LANS_MAX = none. */
static uint16_t find_lan_of(const struct network *network, const struct ip_addr *host)
{
	for (size_t i = 0; i < network->lan_count; i++)
		if (network->lans[i].ifindex != 0 &&
		    lan_info_has_host(&network->lans[i], host))
			return network->lans[i].lan;
	return LANS_MAX;
}

/* The name of the first member that is wrong, or NULL and the request filled in. */
static const char *add_read(struct varlink_members *members, struct request *request)
{
	const char *protocol = varlink_get_string(members, "protocol");
	const char *internal = varlink_get_string(members, "internal_address");
	const char *remote = varlink_get_string_or(members, "remote", "");
	const char *description = varlink_get_string_or(members, "description", "");
	const char *bad;

	request->op = REQUEST_ADD;
	request->origin = ORIGIN_STATIC;
	request->enabled = 1;
	request->internal_port =
		(uint16_t)varlink_get_int(members, "internal_port", 1, UINT16_MAX);
	request->external_port = (uint16_t)varlink_get_int_or(members, "external_port",
							      0, UINT16_MAX, 0);
	request->lifetime_s =
		(uint32_t)varlink_get_int_or(members, "lifetime_s", 0, UINT32_MAX, 0);
	bad = varlink_members_finish(members);
	if (bad)
		return bad;
	if (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0)
		return "protocol";
	request->protocol = protocol[0] == 't' ? IPPROTO_TCP : IPPROTO_UDP;
	if (!addr_parse(internal, &request->internal) ||
	    !addr_is_host(&request->internal))
		return "internal_address";
	if (remote[0] != '\0' &&
	    (!addr_parse(remote, &request->remote) ||
	     addr_is_ipv4(&request->remote) != addr_is_ipv4(&request->internal)))
		return "remote";
	/* a pinhole is at the port it is for; else the planner finds one */
	if (request->external_port == 0 && !addr_is_ipv4(&request->internal))
		request->external_port = request->internal_port;
	request->client = request->internal;
	text_copy_clean(request->description, sizeof(request->description), description,
			strlen(description));
	return NULL;
}

static const char *add_get_text(enum result result)
{
	if (result == RESULT_CONFLICT || result == RESULT_FOREIGN)
		return "the external port is taken by another lease, rests after one, "
		       "or "
		       "is used by the gateway itself";
	if (result == RESULT_BACKEND)
		return "the firewall did not take the change";
	return "the daemon refused it";
}

static void method_add(const struct control_source *source,
		       struct control_client *client, const struct varlink_call *call,
		       struct varlink_members *members)
{
	struct request request = {0};
	struct reply reply;
	struct store_time at = moment_now();
	struct lease like = {0};
	const struct lease *lease;
	const char *bad = add_read(members, &request);

	(void)call;
	if (bad) {
		control_method_send(client, varlink_error_new_parameter(bad));
		return;
	}
	request.lan = find_lan_of(source->network, &request.internal);
	if (request.lan == LANS_MAX) {
		control_refuse(client, RESULT_BAD_CLIENT,
			       "the internal address is not a host of any LAN");
		return;
	}
	if (!addr_is_ipv4(&request.internal) &&
	    request.external_port != request.internal_port) {
		control_refuse(client, RESULT_BAD_PORT,
			       "an IPv6 pinhole cannot change the port");
		return;
	}
	ledger_decide(source->ledger, &request, 1, &reply, &at);
	if (reply.result != RESULT_OK) {
		control_refuse(client, (enum result)reply.result,
			       add_get_text((enum result)reply.result));
		return;
	}
	like.protocol = request.protocol;
	like.internal = request.internal;
	like.external_port = reply.external_port;
	like.remote = request.remote;
	lease = table_get_by_external(ledger_get_table(source->ledger), &like);
	if (lease)
		control_answer_lease(source, client, lease);
	else
		client->broken = true;
}

static void method_info(const struct control_source *source,
			struct control_client *client, const struct varlink_call *call,
			struct varlink_members *members)
{
	struct json_object *object, *interfaces, *name;

	(void)source;
	(void)call;
	if (control_is_bad(client, members))
		return;
	object = json_object_new_object();
	interfaces = json_object_new_array();
	name = json_object_new_string(CONTROL_INTERFACE);
	if (interfaces && name && json_object_array_add(interfaces, name) == 0 &&
	    object && varlink_add_string(object, "vendor", "portreeve") &&
	    varlink_add_string(object, "product", "portreeved") &&
	    varlink_add_string(object, "version", PORTREEVE_VERSION) &&
	    varlink_add_string(object, "url", "") &&
	    varlink_add(object, "interfaces", json_object_get(interfaces))) {
		control_answer(client, object);
	} else {
		json_object_put(object);
		client->broken = true;
	}
	json_object_put(interfaces);
}

static void method_description(const struct control_source *source,
			       struct control_client *client,
			       const struct varlink_call *call,
			       struct varlink_members *members)
{
	const char *name = varlink_get_string(members, "interface");

	(void)source;
	(void)call;
	if (control_is_bad(client, members))
		return;
	if (strcmp(name, CONTROL_INTERFACE) != 0) {
		struct json_object *text = json_object_new_string(name);

		control_method_send(client,
				    varlink_error_new(VARLINK_ERROR_INTERFACE_NOT_FOUND,
						      wrap_new("interface", text)));
		return;
	}
	control_answer(client,
		       wrap_new("description",
				json_object_new_string(control_get_description())));
}

static const struct method {
	const char *name;
	bool admin;
	void (*call)(const struct control_source *source, struct control_client *client,
		     const struct varlink_call *call, struct varlink_members *members);
} methods[] = {
	{CONTROL_STATUS, false, method_status},
	{CONTROL_LIST, false, method_list},
	{CONTROL_SHOW, false, method_show},
	{CONTROL_WATCH, false, method_watch},
	{CONTROL_ADD, true, method_add},
	{CONTROL_DELETE, true, method_delete},
	{CONTROL_GET_INFO, false, method_info},
	{CONTROL_GET_DESCRIPTION, false, method_description},
};

static const struct method *method_find(const char *name)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}

void control_method_call(const struct control_source *source,
			 struct control_client *client, const struct varlink_call *call)
{
	const struct method *method = method_find(call->method);
	struct varlink_members members = varlink_members_init(call->parameters);

	client->oneway = call->oneway;
	if (!method) {
		struct json_object *name = json_object_new_string(call->method);

		control_method_send(client,
				    varlink_error_new(VARLINK_ERROR_METHOD_NOT_FOUND,
						      wrap_new("method", name)));
	} else if (method->admin && !client->admin) {
		control_method_send(client,
				    varlink_error_new(CONTROL_ERROR_PERMISSION, NULL));
	} else if (method->admin || !call->oneway) {
		/* an answer that nobody wants is not made */
		method->call(source, client, call, &members);
	}
}

struct json_object *control_method_event_new(const struct control_source *source,
					     enum lease_event event,
					     const struct lease *lease)
{
	struct store_time at = moment_now();
	struct json_object *object =
		wrap_new("lease", report_lease_new(source->ledger, lease, &at));

	if (object &&
	    varlink_add_string(object, "event", lease_event_get_name(event)) &&
	    (event != LEASE_EVENT_DELETED ||
	     varlink_add_string(object, "why",
				lease_end_get_name(ledger_get_end(source->ledger)))))
		return varlink_reply_new(object, true);
	json_object_put(object);
	return NULL;
}
