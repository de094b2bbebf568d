/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What PEER wants of the kernel's flows: a look at them, and that they last. */
#include "backends/backend.h"
#include "daemon/conntrack.h"
#include "daemon/ledger_private.h"

void ledger_open_flows(struct ledger *ledger)
{
	/* Without a kernel behind the backend there are no flows of its rules. */
	if (ledger->books.backend_ops == backend_get_memory())
		return;
	if (conntrack_open(&ledger->conntrack) != 0)
		log_warning("PCP's PEER reserves outbound ports, but knows no flow");
}

/*
 * A flow that leaves with another address than that of our WAN is of another way out,
 * or of a former address: nothing comes back by it that we could promise.
 */
bool ledger_find_flow(void *user, struct flow *flow)
{
	const struct ledger *ledger = user;

	if (!ledger->conntrack || !conntrack_find(ledger->conntrack, flow))
		return false;
	return !addr_is_ipv4(&flow->internal) ||
	       addr_equal(&flow->external, &ledger->wan_address);
}

bool ledger_is_flow_taken(void *user, const struct flow *flow)
{
	const struct ledger *ledger = user;
	struct flow ours = *flow;

	ours.external = ledger->wan_address;
	return ledger->conntrack && !addr_is_none(&ours.external) &&
	       conntrack_is_taken(ledger->conntrack, &ours);
}

/* A lifetime of 0 asked what is left; it extends nothing (PCP-90). */
static void ledger_extend_flow(struct ledger *ledger, const struct request *request,
			       uint32_t lifetime_s)
{
	const struct flow flow = {
		.protocol = request->protocol,
		.internal_port = request->internal_port,
		.remote_port = request->remote_port,
		.internal = request->internal,
		.remote = request->remote,
	};

	/* Nothing was sent yet, or conntrack has said what is wrong: the rule holds. */
	if (request->lifetime_s > 0)
		(void)!conntrack_extend(ledger->conntrack, &flow, lifetime_s);
}

void ledger_extend_flows(struct ledger *ledger, const struct request *requests,
			 const struct reply *replies, size_t count)
{
	if (!ledger->conntrack)
		return;
	for (size_t i = 0; i < count; i++)
		if (requests[i].op == REQUEST_PEER && replies[i].result == RESULT_OK)
			ledger_extend_flow(ledger, &requests[i], replies[i].lifetime_s);
}
