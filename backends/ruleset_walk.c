/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
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
	const struct packet *packet;
	enum packet_hook hook;
	enum ruleset_stage stage; /* that the view shows */
	struct ruleset_view view;
	bool is_marked;	      /* our own forward chain is behind */
	bool is_mark_strange; /* others had changed the mark before it */
	bool skips_own;	      /* rules of ours in chains of others */
	bool skips_unsure;    /* what may match or not */
	bool is_nat;	      /* who translates takes it */
	uint32_t opened;      /* a chain that accepts all; RULESET_NONE: none */
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

	if (walk->opened != RULESET_NONE && index == walk->opened)
		return MAY_PASS;
	if (index == RULESET_NONE || walk->depth == RULESET_DEPTH_MAX ||
	    ruleset_get_chain(walk->ruleset, index)->unread)
		return walk->skips_unsure ? MAY_RETURN
					  : MAY_PASS | MAY_DROP | MAY_RETURN;
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
		return MAY_PASS;
	case RULESET_TRANSLATE:
		if (!frame->walk->is_nat)
			return MAY_PASS;
		frame->walk->dropped = frame->spot;
		return MAY_DROP;
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
	bool sure = truth == RULESET_TRUE && verdict->decision != RULESET_ANYTHING;
	unsigned int outcomes;
	bool comes_back;

	if (frame->walk->skips_unsure && !sure)
		return;
	outcomes = get_outcomes(frame, verdict);
	comes_back = verdict->decision == RULESET_JUMP && outcomes & MAY_RETURN;
	/* To come back from a jump is to go on here. */
	if (verdict->decision == RULESET_JUMP)
		outcomes &= ~(unsigned int)MAY_RETURN;
	if (outcomes != 0 && !sure)
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
		.hook = walk->hook,
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

static uint8_t get_number(enum packet_hook hook)
{
	static const uint8_t numbers[PACKET_HOOK_COUNT] = {
		[PACKET_HOOK_INGRESS] = NF_INET_INGRESS,
		[PACKET_HOOK_PREROUTING] = NF_INET_PRE_ROUTING,
		[PACKET_HOOK_INPUT] = NF_INET_LOCAL_IN,
		[PACKET_HOOK_FORWARD] = NF_INET_FORWARD,
		[PACKET_HOOK_POSTROUTING] = NF_INET_POST_ROUTING,
	};

	return numbers[hook];
}

static enum ruleset_stage get_stage(enum packet_hook hook, int32_t priority)
{
	if (hook == PACKET_HOOK_INGRESS ||
	    (hook == PACKET_HOOK_PREROUTING && priority <= NF_IP_PRI_CONNTRACK))
		return RULESET_STAGE_RAW;
	if (hook == PACKET_HOOK_PREROUTING && priority <= RULESET_NAT_PRIORITY)
		return RULESET_STAGE_TRACKED;
	if (hook == PACKET_HOOK_POSTROUTING && priority >= NF_IP_PRI_NAT_SRC)
		return RULESET_STAGE_LEAVING;
	return RULESET_STAGE_ROUTED;
}

/*
 * Our own forward chain marks the first packet, whatever others made of the mark
 * before; chains before it do not see that, and with the same priority it depends on
 * who came first. What others make of the mark behind it is not known.
 */
static void set_mark(struct walk *walk, int32_t priority)
{
	struct ruleset_octets *mark = &walk->view.fields[RULESET_FIELD_MARK];
	bool forward = walk->hook == PACKET_HOOK_FORWARD;
	bool marked = !walk->packet->is_new || walk->hook == PACKET_HOOK_INPUT ||
		      walk->hook == PACKET_HOOK_POSTROUTING ||
		      (forward && priority > RULESET_MARK_PRIORITY);

	if (marked && !walk->is_marked && walk->packet->is_new &&
	    walk->hook != PACKET_HOOK_INPUT) {
		walk->is_mark_strange = walk->view.mark_changed;
		walk->view.mark_changed = false;
	}
	walk->is_marked = marked;
	memset(mark, 0, sizeof(*mark));
	if (walk->view.mark_changed || walk->stage == RULESET_STAGE_RAW)
		return;
	memcpy(mark->value, &walk->packet->mark, sizeof(walk->packet->mark));
	memset(mark->known, 0xff, sizeof(walk->packet->mark));
	for (size_t i = 0; i < sizeof(walk->packet->mark); i++) {
		if (walk->is_mark_strange)
			mark->known[i] = mark->value[i];
		if (!marked && forward && priority == RULESET_MARK_PRIORITY)
			mark->known[i] &= (uint8_t)~mark->value[i];
		if (!marked)
			mark->value[i] = 0;
	}
}

/* What the packet looks like where that chain stands. */
static void set_view(struct walk *walk, int32_t priority)
{
	enum ruleset_stage stage = get_stage(walk->hook, priority);
	bool changed = walk->view.mark_changed;

	if (stage != walk->stage) {
		ruleset_view_init(&walk->view, walk->ruleset, get_number(walk->hook),
				  stage, walk->packet);
		walk->view.mark_changed = changed;
		walk->stage = stage;
	}
	set_mark(walk, priority);
}

static void walk_begin(struct walk *walk, enum packet_hook hook)
{
	bool changed = walk->view.mark_changed;

	walk->hook = hook;
	walk->stage = hook == PACKET_HOOK_POSTROUTING || hook == PACKET_HOOK_FORWARD ||
				      hook == PACKET_HOOK_INPUT
			      ? RULESET_STAGE_ROUTED
			      : RULESET_STAGE_RAW;
	ruleset_view_init(&walk->view, walk->ruleset, get_number(hook), walk->stage,
			  walk->packet);
	walk->view.mark_changed = changed;
}

/* A chain of ingress sees what comes in by its own devices. */
static bool sees_device(const struct walk *walk, const struct ruleset_chain *chain)
{
	if (walk->hook != PACKET_HOOK_INGRESS)
		return true;
	for (uint32_t i = 0; i < chain->device_count; i++)
		if (strcmp(ruleset_get_name(walk->ruleset,
					    chain->devices + i * IFNAMSIZ),
			   walk->packet->in) == 0)
			return true;
	return false;
}

static void walk_hooked(struct walk *walk, uint32_t index, struct packet_verdict *out)
{
	const struct ruleset *ruleset = walk->ruleset;
	const struct ruleset_chain *chain = ruleset_get_chain(ruleset, index);

	set_base(walk, index, out);
	if (!ruleset_sees_family(ruleset, chain, walk->packet->ipv6) ||
	    !sees_device(walk, chain))
		return;
	set_view(walk, chain->priority);
	walk_base(walk, index, out);
}

static bool walk_index(struct walk *walk, enum packet_hook hook, size_t index,
		       struct packet_verdict *out)
{
	uint32_t base = ruleset_find_base(walk->ruleset, RULESET_TYPE_FILTER,
					  get_number(hook), index);

	if (base == RULESET_NONE)
		return false;
	walk_begin(walk, hook);
	walk_hooked(walk, base, out);
	return true;
}

bool ruleset_walk_one(const struct ruleset *ruleset, enum packet_hook hook,
		      size_t index, const struct packet *packet,
		      struct packet_verdict *out)
{
	struct walk walk = {.ruleset = ruleset,
			    .packet = packet,
			    .opened = RULESET_NONE,
			    .skips_own = true};

	return walk_index(&walk, hook, index, out);
}

bool ruleset_walk_default(const struct ruleset *ruleset, enum packet_hook hook,
			  size_t index, const struct packet *packet,
			  struct packet_verdict *out)
{
	struct walk walk = {.ruleset = ruleset,
			    .packet = packet,
			    .opened = RULESET_NONE,
			    .skips_own = true,
			    .skips_unsure = true};

	return walk_index(&walk, hook, index, out);
}

/* Who hears of chains that do not let the packet pass; false: that is enough. */
struct listener {
	bool (*hear)(void *user, const struct packet_verdict *verdict);
	void *user;
};

/* All base chains of one hook. False: the listener has heard enough. */
static bool walk_hook(struct walk *walk, enum packet_hook hook,
		      const struct listener *listener)
{
	walk_begin(walk, hook);
	for (size_t i = 0;; i++) {
		uint32_t base = ruleset_find_base(walk->ruleset, RULESET_TYPE_FILTER,
						  get_number(hook), i);
		struct packet_verdict verdict;

		if (base == RULESET_NONE)
			return true;
		walk_hooked(walk, base, &verdict);
		if (verdict.fate != PACKET_PASSES &&
		    !listener->hear(listener->user, &verdict))
			return false;
	}
}

static void walk_path(struct walk *walk, const struct listener *listener)
{
	bool forwarded = walk->packet->out[0] != '\0';
	bool goes_on = true;

	for (size_t i = 0; i < PACKET_HOOK_COUNT && goes_on; i++) {
		enum packet_hook hook = (enum packet_hook)i;

		if (hook == PACKET_HOOK_INPUT ? !forwarded
					      : hook < PACKET_HOOK_INPUT || forwarded)
			goes_on = walk_hook(walk, hook, listener);
	}
}

/* The first that drops decides; else the first that may. */
static bool keep_worst(void *user, const struct packet_verdict *verdict)
{
	struct packet_verdict *worst = user;

	if (verdict->fate == PACKET_DROPPED || worst->fate == PACKET_PASSES)
		*worst = *verdict;
	return verdict->fate != PACKET_DROPPED;
}

void ruleset_walk(const struct ruleset *ruleset, enum packet_hook hook,
		  const struct packet *packet, struct packet_verdict *out)
{
	struct walk walk = {
		.ruleset = ruleset, .packet = packet, .opened = RULESET_NONE};

	*out = (struct packet_verdict){.fate = PACKET_PASSES};
	(void)walk_hook(&walk, hook, &(struct listener){keep_worst, out});
}

void ruleset_walk_path(const struct ruleset *ruleset, const struct packet *packet,
		       struct packet_verdict *out)
{
	struct walk walk = {
		.ruleset = ruleset, .packet = packet, .opened = RULESET_NONE};

	*out = (struct packet_verdict){.fate = PACKET_PASSES};
	walk_path(&walk, &(struct listener){keep_worst, out});
}

struct visitor {
	void (*visit)(void *user, const struct packet_verdict *verdict);
	void *user;
};

static bool tell_visitor(void *user, const struct packet_verdict *verdict)
{
	const struct visitor *visitor = user;

	visitor->visit(visitor->user, verdict);
	return true;
}

void ruleset_visit_path(const struct ruleset *ruleset, const struct packet *packet,
			void (*visit)(void *user, const struct packet_verdict *verdict),
			void *user)
{
	struct walk walk = {
		.ruleset = ruleset, .packet = packet, .opened = RULESET_NONE};
	struct visitor visitor = {visit, user};

	walk_path(&walk, &(struct listener){tell_visitor, &visitor});
}

static bool is_same_base(const struct packet_verdict *a, const struct packet_verdict *b)
{
	return strcmp(a->family, b->family) == 0 && strcmp(a->table, b->table) == 0 &&
	       strcmp(a->base_chain, b->base_chain) == 0;
}

bool ruleset_passes_by(const struct ruleset *ruleset,
		       const struct packet_verdict *place, const struct packet *packet,
		       const char *chain)
{
	struct walk walk = {
		.ruleset = ruleset, .packet = packet, .opened = RULESET_NONE};

	walk_begin(&walk, place->hook);
	for (size_t i = 0;; i++) {
		uint32_t base = ruleset_find_base(ruleset, RULESET_TYPE_FILTER,
						  get_number(place->hook), i);
		struct packet_verdict verdict;

		if (base == RULESET_NONE)
			return false;
		set_base(&walk, base, &verdict);
		if (!is_same_base(place, &verdict))
			continue;
		walk.opened = ruleset_find_chain_index(
			ruleset, ruleset_get_chain(ruleset, base)->table, chain);
		walk_hooked(&walk, base, &verdict);
		return verdict.fate == PACKET_PASSES;
	}
}

void ruleset_walk_translation(const struct ruleset *ruleset,
			      const struct packet *packet, struct packet_verdict *out)
{
	struct walk walk = {.ruleset = ruleset,
			    .packet = packet,
			    .opened = RULESET_NONE,
			    .is_nat = true};
	struct packet_verdict verdict;
	uint32_t base;

	*out = (struct packet_verdict){.fate = PACKET_PASSES};
	walk_begin(&walk, PACKET_HOOK_PREROUTING);
	for (size_t i = 0; out->fate != PACKET_DROPPED; i++) {
		base = ruleset_find_base(ruleset, RULESET_TYPE_NAT, NF_INET_PRE_ROUTING,
					 i);
		if (base == RULESET_NONE ||
		    ruleset_get_chain(ruleset, base)->priority >= RULESET_NAT_PRIORITY)
			return;
		walk_hooked(&walk, base, &verdict);
		if (verdict.fate != PACKET_PASSES)
			(void)keep_worst(out, &verdict);
	}
}
