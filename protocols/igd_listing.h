/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_IGD_LISTING_H
#define PROTOCOLS_IGD_LISTING_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/request.h"
#include "protocols/xmldoc.h"

/** Entries, and octets, of one listing. One that would be longer is none, so that
 * nobody takes a part for the whole: who asks for fewer at a time gets them. */
#define IGD_LISTING_MAX 4096
#define IGD_LISTING_OCTETS_MAX ((size_t)2 * 1024 * 1024)

/** PortListing of GetListOfPortMappings, gathered page by page (IGD-34, IGD-35). */
struct igd_listing;

enum igd_listing_state {
	IGD_LISTING_READS, /* another reply to this request follows */
	IGD_LISTING_ASKS,  /* send igd_listing_get_request() */
	IGD_LISTING_DONE,
	IGD_LISTING_FAILS, /* there is none: the reply's result says why */
	IGD_LISTING_TOO_LONG,
};

/** For a REQUEST_LIST, which is copied. Owns: caller frees. Errors: NULL (memory). */
struct igd_listing *igd_listing_new(const struct request *request);
/** Safe on NULL. */
void igd_listing_free(struct igd_listing *listing);

/** Take the next reply of core's. */
enum igd_listing_state igd_listing_take(struct igd_listing *listing,
					const struct reply *reply);
/** The request for the next page. Owns: the listing's. */
const struct request *igd_listing_get_request(const struct igd_listing *listing);
/** Octets held so far. */
size_t igd_listing_get_size(const struct igd_listing *listing);
/** The document; the listing can only be freed then. Owns: caller, xmldoc_fini().
 * Errors: false (memory). */
bool igd_listing_finish(struct igd_listing *listing, struct xmldoc *out)
	__attribute__((warn_unused_result));

#endif
