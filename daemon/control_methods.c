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

struct json_object *control_wrap(const char *name, struct json_object *value)
{
	struct json_object *object = value ? json_object_new_object() : NULL;

	if (object && varlink_add(object, name, value))
		return object;
	if (!object)
		json_object_put(value);
	json_object_put(object);
	return NULL;
}

void control_answer(struct control_client *client, struct json_object *parameters)
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

	control_answer(client, control_wrap("lease", report_lease_new(source->ledger,
								      lease, &at)));
}

void control_refuse(struct control_client *client, enum result result, const char *text)
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

void control_not_found(struct control_client *client, uint64_t id)
{
	struct json_object *number = json_object_new_int64((int64_t)id);

	control_method_send(client, varlink_error_new(CONTROL_ERROR_NOT_FOUND,
						      control_wrap("id", number)));
}

bool control_is_bad(struct control_client *client,
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
	control_answer(client,
		       control_wrap("status", source->status_new(source->user)));
}

bool control_add_lease(const struct control_source *source, struct json_object *array,
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
			ok = control_add_lease(source, array, lease, &at);
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
		control_wrap("leases", list_part_new(source, client, most));
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
		varlink_reply_new(control_wrap("ready", json_object_new_boolean(true)),
				  true));
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
						      control_wrap("interface", text)));
		return;
	}
	control_answer(client,
		       control_wrap("description",
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
	{CONTROL_ADD, true, control_method_add},
	{CONTROL_DELETE, true, control_method_delete},
	{CONTROL_RELOAD, true, control_method_reload},
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
						      control_wrap("method", name)));
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
		control_wrap("lease", report_lease_new(source->ledger, lease, &at));

	if (object &&
	    varlink_add_string(object, "event", lease_event_get_name(event)) &&
	    (event != LEASE_EVENT_DELETED ||
	     varlink_add_string(object, "why",
				lease_end_get_name(ledger_get_end(source->ledger)))))
		return varlink_reply_new(object, true);
	json_object_put(object);
	return NULL;
}
