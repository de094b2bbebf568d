/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the documents as a control point would: with another parser than wrote them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "protocols/igd_desc.h"

/* What consoles read of a description (DESC-4); a service's own list may be longer:
 * that of WANIPConnection:1 is, in every device. */
#define DESCRIPTION_SIZE_MAX 8192
#define SCPD_SIZE_MAX 12288

static const struct worker_setup setup = {
	.uuid = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0x4d, 0xef, 0x80, 1, 2, 3, 4, 5, 6,
		 7},
	.friendly_name = "Gate <& \"Garden\">",
};

static struct igd_site *site;

static int make(size_t face)
{
	site = igd_site_new(igd_face_get(face), &setup);
	return site ? 0 : -1;
}

static int make_1(void **state)
{
	(void)state;
	return make(0);
}

static int make_2(void **state)
{
	(void)state;
	return make(1);
}

static int unmake(void **state)
{
	(void)state;
	igd_site_free(site);
	return 0;
}

/* Of devices and of WANIPConnection. */
static unsigned int get_version(void)
{
	return site->face->bit;
}

static xmlDocPtr parse(const struct xmldoc *doc)
{
	xmlDocPtr xml = xmlReadMemory(doc->bytes, (int)doc->length, NULL, NULL,
				      XML_PARSE_NONET);

	assert_non_null(xml);
	return xml;
}

static bool is_named(const xmlNode *node, const char *name)
{
	return strcmp((const char *)node->name, name) == 0;
}

static xmlNode *child(const xmlNode *node, const char *name)
{
	for (xmlNode *at = node->children; at; at = at->next)
		if (at->type == XML_ELEMENT_NODE && is_named(at, name))
			return at;
	return NULL;
}

static const char *text(const xmlNode *node, const char *name)
{
	const xmlNode *at = child(node, name);

	assert_non_null(at);
	return at->children ? (const char *)at->children->content : "";
}

static void assert_children(const xmlNode *node, const char *const *names)
{
	const xmlNode *at = node->children;

	for (; *names; names++, at = at->next) {
		assert_non_null(at);
		assert_string_equal((const char *)at->name, *names);
	}
	assert_null(at);
}

/* DESC-1, DESC-2, DESC-3, CL-12, IGD-3, IGD-4, and the order of elements */
static void assert_service(const xmlNode *service, const char *name,
			   unsigned int version, const char *id)
{
	static const char *const order[] = {"serviceType", "serviceId",	  "SCPDURL",
					    "controlURL",  "eventSubURL", NULL};
	char expected[128];

	assert_non_null(service);
	assert_children(service, order);
	(void)snprintf(expected, sizeof(expected), "urn:schemas-upnp-org:service:%s:%u",
		       name, version);
	assert_string_equal(text(service, "serviceType"), expected);
	(void)snprintf(expected, sizeof(expected), "urn:upnp-org:serviceId:%s", id);
	assert_string_equal(text(service, "serviceId"), expected);
	assert_non_null(igd_site_find_event(site, text(service, "eventSubURL"), false));
	assert_non_null(igd_site_find_document(site, text(service, "SCPDURL"), false));
	assert_non_null(
		igd_site_find_control(site, text(service, "controlURL"), false));
	assert_int_equal(text(service, "controlURL")[0], '/');
}

static void test_tree(void **state)
{
	static const struct {
		const char *device;
		const char *service;
		const char *id;
	} rows[] = {
		{"InternetGatewayDevice", "Layer3Forwarding", "L3Forwarding1"},
		{"WANDevice", "WANCommonInterfaceConfig", "WANCommonIFC1"},
		{"WANConnectionDevice", "WANIPConnection", "WANIPConn1"},
	};
	xmlDocPtr xml = parse(&site->documents[0].xml);
	const xmlNode *at = xmlDocGetRootElement(xml);
	const xmlNode *services = NULL;
	char expected[128];

	(void)state;
	(void)snprintf(expected, sizeof(expected), "/igd%u/root.xml", get_version());
	assert_string_equal(site->documents[0].path, expected);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const xmlNode *device = child(at, "device");

		assert_non_null(device);
		(void)snprintf(expected, sizeof(expected),
			       "urn:schemas-upnp-org:device:%s:%u", rows[i].device,
			       get_version());
		assert_string_equal(text(device, "deviceType"), expected);
		(void)snprintf(expected, sizeof(expected), "uuid:%s", site->uuids[i]);
		assert_string_equal(text(device, "UDN"), expected);
		services = child(device, "serviceList");
		assert_non_null(services);
		assert_service(child(services, "service"), rows[i].service,
			       i == 2 ? get_version() : 1, rows[i].id);
		at = child(device, "deviceList");
	}
	assert_null(at);
	/* the last device has IPv6 beside IPv4, the others have one service each */
	assert_service(services->children->next, "WANIPv6FirewallControl", 1,
		       "WANIPv6Firewall1");
	assert_null(services->children->next->next);
	xmlFreeDoc(xml);
}

/* DESC-1, DESC-2 */
static void test_root(void **state)
{
	static const char *const root_order[] = {"specVersion", "device", NULL};
	static const char *const order[] = {
		"deviceType",  "friendlyName", "manufacturer",	  "modelDescription",
		"modelName",   "modelNumber",  "serialNumber",	  "UDN",
		"serviceList", "deviceList",   "presentationURL", NULL,
	};
	xmlDocPtr xml = parse(&site->documents[0].xml);
	const xmlNode *root = xmlDocGetRootElement(xml);
	xmlChar *config_id = xmlGetProp(root, BAD_CAST "configId");
	char expected[16];

	(void)state;
	assert_true(is_named(root, "root"));
	assert_string_equal((const char *)root->ns->href,
			    "urn:schemas-upnp-org:device-1-0");
	(void)snprintf(expected, sizeof(expected), "%u", site->config_id);
	assert_non_null(config_id);
	assert_string_equal((const char *)config_id, expected);
	xmlFree(config_id);
	assert_children(root, root_order);
	assert_string_equal(text(child(root, "specVersion"), "major"), "1");
	assert_children(child(root, "device"), order);
	assert_string_equal(text(child(root, "device"), "presentationURL"), "/");
	assert_null(child(root, "URLBase"));
	assert_non_null(
		strstr(site->documents[0].xml.bytes, "<friendlyName>Gate &lt;&amp; "));
	xmlFreeDoc(xml);
}

/* DESC-4, CL-23: every document is small, well-formed and begins at its first octet */
static void test_documents(void **state)
{
	(void)state;
	assert_int_equal(site->document_count, 5);
	for (size_t i = 0; i < site->document_count; i++) {
		xmlDocPtr xml = parse(&site->documents[i].xml);

		assert_true(site->documents[i].xml.length <=
			    (i == 0 ? DESCRIPTION_SIZE_MAX : SCPD_SIZE_MAX));
		assert_memory_equal(site->documents[i].xml.bytes, "<?xml ", 6);
		assert_true(igd_site_find_document(site, site->documents[i].path,
						   false) == &site->documents[i].xml);
		xmlFreeDoc(xml);
	}
	assert_null(igd_site_find_document(site, "/igd1/scpd/", false));
	assert_null(igd_site_find_document(site, "", false));
	assert_null(igd_site_find_control(site, "/igd1/ctl/WANIPConn2", false));
}

static size_t count_vars(const xmlNode *table, const char *name)
{
	size_t count = 0;

	for (const xmlNode *at = table->children; at; at = at->next)
		if (strcmp(text(at, "name"), name) == 0)
			count++;
	return count;
}

static void lint_action(const xmlNode *action, const xmlNode *table)
{
	const xmlNode *list = child(action, "argumentList");
	/* whose arguments have no prefix (igd.md §10) */
	bool is_firewall = count_vars(table, "FirewallEnabled") > 0;
	bool out = false;

	if (!list)
		return;
	assert_non_null(list->children); /* no empty list */
	for (const xmlNode *at = list->children; at; at = at->next) {
		bool is_out = strcmp(text(at, "direction"), "out") == 0;

		assert_true(is_out || strcmp(text(at, "direction"), "in") == 0);
		assert_true(is_out || !out); /* in before out */
		out = is_out;
		assert_int_equal(count_vars(table, text(at, "relatedStateVariable")),
				 1);
		assert_true(is_firewall || strncmp(text(at, "name"), "New", 3) == 0);
	}
}

/* By the service documents, all versions together (DESC-5) */
static bool is_evented(const char *name)
{
	static const char *const names[] = {
		"DefaultConnectionService", "PhysicalLinkStatus",
		"PossibleConnectionTypes",  "ConnectionStatus",
		"ExternalIPAddress",	    "PortMappingNumberOfEntries",
		"SystemUpdateID",	    "FirewallEnabled",
		"InboundPinholeAllowed",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* DESC-5 */
static void lint_scpd(const xmlNode *scpd)
{
	static const char *const order[] = {"specVersion", "actionList",
					    "serviceStateTable", NULL};
	const xmlNode *actions = child(scpd, "actionList");
	const xmlNode *table = child(scpd, "serviceStateTable");

	assert_children(scpd, order);
	assert_string_equal((const char *)scpd->ns->href,
			    "urn:schemas-upnp-org:service-1-0");
	for (const xmlNode *at = actions->children; at; at = at->next) {
		for (const xmlNode *other = at->next; other; other = other->next)
			assert_string_not_equal(text(at, "name"), text(other, "name"));
		lint_action(at, table);
	}
	for (const xmlNode *at = table->children; at; at = at->next) {
		xmlChar *events = xmlGetProp(at, BAD_CAST "sendEvents");

		assert_non_null(events);
		assert_string_equal((const char *)events,
				    is_evented(text(at, "name")) ? "yes" : "no");
		xmlFree(events);
		assert_int_equal(count_vars(table, text(at, "name")), 1);
	}
}

static void test_scpds(void **state)
{
	(void)state;
	for (size_t i = 1; i < site->document_count; i++) {
		xmlDocPtr xml = parse(&site->documents[i].xml);

		lint_scpd(xmlDocGetRootElement(xml));
		xmlFreeDoc(xml);
	}
}

/* Every variable that an action gives without asking core can be read (DESC-6). */
static void test_actions_work(void **state)
{
	(void)state;
	for (size_t i = 0; i < site->control_count; i++) {
		const struct igd_service *service = site->controls[i].service;

		for (size_t k = 0; k < service->action_count; k++) {
			const struct igd_action *action = &service->actions[k];

			assert_ptr_equal(igd_service_find_action(service, action->name),
					 action->since <= service->version ? action
									   : NULL);
			for (size_t a = 0;
			     !action->start && a < IGD_ARGS_MAX && action->out[a].name;
			     a++)
				assert_non_null(igd_service_find_var(service,
								     action->out[a].var)
							->read);
		}
	}
}

/* DESC-7, IGD-62, IGD-70: what makes Microsoft's clients stop, and what we do not do,
 * is not there. */
static void test_no_version_2(void **state)
{
	static const char *const words[] = {
		"AddAnyPortMapping",
		"DeletePortMappingRange",
		"GetListOfPortMappings",
		"SystemUpdateID",
		"A_ARG_TYPE_",
		"Device:2",
		"Connection:2",
		"WANPPPConnection",
		"IPv6",
		"LANDevice",
		"LANHostConfig",
		"DeviceProtection",
	};

	(void)state;
	for (size_t i = 0; i < site->document_count; i++) {
		const struct xmldoc *doc =
			igd_site_find_document(site, site->documents[i].path, true);

		for (size_t k = 0; doc && k < sizeof(words) / sizeof(words[0]); k++)
			assert_null(strstr(doc->bytes, words[k]));
	}
}

/* SSDP-11, SSDP-15: the same after a restart; other when something changed */
static void test_identity(void **state)
{
	struct worker_setup other = setup;
	struct igd_site *again = igd_site_new(site->face, &setup);

	(void)state;
	assert_non_null(again);
	assert_int_equal(again->config_id, site->config_id);
	assert_true(site->config_id <= 0xffffff);
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(again->uuids[i], site->uuids[i]);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(site->uuids[i], site->uuids[k]);
	}
	igd_site_free(again);
	other.friendly_name[0] = 'g';
	again = igd_site_new(site->face, &other);
	assert_non_null(again);
	assert_int_not_equal(again->config_id, site->config_id);
	igd_site_free(again);
	memset(other.friendly_name, 'x', sizeof(other.friendly_name)); /* no NUL */
	again = igd_site_new(site->face, &other);
	assert_non_null(again);
	igd_site_free(again);
}

/* IGD-6, SSDP-11: two root devices that share no name and no URL */
static void test_two_faces(void **state)
{
	struct igd_site *other =
		igd_site_new(igd_face_get(site->face->bit == 1 ? 1 : 0), &setup);

	(void)state;
	assert_non_null(other);
	assert_null(igd_face_get(2));
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 3; k++)
			assert_string_not_equal(site->uuids[i], other->uuids[k]);
	for (size_t i = 0; i < site->document_count; i++)
		assert_null(
			igd_site_find_document(other, site->documents[i].path, false));
	igd_site_free(other);
}

/* IGD-6, SSDP-20: what legacy clients are not shown is not told of to them either */
static void test_modern_targets(void **state)
{
	(void)state;
	for (size_t i = 0; i < site->target_count; i++) {
		const struct ssdp_target *target = &site->targets[i];

		assert_int_equal(target->modern,
				 get_version() > 1 || strstr(target->type, "IPv6"));
	}
}

/* Legacy clients get the same device without the later services (IGD-6, DESC-7). */
static void test_legacy(void **state)
{
	const char *path = site->documents[0].path;
	const struct xmldoc *doc = igd_site_find_document(site, path, true);

	(void)state;
	if (get_version() > 1) {
		for (size_t i = 0; i < site->document_count; i++)
			assert_null(igd_site_find_document(
				site, site->documents[i].path, true));
		for (size_t i = 0; i < site->control_count; i++)
			assert_null(igd_site_find_control(site, site->controls[i].path,
							  true));
		assert_null(igd_site_find_event(site, "/igd2/evt/WANIPConn1", true));
		return;
	}
	assert_non_null(doc);
	xmlFreeDoc(parse(doc));
	assert_null(strstr(doc->bytes, "IPv6"));
	assert_non_null(strstr(doc->bytes, site->uuids[2]));
	assert_non_null(strstr(doc->bytes, "WANIPConnection:1"));
	assert_null(igd_site_find_document(site, "/igd1/scpd/WANIPv6Firewall1", true));
	assert_null(igd_site_find_control(site, "/igd1/ctl/WANIPv6Firewall1", true));
	assert_null(igd_site_find_event(site, "/igd1/evt/WANIPv6Firewall1", true));
	assert_non_null(igd_site_find_event(site, "/igd1/evt/WANIPConn1", true));
	assert_non_null(igd_site_find_event(site, "/igd1/evt/WANIPv6Firewall1", false));
}

/* GENA-13: each service has its own event URL, and there are no others */
static void test_event_urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < site->control_count; i++) {
		const struct igd_service *service = site->controls[i].service;
		char path[IGD_PATH_SIZE];

		(void)snprintf(path, sizeof(path), "%s/evt/%s", site->face->prefix,
			       service->id);
		assert_ptr_equal(igd_site_find_event(site, path, false), service);
	}
	assert_null(igd_site_find_event(site, "/igd1/evt/", false));
	assert_null(igd_site_find_event(site, "/igd1/evt/WANIPConn2", false));
	assert_null(igd_site_find_event(site, "/igd1/ctl/WANIPConn1", false));
}

static bool holds(const char *path, const char *what)
{
	const struct xmldoc *doc = igd_site_find_document(site, path, false);

	assert_non_null(doc);
	return strstr(doc->bytes, what) != NULL;
}

/* DESC-5, DESC-6, IGD-14, V6FW-5: version 2 says what it has, and its ranges */
static void test_version_2(void **state)
{
	static const char *const words[] = {
		"<name>AddAnyPortMapping</name>",
		"<name>DeletePortMappingRange</name>",
		"<name>GetListOfPortMappings</name>",
		"<name>SystemUpdateID</name>",
		"<name>A_ARG_TYPE_Manage</name>",
		"<name>A_ARG_TYPE_PortListing</name>",
		"<minimum>0</minimum><maximum>604800</maximum>",
		"<minimum>1</minimum><maximum>65535</maximum>",
	};
	char path[IGD_PATH_SIZE];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/scpd/WANIPConn1", site->face->prefix);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_int_equal(holds(path, words[i]), get_version() > 1);
	assert_false(holds(path, "RequestTermination"));
	(void)snprintf(path, sizeof(path), "%s/scpd/WANIPv6Firewall1",
		       site->face->prefix);
	assert_true(holds(path, "<minimum>1</minimum><maximum>86400</maximum>"));
}

/* IGD-60 */
static void test_default_connection(void **state)
{
	char expected[160];

	(void)state;
	(void)snprintf(
		expected, sizeof(expected),
		"uuid:%s:WANConnectionDevice:%u,urn:upnp-org:serviceId:WANIPConn1",
		site->uuids[2], get_version());
	assert_string_equal(site->default_connection, expected);
}

#define BOTH(name)                                                                     \
	cmocka_unit_test_setup_teardown(name, make_1, unmake),                         \
		cmocka_unit_test_setup_teardown(name, make_2, unmake)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_tree),
		BOTH(test_root),
		BOTH(test_documents),
		BOTH(test_scpds),
		BOTH(test_actions_work),
		BOTH(test_identity),
		BOTH(test_default_connection),
		BOTH(test_two_faces),
		BOTH(test_modern_targets),
		BOTH(test_legacy),
		BOTH(test_event_urls),
		BOTH(test_version_2),
		BOTH(test_no_version_2),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	xmlCleanupParser();
	return failed;
}
