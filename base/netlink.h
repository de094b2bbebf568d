/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_NETLINK_H
#define BASE_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mnl_socket;
struct nlattr;
struct nlmsghdr;

/* What all that speaks netlink does alike. How long to wait for an answer, and what to
 * do without one, is each one's own matter.
 */

/**
 * A socket with an address of its own, closed on exec. bus: NETLINK_ROUTE and so on;
 * flags: SOCK_NONBLOCK or 0. Errors: NULL, errno says why.
 */
struct mnl_socket *netlink_open(int bus, int flags) __attribute__((warn_unused_result));
/** socket may be NULL. */
void netlink_close(struct mnl_socket *socket);
/** Hear what is told to a group, RTNLGRP_LINK and so on. Errors: -errno. */
int netlink_join_group(struct mnl_socket *socket, int group)
	__attribute__((warn_unused_result));

/** The contrary. Errors: -errno. */
int netlink_leave_group(struct mnl_socket *socket, int group)
	__attribute__((warn_unused_result));

/**
 * Begin a request to netfilter at `at`, for the caller to number; subsystem:
 * NFNL_SUBSYS_...
 */
struct nlmsghdr *netlink_put_netfilter(void *at, uint16_t subsystem, uint16_t type,
				       uint16_t flags, uint8_t family);

/** Attributes by type; those beyond are none we read. */
#define NETLINK_ATTRS_MAX 32
struct netlink_attrs {
	const struct nlattr *at[NETLINK_ATTRS_MAX];
};

/**
 * header: octets of the family's own header, which the caller has found there.
 * Owns: borrows from the message.
 */
void netlink_attrs_read(struct netlink_attrs *attrs, const struct nlmsghdr *message,
			size_t header);
/** nest may be NULL: nothing in it. */
void netlink_attrs_read_nest(struct netlink_attrs *attrs, const struct nlattr *nest);

/**
 * Take the flag from messages that says that a dump was interrupted, for libmnl ends a
 * dump there. True when one had it.
 */
bool netlink_clear_interruption(void *messages, size_t length);

/** Where news is read from, and how much of it at once. */
struct netlink_inlet {
	struct mnl_socket *socket;
	void *buffer; /* aligned for a struct nlmsghdr */
	size_t size;
	unsigned int datagrams; /* at the most */
};

typedef void netlink_take(void *user, const struct nlmsghdr *message);

/**
 * Take the messages that are there, without waiting. True when the kernel has dropped
 * some before: anything may have changed.
 */
bool netlink_drain(const struct netlink_inlet *inlet, netlink_take *take, void *user)
	__attribute__((warn_unused_result));

#endif
