/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/hosts.h"

#define HASH_NONFATAL_OOM 1
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

/* Never asked. */
#define LONG_AGO_MS (INT64_MIN / 2)
/* Octets of an IPv6 address that name the network. */
#define IPV6_NETWORK_SIZE 8

struct card_key {
	uint8_t mac[LEASE_MAC_SIZE];
	uint16_t lan;
};

/* A network card, as long as it is heard somewhere or has leases. */
struct card {
	struct card_key key;
	struct host *heard; /* it is there, as far as we know */
	struct host *owned; /* its leases are there */
	size_t owned_count;
	bool shared; /* answers at several IPv4 addresses: a repeater, or a server */
	UT_hash_handle hh;
};

struct host {
	struct ip_addr addr;
	uint16_t lan;
	enum host_state state;
	struct card *heard; /* NULL in the states that have no card */
	struct card *owner; /* whose leases it has; NULL = not known */
	size_t leases;
	int64_t asked_ms;
	bool has_target;       /* leases go there when nobody answers here */
	struct ip_addr target; /* the owner answers there */
	UT_hash_handle hh;
	struct host *heard_prev, *heard_next;
	struct host *owned_prev, *owned_next;
	struct host *prev, *next; /* of those without leases, oldest first */
};

struct hosts {
	struct host *hosts;
	struct card *cards;
	struct host *loose;
	size_t loose_count;
};

struct hosts *hosts_new(void)
{
	return calloc(1, sizeof(struct hosts));
}

void hosts_free(struct hosts *hosts)
{
	struct host *host, *next_host;
	struct card *card, *next_card;

	if (!hosts)
		return;
	host = hosts->hosts;
	HASH_CLEAR(hh, hosts->hosts);
	for (; host; host = next_host) {
		next_host = host->hh.next;
		free(host);
	}
	card = hosts->cards;
	HASH_CLEAR(hh, hosts->cards);
	for (; card; card = next_card) {
		next_card = card->hh.next;
		free(card);
	}
	free(hosts);
}

size_t hosts_get_count(const struct hosts *hosts)
{
	return HASH_COUNT(hosts->hosts);
}

/* --- cards --- */

static struct card *card_get(struct hosts *hosts, const uint8_t *mac, uint16_t lan)
{
	struct card_key key = {.lan = lan};
	struct card *card;

	memcpy(key.mac, mac, sizeof(key.mac));
	HASH_FIND(hh, hosts->cards, &key, sizeof(key), card);
	if (card)
		return card;
	card = calloc(1, sizeof(*card));
	if (!card)
		return NULL;
	card->key = key;
	HASH_ADD(hh, hosts->cards, key, sizeof(card->key), card);
	if (card->hh.tbl)
		return card;
	free(card);
	return NULL;
}

static void card_put(struct hosts *hosts, struct card *card)
{
	if (!card || card->heard || card->owned)
		return;
	HASH_DEL(hosts->cards, card);
	free(card);
}

static void host_set_heard(struct hosts *hosts, struct host *host, struct card *card)
{
	struct card *before = host->heard;

	if (before == card)
		return;
	if (before)
		DL_DELETE2(before->heard, host, heard_prev, heard_next);
	host->heard = card;
	if (card)
		DL_APPEND2(card->heard, host, heard_prev, heard_next);
	card_put(hosts, before);
}

static void host_set_owner(struct hosts *hosts, struct host *host, struct card *card)
{
	struct card *before = host->owner;

	if (before == card)
		return;
	host->has_target = false;
	if (before) {
		DL_DELETE2(before->owned, host, owned_prev, owned_next);
		before->owned_count--;
	}
	host->owner = card;
	if (card) {
		DL_APPEND2(card->owned, host, owned_prev, owned_next);
		card->owned_count++;
	}
	card_put(hosts, before);
}

/* --- hosts --- */

static struct host *host_find(const struct hosts *hosts, const struct ip_addr *addr)
{
	struct host *host;

	HASH_FIND(hh, hosts->hosts, addr, sizeof(*addr), host);
	return host;
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
	host_set_owner(hosts, host, NULL);
	HASH_DEL(hosts->hosts, host);
	free(host);
}

static struct host *host_add(struct hosts *hosts, const struct ip_addr *addr,
			     uint16_t lan)
{
	struct host *host;

	if (hosts->loose_count == HOSTS_LOOSE_MAX)
		host_remove(hosts, hosts->loose);
	host = calloc(1, sizeof(*host));
	if (!host)
		return NULL;
	host->addr = *addr;
	host->lan = lan;
	host->asked_ms = LONG_AGO_MS;
	HASH_ADD(hh, hosts->hosts, addr, sizeof(host->addr), host);
	if (!host->hh.tbl) {
		free(host);
		return NULL;
	}
	host_add_loose(hosts, host);
	return host;
}

bool hosts_hold(struct hosts *hosts, const struct lease *lease)
{
	struct host *host = host_find(hosts, &lease->internal);

	if (!host)
		host = host_add(hosts, &lease->internal, lease->lan);
	if (!host)
		return false;
	if (host->leases++ == 0)
		host_remove_loose(hosts, host);
	if (!host->owner && lease->has_mac && lease->origin != ORIGIN_STATIC)
		host_set_owner(hosts, host, card_get(hosts, lease->mac, host->lan));
	return true;
}

void hosts_release(struct hosts *hosts, const struct lease *lease)
{
	struct host *host = host_find(hosts, &lease->internal);

	/* one that there was no memory for is not here */
	if (!host || host->leases == 0 || --host->leases > 0)
		return;
	host_set_owner(hosts, host, NULL);
	host_add_loose(hosts, host);
	if (!host->heard)
		host_remove(hosts, host);
	else if (hosts->loose_count > HOSTS_LOOSE_MAX)
		host_remove(hosts, hosts->loose);
}

void hosts_set_owner(struct hosts *hosts, const struct ip_addr *addr,
		     const uint8_t *mac)
{
	struct host *host = host_find(hosts, addr);

	if (host && host->leases > 0)
		host_set_owner(hosts, host,
			       mac ? card_get(hosts, mac, host->lan) : NULL);
}

const uint8_t *hosts_find_mac(const struct hosts *hosts, const struct ip_addr *addr)
{
	const struct host *host = host_find(hosts, addr);

	return host && host->heard ? host->heard->key.mac : NULL;
}

bool hosts_is_held(const struct hosts *hosts, const struct ip_addr *addr, uint16_t lan)
{
	const struct host *host = host_find(hosts, addr);

	return host && host->leases > 0 && host->lan == lan;
}

void hosts_finish_restore(struct hosts *hosts)
{
	for (struct card *card = hosts->cards; card; card = card->hh.next) {
		const struct host *host;
		size_t ipv4 = 0;

		DL_FOREACH2(card->owned, host, owned_next)
		ipv4 += addr_is_ipv4(&host->addr);
		card->shared = ipv4 > 1;
	}
}

/* --- deciding --- */

/* What is looked at while some news is taken in. */
struct hearing {
	struct hosts *hosts;
	const struct lan_info *lan;
	int64_t now_ms;
	struct host_decisions *out;
};

static void decide(struct hearing *hearing, enum host_step step,
		   const struct host *host, const struct host *to,
		   const struct card *card)
{
	struct host_decisions *out = hearing->out;
	struct host_decision *decision = &out->list[out->count];

	if (out->count == HOSTS_DECISIONS_MAX)
		return;
	*decision = (struct host_decision){.step = step, .addr = host->addr};
	if (to)
		decision->to = to->addr;
	if (card)
		memcpy(decision->mac, card->key.mac, sizeof(decision->mac));
	out->count++;
}

/* Whatever the kernel finds, it tells. */
static void decide_ask(struct hearing *hearing, struct host *host)
{
	bool known = host->state == HOST_HEARD || host->state == HOST_ANSWERS;

	if (host->state == HOST_FIXED ||
	    hearing->now_ms - host->asked_ms < HOSTS_ASK_PAUSE_MS)
		return;
	host->asked_ms = hearing->now_ms;
	decide(hearing, known ? HOST_STEP_PROBE : HOST_STEP_RESOLVE, host, NULL, NULL);
}

static bool is_there(const struct host *host)
{
	return host->state == HOST_ANSWERS || host->state == HOST_FIXED;
}

static bool has_same_interface_id(const struct host *a, const struct host *b)
{
	return !addr_is_ipv4(&a->addr) &&
	       memcmp(a->addr.bytes + IPV6_NETWORK_SIZE,
		      b->addr.bytes + IPV6_NETWORK_SIZE,
		      sizeof(a->addr.bytes) - IPV6_NETWORK_SIZE) == 0;
}

/*
 * A card that answers at several IPv4 addresses is no machine that has moved. Where it
 * was heard but not asked since, it is asked: *waits, until the kernel has found out.
 */
static bool card_stands_for_many(struct hearing *hearing, const struct host *from,
				 const struct host *to, bool *waits)
{
	const struct card *card = from->owner;
	struct host *host;
	size_t looked = 0;

	*waits = false;
	if (card->shared || card->owned_count > HOSTS_OF_CARD_MAX)
		return true;
	DL_FOREACH2(card->heard, host, heard_next)
	{
		if (looked++ == HOSTS_OF_CARD_MAX)
			return true;
		if (host == from || host == to || !addr_is_ipv4(&host->addr))
			continue;
		if (is_there(host))
			return true;
		*waits = true;
		decide_ask(hearing, host);
	}
	return false;
}

/* An IPv6 host has many addresses at a time: to what is the same one in another
 * network, or when its own network is gone. */
static bool may_follow(const struct hearing *hearing, const struct host *from,
		       const struct host *to)
{
	if (from == to || from->lan != to->lan || to->heard != from->owner ||
	    addr_is_ipv4(&from->addr) != addr_is_ipv4(&to->addr) ||
	    addr_is_link_local(&to->addr))
		return false;
	return addr_is_ipv4(&from->addr) || has_same_interface_id(from, to) ||
	       !lan_info_has_host(hearing->lan, &from->addr);
}

/* Does nobody of its owner answer at `from`? Of a network that is gone nobody can. */
static bool is_left(const struct hearing *hearing, const struct host *from,
		    const struct host *to)
{
	if (from->state == HOST_FAILED ||
	    (is_there(from) && from->heard != from->owner))
		return true;
	return has_same_interface_id(from, to) &&
	       !lan_info_has_host(hearing->lan, &from->addr);
}

/* The owner of what is at `from` was heard at `to`. */
static void consider_move(struct hearing *hearing, struct host *from, struct host *to)
{
	bool waits = false;

	if (!may_follow(hearing, from, to))
		return;
	if (!is_there(to)) {
		decide_ask(hearing, to);
		return;
	}
	if (!has_same_interface_id(from, to) &&
	    card_stands_for_many(hearing, from, to, &waits))
		return;
	from->has_target = true;
	from->target = to->addr;
	if (!is_left(hearing, from, to)) {
		decide_ask(hearing, from);
	} else if (!waits) {
		from->has_target = false;
		decide(hearing, HOST_STEP_MOVE, from, to, from->owner);
	}
}

/* The card is at this address: may leases that it has elsewhere follow? */
static void consider_others(struct hearing *hearing, struct host *to)
{
	struct host *from, *next;
	size_t looked = 0;

	DL_FOREACH_SAFE2(to->heard->owned, from, next, owned_next)
	if (looked++ < HOSTS_OF_CARD_MAX)
		consider_move(hearing, from, to);
}

/* Where the owner of what is at `from` is now; *waits: where it was heard, and is
 * asked.
 */
static struct host *find_owner_elsewhere(struct hearing *hearing,
					 const struct host *from, bool *waits)
{
	struct host *host, *found = NULL;
	size_t looked = 0;
	bool others = false;

	*waits = false;
	DL_FOREACH2(from->owner->heard, host, heard_next)
	{
		if (looked++ == HOSTS_OF_CARD_MAX)
			return NULL;
		if (!may_follow(hearing, from, host))
			continue;
		if (card_stands_for_many(hearing, from, host, &others))
			return NULL;
		found = host;
		if (is_there(host))
			break;
	}
	*waits = found && (others || !is_there(found));
	return found;
}

/* Another machine's card is at an address with leases: until it has answered there,
 * somebody may have made it up. */
static void consider_stranger(struct hearing *hearing, struct host *host)
{
	struct host *to;
	bool waits;

	if (!is_there(host)) {
		decide_ask(hearing, host);
		return;
	}
	to = find_owner_elsewhere(hearing, host, &waits);
	host->has_target = waits;
	if (waits) {
		host->target = to->addr;
		if (!is_there(to))
			decide_ask(hearing, to);
		return;
	}
	if (to)
		decide(hearing, HOST_STEP_MOVE, host, to, host->owner);
	decide(hearing, HOST_STEP_END, host, NULL, host->heard);
}

/* The owner answers where its leases are. Whoever has its card at another address, too,
 * shares it, or it has both. */
static void keep_here(struct host *host)
{
	if (!host->has_target || !is_there(host))
		return;
	host->has_target = false;
	if (addr_is_ipv4(&host->addr))
		host->owner->shared = true;
}

static void hear_card(struct hearing *hearing, struct host *host)
{
	if (host->leases > 0 && !host->owner) {
		host_set_owner(hearing->hosts, host, host->heard);
		decide(hearing, HOST_STEP_NOTE, host, NULL, host->heard);
	} else if (host->owner && host->owner != host->heard) {
		consider_stranger(hearing, host);
	} else if (host->owner) {
		keep_here(host);
	}
	consider_others(hearing, host);
}

static void consider_target(struct hearing *hearing, struct host *from)
{
	struct host *to =
		from->has_target ? host_find(hearing->hosts, &from->target) : NULL;

	bool waited = from->has_target;

	from->has_target = false;
	if (!waited || !from->owner)
		return;
	if (from->heard && from->heard != from->owner)
		consider_stranger(hearing, from);
	else if (to)
		consider_move(hearing, from, to);
}

/* Nobody answers at an address, which a card was heard at before: what waits for that,
 * there or at other addresses of the card, goes on. */
static void hear_failure(struct hearing *hearing, struct host *host,
			 const struct card_key *before)
{
	struct host *from, *next;
	struct card *card;
	size_t looked = 0;

	consider_target(hearing, host);
	HASH_FIND(hh, hearing->hosts->cards, before, sizeof(*before), card);
	if (!card)
		return;
	DL_FOREACH_SAFE2(card->owned, from, next, owned_next)
	if (looked++ < HOSTS_OF_CARD_MAX && from != host)
		consider_target(hearing, from);
}

/* The LAN may have another place since, or the host be on another one. */
static void host_set_lan(struct hosts *hosts, struct host *host, uint16_t lan)
{
	if (host->lan == lan)
		return;
	host->lan = lan;
	if (host->owner)
		host_set_owner(hosts, host, card_get(hosts, host->owner->key.mac, lan));
}

static struct host *host_hear(struct hosts *hosts, const struct lan_info *lan,
			      const struct host_news *news, struct card_key *before)
{
	bool has_card = news->state != HOST_FORGOTTEN && news->state != HOST_FAILED;
	struct host *host = host_find(hosts, &news->addr);
	struct card *card;

	if (!host && has_card)
		host = host_add(hosts, &news->addr, lan->lan);
	if (!host)
		return NULL;
	if (host->heard)
		*before = host->heard->key;
	card = has_card ? card_get(hosts, news->mac, lan->lan) : NULL;
	host_set_lan(hosts, host, lan->lan);
	host->state = card ? news->state : (has_card ? HOST_FORGOTTEN : news->state);
	host_set_heard(hosts, host, card);
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

	(void)host_hear(hosts, lan, news, &before);
}

void hosts_hear(struct hosts *hosts, const struct lan_info *lan,
		const struct host_news *news, int64_t now_ms,
		struct host_decisions *out)
{
	struct hearing hearing = {
		.hosts = hosts, .lan = lan, .now_ms = now_ms, .out = out};
	struct card_key before = {.lan = LANS_MAX};
	struct host *host;

	out->count = 0;
	host = host_hear(hosts, lan, news, &before);
	if (!host)
		return;
	if (host->heard)
		hear_card(&hearing, host);
	else if (host->state == HOST_FAILED)
		hear_failure(&hearing, host, &before);
	else if (host->has_target)
		decide_ask(&hearing, host);
	if (host->leases == 0 && !host->heard)
		host_remove(hosts, host);
}
