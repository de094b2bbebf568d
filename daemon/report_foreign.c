/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `status` says of the firewall besides our table. */
#include "daemon/report_foreign.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

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

/* The next place for a text. */
static char *add_problem(struct report_problems *out, const char *code)
{
	out->items[out->count].code = code;
	return out->items[out->count++].text;
}

#define TEXT_SIZE sizeof(((struct report_problems *)NULL)->items[0].text)

static void find_drop(const struct packet_verdict *verdict, const char *family,
		      struct report_problems *out)
{
	if (verdict->fate == PACKET_DROPPED)
		(void)snprintf(add_problem(out, "forward-dropped"), TEXT_SIZE,
			       "chain %s %s %s drops leased traffic (%s): portreeve "
			       "doctor tells what to do",
			       verdict->family, verdict->table, verdict->base_chain,
			       family);
}

static void find_refused(const struct foreign_figures *figures,
			 struct report_problems *out)
{
	for (size_t i = 0; i < figures->refused_count; i++) {
		const struct foreign_refusal *refusal = &figures->refused[i];

		(void)snprintf(add_problem(out, "integrate-refused"), TEXT_SIZE,
			       "no rule can be put into chain %s: %s", refusal->chain,
			       refusal->owned ? "its table has the flag owner, only "
						"the program that made it can"
					      : strerror(-refusal->error));
	}
	if (figures->left_out > 0)
		(void)snprintf(add_problem(out, "integrate-full"), TEXT_SIZE,
			       "%zu more chains keep leased traffic out than the %d "
			       "that rules are put into",
			       figures->left_out, FOREIGN_RULES_MAX);
}

/* Only what somebody relies on is a problem when it does not work. */
static void find_unreadable(const struct foreign_figures *figures, int64_t now_ms,
			    struct report_problems *out)
{
	if (figures->error != 0)
		(void)snprintf(add_problem(out, "integrate-unreadable"), TEXT_SIZE,
			       "the firewall besides our table cannot be looked after, "
			       "for %lld s now: %s",
			       (long long)(now_ms - figures->failed_since_ms) / 1000,
			       strerror(-figures->error));
	if (figures->partial)
		(void)snprintf(add_problem(out, "integrate-partial"), TEXT_SIZE,
			       "the firewall besides our table has more rules than are "
			       "read (%d), or changes too fast: what its chains do to "
			       "leased traffic is not known for certain",
			       RULESET_RULES_MAX);
}

static void find_taken(const struct packet_verdict *verdict,
		       struct report_problems *out)
{
	if (verdict->fate == PACKET_DROPPED)
		(void)snprintf(add_problem(out, "translated-elsewhere"), TEXT_SIZE,
			       "chain %s %s %s translates what is for leases before "
			       "they are asked: portreeve doctor tells what to do",
			       verdict->family, verdict->table, verdict->base_chain);
}

void report_find_foreign(const struct conf *conf, const struct foreign_figures *figures,
			 int64_t now_ms, struct report_problems *out)
{
	char mode[MODE_SIZE];

	out->count = 0;
	if (!figures)
		return;
	if (conf->backend.integrate.how != CONF_INTEGRATE_OFF) {
		find_unreadable(figures, now_ms, out);
		find_refused(figures, out);
	}
	if (!figures->readable)
		return;
	find_drop(&figures->verdicts[0], "IPv4", out);
	find_drop(&figures->verdicts[1], "IPv6", out);
	find_taken(&figures->translation, out);
	if (figures->chain_missing)
		(void)snprintf(add_problem(out, "integrate-missing"), TEXT_SIZE,
			       "there is no chain %s, which [backend] integrate names; "
			       "it is waited for",
			       mode_format(&conf->backend.integrate, mode));
}
