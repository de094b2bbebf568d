/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"

/* Room for the notifications of somebody's large reload before one is lost. */
#define RECEIVE_ROOM (1024 * 1024)
#define DATAGRAM_MAX 65536

/*
 * Let the kernel drop the notifications of our own transactions before they take room.
 * A datagram speaks of one transaction, so its first header tells.
 */
static int ignore_own(const struct mnl_socket *mnl, uint32_t own)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct nlmsghdr, nlmsg_pid)),
		/* The port id is in host order, the load in network order. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(own), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = {
		.len = sizeof(code) / sizeof(code[0]),
		.filter = code,
	};

	if (setsockopt(mnl_socket_get_fd(mnl), SOL_SOCKET, SO_ATTACH_FILTER, &program,
		       sizeof(program)) < 0)
		return -errno;
	return 0;
}

int nft_watch_open(struct nft_watch *watch, uint32_t own)
{
	int room = RECEIVE_ROOM;
	int group = NFNLGRP_NFTABLES;
	int error;

	watch->mnl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!watch->mnl || mnl_socket_bind(watch->mnl, 0, MNL_SOCKET_AUTOPID) < 0)
		error = -errno;
	else
		error = ignore_own(watch->mnl, own);
	if (error == 0 && mnl_socket_setsockopt(watch->mnl, NETLINK_ADD_MEMBERSHIP,
						&group, sizeof(group)) < 0)
		error = -errno;
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

void nft_watch_close(struct nft_watch *watch)
{
	if (watch->mnl)
		mnl_socket_close(watch->mnl);
	watch->mnl = NULL;
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

bool nft_watch_drain(struct nft_watch *watch)
{
	_Alignas(struct nlmsghdr) char buffer[DATAGRAM_MAX];
	bool news = false;

	for (;;) {
		ssize_t got = recv(mnl_socket_get_fd(watch->mnl), buffer,
				   sizeof(buffer), MSG_DONTWAIT);
		const struct nlmsghdr *header = (const void *)buffer;
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == ENOBUFS) {
			news = true;
			continue;
		}
		if (got < 0)
			return news;
		for (; mnl_nlmsg_ok(header, left);
		     header = mnl_nlmsg_next(header, &left))
			news = news || is_about_us(header);
	}
}
