/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/ssdp_responder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "protocols/ssdp_address.h"
#include "protocols/ssdp_limit.h"
#include "protocols/ssdp_queue.h"

/* Random 0..100 ms before the first alive set (SSDP-13), the pause before its repeat.
 */
#define ALIVE_DELAY_MAX_MS 100
#define ALIVE_REPEAT_MS 200
/* A refresh comes at a random time before half of max-age. */
#define REFRESH_MIN_MS (SSDP_MAX_AGE_S * 1000 / 4)
#define REFRESH_MAX_MS (SSDP_MAX_AGE_S * 1000 / 2)

struct ssdp_responder {
	struct ssdp_config config;
	const struct ssdp_responder_ops *ops;
	void *user;
	uint32_t ifindex; /* of the time it began */
	uint32_t next_boot_id;
	unsigned int unheard; /* groups that cannot be told anything, as bits */
	int64_t alive_ms;     /* when the next set is due */
	unsigned int alive_left;
	struct ssdp_limit limit;
	struct ssdp_queue queue;
	struct datagram_batch *out; /* of the call that sends; large, and of nobody else
				     */
};

/* ---- sending ---- */

static void flush(struct ssdp_responder *responder)
{
	if (responder->out->count > 0)
		responder->ops->send(responder->user, responder->out);
	responder->out->count = 0;
}

/* From here to end_burst() there is room for what is sent. */
static void begin_burst(struct ssdp_responder *responder, struct datagram_batch *out)
{
	out->count = 0;
	responder->out = out;
}

static void end_burst(struct ssdp_responder *responder)
{
	flush(responder);
	responder->out = NULL;
}

/* A place in the burst, for a message from port 1900 (SSDP-3). */
static struct datagram *add_datagram(struct ssdp_responder *responder,
				     enum datagram_use use)
{
	struct datagram *out;

	if (responder->out->count == DATAGRAM_BATCH_MAX)
		flush(responder);
	out = &responder->out->list[responder->out->count++];
	out->use = (uint8_t)use;
	out->hops = 0;
	out->left = false;
	out->truncated = false;
	out->ifindex = responder->ifindex;
	out->length = 0;
	return out;
}

/* The message is written; one that did not fit is none. */
static void end_datagram(struct ssdp_responder *responder, struct datagram *out,
			 const struct writer *writer)
{
	if (writer->failed)
		responder->out->count--;
	else
		out->length = (uint16_t)writer->used;
}

static struct ssdp_origin make_origin(const struct ssdp_responder *responder,
				      const struct ssdp_root *root,
				      const struct ip_addr *address)
{
	return (struct ssdp_origin){
		.address = *address,
		.http_port = responder->config.http_port,
		.path = root->path,
		.boot_id = responder->config.boot_id,
		.next_boot_id = responder->next_boot_id,
		.config_id = root->config_id,
	};
}

static void notify_root(struct ssdp_responder *responder,
			const struct ssdp_group *group, const struct ssdp_root *root,
			enum ssdp_nts nts)
{
	const struct lan_info *lan = responder->config.lan;
	const struct ip_addr *address = ssdp_address_for_location(lan, &group->addr);
	const struct ip_addr *source = ssdp_address_for_source(lan, &group->addr);
	struct ssdp_origin origin;

	if (!address || !source)
		return;
	origin = make_origin(responder, root, address);
	for (size_t i = 0; i < root->target_count; i++) {
		struct datagram *out = add_datagram(responder, DATAGRAM_MULTICAST);
		struct writer writer = writer_init(out->bytes, SSDP_NOTIFY_MAX);

		out->local = *source;
		out->peer = group->addr;
		out->peer_port = SSDP_PORT;
		out->hops = group->beyond_link ? SSDP_TTL : 1;
		ssdp_write_notify(&writer, group, &origin, &root->targets[i], nts);
		end_datagram(responder, out, &writer);
	}
}

/* former: also for what is not offered here, but may have been. */
static void notify_group(struct ssdp_responder *responder,
			 const struct ssdp_group *group, enum ssdp_nts nts, bool former)
{
	for (size_t r = 0; r < responder->config.root_count; r++) {
		const struct ssdp_root *root = &responder->config.roots[r];

		if (former || !root->former)
			notify_root(responder, group, root, nts);
	}
}

/*
 * A group that we had no address for has heard nothing, and no byebye either, when we
 * had one before: it does ahead of the first alive (SSDP-14).
 */
static void notify(struct ssdp_responder *responder, enum ssdp_nts nts, bool former)
{
	const struct lan_info *lan = responder->config.lan;
	const struct ssdp_group *group;

	for (size_t i = 0; (group = ssdp_group_get(i)); i++) {
		const unsigned int bit = 1u << i;

		if (group->family != responder->config.family)
			continue;
		if (!ssdp_address_for_location(lan, &group->addr)) {
			responder->unheard |= bit;
			continue;
		}
		if (nts == SSDP_ALIVE && (responder->unheard & bit)) {
			notify_group(responder, group, SSDP_BYEBYE, true);
			responder->unheard &= ~bit;
		}
		notify_group(responder, group, nts, former);
	}
}

/* ---- answering ---- */

/* What a search is for that only this root answers (IGD-6). */
static bool is_for_reserved(const struct ssdp_target *target,
			    const struct ssdp_search *search, uint8_t version)
{
	if (strcmp(search->st, "ssdp:all") == 0)
		return false;
	switch (target->kind) {
	case SSDP_ROOT:
		return false;
	case SSDP_UUID:
		return true;
	case SSDP_TYPE:
		return version > 1;
	}
	return false;
}

/* Windows and Xbox hear nothing of what is modern (IGD-6). */
static bool is_answer(const struct ssdp_root *root, const struct ssdp_target *target,
		      const struct ssdp_search *search, uint8_t *version)
{
	return !root->former && !(search->legacy && target->modern) &&
	       ssdp_target_matches(target, search->st, version) &&
	       (!root->reserved || is_for_reserved(target, search, *version));
}

static unsigned int count_answers(const struct ssdp_responder *responder,
				  const struct ssdp_search *search)
{
	unsigned int count = 0;
	uint8_t version;

	for (size_t r = 0; r < responder->config.root_count; r++) {
		const struct ssdp_root *root = &responder->config.roots[r];

		for (size_t i = 0; i < root->target_count; i++)
			if (is_answer(root, &root->targets[i], search, &version))
				count++;
	}
	return count;
}

/* Of one root, at most wait->answers, which are counted down. */
static void answer_root(struct ssdp_responder *responder, const struct ssdp_root *root,
			struct ssdp_wait *wait, int64_t wall_ms)
{
	const struct ip_addr *address =
		ssdp_address_for_location(responder->config.lan, &wait->peer);
	struct ssdp_origin origin;

	if (!address)
		return;
	origin = make_origin(responder, root, address);
	for (size_t i = 0; i < root->target_count && wait->answers > 0; i++) {
		struct datagram *out;
		struct writer writer;
		uint8_t version;

		if (!is_answer(root, &root->targets[i], &wait->search, &version))
			continue;
		out = add_datagram(responder, DATAGRAM_REPLY);
		writer = writer_init(out->bytes, SSDP_DATAGRAM_MAX);
		out->local = wait->local;
		out->peer = wait->peer;
		out->peer_port = wait->peer_port;
		ssdp_write_response(&writer, &origin, &root->targets[i], version,
				    wall_ms);
		end_datagram(responder, out, &writer);
		wait->answers--;
	}
}

/* The answers of all roots to one search, types first (SSDP-8, CL-9). */
static void answer(struct ssdp_responder *responder, struct ssdp_wait *wait,
		   int64_t wall_ms)
{
	for (size_t r = 0; r < responder->config.root_count; r++)
		answer_root(responder, &responder->config.roots[r], wait, wall_ms);
}

static void answer_later(struct ssdp_responder *responder, struct ssdp_wait *wait,
			 const struct ssdp_moment *moment)
{
	uint32_t limit_ms = responder->config.strict ? wait->search.mx_s * 1000u
						     : SSDP_DELAY_MAX_MS;
	struct ssdp_wait early;

	wait->due_ms =
		moment->now_ms + responder->ops->draw(responder->user, limit_ms + 1);
	if (ssdp_queue_add(&responder->queue, wait, &early))
		answer(responder, &early, moment->wall_ms);
}

/* ---- receiving ---- */

/* A group, or one of our addresses. */
static bool is_ours(const struct ssdp_responder *responder, const struct ip_addr *addr)
{
	return ssdp_group_find(addr) != NULL ||
	       lan_info_has_address(responder->config.lan, addr);
}

/* By the interface it came in, its destination and its source, per packet (SSDP-2). */
static bool is_from_lan(const struct ssdp_responder *responder,
			const struct datagram *in)
{
	const bool ipv4 = responder->config.family == AF_INET;

	return in->ifindex != 0 && in->ifindex == responder->ifindex &&
	       in->peer_port != 0 && addr_is_ipv4(&in->peer) == ipv4 &&
	       addr_is_ipv4(&in->local) == ipv4 &&
	       lan_info_has_host(responder->config.lan, &in->peer) &&
	       is_ours(responder, &in->local);
}

static void handle(struct ssdp_responder *responder, const struct datagram *in,
		   const struct ssdp_moment *moment)
{
	bool multicast = ssdp_group_find(&in->local) != NULL;
	struct ssdp_wait wait = {
		.peer = in->peer,
		.peer_port = in->peer_port,
		.local = in->local,
	};
	const struct ip_addr *source;

	if (in->truncated || !is_from_lan(responder, in) ||
	    !ssdp_parse_search(in->bytes, in->length, &wait.search))
		return;
	if (multicast) {
		source = ssdp_address_for_source(responder->config.lan, &in->peer);
		if (!source ||
		    !ssdp_search_is_valid(&wait.search, responder->config.strict) ||
		    !ssdp_queue_admits(&responder->queue, &wait))
			return;
		wait.local = *source;
	}
	wait.answers = count_answers(responder, &wait.search);
	if (wait.answers == 0) /* not for us: costs its source nothing */
		return;
	wait.answers = ssdp_limit_take(&responder->limit, &in->peer, wait.answers,
				       moment->now_ms);
	if (multicast && wait.answers > 0)
		answer_later(responder, &wait, moment);
	else
		answer(responder, &wait, moment->wall_ms); /* SSDP-7 */
}

void ssdp_responder_take(struct ssdp_responder *responder, const struct datagram *in,
			 const struct ssdp_moment *moment)
{
	struct datagram_batch out;

	begin_burst(responder, &out);
	handle(responder, in, moment);
	end_burst(responder);
}

/* ---- time ---- */

static void run_alive(struct ssdp_responder *responder, int64_t now_ms)
{
	if (now_ms < responder->alive_ms)
		return;
	notify(responder, SSDP_ALIVE, false);
	if (--responder->alive_left > 0) {
		responder->alive_ms = now_ms + ALIVE_REPEAT_MS;
		return;
	}
	responder->alive_left = SSDP_REPEAT;
	responder->alive_ms =
		now_ms + REFRESH_MIN_MS +
		responder->ops->draw(responder->user, REFRESH_MAX_MS - REFRESH_MIN_MS);
}

int64_t ssdp_responder_run(struct ssdp_responder *responder,
			   const struct ssdp_moment *moment)
{
	int64_t now_ms = moment->now_ms;
	struct datagram_batch out;
	struct ssdp_wait wait;
	int64_t delay_ms;

	begin_burst(responder, &out);
	while (ssdp_queue_take_due(&responder->queue, now_ms, &wait))
		answer(responder, &wait, moment->wall_ms);
	run_alive(responder, now_ms);
	end_burst(responder);
	delay_ms = ssdp_queue_get_delay_ms(&responder->queue, now_ms);
	if (delay_ms >= 0 && now_ms + delay_ms < responder->alive_ms)
		return now_ms + delay_ms;
	return responder->alive_ms;
}

static void say_now(struct ssdp_responder *responder, enum ssdp_nts nts, bool former)
{
	struct datagram_batch out;

	begin_burst(responder, &out);
	for (unsigned int i = 0; i < SSDP_REPEAT; i++)
		notify(responder, nts, former);
	end_burst(responder);
}

void ssdp_responder_say_first_byebye(struct ssdp_responder *responder)
{
	say_now(responder, SSDP_BYEBYE, true);
}

void ssdp_responder_say_byebye(struct ssdp_responder *responder)
{
	say_now(responder, SSDP_BYEBYE, false);
}

void ssdp_responder_say_update(struct ssdp_responder *responder, uint32_t boot_id)
{
	responder->next_boot_id = boot_id;
	say_now(responder, SSDP_UPDATE, false);
	responder->config.boot_id = boot_id;
}

/* The first set is sent, and sent again, as at the start (SSDP-13). */
void ssdp_responder_renew(struct ssdp_responder *responder, int64_t now_ms)
{
	responder->alive_left = SSDP_REPEAT;
	responder->alive_ms =
		now_ms + responder->ops->draw(responder->user, ALIVE_DELAY_MAX_MS + 1);
}

/* ---- life ---- */

struct ssdp_responder *ssdp_responder_new(const struct ssdp_config *config,
					  const struct ssdp_responder_ops *ops,
					  void *user, int64_t now_ms)
{
	struct ssdp_responder *responder = calloc(1, sizeof(*responder));

	if (!responder)
		return NULL;
	responder->config = *config;
	responder->ops = ops;
	responder->ifindex = config->lan->ifindex;
	responder->user = user;
	ssdp_responder_renew(responder, now_ms);
	ssdp_limit_init(&responder->limit, addr_make_seed(), now_ms);
	return responder;
}

void ssdp_responder_free(struct ssdp_responder *responder)
{
	free(responder);
}
