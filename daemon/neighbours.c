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

#define MESSAGE_SIZE 4096
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

struct neighbours *neighbours_new(void)
{
	struct neighbours *neighbours = calloc(1, sizeof(*neighbours));

	if (!neighbours)
		return NULL;
	neighbours->netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!neighbours->netlink ||
	    mnl_socket_bind(neighbours->netlink, 0, MNL_SOCKET_AUTOPID) < 0) {
		log_error("cannot ask the kernel for neighbours: %s", strerror(errno));
		neighbours_free(neighbours);
		return NULL;
	}
	return neighbours;
}

void neighbours_free(struct neighbours *neighbours)
{
	if (!neighbours)
		return;
	if (neighbours->netlink)
		(void)mnl_socket_close(neighbours->netlink);
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
