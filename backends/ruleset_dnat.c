/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

struct search {
	const struct ruleset *ruleset;
	struct ruleset_view view;
	unsigned int steps;
	unsigned int depth;
	struct ruleset_ports found;
};

/* One chain, for the ports with which packets come into it. */
struct frame {
	struct search *search;
	struct ruleset_eval eval;
	bool certain;		   /* they come into it for certain */
	bool port_matched;	   /* and they were asked for their port on the way */
	struct ruleset_ports left; /* those that the next rule sees */
	struct ruleset_ports returned; /* those that go back to the caller */
};

static void take_decision(void *user, const struct ruleset_verdict *verdict,
			  enum ruleset_truth truth);

/* Look at each rule of a chain, for frame->left. */
static void search_chain(struct search *search, uint32_t index, struct frame *frame)
{
	const struct ruleset_chain *chain;

	frame->search = search;
	frame->eval = (struct ruleset_eval){
		.ruleset = search->ruleset,
		.view = &search->view,
		.decide = take_decision,
		.user = frame,
	};
	if (index == RULESET_NONE || search->depth == RULESET_DEPTH_MAX)
		return;
	chain = ruleset_get_chain(search->ruleset, index);
	search->depth++;
	for (uint32_t i = 0; i < chain->rule_count; i++) {
		const struct ruleset_rule *rule =
			ruleset_get_rule(search->ruleset, chain->first_rule + i);
		struct ruleset_ports ports = frame->left;

		if (++search->steps > RULESET_STEPS_MAX)
			break;
		frame->eval.ports = &ports;
		frame->eval.port_matched = frame->port_matched;
		ruleset_eval_rule(&frame->eval, rule);
	}
	search->depth--;
	ruleset_ports_join(&frame->returned, &frame->left);
}

/* A chain that the rule at hand leads to. What does not come back is at its end. */
static void follow(struct frame *frame, const struct ruleset_verdict *verdict,
		   enum ruleset_truth truth)
{
	struct frame inner = {
		.certain = frame->certain && truth == RULESET_TRUE,
		.port_matched = frame->eval.port_matched,
		.left = *frame->eval.ports,
	};
	struct ruleset_ports ended = *frame->eval.ports;

	search_chain(frame->search, verdict->chain, &inner);
	if (verdict->decision == RULESET_GOTO)
		ruleset_ports_join(&frame->returned, &inner.returned);
	else
		ruleset_ports_remove(&ended, &inner.returned);
	if (truth == RULESET_TRUE)
		ruleset_ports_remove(&frame->left, &ended);
}

static void take_decision(void *user, const struct ruleset_verdict *verdict,
			  enum ruleset_truth truth)
{
	struct frame *frame = user;
	const struct ruleset_ports *ports = frame->eval.ports;
	bool certain = frame->certain && truth == RULESET_TRUE;

	switch (verdict->decision) {
	case RULESET_TRANSLATE:
		/*
		 * What is not certain may be for addresses that are not ours; and most
		 * ports are those of a host that gets whatever nobody else wants.
		 */
		if ((certain || frame->eval.port_matched) &&
		    !ruleset_ports_are_most(ports))
			ruleset_ports_join(&frame->search->found, ports);
		break;
	case RULESET_JUMP:
	case RULESET_GOTO:
		follow(frame, verdict, truth);
		return;
	case RULESET_RETURN:
		ruleset_ports_join(&frame->returned, ports);
		break;
	case RULESET_ANYTHING:
		/* A way of translating that we have never heard of. */
		if (frame->eval.port_matched && !ruleset_ports_are_most(ports))
			ruleset_ports_join(&frame->search->found, ports);
		return;
	case RULESET_ACCEPT:
	case RULESET_DROP:
		break;
	}
	if (truth == RULESET_TRUE)
		ruleset_ports_remove(&frame->left, ports);
}

/* Port 0 is nobody's. */
static void tell_ports(const struct ruleset_ports *ports, uint8_t protocol,
		       void (*visit)(void *user, uint8_t protocol,
				     struct port_range range),
		       void *user)
{
	struct port_range range;
	unsigned int from = 1;

	while (ruleset_ports_get_range(ports, from, &range)) {
		visit(user, protocol, range);
		from = range.last + 1U;
	}
}

/* A first packet from the WAN to an address of ours. */
static void search_protocol(struct search *search, const char *wan, uint8_t protocol)
{
	struct packet packet = {.protocol = protocol, .is_new = true};

	(void)snprintf(packet.in, sizeof(packet.in), "%s", wan);
	search->steps = 0;
	search->found = (struct ruleset_ports){0};
	for (size_t i = 0;; i++) {
		uint32_t base = ruleset_find_base(search->ruleset, RULESET_TYPE_NAT,
						  NF_INET_PRE_ROUTING, i);
		struct frame frame = {.certain = true};

		if (base == RULESET_NONE)
			return;
		if (!ruleset_sees_family(search->ruleset,
					 ruleset_get_chain(search->ruleset, base),
					 false))
			continue;
		ruleset_view_init(&search->view, search->ruleset, NF_INET_PRE_ROUTING,
				  RULESET_STAGE_TRACKED, &packet);
		search->view.any_port = true;
		/* Rules before may have given it one. */
		memset(&search->view.fields[RULESET_FIELD_MARK], 0,
		       sizeof(search->view.fields[RULESET_FIELD_MARK]));
		ruleset_ports_fill(&frame.left);
		search_chain(search, base, &frame);
	}
}

void ruleset_visit_dnat(const struct ruleset *ruleset, const char *wan,
			void (*visit)(void *user, uint8_t protocol,
				      struct port_range range),
			void *user)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	struct search search = {.ruleset = ruleset};

	for (size_t i = 0; i < sizeof(protocols); i++) {
		search_protocol(&search, wan, protocols[i]);
		tell_ports(&search.found, protocols[i], visit, user);
	}
}
