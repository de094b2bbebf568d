/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/igd_desc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_PREFIX "urn:schemas-upnp-org:device:"
#define SERVICE_PREFIX "urn:schemas-upnp-org:service:"
#define SERVICE_ID_PREFIX "urn:upnp-org:serviceId:"
#define DEVICE_NS "urn:schemas-upnp-org:device-1-0"
#define SERVICE_NS "urn:schemas-upnp-org:service-1-0"
#define CONFIG_ID_MASK 0xffffffu

const struct igd_face *igd_face_get(size_t index)
{
	static const struct igd_face faces[] = {
		{.bit = 1,
		 .eventing = true,
		 .prefix = "/igd1",
		 .device_count = 3,
		 .devices = {{"InternetGatewayDevice", 1, {igd_get_l3f1}},
			     {"WANDevice", 1, {igd_get_wancic1}},
			     {"WANConnectionDevice",
			      1,
			      {igd_get_wanip1, igd_get_v6fc1}}}},
		{.bit = 2,
		 .eventing = true,
		 .modern = true,
		 .prefix = "/igd2",
		 .device_count = 3,
		 .devices = {{"InternetGatewayDevice", 2, {igd_get_l3f1}},
			     {"WANDevice", 2, {igd_get_wancic1}},
			     {"WANConnectionDevice",
			      2,
			      {igd_get_wanip2, igd_get_v6fc1}}}},
	};

	return index < sizeof(faces) / sizeof(faces[0]) ? &faces[index] : NULL;
}

static const struct igd_service *device_get_service(const struct igd_device *device,
						    size_t index)
{
	if (index >= IGD_SERVICES_MAX || !device->services[index])
		return NULL;
	return device->services[index]();
}

/* ---- identity ---- */

/* Of one service; absolute, no URLBase (CL-12). */
static void make_path(const struct igd_face *face, const char *place,
		      const struct igd_service *service, char path[IGD_PATH_SIZE])
{
	(void)snprintf(path, IGD_PATH_SIZE, "%s/%s/%s", face->prefix, place,
		       service->id);
}

/* One uuid a device, the same after every restart: the gateway's, with the face and the
 * place in the tree in the last octet (SSDP-11). */
static void make_uuids(struct igd_site *site, const struct worker_setup *setup)
{
	for (size_t i = 0; i < site->face->device_count; i++) {
		uint8_t uuid[16];

		memcpy(uuid, setup->uuid, sizeof(uuid));
		uuid[15] ^= (uint8_t)((unsigned int)site->face->bit << 4 | i);
		upnp_format_uuid(uuid, site->uuids[i]);
	}
}

static void make_default_connection(struct igd_site *site)
{
	const struct igd_face *face = site->face;
	size_t last = face->device_count - 1;
	const struct igd_device *device = &face->devices[last];

	(void)snprintf(site->default_connection, sizeof(site->default_connection),
		       "uuid:%s:%s:%u," SERVICE_ID_PREFIX "%s", site->uuids[last],
		       device->name, (unsigned int)device->version,
		       device_get_service(device, 0)->id);
}

static struct ssdp_target *add_target(struct igd_site *site, enum ssdp_kind kind,
				      size_t device)
{
	struct ssdp_target *target = &site->targets[site->target_count++];

	target->kind = kind;
	target->modern = site->face->modern;
	memcpy(target->uuid, site->uuids[device], sizeof(target->uuid));
	return target;
}

static void add_device_target(struct igd_site *site, size_t index)
{
	struct ssdp_target *target = add_target(site, SSDP_TYPE, index);

	target->version = site->face->devices[index].version;
	(void)snprintf(target->type, sizeof(target->type), DEVICE_PREFIX "%s",
		       site->face->devices[index].name);
}

static void add_service_target(struct igd_site *site, size_t index,
			       const struct igd_service *service)
{
	struct ssdp_target *target = add_target(site, SSDP_TYPE, index);

	target->version = service->version;
	target->modern |= service->modern;
	(void)snprintf(target->type, sizeof(target->type), SERVICE_PREFIX "%s",
		       service->name);
}

/* The root three times, other devices twice, services once (SSDP-8); nothing that is
 * not in the description (SSDP-17). */
static void make_targets(struct igd_site *site)
{
	const struct igd_face *face = site->face;

	for (size_t i = 0; i < face->device_count; i++) {
		const struct igd_service *service;

		add_device_target(site, i);
		if (i == 0)
			(void)add_target(site, SSDP_ROOT, i);
		(void)add_target(site, SSDP_UUID, i);
		for (size_t k = 0; (service = device_get_service(&face->devices[i], k));
		     k++)
			add_service_target(site, i, service);
	}
}

static void make_controls(struct igd_site *site)
{
	const struct igd_face *face = site->face;

	for (size_t i = 0; i < face->device_count; i++) {
		const struct igd_service *service;

		for (size_t k = 0; (service = device_get_service(&face->devices[i], k));
		     k++) {
			struct igd_control *control =
				&site->controls[site->control_count++];

			control->service = service;
			make_path(face, "ctl", service, control->path);
			if (igd_service_has_events(service))
				make_path(face, "evt", service, control->event);
		}
	}
}

/* ---- device description (DESC-1 to DESC-4) ---- */

static void write_service_url(struct xml_writer *writer, const char *element,
			      const char *place, const struct igd_site *site,
			      const struct igd_service *service)
{
	char path[IGD_PATH_SIZE];

	make_path(site->face, place, service, path);
	xml_writer_element(writer, element, path);
}

static void write_service(struct xml_writer *writer, const struct igd_site *site,
			  const struct igd_service *service)
{
	char text[SOAP_TYPE_SIZE];

	xml_writer_open(writer, "service");
	(void)snprintf(text, sizeof(text), SERVICE_PREFIX "%s:%u", service->name,
		       (unsigned int)service->version);
	xml_writer_element(writer, "serviceType", text);
	(void)snprintf(text, sizeof(text), SERVICE_ID_PREFIX "%s", service->id);
	xml_writer_element(writer, "serviceId", text);
	write_service_url(writer, "SCPDURL", "scpd", site, service);
	write_service_url(writer, "controlURL", "ctl", site, service);
	if (site->face->eventing && igd_service_has_events(service))
		write_service_url(writer, "eventSubURL", "evt", site, service);
	else
		xml_writer_element(writer, "eventSubURL", "");
	xml_writer_close(writer);
}

static void write_device_head(struct xml_writer *writer, const struct igd_site *site,
			      size_t index, const char *friendly_name)
{
	const struct igd_device *device = &site->face->devices[index];
	char text[SOAP_TYPE_SIZE];

	(void)snprintf(text, sizeof(text), DEVICE_PREFIX "%s:%u", device->name,
		       (unsigned int)device->version);
	xml_writer_element(writer, "deviceType", text);
	xml_writer_element(writer, "friendlyName", friendly_name);
	xml_writer_element(writer, "manufacturer", "portreeve");
	xml_writer_element(writer, "modelDescription", "Leases of ports on a gateway");
	xml_writer_element(writer, "modelName", "portreeve");
	xml_writer_element(writer, "modelNumber", PORTREEVE_VERSION);
	xml_writer_element(writer, "serialNumber", site->uuids[0]);
	(void)snprintf(text, sizeof(text), "uuid:%s", site->uuids[index]);
	xml_writer_element(writer, "UDN", text);
}

/* What a description is written for. */
struct reading {
	const char *friendly_name;
	bool legacy; /* without what http_agent_is_legacy() clients do not see */
};

static void open_device(struct xml_writer *writer, const struct igd_site *site,
			size_t index, const struct reading *reading)
{
	const struct igd_device *device = &site->face->devices[index];
	const struct igd_service *service;

	xml_writer_open(writer, "device");
	write_device_head(writer, site, index, reading->friendly_name);
	xml_writer_open(writer, "serviceList");
	for (size_t i = 0; (service = device_get_service(device, i)); i++)
		if (!reading->legacy || !service->modern)
			write_service(writer, site, service);
	xml_writer_close(writer);
}

static void write_spec_version(struct xml_writer *writer)
{
	xml_writer_open(writer, "specVersion");
	xml_writer_element(writer, "major", "1");
	xml_writer_element(writer, "minor", "1");
	xml_writer_close(writer);
}

static bool write_description(const struct igd_site *site,
			      const struct reading *reading, struct xmldoc *out)
{
	struct xml_writer *writer = xml_writer_new();
	char config_id[16];

	xml_writer_open(writer, "root");
	xml_writer_attribute(writer, "xmlns", DEVICE_NS);
	(void)snprintf(config_id, sizeof(config_id), "%u", site->config_id);
	xml_writer_attribute(writer, "configId", config_id);
	write_spec_version(writer);
	for (size_t i = 0; i < site->face->device_count; i++) {
		open_device(writer, site, i, reading);
		if (i + 1 < site->face->device_count)
			xml_writer_open(writer, "deviceList");
	}
	for (size_t i = site->face->device_count; i-- > 0;) {
		if (i + 1 < site->face->device_count)
			xml_writer_close(writer); /* deviceList */
		if (i == 0) /* Windows shows the gateway only with it (DESC-2) */
			xml_writer_element(writer, "presentationURL", "/");
		xml_writer_close(writer);
	}
	xml_writer_close(writer);
	return xml_writer_finish(writer, out);
}

/* ---- service description (DESC-5, DESC-6) ---- */

static const char *type_get_name(enum igd_type type)
{
	switch (type) {
	case IGD_STRING:
		return "string";
	case IGD_BOOLEAN:
		return "boolean";
	case IGD_UI2:
		return "ui2";
	case IGD_UI4:
		return "ui4";
	}
	return "string";
}

static void write_args(struct xml_writer *writer, const struct igd_arg *args,
		       const char *direction)
{
	for (size_t i = 0; i < IGD_ARGS_MAX && args[i].name; i++) {
		xml_writer_open(writer, "argument");
		xml_writer_element(writer, "name", args[i].name);
		xml_writer_element(writer, "direction", direction);
		xml_writer_element(writer, "relatedStateVariable", args[i].var);
		xml_writer_close(writer);
	}
}

static void write_action(struct xml_writer *writer, const struct igd_action *action)
{
	xml_writer_open(writer, "action");
	xml_writer_element(writer, "name", action->name);
	if (action->in[0].name || action->out[0].name) {
		xml_writer_open(writer, "argumentList");
		write_args(writer, action->in, "in");
		write_args(writer, action->out, "out");
		xml_writer_close(writer);
	}
	xml_writer_close(writer);
}

static void write_number(struct xml_writer *writer, const char *element, uint32_t value)
{
	char digits[16];

	(void)snprintf(digits, sizeof(digits), "%u", value);
	xml_writer_element(writer, element, digits);
}

static void write_range(struct xml_writer *writer, const struct igd_range *range)
{
	xml_writer_open(writer, "allowedValueRange");
	write_number(writer, "minimum", range->low);
	write_number(writer, "maximum", range->high);
	write_number(writer, "step", 1);
	xml_writer_close(writer);
}

static void write_var(struct xml_writer *writer, const struct igd_service *service,
		      const struct igd_var *var, bool eventing)
{
	xml_writer_open(writer, "stateVariable");
	xml_writer_attribute(writer, "sendEvents",
			     eventing && var->evented ? "yes" : "no");
	xml_writer_element(writer, "name", var->name);
	xml_writer_element(writer, "dataType", type_get_name(var->type));
	if (var->allowed[0]) {
		xml_writer_open(writer, "allowedValueList");
		for (size_t i = 0; i < IGD_ALLOWED_MAX && var->allowed[i]; i++)
			xml_writer_element(writer, "allowedValue", var->allowed[i]);
		xml_writer_close(writer);
	}
	if (var->range.high > 0 && var->range.since <= service->version)
		write_range(writer, &var->range);
	xml_writer_close(writer);
}

static bool write_scpd(const struct igd_service *service, bool eventing,
		       struct xmldoc *out)
{
	struct xml_writer *writer = xml_writer_new();

	xml_writer_open(writer, "scpd");
	xml_writer_attribute(writer, "xmlns", SERVICE_NS);
	write_spec_version(writer);
	xml_writer_open(writer, "actionList");
	for (size_t i = 0; i < service->action_count; i++)
		if (service->actions[i].since <= service->version)
			write_action(writer, &service->actions[i]);
	xml_writer_close(writer);
	xml_writer_open(writer, "serviceStateTable");
	for (size_t i = 0; i < service->var_count; i++)
		if (service->vars[i].since <= service->version)
			write_var(writer, service, &service->vars[i], eventing);
	xml_writer_close(writer);
	xml_writer_close(writer);
	return xml_writer_finish(writer, out);
}

/* ---- all together ---- */

static uint32_t hash_document(uint32_t hash, const struct xmldoc *doc)
{
	/* FNV-1a */
	for (size_t i = 0; i < doc->length; i++)
		hash = (hash ^ (uint8_t)doc->bytes[i]) * 16777619u;
	return hash;
}

static bool make_scpds(struct igd_site *site, uint32_t *hash)
{
	for (size_t i = 0; i < site->control_count; i++) {
		const struct igd_service *service = site->controls[i].service;
		struct igd_document *doc = &site->documents[site->document_count++];

		make_path(site->face, "scpd", service, doc->path);
		doc->modern = service->modern;
		if (!write_scpd(service, site->face->eventing, &doc->xml))
			return false;
		*hash = hash_document(*hash, &doc->xml);
	}
	return true;
}

/* The description for everybody and the one for legacy clients. */
static bool make_descriptions(struct igd_site *site, const char *friendly_name)
{
	const struct reading full = {friendly_name, false};
	const struct reading legacy = {friendly_name, true};

	xmldoc_fini(&site->documents[0].xml);
	xmldoc_fini(&site->legacy);
	return write_description(site, &full, &site->documents[0].xml) &&
	       write_description(site, &legacy, &site->legacy);
}

static bool make_documents(struct igd_site *site, const char *friendly_name)
{
	struct igd_document *root = &site->documents[site->document_count++];
	uint32_t hash = 2166136261u;

	(void)snprintf(root->path, sizeof(root->path), "%s/root.xml",
		       site->face->prefix);
	if (!make_scpds(site, &hash))
		return false;
	/* A description holds the hash, so it is hashed with 0 in that place. */
	if (!make_descriptions(site, friendly_name))
		return false;
	hash = hash_document(hash, &root->xml);
	hash = hash_document(hash, &site->legacy);
	site->config_id = (hash ^ hash >> 24) & CONFIG_ID_MASK;
	return make_descriptions(site, friendly_name);
}

struct igd_site *igd_site_new(const struct igd_face *face,
			      const struct worker_setup *setup)
{
	struct igd_site *site = calloc(1, sizeof(*site));
	char friendly_name[sizeof(setup->friendly_name)];

	if (!site)
		return NULL;
	site->face = face;
	text_copy_clean(friendly_name, sizeof(friendly_name), setup->friendly_name,
			strnlen(setup->friendly_name, sizeof(setup->friendly_name)));
	make_uuids(site, setup);
	make_default_connection(site);
	make_targets(site);
	make_controls(site);
	if (!make_documents(site, friendly_name[0] ? friendly_name : "portreeve")) {
		igd_site_free(site);
		return NULL;
	}
	return site;
}

void igd_site_free(struct igd_site *site)
{
	if (!site)
		return;
	for (size_t i = 0; i < site->document_count; i++)
		xmldoc_fini(&site->documents[i].xml);
	xmldoc_fini(&site->legacy);
	free(site);
}

const struct xmldoc *igd_site_find_document(const struct igd_site *site,
					    const char *path, bool legacy)
{
	if (legacy && site->face->modern)
		return NULL;
	for (size_t i = 0; i < site->document_count; i++) {
		const struct igd_document *document = &site->documents[i];

		if (strcmp(document->path, path) != 0 || (legacy && document->modern))
			continue;
		return legacy && i == 0 ? &site->legacy : &document->xml;
	}
	return NULL;
}

static bool is_shown(const struct igd_site *site, const struct igd_service *service,
		     bool legacy)
{
	return !legacy || (!site->face->modern && !service->modern);
}

const struct igd_service *igd_site_find_control(const struct igd_site *site,
						const char *path, bool legacy)
{
	for (size_t i = 0; i < site->control_count; i++)
		if (strcmp(site->controls[i].path, path) == 0 &&
		    is_shown(site, site->controls[i].service, legacy))
			return site->controls[i].service;
	return NULL;
}

const struct igd_service *igd_site_find_event(const struct igd_site *site,
					      const char *path, bool legacy)
{
	for (size_t i = 0; *path && i < site->control_count; i++)
		if (strcmp(site->controls[i].event, path) == 0 &&
		    is_shown(site, site->controls[i].service, legacy))
			return site->controls[i].service;
	return NULL;
}
