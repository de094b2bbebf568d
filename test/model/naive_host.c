/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machines that change their addresses, and addresses that change their machines. */
#include <errno.h>
#include <string.h>

#include "backends/backend.h"
#include "backends/memory.h"
#include "daemon/ledger_private.h"
#include "daemon/table.h"
#include "test/model/naive_private.h"

#define CARDS 3 /* 0 = not known */

static void fill_mac(uint8_t mac[LEASE_MAC_SIZE], uint8_t card)
{
	memset(mac, 0, LEASE_MAC_SIZE);
	mac[0] = 2;
	mac[LEASE_MAC_SIZE - 1] = card;
}

bool naive_find_mac(void *user, const struct ip_addr *host, uint8_t mac[LEASE_MAC_SIZE])
{
	const struct model *model = user;

	for (unsigned int i = 0; i < HOSTS; i++) {
		struct ip_addr addr = naive_host(i);

		if (!addr_equal(&addr, host) || model->cards[i] == 0)
			continue;
		fill_mac(mac, model->cards[i]);
		return true;
	}
	return false;
}

void naive_reset_cards(struct model *model)
{
	for (unsigned int i = 0; i < HOSTS; i++)
		model->cards[i] = (uint8_t)(1 + i % (CARDS - 1));
}

static bool is_theirs(const struct naive_lease *lease, const struct ip_addr *host,
		      uint8_t card)
{
	return lease->origin != ORIGIN_STATIC && lease->card == card &&
	       addr_equal(&lease->internal, host);
}

static bool is_mapping(const struct naive_lease *lease)
{
	return addr_is_none(&lease->remote) && lease->remote_port == 0 &&
	       (lease->has_nonce || lease->origin == ORIGIN_PCP ||
		lease->origin == ORIGIN_NATPMP);
}

/* Does another lease there mean the same? */
static bool is_taken(struct model *model, const struct naive_lease *after)
{
	bool ipv4 = addr_is_ipv4(&after->internal);
	bool flow = after->remote_port != 0 && after->pinhole == 0;

	for (size_t i = 0; i < model->count; i++) {
		const struct naive_lease *other = &model->leases[i];

		if (other->protocol != after->protocol ||
		    other->internal_port != after->internal_port ||
		    !addr_equal(&other->internal, &after->internal))
			continue;
		if (is_mapping(after) && is_mapping(other))
			return true;
		if (flow && other->pinhole == 0 &&
		    other->remote_port == after->remote_port &&
		    addr_equal(&other->remote, &after->remote))
			return true;
	}
	if (ipv4)
		return false;
	return naive_find_external(model, after) || naive_clashes(model, after);
}

/* A port is one host's: what stays keeps it. */
static bool is_held_back(const struct model *model, const struct naive_lease *lease)
{
	for (size_t i = 0; i < model->count; i++)
		if (addr_is_ipv4(&lease->internal) &&
		    model->leases[i].external_port == lease->external_port &&
		    addr_equal(&model->leases[i].internal, &lease->internal) &&
		    !is_theirs(&model->leases[i], &lease->internal, lease->card))
			return true;
	return false;
}

static bool is_with(const struct naive_lease *a, const struct naive_lease *b)
{
	return a == b || (a->set_count > 0 && a->set_first == b->set_first &&
			  a->set_count == b->set_count && a->protocol == b->protocol &&
			  addr_equal(&a->internal, &b->internal));
}

static bool can_move(struct model *model, const struct naive_lease *lease,
		     struct ip_addr to)
{
	for (size_t i = 0; i < model->count; i++) {
		struct naive_lease after = model->leases[i];

		if (!is_with(&model->leases[i], lease))
			continue;
		after.internal = to;
		if (after.card != lease->card ||
		    is_held_back(model, &model->leases[i]) || is_taken(model, &after))
			return false;
	}
	return true;
}

static void naive_move(struct model *model, struct ip_addr from, struct ip_addr to,
		       uint8_t card)
{
	struct naive_lease left[NAIVE_MAX];
	size_t count = 0;

	for (size_t i = 0; i < model->count; i++)
		if (is_theirs(&model->leases[i], &from, card) &&
		    !can_move(model, &model->leases[i], to))
			left[count++] = model->leases[i];
	for (size_t i = 0; i < count; i++)
		if (naive_find_external(model, &left[i]))
			naive_remove(model, &left[i]);
	for (size_t i = 0; i < model->count; i++)
		if (is_theirs(&model->leases[i], &from, card))
			model->leases[i].internal = to;
}

static void naive_end(struct model *model, struct ip_addr host, uint8_t card)
{
	for (size_t i = model->count; i-- > 0;) {
		const struct naive_lease lease = model->leases[i];

		if (lease.origin == ORIGIN_STATIC || lease.card == 0 ||
		    lease.card == card || !addr_equal(&lease.internal, &host))
			continue;
		naive_remove(model, &lease);
		i = model->count; /* of a set the others have gone too */
	}
}

static void naive_note(struct model *model, struct ip_addr host, uint8_t card)
{
	for (size_t i = 0; i < model->count; i++)
		if (is_theirs(&model->leases[i], &host, 0))
			model->leases[i].card = card;
}

struct machine_step {
	unsigned int host, other;
	uint8_t card;
};

static int step_move(struct model *model, const struct machine_step *step)
{
	struct ledger_move move = {.from = naive_host(step->host),
				   .to = naive_host(step->other)};
	int error;

	fill_mac(move.mac, step->card);
	error = ledger_move_machine(model->ledger, &move, &model->at);
	if (error == 0)
		naive_move(model, move.from, move.to, step->card);
	return error;
}

static int step_end(struct model *model, const struct machine_step *step)
{
	struct ip_addr addr = naive_host(step->host);
	uint8_t mac[LEASE_MAC_SIZE];
	int error;

	fill_mac(mac, step->card);
	error = ledger_end_strangers(model->ledger, &addr, mac, &model->at);
	if (error == 0)
		naive_end(model, addr, step->card);
	return error;
}

static int step_note(struct model *model, const struct machine_step *step)
{
	struct ip_addr addr = naive_host(step->host);
	uint8_t mac[LEASE_MAC_SIZE];

	fill_mac(mac, step->card);
	ledger_note_machine(model->ledger, &addr, mac, &model->at);
	naive_note(model, addr, step->card);
	return 0;
}

static int step_nothing(struct model *model, const struct machine_step *step)
{
	(void)model;
	(void)step;
	return 0;
}

const char *naive_step_machine(struct model *model, const uint8_t **bytes,
			       size_t *length)
{
	static int (*const steps[8])(struct model * model,
				     const struct machine_step *step) = {
		step_nothing, step_note, step_end,  step_end,
		step_move,    step_move, step_move, step_move};
	uint8_t what = naive_take(bytes, length);
	uint8_t which = naive_take(bytes, length);
	struct machine_step step = {.host = which % HOSTS,
				    .other = (which / HOSTS) % HOSTS,
				    .card = (uint8_t)(1 + (what >> 3) % (CARDS - 1))};
	int (*function)(struct model * model, const struct machine_step *step) =
		steps[what % 8];
	int error;

	if (function == step_nothing)
		model->cards[step.host] = (uint8_t)((what >> 3) % CARDS);
	if (function == step_move && model->cards[step.host] != 0)
		step.card = model->cards[step.host];
	if (function == step_move &&
	    (step.host == step.other ||
	     (step.host < HOSTS_IPV4) != (step.other < HOSTS_IPV4)))
		return NULL;
	if ((what & 0xe0) == 0xe0)
		memory_plan_fault(model->ledger->books.backend, 1, EBUSY);
	error = function(model, &step);
	memory_plan_fault(model->ledger->books.backend, 0, 0);
	/* what was refused is as it was, and works when it is tried again */
	if (error == -EBUSY)
		error = function(model, &step);
	return error == 0 ? NULL
			  : "a move or an end that nothing stands against has failed";
}
