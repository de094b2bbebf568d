/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_IGD_DESC_H
#define PROTOCOLS_IGD_DESC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/igd.h"
#include "protocols/ssdp.h"
#include "protocols/worker.h"
#include "protocols/xmldoc.h"

/* A face: one root device as data, and everything that is derived from it. */

#define IGD_DEVICES_MAX 4
#define IGD_SERVICES_MAX 4 /* of one device */
/** All services of a face, and the description beside their documents. */
#define IGD_DOCUMENTS_MAX 12
#define IGD_TARGETS_MAX 24
#define IGD_PATH_SIZE 48

struct igd_device {
	const char *name; /* "InternetGatewayDevice" */
	uint8_t version;
	const struct igd_service *(*services[IGD_SERVICES_MAX])(
		void); /* ends with NULL */
};

/** Devices from the root down, each the only child of the one before it. */
struct igd_face {
	uint8_t bit;	    /* in lan_info.igd */
	bool eventing;	    /* GENA works: eventSubURL and sendEvents say so (DESC-5) */
	bool modern;	    /* http_agent_is_legacy() clients are shown nothing of it */
	const char *prefix; /* of every URL: "/igd1" */
	size_t device_count;
	struct igd_device devices[IGD_DEVICES_MAX];
};

/** The faces we have; row 0 is IGD:1, row 1 IGD:2. NULL beyond the last. */
const struct igd_face *igd_face_get(size_t index);

struct igd_document {
	char path[IGD_PATH_SIZE];
	bool modern; /* of a service that legacy clients are not shown */
	struct xmldoc xml;
};

/** The control URL of one service, and that of its events; empty = it has none. */
struct igd_control {
	char path[IGD_PATH_SIZE];
	char event[IGD_PATH_SIZE];
	const struct igd_service *service;
};

/** A face of this very gateway: identities, documents, URLs. Immutable once made. */
struct igd_site {
	const struct igd_face *face;
	uint32_t config_id; /* 0..16777215, of the documents (SSDP-15) */
	char uuids[IGD_DEVICES_MAX][UPNP_UUID_SIZE];
	char default_connection[160]; /* IGD-60 */
	size_t document_count;
	struct igd_document documents[IGD_DOCUMENTS_MAX]; /* the description first */
	struct xmldoc legacy; /* the description as legacy clients get it (IGD-6) */
	size_t control_count;
	struct igd_control controls[IGD_DOCUMENTS_MAX];
	size_t target_count;
	struct ssdp_target targets[IGD_TARGETS_MAX]; /* the root's type first (CL-9) */
};

/** Owns: caller frees. Errors: NULL (memory). */
struct igd_site *igd_site_new(const struct igd_face *face,
			      const struct worker_setup *setup);
void igd_site_free(struct igd_site *site);

/*
 * What is at a path; NULL = nothing. legacy: for a client that http_agent_is_legacy()
 * names, who gets the description without what came after version 1, and nothing at all
 * of the rest (IGD-6).
 */
const struct xmldoc *igd_site_find_document(const struct igd_site *site,
					    const char *path, bool legacy);
const struct igd_service *igd_site_find_control(const struct igd_site *site,
						const char *path, bool legacy);
/** The service whose events are subscribed to there, face->eventing or not (GENA-13).
 */
const struct igd_service *igd_site_find_event(const struct igd_site *site,
					      const char *path, bool legacy);

#endif
