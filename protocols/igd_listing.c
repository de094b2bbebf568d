/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/igd_listing.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "protocols/igd_mapping.h"

#define LISTING_NS "urn:schemas-upnp-org:gw:WANIPConnection"
#define SCHEMA_INSTANCE_NS "http://www.w3.org/2001/XMLSchema-instance"
#define SCHEMA_URL "http://www.upnp.org/schemas/gw/WANIPConnection-v2.xsd"
/* The service that has listings; its words for a lease without an end. */
#define LISTING_VERSION 2

struct igd_listing {
	struct request request;
	struct xml_writer *writer;
	uint32_t count;
	uint32_t wanted; /* entries; UINT32_MAX = all */
	bool too_long;	 /* there are more than there may be */
};

struct igd_listing *igd_listing_new(const struct request *request)
{
	struct igd_listing *listing = calloc(1, sizeof(*listing));

	if (!listing)
		return NULL;
	listing->request = *request;
	listing->wanted = request->index > 0 ? request->index : UINT32_MAX;
	listing->writer = xml_writer_new();
	if (!listing->writer) {
		free(listing);
		return NULL;
	}
	xml_writer_open(listing->writer, "p:PortMappingList");
	xml_writer_attribute(listing->writer, "xmlns:p", LISTING_NS);
	xml_writer_attribute(listing->writer, "xmlns:xsi", SCHEMA_INSTANCE_NS);
	xml_writer_attribute(listing->writer, "xsi:schemaLocation",
			     LISTING_NS " " SCHEMA_URL);
	return listing;
}

void igd_listing_free(struct igd_listing *listing)
{
	struct xmldoc unwanted;

	if (!listing)
		return;
	if (listing->writer && xml_writer_finish(listing->writer, &unwanted))
		xmldoc_fini(&unwanted);
	free(listing);
}

static void add_number(struct xml_writer *writer, const char *name, uint32_t value)
{
	char digits[16];

	(void)snprintf(digits, sizeof(digits), "%u", value);
	xml_writer_element(writer, name, digits);
}

/* Element names differ from those of the actions (IGD-35). */
static void add_entry(struct xml_writer *writer, const struct reply *reply)
{
	char text[ADDR_TEXT_SIZE];
	char description[DESCRIPTION_MAX + 1];

	text_copy_clean(description, sizeof(description), reply->description,
			strnlen(reply->description, DESCRIPTION_MAX));
	xml_writer_open(writer, "p:PortMappingEntry");
	xml_writer_element(
		writer, "p:NewRemoteHost",
		addr_is_none(&reply->remote) ? "" : addr_format(&reply->remote, text));
	add_number(writer, "p:NewExternalPort", reply->external_port);
	xml_writer_element(writer, "p:NewProtocol",
			   reply->protocol == IPPROTO_TCP ? "TCP" : "UDP");
	add_number(writer, "p:NewInternalPort", reply->internal_port);
	xml_writer_element(writer, "p:NewInternalClient",
			   addr_format(&reply->internal, text));
	add_number(writer, "p:NewEnabled", reply->enabled ? 1 : 0);
	xml_writer_element(writer, "p:NewDescription", description);
	add_number(writer, "p:NewLeaseTime",
		   igd_mapping_get_lease_s(reply, LISTING_VERSION));
	xml_writer_close(writer);
}

static bool is_full(const struct igd_listing *listing)
{
	return listing->count >= IGD_LISTING_MAX ||
	       igd_listing_get_size(listing) >= IGD_LISTING_OCTETS_MAX;
}

/*
 * The last reply of a page. Leases that ended meanwhile make no list of others an
 * error; a page that leads nowhere ends it.
 */
static enum igd_listing_state end_page(struct igd_listing *listing,
				       const struct reply *reply)
{
	bool more = reply->result == RESULT_OK && reply->next > listing->request.after;

	if (reply->result != RESULT_OK && reply->result != RESULT_NO_ENTRY)
		return IGD_LISTING_FAILS;
	if (listing->too_long)
		return IGD_LISTING_TOO_LONG;
	if (more && listing->count < listing->wanted) {
		listing->request.after = reply->next;
		if (listing->wanted < UINT32_MAX)
			listing->request.index = listing->wanted - listing->count;
		return IGD_LISTING_ASKS;
	}
	return listing->count > 0 ? IGD_LISTING_DONE : IGD_LISTING_FAILS;
}

enum igd_listing_state igd_listing_take(struct igd_listing *listing,
					const struct reply *reply)
{
	if (!reply->more)
		return end_page(listing, reply);
	if (listing->count >= listing->wanted)
		return IGD_LISTING_READS;
	if (is_full(listing)) {
		listing->too_long = true;
		return IGD_LISTING_READS;
	}
	add_entry(listing->writer, reply);
	listing->count++;
	return IGD_LISTING_READS;
}

const struct request *igd_listing_get_request(const struct igd_listing *listing)
{
	return &listing->request;
}

size_t igd_listing_get_size(const struct igd_listing *listing)
{
	return sizeof(*listing) + xml_writer_get_size(listing->writer);
}

bool igd_listing_finish(struct igd_listing *listing, struct xmldoc *out)
{
	struct xml_writer *writer = listing->writer;

	listing->writer = NULL;
	xml_writer_close(writer);
	return xml_writer_finish(writer, out);
}
