/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which flows rules let pass. The kernel has what the model says: nobody asks it. */
#include "backends/ipt.h"

static const struct ipt_held *get_outer(const struct ipt_layout *layout,
					const struct flows_key *flow)
{
	const struct ipt_model *model = &layout->model;
	unsigned int protocol = flow->protocol == IPPROTO_UDP;
	unsigned int leaf = flow->external_port / IPT_LEAF_PORTS;

	return addr_is_ipv4(&flow->internal) ? model->outer4[protocol][leaf]
					     : model->outer6[protocol][leaf];
}

static bool is_target(const struct rule *rule, const struct flows_key *flow)
{
	return rule->external_port == flow->external_port &&
	       rule->internal_port == flow->internal_port &&
	       addr_equal(&rule->internal, &flow->internal);
}

static bool has_peer(const struct ipt_held *held, const struct flows_key *flow)
{
	for (unsigned int i = 0; i < held->rule.filter_count; i++) {
		const struct rule_filter *filter = &held->rule.filters[i];

		if ((filter->port == 0 || filter->port == flow->peer_port) &&
		    prefix_contains(&filter->prefix, &flow->peer))
			return true;
	}
	return held->any;
}

static bool admits(void *user, const struct flows_key *flow)
{
	for (const struct ipt_held *held = get_outer(user, flow); held;
	     held = held->next_outer)
		if (is_target(&held->rule, flow) && has_peer(held, flow))
			return true;
	return false;
}

static bool rejects(void *user, const struct flows_key *flow)
{
	return !admits(user, flow);
}

static bool translates(void *user, const struct flows_key *flow)
{
	for (const struct ipt_held *held = get_outer(user, flow); held;
	     held = held->next_outer)
		if (is_target(&held->rule, flow) && held->rule.outbound)
			return true;
	return false;
}

static bool is_foreign(void *user, const struct flows_key *flow)
{
	for (const struct ipt_held *held = get_outer(user, flow); held;
	     held = held->next_outer)
		if (is_target(&held->rule, flow))
			return false;
	return true;
}

static void end(void *user)
{
	(void)user;
}

const struct flows_judge *ipt_judge_get(void)
{
	static const struct flows_judge judge = {
		.admits = admits,
		.rejects = rejects,
		.translates = translates,
		.is_foreign = is_foreign,
		.end = end,
	};

	return &judge;
}
