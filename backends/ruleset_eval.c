/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset_private.h"

#include <linux/netfilter/nf_tables.h>
#include <string.h>

/* Where the destination port stands in a header of TCP and UDP. */
#define PORT_SOURCE 0
#define PORT_DESTINATION 2

/* A rule while it is applied. */
struct state {
	struct ruleset_eval *eval;
	const struct ruleset_rule *rule;
	enum ruleset_truth truth; /* of what was asked so far */
	struct ruleset_registers registers;
};

static enum ruleset_truth get_least(enum ruleset_truth a, enum ruleset_truth b)
{
	return a < b ? a : b;
}

static enum ruleset_truth get_opposite(enum ruleset_truth truth)
{
	if (truth == RULESET_MAYBE)
		return RULESET_MAYBE;
	return truth == RULESET_TRUE ? RULESET_FALSE : RULESET_TRUE;
}

static uint16_t get_port(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static enum ruleset_truth keep_ports(struct state *state,
				     const struct ruleset_ports *ports)
{
	ruleset_ports_keep(state->eval->ports, ports);
	return ruleset_ports_are_none(state->eval->ports) ? RULESET_FALSE
							  : RULESET_TRUE;
}

static enum ruleset_truth remove_ports(struct state *state,
				       const struct ruleset_ports *ports)
{
	ruleset_ports_remove(state->eval->ports, ports);
	return ruleset_ports_are_none(state->eval->ports) ? RULESET_FALSE
							  : RULESET_TRUE;
}

/* The port must be, or must not be, in this range. */
static enum ruleset_truth narrow(struct state *state, unsigned int first,
				 unsigned int last, bool invert)
{
	struct ruleset_ports ports = {0};

	if (first <= last)
		ruleset_ports_add(&ports, first, last);
	if (invert)
		return remove_ports(state, &ports);
	state->eval->port_matched = true;
	return keep_ports(state, &ports);
}

static enum ruleset_truth compare_port(struct state *state,
				       const struct ruleset_expr *expr, int place)
{
	const uint8_t *data = ruleset_get_bytes(state->eval->ruleset, expr->data);
	uint16_t port = get_port(data + place);
	enum ruleset_truth rest = ruleset_registers_are_equal(
		&state->registers, expr->source, data, expr->length, place);

	if (expr->op == NFT_CMP_EQ)
		return get_least(rest, narrow(state, port, port, false));
	if (expr->op == NFT_CMP_NEQ && rest == RULESET_TRUE)
		return narrow(state, port, port, true);
	if (expr->op == NFT_CMP_NEQ && rest == RULESET_FALSE)
		return RULESET_TRUE;
	if (expr->length != sizeof(port))
		return RULESET_MAYBE;
	switch (expr->op) {
	case NFT_CMP_LT:
		return port == 0 ? RULESET_FALSE : narrow(state, 0, port - 1, false);
	case NFT_CMP_LTE:
		return narrow(state, 0, port, false);
	case NFT_CMP_GT:
		return narrow(state, port + 1, UINT16_MAX, false);
	case NFT_CMP_GTE:
		return narrow(state, port, UINT16_MAX, false);
	default:
		return RULESET_MAYBE;
	}
}

static enum ruleset_truth compare(struct state *state, const struct ruleset_expr *expr)
{
	const uint8_t *data = ruleset_get_bytes(state->eval->ruleset, expr->data);
	static const uint8_t least[RULESET_DATA_MAX];
	int place = ruleset_registers_find_port(&state->registers, expr->source,
						expr->length);
	enum ruleset_truth at_most;
	enum ruleset_truth equal;

	if (place >= 0)
		return compare_port(state, expr, place);
	equal = ruleset_registers_are_equal(&state->registers, expr->source, data,
					    expr->length, -1);
	at_most = ruleset_registers_are_within(&state->registers, expr->source, least,
					       data, expr->length);
	switch (expr->op) {
	case NFT_CMP_EQ:
		return equal;
	case NFT_CMP_NEQ:
		return get_opposite(equal);
	case NFT_CMP_LTE:
		return at_most;
	case NFT_CMP_GT:
		return get_opposite(at_most);
	case NFT_CMP_LT:
		return get_least(at_most, get_opposite(equal));
	case NFT_CMP_GTE:
		return get_opposite(get_least(at_most, get_opposite(equal)));
	default:
		return RULESET_MAYBE;
	}
}

static enum ruleset_truth compare_range(struct state *state,
					const struct ruleset_expr *expr)
{
	const uint8_t *first = ruleset_get_bytes(state->eval->ruleset, expr->data);
	const uint8_t *last = ruleset_get_bytes(state->eval->ruleset, expr->data2);
	int place = ruleset_registers_find_port(&state->registers, expr->source,
						expr->length);
	enum ruleset_truth truth;

	if (place == 0 && expr->length == sizeof(uint16_t))
		return narrow(state, get_port(first), get_port(last), expr->op);
	truth = ruleset_registers_are_within(&state->registers, expr->source, first,
					     last, expr->length);
	return expr->op ? get_opposite(truth) : truth;
}

/* An element of a set as it fits: for these ports, if the port is a part of the key. */
struct fit {
	enum ruleset_truth truth;
	struct port_range ports;
};

static struct fit get_part_fit(const struct state *state, size_t at,
			       const uint8_t *first, const uint8_t *last, size_t length)
{
	struct fit fit = {RULESET_TRUE, {0, UINT16_MAX}};
	int place = ruleset_registers_find_port(&state->registers, at, length);

	if (place < 0) {
		fit.truth = ruleset_registers_are_within(&state->registers, at, first,
							 last, length);
		return fit;
	}
	/* Behind it there is padding only. */
	if (place == 0)
		fit.ports = (struct port_range){get_port(first), get_port(last)};
	else
		fit.truth = RULESET_MAYBE;
	return fit;
}

static struct fit get_fit(const struct state *state, const struct ruleset_expr *expr,
			  const struct ruleset_element *element)
{
	const struct ruleset *ruleset = state->eval->ruleset;
	const struct ruleset_set *set = ruleset_get_set(ruleset, expr->index);
	const uint8_t *first = ruleset_get_bytes(ruleset, element->key);
	const uint8_t *last = ruleset_get_bytes(ruleset, element->key_end);
	struct fit fit = {RULESET_TRUE, {0, UINT16_MAX}};
	size_t at = 0;

	if (element->key == element->key_end) {
		int place = ruleset_registers_find_port(&state->registers, expr->source,
							expr->length);

		if (place >= 0)
			fit.ports = (struct port_range){get_port(first + place),
							get_port(first + place)};
		fit.truth = ruleset_registers_are_equal(&state->registers, expr->source,
							first, expr->length, place);
		return fit;
	}
	if (set->part_count == 0)
		return get_part_fit(state, expr->source, first, last, expr->length);
	for (size_t i = 0; i < set->part_count; i++) {
		struct fit part = get_part_fit(state, expr->source + at, first + at,
					       last + at, set->parts[i]);

		fit.truth = get_least(fit.truth, part.truth);
		if (part.ports.first != 0 || part.ports.last != UINT16_MAX)
			fit.ports = part.ports;
		at += set->parts[i];
	}
	return fit;
}

/* What a look into a set says. */
struct found {
	enum ruleset_truth truth;
	const struct ruleset_element *element; /* if there is one for certain */
};

static struct found find_element(const struct state *state,
				 const struct ruleset_expr *expr)
{
	const struct ruleset *ruleset = state->eval->ruleset;
	const struct ruleset_set *set = ruleset_get_set(ruleset, expr->index);
	struct found found = {RULESET_FALSE, NULL};

	for (uint32_t i = 0; i < set->element_count; i++) {
		const struct ruleset_element *element =
			ruleset_get_element(ruleset, set->first_element + i);
		enum ruleset_truth truth = RULESET_TRUE;

		/* It is the last one. */
		if (!element->catches_all)
			truth = get_fit(state, expr, element).truth;
		if (truth == RULESET_TRUE && found.truth == RULESET_FALSE)
			return (struct found){RULESET_TRUE, element};
		if (truth == RULESET_TRUE)
			return (struct found){RULESET_TRUE, NULL};
		if (truth == RULESET_MAYBE)
			found.truth = RULESET_MAYBE;
	}
	return found;
}

/* The same where the port is a part of what is looked for. */
static enum ruleset_truth find_ports(struct state *state,
				     const struct ruleset_expr *expr, bool invert)
{
	const struct ruleset *ruleset = state->eval->ruleset;
	const struct ruleset_set *set = ruleset_get_set(ruleset, expr->index);
	struct ruleset_ports certain = {0};
	struct ruleset_ports possible = {0};
	enum ruleset_truth truth = RULESET_TRUE;

	for (uint32_t i = 0; i < set->element_count; i++) {
		const struct ruleset_element *element =
			ruleset_get_element(ruleset, set->first_element + i);
		struct fit fit = {RULESET_TRUE, {0, UINT16_MAX}};

		if (!element->catches_all)
			fit = get_fit(state, expr, element);
		if (fit.truth == RULESET_FALSE)
			continue;
		ruleset_ports_add(&possible, fit.ports.first, fit.ports.last);
		if (fit.truth == RULESET_TRUE)
			ruleset_ports_add(&certain, fit.ports.first, fit.ports.last);
		truth = get_least(truth, fit.truth);
	}
	if (invert)
		return get_least(truth, remove_ports(state, &certain));
	state->eval->port_matched = true;
	return get_least(truth, keep_ports(state, &possible));
}

static enum ruleset_truth look_up(struct state *state, const struct ruleset_expr *expr)
{
	const struct ruleset *ruleset = state->eval->ruleset;
	const struct ruleset_set *set = ruleset_get_set(ruleset, expr->index);
	bool invert = expr->kind == RULESET_LOOKUP && expr->op;
	struct found found = {RULESET_MAYBE, NULL};

	if (set->known && ruleset_registers_find_port(&state->registers, expr->source,
						      expr->length) >= 0)
		found.truth = find_ports(state, expr, invert);
	else if (set->known)
		found = find_element(state, expr);
	if (invert && ruleset_registers_find_port(&state->registers, expr->source,
						  expr->length) < 0)
		found.truth = get_opposite(found.truth);
	if (expr->kind == RULESET_LOOKUP)
		return found.truth;
	ruleset_registers_forget(&state->registers, expr->target,
				 RULESET_KERNEL_REGISTERS);
	if (found.element)
		ruleset_registers_put(&state->registers, expr->target,
				      ruleset_get_bytes(ruleset, found.element->data),
				      found.element->data_length);
	return found.truth;
}

static void decide(struct state *state, const struct ruleset_verdict *verdict,
		   enum ruleset_truth truth)
{
	state->eval->decide(state->eval->user, verdict, truth);
}

/* One verdict of a map, for the ports that lead to it. */
static void decide_fit(struct state *state, const struct ruleset_element *element,
		       const struct fit *fit, bool has_port)
{
	struct ruleset_eval *eval = state->eval;
	enum ruleset_truth truth = get_least(state->truth, fit->truth);
	struct ruleset_ports *all = eval->ports;
	struct ruleset_ports some = {0};
	bool matched = eval->port_matched;

	if (!element->has_verdict || truth == RULESET_FALSE)
		return;
	if (has_port) {
		ruleset_ports_add(&some, fit->ports.first, fit->ports.last);
		ruleset_ports_keep(&some, all);
		eval->ports = &some;
		eval->port_matched = true;
	}
	if (!has_port || !ruleset_ports_are_none(&some))
		decide(state, &element->verdict, truth);
	eval->ports = all;
	eval->port_matched = matched;
}

static void decide_verdicts(struct state *state, const struct ruleset_expr *expr)
{
	static const struct ruleset_verdict anything = {RULESET_ANYTHING, RULESET_NONE};
	const struct ruleset *ruleset = state->eval->ruleset;
	const struct ruleset_set *set = ruleset_get_set(ruleset, expr->index);
	bool has_port = ruleset_registers_find_port(&state->registers, expr->source,
						    expr->length) >= 0;
	bool unsure = has_port;

	if (!set->known)
		decide(state, &anything, RULESET_MAYBE);
	for (uint32_t i = 0; i < set->element_count; i++) {
		const struct ruleset_element *element =
			ruleset_get_element(ruleset, set->first_element + i);
		struct fit fit = {unsure ? RULESET_MAYBE : RULESET_TRUE,
				  {0, UINT16_MAX}};

		if (!element->catches_all)
			fit = get_fit(state, expr, element);
		decide_fit(state, element, &fit, has_port && !element->catches_all);
		if (fit.truth == RULESET_TRUE && !has_port)
			return;
		unsure = unsure || fit.truth == RULESET_MAYBE;
	}
}

static enum ruleset_truth is_port_in(const struct state *state, size_t at,
				     const struct ruleset_expr *expr)
{
	const struct ruleset *ruleset = state->eval->ruleset;
	const struct ruleset_octets *header =
		&state->eval->view->fields[RULESET_FIELD_TRANSPORT];
	uint16_t port = get_port(header->value + at);
	struct port_range range;

	if (header->known[at] != 0xff || header->known[at + 1] != 0xff)
		return RULESET_MAYBE;
	for (size_t i = 0; i < expr->length; i++) {
		memcpy(&range,
		       ruleset_get_bytes(ruleset, expr->data) + i * sizeof(range),
		       sizeof(range));
		if (port >= range.first && port <= range.last)
			return RULESET_TRUE;
	}
	return RULESET_FALSE;
}

static enum ruleset_truth narrow_ports(struct state *state,
				       const struct ruleset_expr *expr)
{
	const struct ruleset *ruleset = state->eval->ruleset;
	struct ruleset_ports ports = {0};
	struct port_range range;

	for (size_t i = 0; i < expr->length; i++) {
		memcpy(&range,
		       ruleset_get_bytes(ruleset, expr->data) + i * sizeof(range),
		       sizeof(range));
		ruleset_ports_add(&ports, range.first, range.last);
	}
	if (expr->kind == RULESET_NO_PORTS)
		return remove_ports(state, &ports);
	state->eval->port_matched = true;
	return keep_ports(state, &ports);
}

static enum ruleset_truth match_ports(struct state *state,
				      const struct ruleset_expr *expr)
{
	enum ruleset_truth truth = RULESET_FALSE;
	enum ruleset_truth other;

	if (!state->eval->view->has_ports)
		return RULESET_FALSE;
	if (state->eval->view->any_port && expr->op == RULESET_PORTS_DESTINATION)
		return narrow_ports(state, expr);
	if (expr->op != RULESET_PORTS_DESTINATION)
		truth = is_port_in(state, PORT_SOURCE, expr);
	if (expr->op != RULESET_PORTS_SOURCE) {
		other = is_port_in(state, PORT_DESTINATION, expr);
		truth = truth > other ? truth : other;
	}
	return expr->kind == RULESET_NO_PORTS ? get_opposite(truth) : truth;
}

/* Other rules may look at what this one has changed. */
static void forget_field(struct state *state, enum ruleset_field field)
{
	memset(&state->eval->view->fields[field], 0, sizeof(struct ruleset_octets));
}

/*
 * A limit that keeps a flood out lets a packet of quiet traffic pass: nobody wants to
 * hear of it. What else hangs on a limit may be or not.
 */
static enum ruleset_truth guard(const struct state *state,
				const struct ruleset_expr *expr)
{
	const struct ruleset_expr *last =
		ruleset_get_expr(state->eval->ruleset,
				 state->rule->first_expr + state->rule->expr_count - 1);

	if (last->kind != RULESET_VERDICT)
		return RULESET_MAYBE;
	if (!expr->op && last->op == RULESET_RETURN)
		return RULESET_TRUE;
	return expr->op && last->op == RULESET_DROP ? RULESET_FALSE : RULESET_MAYBE;
}

/* One expression that decides nothing. */
static enum ruleset_truth apply(struct state *state, const struct ruleset_expr *expr)
{
	switch (expr->kind) {
	case RULESET_LOAD:
		ruleset_registers_load(&state->registers, state->eval->view, expr);
		return RULESET_TRUE;
	case RULESET_CONSTANT:
		ruleset_registers_put(
			&state->registers, expr->target,
			ruleset_get_bytes(state->eval->ruleset, expr->data),
			expr->length);
		return RULESET_TRUE;
	case RULESET_BITWISE:
		ruleset_registers_mask(&state->registers, state->eval->ruleset, expr);
		return RULESET_TRUE;
	case RULESET_SWAP:
		ruleset_registers_swap(&state->registers, expr);
		return RULESET_TRUE;
	case RULESET_COMPARE:
		return compare(state, expr);
	case RULESET_RANGE:
		return compare_range(state, expr);
	case RULESET_LOOKUP:
	case RULESET_MAP:
		return look_up(state, expr);
	case RULESET_PORTS:
	case RULESET_NO_PORTS:
		return match_ports(state, expr);
	case RULESET_OFFLOAD:
		return state->eval->view->is_new ? RULESET_FALSE : RULESET_MAYBE;
	case RULESET_GUARD:
		return guard(state, expr);
	case RULESET_SET_MARK:
		forget_field(state, RULESET_FIELD_MARK);
		state->eval->view->mark_changed = true;
		return RULESET_TRUE;
	case RULESET_SET_PACKET:
		forget_field(state, RULESET_FIELD_NETWORK);
		forget_field(state, RULESET_FIELD_TRANSPORT);
		return RULESET_TRUE;
	case RULESET_NEVER:
		return RULESET_FALSE;
	case RULESET_PERHAPS:
	case RULESET_STRANGE:
	case RULESET_VERDICT:
	case RULESET_VERDICTS:
		break;
	}
	ruleset_registers_forget(&state->registers, 0, RULESET_KERNEL_REGISTERS);
	return RULESET_MAYBE;
}

static void apply_verdict(struct state *state, const struct ruleset_expr *expr)
{
	const struct ruleset_verdict verdict = {(enum ruleset_decision)expr->op,
						expr->index};

	if (expr->kind == RULESET_VERDICTS)
		decide_verdicts(state, expr);
	else
		decide(state, &verdict, state->truth);
}

void ruleset_eval_rule(struct ruleset_eval *eval, const struct ruleset_rule *rule)
{
	static const struct ruleset_verdict anything = {RULESET_ANYTHING, RULESET_NONE};
	struct state state = {.eval = eval, .rule = rule, .truth = RULESET_TRUE};

	for (uint32_t i = 0; i < rule->expr_count; i++) {
		const struct ruleset_expr *expr =
			ruleset_get_expr(eval->ruleset, rule->first_expr + i);

		if (expr->kind == RULESET_VERDICT || expr->kind == RULESET_VERDICTS) {
			apply_verdict(&state, expr);
			return;
		}
		if (expr->kind == RULESET_STRANGE)
			decide(&state, &anything, RULESET_MAYBE);
		state.truth = get_least(state.truth, apply(&state, expr));
		if (state.truth == RULESET_FALSE)
			return;
	}
}
