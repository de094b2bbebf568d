/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin/lease.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "admin/admin.h"
#include "base/varlink.h"

/* Older daemons know none. */
static struct json_object *lease_find_filters(struct json_object *object)
{
	struct json_object *filters;

	if (json_object_object_get_ex(object, "filters", &filters) &&
	    json_object_is_type(filters, json_type_array) &&
	    json_object_array_length(filters) > 0)
		return filters;
	return NULL;
}

static struct json_object *lease_find_nat(struct json_object *object)
{
	struct json_object *nat;

	if (json_object_object_get_ex(object, "nat", &nat) &&
	    json_object_is_type(nat, json_type_object))
		return nat;
	return NULL;
}

/* Older daemons do not say. */
static bool kind_is_flow(const char *kind)
{
	return kind != NULL && strcmp(kind, "flow") == 0;
}

bool lease_read(struct json_object *object, struct lease_view *out)
{
	struct varlink_members members = varlink_members_init(object);
	struct lease_view lease = {
		.id = varlink_get_int(&members, "id", 0, INT64_MAX),
		.protocol = varlink_get_string(&members, "protocol"),
		.external_address =
			varlink_get_string_or(&members, "external_address", NULL),
		.external_port =
			varlink_get_int(&members, "external_port", 0, UINT16_MAX),
		.internal_address = varlink_get_string(&members, "internal_address"),
		.internal_port =
			varlink_get_int(&members, "internal_port", 0, UINT16_MAX),
		.remote = varlink_get_string_or(&members, "remote", NULL),
		.remote_port =
			varlink_get_int_or(&members, "remote_port", 0, UINT16_MAX, 0),
		.pinhole = varlink_get_int_or(&members, "pinhole", 0, UINT16_MAX, 0),
		.set_first =
			varlink_get_int_or(&members, "set_first", 0, UINT16_MAX, 0),
		.set_count =
			varlink_get_int_or(&members, "set_count", 0, UINT16_MAX, 0),
		.lifetime_s =
			varlink_get_int_or(&members, "lifetime_s", 0, INT64_MAX, -1),
		.expires = varlink_get_string_or(&members, "expires", NULL),
		.created = varlink_get_string(&members, "created"),
		.origin = varlink_get_string(&members, "origin"),
		.client = varlink_get_string(&members, "client"),
		.mac = varlink_get_string_or(&members, "mac", ""),
		.lan = varlink_get_string(&members, "lan"),
		.description = varlink_get_string(&members, "description"),
		.enabled = varlink_get_bool(&members, "enabled"),
		.flow = kind_is_flow(varlink_get_string_or(&members, "kind", NULL)),
		.octets = varlink_get_int(&members, "bytes", 0, INT64_MAX),
		.packets = varlink_get_int(&members, "packets", 0, INT64_MAX),
	};

	if (members.failed != NULL) {
		admin_report("portreeved sent a lease without a proper '%s'",
			     members.failed);
		return false;
	}
	lease.filters = lease_find_filters(object);
	lease.nat = lease_find_nat(object);
	*out = lease;
	return true;
}

const char *lease_format_endpoint(char out[LEASE_ENDPOINT_SIZE], const char *address,
				  int64_t port)
{
	char text[LEASE_ENDPOINT_SIZE / 2];
	bool brackets;

	format_escape(text, sizeof(text), address == NULL ? "-" : address);
	brackets = strchr(text, ':') != NULL;
	(void)snprintf(out, LEASE_ENDPOINT_SIZE, "%s%s%s:%" PRId64, brackets ? "[" : "",
		       text, brackets ? "]" : "", port);
	return out;
}

const char *lease_format_left(char out[FORMAT_NUMBER_SIZE],
			      const struct lease_view *lease)
{
	if (lease->lifetime_s >= 0)
		return format_duration(out, lease->lifetime_s);
	memcpy(out, "never", sizeof("never"));
	return out;
}

/** "203.0.113.0/24", "203.0.113.0/24 port 443" */
static const char *format_filter(char out[LEASE_ENDPOINT_SIZE],
				 struct json_object *filter)
{
	struct varlink_members members = varlink_members_init(filter);
	const char *prefix = varlink_get_string(&members, "prefix");
	int64_t port = varlink_get_int_or(&members, "port", 0, UINT16_MAX, 0);
	char text[LEASE_ENDPOINT_SIZE / 2];

	format_escape(text, sizeof(text), prefix);
	if (port == 0)
		(void)snprintf(out, LEASE_ENDPOINT_SIZE, "%s", text);
	else
		(void)snprintf(out, LEASE_ENDPOINT_SIZE, "%s port %" PRId64, text,
			       port);
	return out;
}

const char *lease_format_remote(char out[LEASE_ENDPOINT_SIZE],
				const struct lease_view *lease)
{
	size_t count = lease->filters ? json_object_array_length(lease->filters) : 0;

	out[0] = '\0';
	if (count == 1)
		return format_filter(out, json_object_array_get_idx(lease->filters, 0));
	if (count > 1)
		(void)snprintf(out, LEASE_ENDPOINT_SIZE, "%zu filters", count);
	else if (lease->remote && lease->remote_port != 0)
		return lease_format_endpoint(out, lease->remote, lease->remote_port);
	else if (lease->remote)
		return format_escape(out, LEASE_ENDPOINT_SIZE, lease->remote);
	else if (lease->remote_port != 0)
		(void)snprintf(out, LEASE_ENDPOINT_SIZE, "*:%" PRId64,
			       lease->remote_port);
	return out;
}

static void print_escaped(const char *before, const char *text, const char *after,
			  FILE *file)
{
	char safe[FORMAT_TEXT_SIZE];

	(void)fprintf(file, "%s%s%s", before, format_escape(safe, sizeof(safe), text),
		      after);
}

void lease_print_line(const struct lease_view *lease, FILE *file)
{
	char external[LEASE_ENDPOINT_SIZE], internal[LEASE_ENDPOINT_SIZE];
	char left[FORMAT_NUMBER_SIZE], protocol[LEASE_ENDPOINT_SIZE];
	char remote[LEASE_ENDPOINT_SIZE];

	(void)fprintf(file, "%s %s -> %s",
		      format_escape(protocol, sizeof(protocol), lease->protocol),
		      lease_format_endpoint(external, lease->external_address,
					    lease->external_port),
		      lease_format_endpoint(internal, lease->internal_address,
					    lease->internal_port));
	if (lease_format_remote(remote, lease)[0] != '\0')
		(void)fprintf(file, " %s %s", lease->flow ? "flow to" : "from", remote);
	if (lease->lifetime_s < 0)
		(void)fputs(", never ends", file);
	else
		(void)fprintf(file, ", %s left", lease_format_left(left, lease));
	if (!lease->enabled)
		(void)fputs(", disabled", file);
	print_escaped(", ", lease->origin, "", file);
	if (lease->description[0] != '\0')
		print_escaped(", \"", lease->description, "\"", file);
}

/** "  Remote       any" */
static void print_field(const char *name, const char *text, FILE *file)
{
	char safe[FORMAT_TEXT_SIZE];

	(void)fprintf(file, "  %-12s %s\n", name,
		      format_escape(safe, sizeof(safe), text));
}

/** "  Remote       any", or a line for each that may send. */
static void print_remote(const struct lease_view *lease, FILE *file)
{
	char text[LEASE_ENDPOINT_SIZE];

	if (lease->filters == NULL && lease->remote == NULL &&
	    lease->remote_port != 0) {
		(void)fprintf(file, "  %-12s any host, port %" PRId64 "\n", "Remote",
			      lease->remote_port);
		return;
	}
	if (lease->filters == NULL) {
		lease_format_remote(text, lease);
		(void)fprintf(file, "  %-12s %s\n", "Remote",
			      text[0] == '\0' ? "any" : text);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(lease->filters); i++)
		(void)fprintf(file, "  %-12s %s\n", i == 0 ? "Remote" : "",
			      format_filter(text, json_object_array_get_idx(
							  lease->filters, i)));
}

/** "  NAT          open: anybody can reach it, ...", and what that comes from. */
static void print_nat(struct json_object *nat, FILE *file)
{
	struct varlink_members members = varlink_members_init(nat);
	const char *console = varlink_get_string_or(&members, "console", "?");
	const char *text = varlink_get_string_or(&members, "text", "");
	const char *mapping = varlink_get_string_or(&members, "mapping", "?");
	const char *filtering = varlink_get_string_or(&members, "filtering", "?");
	int64_t port = varlink_get_int_or(&members, "outbound_port", 0, UINT16_MAX, 0);
	char safe[FORMAT_TEXT_SIZE];

	(void)fprintf(file, "  %-12s %s: ", "NAT",
		      format_escape(safe, sizeof(safe), console));
	print_escaped("", text, "\n", file);
	(void)fprintf(file, "  %-12s mapping %s", "",
		      format_escape(safe, sizeof(safe), mapping));
	print_escaped(", filtering ", filtering, "\n", file);
	(void)fprintf(file, "  %-12s ", "");
	if (port != 0)
		(void)fprintf(file, "leaves with port %" PRId64, port);
	else
		(void)fputs("leaves with any port", file);
	(void)fputs(varlink_get_bool_or(&members, "hairpin", false) ? ", hairpin\n"
								    : ", no hairpin\n",
		    file);
}

static const char *lease_get_state(const struct lease_view *lease)
{
	if (!lease->enabled)
		return "disabled by its client";
	if (lease->external_address == NULL || lease->external_address[0] == '\0')
		return "waits for an address of the WAN";
	return lease->flow ? "outbound flow kept" : "forwarding";
}

void lease_print_all(const struct lease_view *lease, FILE *file, bool color)
{
	char external[LEASE_ENDPOINT_SIZE], internal[LEASE_ENDPOINT_SIZE];
	char left[FORMAT_NUMBER_SIZE], octets[FORMAT_NUMBER_SIZE];
	char packets[FORMAT_NUMBER_SIZE], safe[FORMAT_TEXT_SIZE];

	(void)fprintf(file, "%sLease %" PRId64 "%s\n", color ? "\033[1m" : "",
		      lease->id, color ? "\033[0m" : "");
	print_field("Protocol", lease->protocol, file);
	(void)fprintf(file, "  %-12s %s\n", "External",
		      lease_format_endpoint(external, lease->external_address,
					    lease->external_port));
	(void)fprintf(file, "  %-12s %s\n", "Internal",
		      lease_format_endpoint(internal, lease->internal_address,
					    lease->internal_port));
	print_remote(lease, file);
	if (lease->set_count > 0)
		(void)fprintf(file, "  %-12s ports %" PRId64 "-%" PRId64 "\n", "Set",
			      lease->set_first,
			      lease->set_first + lease->set_count - 1);
	if (lease->pinhole != 0)
		(void)fprintf(file, "  %-12s UniqueID %" PRId64 "\n", "Pinhole",
			      lease->pinhole);
	print_field("State", lease_get_state(lease), file);
	if (lease->lifetime_s < 0)
		print_field("Ends", "never", file);
	else
		(void)fprintf(
			file, "  %-12s in %s (%s)\n", "Ends",
			lease_format_left(left, lease),
			format_escape(safe, sizeof(safe),
				      lease->expires == NULL ? "?" : lease->expires));
	print_field("Created", lease->created, file);
	print_field("Origin", lease->origin, file);
	print_field("Client", lease->client, file);
	if (lease->mac[0] != '\0')
		print_field("Card", lease->mac, file);
	print_field("LAN", lease->lan, file);
	print_field("Description", lease->description, file);
	if (lease->nat)
		print_nat(lease->nat, file);
	(void)fprintf(file, "  %-12s %s in %s packets\n", "Traffic",
		      format_octets(octets, lease->octets),
		      format_count(packets, lease->packets));
}
