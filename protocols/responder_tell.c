/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "protocols/pcp.h"
#include "protocols/responder_private.h"

/* Between two bursts of Mapping Updates. */
#define UPDATES_PAUSE_MS 2

/* 224.0.0.1 and ff02::1: every host of the link. */
static const struct ip_addr all_hosts[RESPONDER_FAMILIES] = {
	{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 224, 0, 0, 1}},
	{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
};

/* Announcements. */

/* From each of our addresses on the LAN: clients believe only the one that is their
 * gateway (NP-55, PCP-37, PCP-38). Epoch and address are those of now (NP-57, NP-63).
 */
static void announce_from(struct responder *responder, const struct responder_lan *lan,
			  const struct ip_addr *own, int64_t now_ms)
{
	enum responder_family family = responder_get_family(own);
	const struct pending_path path = {
		.ifindex = lan->info.ifindex,
		.local = *own,
		.peer = all_hosts[family],
		.peer_port = NATPMP_ANNOUNCE_PORT,
	};
	uint32_t epoch_s = responder_get_epoch_s(responder, now_ms);
	struct natpmp_reply reply;
	struct datagram *out;

	if (!lan->open[family])
		return;
	if (family == RESPONDER_IPV4 && responder_serves_natpmp(responder, lan)) {
		reply = natpmp_tell_address(&responder->wan.external, epoch_s);
		responder_send_natpmp(responder, &path, &reply);
	}
	if (responder_serves_pcp(lan)) {
		out = responder_add_datagram(responder, &path);
		responder_end_datagram(
			responder, out,
			pcp_encode_announce(epoch_s, out->bytes, PCP_SIZE_MAX));
	}
}

static int64_t run_announcements(struct responder *responder, int64_t now_ms)
{
	int64_t next_ms = TIME_NEVER;

	for (size_t i = 0; i < LANS_MAX; i++) {
		struct responder_lan *lan = &responder->lans[i];

		if (!lan->open[RESPONDER_IPV4] && !lan->open[RESPONDER_IPV6])
			continue;
		if (announce_take_due(&lan->series, now_ms))
			for (uint32_t k = 0; k < lan->info.address_count; k++)
				announce_from(responder, lan,
					      &lan->info.addresses[k].addr, now_ms);
		if (announce_get_next_ms(&lan->series) < next_ms)
			next_ms = announce_get_next_ms(&lan->series);
	}
	return next_ms;
}

void responder_restart_announcements(struct responder *responder, int64_t now_ms)
{
	for (size_t i = 0; i < LANS_MAX; i++)
		announce_start(&responder->lans[i].series, now_ms);
}

/* Mapping Updates. */

static bool is_deliverable(const struct responder *responder,
			   const struct mapping_update *update)
{
	const struct responder_lan *lan = &responder->lans[update->lan];

	return lan->info.ifindex != 0 && responder_serves_pcp(lan) &&
	       update->client_port != 0 &&
	       addr_is_ipv4(&update->client) == addr_is_ipv4(&update->server) &&
	       lan->open[responder_get_family(&update->client)] &&
	       responder_is_own_address(lan, &update->server) &&
	       lan_info_has_host(&lan->info, &update->client);
}

static void send_update(struct responder *responder,
			const struct mapping_update *update, int64_t now_ms)
{
	const struct pending_path path = {
		.ifindex = responder->lans[update->lan].info.ifindex,
		.local = update->server,
		.peer = update->client,
		.peer_port = update->client_port,
	};
	struct datagram *out;

	if (!is_deliverable(responder, update))
		return;
	out = responder_add_datagram(responder, &path);
	out->use = DATAGRAM_UPDATE;
	responder_end_datagram(
		responder, out,
		pcp_encode_update(update, responder_get_epoch_s(responder, now_ms),
				  out->bytes, PCP_SIZE_MAX));
}

int responder_take_update(struct responder *responder,
			  const struct mapping_update *update, int64_t now_ms)
{
	unsigned int suppressed;

	if (update->lan >= LANS_MAX || update->result >= RESULT_COUNT ||
	    update->filter_count > REQUEST_FILTERS_MAX ||
	    (update->op != REQUEST_MAP && update->op != REQUEST_PEER))
		return -EPROTO;
	if (!is_deliverable(responder, update))
		return 0;
	send_update(responder, update, now_ms);
	if (!updates_add(responder->updates, update, now_ms) &&
	    log_limit_pass(&responder->updates_limit, now_ms, &suppressed))
		log_warning("pcp: more than %d mapping updates at once, the oldest "
			    "are not sent again suppressed=%u",
			    UPDATES_MAX, suppressed);
	return 0;
}

static int64_t run_updates(struct responder *responder, int64_t now_ms)
{
	const struct mapping_update *update;
	int64_t next_ms;

	for (int i = 0; i < UPDATES_BURST && now_ms >= responder->updates_resume_ms;
	     i++) {
		update = updates_take_due(responder->updates, now_ms);
		if (!update)
			break;
		send_update(responder, update, now_ms);
		if (i == UPDATES_BURST - 1)
			responder->updates_resume_ms = now_ms + UPDATES_PAUSE_MS;
	}
	next_ms = updates_get_next_ms(responder->updates);
	return next_ms > responder->updates_resume_ms ? next_ms
						      : responder->updates_resume_ms;
}

int64_t responder_run(struct responder *responder, int64_t now_ms)
{
	int64_t announce_ms = run_announcements(responder, now_ms);
	int64_t updates_ms = run_updates(responder, now_ms);

	responder_flush(responder);
	return announce_ms < updates_ms ? announce_ms : updates_ms;
}
