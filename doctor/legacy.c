/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/legacy.h"

#include <linux/netfilter.h>
#include <linux/netfilter/x_tables.h>
#include <string.h>

#include "doctor/legacy_match.h"

/* Chains in chains, and rules looked at, before we give up. */
#define WALK_DEPTH_MAX 24
#define WALK_STEPS_MAX 200000

/* What may become of a packet, bits. */
#define MAY_PASS 0x1u
#define MAY_DROP 0x2u
#define MAY_DROP_BY_POLICY 0x4u
#define MAY_GO_ON 0x8u /* of a rule: with the next; of a chain: in the one above */
#define MAY_ANYTHING (MAY_PASS | MAY_DROP | MAY_GO_ON)

struct walk {
	const struct legacy_table *table;
	const struct packet *packet;
	uint32_t policy; /* offset of the rule that is the policy */
	unsigned int steps;
};

/* Where a chain is looked at, and what one above it waits for. */
struct walk_frame {
	uint32_t at;
	bool sure;	  /* the packet gets here for certain */
	unsigned int may; /* so far */
};

static unsigned int target_get_outcome(const char *name)
{
	static const char *const passing_on[] = {
		"LOG",	 "NFLOG",   "ULOG",	 "MARK",	"CONNMARK", "TRACE",
		"TOS",	 "DSCP",    "AUDIT",	 "CLASSIFY",	"TCPMSS",   "CHECKSUM",
		"TTL",	 "HL",	    "SET",	 "CT",		"LED",	    "RATEEST",
		"HMARK", "SECMARK", "IDLETIMER", "CONNSECMARK",
	};

	if (strcmp(name, "REJECT") == 0 || strcmp(name, "TARPIT") == 0)
		return MAY_DROP;
	for (size_t i = 0; i < sizeof(passing_on) / sizeof(passing_on[0]); i++) {
		if (strcmp(passing_on[i], name) == 0)
			return MAY_GO_ON;
	}
	return MAY_ANYTHING;
}

/* A verdict below zero. */
static unsigned int verdict_get_outcome(int verdict, bool is_policy)
{
	switch (verdict) {
	case -NF_ACCEPT - 1:
		return MAY_PASS;
	case -NF_DROP - 1:
		return is_policy ? MAY_DROP_BY_POLICY : MAY_DROP;
	case XT_RETURN:
		return MAY_GO_ON;
	default: /* a queue to a program of somebody's */
		return MAY_ANYTHING;
	}
}

/*
 * One rule of a chain. *jump: the offset of the chain to look at before the next rule;
 * 0 = none. Returns false at the end of the chain.
 */
static bool frame_step(struct walk *walk, struct walk_frame *frame, uint32_t *jump,
		       bool *sure)
{
	uint32_t at = frame->at;
	struct legacy_rule rule;
	unsigned int may;

	if (walk->steps++ >= WALK_STEPS_MAX ||
	    !legacy_read_rule(walk->table, at, walk->packet, &rule)) {
		frame->may |= MAY_ANYTHING;
		return false;
	}
	frame->at = rule.next;
	*sure = rule.match == LEGACY_MATCH_YES;
	if (rule.match == LEGACY_MATCH_NO)
		return true;
	if (rule.target.name[0] == '\0' && rule.target.verdict >= 0) {
		*jump = (uint32_t)rule.target.verdict;
		return true;
	}
	if (rule.target.name[0] != '\0') {
		may = target_get_outcome(rule.target.name);
		frame->may |= may & ~MAY_GO_ON;
		return !*sure || (may & MAY_GO_ON) != 0;
	}
	/* Here MAY_GO_ON is RETURN: with the chain above. */
	frame->may |= verdict_get_outcome(rule.target.verdict, at == walk->policy);
	return !*sure;
}

/* The last chain has ended: go back to one that goes on. False at the end of all. */
static bool frames_return(struct walk_frame frames[WALK_DEPTH_MAX], size_t *depth)
{
	while (*depth > 0) {
		const struct walk_frame *ended = &frames[(*depth)--];
		struct walk_frame *above = &frames[*depth];

		above->may |= ended->may & ~MAY_GO_ON;
		if (!ended->sure || (ended->may & MAY_GO_ON) != 0)
			return true;
	}
	return false;
}

/* All that may become of the packet in the chain that begins there. */
static unsigned int walk_chain(struct walk *walk, uint32_t start)
{
	struct walk_frame frames[WALK_DEPTH_MAX] = {{.at = start}};
	size_t depth = 0;

	for (;;) {
		uint32_t jump = 0;
		bool sure = false;

		if (!frame_step(walk, &frames[depth], &jump, &sure)) {
			if (!frames_return(frames, &depth))
				return frames[0].may;
		} else if (jump != 0 && jump != frames[depth].at) {
			if (depth + 1 == WALK_DEPTH_MAX)
				return MAY_ANYTHING;
			frames[++depth] = (struct walk_frame){.at = jump, .sure = sure};
		}
	}
}

struct legacy_verdict legacy_walk(const struct legacy_table *table, unsigned int hook,
				  const struct packet *packet)
{
	struct legacy_verdict verdict = {.fate = PACKET_PASSES};
	struct walk walk = {.table = table, .packet = packet};
	unsigned int may;

	if (table->state == LEGACY_UNREADABLE)
		verdict.fate = PACKET_UNKNOWN;
	if (table->state != LEGACY_READ || (table->hooks & (1u << hook)) == 0)
		return verdict;
	walk.policy = table->underflows[hook];
	may = walk_chain(&walk, table->entries[hook]);
	/* RETURN in a chain of the kernel's leads to its policy. */
	if ((may & MAY_GO_ON) != 0)
		may = (may & ~MAY_GO_ON) | walk_chain(&walk, walk.policy);
	verdict.by_policy = (may & MAY_DROP_BY_POLICY) != 0;
	if ((may & (MAY_DROP | MAY_DROP_BY_POLICY)) != 0)
		verdict.fate = (may & (MAY_PASS | MAY_GO_ON)) != 0 ? PACKET_UNKNOWN
								   : PACKET_DROPPED;
	return verdict;
}

bool legacy_has_rules(const struct legacy_table *table, unsigned int hook)
{
	return table->state == LEGACY_READ && (table->hooks & (1u << hook)) != 0 &&
	       table->entries[hook] != table->underflows[hook];
}
