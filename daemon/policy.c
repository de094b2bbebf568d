/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/policy.h"

#include <assert.h>
#include <string.h>

/* Ports that no rule has decided yet, ascending. Each rule adds at most one range. */
struct undecided {
	size_t count;
	struct port_range ranges[CONF_RULES_MAX + 1];
};

/* One bit for each place in a pattern, and one for its end. */
static_assert(CONF_PATTERN_MAX <= 64, "a pattern must fit into the bits of a word");

/*
 * Whether the whole text matches: '*' is any text, '?' one character, the rest itself.
 * Bit i of `state` says that the text so far can end before place i of the pattern; all
 * places move on together, so that no description costs more than its length.
 */
static bool pattern_matches(const char *pattern, const char *text)
{
	uint64_t literal[256] = {0};
	uint64_t any = 0, star = 0, state = 1, place = 1;

	for (; *pattern != '\0'; pattern++) {
		if (*pattern == '*' && pattern[1] == '*')
			continue;
		if (*pattern == '*')
			star |= place;
		else if (*pattern == '?')
			any |= place;
		else
			literal[(uint8_t)*pattern] |= place;
		place <<= 1;
	}
	state |= (state & star) << 1;
	for (; *text != '\0' && state != 0; text++) {
		const uint8_t octet = (uint8_t)*text;
		uint64_t moved = state & literal[octet];
		uint64_t stays = state & star;

		/* Further octets of a UTF-8 character go to the '?' that took the
		 * first. */
		if ((octet & 0xc0) == 0x80)
			stays |= state & (any << 1);
		else
			moved |= state & any;
		state = (moved << 1) | stays;
		state |= (state & star) << 1;
	}
	return (state & place) != 0;
}

static bool range_contains(const struct port_range *range, uint16_t port)
{
	return range->first <= port && port <= range->last;
}

static bool request_is_foreign(const struct request *request)
{
	return !addr_equal(&request->internal, &request->client);
}

static bool rule_matches(const struct conf_rule *rule, const struct request *request,
			 const char *lan_name)
{
	if (rule->lan[0] != '\0' && strcmp(rule->lan, lan_name) != 0)
		return false;
	if (rule->has_client && !prefix_contains(&rule->client, &request->client))
		return false;
	if (rule->protocol != 0 && rule->protocol != request->protocol)
		return false;
	if (!range_contains(&rule->internal, request->internal_port))
		return false;
	if (rule->allow && request_is_foreign(request) &&
	    !(rule->has_third_party &&
	      prefix_contains(&rule->third_party, &request->internal)))
		return false;
	return rule->description[0] == '\0' ||
	       pattern_matches(rule->description, request->description);
}

static void undecided_add(struct undecided *undecided, uint32_t first, uint32_t last)
{
	if (first > last)
		return;
	assert(undecided->count < CONF_RULES_MAX + 1);
	undecided->ranges[undecided->count++] =
		(struct port_range){(uint16_t)first, (uint16_t)last};
}

/* Move the ports of `range` that no rule decided yet to `taken`. */
static void undecided_take(struct undecided *undecided, const struct port_range *range,
			   struct undecided *taken)
{
	const struct undecided before = *undecided;

	undecided->count = 0;
	taken->count = 0;
	for (size_t i = 0; i < before.count; i++) {
		const uint32_t first = before.ranges[i].first,
			       last = before.ranges[i].last;

		if (last < range->first || range->last < first) {
			undecided_add(undecided, first, last);
			continue;
		}
		/* A part below the range, the part in it, a part above; 65536 fits. */
		undecided_add(undecided, first, range->first - 1u);
		undecided_add(taken, first > range->first ? first : range->first,
			      last < range->last ? last : range->last);
		undecided_add(undecided, range->last + 1u, last);
	}
}

static void verdict_allow(struct verdict *verdict, const struct conf_rule *rule,
			  const struct undecided *taken)
{
	for (size_t i = 0; i < taken->count; i++) {
		assert(verdict->range_count < POLICY_RANGES_MAX);
		verdict->ranges[verdict->range_count++] = (struct verdict_range){
			.ports = taken->ranges[i],
			.lifetime_max_s = rule->lifetime_max_s ? rule->lifetime_max_s
							       : UINT32_MAX,
			.line = rule->line,
		};
	}
}

/* A rule that begins or ends between two internal ports may tell them apart. */
static void verdict_narrow(struct verdict *verdict, const struct port_range *internal,
			   uint16_t port)
{
	struct port_range *same = &verdict->internal;

	if (port < internal->first) {
		if (internal->first <= same->last)
			same->last = (uint16_t)(internal->first - 1);
	} else if (port > internal->last) {
		if (internal->last >= same->first)
			same->first = (uint16_t)(internal->last + 1);
	} else {
		if (internal->first > same->first)
			same->first = internal->first;
		if (internal->last < same->last)
			same->last = internal->last;
	}
}

/* The rule to name is the one that denies the port asked for; else the first. */
static void verdict_deny(struct verdict *verdict, const struct conf_rule *rule,
			 const struct undecided *taken, uint16_t suggested)
{
	if (verdict->denied_line == 0 && taken->count > 0)
		verdict->denied_line = rule->line;
	for (size_t i = 0; i < taken->count; i++)
		if (range_contains(&taken->ranges[i], suggested))
			verdict->denied_line = rule->line;
}

void policy_decide(const struct conf *conf, const struct request *request,
		   const char *lan_name, struct verdict *out)
{
	struct undecided undecided = {.count = 1, .ranges = {{1, UINT16_MAX}}};
	struct undecided taken;

	out->third_party = false;
	out->range_count = 0;
	out->internal = (struct port_range){1, UINT16_MAX};
	out->denied_line = 0;
	/* Nothing is translated here, so no external port is ours to give (NP-5). */
	if (!conf->wan.nat && addr_is_ipv4(&request->internal))
		return;
	/* V6FW-1: hosts may not ask for a way in; PCP says so too */
	if (conf->wan.pinholes == CONF_PINHOLES_OFF &&
	    !addr_is_ipv4(&request->internal))
		return;
	for (size_t i = 0; i < conf->rule_count; i++)
		verdict_narrow(out, &conf->rules[i].internal, request->internal_port);
	for (size_t i = 0; i < conf->rule_count && undecided.count > 0; i++) {
		const struct conf_rule *rule = &conf->rules[i];

		if (!rule_matches(rule, request, lan_name))
			continue;
		undecided_take(&undecided, &rule->external, &taken);
		if (rule->allow)
			verdict_allow(out, rule, &taken);
		else
			verdict_deny(out, rule, &taken, request->external_port);
	}
	out->third_party = request_is_foreign(request) && out->range_count > 0;
}

bool verdict_allows(const struct verdict *verdict, uint16_t external_port,
		    uint32_t *lifetime_max_s)
{
	for (size_t i = 0; i < verdict->range_count; i++) {
		if (!range_contains(&verdict->ranges[i].ports, external_port))
			continue;
		*lifetime_max_s = verdict->ranges[i].lifetime_max_s;
		return true;
	}
	return false;
}
