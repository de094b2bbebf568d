/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What PEER asks, in the naive table: RFC 6887 §12. There are no flows here. */
#include <string.h>

#include "daemon/ledger_private.h"
#include "daemon/table.h"
#include "test/model/naive_private.h"

static struct naive_lease *find_flow(struct model *model, const struct request *request)
{
	for (size_t i = 0; i < model->count; i++) {
		struct naive_lease *lease = &model->leases[i];

		if (lease->pinhole == 0 && lease->protocol == request->protocol &&
		    lease->internal_port == request->internal_port &&
		    lease->remote_port == request->remote_port &&
		    addr_equal(&lease->internal, &request->internal) &&
		    addr_equal(&lease->remote, &request->remote))
			return lease;
	}
	return NULL;
}

/* The port that the endpoint leaves with; 0 = none. Which of several leases gives it is
 * the ledger's choice, and it does not change when one is added. */
static uint16_t get_fixed_port(const struct model *model, const struct request *request)
{
	const struct lease *lease =
		table_get_by_internal(model->ledger->table, &request->internal,
				      request->protocol, request->internal_port);
	bool enabled = false;

	if (!addr_is_ipv4(&request->internal))
		return request->internal_port;
	for (size_t i = 0; i < model->count; i++)
		enabled = enabled ||
			  (model->leases[i].enabled &&
			   model->leases[i].protocol == request->protocol &&
			   model->leases[i].internal_port == request->internal_port &&
			   addr_equal(&model->leases[i].internal, &request->internal));
	return enabled && lease ? lease->external_port : 0;
}

/* Another endpoint has the port, for everybody or for this very peer. */
static bool is_held(struct model *model, const struct naive_lease *lease)
{
	struct naive_lease open = *lease;
	const struct naive_lease *other;

	if (naive_find_external(model, lease))
		return true;
	memset(&open.remote, 0, sizeof(open.remote));
	open.remote_port = 0;
	other = naive_find_external(model, &open);
	return addr_is_ipv4(&lease->internal) && other &&
	       (other->internal_port != lease->internal_port ||
		!addr_equal(&other->internal, &lease->internal));
}

/* A port that the request names, or that is fixed: may it have that? */
static enum result get_reservation(struct model *model, const struct request *request,
				   uint16_t fixed)
{
	bool ipv4 = addr_is_ipv4(&request->internal);
	uint16_t port = fixed != 0 ? fixed : request->external_port;
	struct naive_lease lease = naive_from(model, request, port);

	if (!addr_is_none(&request->external) &&
	    !addr_equal(&request->external,
			ipv4 ? &model->network.wan.external : &request->internal))
		return RESULT_CONFLICT;
	if (fixed != 0 && request->external_port != 0 &&
	    request->external_port != fixed)
		return RESULT_CONFLICT;
	if (fixed != 0 && fixed < 1024)
		return RESULT_DENIED;
	if (fixed == 0 && port != 0 && naive_check_new(model, &lease))
		return RESULT_CONFLICT;
	return port != 0 && is_held(model, &lease) ? RESULT_CONFLICT : RESULT_OK;
}

static const char *reserve(struct model *model, const struct request *request,
			   const struct reply *reply)
{
	struct naive_lease lease = naive_from(model, request, reply->external_port);
	uint16_t fixed = get_fixed_port(model, request);
	enum result result;
	const char *wrong;

	(void)naive_quota(model, request, &result);
	if (result == RESULT_OK)
		result = get_reservation(model, request, fixed);
	if (request->lifetime_s == 0)
		result = RESULT_NO_ENTRY;
	wrong = naive_expect(reply, result);
	if (wrong || result != RESULT_OK)
		return wrong;
	if (request->external_port != 0 &&
	    reply->external_port != request->external_port)
		return "PEER got another port than it suggested";
	if (fixed != 0 && reply->external_port != fixed)
		return "PEER got another port than its endpoint has";
	if (is_held(model, &lease))
		return "PEER got the port of another endpoint";
	wrong = fixed == 0 ? naive_check_new(model, &lease) : NULL;
	model->leases[model->count++] = lease;
	return wrong;
}

/* PCP-90: no end is moved to an earlier time. */
static const char *renew(struct model *model, const struct request *request,
			 const struct reply *reply, struct naive_lease *lease)
{
	const struct naive_lease after =
		naive_from(model, request, lease->external_port);
	bool knows = lease->nonce == request->nonce[0] ||
		     model->conf.global.pcp_nonce_relaxed;
	const char *wrong = naive_expect(reply, knows ? RESULT_OK : RESULT_FOREIGN);

	if (knows && request->lifetime_s > 0 && after.expires_ms > lease->expires_ms) {
		lease->expires_ms = after.expires_ms;
		lease->nonce = after.nonce;
		if (request->has_description)
			memcpy(lease->text, after.text, sizeof(lease->text));
	}
	if (!wrong &&
	    reply->lifetime_s != (lease->expires_ms - model->at.now_ms + 999) / 1000)
		return "PEER is told another end than the lease has";
	return wrong;
}

const char *naive_pcp_peer(struct model *model, const struct request *request,
			   const struct reply *reply)
{
	struct naive_lease *lease = find_flow(model, request);

	return lease ? renew(model, request, reply, lease)
		     : reserve(model, request, reply);
}
