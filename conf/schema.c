/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/parser.h"

#include <assert.h>
#include <string.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define MEMBER(type, member)                                                           \
	.offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)

/* Below it a worker without capabilities could not bind. */
#define HTTP_PORT_MIN 1024

static const struct conf_word yes_words[] = {
	{"yes", 1}, {"no", 0}, {"on", 1}, {"off", 0}, {NULL, 0},
};

static const struct conf_word protocol_words[] = {
	{"upnp", CONF_PROTOCOL_UPNP},
	{"nat-pmp", CONF_PROTOCOL_NATPMP},
	{"pcp", CONF_PROTOCOL_PCP},
	{NULL, 0},
};

static const struct conf_word opcode_words[] = {
	{"map", CONF_PCP_MAP}, {"peer", CONF_PCP_PEER}, {NULL, 0}};

static const struct conf_word nonce_words[] = {
	{"strict", 0}, {"relaxed", 1}, {NULL, 0}};

static const struct conf_word igd_words[] = {
	{"1", 1}, {"both", 3}, {"2", 2}, {NULL, 0}};

static const struct conf_word pinhole_words[] = {
	{"on", CONF_PINHOLES_ON},
	{"off", CONF_PINHOLES_OFF},
	{"no-firewall", CONF_PINHOLES_NO_FIREWALL},
	{NULL, 0},
};

static const struct conf_word same_host_words[] = {
	{"address", 0}, {"mac", 1}, {NULL, 0}};

static const struct conf_word forbidden_words[] = {{"end", 0}, {"keep", 1}, {NULL, 0}};

static const struct conf_word identity_words[] = {
	{"address", 0}, {"mac", 1}, {NULL, 0}};

static const struct conf_word backend_words[] = {
	{"auto", CONF_BACKEND_AUTO},
	{"nftables", CONF_BACKEND_NFTABLES},
	{"iptables", CONF_BACKEND_IPTABLES},
	{"memory", CONF_BACKEND_MEMORY},
	{NULL, 0},
};

static const struct conf_word delay_words[] = {{"short", 0}, {"strict", 1}, {NULL, 0}};

static const struct conf_word level_words[] = {
	{"error", LOG_LEVEL_ERROR},   {"warning", LOG_LEVEL_WARNING},
	{"notice", LOG_LEVEL_NOTICE}, {"info", LOG_LEVEL_INFO},
	{"debug", LOG_LEVEL_DEBUG},   {NULL, 0},
};

static const struct conf_field wan_fields[] = {
	{"interface", CONF_TYPE_INTERFACE_AUTO, MEMBER(struct conf, wan.interface)},
	{"address", CONF_TYPE_WAN_ADDRESS, MEMBER(struct conf, wan)},
	{"nat", CONF_TYPE_WORD, MEMBER(struct conf, wan.nat), .words = yes_words},
	{"bit-rate-up", CONF_TYPE_RATE, MEMBER(struct conf, wan.bit_rate_up)},
	{"bit-rate-down", CONF_TYPE_RATE, MEMBER(struct conf, wan.bit_rate_down)},
	{"nat64-prefix", CONF_TYPE_NAT64_OR_NONE, MEMBER(struct conf, wan.nat64)},
	{"pinholes", CONF_TYPE_WORD, MEMBER(struct conf, wan.pinholes),
	 .words = pinhole_words},
};

/* Offsets in struct conf_lan. */
static const struct conf_field lan_fields[] = {
	{"protocols", CONF_TYPE_FLAGS, MEMBER(struct conf_lan, protocols),
	 .words = protocol_words},
	{"igd", CONF_TYPE_WORD, MEMBER(struct conf_lan, igd), .words = igd_words},
	{"networks", CONF_TYPE_NETWORKS, .offset = 0},
	{"pcp-anycast", CONF_TYPE_WORD, MEMBER(struct conf_lan, pcp_anycast),
	 .words = yes_words},
};

static const struct conf_field policy_fields[] = {
	{"rule", CONF_TYPE_RULE, .offset = 0},
	{"forbidden-leases", CONF_TYPE_WORD, MEMBER(struct conf, keep_forbidden),
	 .words = forbidden_words},
};

static const struct conf_field backend_fields[] = {
	{"type", CONF_TYPE_WORD, MEMBER(struct conf, backend.type),
	 .words = backend_words},
	{"mark", CONF_TYPE_MARK, MEMBER(struct conf, backend.mark)},
	{"keep-rules", CONF_TYPE_WORD, MEMBER(struct conf, backend.keep_rules),
	 .words = yes_words},
	{"keep-flows", CONF_TYPE_WORD, MEMBER(struct conf, backend.keep_flows),
	 .words = yes_words},
	{"integrate", CONF_TYPE_CHAIN, MEMBER(struct conf, backend.integrate)},
};

static const struct conf_field limits_fields[] = {
	{"leases-per-client", CONF_TYPE_NUMBER,
	 MEMBER(struct conf, limits.leases_per_client), .max = UINT32_MAX},
	{"leases-total", CONF_TYPE_NUMBER, MEMBER(struct conf, limits.leases_total),
	 .max = UINT32_MAX},
	{"requests-per-second", CONF_TYPE_NUMBER,
	 MEMBER(struct conf, limits.requests_per_second), .max = UINT32_MAX},
	{"lifetime-min", CONF_TYPE_SECONDS, MEMBER(struct conf, limits.lifetime_min_s)},
	{"lifetime-max", CONF_TYPE_SECONDS, MEMBER(struct conf, limits.lifetime_max_s)},
	{"igd-lifetime-max", CONF_TYPE_SECONDS,
	 MEMBER(struct conf, limits.igd_lifetime_max_s)},
	{"filters-per-lease", CONF_TYPE_NUMBER,
	 MEMBER(struct conf, limits.filters_per_lease), .min = 1,
	 .max = CONF_FILTERS_MAX},
	{"ports-per-request", CONF_TYPE_NUMBER,
	 MEMBER(struct conf, limits.ports_per_request), .min = 1,
	 .max = CONF_PORTS_MAX},
};

static const struct conf_field global_fields[] = {
	{"state-dir", CONF_TYPE_PATH_OR_NONE, MEMBER(struct conf, global.state_dir)},
	{"control-socket", CONF_TYPE_PATH, MEMBER(struct conf, global.control_socket)},
	{"http-port", CONF_TYPE_NUMBER, MEMBER(struct conf, global.http_port),
	 .min = HTTP_PORT_MIN, .max = UINT16_MAX},
	{"ssdp-delay", CONF_TYPE_WORD, MEMBER(struct conf, global.ssdp_strict),
	 .words = delay_words},
	{"igd-same-host", CONF_TYPE_WORD, MEMBER(struct conf, global.igd_same_host_mac),
	 .words = same_host_words},
	{"host-identity", CONF_TYPE_WORD, MEMBER(struct conf, global.hosts_by_mac),
	 .words = identity_words},
	{"pcp-opcodes", CONF_TYPE_FLAGS, MEMBER(struct conf, global.pcp_opcodes),
	 .words = opcode_words},
	{"pcp-nonce-check", CONF_TYPE_WORD,
	 MEMBER(struct conf, global.pcp_nonce_relaxed), .words = nonce_words},
	{"log-level", CONF_TYPE_WORD, MEMBER(struct conf, global.log_level),
	 .words = level_words},
	{"user", CONF_TYPE_USER, MEMBER(struct conf, global.user)},
	{"net-user", CONF_TYPE_USER, MEMBER(struct conf, global.net_user)},
	{"friendly-name", CONF_TYPE_TEXT, MEMBER(struct conf, global.friendly_name)},
};

enum {
	ROW_WAN = 0,
	ROW_LAN = ROW_WAN + COUNT(wan_fields),
	ROW_POLICY = ROW_LAN + COUNT(lan_fields),
	ROW_BACKEND = ROW_POLICY + COUNT(policy_fields),
	ROW_LIMITS = ROW_BACKEND + COUNT(backend_fields),
	ROW_GLOBAL = ROW_LIMITS + COUNT(limits_fields),
	ROW_COUNT = ROW_GLOBAL + COUNT(global_fields),
};
static_assert((size_t)ROW_COUNT <= CONF_FIELDS_MAX, "where[] must hold every key");

static const struct conf_section sections[] = {
	{"wan", wan_fields, COUNT(wan_fields), ROW_WAN},
	{"lan", lan_fields, COUNT(lan_fields), ROW_LAN},
	{"policy", policy_fields, COUNT(policy_fields), ROW_POLICY},
	{"backend", backend_fields, COUNT(backend_fields), ROW_BACKEND},
	{"limits", limits_fields, COUNT(limits_fields), ROW_LIMITS},
	{"global", global_fields, COUNT(global_fields), ROW_GLOBAL},
};

const struct conf_section *conf_section_get(size_t index)
{
	return index < COUNT(sections) ? &sections[index] : NULL;
}

const struct conf_section *conf_section_find(const char *name)
{
	for (size_t i = 0; i < COUNT(sections); i++)
		if (strcmp(sections[i].name, name) == 0)
			return &sections[i];
	return NULL;
}

const struct conf_field *conf_field_find(const struct conf_section *section,
					 const char *key)
{
	for (size_t i = 0; i < section->field_count; i++)
		if (strcmp(section->fields[i].key, key) == 0)
			return &section->fields[i];
	return NULL;
}

const struct conf_where *conf_where_get(const struct conf_parser *parser,
					const char *section, const char *key)
{
	const struct conf_section *found = conf_section_find(section);
	const struct conf_field *field = found ? conf_field_find(found, key) : NULL;

	assert(field != NULL);
	return &parser->where[found->first_row + (size_t)(field - found->fields)];
}
