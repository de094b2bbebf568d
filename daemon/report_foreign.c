/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `status` says of the firewall besides our table. */
#include "daemon/report_foreign.h"

#include <json-c/json.h>
#include <stdio.h>

#include "base/varlink.h"
#include "conf/conf.h"

static const char *fate_get_name(enum packet_fate fate)
{
	switch (fate) {
	case PACKET_PASSES:
		return "passes";
	case PACKET_DROPPED:
		return "dropped";
	case PACKET_UNKNOWN:
		break;
	}
	return "unknown";
}

#define MODE_SIZE (8 + 2 * CONF_CHAIN_NAME_MAX)

static const char *mode_format(const struct conf_chain *integrate, char text[MODE_SIZE])
{
	switch (integrate->how) {
	case CONF_INTEGRATE_OFF:
		return "off";
	case CONF_INTEGRATE_AUTO:
		return "auto";
	case CONF_INTEGRATE_CHAIN:
		break;
	}
	(void)snprintf(text, MODE_SIZE, "%s %s %s", integrate->family, integrate->table,
		       integrate->chain);
	return text;
}

static struct json_object *rules_new(const struct foreign_figures *figures)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && figures && i < figures->rule_count; i++) {
		struct json_object *text = json_object_new_string(figures->rules[i]);

		if (!text || json_object_array_add(array, text) != 0) {
			json_object_put(text);
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

static bool add_fate(struct json_object *object, const char *name,
		     const struct foreign_figures *figures, size_t family)
{
	if (!figures || !figures->readable)
		return varlink_add_string(object, name, "unknown");
	return varlink_add_string(object, name,
				  fate_get_name(figures->verdicts[family].fate));
}

struct json_object *report_integration_new(const struct conf *conf,
					   const struct foreign_figures *figures)
{
	struct json_object *object = json_object_new_object();
	char mode[MODE_SIZE];

	if (object &&
	    varlink_add_string(object, "mode",
			       mode_format(&conf->backend.integrate, mode)) &&
	    varlink_add(object, "rules", rules_new(figures)) &&
	    varlink_add_int(object, "restored",
			    figures ? (int64_t)figures->restored : 0) &&
	    add_fate(object, "ipv4", figures, 0) &&
	    add_fate(object, "ipv6", figures, 1))
		return object;
	json_object_put(object);
	return NULL;
}

static void find_drop(const struct packet_verdict *verdict, const char *family,
		      struct report_problems *out)
{
	if (verdict->fate != PACKET_DROPPED)
		return;
	out->items[out->count].code = "forward-dropped";
	(void)snprintf(out->items[out->count].text, sizeof(out->items[0].text),
		       "chain %s %s %s drops leased traffic (%s): portreeve doctor "
		       "tells what to do",
		       verdict->family, verdict->table, verdict->base_chain, family);
	out->count++;
}

static void find_taken(const struct packet_verdict *verdict,
		       struct report_problems *out)
{
	if (verdict->fate != PACKET_DROPPED)
		return;
	out->items[out->count].code = "translated-elsewhere";
	(void)snprintf(out->items[out->count].text, sizeof(out->items[0].text),
		       "chain %s %s %s translates what is for leases before they are "
		       "asked: portreeve doctor tells what to do",
		       verdict->family, verdict->table, verdict->base_chain);
	out->count++;
}

void report_find_foreign(const struct conf *conf, const struct foreign_figures *figures,
			 struct report_problems *out)
{
	char mode[MODE_SIZE];

	out->count = 0;
	if (!figures || !figures->readable)
		return;
	find_drop(&figures->verdicts[0], "IPv4", out);
	find_drop(&figures->verdicts[1], "IPv6", out);
	find_taken(&figures->translation, out);
	if (!figures->chain_missing)
		return;
	out->items[out->count].code = "integrate-missing";
	(void)snprintf(out->items[out->count].text, sizeof(out->items[0].text),
		       "there is no chain %s, which [backend] integrate names; it is "
		       "waited for",
		       mode_format(&conf->backend.integrate, mode));
	out->count++;
}
