/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/parser.h"

#include <string.h>

static bool check_lifetimes(struct conf_parser *parser)
{
	const struct conf *conf = parser->conf;
	const uint32_t min = conf->limits.lifetime_min_s,
		       max = conf->limits.lifetime_max_s;
	const struct conf_where *where =
		conf_where_get(parser, "limits", "lifetime-max");

	if (max != 0 && min > max) {
		if (where->file == NULL)
			where = conf_where_get(parser, "limits", "lifetime-min");
		return conf_fail(
			parser, where,
			"lifetime-min is %u s and lifetime-max %u s; the first must "
			"not exceed the second",
			min, max);
	}
	for (size_t i = 0; i < conf->rule_count; i++) {
		const uint32_t own = conf->rules[i].lifetime_max_s;

		if (own != 0 && own < min)
			return conf_fail(
				parser, &parser->rule_where[i],
				"lifetime-max of the rule is %u s, less than "
				"lifetime-min of [limits], %u s; change one of them",
				own, min);
	}
	return true;
}

static bool check_lans(struct conf_parser *parser)
{
	const struct conf *conf = parser->conf;

	for (size_t i = 0; i < conf->lan_count; i++)
		if (strcmp(conf->lans[i].name, conf->wan.interface) == 0)
			return conf_fail(
				parser, &parser->lan_where[i],
				"[lan %s] is the interface of [wan] too; a network "
				"is either inside or outside",
				conf->lans[i].name);
	/* PCP-119 */
	for (size_t i = 0; i < conf->lan_count; i++)
		if (conf->lans[i].pcp_anycast &&
		    (conf->lans[i].protocols & CONF_PROTOCOL_PCP) == 0)
			return conf_fail(
				parser, &parser->lan_where[i],
				"[lan %s] has pcp-anycast = yes, but its protocols are "
				"without pcp; add pcp there, or take pcp-anycast out",
				conf->lans[i].name);
	return true;
}

static bool has_lan(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->lan_count; i++)
		if (strcmp(conf->lans[i].name, name) == 0)
			return true;
	return false;
}

/* With LANs found by themselves no name is wrong. */
static bool check_rule_lans(struct conf_parser *parser)
{
	const struct conf *conf = parser->conf;

	for (size_t i = 0; i < conf->rule_count && conf->lan_count > 0; i++) {
		const char *name = conf->rules[i].lan;

		if (name[0] != '\0' && !has_lan(conf, name))
			return conf_fail(
				parser, &parser->rule_where[i],
				"the rule is for lan %s, which has no section; add "
				"[lan %s] or correct the name",
				name, name);
	}
	return true;
}

static bool check_ports(struct conf_parser *parser)
{
	static const struct {
		uint16_t port;
		const char *use;
	} rows[] = {{1900, "SSDP"},
		    {5350, "NAT-PMP and PCP announcements"},
		    {5351, "NAT-PMP and PCP"}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (parser->conf->global.http_port == rows[i].port)
			return conf_fail(
				parser, conf_where_get(parser, "global", "http-port"),
				"http-port %u is the port of %s; choose another, "
				"such as 49152",
				rows[i].port, rows[i].use);
	return true;
}

/* Who bounds lifetimes bounds those of UPnP too, unless these have a bound of their
 * own. */
static void settle_igd_lifetime(struct conf_parser *parser)
{
	struct conf *conf = parser->conf;

	if (conf_where_get(parser, "limits", "lifetime-max")->file != NULL &&
	    conf_where_get(parser, "limits", "igd-lifetime-max")->file == NULL)
		conf->limits.igd_lifetime_max_s = conf->limits.lifetime_max_s;
}

bool conf_check(struct conf_parser *parser)
{
	settle_igd_lifetime(parser);
	return check_lifetimes(parser) && check_lans(parser) &&
	       check_rule_lans(parser) && check_ports(parser);
}
