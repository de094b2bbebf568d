/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/upnp_lan.h"

#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "protocols/http_server.h"
#include "protocols/ssdp_address.h"
#include "protocols/ssdp_server.h"

/* Seconds between attempts to open what could not be opened. */
#define RETRY_S 5
/* BOOTID.UPNP.ORG has 31 bits (UDA 1.1 §1.2.2). */
#define BOOT_ID_MAX 0x7fffffffu

/* Which side is which family. */
static const int families[UPNP_FAMILIES] = {AF_INET, AF_INET6};

static size_t count_roots(const struct upnp_offer *offer, const struct lan_info *info)
{
	size_t count = 0;

	for (size_t i = 0; i < offer->site_count; i++)
		if (info->igd & offer->sites[i]->face->bit)
			count++;
	return count;
}

static bool has_family(const struct lan_info *info, int family)
{
	for (uint32_t i = 0; i < info->address_count; i++)
		if (addr_is_ipv4(&info->addresses[i].addr) == (family == AF_INET))
			return true;
	return false;
}

static bool is_wanted(const struct upnp_offer *offer, const struct lan_info *info,
		      int family)
{
	return info->ifindex != 0 && (info->protocols & LAN_PROTOCOL_UPNP) &&
	       has_family(info, family) && count_roots(offer, info) > 0;
}

static int open_http(struct upnp_lan *lan, const struct upnp_offer *offer, int side)
{
	struct http_config config = {
		.base = offer->base,
		.lan = &lan->info,
		.family = families[side],
		.port = offer->setup->http_port,
		.request_timeout_ms = HTTP_REQUEST_TIMEOUT_MS,
		.handler = upnp_control_get_handler(),
		.user = offer->control,
	};

	return http_server_open(&config, &lan->sides[side].http);
}

/* Core's has room for as many (SSDP-15). */
static uint32_t get_boot_id(const struct upnp_lan *lan, const struct upnp_offer *offer)
{
	return (offer->setup->boot_id + lan->rejoins) & BOOT_ID_MAX;
}

void upnp_lan_fill_roots(struct igd_site *const *sites, size_t count, uint8_t igd,
			 struct ssdp_config *config)
{
	bool offered = false;

	config->root_count = 0;
	for (size_t i = 0; i < count && i < SSDP_ROOTS_MAX; i++) {
		const struct igd_site *site = sites[i];
		const bool here = igd & site->face->bit;

		config->roots[config->root_count++] = (struct ssdp_root){
			.targets = site->targets,
			.target_count = site->target_count,
			.path = site->documents[0].path,
			.config_id = site->config_id,
			.reserved = offered,
			.former = !here,
		};
		offered |= here;
	}
}

static int open_ssdp(struct upnp_lan *lan, const struct upnp_offer *offer, int side)
{
	struct ssdp_config config = {
		.base = offer->base,
		.lan = &lan->info,
		.family = families[side],
		.http_port = offer->setup->http_port,
		.strict = offer->setup->ssdp_strict,
		.boot_id = get_boot_id(lan, offer),
	};

	upnp_lan_fill_roots(offer->sites, offer->site_count, lan->info.igd, &config);
	return ssdp_server_open(&config, &lan->sides[side].ssdp);
}

/* One line when it fails, one when it works again. */
static void report(const struct upnp_lan *lan, const char *what, int error,
		   bool *failed)
{
	if (error && !*failed)
		log_error("cannot open %s on %s: %s; trying again every %d s", what,
			  lan->info.name, strerror(-error), RETRY_S);
	else if (!error && *failed)
		log_notice("opened %s on %s", what, lan->info.name);
	*failed = error != 0;
}

/*
 * Description and control come before discovery, so that nobody is sent to a closed
 * door.
 */
static bool side_open(struct upnp_lan *lan, const struct upnp_offer *offer, int side)
{
	static const char *const http_names[UPNP_FAMILIES] = {
		"the TCP port of UPnP (http-port)",
		"the TCP port of UPnP (http-port) over IPv6"};
	static const char *const ssdp_names[UPNP_FAMILIES] = {
		"UDP port 1900 (SSDP)", "UDP port 1900 (SSDP) over IPv6"};
	static const struct timeval delay = {.tv_sec = RETRY_S};
	struct upnp_side *here = &lan->sides[side];
	bool tried = false;

	if (!is_wanted(offer, &lan->info, families[side]))
		return false;
	if (!here->http) {
		report(lan, http_names[side], open_http(lan, offer, side),
		       &here->http_failed);
		tried = true;
	}
	if (here->http && !here->ssdp) {
		report(lan, ssdp_names[side], open_ssdp(lan, offer, side),
		       &here->ssdp_failed);
		tried = true;
	}
	if (!here->http || !here->ssdp)
		event_add(offer->retry, &delay);
	return tried;
}

bool upnp_lan_open(struct upnp_lan *lan, const struct upnp_offer *offer)
{
	bool tried = false;

	for (int side = 0; side < UPNP_FAMILIES; side++)
		tried |= side_open(lan, offer, side);
	return tried;
}

static void side_close_ssdp(struct upnp_side *side)
{
	ssdp_server_close(side->ssdp);
	side->ssdp = NULL;
	side->ssdp_failed = false;
}

static void side_close(struct upnp_side *side)
{
	side_close_ssdp(side);
	http_server_close(side->http);
	side->http = NULL;
	side->http_failed = false;
}

void upnp_lan_close(struct upnp_lan *lan)
{
	for (int side = 0; side < UPNP_FAMILIES; side++)
		side_close(&lan->sides[side]);
}

static bool same_link(const struct lan_info *a, const struct lan_info *b)
{
	return a->ifindex == b->ifindex && a->igd == b->igd &&
	       memcmp(a->name, b->name, sizeof(a->name)) == 0;
}

/* An address that clients may have been told of, or hear from, is there no more. */
static bool has_lost_address(const struct lan_info *from, const struct lan_info *to,
			     int family)
{
	for (uint32_t i = 0; i < from->address_count; i++) {
		const struct ip_addr *own = &from->addresses[i].addr;

		if (addr_is_ipv4(own) == (family == AF_INET) &&
		    !lan_info_has_address(to, own))
			return true;
	}
	return false;
}

/* Whether every group of that family is told the same LOCATION. */
static bool has_same_location(const struct lan_info *a, const struct lan_info *b,
			      int family)
{
	const struct ssdp_group *group;

	for (size_t i = 0; (group = ssdp_group_get(i)); i++) {
		const struct ip_addr *mine = ssdp_address_for_location(a, &group->addr);
		const struct ip_addr *other =
			ssdp_address_for_location(b, &group->addr);

		if (group->family == family && (mine || other) &&
		    !(mine && other && addr_equal(mine, other)))
			return false;
	}
	return true;
}

/* One BOOTID for both families: the one that stays says that it will be another. */
static void rejoin(struct upnp_lan *lan, const struct upnp_offer *offer)
{
	lan->rejoins++;
	for (int side = 0; side < UPNP_FAMILIES; side++)
		if (lan->sides[side].ssdp)
			ssdp_server_say_update(lan->sides[side].ssdp,
					       get_boot_id(lan, offer));
}

/* A change of one family is no news in the other: byebye ends what clients hold. */
unsigned int upnp_lan_update(struct upnp_lan *lan, const struct lan_info *info,
			     const struct upnp_offer *offer)
{
	static const unsigned int bits[UPNP_FAMILIES] = {UPNP_LEFT_IPV4,
							 UPNP_LEFT_IPV6};
	const struct lan_info old = lan->info;
	unsigned int left = 0;

	for (int side = 0; side < UPNP_FAMILIES; side++) {
		struct upnp_side *here = &lan->sides[side];
		const bool announced = here->ssdp != NULL;

		if (!is_wanted(offer, info, families[side]) || !same_link(&old, info))
			side_close(here);
		else if (has_lost_address(&old, info, families[side]))
			side_close_ssdp(here);
		if (announced && !here->ssdp)
			left |= bits[side];
	}
	lan->info = *info;
	if (left)
		rejoin(lan, offer);
	for (int side = 0; side < UPNP_FAMILIES; side++)
		if (lan->sides[side].ssdp &&
		    !has_same_location(&old, info, families[side]))
			ssdp_server_renew(lan->sides[side].ssdp);
	(void)upnp_lan_open(lan, offer);
	return left;
}

void upnp_lan_count(const struct upnp_lan *lan, struct worker_ready *ready)
{
	for (int i = 0; i < UPNP_FAMILIES; i++) {
		const struct upnp_side *side = &lan->sides[i];

		ready->sockets += (side->http ? 1u : 0u) + (side->ssdp ? 1u : 0u);
		ready->failed +=
			(side->http_failed ? 1u : 0u) + (side->ssdp_failed ? 1u : 0u);
	}
}
