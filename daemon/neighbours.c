/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/neighbours.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/netlink.h"

#define MESSAGE_SIZE 4096
/* A datagram of a dump is no longer than a page, or than this where pages are long. */
#define DATAGRAM_SIZE 8192
/* A question about one address, generously. */
#define QUESTION_SIZE 128
/* Datagrams read at one wake-up: requests come in between. */
#define DRAIN_MAX 64
/* Answers to be passed over that a question which failed has left behind. */
#define STALE_MAX 8
/* Octets of a link-layer address, the kernel's MAX_ADDR_LEN. */
#define CARD_SIZE 32
/* The kernel has heard of the address, and nothing says that it is gone. */
#define STATES_KNOWN (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT)

struct neighbours {
	struct mnl_socket *netlink;
	uint32_t sequence;
	alignas(struct nlmsghdr) char buffer[MESSAGE_SIZE];
};

/* A link-layer address; length 0 = not known. */
struct card {
	size_t length;
	uint8_t octets[CARD_SIZE];
};

static struct mnl_socket *socket_open(void)
{
	struct mnl_socket *netlink = netlink_open(NETLINK_ROUTE, 0);

	if (!netlink)
		log_error("cannot ask the kernel for neighbours: %s", strerror(errno));
	return netlink;
}

struct neighbours *neighbours_new(void)
{
	struct neighbours *neighbours = calloc(1, sizeof(*neighbours));

	if (!neighbours)
		return NULL;
	neighbours->netlink = socket_open();
	if (neighbours->netlink)
		return neighbours;
	free(neighbours);
	return NULL;
}

void neighbours_free(struct neighbours *neighbours)
{
	if (!neighbours)
		return;
	netlink_close(neighbours->netlink);
	free(neighbours);
}

static int attribute_take(const struct nlattr *attr, void *user)
{
	struct card *card = user;
	size_t length = mnl_attr_get_payload_len(attr);

	if (mnl_attr_get_type(attr) == NDA_LLADDR && length <= CARD_SIZE) {
		memcpy(card->octets, mnl_attr_get_payload(attr), length);
		card->length = length;
	}
	return MNL_CB_OK;
}

/* The card that a message names; none in an error, of which there is one for every
 * address that the kernel does not know. */
static struct card message_read_card(const struct nlmsghdr *message)
{
	const struct ndmsg *entry = mnl_nlmsg_get_payload(message);
	struct card card = {0};

	if (message->nlmsg_type == RTM_NEWNEIGH &&
	    mnl_nlmsg_get_payload_len(message) >= sizeof(*entry) &&
	    (entry->ndm_state & STATES_KNOWN) != 0)
		(void)mnl_attr_parse(message, sizeof(*entry), attribute_take, &card);
	return card;
}

static void message_put_address(struct nlmsghdr *message, struct ndmsg *entry,
				const struct ip_addr *addr)
{
	struct in_addr ipv4 = addr_to_ipv4(addr);

	if (addr_is_ipv4(addr)) {
		entry->ndm_family = AF_INET;
		mnl_attr_put(message, NDA_DST, sizeof(ipv4), &ipv4);
	} else {
		entry->ndm_family = AF_INET6;
		mnl_attr_put(message, NDA_DST, sizeof(addr->bytes), addr->bytes);
	}
}

/* One entry by its key, no dump: Linux 5.0. */
static bool query_send(struct neighbours *neighbours, uint32_t ifindex,
		       const struct ip_addr *addr)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(neighbours->buffer);
	struct ndmsg *entry = mnl_nlmsg_put_extra_header(message, sizeof(*entry));

	message->nlmsg_type = RTM_GETNEIGH;
	message->nlmsg_flags = NLM_F_REQUEST;
	message->nlmsg_seq = ++neighbours->sequence;
	entry->ndm_ifindex = (int)ifindex;
	message_put_address(message, entry, addr);
	return mnl_socket_sendto(neighbours->netlink, message, message->nlmsg_len) >= 0;
}

static struct card neighbours_find_card(struct neighbours *neighbours, uint32_t ifindex,
					const struct ip_addr *addr)
{
	if (!query_send(neighbours, ifindex, addr))
		return (struct card){0};
	for (unsigned int i = 0; i < STALE_MAX; i++) {
		ssize_t got =
			mnl_socket_recvfrom(neighbours->netlink, neighbours->buffer,
					    sizeof(neighbours->buffer));
		const struct nlmsghdr *message = (const void *)neighbours->buffer;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || !mnl_nlmsg_ok(message, (int)got))
			break;
		if (message->nlmsg_seq == neighbours->sequence)
			return message_read_card(message);
	}
	return (struct card){0};
}

bool neighbours_are_one_host(struct neighbours *neighbours, uint32_t ifindex,
			     const struct ip_addr *a, const struct ip_addr *b)
{
	struct card one, other;

	if (ifindex == 0)
		return false;
	one = neighbours_find_card(neighbours, ifindex, a);
	if (one.length == 0)
		return false;
	other = neighbours_find_card(neighbours, ifindex, b);
	return one.length == other.length &&
	       memcmp(one.octets, other.octets, one.length) == 0;
}

/* --- the watch --- */

struct neighbour_watch {
	struct mnl_socket *netlink;
	uint32_t sequence;
	uint32_t dump_sequence;
	bool dumping;	 /* the kernel has not told everything yet */
	bool dump_again; /* and shall do so again */
	bool has_told;	 /* everything, once */
	alignas(struct nlmsghdr) char buffer[DATAGRAM_SIZE];   /* what is read */
	alignas(struct nlmsghdr) char question[QUESTION_SIZE]; /* meanwhile */
};

struct neighbour_watch *neighbour_watch_new(void)
{
	struct neighbour_watch *watch = calloc(1, sizeof(*watch));
	int error;

	if (!watch)
		return NULL;
	watch->netlink = socket_open();
	if (!watch->netlink)
		goto fail;
	error = netlink_join_group(watch->netlink, RTNLGRP_NEIGH);
	if (error == 0)
		return watch;
	log_error("cannot watch neighbours: %s", strerror(-error));
fail:
	neighbour_watch_free(watch);
	return NULL;
}

void neighbour_watch_free(struct neighbour_watch *watch)
{
	if (!watch)
		return;
	netlink_close(watch->netlink);
	free(watch);
}

int neighbour_watch_get_fd(const struct neighbour_watch *watch)
{
	return mnl_socket_get_fd(watch->netlink);
}

/* A message about one address, or about all; *entry is its body. */
static struct nlmsghdr *watch_begin(struct neighbour_watch *watch, uint16_t type,
				    unsigned int flags, struct ndmsg **entry)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(watch->question);

	message->nlmsg_type = type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	message->nlmsg_seq = ++watch->sequence;
	*entry = mnl_nlmsg_put_extra_header(message, sizeof(**entry));
	return message;
}

/* We never wait. */
static bool watch_send(struct neighbour_watch *watch, const struct nlmsghdr *message)
{
	if (send(neighbour_watch_get_fd(watch), message, message->nlmsg_len,
		 MSG_DONTWAIT) >= 0)
		return true;
	log_debug("the kernel is not asked for neighbours: %s", strerror(errno));
	return false;
}

bool neighbour_watch_ask_all(struct neighbour_watch *watch)
{
	struct nlmsghdr *message;
	struct ndmsg *entry;

	if (watch->dumping) {
		watch->dump_again = true;
		return true;
	}
	message = watch_begin(watch, RTM_GETNEIGH, NLM_F_DUMP, &entry);
	watch->dump_sequence = message->nlmsg_seq;
	watch->dumping = watch_send(watch, message);
	return watch->dumping;
}

bool neighbour_watch_has_told(const struct neighbour_watch *watch)
{
	return watch->has_told;
}

bool neighbour_watch_ask(struct neighbour_watch *watch, uint32_t ifindex,
			 const struct ip_addr *addr)
{
	struct ndmsg *entry;
	struct nlmsghdr *message = watch_begin(watch, RTM_GETNEIGH, 0, &entry);

	entry->ndm_ifindex = (int)ifindex;
	message_put_address(message, entry, addr);
	return watch_send(watch, message);
}

/* NUD_PROBE: from now on the kernel asks, three times a second apart, and the entry
 * fails when nobody answers. Of one that has no card this changes nothing. */
bool neighbour_watch_probe(struct neighbour_watch *watch, uint32_t ifindex,
			   const struct ip_addr *addr)
{
	struct ndmsg *entry;
	struct nlmsghdr *message = watch_begin(watch, RTM_NEWNEIGH, 0, &entry);

	entry->ndm_ifindex = (int)ifindex;
	entry->ndm_state = NUD_PROBE;
	message_put_address(message, entry, addr);
	return watch_send(watch, message);
}

bool neighbour_watch_resolve(struct neighbour_watch *watch, uint32_t ifindex,
			     const struct ip_addr *addr)
{
	struct ndmsg *entry;
	struct nlmsghdr *message =
		watch_begin(watch, RTM_NEWNEIGH, NLM_F_CREATE, &entry);

	entry->ndm_ifindex = (int)ifindex;
	entry->ndm_flags = NTF_USE;
	message_put_address(message, entry, addr);
	return watch_send(watch, message);
}

/* What a message tells of an address. */
struct entry_view {
	struct ip_addr addr;
	struct card card;
};

static int entry_take(const struct nlattr *attr, void *user)
{
	struct entry_view *view = user;
	size_t length = mnl_attr_get_payload_len(attr);
	struct in_addr ipv4;
	struct in6_addr ipv6;

	if (mnl_attr_get_type(attr) != NDA_DST)
		return attribute_take(attr, &view->card);
	if (length == sizeof(ipv4)) {
		memcpy(&ipv4, mnl_attr_get_payload(attr), length);
		view->addr = addr_from_ipv4(ipv4);
	} else if (length == sizeof(ipv6)) {
		memcpy(&ipv6, mnl_attr_get_payload(attr), length);
		view->addr = addr_from_ipv6(&ipv6);
	}
	return MNL_CB_OK;
}

static bool card_is_machine(const struct card *card)
{
	static const uint8_t none[LEASE_MAC_SIZE];

	return card->length == LEASE_MAC_SIZE && (card->octets[0] & 1) == 0 &&
	       memcmp(card->octets, none, sizeof(none)) != 0;
}

/* False: it says nothing that anybody needs, as that an answer is waited for. */
static bool state_read(const struct nlmsghdr *message, const struct ndmsg *entry,
		       enum host_state *out)
{
	if (message->nlmsg_type == RTM_DELNEIGH)
		*out = HOST_FORGOTTEN;
	else if (entry->ndm_state & NUD_FAILED)
		*out = HOST_FAILED;
	else if (entry->ndm_state & NUD_PERMANENT)
		*out = HOST_FIXED;
	else if (entry->ndm_state & NUD_REACHABLE)
		*out = HOST_ANSWERS;
	else if (entry->ndm_state & (NUD_STALE | NUD_DELAY | NUD_PROBE))
		*out = HOST_HEARD;
	else
		return false;
	return true;
}

static bool message_read_news(const struct nlmsghdr *message, uint32_t *ifindex,
			      struct host_news *news)
{
	const struct ndmsg *entry = mnl_nlmsg_get_payload(message);
	struct entry_view view = {.card = {0}};

	if ((message->nlmsg_type != RTM_NEWNEIGH &&
	     message->nlmsg_type != RTM_DELNEIGH) ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*entry) ||
	    (entry->ndm_family != AF_INET && entry->ndm_family != AF_INET6) ||
	    (entry->ndm_flags & NTF_PROXY) != 0 ||
	    !state_read(message, entry, &news->state))
		return false;
	(void)mnl_attr_parse(message, sizeof(*entry), entry_take, &view);
	*ifindex = (uint32_t)entry->ndm_ifindex;
	news->addr = view.addr;
	if (news->state == HOST_FORGOTTEN || news->state == HOST_FAILED)
		return true;
	memcpy(news->mac, view.card.octets, sizeof(news->mac));
	return card_is_machine(&view.card);
}

/* It was refused, or the kernel gave up. */
static bool dump_has_failed(const struct nlmsghdr *message)
{
	int error = 0;

	if (mnl_nlmsg_get_payload_len(message) >= sizeof(error))
		memcpy(&error, mnl_nlmsg_get_payload(message), sizeof(error));
	return message->nlmsg_type == NLMSG_ERROR || error < 0;
}

/* Returns true when something is missing, or a change has disturbed it. */
static bool watch_end_dump(struct neighbour_watch *watch,
			   const struct nlmsghdr *message)
{
	bool failed = dump_has_failed(message);
	bool again = watch->dump_again;

	watch->dumping = false;
	watch->dump_again = false;
	watch->has_told |= !failed;
	return failed || again || (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
}

/* Who takes what the watch tells. */
struct watch_reader {
	struct neighbour_watch *watch;
	neighbour_take *take;
	void *user;
	bool lost;
};

static void watch_read(void *user, const struct nlmsghdr *message)
{
	struct watch_reader *reader = user;
	struct neighbour_watch *watch = reader->watch;
	struct host_news news = {.state = HOST_FORGOTTEN};
	uint32_t ifindex;

	if ((message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) &&
	    message->nlmsg_seq == watch->dump_sequence)
		reader->lost = watch_end_dump(watch, message) || reader->lost;
	else if (message_read_news(message, &ifindex, &news))
		reader->take(reader->user, ifindex, &news);
}

bool neighbour_watch_drain(struct neighbour_watch *watch, neighbour_take *take,
			   void *user)
{
	const struct netlink_inlet inlet = {.socket = watch->netlink,
					    .buffer = watch->buffer,
					    .size = sizeof(watch->buffer),
					    .datagrams = DRAIN_MAX};
	struct watch_reader reader = {.watch = watch, .take = take, .user = user};

	if (!netlink_drain(&inlet, watch_read, &reader))
		return reader.lost;
	/* the end of what was being told may be among it: nothing waits for that */
	watch->dumping = false;
	watch->dump_again = false;
	return true;
}
