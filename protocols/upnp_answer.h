/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_UPNP_ANSWER_H
#define PROTOCOLS_UPNP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/http_server.h"
#include "protocols/igd.h"
#include "protocols/xmldoc.h"

/* Outcomes of control requests as answers to HTTP requests; each ends the exchange. */

/** How the outcome of a control request is to be written. */
struct upnp_wording {
	struct igd_call call; /* its action is NULL for a value that needed none */
	const char *type;     /* as validated (SOAP-2) */
	bool query;	      /* as QueryStateVariable (SOAP-9) */
};

/** An HTTP status without a body; allow is the header of a 405, else NULL. */
void upnp_answer_status(struct http_exchange *exchange, uint16_t status,
			const char *allow);
/** A UPnPError in the words of the service (SOAP-6). */
void upnp_answer_fault(struct http_exchange *exchange,
		       const struct igd_service *service, uint16_t error);
/** Out-arguments (SOAP-5). */
void upnp_answer_result(struct http_exchange *exchange,
			const struct upnp_wording *wording,
			const struct igd_output *output);
/**
 * One out-argument, however long: a document in a text (IGD-35). *held grows by the
 * length of the answer until it is sent, and must outlive the servers.
 */
void upnp_answer_listing(struct http_exchange *exchange,
			 const struct upnp_wording *wording,
			 const struct xmldoc *listing, size_t *held);

#endif
