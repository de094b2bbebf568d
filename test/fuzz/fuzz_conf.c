/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
	if (!condition)
		abort();
}

/* What everybody who reads a struct conf relies on. */
static void check_conf(const struct conf *conf)
{
	require(conf->lan_count <= CONF_LANS_MAX);
	require(conf->rule_count <= CONF_RULES_MAX);
	require(conf->backend.mark != 0);
	require(conf->global.http_port >= 1024);
	require(conf->global.control_socket[0] == '/');
	require(memchr(conf->global.friendly_name, '\0', CONF_NAME_MAX) != NULL);
	for (size_t i = 0; i < conf->lan_count; i++) {
		require(conf->lans[i].name[0] != '\0');
		require(conf->lans[i].protocols != 0);
		require(conf->lans[i].igd >= 1 && conf->lans[i].igd <= 3);
		require(conf->lans[i].network_count <= CONF_NETWORKS_MAX);
	}
	for (size_t i = 0; i < conf->rule_count; i++) {
		const struct conf_rule *rule = &conf->rules[i];

		require(rule->external.first >= 1);
		require(rule->external.first <= rule->external.last);
		require(rule->internal.first >= 1);
		require(rule->internal.first <= rule->internal.last);
		require(rule->allow || !rule->has_third_party);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[CONF_ERROR_MAX];
	struct conf conf;

	memset(error, 0x7f, sizeof(error));
	if (conf_parse("f", (const char *)data, size, &conf, error) == 0) {
		check_conf(&conf);
		return 0;
	}
	/* A message for people: "f:LINE: ...", one line. */
	require(memchr(error, '\0', sizeof(error)) != NULL);
	require(strncmp(error, "f:", 2) == 0);
	require(strchr(error, '\n') == NULL);
	return 0;
}
