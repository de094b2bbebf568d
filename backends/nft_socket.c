/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "base/log.h"
#include "base/netlink.h"

/* Errors of a transaction that fails wait here until we read them. */
#define RECEIVE_ROOM ((size_t)1024 * 1024)
/* A transaction is one datagram: room for most of them, made at once. */
#define SEND_ROOM ((size_t)2 * 1024 * 1024)
/* The kernel counts its own bookkeeping too when it asks whether a datagram fits. */
#define SEND_OVERHEAD 4096

static bool kernel_is_at_least(unsigned int major, unsigned int minor)
{
	struct utsname name;
	char *end;
	unsigned long there;

	if (uname(&name) < 0)
		return false;
	there = strtoul(name.release, &end, 10);
	if (there != major || *end != '.')
		return there > major;
	return strtoul(end + 1, NULL, 10) >= minor;
}

static void set_room(struct mnl_socket *mnl, int forced, int plain, size_t octets)
{
	int fd = mnl_socket_get_fd(mnl);
	int value = octets > INT_MAX / 2 ? INT_MAX / 2 : (int)octets;

	/* Forced wants CAP_NET_ADMIN, which we have; else as much as there is. */
	if (setsockopt(fd, SOL_SOCKET, forced, &value, sizeof(value)) < 0 &&
	    setsockopt(fd, SOL_SOCKET, plain, &value, sizeof(value)) < 0)
		log_debug("netlink buffer of %d octets refused: %s", value,
			  strerror(errno));
}

static int prepare(struct nft_socket *nft)
{
	int on = 1;

	nft->mnl = netlink_open(NETLINK_NETFILTER, 0);
	if (!nft->mnl)
		return -errno;
	nft->port_id = mnl_socket_get_portid(nft->mnl);
	/* An error need not bring back the megabyte that it is about. */
	if (mnl_socket_setsockopt(nft->mnl, NETLINK_CAP_ACK, &on, sizeof(on)) < 0)
		log_debug("NETLINK_CAP_ACK refused: %s", strerror(errno));
	set_room(nft->mnl, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_ROOM);
	set_room(nft->mnl, SO_SNDBUFFORCE, SO_SNDBUF, SEND_ROOM);
	nft->send_room = SEND_ROOM;
	nft->buffer = malloc(NFT_BUFFER_SIZE);
	return nft->buffer ? 0 : -ENOMEM;
}

int nft_socket_open(struct nft_socket *nft)
{
	int error;

	*nft = (struct nft_socket){
		.seq = 1,
		.updates = kernel_is_at_least(6, 12),
		.destroys = kernel_is_at_least(6, 3),
	};
	error = prepare(nft);
	if (error == 0)
		return 0;
	log_error("cannot open a netfilter netlink socket: %s; the kernel needs "
		  "CONFIG_NETFILTER_NETLINK",
		  strerror(-error));
	nft_socket_close(nft);
	return error;
}

void nft_socket_close(struct nft_socket *nft)
{
	netlink_close(nft->mnl);
	free(nft->buffer);
	*nft = (struct nft_socket){0};
}

static int ignore_answer(const struct nlmsghdr *answer, void *user)
{
	(void)answer;
	(void)user;
	return 0;
}

int nft_socket_probe(struct nft_socket *nft)
{
	struct nlmsghdr *request = nft_socket_start(nft, NFT_MSG_GETGEN, 0);
	int error = nft_socket_ask(nft, request, ignore_answer, NULL);

	if (error == 0)
		return 0;
	if (error == -EPERM)
		log_error("not allowed to change the firewall: run as root or with "
			  "CAP_NET_ADMIN");
	else
		log_error(
			"the kernel has no nf_tables (%s): load the module nf_tables, "
			"or choose another type in [backend]",
			strerror(-error));
	return error == -EINVAL ? -EPROTONOSUPPORT : error;
}

struct nlmsghdr *nft_socket_start(struct nft_socket *nft, uint16_t type, uint16_t flags)
{
	return nftnl_nlmsg_build_hdr((char *)nft->buffer, type, NFPROTO_INET, flags,
				     nft->seq++);
}

struct ask {
	int (*visit)(const struct nlmsghdr *answer, void *user);
	void *user;
	bool interrupted;
	int error;
};

static int on_answer(const struct nlmsghdr *answer, void *user)
{
	struct ask *ask = user;
	int result;

	result = ask->visit(answer, ask->user);
	if (result < 0 && ask->error == 0)
		ask->error = result;
	/* Read to the end whatever visit says: the next request wants a clean socket.
	 */
	return MNL_CB_OK;
}

/*
 * The kernel answers before it returns from what asks it, and goes on with a dump when
 * one part of it is read: what is not there now was lost, and waiting would not end.
 * Errors: -errno, -EIO for that.
 */
static ssize_t receive(struct nft_socket *nft)
{
	ssize_t got;

	do
		got = recv(mnl_socket_get_fd(nft->mnl), nft->buffer, NFT_BUFFER_SIZE,
			   MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -EIO : -errno;
	return got;
}

/* Something went wrong: the next request must not meet the answers to this one. */
static void drop_answers(struct nft_socket *nft)
{
	ssize_t got;

	do
		got = receive(nft);
	while (got > 0 || got == -ENOBUFS);
}

/* Errors: -errno, answers may be left. */
static int read_answers(struct nft_socket *nft, uint32_t seq, struct ask *ask)
{
	int result;

	do {
		ssize_t got = receive(nft);

		if (got < 0)
			return (int)got;
		if (netlink_clear_interruption(nft->buffer, (size_t)got))
			ask->interrupted = true;
		result = mnl_cb_run(nft->buffer, (size_t)got, seq, nft->port_id,
				    on_answer, ask);
		if (result < 0)
			return errno == ESRCH ? -EPROTO : -errno;
	} while (result == MNL_CB_OK);
	return 0;
}

/* mnl_cb_run() wants to see every answer's own end: an ack, or the end of a dump. */
int nft_socket_ask(struct nft_socket *nft, struct nlmsghdr *request,
		   int (*visit)(const struct nlmsghdr *answer, void *user), void *user)
{
	struct ask ask = {.visit = visit, .user = user};
	uint32_t seq = request->nlmsg_seq;
	int error;

	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (mnl_socket_sendto(nft->mnl, request, request->nlmsg_len) < 0)
		return -errno;
	error = read_answers(nft, seq, &ask);
	if (error < 0) {
		drop_answers(nft);
		return error;
	}
	if (ask.error < 0)
		return ask.error;
	return ask.interrupted ? -EINTR : 0;
}

static int make_send_room(struct nft_socket *nft, size_t octets)
{
	if (octets > INT_MAX / 4)
		return -EMSGSIZE;
	if (octets + SEND_OVERHEAD <= nft->send_room)
		return 0;
	set_room(nft->mnl, SO_SNDBUFFORCE, SO_SNDBUF, octets + SEND_OVERHEAD);
	nft->send_room = octets + SEND_OVERHEAD;
	return 0;
}

/*
 * Everything that the kernel says of a transaction waits when sendmsg() returns, in the
 * order of its messages, but that it failed as a whole comes first. So nothing follows
 * the acknowledgement of the last one.
 */
static int collect(struct nft_socket *nft, uint32_t last_seq)
{
	int error = 0;
	bool acknowledged = false;

	while (!acknowledged || error != 0) {
		ssize_t got = receive(nft);
		const struct nlmsghdr *header = (const void *)nft->buffer;
		int left = (int)got;

		if (got < 0 && got != -EIO && error == 0)
			error = (int)got;
		if (got == -ENOBUFS)
			continue;
		if (got < 0)
			break;
		for (; mnl_nlmsg_ok(header, left);
		     header = mnl_nlmsg_next(header, &left)) {
			const struct nlmsgerr *answer = mnl_nlmsg_get_payload(header);

			if (header->nlmsg_type != NLMSG_ERROR)
				continue;
			if (answer->error < 0 && error == 0)
				error = answer->error;
			if (answer->error == 0 && header->nlmsg_seq == last_seq)
				acknowledged = true;
		}
	}
	if (error == 0 && !acknowledged)
		return -EIO;
	return error;
}

int nft_socket_send(struct nft_socket *nft, const uint8_t *bytes, size_t length,
		    uint32_t last_seq)
{
	int error = make_send_room(nft, length);

	if (error < 0)
		return error;
	if (mnl_socket_sendto(nft->mnl, bytes, length) < 0)
		return -errno;
	return collect(nft, last_seq);
}
