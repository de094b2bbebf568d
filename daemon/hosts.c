/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/hosts.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "daemon/hosts_private.h"

/*
 * Addresses and MACs are what machines of the LAN choose: each run spreads them by a
 * secret of its own, and there is no moment at which all of them move.
 */

static uint32_t host_get_hash(const void *item, uint64_t seed)
{
	const struct host *host = item;

	return index_hash(&host->addr, sizeof(host->addr), seed);
}

static bool host_is_of(const void *item, const void *key)
{
	const struct host *host = item;

	return addr_equal(&host->addr, key);
}

static const struct index_kind addr_kind = {
	.link = offsetof(struct host, next_by_addr),
	.get_hash = host_get_hash,
	.is_of = host_is_of,
};

static uint32_t card_get_hash(const void *item, uint64_t seed)
{
	const struct card *card = item;

	return index_hash(&card->key, sizeof(card->key), seed);
}

static bool card_is_of(const void *item, const void *key)
{
	const struct card *card = item;

	return memcmp(&card->key, key, sizeof(card->key)) == 0;
}

static const struct index_kind key_kind = {
	.link = offsetof(struct card, next_by_key),
	.get_hash = card_get_hash,
	.is_of = card_is_of,
};

struct hosts *hosts_new(void)
{
	struct hosts *hosts = calloc(1, sizeof(*hosts));

	if (!hosts)
		return NULL;
	hosts->restored_ms = HOSTS_LONG_AGO_MS;
	hosts->hosts = pool_new(sizeof(struct host));
	hosts->cards = pool_new(sizeof(struct card));
	if (hosts->hosts && hosts->cards) {
		hosts->by_addr = index_new(hosts->hosts, &addr_kind);
		hosts->by_key = index_new(hosts->cards, &key_kind);
	}
	if (hosts->by_addr && hosts->by_key)
		return hosts;
	hosts_free(hosts);
	return NULL;
}

void hosts_free(struct hosts *hosts)
{
	if (!hosts)
		return;
	index_free(hosts->by_addr);
	index_free(hosts->by_key);
	pool_free(hosts->hosts);
	pool_free(hosts->cards);
	free(hosts);
}

size_t hosts_get_count(const struct hosts *hosts)
{
	return pool_get_count(hosts->hosts);
}

/* --- cards --- */

enum host_family hosts_get_family(const struct host *host)
{
	return addr_is_ipv4(&host->addr) ? HOST_IPV4 : HOST_IPV6;
}

struct card *hosts_find_card(const struct hosts *hosts, const struct card_key *key)
{
	uint32_t hash = index_hash(key, sizeof(*key), index_get_seed(hosts->by_key));
	uint32_t handle = index_find(hosts->by_key, hash, key);

	return handle != 0 ? pool_get(hosts->cards, handle) : NULL;
}

static struct card *card_get(struct hosts *hosts, const uint8_t *mac, uint16_t lan)
{
	struct card_key key = {.lan = lan};
	struct card *card;
	uint32_t handle;

	memcpy(key.mac, mac, sizeof(key.mac));
	card = hosts_find_card(hosts, &key);
	if (card)
		return card;
	handle = pool_add(hosts->cards);
	if (handle == 0)
		return NULL;
	card = pool_get(hosts->cards, handle);
	card->handle = handle;
	card->key = key;
	card->many_ms = HOSTS_LONG_AGO_MS;
	index_add(hosts->by_key, handle);
	return card;
}

static void card_put(struct hosts *hosts, struct card *card)
{
	if (!card)
		return;
	for (size_t i = 0; i < HOST_FAMILIES; i++)
		if (card->heard[i] || card->owned[i])
			return;
	index_remove(hosts->by_key, card->handle);
	pool_remove(hosts->cards, card->handle);
}

static void host_set_heard(struct hosts *hosts, struct host *host, struct card *card)
{
	enum host_family family = hosts_get_family(host);
	struct card *before = host->heard;

	if (before == card)
		return;
	if (before)
		DL_DELETE2(before->heard[family], host, heard_prev, heard_next);
	host->heard = card;
	if (card)
		DL_APPEND2(card->heard[family], host, heard_prev, heard_next);
	card_put(hosts, before);
}

void hosts_give_host(struct hosts *hosts, struct host *host, struct card *card)
{
	enum host_family family = hosts_get_family(host);
	struct card *before = host->owner;

	if (before == card)
		return;
	host->has_target = false;
	if (before) {
		DL_DELETE2(before->owned[family], host, owned_prev, owned_next);
		before->owned_count[family]--;
	}
	host->owner = card;
	if (card) {
		DL_APPEND2(card->owned[family], host, owned_prev, owned_next);
		card->owned_count[family]++;
	}
	card_put(hosts, before);
}

/* --- hosts --- */

struct host *hosts_find_host(const struct hosts *hosts, const struct ip_addr *addr)
{
	uint32_t hash = index_hash(addr, sizeof(*addr), index_get_seed(hosts->by_addr));
	uint32_t handle = index_find(hosts->by_addr, hash, addr);

	return handle != 0 ? pool_get(hosts->hosts, handle) : NULL;
}

static void host_add_loose(struct hosts *hosts, struct host *host)
{
	DL_APPEND(hosts->loose, host);
	hosts->loose_count++;
}

static void host_remove_loose(struct hosts *hosts, struct host *host)
{
	/* it is one of them; the first is alone, or there is a second */
	assert(hosts->loose != host || host->prev == host || host->next);
	DL_DELETE(hosts->loose, host);
	hosts->loose_count--;
}

/* It has no leases. */
static void host_remove(struct hosts *hosts, struct host *host)
{
	host_remove_loose(hosts, host);
	host_set_heard(hosts, host, NULL);
	hosts_give_host(hosts, host, NULL);
	index_remove(hosts->by_addr, host->handle);
	pool_remove(hosts->hosts, host->handle);
}

static struct host *host_add(struct hosts *hosts, const struct ip_addr *addr,
			     uint16_t lan)
{
	struct host *host;
	uint32_t handle;

	if (hosts->loose_count == HOSTS_LOOSE_MAX)
		host_remove(hosts, hosts->loose);
	handle = pool_add(hosts->hosts);
	if (handle == 0)
		return NULL;
	host = pool_get(hosts->hosts, handle);
	host->handle = handle;
	host->addr = *addr;
	host->lan = lan;
	host->asked_ms = host->heard_ms = host->answered_ms = HOSTS_LONG_AGO_MS;
	index_add(hosts->by_addr, handle);
	host_add_loose(hosts, host);
	return host;
}

bool hosts_hold(struct hosts *hosts, const struct lease *lease)
{
	struct host *host = hosts_find_host(hosts, &lease->internal);

	if (!host)
		host = host_add(hosts, &lease->internal, lease->lan);
	if (!host)
		return false;
	if (host->leases++ == 0)
		host_remove_loose(hosts, host);
	if (!host->owner && lease->has_mac && lease->origin != ORIGIN_STATIC)
		hosts_give_host(hosts, host, card_get(hosts, lease->mac, host->lan));
	return true;
}

void hosts_release(struct hosts *hosts, const struct lease *lease)
{
	struct host *host = hosts_find_host(hosts, &lease->internal);

	/* one that there was no memory for is not here */
	if (!host || host->leases == 0 || --host->leases > 0)
		return;
	hosts_give_host(hosts, host, NULL);
	host_add_loose(hosts, host);
	if (!host->heard)
		host_remove(hosts, host);
	else if (hosts->loose_count > HOSTS_LOOSE_MAX)
		host_remove(hosts, hosts->loose);
}

void hosts_set_owner(struct hosts *hosts, const struct ip_addr *addr,
		     const uint8_t *mac)
{
	struct host *host = hosts_find_host(hosts, addr);

	if (host && host->leases > 0)
		hosts_give_host(hosts, host,
				mac ? card_get(hosts, mac, host->lan) : NULL);
}

const uint8_t *hosts_find_mac(const struct hosts *hosts, const struct ip_addr *addr)
{
	const struct host *host = hosts_find_host(hosts, addr);

	return host && host->heard ? host->heard->key.mac : NULL;
}

bool hosts_is_held(const struct hosts *hosts, const struct ip_addr *addr, uint16_t lan)
{
	const struct host *host = hosts_find_host(hosts, addr);

	return host && host->leases > 0 && host->lan == lan;
}

void hosts_finish_restore(struct hosts *hosts, int64_t now_ms)
{
	hosts->restored_ms = now_ms;
	for (uint32_t handle = pool_get_next(hosts->cards, 0); handle != 0;
	     handle = pool_get_next(hosts->cards, handle)) {
		struct card *card = pool_get(hosts->cards, handle);

		card->paired = card->owned_count[HOST_IPV4] > 1;
	}
}

/* The LAN may have another place since, or the host be on another one. */
static void host_set_lan(struct hosts *hosts, struct host *host, uint16_t lan)
{
	if (host->lan == lan)
		return;
	host->lan = lan;
	if (host->owner)
		hosts_give_host(hosts, host,
				card_get(hosts, host->owner->key.mac, lan));
}

/* What is told again is no answer. */
static void host_set_state(struct hosts *hosts, struct host *host,
			   const struct host_news *news, struct card *card,
			   int64_t now_ms)
{
	bool answered = host->state == HOST_ANSWERS && host->heard == card;

	if (host->heard != card)
		host->heard_ms = now_ms;
	host->state = news->state;
	if (host->state == HOST_ANSWERS && !answered)
		host->answered_ms = now_ms;
	host_set_heard(hosts, host, card);
}

struct host *hosts_take_news(struct hosts *hosts, const struct lan_info *lan,
			     const struct host_news *news, int64_t now_ms,
			     struct card_key *before)
{
	bool has_card = news->state != HOST_FORGOTTEN && news->state != HOST_FAILED;
	const struct host_news nothing = {.state = HOST_FORGOTTEN};
	struct host *host = hosts_find_host(hosts, &news->addr);
	struct card *card;

	if (!host && has_card)
		host = host_add(hosts, &news->addr, lan->lan);
	if (!host)
		return NULL;
	if (host->heard)
		*before = host->heard->key;
	card = has_card ? card_get(hosts, news->mac, lan->lan) : NULL;
	host_set_lan(hosts, host, lan->lan);
	/* without memory for the card it is as if it were not heard */
	host_set_state(hosts, host, has_card && !card ? &nothing : news, card, now_ms);
	if (host->leases > 0)
		return host;
	/* heard of last */
	host_remove_loose(hosts, host);
	host_add_loose(hosts, host);
	return host;
}

void hosts_learn(struct hosts *hosts, const struct lan_info *lan,
		 const struct host_news *news)
{
	struct card_key before;

	(void)hosts_take_news(hosts, lan, news, HOSTS_LONG_AGO_MS, &before);
}

void hosts_forget_empty(struct hosts *hosts, struct host *host)
{
	if (host->leases == 0 && !host->heard)
		host_remove(hosts, host);
}
