/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "admin/client.h"
#include "admin/format.h"
#include "base/console.h"
#include "base/control.h"

/* Columns before what a line tells. */
#define STATUS_INDENT 12

/*
 * Each print_ function shows one part of the answer and returns false when that part is
 * not as it must be. A part is read whole before any of it is shown.
 */

static void print_head(FILE *file, const char *name)
{
	(void)fprintf(file, "  %-10s", name);
}

/** An escaped text with something before it. */
static void print_text(FILE *file, const char *before, const char *text)
{
	char safe[FORMAT_TEXT_SIZE];

	(void)fprintf(file, "%s%s", before, format_escape(safe, sizeof(safe), text));
}

static void print_count(FILE *file, const char *before, int64_t count,
			const char *after)
{
	char number[FORMAT_NUMBER_SIZE];

	(void)fprintf(file, "%s%s%s", before, format_count(number, count), after);
}

/** "a b c" of an array of strings, or "none". */
static void print_words(FILE *file, const char *before, struct json_object *words)
{
	size_t count = json_object_array_length(words);

	(void)fputs(before, file);
	if (count == 0)
		(void)fputs("none", file);
	for (size_t i = 0; i < count; i++) {
		const char *word =
			json_object_get_string(json_object_array_get_idx(words, i));

		print_text(file, i == 0 ? "" : " ", word == NULL ? "?" : word);
	}
}

/** " by STUN from HOST", or why not; older daemons do not say. */
static bool print_stun(FILE *file, struct json_object *wan, const char *source)
{
	struct json_object *stun = NULL;
	struct varlink_members members;
	const char *server, *state, *since, *text;

	if (!json_object_object_get_ex(wan, "stun", &stun) || stun == NULL)
		return true;
	members = varlink_members_init(stun);
	server = varlink_get_string(&members, "server");
	state = varlink_get_string(&members, "state");
	since = varlink_get_string(&members, "since");
	text = varlink_get_string(&members, "text");
	if (members.failed != NULL)
		return false;
	if (strcmp(source, "stun") == 0)
		print_text(file, " by STUN from ", server);
	else
		print_text(file, ", STUN server ", server);
	if (strcmp(state, "ok") == 0 || strcmp(state, "idle") == 0)
		return true;
	print_text(file, ": ", text);
	print_text(file, ", since ", since);
	return true;
}

static bool print_wan(FILE *file, struct json_object *object)
{
	struct varlink_members members = varlink_members_init(object);
	const char *interface = varlink_get_string(&members, "interface");
	bool up = varlink_get_bool(&members, "up");
	const char *address = varlink_get_string_or(&members, "address", NULL);
	const char *external =
		varlink_get_string_or(&members, "external_address", NULL);
	bool private = varlink_get_bool(&members, "private");
	const char *source = varlink_get_string_or(&members, "source", "");

	if (members.failed != NULL)
		return false;
	print_head(file, "WAN");
	print_text(file, "", interface[0] == '\0' ? "no interface" : interface);
	if (interface[0] != '\0')
		(void)fputs(up ? " up" : " down", file);
	(void)fputs(", ", file);
	print_text(file, "", address == NULL ? "no address" : address);
	if (private)
		(void)fputs(" (private: another NAT is in front)", file);
	if (external != NULL && (address == NULL || strcmp(address, external) != 0))
		print_text(file, ", reports ", external);
	if (!print_stun(file, object, source))
		return false;
	(void)fputs("\n", file);
	return true;
}

/** ", IGD 1 and 2"; older daemons do not say. */
static void print_igd(FILE *file, struct json_object *lan)
{
	struct json_object *versions;
	const char *before = ", IGD ";

	if (!json_object_object_get_ex(lan, "igd", &versions) ||
	    !json_object_is_type(versions, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(versions); i++) {
		print_count(
			file, before,
			json_object_get_int64(json_object_array_get_idx(versions, i)),
			"");
		before = " and ";
	}
}

static bool print_lan(FILE *file, struct json_object *object)
{
	struct varlink_members members = varlink_members_init(object);
	const char *name = varlink_get_string(&members, "name");
	bool up = varlink_get_bool(&members, "up");
	struct json_object *addresses = varlink_get_array(&members, "addresses");
	struct json_object *protocols = varlink_get_array(&members, "protocols");

	if (members.failed != NULL)
		return false;
	print_head(file, "LAN");
	print_text(file, "", name);
	(void)fputs(up ? " up" : " down", file);
	print_words(file, ", addresses ", addresses);
	print_words(file, ", protocols ", protocols);
	print_igd(file, object);
	(void)fputs("\n", file);
	return true;
}

static bool print_leases(FILE *file, struct json_object *object, int64_t clients)
{
	struct varlink_members members = varlink_members_init(object);
	int64_t total = varlink_get_int(&members, "total", 0, INT64_MAX);
	int64_t limit = varlink_get_int(&members, "limit", 0, INT64_MAX);
	struct json_object *origins = varlink_get_object(&members, "by_origin");
	struct json_object_iterator at, end;
	const char *before = ": ";

	if (members.failed != NULL)
		return false;
	print_head(file, "Leases");
	print_count(file, "", total, "");
	if (limit > 0)
		print_count(file, " of at most ", limit, "");
	print_count(file, ", clients ", clients, "");
	at = json_object_iter_begin(origins);
	end = json_object_iter_end(origins);
	for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
		int64_t count = json_object_get_int64(json_object_iter_peek_value(&at));

		if (count == 0)
			continue;
		print_text(file, before, json_object_iter_peek_name(&at));
		print_count(file, " ", count, "");
		before = ", ";
	}
	(void)fputs("\n", file);
	return true;
}

static bool print_backend(FILE *file, struct json_object *object)
{
	struct varlink_members members = varlink_members_init(object);
	const char *name = varlink_get_string(&members, "name");
	int64_t rules = varlink_get_int(&members, "rules", 0, INT64_MAX);
	int64_t resyncs = varlink_get_int(&members, "resyncs", 0, INT64_MAX);

	if (members.failed != NULL)
		return false;
	print_head(file, "Firewall");
	print_text(file, "", name);
	print_count(file, ", ", rules, " rules, resyncs ");
	print_count(file, "", resyncs, "\n");
	return true;
}

/** What is done about the firewall of the host; older daemons do not say. */
static bool print_integration(FILE *file, struct json_object *status)
{
	struct json_object *object;
	struct varlink_members members;
	const char *mode;
	struct json_object *rules;
	int64_t restored;

	if (!json_object_object_get_ex(status, "integration", &object))
		return true;
	members = varlink_members_init(object);
	mode = varlink_get_string(&members, "mode");
	rules = varlink_get_array(&members, "rules");
	restored = varlink_get_int(&members, "restored", 0, INT64_MAX);
	if (members.failed != NULL)
		return false;
	print_head(file, "Integrate");
	print_text(file, "", mode);
	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		const char *rule =
			json_object_get_string(json_object_array_get_idx(rules, i));

		print_text(file, i == 0 ? ", rule in " : "; ", rule ? rule : "?");
	}
	if (restored > 0)
		print_count(file, ", put back ", restored, "");
	(void)fputs("\n", file);
	return true;
}

static bool print_store(FILE *file, struct json_object *object)
{
	struct varlink_members members = varlink_members_init(object);
	const char *state = varlink_get_string(&members, "state");
	const char *path = varlink_get_string_or(&members, "path", "");
	const char *text = varlink_get_string_or(&members, "text", "");

	if (members.failed != NULL)
		return false;
	print_head(file, "Store");
	print_text(file, "", state);
	print_text(file, path[0] == '\0' ? "" : ", ", path);
	print_text(file, text[0] == '\0' ? "" : ", ", text);
	(void)fputs("\n", file);
	return true;
}

static bool print_worker(FILE *file, struct json_object *object)
{
	struct varlink_members members = varlink_members_init(object);
	const char *name = varlink_get_string(&members, "name");
	const char *state = varlink_get_string(&members, "state");
	int64_t restarts = varlink_get_int(&members, "restarts", 0, INT64_MAX);

	if (members.failed != NULL)
		return false;
	print_head(file, "Worker");
	print_text(file, "", name);
	print_text(file, " ", state);
	print_count(file, ", restarts ", restarts, "\n");
	return true;
}

static bool print_requests(FILE *file, struct json_object *object)
{
	struct varlink_members members = varlink_members_init(object);
	int64_t total = varlink_get_int(&members, "total", 0, INT64_MAX);
	int64_t granted = varlink_get_int(&members, "granted", 0, INT64_MAX);
	int64_t refused = varlink_get_int(&members, "refused", 0, INT64_MAX);
	int64_t dropped = varlink_get_int(&members, "dropped", 0, INT64_MAX);

	if (members.failed != NULL)
		return false;
	print_head(file, "Requests");
	print_count(file, "", total, ": ");
	print_count(file, "", granted, " granted, ");
	print_count(file, "", refused, " refused, ");
	print_count(file, "", dropped, " dropped\n");
	return true;
}

static bool print_problem(FILE *file, struct json_object *object)
{
	struct varlink_members members = varlink_members_init(object);
	const char *code = varlink_get_string(&members, "code");
	const char *text = varlink_get_string(&members, "text");

	if (members.failed != NULL)
		return false;
	print_head(file, "Problem");
	print_text(file, "", text);
	print_text(file, " (", code);
	(void)fputs(")\n", file);
	return true;
}

static bool print_each(FILE *file, struct json_object *array,
		       bool (*print)(FILE *, struct json_object *))
{
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		if (!print(file, json_object_array_get_idx(array, i)))
			return false;
	}
	return true;
}

/** The first two lines: version, state, and since when. */
static bool print_title(FILE *file, struct varlink_members *members, const char *state,
			bool color)
{
	const char *version = varlink_get_string(members, "version");
	int64_t uptime_s = varlink_get_int(members, "uptime_s", 0, INT64_MAX);
	int64_t epoch_s = varlink_get_int(members, "epoch_s", 0, INT64_MAX);
	const char *paint = strcmp(state, "ok") == 0 ? "\033[1;32m" : "\033[1;31m";
	char text[FORMAT_NUMBER_SIZE];

	if (members->failed != NULL)
		return false;
	print_text(file, "portreeved ", version);
	(void)fprintf(file, ": %s", color ? paint : "");
	print_text(file, "", state);
	(void)fputs(color ? "\033[0m\n" : "\n", file);
	print_head(file, "Up");
	(void)fputs(format_duration(text, uptime_s), file);
	(void)fprintf(file, ", epoch %s\n", format_duration(text, epoch_s));
	return true;
}

static bool print_status(FILE *file, struct varlink_members *members, const char *state,
			 bool color)
{
	struct json_object *problems = varlink_get_array(members, "problems");
	struct json_object *backend = varlink_get_object(members, "backend");
	struct json_object *wan = varlink_get_object(members, "wan");
	struct json_object *lans = varlink_get_array(members, "lans");
	struct json_object *leases = varlink_get_object(members, "leases");
	int64_t clients = varlink_get_int(members, "clients", 0, INT64_MAX);
	struct json_object *store = varlink_get_object(members, "store");
	struct json_object *workers = varlink_get_array(members, "workers");
	struct json_object *requests = varlink_get_object(members, "requests");

	return print_title(file, members, state, color) &&
	       print_each(file, problems, print_problem) && print_wan(file, wan) &&
	       print_each(file, lans, print_lan) &&
	       print_leases(file, leases, clients) && print_backend(file, backend) &&
	       print_integration(file, members->object) && print_store(file, store) &&
	       print_each(file, workers, print_worker) &&
	       print_requests(file, requests);
}

/* A line of a terminal: what does not fit stands below its beginning. */
static void write_line(const char *line, size_t width)
{
	size_t room = width;

	while (width > STATUS_INDENT && format_get_width(line) > room) {
		size_t end = format_get_fitting(line, room), fits = end;

		while (end > STATUS_INDENT && line[end] != ' ')
			end--;
		if (end <= STATUS_INDENT)
			end = fits;
		(void)printf("%.*s\n%*s", (int)end, line, STATUS_INDENT, "");
		line += end + (line[end] == ' ' ? 1 : 0);
		room = width - STATUS_INDENT;
	}
	(void)puts(line);
}

/* For people. Returns false when a part is not as it must be. */
static bool write_status(const struct options *options, struct varlink_members *members,
			 const char *state)
{
	char *text = NULL, *rest, *line;
	size_t length = 0;
	FILE *file = open_memstream(&text, &length);
	bool good;

	if (file == NULL)
		return false;
	good = print_status(file, members, state, options->color);
	good = fclose(file) == 0 && good;
	rest = text;
	while (good && (line = strsep(&rest, "\n")) != NULL && rest != NULL)
		write_line(line, options->width);
	free(text);
	return good;
}

static enum exit_code show_status(const struct options *options,
				  struct json_object *parameters)
{
	struct varlink_members outer = varlink_members_init(parameters);
	struct json_object *status = varlink_get_object(&outer, "status");
	struct varlink_members members = varlink_members_init(status);
	const char *state = varlink_get_string(&members, "state");
	bool good = members.failed == NULL;

	if (good && options->json)
		console_write_json(parameters, stdout);
	else if (good)
		good = write_status(options, &members, state);
	if (!good) {
		admin_report("portreeved sent a status without a proper '%s'",
			     members.failed == NULL ? "part" : members.failed);
		return EXIT_CODE_ERROR;
	}
	return strcmp(state, "ok") == 0 ? EXIT_CODE_OK : EXIT_CODE_DEGRADED;
}

enum exit_code command_status(const struct options *options, char *const *operands)
{
	(void)operands;
	return client_show(options, CONTROL_STATUS, show_status);
}
