/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

#define STEPS_START 64

/* One thing that was done, to be undone. */
struct ipt_step {
	struct ipt_held *held;
	bool added; /* else it was taken out, and is freed when all is done */
};

static unsigned int get_protocol(const struct rule *rule)
{
	return rule->protocol == IPPROTO_UDP;
}

static struct ipt_held **get_outer(struct ipt_model *model, const struct rule *rule)
{
	unsigned int leaf = rule->external_port / IPT_LEAF_PORTS;

	return addr_is_ipv4(&rule->internal) ? &model->outer4[get_protocol(rule)][leaf]
					     : &model->outer6[get_protocol(rule)][leaf];
}

static struct ipt_held **get_inner(struct ipt_model *model, const struct rule *rule)
{
	return &model->inner4[get_protocol(rule)]
			     [rule->internal_port / IPT_INNER_PORTS];
}

/* --- the order in a leaf: what is asked first comes first --- */

static int compare_numbers(unsigned int a, unsigned int b)
{
	return (a > b) - (a < b);
}

static int compare_addrs(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* One flow, then rules with filters, then those for all. */
static unsigned int get_rank(const struct ipt_held *held)
{
	if (held->rule.flow)
		return 0;
	return held->any ? 2 : 1;
}

static int compare_filters(const struct rule *a, const struct rule *b)
{
	int order = compare_numbers(a->filter_count, b->filter_count);

	for (unsigned int i = 0; i < a->filter_count && order == 0; i++) {
		const struct rule_filter *left = &a->filters[i];
		const struct rule_filter *right = &b->filters[i];

		order = compare_addrs(&left->prefix.addr, &right->prefix.addr);
		if (order == 0)
			order = compare_numbers(left->prefix.length,
						right->prefix.length);
		if (order == 0)
			order = compare_numbers(left->port, right->port);
	}
	return order;
}

/* The same however the rules came: a restart finds them as it would make them. */
static int compare_held(const struct ipt_held *a, const struct ipt_held *b)
{
	int order = compare_numbers(get_rank(a), get_rank(b));

	if (order == 0)
		order = compare_numbers(a->rule.external_port, b->rule.external_port);
	if (order == 0)
		order = compare_numbers(a->rule.internal_port, b->rule.internal_port);
	if (order == 0)
		order = compare_addrs(&a->rule.internal, &b->rule.internal);
	return order != 0 ? order : compare_filters(&a->rule, &b->rule);
}

/* --- lists --- */

static size_t *get_ends(struct ipt_model *model, const struct rule *rule, uint16_t port)
{
	return &model->ends4[get_protocol(rule)]
			    [port / (IPT_LEAF_PORTS * IPT_BRANCH_LEAVES)];
}

static void link_held(struct ipt_model *model, struct ipt_held *held)
{
	struct ipt_held **at = get_outer(model, &held->rule);

	while (*at && compare_held(*at, held) <= 0)
		at = &(*at)->next_outer;
	held->next_outer = *at;
	*at = held;
	model->count++;
	if (!addr_is_ipv4(&held->rule.internal))
		return;
	at = get_inner(model, &held->rule);
	while (*at && compare_held(*at, held) <= 0)
		at = &(*at)->next_inner;
	held->next_inner = *at;
	*at = held;
	++*get_ends(model, &held->rule, held->rule.external_port);
	++*get_ends(model, &held->rule, held->rule.internal_port);
}

static void unlink_held(struct ipt_model *model, struct ipt_held *held)
{
	struct ipt_held **at = get_outer(model, &held->rule);

	while (*at && *at != held)
		at = &(*at)->next_outer;
	if (*at)
		*at = held->next_outer;
	model->count--;
	if (!addr_is_ipv4(&held->rule.internal))
		return;
	at = get_inner(model, &held->rule);
	while (*at && *at != held)
		at = &(*at)->next_inner;
	if (*at)
		*at = held->next_inner;
	--*get_ends(model, &held->rule, held->rule.external_port);
	--*get_ends(model, &held->rule, held->rule.internal_port);
}

static bool reserve(struct ipt_model *model)
{
	struct ipt_step *steps =
		array_reserve(model->steps, model->step_count, &model->step_size,
			      sizeof(*steps), STEPS_START);

	if (steps)
		model->steps = steps;
	return steps != NULL;
}

/* --- clashes --- */

static bool clashes_outside(const struct ipt_held *a, const struct ipt_held *b)
{
	if (a->rule.external_port != b->rule.external_port)
		return false;
	if (!addr_is_ipv4(&a->rule.internal) &&
	    !addr_equal(&a->rule.internal, &b->rule.internal))
		return false;
	return rule_overlaps(&a->rule, &b->rule);
}

/* Two ways out for the same packets. */
static bool clashes_inside(const struct ipt_held *a, const struct ipt_held *b)
{
	if (a->rule.internal_port != b->rule.internal_port ||
	    !addr_equal(&a->rule.internal, &b->rule.internal))
		return false;
	if (a->rule.outbound && b->rule.outbound)
		return true;
	return a->rule.flow && b->rule.flow && rule_is_ipv4_host(&a->rule.external) &&
	       rule_is_ipv4_host(&b->rule.external) &&
	       rule_overlaps(&a->rule, &b->rule);
}

static bool clashes(struct ipt_model *model, const struct ipt_held *held)
{
	for (const struct ipt_held *other = *get_outer(model, &held->rule); other;
	     other = other->next_outer)
		if (clashes_outside(other, held))
			return true;
	if (!addr_is_ipv4(&held->rule.internal))
		return false;
	for (const struct ipt_held *other = *get_inner(model, &held->rule); other;
	     other = other->next_inner)
		if (clashes_inside(other, held))
			return true;
	return false;
}

/* --- changes --- */

int ipt_model_add(struct ipt_model *model, const struct rule *rule)
{
	struct ipt_held *held = malloc(sizeof(*held));
	struct rule_peers peers;
	int error;

	if (!held || !reserve(model)) {
		free(held);
		return -ENOMEM;
	}
	error = rule_check(rule, &peers);
	if (error == 0) {
		*held = (struct ipt_held){.rule = *rule, .any = peers.any};
		if (clashes(model, held))
			error = -EEXIST;
	}
	if (error < 0) {
		free(held);
		return error;
	}
	link_held(model, held);
	model->steps[model->step_count++] = (struct ipt_step){held, true};
	return 0;
}

struct ipt_held *ipt_model_find(struct ipt_model *model, const struct rule *rule)
{
	struct ipt_held *held = *get_outer(model, rule);

	while (held && !rule_equal(&held->rule, rule))
		held = held->next_outer;
	return held;
}

int ipt_model_remove(struct ipt_model *model, const struct rule *rule)
{
	struct rule_peers peers;
	int error = rule_check(rule, &peers);
	struct ipt_held *held;

	if (error < 0)
		return error;
	held = ipt_model_find(model, rule);
	if (!held)
		return 0;
	if (!reserve(model))
		return -ENOMEM;
	unlink_held(model, held);
	model->steps[model->step_count++] = (struct ipt_step){held, false};
	return 0;
}

void ipt_model_commit(struct ipt_model *model)
{
	for (size_t i = 0; i < model->step_count; i++)
		if (!model->steps[i].added)
			free(model->steps[i].held);
	model->step_count = 0;
}

void ipt_model_undo(struct ipt_model *model)
{
	while (model->step_count > 0) {
		struct ipt_step *step = &model->steps[--model->step_count];

		if (step->added) {
			unlink_held(model, step->held);
			free(step->held);
		} else {
			link_held(model, step->held);
		}
	}
}

void ipt_model_step_back(struct ipt_model *model)
{
	for (size_t i = model->step_count; i-- > 0;)
		if (model->steps[i].added)
			unlink_held(model, model->steps[i].held);
		else
			link_held(model, model->steps[i].held);
}

void ipt_model_step_forth(struct ipt_model *model)
{
	for (size_t i = 0; i < model->step_count; i++)
		if (model->steps[i].added)
			link_held(model, model->steps[i].held);
		else
			unlink_held(model, model->steps[i].held);
}

static void free_leaf(struct ipt_held *held)
{
	while (held) {
		struct ipt_held *next = held->next_outer;

		free(held);
		held = next;
	}
}

void ipt_model_fini(struct ipt_model *model)
{
	ipt_model_commit(model);
	for (unsigned int i = 0; i < IPT_PROTOCOLS; i++)
		for (unsigned int leaf = 0; leaf < IPT_LEAVES; leaf++) {
			free_leaf(model->outer4[i][leaf]);
			free_leaf(model->outer6[i][leaf]);
		}
	free(model->steps);
	memset(model, 0, sizeof(*model));
}
