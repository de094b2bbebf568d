/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The leases of a machine that has another address now. */
#include <netinet/in.h>
#include <string.h>

#include "daemon/plan_private.h"
#include "daemon/table.h"

#define PORTS 65536u
#define WORD_BITS 64u

/* A bit for each port. */
struct port_bits {
	uint64_t words[PORTS / WORD_BITS];
};

static bool bits_have(const struct port_bits *bits, uint16_t port)
{
	return bits->words[port / WORD_BITS] >> (port % WORD_BITS) & 1;
}

static void bits_set(struct port_bits *bits, uint16_t port)
{
	bits->words[port / WORD_BITS] |= UINT64_C(1) << (port % WORD_BITS);
}

bool lease_is_of_machine(const struct lease *lease, const uint8_t mac[LEASE_MAC_SIZE])
{
	return lease->origin != ORIGIN_STATIC && lease->has_mac &&
	       memcmp(lease->mac, mac, LEASE_MAC_SIZE) == 0;
}

static struct lease get_moved(const struct lease *lease, const struct plan_move *move)
{
	struct lease after = *lease;

	if (addr_equal(&lease->client, &lease->internal))
		after.client = move->to;
	after.internal = move->to;
	after.lan = move->lan;
	after.outbound = false;
	return after;
}

static bool is_mapping(const struct lease *lease)
{
	return !lease_has_peer(lease) &&
	       (lease->has_nonce || lease->origin == ORIGIN_PCP ||
		lease->origin == ORIGIN_NATPMP);
}

/* NAT-PMP and PCP know a mapping by its inner end: the machine has it there already. */
static bool has_mapping(const struct table *table, const struct lease *after)
{
	const struct lease *other = table_get_by_internal(
		table, &after->internal, after->protocol, after->internal_port);

	while (other && !is_mapping(other))
		other = table_get_next_of_internal(table, other);
	return other != NULL;
}

/* stays: ports of IPv4 that what stays at the old address holds. */
static bool has_place(const struct table *table, const struct plan_move *move,
		      const struct lease *lease, const struct port_bits *stays)
{
	struct lease after = get_moved(lease, move);
	bool ipv4 = addr_is_ipv4(&after.internal);

	if (ipv4 ? bits_have(stays, after.external_port)
		 : table_get_by_external(table, &after) != NULL)
		return false;
	if (lease_is_peer(&after) && table_get_by_peer(table, &after))
		return false;
	if (is_mapping(&after) && has_mapping(table, &after))
		return false;
	if (lease_is_filtered(&after) && plan_is_clash(table, &after))
		return false;
	return move->is_allowed(move->user, &after);
}

/* A set goes as a whole, or not. */
static bool set_has_place(const struct table *table, const struct plan_move *move,
			  const struct lease *lease, const struct port_bits *stays)
{
	const struct lease *part;
	uint32_t port = 0;

	while ((part = plan_get_next_of_set(table, lease, &port)))
		if (!lease_is_of_machine(part, move->mac) ||
		    !has_place(table, move, part, stays))
			return false;
	return true;
}

/* Returns how many leases are the machine's. */
static size_t find_stays(const struct table *table, const struct plan_move *move,
			 struct port_bits *stays)
{
	const struct lease *lease = table_get_first_of_home(table, &move->from);
	size_t count = 0;

	for (; lease; lease = table_get_next_of_home(table, lease))
		if (lease_is_of_machine(lease, move->mac))
			count++;
		else
			bits_set(stays, lease->external_port);
	return count;
}

size_t lease_find_left(const struct table *table, const struct plan_move *move,
		       uint64_t *ids, size_t size)
{
	struct port_bits stays = {{0}};
	bool too_many = find_stays(table, move, &stays) > PLAN_MOVE_MAX;
	const struct lease *lease = table_get_first_of_home(table, &move->from);
	size_t count = 0;

	for (; lease && count < size; lease = table_get_next_of_home(table, lease))
		if (lease_is_of_machine(lease, move->mac) &&
		    (too_many || !set_has_place(table, move, lease, &stays)))
			ids[count++] = lease->id;
	return count;
}

/* What stays gets the outbound port of an endpoint whose lease goes. */
static void plan_leave(const struct table *table, const struct plan_move *move,
		       const struct lease *lease, struct plan *plan)
{
	const struct lease *heir;

	plan_remove(plan, lease);
	if (!lease->outbound)
		return;
	heir = plan_get_heir(table, lease);
	while (heir && (!heir->enabled || lease_is_of_machine(heir, move->mac)))
		heir = table_get_next_of_internal(table, heir);
	if (heir)
		plan_promote(plan, heir);
}

/* Endpoints, by protocol, that have their outbound lease among those that have arrived.
 */
struct outbounds {
	struct port_bits of[2]; /* UDP, TCP */
};

static void plan_arrive(const struct table *table, const struct plan_move *move,
			const struct lease *lease, struct outbounds *outbounds,
			struct plan *plan)
{
	struct port_bits *of = &outbounds->of[lease->protocol == IPPROTO_TCP];
	struct lease after = get_moved(lease, move);

	after.outbound = after.enabled && !bits_have(of, after.internal_port) &&
			 !plan_find_outbound(table, &after);
	if (after.outbound)
		bits_set(of, after.internal_port);
	after.id = move->next_id + plan->port_count++;
	plan_add(plan, &after);
	if (plan->result == RESULT_OK)
		plan->changes[plan->count - 1].unasked = true;
}

/* Those first that had the outbound port before. */
static void plan_arrive_all(const struct table *table, const struct plan_move *move,
			    bool outbound, struct outbounds *outbounds,
			    struct plan *plan)
{
	const struct lease *lease = table_get_first_of_home(table, &move->from);

	for (; lease; lease = table_get_next_of_home(table, lease))
		if (lease_is_of_machine(lease, move->mac) &&
		    lease->outbound == outbound)
			plan_arrive(table, move, lease, outbounds, plan);
}

void lease_plan_move(const struct table *table, const struct plan_move *move,
		     struct plan *plan)
{
	const struct lease *lease = table_get_first_of_home(table, &move->from);
	struct outbounds outbounds = {{{{0}}}};

	plan_reset(plan);
	/* all go before the first arrives: they may share a port outside */
	for (; lease; lease = table_get_next_of_home(table, lease))
		if (lease_is_of_machine(lease, move->mac))
			plan_leave(table, move, lease, plan);
	plan_arrive_all(table, move, true, &outbounds, plan);
	plan_arrive_all(table, move, false, &outbounds, plan);
	plan->port_count = 0;
	if (plan->result != RESULT_OK)
		plan->count = 0;
}

void lease_plan_machine(const struct table *table, const struct ip_addr *host,
			const uint8_t mac[LEASE_MAC_SIZE], struct plan *plan)
{
	const struct lease *lease = table_get_first_of_home(table, host);

	plan_reset(plan);
	for (; lease && plan->count < PLAN_MOVE_MAX;
	     lease = table_get_next_of_home(table, lease)) {
		struct lease after = *lease;

		if (lease->has_mac || lease->origin == ORIGIN_STATIC)
			continue;
		after.has_mac = true;
		memcpy(after.mac, mac, sizeof(after.mac));
		plan_update(plan, lease, &after);
	}
	if (plan->result != RESULT_OK)
		plan->count = 0;
}
