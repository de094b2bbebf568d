/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/client.h"
#include "admin/lease.h"
#include "admin/table.h"
#include "base/addr.h"
#include "base/clock.h"
#include "base/console.h"
#include "base/control.h"

/** Which leases the user wants to see. */
struct filter {
	struct ip_addr host; /* none = any */
	const char *proto;   /* NULL = any */
};

/** What `list` has gathered: nothing is shown before the last lease has come. */
struct listing {
	struct filter filter;
	struct table *table; /* for people */
	FILE *json;	     /* for programs: a stream into memory */
	bool first;
	bool narrow; /* a terminal: what is said twice takes room */
};

static const struct table_column lease_columns[] = {
	{"ID", true, false, TABLE_CUT_NEVER},
	{"PROTO", false, false, TABLE_CUT_NEVER},
	{"EXTERNAL", false, false, TABLE_CUT_THEN},
	{"INTERNAL", false, false, TABLE_CUT_THEN},
	{"REMOTE", false, false, TABLE_CUT_FIRST},
	{"LEFT", true, false, TABLE_CUT_NEVER},
	{"STATE", false, false, TABLE_CUT_NEVER},
	{"ORIGIN", false, true, TABLE_CUT_NEVER},
	{"LAN", false, true, TABLE_CUT_NEVER},
	{"TRAFFIC", true, true, TABLE_CUT_NEVER},
	{"DESCRIPTION", false, false, TABLE_CUT_NEVER},
};
#define LEASE_COLUMN_COUNT (sizeof(lease_columns) / sizeof(lease_columns[0]))

static bool filter_matches(const struct filter *filter, const struct lease_view *lease)
{
	struct ip_addr internal;

	if (filter->proto != NULL && strcmp(filter->proto, lease->protocol) != 0)
		return false;
	if (addr_is_none(&filter->host))
		return true;
	return addr_parse(lease->internal_address, &internal) &&
	       addr_equal(&internal, &filter->host);
}

static bool listing_add_row(struct listing *listing, const struct lease_view *lease)
{
	char id[FORMAT_NUMBER_SIZE], left[FORMAT_NUMBER_SIZE],
		octets[FORMAT_NUMBER_SIZE];
	char external[LEASE_ENDPOINT_SIZE], internal[LEASE_ENDPOINT_SIZE];
	char protocol[FORMAT_NUMBER_SIZE], origin[FORMAT_NUMBER_SIZE];
	char lan[LEASE_ENDPOINT_SIZE], description[FORMAT_TEXT_SIZE];
	char remote[LEASE_ENDPOINT_SIZE];
	const char *cells[LEASE_COLUMN_COUNT] = {
		id,
		format_escape(protocol, sizeof(protocol), lease->protocol),
		lease_format_endpoint(external, lease->external_address,
				      lease->external_port),
		lease_format_endpoint(internal, lease->internal_address,
				      lease->internal_port),
		lease_format_remote(remote, lease),
		lease_format_left(left, lease),
		lease->enabled ? "" : "off",
		format_escape(origin, sizeof(origin), lease->origin),
		format_escape(lan, sizeof(lan), lease->lan),
		format_octets(octets, lease->octets),
		format_escape(description, sizeof(description), lease->description),
	};

	(void)snprintf(id, sizeof(id), "%" PRId64, lease->id);
	/* a pinhole: the host is seen as it is */
	if (listing->narrow && strcmp(external, internal) == 0)
		memcpy(internal, "same", sizeof("same"));
	return table_add(listing->table, cells);
}

static enum exit_code listing_add(struct listing *listing, struct json_object *object)
{
	struct lease_view lease;

	if (!lease_read(object, &lease))
		return EXIT_CODE_ERROR;
	if (!filter_matches(&listing->filter, &lease))
		return EXIT_CODE_OK;
	if (listing->table != NULL) {
		if (listing_add_row(listing, &lease))
			return EXIT_CODE_OK;
		admin_report("out of memory");
		return EXIT_CODE_ERROR;
	}
	(void)fprintf(listing->json, "%s%s", listing->first ? "" : ",",
		      json_object_to_json_string_ext(
			      object,
			      JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	listing->first = false;
	return EXIT_CODE_OK;
}

/** The leases of one reply. */
static enum exit_code listing_add_reply(struct listing *listing,
					const struct varlink_reply *reply)
{
	struct varlink_members members = varlink_members_init(reply->parameters);
	struct json_object *leases = varlink_get_array(&members, "leases");

	if (leases == NULL) {
		admin_report("portreeved sent an answer without leases");
		return EXIT_CODE_ERROR;
	}
	for (size_t i = 0; i < json_object_array_length(leases); i++) {
		enum exit_code code =
			listing_add(listing, json_object_array_get_idx(leases, i));

		if (code != EXIT_CODE_OK)
			return code;
	}
	return EXIT_CODE_OK;
}

static enum exit_code listing_fill(struct listing *listing,
				   const struct options *options)
{
	struct client *client = NULL;
	bool continues = true;
	enum exit_code code = client_open(options, &client);

	if (code == EXIT_CODE_OK)
		code = client_call(client, CONTROL_LIST, NULL, true);
	while (code == EXIT_CODE_OK && continues) {
		struct varlink_reply reply;

		code = client_next(client, &reply);
		if (code != EXIT_CODE_OK)
			break;
		continues = reply.continues;
		code = listing_add_reply(listing, &reply);
		varlink_reply_fini(&reply);
	}
	client_free(client);
	return code;
}

static bool filter_read(const struct options *options, struct filter *out)
{
	struct filter filter = {.proto = options->proto};

	if (options->host != NULL && !addr_parse(options->host, &filter.host)) {
		admin_report("--host: '%s' is no address", options->host);
		return false;
	}
	if (filter.proto != NULL && strcmp(filter.proto, "tcp") != 0 &&
	    strcmp(filter.proto, "udp") != 0) {
		admin_report("--proto: '%s' is neither tcp nor udp", filter.proto);
		return false;
	}
	*out = filter;
	return true;
}

static enum exit_code list_json(struct listing *listing, const struct options *options)
{
	char *text = NULL;
	size_t length = 0;
	enum exit_code code;

	listing->json = open_memstream(&text, &length);
	if (listing->json == NULL) {
		admin_report("out of memory");
		return EXIT_CODE_ERROR;
	}
	code = listing_fill(listing, options);
	if (fclose(listing->json) != 0 && code == EXIT_CODE_OK) {
		admin_report("out of memory");
		code = EXIT_CODE_ERROR;
	}
	if (code == EXIT_CODE_OK)
		(void)printf("{\"leases\":[%s]}\n", text);
	free(text);
	return code;
}

enum exit_code command_list(const struct options *options, char *const *operands)
{
	struct listing listing = {.first = true, .narrow = options->width > 0};
	enum exit_code code;

	(void)operands;
	if (!filter_read(options, &listing.filter))
		return EXIT_CODE_USAGE;
	if (options->json)
		return list_json(&listing, options);
	listing.table = table_new(lease_columns, LEASE_COLUMN_COUNT);
	if (listing.table == NULL) {
		admin_report("out of memory");
		return EXIT_CODE_ERROR;
	}
	code = listing_fill(&listing, options);
	if (code == EXIT_CODE_OK)
		table_print(listing.table, stdout, options->width, options->color);
	table_free(listing.table);
	return code;
}

/* ---- watch ---- */

/** Colour of an event, as the terminal wants it. */
static const char *event_get_color(const char *event)
{
	if (strcmp(event, "added") == 0)
		return "\033[32m";
	if (strcmp(event, "deleted") == 0 || strcmp(event, "expired") == 0)
		return "\033[31m";
	return "\033[33m";
}

/** ", why: owner" behind the line of a lease that was deleted. */
static void print_why(const char *why)
{
	char safe[FORMAT_NUMBER_SIZE];

	if (why != NULL)
		(void)printf(", why: %s", format_escape(safe, sizeof(safe), why));
}

/** "13:05:59 added 12 tcp ..." */
static enum exit_code print_event(const struct options *options, const char *event,
				  struct varlink_members *members)
{
	const char *why = varlink_get_string_or(members, "why", NULL);
	char safe[FORMAT_NUMBER_SIZE], time_text[FORMAT_NUMBER_SIZE] = "";
	time_t now_s = (time_t)(clock_wall_ms() / 1000);
	struct lease_view lease;
	struct tm local;

	if (!lease_read(varlink_get_object(members, "lease"), &lease))
		return EXIT_CODE_ERROR;
	if (localtime_r(&now_s, &local) != NULL &&
	    strftime(time_text, sizeof(time_text), "%H:%M:%S", &local) == 0)
		time_text[0] = '\0';
	(void)printf("%s %s%-8s%s %" PRId64 " ", time_text,
		     options->color ? event_get_color(event) : "",
		     format_escape(safe, sizeof(safe), event),
		     options->color ? "\033[0m" : "", lease.id);
	lease_print_line(&lease, stdout);
	print_why(why);
	(void)fputs("\n", stdout);
	return EXIT_CODE_OK;
}

static enum exit_code print_watched(const struct options *options,
				    const struct varlink_reply *reply)
{
	struct varlink_members members = varlink_members_init(reply->parameters);
	bool ready = varlink_get_bool_or(&members, "ready", false);
	const char *event = varlink_get_string_or(&members, "event", NULL);

	if (options->json && members.failed == NULL) {
		console_write_json(reply->parameters, stdout);
		return EXIT_CODE_OK;
	}
	if (ready) {
		if (isatty(STDERR_FILENO))
			admin_report("watching; Ctrl-C ends it");
		return EXIT_CODE_OK;
	}
	if (event == NULL) {
		admin_report("portreeved sent something that is no event");
		return EXIT_CODE_ERROR;
	}
	return print_event(options, event, &members);
}

/** Ctrl-C is how watch ends well; each event has been flushed before. */
static void end_well(int signal_number)
{
	(void)signal_number;
	_exit(EXIT_CODE_OK);
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = end_well};

	if (sigaction(SIGINT, &action, NULL) != 0 ||
	    sigaction(SIGTERM, &action, NULL) != 0)
		admin_report("cannot catch signals");
}

enum exit_code command_watch(const struct options *options, char *const *operands)
{
	struct client *client = NULL;
	bool continues = true;
	enum exit_code code = client_open(options, &client);

	(void)operands;
	if (code == EXIT_CODE_OK)
		code = client_call(client, CONTROL_WATCH, NULL, true);
	if (code == EXIT_CODE_OK)
		catch_signals();
	while (code == EXIT_CODE_OK && continues) {
		struct varlink_reply reply;

		code = client_next(client, &reply);
		if (code != EXIT_CODE_OK) {
			code = client_is_unread(client) ? EXIT_CODE_OK : code;
			break;
		}
		client_wait_for_ever(client);
		continues = reply.continues;
		code = print_watched(options, &reply);
		varlink_reply_fini(&reply);
		if (!admin_flush(&code))
			break;
	}
	client_free(client);
	return code;
}
