/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

struct mnl_socket *netlink_open(int bus, int flags)
{
	struct mnl_socket *socket = mnl_socket_open2(bus, SOCK_CLOEXEC | flags);
	int error;

	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0)
		return socket;
	error = errno;
	netlink_close(socket);
	errno = error;
	return NULL;
}

void netlink_close(struct mnl_socket *socket)
{
	if (socket)
		(void)mnl_socket_close(socket);
}

int netlink_join_group(struct mnl_socket *socket, int group)
{
	return mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &group,
				     sizeof(group)) == 0
		       ? 0
		       : -errno;
}

int netlink_leave_group(struct mnl_socket *socket, int group)
{
	return mnl_socket_setsockopt(socket, NETLINK_DROP_MEMBERSHIP, &group,
				     sizeof(group)) == 0
		       ? 0
		       : -errno;
}

struct nlmsghdr *netlink_put_netfilter(void *at, uint16_t subsystem, uint16_t type,
				       uint16_t flags, uint8_t family)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(at);
	struct nfgenmsg *generic =
		mnl_nlmsg_put_extra_header(message, sizeof(*generic));

	message->nlmsg_type = (uint16_t)(subsystem << 8 | type);
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	generic->nfgen_family = family;
	generic->version = NFNETLINK_V0;
	return message;
}

static int attr_take(const struct nlattr *attr, void *user)
{
	struct netlink_attrs *attrs = user;
	uint16_t type = mnl_attr_get_type(attr);

	if (type < NETLINK_ATTRS_MAX)
		attrs->at[type] = attr;
	return MNL_CB_OK;
}

void netlink_attrs_read(struct netlink_attrs *attrs, const struct nlmsghdr *message,
			size_t header)
{
	*attrs = (struct netlink_attrs){0};
	if (mnl_attr_parse(message, (unsigned int)header, attr_take, attrs) < 0)
		*attrs = (struct netlink_attrs){0};
}

void netlink_attrs_read_nest(struct netlink_attrs *attrs, const struct nlattr *nest)
{
	*attrs = (struct netlink_attrs){0};
	if (nest && mnl_attr_parse_nested(nest, attr_take, attrs) < 0)
		*attrs = (struct netlink_attrs){0};
}

bool netlink_drain(const struct netlink_inlet *inlet, netlink_take *take, void *user)
{
	bool lost = false;

	for (unsigned int i = 0; i < inlet->datagrams; i++) {
		const struct nlmsghdr *message = inlet->buffer;
		ssize_t got = recv(mnl_socket_get_fd(inlet->socket), inlet->buffer,
				   inlet->size, MSG_DONTWAIT);
		int left = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		/* Others may follow. */
		if (got < 0 && errno == ENOBUFS) {
			lost = true;
			continue;
		}
		if (got <= 0)
			break;
		for (; mnl_nlmsg_ok(message, left);
		     message = mnl_nlmsg_next(message, &left))
			take(user, message);
	}
	return lost;
}

bool netlink_clear_interruption(void *messages, size_t length)
{
	struct nlmsghdr *message = messages;
	bool interrupted = false;
	int left = (int)length;

	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		interrupted = interrupted || message->nlmsg_flags & NLM_F_DUMP_INTR;
		message->nlmsg_flags &= (uint16_t)~NLM_F_DUMP_INTR;
	}
	return interrupted;
}
