/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/buf.h"
#include "base/rate.h"
#include "protocols/pcp.h"
#include "protocols/responder_private.h"

/* Asking core. */

static void log_full(struct responder *responder,
		     const struct responder_arrival *arrival, const char *what)
{
	char text[ADDR_TEXT_SIZE];
	unsigned int suppressed;

	if (log_limit_pass(&responder->full_limit, arrival->now_ms, &suppressed))
		log_warning("pcp: request dropped, client=%s: %s suppressed=%u",
			    addr_format(&arrival->path.peer, text), what, suppressed);
}

static const char *get_cap_text(enum pending_cap cap)
{
	switch (cap) {
	case PENDING_CAP_CLIENT:
		return "it has too many in flight";
	case PENDING_CAP_SLOW:
		return "hosts that ask too fast have too many in flight";
	case PENDING_CAP_ALL:
		break;
	}
	return "too many are in flight";
}

/* What a client asks too fast is dropped here: dearer answers would slow down others,
 * and whoever has a reason to ask asks again (PCP-7). */
static bool is_slow_enough(struct responder *responder,
			   const struct responder_arrival *arrival)
{
	char text[ADDR_TEXT_SIZE];
	unsigned int suppressed;

	if (!responder->rate)
		return false;
	if (rate_take(responder->rate, &arrival->path.peer, arrival->now_ms))
		return true;
	if (log_limit_pass(&responder->rate_limit, arrival->now_ms, &suppressed))
		log_warning("pcp: request dropped, client=%s asks too fast "
			    "suppressed=%u",
			    addr_format(&arrival->path.peer, text), suppressed);
	return false;
}

/* Room for a request that may go to core. Errors: NULL, dropped. */
static struct pending_entry *admit(struct responder *responder,
				   const struct responder_arrival *arrival,
				   uint64_t *cookie)
{
	struct pending_entry *entry;

	if (!is_slow_enough(responder, arrival))
		return NULL;
	entry = pending_add(responder->pending, &arrival->path, arrival->slow,
			    arrival->now_ms, cookie);
	if (!entry)
		log_full(responder, arrival,
			 get_cap_text(pending_get_cap(responder->pending)));
	return entry;
}

static bool ask_core(struct responder *responder,
		     const struct responder_arrival *arrival, struct request *request,
		     uint64_t cookie)
{
	request->cookie = cookie;
	request->lan = arrival->lan->info.lan;
	request->ifindex = arrival->lan->info.ifindex;
	request->client = arrival->path.peer;
	request->server = arrival->path.local;
	if (responder->ops->ask(responder->user, request))
		return true;
	/* Core cannot take it: the client asks again. */
	(void)pending_take(responder->pending, cookie);
	log_full(responder, arrival, "core does not keep up, its channel is full");
	return false;
}

static bool may_answer(const struct responder_arrival *arrival)
{
	return throttle_pass(&arrival->lan->throttle, &arrival->path.peer,
			     arrival->now_ms);
}

/* NAT-PMP. */

static bool ask_natpmp(struct responder *responder,
		       const struct responder_arrival *arrival,
		       const struct natpmp_request *asked)
{
	struct pending_entry *entry;
	struct natpmp_reply reply;
	struct request request;
	uint64_t cookie;

	if (natpmp_to_request(asked, &request) != RESULT_OK) {
		if (!may_answer(arrival))
			return false;
		reply = natpmp_refuse(asked, RESULT_BAD_PORT, arrival->epoch_s);
		responder_send_natpmp(responder, &arrival->path, &reply);
		return true;
	}
	entry = admit(responder, arrival, &cookie);
	if (!entry)
		return false;
	entry->is_pcp = false;
	entry->natpmp = *asked;
	request.internal = arrival->path.peer; /* no third party here (NP-4) */
	return ask_core(responder, arrival, &request, cookie);
}

/* What the worker says by itself. */
static void answer_natpmp(struct responder *responder,
			  const struct responder_arrival *arrival,
			  enum natpmp_kind kind)
{
	const struct datagram *in = arrival->in;
	struct natpmp_reply reply;
	struct datagram *out;

	switch (kind) {
	case NATPMP_SILENCE:
	case NATPMP_MAP:
		return;
	case NATPMP_BAD_VERSION:
		/* PCP is not served here: back to version 0 (NP-14). */
		out = responder_add_datagram(responder, &arrival->path);
		responder_end_datagram(responder, out,
				       natpmp_encode_bad_version(arrival->epoch_s,
								 out->bytes,
								 PCP_SIZE_MAX));
		return;
	case NATPMP_BAD_OPCODE:
		out = responder_add_datagram(responder, &arrival->path);
		responder_end_datagram(responder, out,
				       natpmp_encode_bad_opcode(
					       in->bytes, in->length, arrival->epoch_s,
					       out->bytes, PCP_SIZE_MAX));
		return;
	case NATPMP_ADDRESS:
		reply = natpmp_tell_address(&responder->wan.external, arrival->epoch_s);
		responder_send_natpmp(responder, &arrival->path, &reply);
		return;
	}
}

bool responder_take_natpmp(struct responder *responder,
			   const struct responder_arrival *arrival)
{
	const struct datagram *in = arrival->in;
	struct natpmp_request asked;
	enum natpmp_kind kind;

	if (in->truncated || in->length > PCP_SIZE_MAX)
		return false;
	kind = natpmp_decode_request(in->bytes, in->length, &asked);
	if (kind == NATPMP_MAP)
		return ask_natpmp(responder, arrival, &asked);
	if (kind == NATPMP_SILENCE || !may_answer(arrival))
		return false;
	answer_natpmp(responder, arrival, kind);
	return true;
}

/* PCP. */

static struct pcp_terms get_terms(const struct responder *responder,
				  const struct responder_lan *lan)
{
	return (struct pcp_terms){
		.opcodes = responder->setup.pcp_opcodes,
		.third_party = lan->info.third_party != 0,
		.ports_max = responder->setup.ports_per_request,
		.nat64 = responder->setup.nat64,
	};
}

/* Whoever asks needs no more copies of what we had to tell (PCP-40), nor those of the
 * other ports that he asks about together (PCP-115). */
static void stop_updates(struct responder *responder, const struct request *request)
{
	struct updates_key key = {
		.lan = request->lan,
		.op = request->op == REQUEST_PEER ? REQUEST_PEER : REQUEST_MAP,
		.protocol = request->protocol,
		.client = request->client,
		.internal = request->internal,
	};
	uint32_t port = request->internal_port;
	uint32_t end = port + (request->port_count > 1 ? request->port_count : 1);

	memcpy(key.nonce, request->nonce, sizeof(key.nonce));
	if (request->op == REQUEST_PEER) {
		key.remote = request->remote;
		key.remote_port = request->remote_port;
	}
	for (; port < end && port <= UINT16_MAX; port++) {
		key.internal_port = (uint16_t)port;
		updates_stop(responder->updates, &key);
	}
}

static bool ask_pcp(struct responder *responder,
		    const struct responder_arrival *arrival,
		    const struct pcp_request *asked, const struct pcp_terms *terms)
{
	const struct datagram *in = arrival->in;
	struct pending_entry *entry;
	struct request request;
	uint64_t cookie;

	/* The codec refuses what is longer. */
	if (in->length > sizeof(entry->bytes))
		return false;
	entry = admit(responder, arrival, &cookie);
	if (!entry)
		return false;
	entry->is_pcp = true;
	entry->pcp = *asked;
	entry->terms = *terms;
	entry->length = in->length;
	memcpy(entry->bytes, in->bytes, in->length);
	pcp_to_request(asked, &request);
	request.client_port = arrival->path.peer_port;
	if (!ask_core(responder, arrival, &request, cookie))
		return false;
	stop_updates(responder, &request);
	return true;
}

bool responder_take_pcp(struct responder *responder,
			const struct responder_arrival *arrival)
{
	const struct pcp_packet packet = {arrival->in->bytes, arrival->in->length};
	const struct pcp_terms terms = get_terms(responder, arrival->lan);
	struct pcp_request asked;
	enum pcp_code code = PCP_CODE_SUCCESS;
	enum pcp_kind kind =
		pcp_decode_request(&packet, &arrival->path.peer, &terms, &asked, &code);
	struct datagram *out;
	struct writer writer;
	size_t length;

	/* No hole leads to an address that only the link knows (PCP-95). */
	if (kind == PCP_ASK && responder_is_link_local(&arrival->path.peer)) {
		kind = PCP_REFUSED;
		code = PCP_CODE_NOT_AUTHORIZED;
	}
	if (kind == PCP_ASK)
		return ask_pcp(responder, arrival, &asked, &terms);
	if (kind == PCP_SILENCE || !may_answer(arrival))
		return false;
	out = responder_add_datagram(responder, &arrival->path);
	writer = writer_init(out->bytes, PCP_SIZE_MAX);
	if (kind == PCP_REFUSED)
		length =
			pcp_encode_refusal(&packet, code, 0, arrival->epoch_s, &writer);
	else
		length = pcp_encode_success(&packet, &asked, &terms, arrival->epoch_s,
					    &writer);
	responder_end_datagram(responder, out, length);
	return true;
}

/* Answers of core. */

static bool is_path_open(const struct responder *responder,
			 const struct pending_path *path)
{
	for (size_t i = 0; i < LANS_MAX; i++) {
		const struct responder_lan *lan = &responder->lans[i];

		if (lan->info.ifindex == path->ifindex)
			return lan->open[responder_get_family(&path->peer)] &&
			       responder_is_own_address(lan, &path->local);
	}
	return false;
}

void responder_take_reply(struct responder *responder, const struct reply *reply)
{
	const struct pending_entry *entry =
		pending_take(responder->pending, reply->cookie);
	struct natpmp_reply answer;
	struct pcp_packet packet;
	struct datagram *out;
	struct writer writer;

	/* Answered too late, or for a LAN or an address that is no longer served. */
	if (!entry || !is_path_open(responder, &entry->path))
		return;
	if (!entry->is_pcp) {
		answer = natpmp_from_reply(&entry->natpmp, reply);
		responder_send_natpmp(responder, &entry->path, &answer);
		return;
	}
	out = responder_add_datagram(responder, &entry->path);
	packet = (struct pcp_packet){entry->bytes, entry->length};
	writer = writer_init(out->bytes, PCP_SIZE_MAX);
	responder_end_datagram(
		responder, out,
		pcp_encode_reply(&packet, &entry->pcp, &entry->terms, reply, &writer));
}
