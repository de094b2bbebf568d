/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/responder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rate.h"
#include "protocols/pcp.h"
#include "protocols/responder_private.h"

/* Arrivals. */

/* By interface, destination and source, each packet (NP-2, NP-3, PCP-2). Broadcast,
 * multicast and the external address are none of our addresses on the LAN. */
static bool is_acceptable(const struct responder_lan *lan, const struct datagram *in)
{
	if (lan->info.ifindex == 0 || in->ifindex != lan->info.ifindex ||
	    in->peer_port == 0 || addr_is_ipv4(&in->peer) != addr_is_ipv4(&in->local) ||
	    !lan->open[responder_get_family(&in->peer)] ||
	    !responder_is_own_address(lan, &in->local))
		return false;
	if (responder_is_link_local(&in->peer))
		return !lan_info_has_address(&lan->info, &in->peer);
	return lan_info_has_host(&lan->info, &in->peer);
}

bool responder_take_datagram(struct responder *responder, size_t lan_index,
			     const struct datagram *in, bool slow, int64_t now_ms)
{
	struct responder_arrival arrival = {
		.in = in,
		.path = {.ifindex = in->ifindex,
			 .local = in->local,
			 .peer = in->peer,
			 .peer_port = in->peer_port},
		.slow = slow,
		.now_ms = now_ms,
		.epoch_s = responder_get_epoch_s(responder, now_ms),
	};
	bool natpmp;

	if (lan_index >= LANS_MAX)
		return false;
	arrival.lan = &responder->lans[lan_index];
	if (!is_acceptable(arrival.lan, in) || in->length == 0)
		return false;
	natpmp = addr_is_ipv4(&in->peer) &&
		 responder_serves_natpmp(responder, arrival.lan);
	/* The first octet says which of the two it is (NP-15, PCP-18); where only one
	 * is served that one also says no to the other (NP-14, PCP-19). */
	if (responder_serves_pcp(arrival.lan) && (in->bytes[0] != 0 || !natpmp))
		return responder_take_pcp(responder, &arrival);
	if (natpmp)
		return responder_take_natpmp(responder, &arrival);
	return false;
}

bool responder_has_slow_room(struct responder *responder, int64_t now_ms)
{
	return pending_has_slow_room(responder->pending, DATAGRAM_BATCH_MAX, now_ms);
}

/* What core says. */

static int take_setup(struct responder *responder, const struct worker_setup *setup)
{
	struct rate *rate;

	if (setup->nat64.length > 128)
		return -EPROTO;
	if (!responder->rate ||
	    setup->requests_per_second != responder->setup.requests_per_second) {
		rate = rate_new(setup->requests_per_second);
		if (!rate)
			return -ENOMEM;
		rate_free(responder->rate);
		responder->rate = rate;
	}
	responder->setup = *setup;
	return 0;
}

static int take_wan(struct responder *responder, const struct wan_info *wan,
		    int64_t now_ms)
{
	bool news = !addr_equal(&wan->external, &responder->wan.external) ||
		    wan->epoch_origin_ms != responder->wan.epoch_origin_ms;

	responder->wan = *wan;
	responder->changed = true;
	/* NP-55, PCP-37: address acquired, changed or lost (NP-60), or state lost. */
	if (news)
		responder_restart_announcements(responder, now_ms);
	return 0;
}

static int take_lan(struct responder *responder, const struct lan_info *info,
		    int64_t now_ms)
{
	struct responder_lan *lan;

	if (info->lan >= LANS_MAX || info->address_count > LAN_ADDRESSES_MAX ||
	    info->network_count > LAN_ADDRESSES_MAX ||
	    memchr(info->name, '\0', sizeof(info->name)) == NULL)
		return -EPROTO;
	for (uint32_t i = 0; i < info->address_count; i++)
		if (info->addresses[i].length > 128)
			return -EPROTO;
	for (uint32_t i = 0; i < info->network_count; i++)
		if (info->networks[i].length > 128)
			return -EPROTO;
	lan = &responder->lans[info->lan];
	if (!lan->throttle.rate && throttle_init(&lan->throttle) != 0)
		return -ENOMEM;
	/* A new address of ours is one that clients have heard nothing from yet. */
	if (info->address_count != lan->info.address_count ||
	    memcmp(info->addresses, lan->info.addresses, sizeof(info->addresses)) != 0)
		announce_start(&lan->series, now_ms);
	lan->info = *info;
	responder->changed = true;
	return 0;
}

static int take_reply(struct responder *responder, struct reply *reply, int64_t now_ms)
{
	if (reply->result >= RESULT_COUNT ||
	    memchr(reply->description, '\0', sizeof(reply->description)) == NULL)
		return -EPROTO;
	if (reply->epoch_s == 0)
		reply->epoch_s = responder_get_epoch_s(responder, now_ms);
	responder_take_reply(responder, reply);
	return 0;
}

/* Bodies are copied: a struct needs its alignment. */
union message {
	struct worker_setup setup;
	struct wan_info wan;
	struct lan_info lan;
	struct announce announce;
	struct reply reply;
	struct mapping_update update;
	struct log_info log;
};

/* 0 for what core never sends. */
static size_t get_message_size(uint32_t type)
{
	switch ((enum msg_type)type) {
	case MSG_SETUP:
		return sizeof(struct worker_setup);
	case MSG_WAN:
		return sizeof(struct wan_info);
	case MSG_LAN:
		return sizeof(struct lan_info);
	case MSG_ANNOUNCE:
		return sizeof(struct announce);
	case MSG_REPLY:
		return sizeof(struct reply);
	case MSG_UPDATE:
		return sizeof(struct mapping_update);
	case MSG_LOG:
		return sizeof(struct log_info);
	case MSG_REQUEST:
	case MSG_READY:
	case MSG_TABLE: /* UPnP's */
	case MSG_STUN:	/* another worker's */
	case MSG_STUN_TOLD:
		break;
	}
	return 0;
}

int responder_take_message(struct responder *responder, uint32_t type, const void *body,
			   size_t length, int64_t now_ms)
{
	union message copy;

	if (length == 0 || length != get_message_size(type))
		return -EPROTO;
	memcpy(&copy, body, length);
	switch ((enum msg_type)type) {
	case MSG_SETUP:
		return take_setup(responder, &copy.setup);
	case MSG_WAN:
		return take_wan(responder, &copy.wan, now_ms);
	case MSG_LAN:
		return take_lan(responder, &copy.lan, now_ms);
	case MSG_ANNOUNCE:
		responder_restart_announcements(responder, now_ms);
		responder->changed = true;
		return 0;
	case MSG_REPLY:
		return take_reply(responder, &copy.reply, now_ms);
	case MSG_UPDATE:
		return responder_take_update(responder, &copy.update, now_ms);
	case MSG_LOG:
		return log_info_apply(&copy.log) ? 0 : -EPROTO;
	case MSG_REQUEST:
	case MSG_READY:
	case MSG_TABLE: /* UPnP's */
	case MSG_STUN:	/* another worker's */
	case MSG_STUN_TOLD:
		break;
	}
	return -EPROTO;
}

/* What the owner of the sockets asks. */

bool responder_steal_changed(struct responder *responder)
{
	bool changed = responder->changed;

	responder->changed = false;
	return changed;
}

const struct lan_info *responder_get_lan(const struct responder *responder, size_t lan)
{
	return &responder->lans[lan].info;
}

static bool has_family(const struct lan_info *info, enum responder_family family)
{
	for (uint32_t i = 0; i < info->address_count; i++)
		if (responder_get_family(&info->addresses[i].addr) == family)
			return true;
	return false;
}

/* Where nothing is served there is no socket at all: the kernel's port unreachable
 * tells clients at once (NP-5, NP-6). */
bool responder_is_wanted(const struct responder *responder, size_t lan_index,
			 enum responder_family family)
{
	const struct responder_lan *lan = &responder->lans[lan_index];

	return lan->info.ifindex != 0 && has_family(&lan->info, family) &&
	       (responder_serves_pcp(lan) ||
		(family == RESPONDER_IPV4 && responder_serves_natpmp(responder, lan)));
}

void responder_set_open(struct responder *responder, size_t lan_index,
			enum responder_family family, bool open, int64_t now_ms)
{
	struct responder_lan *lan = &responder->lans[lan_index];

	if (open && !lan->open[family])
		announce_start(&lan->series, now_ms);
	lan->open[family] = open;
}

void responder_free(struct responder *responder)
{
	if (!responder)
		return;
	for (size_t i = 0; i < LANS_MAX; i++)
		throttle_fini(&responder->lans[i].throttle);
	rate_free(responder->rate);
	pending_free(responder->pending);
	updates_free(responder->updates);
	free(responder);
}

struct responder *responder_new(const struct responder_ops *ops, void *user)
{
	struct responder *responder = calloc(1, sizeof(*responder));

	if (!responder)
		return NULL;
	responder->ops = ops;
	responder->user = user;
	responder->pending = pending_new();
	responder->updates = updates_new();
	if (responder->pending && responder->updates)
		return responder;
	responder_free(responder);
	return NULL;
}
