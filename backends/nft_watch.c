/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/netlink.h"

/* Room for the notifications of somebody's large reload before one is lost. */
#define RECEIVE_ROOM (1024 * 1024)
#define DATAGRAM_MAX 65536

/*
 * Let the kernel drop the notifications of our own transactions before they take room.
 * A datagram speaks of one transaction, so its first header tells.
 */
static struct sock_filter *begin_filter(struct sock_filter *at, uint32_t own)
{
	*at++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					     offsetof(struct nlmsghdr, nlmsg_pid));
	/* The port id is in host order, the load in network order. */
	*at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(own), 0,
					     1);
	*at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	return at;
}

static int start(struct nft_watch *watch, struct sock_filter *filter, size_t length)
{
	struct sock_fprog program = {.len = (unsigned short)length, .filter = filter};

	watch->mnl = netlink_open(NETLINK_NETFILTER, SOCK_NONBLOCK);
	if (!watch->mnl || setsockopt(mnl_socket_get_fd(watch->mnl), SOL_SOCKET,
				      SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return -errno;
	return netlink_join_group(watch->mnl, NFNLGRP_NFTABLES);
}

static int listen_with(struct nft_watch *watch, struct sock_filter *filter,
		       size_t length)
{
	int room = RECEIVE_ROOM;
	int error = start(watch, filter, length);

	if (error < 0) {
		log_error("cannot listen for firewall changes: %s", strerror(-error));
		nft_watch_close(watch);
		return error;
	}
	if (setsockopt(mnl_socket_get_fd(watch->mnl), SOL_SOCKET, SO_RCVBUFFORCE, &room,
		       sizeof(room)) < 0)
		log_debug("receive buffer of %d octets refused: %s", room,
			  strerror(errno));
	return 0;
}

int nft_watch_open(struct nft_watch *watch, uint32_t own)
{
	struct sock_filter filter[4];
	struct sock_filter *at = begin_filter(filter, own);

	*at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	return listen_with(watch, filter, (size_t)(at - filter));
}

/* A message's first octets, as BPF loads them: in network order. */
#define LOAD_TYPE(message) htons(NFNL_SUBSYS_NFTABLES << 8 | (message))

static uint32_t load_word(const void *octets)
{
	uint32_t word;

	memcpy(&word, octets, sizeof(word));
	return htonl(word);
}

/*
 * Thousands of grants a second must not wake those up who look at others: elements of
 * our table, by whatever port id, and that a transaction has ended are not news.
 */
int nft_watch_open_others(struct nft_watch *watch, uint32_t own)
{
	const struct nlattr name = {
		.nla_len = sizeof(struct nlattr) + sizeof(NFT_TABLE),
		.nla_type = NFTA_SET_ELEM_LIST_TABLE,
	};
	static const char ours[] = NFT_TABLE;
	const uint32_t generic = NLMSG_HDRLEN;
	const uint32_t table = NLMSG_HDRLEN + sizeof(struct nfgenmsg);
	const struct sock_filter rest[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS,
			 offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LOAD_TYPE(NFT_MSG_NEWGEN), 13, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LOAD_TYPE(NFT_MSG_NEWSETELEM), 1,
			 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LOAD_TYPE(NFT_MSG_DELSETELEM), 0,
			 10),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, generic),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NFPROTO_INET, 0, 8),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, table),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, load_word(&name), 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, table + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, load_word(ours), 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, table + 8),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, load_word(&ours[4]), 0, 2),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, table + 12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)ours[8] << 8, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter filter[3 + sizeof(rest) / sizeof(rest[0])];
	struct sock_filter *at = begin_filter(filter, own);

	memcpy(at, rest, sizeof(rest));
	return listen_with(watch, filter, sizeof(filter) / sizeof(filter[0]));
}

void nft_watch_close(struct nft_watch *watch)
{
	netlink_close(watch->mnl);
	watch->mnl = NULL;
}

int nft_watch_leave(struct nft_watch *watch)
{
	return netlink_leave_group(watch->mnl, NFNLGRP_NFTABLES);
}

int nft_watch_join(struct nft_watch *watch)
{
	return netlink_join_group(watch->mnl, NFNLGRP_NFTABLES);
}

int nft_watch_get_fd(const struct nft_watch *watch)
{
	return mnl_socket_get_fd(watch->mnl);
}

static int find_table(const struct nlattr *attribute, void *user)
{
	bool *ours = user;

	if (mnl_attr_get_type(attribute) == NFTA_TABLE_NAME)
		*ours = mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0 &&
			strcmp(mnl_attr_get_str(attribute), NFT_TABLE) == 0;
	return MNL_CB_OK;
}

/* Attribute 1 of every nf_tables message that is about a table is the table's name. */
static bool is_about_us(const struct nlmsghdr *header)
{
	const struct nfgenmsg *generic = mnl_nlmsg_get_payload(header);
	bool ours = false;

	if (header->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES ||
	    (header->nlmsg_type & 0xff) == NFT_MSG_NEWGEN ||
	    mnl_nlmsg_get_payload_len(header) < sizeof(*generic) ||
	    generic->nfgen_family != NFPROTO_INET)
		return false;
	return mnl_attr_parse(header, sizeof(*generic), find_table, &ours) >= 0 && ours;
}

/* Their counters, quotas and offloading decide about no packet. */
static bool is_about_others(const struct nlmsghdr *header)
{
	if (header->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || is_about_us(header))
		return false;
	switch (header->nlmsg_type & 0xff) {
	case NFT_MSG_NEWTABLE:
	case NFT_MSG_DELTABLE:
	case NFT_MSG_NEWCHAIN:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
	case NFT_MSG_NEWSET:
	case NFT_MSG_DELSET:
	case NFT_MSG_NEWSETELEM:
	case NFT_MSG_DELSETELEM:
		return true;
	default:
		return false;
	}
}

struct news {
	bool (*is_news)(const struct nlmsghdr *message);
	bool any;
};

static void take_news(void *user, const struct nlmsghdr *message)
{
	struct news *news = user;

	news->any = news->any || news->is_news(message);
}

static bool drain(struct nft_watch *watch, bool (*is_news)(const struct nlmsghdr *))
{
	_Alignas(struct nlmsghdr) char buffer[DATAGRAM_MAX];
	const struct netlink_inlet inlet = {.socket = watch->mnl,
					    .buffer = buffer,
					    .size = sizeof(buffer),
					    .datagrams = UINT_MAX};
	struct news news = {.is_news = is_news};

	return netlink_drain(&inlet, take_news, &news) || news.any;
}

bool nft_watch_drain(struct nft_watch *watch)
{
	return drain(watch, is_about_us);
}

bool nft_watch_drain_others(struct nft_watch *watch)
{
	return drain(watch, is_about_others);
}
