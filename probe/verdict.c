/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/verdict.h"

#include <stdio.h>
#include <string.h>

#include "probe/words.h"

/* A line of 80 columns. */
#define NAMES_SIZE 64

/** What the steps of one protocol say. */
struct tally {
	bool tried;
	bool answered;
	bool failed;  /* after it had answered */
	bool offered; /* it said neither that it does not speak it nor nothing */
	bool refused; /* by the owner */
	bool untried; /* this host is in the way */
	const struct step *failure;
};

static struct tally tally_make(const struct step_list *list, uint8_t protocol)
{
	struct tally tally = {.offered = false};

	for (size_t i = 0; i < list->count; i++) {
		const struct step *step = &list->steps[i];

		if (step->protocol != protocol)
			continue;
		tally.tried = true;
		tally.answered |= step->answered != 0;
		tally.offered |= step->answered != 0 && step->outcome != STEP_NONE;
		tally.refused |= step->cause == STEP_CAUSE_REFUSED;
		tally.untried |= step->cause == STEP_CAUSE_HOST;
		if (step->outcome == STEP_NO && !tally.failure)
			tally.failure = step;
	}
	tally.failed = tally.answered && tally.failure;
	return tally;
}

static bool protocol_is_tried(enum step_protocol protocol)
{
	return protocol == STEP_NATPMP || protocol == STEP_PCP ||
	       protocol == STEP_PCP6 || protocol == STEP_UPNP;
}

void verdict_add_step(struct step_list *list, const struct step *step)
{
	if (list->count < STEPS_MAX)
		list->steps[list->count++] = *step;
}

/* The first external address of a step, other than `not`; NULL for none. */
static const struct step *list_find_external(const struct step_list *list,
					     const struct ip_addr * not )
{
	for (size_t i = 0; i < list->count; i++) {
		const struct step *step = &list->steps[i];

		/* That of a pinhole is the host's own. */
		if (addr_is_none(&step->external) || step->protocol == STEP_ALL ||
		    step->protocol == STEP_PCP6)
			continue;
		if (!not || !addr_equal(&step->external, not ))
			return step;
	}
	return NULL;
}

static void conclude_external(struct step_list *list)
{
	const struct step *first = list_find_external(list, NULL);
	struct step external = step_init(STEP_ALL, "external");
	struct step reach = step_init(STEP_ALL, "reach");
	const struct step *other;
	char text[2][ADDR_TEXT_SIZE];
	const char *words;

	if (!first)
		return;
	other = list_find_external(list, &first->external);
	if (other)
		(void)step_say(&external, STEP_NO,
			       "%s says that the external address is %s, %s says %s",
			       step_get_protocol_name(first->protocol),
			       addr_format(&first->external, text[0]),
			       step_get_protocol_name(other->protocol),
			       addr_format(&other->external, text[1]));
	else
		(void)step_say(&external, STEP_OK, "%s, whoever is asked",
			       addr_format(&first->external, text[0]));
	external.answered = 1;
	external.external = first->external;
	words = words_get_reach(&first->external);
	if (words)
		(void)step_say(&reach, STEP_WARN, "%s", words);
	else
		(void)step_say(&reach, STEP_OK,
			       "a public address; whether the firewall lets packets in "
			       "was not tested from outside");
	reach.answered = 1;
	verdict_add_step(list, &external);
	verdict_add_step(list, &reach);
}

static void conclude_silence(struct step_list *list)
{
	struct step silence = step_init(STEP_ALL, "silence");
	bool tried = false;

	for (int protocol = 0; protocol < STEP_PROTOCOL_COUNT; protocol++) {
		struct tally tally = tally_make(list, (uint8_t)protocol);

		if (!protocol_is_tried((enum step_protocol)protocol))
			continue;
		tried |= tally.tried;
		if (tally.answered)
			return;
	}
	/* The gateway itself is not heard by what serves its LANs. */
	if (!tried || tally_make(list, STEP_GATEWAY).untried)
		return;
	(void)step_say(
		&silence, STEP_NO,
		"is the service switched on there, does it serve this LAN, and "
		"does the gateway's firewall let UDP 1900, UDP 5351 and its HTTP "
		"port in from here? Does this host's let answers in?");
	verdict_add_step(list, &silence);
}

void verdict_conclude(struct step_list *list)
{
	conclude_silence(list);
	conclude_external(list);
}

static void names_add(char names[NAMES_SIZE], const char *name)
{
	size_t used = strlen(names);

	(void)snprintf(names + used, NAMES_SIZE - used, "%s%s", used > 0 ? ", " : "",
		       name);
}

/* A failure that belongs to no protocol that was tried; NULL for none. */
static const struct step *list_find_failure(const struct step_list *list,
					    enum step_protocol protocol)
{
	return tally_make(list, (uint8_t)protocol).failure;
}

/** Which protocols are in which state, by name. */
struct states {
	char good[NAMES_SIZE];
	char bad[NAMES_SIZE];
	char refused[NAMES_SIZE];
	char untried[NAMES_SIZE];
};

static struct states states_make(const struct step_list *list)
{
	struct states states = {.good = ""};

	for (int i = 0; i < STEP_PROTOCOL_COUNT; i++) {
		struct tally tally = tally_make(list, (uint8_t)i);
		const char *name = step_get_protocol_name((enum step_protocol)i);

		if (!protocol_is_tried((enum step_protocol)i))
			continue;
		if (tally.failed)
			names_add(states.bad, name);
		else if (tally.untried)
			names_add(states.untried, name);
		else if (tally.refused)
			names_add(states.refused, name);
		else if (tally.offered)
			names_add(states.good, name);
	}
	return states;
}

/* Append "; refused: pcp-v6", where there are any. */
static void verdict_add_names(struct verdict *verdict, const char *what,
			      const char *names)
{
	size_t used = strlen(verdict->text);

	if (names[0] != '\0')
		(void)snprintf(verdict->text + used, sizeof(verdict->text) - used,
			       "; %s: %s", what, names);
}

static struct verdict verdict_make(enum probe_exit exit, const char *before,
				   const char *after)
{
	struct verdict verdict = {.exit = exit};

	(void)snprintf(verdict.text, sizeof(verdict.text), "%s%s", before, after);
	return verdict;
}

/* What the protocols say together, without what was refused or not tried. */
static struct verdict verdict_weigh(const struct step_list *list,
				    const struct states *states)
{
	struct verdict verdict;

	if (states->bad[0] != '\0') {
		verdict = verdict_make(PROBE_EXIT_DEGRADED, states->bad,
				       strchr(states->bad, ',') ? " do not work"
								: " does not work");
		verdict_add_names(&verdict, "working", states->good);
		return verdict;
	}
	if (states->good[0] == '\0' && states->refused[0] != '\0')
		return verdict_make(PROBE_EXIT_DEGRADED,
				    "this gateway opens no ports for this host", "");
	if (states->good[0] == '\0')
		return verdict_make(PROBE_EXIT_DEGRADED,
				    states->untried[0] == '\0'
					    ? "this gateway opens no ports: "
					    : "",
				    "nothing answers");
	if (list_find_failure(list, STEP_ALL))
		return verdict_make(
			PROBE_EXIT_DEGRADED,
			"the protocols contradict each other: ", states->good);
	/* Half a test is no good one. */
	return verdict_make(states->untried[0] == '\0' ? PROBE_EXIT_OK
						       : PROBE_EXIT_ERROR,
			    "it works: ", states->good);
}

struct verdict verdict_decide(const struct step_list *list, bool interrupted)
{
	const struct states states = states_make(list);
	struct verdict verdict;

	if (interrupted)
		return verdict_make(PROBE_EXIT_ERROR,
				    "interrupted; what was mapped is ", "deleted");
	if (tally_make(list, STEP_GATEWAY).untried) {
		verdict = verdict_make(PROBE_EXIT_ERROR,
				       "this host is the gateway itself: run it on a "
				       "host of the LAN",
				       "");
		verdict_add_names(&verdict, "what works from here", states.good);
		return verdict;
	}
	if (states.bad[0] == '\0' && states.good[0] == '\0' &&
	    list_find_failure(list, STEP_GATEWAY))
		return verdict_make(PROBE_EXIT_DEGRADED, "there is no gateway to ask",
				    "");
	verdict = verdict_weigh(list, &states);
	verdict_add_names(&verdict, "refused", states.refused);
	verdict_add_names(&verdict, "could not be tried", states.untried);
	return verdict;
}
