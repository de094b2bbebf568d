/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

/* What may become of a packet: bits, of which more than one may be set. */
enum outcome { MAY_PASS = 1, MAY_DROP = 2, MAY_RETURN = 4 };

/* A rule, by its place. */
struct spot {
	uint32_t chain;
	uint64_t handle;
};

struct walk {
	const struct ruleset *ruleset;
	struct ruleset_view view;
	struct ruleset_octets mark; /* as it is behind our own chain */
	bool skips_own;		    /* rules of ours in chains of others */
	unsigned int steps;
	unsigned int depth;
	bool is_unsure;
	struct spot unsure;  /* the first that is not understood and matters */
	struct spot dropped; /* the last that drops */
};

/* One chain while it is walked. */
struct frame {
	struct walk *walk;
	struct spot spot;
	unsigned int outcomes;
	bool ended; /* no later rule is looked at */
};

static void take_decision(void *user, const struct ruleset_verdict *verdict,
			  enum ruleset_truth truth);

static unsigned int walk_chain(struct walk *walk, uint32_t index)
{
	const struct ruleset_chain *chain;
	struct frame frame = {.walk = walk, .spot = {.chain = index}};
	struct ruleset_eval eval = {
		.ruleset = walk->ruleset,
		.view = &walk->view,
		.decide = take_decision,
		.user = &frame,
	};

	if (index == RULESET_NONE || walk->depth == RULESET_DEPTH_MAX)
		return MAY_PASS | MAY_DROP | MAY_RETURN;
	chain = ruleset_get_chain(walk->ruleset, index);
	walk->depth++;
	for (uint32_t i = 0; i < chain->rule_count && !frame.ended; i++) {
		const struct ruleset_rule *rule =
			ruleset_get_rule(walk->ruleset, chain->first_rule + i);

		if (++walk->steps > RULESET_STEPS_MAX) {
			frame.outcomes |= MAY_PASS | MAY_DROP;
			break;
		}
		frame.spot.handle = rule->handle;
		if (!walk->skips_own || !rule->commented)
			ruleset_eval_rule(&eval, rule);
	}
	walk->depth--;
	return frame.ended ? frame.outcomes : frame.outcomes | MAY_RETURN;
}

static void note_unsure(struct frame *frame)
{
	if (!frame->walk->is_unsure)
		frame->walk->unsure = frame->spot;
	frame->walk->is_unsure = true;
}

/* What the decision leads to, by way of other chains if need be. */
static unsigned int get_outcomes(const struct frame *frame,
				 const struct ruleset_verdict *verdict)
{
	switch (verdict->decision) {
	case RULESET_ACCEPT:
	case RULESET_TRANSLATE:
		return MAY_PASS;
	case RULESET_DROP:
		frame->walk->dropped = frame->spot;
		return MAY_DROP;
	case RULESET_ANYTHING:
		return MAY_PASS | MAY_DROP;
	case RULESET_RETURN:
		return MAY_RETURN;
	case RULESET_JUMP:
	case RULESET_GOTO:
		break;
	}
	return walk_chain(frame->walk, verdict->chain);
}

static void take_decision(void *user, const struct ruleset_verdict *verdict,
			  enum ruleset_truth truth)
{
	struct frame *frame = user;
	unsigned int outcomes = get_outcomes(frame, verdict);
	bool comes_back = verdict->decision == RULESET_JUMP && outcomes & MAY_RETURN;

	/* To come back from a jump is to go on here. */
	if (verdict->decision == RULESET_JUMP)
		outcomes &= ~(unsigned int)MAY_RETURN;
	if (outcomes != 0 &&
	    (truth == RULESET_MAYBE || verdict->decision == RULESET_ANYTHING))
		note_unsure(frame);
	frame->outcomes |= outcomes;
	if (truth == RULESET_TRUE && !comes_back)
		frame->ended = true;
}

static void copy_name(char out[RULESET_NAME_MAX], const char *name)
{
	(void)snprintf(out, RULESET_NAME_MAX, "%s", name);
}

static void set_place(const struct walk *walk, const struct spot *spot,
		      struct packet_verdict *out)
{
	const struct ruleset *ruleset = walk->ruleset;

	copy_name(out->chain,
		  ruleset_get_name(ruleset,
				   ruleset_get_chain(ruleset, spot->chain)->name));
	out->handle = spot->handle;
}

/* Which chain it is, whatever becomes of the packet. */
static void set_base(const struct walk *walk, uint32_t index,
		     struct packet_verdict *out)
{
	const struct ruleset *ruleset = walk->ruleset;
	const struct ruleset_chain *chain = ruleset_get_chain(ruleset, index);
	const struct ruleset_table *table = ruleset_get_table(ruleset, chain->table);

	*out = (struct packet_verdict){
		.fate = PACKET_PASSES,
		.priority = chain->priority,
		.is_xtables = table->is_xtables,
	};
	(void)snprintf(out->family, sizeof(out->family), "%s",
		       ruleset_get_family(table->family));
	copy_name(out->table, ruleset_get_name(ruleset, table->name));
	copy_name(out->base_chain, ruleset_get_name(ruleset, chain->name));
	copy_name(out->chain, ruleset_get_name(ruleset, chain->name));
}

static void walk_base(struct walk *walk, uint32_t index, struct packet_verdict *out)
{
	const struct ruleset_chain *chain = ruleset_get_chain(walk->ruleset, index);
	const struct spot policy = {.chain = index};
	unsigned int outcomes;

	walk->is_unsure = false;
	walk->unsure = policy;
	walk->dropped = policy;
	outcomes = walk_chain(walk, index);
	if (outcomes & MAY_RETURN) {
		outcomes |= chain->drops ? MAY_DROP : MAY_PASS;
		if (chain->drops)
			walk->dropped = policy;
	}
	if (!(outcomes & MAY_DROP))
		return;
	out->fate = outcomes & MAY_PASS ? PACKET_UNKNOWN : PACKET_DROPPED;
	set_place(walk, outcomes & MAY_PASS ? &walk->unsure : &walk->dropped, out);
}

static uint8_t get_hook(enum packet_hook hook)
{
	return hook == PACKET_HOOK_INPUT ? NF_INET_LOCAL_IN : NF_INET_FORWARD;
}

/*
 * Our own forward chain marks the first packet: chains before it do not see that, and
 * with the same priority it depends on who came first. Whatever others make of the mark
 * on the way is not known.
 */
static void set_mark(struct walk *walk, enum packet_hook hook, int32_t priority)
{
	struct ruleset_octets *mark = &walk->view.fields[RULESET_FIELD_MARK];
	bool late = hook != PACKET_HOOK_FORWARD || !walk->view.is_new ||
		    priority > RULESET_MARK_PRIORITY;

	*mark = walk->mark;
	for (size_t i = 0; i < sizeof(mark->value) && !late; i++) {
		if (priority == RULESET_MARK_PRIORITY)
			mark->known[i] &= (uint8_t)~mark->value[i];
		mark->value[i] = 0;
	}
	if (walk->view.mark_changed)
		*mark = (struct ruleset_octets){0};
}

static void walk_hooked(struct walk *walk, enum packet_hook hook, uint32_t index,
			struct packet_verdict *out)
{
	const struct ruleset *ruleset = walk->ruleset;
	const struct ruleset_chain *chain = ruleset_get_chain(ruleset, index);
	bool ipv6 = walk->view.fields[RULESET_FIELD_FAMILY].value[0] == NFPROTO_IPV6;

	set_base(walk, index, out);
	if (!ruleset_sees_family(ruleset, chain, ipv6))
		return;
	set_mark(walk, hook, chain->priority);
	walk_base(walk, index, out);
}

static void init_view(struct walk *walk, enum packet_hook hook,
		      const struct packet *packet)
{
	ruleset_view_init(&walk->view, walk->ruleset, get_hook(hook), packet);
	walk->mark = walk->view.fields[RULESET_FIELD_MARK];
}

static bool walk_index(struct walk *walk, enum packet_hook hook, size_t index,
		       const struct packet *packet, struct packet_verdict *out)
{
	uint32_t base = ruleset_find_base(walk->ruleset, RULESET_TYPE_FILTER,
					  get_hook(hook), index);

	if (base == RULESET_NONE)
		return false;
	init_view(walk, hook, packet);
	walk_hooked(walk, hook, base, out);
	return true;
}

bool ruleset_walk_one(const struct ruleset *ruleset, enum packet_hook hook,
		      size_t index, const struct packet *packet,
		      struct packet_verdict *out)
{
	struct walk walk = {.ruleset = ruleset, .skips_own = true};

	return walk_index(&walk, hook, index, packet, out);
}

bool ruleset_walk_whole(const struct ruleset *ruleset, enum packet_hook hook,
			size_t index, const struct packet *packet,
			struct packet_verdict *out)
{
	struct walk walk = {.ruleset = ruleset};

	return walk_index(&walk, hook, index, packet, out);
}

void ruleset_walk(const struct ruleset *ruleset, enum packet_hook hook,
		  const struct packet *packet, struct packet_verdict *out)
{
	struct walk walk = {.ruleset = ruleset};
	struct packet_verdict result = {.fate = PACKET_PASSES};
	uint32_t base;

	init_view(&walk, hook, packet);
	for (size_t i = 0; result.fate != PACKET_DROPPED; i++) {
		struct packet_verdict verdict;

		base = ruleset_find_base(ruleset, RULESET_TYPE_FILTER, get_hook(hook),
					 i);
		if (base == RULESET_NONE)
			break;
		walk_hooked(&walk, hook, base, &verdict);
		if (verdict.fate == PACKET_DROPPED ||
		    (verdict.fate == PACKET_UNKNOWN && result.fate == PACKET_PASSES))
			result = verdict;
	}
	*out = result;
}
