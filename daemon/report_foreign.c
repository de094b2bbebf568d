/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `status` says of the firewall besides our table. */
#include "daemon/report_foreign.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/varlink.h"
#include "conf/conf.h"
#include "daemon/ledger.h"

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

static bool add_rule(struct json_object *array, const char *rule)
{
	struct json_object *text = json_object_new_string(rule);

	if (text && json_object_array_add(array, text) == 0)
		return true;
	json_object_put(text);
	return false;
}

static struct json_object *rules_new(const struct foreign_figures *figures,
				     const struct ledger *ledger)
{
	struct json_object *array = json_object_new_array();
	struct backend_passage passage;
	bool good = array != NULL;

	for (size_t i = 0; good && figures && i < figures->rule_count; i++)
		good = add_rule(array, figures->rules[i]);
	for (int ipv6 = 0; good && ipv6 < 2; ipv6++)
		if (ledger_get_passage(ledger, ipv6, &passage) &&
		    passage.rule[0] != '\0')
			good = add_rule(array, passage.rule);
	if (good)
		return array;
	json_object_put(array);
	return NULL;
}

/* Where the backend's rules are in iptables, both firewalls must let it pass. */
static enum packet_fate get_fate(const struct foreign_figures *figures,
				 const struct ledger *ledger, bool ipv6)
{
	struct backend_passage passage;
	enum packet_fate fate = figures && figures->readable
					? figures->verdicts[ipv6].fate
					: PACKET_UNKNOWN;

	if (fate == PACKET_DROPPED || !ledger_get_passage(ledger, ipv6, &passage))
		return fate;
	if (!passage.passes)
		return PACKET_UNKNOWN;
	/* NULL: the kernel has no nf_tables. */
	return figures ? fate : PACKET_PASSES;
}

struct json_object *report_integration_new(const struct conf *conf,
					   const struct foreign_figures *figures,
					   const struct ledger *ledger)
{
	struct json_object *object = json_object_new_object();
	char mode[MODE_SIZE];

	if (object &&
	    varlink_add_string(object, "mode",
			       mode_format(&conf->backend.integrate, mode)) &&
	    varlink_add(object, "rules", rules_new(figures, ledger)) &&
	    varlink_add_int(object, "restored",
			    figures ? (int64_t)figures->restored : 0) &&
	    varlink_add_string(object, "ipv4",
			       fate_get_name(get_fate(figures, ledger, false))) &&
	    varlink_add_string(object, "ipv6",
			       fate_get_name(get_fate(figures, ledger, true))))
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
