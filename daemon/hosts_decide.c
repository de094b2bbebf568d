/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What follows for leases from what the kernel tells of its neighbours. */
#include "daemon/hosts.h"

#include <string.h>
#include <utlist.h>

#include "daemon/hosts_private.h"

/* Octets of an IPv6 address that name the network. */
#define IPV6_NETWORK_SIZE 8

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

static size_t get_limit(enum host_family family)
{
	return family == HOST_IPV4 ? HOSTS_OF_CARD_MAX : HOSTS_OF_CARD6_MAX;
}

static bool is_within(const struct hearing *hearing, int64_t begin_ms,
		      int64_t length_ms)
{
	return hearing->now_ms - begin_ms < length_ms;
}

static void card_set_many(const struct hearing *hearing, struct card *card)
{
	card->many_ms = hearing->now_ms;
	card->paired = true;
}

/* It has answered at several addresses, not long ago; or has leases at several since.
 */
static bool card_is_many(const struct hearing *hearing, const struct card *card)
{
	return is_within(hearing, card->many_ms, HOSTS_MANY_MS) ||
	       (card->paired && card->owned_count[HOST_IPV4] > 1);
}

/* An answer of now: a card that goes on answering here and there is still many. */
static void card_note_answer(const struct hearing *hearing, const struct host *host)
{
	struct card *card = host->heard;

	if (card->owned_count[HOST_IPV4] < 2)
		card->paired = false;
	if (host->answered_ms != hearing->now_ms || hosts_get_family(host) != HOST_IPV4)
		return;
	if (is_within(hearing, card->many_ms, HOSTS_MANY_MS) &&
	    !addr_equal(&card->answered, &host->addr))
		card_set_many(hearing, card);
	card->answered = host->addr;
}

/*
 * A card that answers at several IPv4 addresses is no machine that has moved. Where it
 * was heard but not asked since, it is asked: *waits, until the kernel has found out.
 * Of IPv6 addresses every machine has several, and one of IPv4 besides.
 */
static bool card_stands_for_many(struct hearing *hearing, const struct host *from,
				 const struct host *to, bool *waits)
{
	const struct card *card = from->owner;
	struct host *host;
	size_t looked = 0;

	*waits = false;
	if (card_is_many(hearing, card))
		return true;
	if (hosts_get_family(from) == HOST_IPV6)
		return false;
	if (card->owned_count[HOST_IPV4] > HOSTS_OF_CARD_MAX)
		return true;
	DL_FOREACH2(card->heard[HOST_IPV4], host, heard_next)
	{
		if (looked++ == HOSTS_OF_CARD_MAX)
			return true;
		if (host == from || host == to)
			continue;
		if (is_there(host) ||
		    is_within(hearing, hearing->hosts->restored_ms, HOSTS_HEARING_MS))
			return true;
		*waits = true;
		decide_ask(hearing, host);
	}
	return false;
}

/*
 * Whoever DHCP gave an IPv4 address to has no other one. A card that answers at another
 * one, too, after it came here, answers for a machine that sleeps or is behind it, or
 * says what is not true: *waits, until the kernel has found out.
 */
static bool stranger_has_another(struct hearing *hearing, const struct host *here,
				 bool *waits)
{
	struct card *card = here->heard;
	struct host *host;
	size_t looked = 0;

	*waits = false;
	if (hosts_get_family(here) == HOST_IPV6)
		return false;
	if (card_is_many(hearing, card))
		return true;
	DL_FOREACH2(card->heard[HOST_IPV4], host, heard_next)
	{
		if (looked++ == HOSTS_OF_CARD_MAX)
			return true;
		if (host == here)
			continue;
		if (host->answered_ms >= here->heard_ms &&
		    is_within(hearing, host->answered_ms, HOSTS_MANY_MS)) {
			card_set_many(hearing, card);
			return true;
		}
		*waits = true;
		decide_ask(hearing, host);
	}
	return false;
}

/* A card is one LAN's. An IPv6 host has many addresses at a time: to what is the same
 * one in another network, or when its own network is gone. */
static bool may_follow(const struct hearing *hearing, const struct host *from,
		       const struct host *to)
{
	if (from == to || to->heard != from->owner ||
	    hosts_get_family(from) != hosts_get_family(to) ||
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
	enum host_family family = hosts_get_family(to);
	struct host *from, *next;
	size_t looked = 0;

	DL_FOREACH_SAFE2(to->heard->owned[family], from, next, owned_next)
	if (looked++ < get_limit(family))
		consider_move(hearing, from, to);
}

/* Where the owner of what is at `from` is now; *waits: where it was heard, and is
 * asked.
 */
static struct host *find_owner_elsewhere(struct hearing *hearing,
					 const struct host *from, bool *waits)
{
	enum host_family family = hosts_get_family(from);
	struct host *host, *found = NULL;
	size_t looked = 0;
	bool others = false;

	*waits = false;
	DL_FOREACH2(from->owner->heard[family], host, heard_next)
	{
		if (looked++ == get_limit(family))
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
	if (!stranger_has_another(hearing, host, &waits) && !waits)
		decide(hearing, HOST_STEP_END, host, NULL, host->heard);
}

/* The owner answers where its leases are, having been asked. Whoever has its card at
 * another address, too, shares it, or it has both. */
static void keep_here(struct hearing *hearing, struct host *host)
{
	if (!host->has_target || !is_there(host) ||
	    (host->state == HOST_ANSWERS && host->answered_ms != hearing->now_ms))
		return;
	host->has_target = false;
	if (hosts_get_family(host) == HOST_IPV4)
		card_set_many(hearing, host->owner);
}

static void hear_card(struct hearing *hearing, struct host *host)
{
	card_note_answer(hearing, host);
	if (host->leases > 0 && !host->owner) {
		hosts_give_host(hearing->hosts, host, host->heard);
		decide(hearing, HOST_STEP_NOTE, host, NULL, host->heard);
	} else if (host->owner && host->owner != host->heard) {
		consider_stranger(hearing, host);
	} else if (host->owner) {
		keep_here(hearing, host);
	}
	consider_others(hearing, host);
}

static void consider_target(struct hearing *hearing, struct host *from)
{
	struct host *to = from->has_target
				  ? hosts_find_host(hearing->hosts, &from->target)
				  : NULL;

	bool waited = from->has_target;

	from->has_target = false;
	if (!waited || !from->owner)
		return;
	if (from->heard && from->heard != from->owner)
		consider_stranger(hearing, from);
	else if (to)
		consider_move(hearing, from, to);
}

/* A card is at one address less: are those the only ones now that are others' too? */
static void consider_strangers(struct hearing *hearing, const struct card *card,
			       enum host_family family)
{
	struct host *host, *next;
	size_t looked = 0;

	DL_FOREACH_SAFE2(card->heard[family], host, next, heard_next)
	if (looked++ < get_limit(family) && host->owner && host->owner != card)
		consider_stranger(hearing, host);
}

/* Nobody answers at an address, which a card was heard at before: what waits for that,
 * there or at other addresses of the card, goes on. */
static void hear_failure(struct hearing *hearing, struct host *host,
			 const struct card_key *before)
{
	enum host_family family = hosts_get_family(host);
	struct host *from, *next;
	struct card *card;
	size_t looked = 0;

	consider_target(hearing, host);
	card = hosts_find_card(hearing->hosts, before);
	if (!card)
		return;
	DL_FOREACH_SAFE2(card->owned[family], from, next, owned_next)
	if (looked++ < get_limit(family) && from != host)
		consider_target(hearing, from);
	consider_strangers(hearing, card, family);
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
	host = hosts_take_news(hosts, lan, news, now_ms, &before);
	if (!host)
		return;
	if (host->heard)
		hear_card(&hearing, host);
	else if (host->state == HOST_FAILED)
		hear_failure(&hearing, host, &before);
	else if (host->has_target)
		decide_ask(&hearing, host);
	hosts_forget_empty(hosts, host);
}
