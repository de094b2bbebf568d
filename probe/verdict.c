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
			       "a public address: reachable from everywhere");
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
	if (!tried)
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

struct verdict verdict_decide(const struct step_list *list, bool interrupted)
{
	struct verdict verdict = {.exit = PROBE_EXIT_DEGRADED};
	char good[NAMES_SIZE] = "", bad[NAMES_SIZE] = "";

	for (int i = 0; i < STEP_PROTOCOL_COUNT; i++) {
		struct tally tally = tally_make(list, (uint8_t)i);
		const char *name = step_get_protocol_name((enum step_protocol)i);

		if (!protocol_is_tried((enum step_protocol)i))
			continue;
		if (tally.failed)
			names_add(bad, name);
		else if (tally.offered)
			names_add(good, name);
	}
	if (interrupted) {
		verdict.exit = PROBE_EXIT_ERROR;
		(void)snprintf(verdict.text, sizeof(verdict.text),
			       "interrupted; what was mapped is deleted");
	} else if (bad[0] == '\0' && good[0] == '\0' &&
		   list_find_failure(list, STEP_GATEWAY)) {
		(void)snprintf(verdict.text, sizeof(verdict.text),
			       "there is no gateway to ask");
	} else if (bad[0] != '\0') {
		(void)snprintf(verdict.text, sizeof(verdict.text), "%s %s not work%s%s",
			       bad, strchr(bad, ',') ? "do" : "does",
			       good[0] != '\0' ? "; working: " : "", good);
	} else if (good[0] == '\0') {
		(void)snprintf(verdict.text, sizeof(verdict.text),
			       "this gateway opens no ports: nothing answers");
	} else if (list_find_failure(list, STEP_ALL)) {
		(void)snprintf(verdict.text, sizeof(verdict.text),
			       "the protocols contradict each other: %s", good);
	} else {
		verdict.exit = PROBE_EXIT_OK;
		(void)snprintf(verdict.text, sizeof(verdict.text), "it works: %s",
			       good);
	}
	return verdict;
}
