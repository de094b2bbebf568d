/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The methods of the control socket that change something: Add, Delete and Reload. */
#include <json-c/json.h>
#include <string.h>

#include "base/buf.h"
#include "base/control.h"
#include "daemon/control_methods.h"
#include "daemon/moment.h"
#include "daemon/report.h"
#include "daemon/table.h"

/* --- what ends by a call --- */

static bool gather_begin(struct control_client *client)
{
	client->ended = json_object_new_array();
	return client->ended != NULL;
}

/* Owns: the caller has it now. */
static struct json_object *gather_end(struct control_client *client)
{
	struct json_object *ended = client->ended;

	client->ended = NULL;
	return ended;
}

static void control_no_client(struct control_client *client, const char *host)
{
	struct json_object *text = json_object_new_string(host);

	control_method_send(client, varlink_error_new(CONTROL_ERROR_NOT_FOUND,
						      control_wrap("client", text)));
}

/* --- Delete --- */

static void delete_one(const struct control_source *source,
		       struct control_client *client, uint64_t id)
{
	struct store_time at = moment_now();
	struct json_object *answer, *leases;
	struct lease ended;
	enum result result;

	if (!gather_begin(client)) {
		client->broken = true;
		return;
	}
	result = ledger_end(source->ledger, id, &at, &ended);
	leases = gather_end(client);
	if (result == RESULT_OK) {
		/* with it the others of its set */
		answer = control_wrap("lease",
				      report_lease_new(source->ledger, &ended, &at));
		if (answer && !varlink_add(answer, "leases", leases)) {
			json_object_put(answer);
			answer = NULL;
		} else if (!answer) {
			json_object_put(leases);
		}
		control_answer(client, answer);
		return;
	}
	json_object_put(leases);
	if (result == RESULT_NO_ENTRY)
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

/* Static ones are the owner's own. */
static void host_leases_take(struct host_leases *leases, const struct lease *lease)
{
	if (lease->origin == ORIGIN_STATIC)
		return;
	leases->total++;
	if (leases->count < CONTROL_LEASES_PER_REPLY)
		leases->ids[leases->count++] = lease->id;
}

/* Those it has, and those it asked for; nobody else's is looked at. */
static void host_leases_find(const struct table *table, const struct ip_addr *host,
			     struct host_leases *out)
{
	const struct lease *lease = table_get_first_of_home(table, host);

	out->total = out->count = 0;
	for (; lease; lease = table_get_next_of_home(table, lease))
		host_leases_take(out, lease);
	lease = table_get_first_of_client(table, host);
	for (; lease; lease = table_get_next_of_client(table, lease))
		if (!addr_equal(&lease->internal, host))
			host_leases_take(out, lease);
}

/* All that ended, as they were; *result = why not all. NULL = no memory. A set ends as
 * one, so these may be some more than an answer shall hold. */
static struct json_object *host_leases_end(const struct control_source *source,
					   struct control_client *client,
					   const struct host_leases *leases,
					   enum result *result)
{
	struct store_time at = moment_now();
	struct lease last;

	if (!gather_begin(client))
		return NULL;
	for (size_t i = 0;
	     i < leases->count &&
	     json_object_array_length(client->ended) < CONTROL_LEASES_PER_REPLY;
	     i++) {
		*result = ledger_end(source->ledger, leases->ids[i], &at, &last);
		if (*result != RESULT_OK && *result != RESULT_NO_ENTRY)
			break;
	}
	return gather_end(client);
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
	array = host_leases_end(source, client, &leases, &result);
	ended = array ? json_object_array_length(array) : 0;
	if (array && ended == 0) {
		json_object_put(array);
		control_refuse(client, result, "the firewall did not take the change");
		return;
	}
	answer = control_wrap("leases", array);
	if (answer &&
	    varlink_add_int(answer, "left", (int64_t)(leases.total - ended))) {
		control_answer(client, answer);
		return;
	}
	json_object_put(answer);
	client->broken = true;
}

void control_method_delete(const struct control_source *source,
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

/* --- Add --- */

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
	if (remote[0] != '\0' && !addr_parse(remote, &request->remote))
		return "remote";
	/* a pinhole is at the port it is for; else the planner finds one */
	if (request->external_port == 0 && !addr_is_ipv4(&request->internal))
		request->external_port = request->internal_port;
	request->client = request->internal;
	text_copy_clean(request->description, sizeof(request->description), description,
			strlen(description));
	return NULL;
}

/* Why this may not be, in words; NULL = it may. */
static const char *add_check(const struct request *request, enum result *result)
{
	bool ipv4 = addr_is_ipv4(&request->internal);

	*result = RESULT_BAD_CLIENT;
	/* PCP-95 */
	if (addr_is_link_local(&request->internal))
		return "a link-local address cannot be reached from the internet; give "
		       "another address of the host";
	if (request->lan == LANS_MAX)
		return "the internal address is not a host of any LAN";
	if (!addr_is_none(&request->remote) && addr_is_ipv4(&request->remote) != ipv4)
		return ipv4 ? "the remote host is IPv6 and the internal address IPv4: "
			      "they never meet"
			    : "the remote host is IPv4 and the internal address IPv6: "
			      "they never meet";
	*result = RESULT_BAD_PORT;
	if (!ipv4 && request->external_port != request->internal_port)
		return "an IPv6 pinhole cannot change the port";
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

/* Is the lease of that id among them? */
static bool leases_have(struct json_object *leases, uint64_t id)
{
	for (size_t i = 0; i < json_object_array_length(leases); i++) {
		struct json_object *lease = json_object_array_get_idx(leases, i);

		if ((uint64_t)json_object_get_int64(
			    json_object_object_get(lease, "id")) == id)
			return true;
	}
	return false;
}

/* Decide; what was there before, and what ended for it, goes to client->ended. */
static void add_decide(const struct control_source *source,
		       struct control_client *client, const struct request *request,
		       struct reply *reply)
{
	const struct table *table = ledger_get_table(source->ledger);
	struct lease like = {.protocol = request->protocol,
			     .internal = request->internal,
			     .external_port = request->external_port,
			     .remote = request->remote};
	const struct lease *lease = table_get_by_external(table, &like);
	struct store_time at = moment_now();
	struct lease before = {0};
	struct lease_room room;

	if (lease)
		before = *lease;
	lease_keep_extra(&before, &room);
	ledger_decide(source->ledger, request, 1, reply, &at);
	if (lease && reply->result == RESULT_OK &&
	    !leases_have(client->ended, before.id) &&
	    !control_add_lease(source, client->ended, &before, &at))
		client->broken = true;
}

/* The lease there is now, and those it took the place of. Owns: takes replaced. */
static void add_answer(const struct control_source *source,
		       struct control_client *client, const struct lease *lease,
		       struct json_object *replaced)
{
	struct store_time at = moment_now();
	struct json_object *answer =
		control_wrap("lease", report_lease_new(source->ledger, lease, &at));

	if (answer && json_object_array_length(replaced) > 0 &&
	    !varlink_add(answer, "replaced", json_object_get(replaced))) {
		json_object_put(answer);
		answer = NULL;
	}
	json_object_put(replaced);
	control_answer(client, answer);
}

void control_method_add(const struct control_source *source,
			struct control_client *client, const struct varlink_call *call,
			struct varlink_members *members)
{
	struct request request = {0};
	struct reply reply;
	struct lease like = {0};
	struct json_object *replaced;
	const struct lease *lease;
	const char *bad = add_read(members, &request);
	enum result result;

	(void)call;
	if (bad) {
		control_method_send(client, varlink_error_new_parameter(bad));
		return;
	}
	request.lan = find_lan_of(source->network, &request.internal);
	bad = add_check(&request, &result);
	if (bad) {
		control_refuse(client, result, bad);
		return;
	}
	if (!gather_begin(client)) {
		client->broken = true;
		return;
	}
	add_decide(source, client, &request, &reply);
	replaced = gather_end(client);
	if (reply.result != RESULT_OK) {
		json_object_put(replaced);
		control_refuse(client, (enum result)reply.result,
			       add_get_text((enum result)reply.result));
		return;
	}
	like.protocol = request.protocol;
	like.internal = request.internal;
	like.external_port = reply.external_port;
	like.remote = request.remote;
	lease = table_get_by_external(ledger_get_table(source->ledger), &like);
	if (lease) {
		add_answer(source, client, lease, replaced);
		return;
	}
	json_object_put(replaced);
	client->broken = true;
}

/* --- Reload --- */

void control_method_reload(const struct control_source *source,
			   struct control_client *client,
			   const struct varlink_call *call,
			   struct varlink_members *members)
{
	uint32_t serial;

	if (control_is_bad(client, members))
		return;
	serial = source->reload(source->user);
	/* its next call is done when this one is answered */
	if (!call->oneway)
		client->reload = serial;
}

void control_method_reloaded(struct control_client *client,
			     const struct control_reload *reload)
{
	struct json_object *object;

	if (reload->error) {
		object = control_wrap("text", json_object_new_string(reload->error));
		control_method_send(
			client, varlink_error_new(CONTROL_ERROR_CONFIGURATION, object));
		return;
	}
	object = json_object_new_object();
	if (object && varlink_add_bool(object, "changed", reload->changed) &&
	    varlink_add_int(object, "ended", (int64_t)reload->ended) &&
	    varlink_add_int(object, "left", (int64_t)reload->left) &&
	    varlink_add_string(object, "restart", reload->restart)) {
		control_answer(client, object);
		return;
	}
	json_object_put(object);
	client->broken = true;
}
