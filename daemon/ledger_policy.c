/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases that are there, and what the configuration allows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "daemon/admission.h"
#include "daemon/ledger_private.h"
#include "daemon/policy.h"
#include "daemon/table.h"

/* "" = its LAN is not there. */
static const char *lease_get_lan_name(const struct ledger *ledger,
				      const struct lease *lease)
{
	return lease->lan < LANS_MAX ? ledger->books.lan_names[lease->lan] : "";
}

/* Its LAN speaks what the host has asked by. */
static bool ledger_serves(const struct ledger *ledger, const struct lease *lease)
{
	return (ledger->lan_protocols[lease->lan] &
		origin_get_protocol(lease->origin)) != 0;
}

/* Whether the rules would grant this port of the lease as it is. */
static bool ledger_grants_port(const struct ledger *ledger, const struct lease *lease,
			       int offset)
{
	struct request request = {
		.op = REQUEST_MAP,
		.origin = lease->origin,
		.protocol = lease->protocol,
		.lan = lease->lan,
		.internal_port = (uint16_t)(lease->internal_port + offset),
		.external_port = (uint16_t)(lease->external_port + offset),
		.client = lease->client,
		.internal = lease->internal,
	};
	struct verdict verdict;
	uint32_t ignored;

	lease_copy_description(lease, request.description);
	policy_decide(ledger->conf, &request, lease_get_lan_name(ledger, lease),
		      &verdict);
	return verdict_allows(&verdict, request.external_port, &ignored);
}

/* A set lives and ends as one (PCP-116). */
static bool ledger_grants(const struct ledger *ledger, const struct lease *lease)
{
	int first = lease->set_count > 0 ? lease->set_first - lease->internal_port : 0;
	int count = lease->set_count > 0 ? lease->set_count : 1;

	for (int i = 0; i < count; i++)
		if (!ledger_grants_port(ledger, lease, first + i))
			return false;
	return true;
}

bool ledger_allows(const struct ledger *ledger, const struct lease *lease)
{
	return lease->lan < LANS_MAX && ledger_serves(ledger, lease) &&
	       ledger_grants(ledger, lease);
}

bool ledger_is_forbidden(const struct ledger *ledger, const struct lease *lease)
{
	const struct conf *conf = ledger->conf;

	if (lease->origin == ORIGIN_STATIC)
		return false;
	/* no packet would ever get through */
	if (!addr_is_ipv4(&lease->internal) &&
	    (ledger_get_troubles(ledger) & BACKEND_TROUBLE_NO_IPV6) != 0)
		return true;
	/* V6FW-1: no lease is to be had there, by whatever rules */
	if (conf->wan.pinholes == CONF_PINHOLES_OFF && !addr_is_ipv4(&lease->internal))
		return true;
	if (lease->lan < LANS_MAX && (ledger->lans_lost >> lease->lan & 1) != 0)
		return true;
	if (conf->keep_forbidden)
		return false;
	/* one that was found by itself may only be late */
	if (lease_get_lan_name(ledger, lease)[0] == '\0')
		return conf->lan_count > 0;
	return !(ledger_serves(ledger, lease) && ledger_grants(ledger, lease));
}

/* --- before the kernel has them --- */

/* Those that are forbidden; *count: how many. Owns: caller frees. Errors: NULL. */
static uint64_t *ledger_find_forbidden(const struct ledger *ledger, size_t *count)
{
	uint64_t *ids = calloc(table_get_count(ledger->table) + 1, sizeof(*ids));
	const struct lease *lease = NULL;

	*count = 0;
	while (ids && (lease = table_get_next(ledger->table, lease)))
		if (ledger_is_forbidden(ledger, lease))
			ids[(*count)++] = lease->id;
	return ids;
}

/* Out of table and store, at most LEDGER_ENDS_MAX. Errors: -errno, of the store. */
static int ledger_withdraw_some(struct ledger *ledger, const uint64_t *ids,
				size_t count, const struct store_time *at)
{
	struct store_change changes[LEDGER_ENDS_MAX];
	struct books *books = &ledger->books;

	for (size_t i = 0; i < count; i++) {
		table_remove(ledger->table, ids[i], at->now_ms);
		changes[i] = (struct store_change){.kind = STORE_REMOVE, .id = ids[i]};
	}
	return books->store_ops->write(books->store, at, changes, count, NULL);
}

int ledger_withdraw(struct ledger *ledger, const struct store_time *at)
{
	size_t count;
	uint64_t *ids = ledger_find_forbidden(ledger, &count);
	int error = 0;

	if (!ids)
		return -ENOMEM;
	for (size_t done = 0; done < count; done += LEDGER_ENDS_MAX) {
		size_t part =
			count - done < LEDGER_ENDS_MAX ? count - done : LEDGER_ENDS_MAX;
		int failed = ledger_withdraw_some(ledger, ids + done, part, at);

		error = error == 0 ? failed : error;
	}
	free(ids);
	if (count > 0)
		log_notice("%zu leases have ended: the configuration does not allow "
			   "them%s",
			   count,
			   ledger_get_troubles(ledger) & BACKEND_TROUBLE_NO_IPV6
				   ? ", or the firewall has no IPv6"
				   : "");
	return error;
}
