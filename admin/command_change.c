/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "admin/client.h"
#include "admin/lease.h"
#include "admin/parse.h"
#include "base/addr.h"
#include "base/buf.h"
#include "base/console.h"
#include "base/control.h"

static enum exit_code report_memory(struct json_object *parameters)
{
	json_object_put(parameters);
	admin_report("out of memory");
	return EXIT_CODE_ERROR;
}

/** What is done with the lease that a method answers. */
enum shape {
	SHAPE_ALL,
	SHAPE_ADDED,
	SHAPE_DELETED,
	SHAPE_REPLACED,
};

static void print_lease(const struct options *options, const struct lease_view *lease,
			enum shape shape)
{
	switch (shape) {
	case SHAPE_ALL:
		lease_print_all(lease, stdout, options->color);
		return;
	case SHAPE_ADDED:
		(void)printf("added %" PRId64 ": ", lease->id);
		break;
	case SHAPE_DELETED:
		(void)printf("deleted %" PRId64 ": ", lease->id);
		break;
	case SHAPE_REPLACED:
		(void)printf("replaced %" PRId64 ": ", lease->id);
		break;
	}
	lease_print_line(lease, stdout);
	(void)fputs("\n", stdout);
}

/** An array of leases of an answer, one line for each; NULL = there is none. */
static enum exit_code print_leases(const struct options *options,
				   struct json_object *leases, enum shape shape)
{
	size_t count = leases == NULL ? 0 : json_object_array_length(leases);

	for (size_t i = 0; i < count; i++) {
		struct lease_view lease;

		if (!lease_read(json_object_array_get_idx(leases, i), &lease))
			return EXIT_CODE_ERROR;
		print_lease(options, &lease, shape);
	}
	return EXIT_CODE_OK;
}

/** Ids that an earlier answer said had ended, with others of their set. */
struct ended_ids {
	int64_t *ids;
	size_t count;
};

static bool ended_ids_have(const struct ended_ids *ended, int64_t id)
{
	for (size_t i = 0; i < ended->count; i++)
		if (ended->ids[i] == id)
			return true;
	return false;
}

static bool ended_ids_add(struct ended_ids *ended, struct json_object *leases)
{
	size_t count = json_object_array_length(leases);
	int64_t *ids = realloc(ended->ids, (ended->count + count + 1) * sizeof(*ids));

	if (ids == NULL)
		return false;
	ended->ids = ids;
	for (size_t i = 0; i < count; i++) {
		struct json_object *id = json_object_object_get(
			json_object_array_get_idx(leases, i), "id");

		ids[ended->count++] = json_object_get_int64(id);
	}
	return true;
}

/** Older daemons do not say; NULL. */
static struct json_object *find_array(struct json_object *answer, const char *name)
{
	struct json_object *array;

	if (json_object_object_get_ex(answer, name, &array) &&
	    json_object_is_type(array, json_type_array))
		return array;
	return NULL;
}

/** Show the answer about one lease, and what else was done for it. */
static enum exit_code show_answer(const struct options *options,
				  struct json_object *answer, enum shape shape,
				  struct ended_ids *ended)
{
	struct varlink_members members = varlink_members_init(answer);
	struct json_object *leases = find_array(answer, "leases");
	struct json_object *replaced = find_array(answer, "replaced");
	enum exit_code code = EXIT_CODE_OK;
	struct lease_view lease;

	if (!lease_read(varlink_get_object(&members, "lease"), &lease))
		return EXIT_CODE_ERROR;
	if (leases != NULL && !ended_ids_add(ended, leases))
		return report_memory(NULL);
	if (options->json) {
		console_write_json(answer, stdout);
		return EXIT_CODE_OK;
	}
	if (leases != NULL && json_object_array_length(leases) > 1)
		code = print_leases(options, leases, shape);
	else
		print_lease(options, &lease, shape);
	return code == EXIT_CODE_OK ? print_leases(options, replaced, SHAPE_REPLACED)
				    : code;
}

/** What to call, and what becomes of its answer. */
struct question {
	const char *method;
	enum shape shape;
	struct ended_ids ended; /* filled in by answers */
};

/** Call a method that answers one lease, and show it. Owns: takes parameters. */
static enum exit_code ask_for_lease(struct client *client,
				    const struct options *options,
				    struct question *question,
				    struct json_object *parameters)
{
	struct varlink_reply reply;
	enum exit_code code = client_ask(client, question->method, parameters, &reply);

	if (code != EXIT_CODE_OK)
		return code;
	code = show_answer(options, reply.parameters, question->shape,
			   &question->ended);
	varlink_reply_fini(&reply);
	return code;
}

static bool ids_check(char *const *operands)
{
	uint64_t id;

	for (; *operands != NULL; operands++) {
		if (!parse_number(*operands, INT64_MAX, &id)) {
			admin_report("'%s' is no id of a lease; see portreeve list",
				     *operands);
			return false;
		}
	}
	return true;
}

/** The same method for each id; ends with the first failure, having tried them all. */
static enum exit_code ask_for_ids(const struct options *options, char *const *operands,
				  const char *method, enum shape shape)
{
	struct client *client = NULL;
	struct question question = {.method = method, .shape = shape};
	enum exit_code code, worst;

	if (!ids_check(operands))
		return EXIT_CODE_USAGE;
	worst = client_open(options, &client);
	if (worst != EXIT_CODE_OK)
		return worst;
	for (; *operands != NULL; operands++) {
		int64_t id = strtoll(*operands, NULL, 10);
		struct json_object *parameters;

		if (ended_ids_have(&question.ended, id))
			continue;
		parameters = json_object_new_object();
		if (parameters == NULL || !varlink_add_int(parameters, "id", id)) {
			worst = report_memory(parameters);
			break;
		}
		code = ask_for_lease(client, options, &question, parameters);
		if (worst == EXIT_CODE_OK)
			worst = code;
		if (code == EXIT_CODE_UNREACHABLE || code == EXIT_CODE_ERROR)
			break; /* the connection is of no use any more */
	}
	free(question.ended.ids);
	client_free(client);
	return worst;
}

enum exit_code command_show(const struct options *options, char *const *operands)
{
	return ask_for_ids(options, operands, CONTROL_SHOW, SHAPE_ALL);
}

/* ---- delete --client ---- */

/** Leases that have ended, shown one by one. */
static enum exit_code print_ended(const struct options *options,
				  struct json_object *leases)
{
	for (size_t i = 0; i < json_object_array_length(leases); i++) {
		struct json_object *object = json_object_array_get_idx(leases, i);
		struct lease_view lease;

		if (!lease_read(object, &lease))
			return EXIT_CODE_ERROR;
		if (options->json)
			(void)printf("{\"lease\":%s}\n",
				     json_object_to_json_string_ext(
					     object,
					     JSON_C_TO_STRING_PLAIN |
						     JSON_C_TO_STRING_NOSLASHESCAPE));
		else
			print_lease(options, &lease, SHAPE_DELETED);
	}
	return EXIT_CODE_OK;
}

/** Some leases of the host end; *left = how many it still has. */
static enum exit_code delete_part(struct client *client, const struct options *options,
				  int64_t *left)
{
	struct json_object *parameters = json_object_new_object(), *leases;
	struct varlink_members members;
	struct varlink_reply reply;
	enum exit_code code;

	if (parameters == NULL ||
	    !varlink_add_string(parameters, "client", options->client))
		return report_memory(parameters);
	code = client_ask(client, CONTROL_DELETE, parameters, &reply);
	if (code != EXIT_CODE_OK)
		return code;
	members = varlink_members_init(reply.parameters);
	leases = varlink_get_array(&members, "leases");
	*left = varlink_get_int(&members, "left", 0, INT64_MAX);
	if (members.failed != NULL) {
		admin_report("portreeved sent an answer without '%s'", members.failed);
		code = EXIT_CODE_ERROR;
	} else {
		code = print_ended(options, leases);
	}
	varlink_reply_fini(&reply);
	return code;
}

static enum exit_code delete_of_client(const struct options *options)
{
	struct client *client = NULL;
	struct ip_addr host;
	int64_t left = 1;
	enum exit_code code;

	if (!addr_parse(options->client, &host)) {
		admin_report("--client: '%s' is no address", options->client);
		return EXIT_CODE_USAGE;
	}
	code = client_open(options, &client);
	while (code == EXIT_CODE_OK && left > 0)
		code = delete_part(client, options, &left);
	client_free(client);
	return code;
}

enum exit_code command_delete(const struct options *options, char *const *operands)
{
	if (options->client != NULL)
		return delete_of_client(options);
	return ask_for_ids(options, operands, CONTROL_DELETE, SHAPE_DELETED);
}

/* ---- add ---- */

/** The command line of `add`, checked. */
struct wish {
	const char *protocol;
	struct ip_addr internal;
	uint16_t internal_port;
	uint16_t external_port; /* 0 = the daemon chooses */
	uint32_t lifetime_s;	/* 0 = for ever */
	const char *remote;	/* NULL = any */
	const char *description;
};

static bool wish_read_options(const struct options *options, struct wish *wish)
{
	struct ip_addr remote;
	bool ipv4 = addr_is_ipv4(&wish->internal);

	if (options->lifetime != NULL &&
	    !parse_duration(options->lifetime, &wish->lifetime_s)) {
		admin_report(
			"--lifetime: '%s' is no duration such as 3600, 90m, 1h or 2d",
			options->lifetime);
		return false;
	}
	if (options->remote != NULL && !addr_parse(options->remote, &remote)) {
		admin_report("--remote: '%s' is no address", options->remote);
		return false;
	}
	if (options->remote != NULL && addr_is_ipv4(&remote) != ipv4) {
		admin_report("--remote: '%s' is %s and the lease's host %s: they never "
			     "meet",
			     options->remote, ipv4 ? "IPv6" : "IPv4",
			     ipv4 ? "IPv4" : "IPv6");
		return false;
	}
	wish->remote = options->remote;
	wish->description = options->description == NULL ? "" : options->description;
	if (strlen(wish->description) > ADMIN_DESCRIPTION_MAX) {
		admin_report("--description: longer than %d octets",
			     ADMIN_DESCRIPTION_MAX);
		return false;
	}
	return true;
}

static bool wish_read(const struct options *options, char *const *operands,
		      struct wish *wish)
{
	uint64_t port;

	wish->protocol = operands[0];
	if (strcmp(wish->protocol, "tcp") != 0 && strcmp(wish->protocol, "udp") != 0) {
		admin_report("'%s' is neither tcp nor udp", operands[0]);
		return false;
	}
	if (!parse_number(operands[1], UINT16_MAX, &port)) {
		admin_report("'%s' is no port: 1 to 65535, or 0 for any", operands[1]);
		return false;
	}
	wish->external_port = (uint16_t)port;
	if (!parse_endpoint(operands[2], &wish->internal, &wish->internal_port)) {
		admin_report("'%s' is no ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT",
			     operands[2]);
		return false;
	}
	if (wish->internal_port == 0)
		wish->internal_port = wish->external_port;
	if (wish->internal_port == 0) {
		bool bare = strchr(operands[2], ':') && operands[2][0] != '[';

		admin_report("external port 0 needs a port behind the address: "
			     "%s%s%s:PORT",
			     bare ? "[" : "", operands[2], bare ? "]" : "");
		return false;
	}
	return wish_read_options(options, wish);
}

/** Parameters of Add; NULL = out of memory. */
static struct json_object *wish_pack(const struct wish *wish)
{
	struct json_object *object = json_object_new_object();
	char internal[ADDR_TEXT_SIZE], description[ADMIN_DESCRIPTION_MAX + 1];

	text_copy_clean(description, sizeof(description), wish->description,
			strlen(wish->description));
	if (object != NULL && varlink_add_string(object, "protocol", wish->protocol) &&
	    varlink_add_string(object, "internal_address",
			       addr_format(&wish->internal, internal)) &&
	    varlink_add_int(object, "internal_port", wish->internal_port) &&
	    varlink_add_int(object, "external_port", wish->external_port) &&
	    varlink_add_int(object, "lifetime_s", wish->lifetime_s) &&
	    varlink_add_string(object, "description", description) &&
	    varlink_add_string(object, "remote", wish->remote))
		return object;
	json_object_put(object);
	return NULL;
}

enum exit_code command_add(const struct options *options, char *const *operands)
{
	struct question question = {.method = CONTROL_ADD, .shape = SHAPE_ADDED};
	struct wish wish = {0};
	struct client *client = NULL;
	struct json_object *parameters;
	enum exit_code code;

	if (!wish_read(options, operands, &wish))
		return EXIT_CODE_USAGE;
	parameters = wish_pack(&wish);
	if (parameters == NULL)
		return report_memory(NULL);
	code = client_open(options, &client);
	if (code == EXIT_CODE_OK)
		code = ask_for_lease(client, options, &question, parameters);
	else
		json_object_put(parameters);
	free(question.ended.ids);
	client_free(client);
	return code;
}
