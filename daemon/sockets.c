/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/netlink.h"

#define ANSWER_SIZE 4096

struct sockets {
	struct mnl_socket *netlink;
	uint32_t sequence;
};

struct sockets *sockets_new(void)
{
	struct sockets *sockets = calloc(1, sizeof(*sockets));

	if (!sockets)
		return NULL;
	sockets->netlink = netlink_open(NETLINK_SOCK_DIAG, 0);
	if (!sockets->netlink) {
		log_warning("cannot ask the kernel for the gateway's own ports: %s",
			    strerror(errno));
		sockets_free(sockets);
		return NULL;
	}
	return sockets;
}

void sockets_free(struct sockets *sockets)
{
	if (!sockets)
		return;
	netlink_close(sockets->netlink);
	free(sockets);
}

bool sockets_is_used(struct sockets *sockets, uint8_t protocol,
		     const struct ip_addr *address, uint16_t port, uint32_t ifindex)
{
	char buffer[ANSWER_SIZE];
	struct in_addr local = addr_to_ipv4(address);
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *query =
		mnl_nlmsg_put_extra_header(header, sizeof(*query));
	ssize_t length;

	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	header->nlmsg_flags = NLM_F_REQUEST;
	header->nlmsg_seq = ++sockets->sequence;
	query->sdiag_family = AF_INET;
	query->sdiag_protocol = protocol;
	query->idiag_states = UINT32_MAX;
	/* The kernel looks a TCP socket up with src as the local side and a UDP one
	 * with dst: with the same address on both sides it finds the listener either
	 * way. */
	query->id.idiag_sport = htons(port);
	query->id.idiag_dport = htons(port);
	query->id.idiag_src[0] = local.s_addr;
	query->id.idiag_dst[0] = local.s_addr;
	query->id.idiag_if = ifindex;
	query->id.idiag_cookie[0] = (uint32_t)INET_DIAG_NOCOOKIE;
	query->id.idiag_cookie[1] = (uint32_t)INET_DIAG_NOCOOKIE;
	if (mnl_socket_sendto(sockets->netlink, header, header->nlmsg_len) < 0)
		return false;
	length = mnl_socket_recvfrom(sockets->netlink, buffer, sizeof(buffer));
	header = (struct nlmsghdr *)(void *)buffer;
	return length >= (ssize_t)sizeof(*header) &&
	       header->nlmsg_seq == sockets->sequence &&
	       header->nlmsg_type == SOCK_DIAG_BY_FAMILY;
}
