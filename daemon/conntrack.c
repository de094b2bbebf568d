/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/netlink.h"

/* A request for one flow is some 100 octets, the kernel's answer some 300. */
#define MESSAGE_SIZE 4096
/*
 * The kernel answers while it is being asked; should it ever not, nobody waits longer.
 */
#define ANSWER_WAIT_MS 200
/* Answers read for one question: its own, and what is left of one that came too late.
 */
#define ANSWERS_MAX 8

struct conntrack {
	struct mnl_socket *mnl;
	uint32_t seq;
	struct log_limit log_limit;
	char buffer[MESSAGE_SIZE];
};

/* --- one question, one answer --- */

static struct nlmsghdr *start(struct conntrack *conntrack, uint16_t type,
			      uint16_t flags, bool ipv4)
{
	struct nlmsghdr *header =
		netlink_put_netfilter(conntrack->buffer, NFNL_SUBSYS_CTNETLINK, type,
				      flags, ipv4 ? AF_INET : AF_INET6);

	header->nlmsg_seq = ++conntrack->seq;
	return header;
}

static int on_flow(const struct nlmsghdr *answer, void *user)
{
	struct nf_conntrack *found = user;

	if (found && nfct_nlmsg_parse(answer, found) < 0)
		return MNL_CB_ERROR;
	return MNL_CB_STOP;
}

/*
 * Send what is in the buffer and take its answer, a flow or a plain yes or no. Answers
 * to a question that was given up are passed over. Errors: -errno.
 */
static int ask(struct conntrack *conntrack, const struct nlmsghdr *request,
	       struct nf_conntrack *found)
{
	unsigned int port_id = mnl_socket_get_portid(conntrack->mnl);
	uint32_t seq = request->nlmsg_seq;

	if (mnl_socket_sendto(conntrack->mnl, request, request->nlmsg_len) < 0)
		return -errno;
	for (int i = 0; i < ANSWERS_MAX; i++) {
		const struct nlmsghdr *answer = (const void *)conntrack->buffer;
		ssize_t got = mnl_socket_recvfrom(conntrack->mnl, conntrack->buffer,
						  sizeof(conntrack->buffer));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (!mnl_nlmsg_ok(answer, (int)got) || answer->nlmsg_seq != seq)
			continue;
		return mnl_cb_run(conntrack->buffer, (size_t)got, seq, port_id, on_flow,
				  found) < 0
			       ? -errno
			       : 0;
	}
	return -ETIMEDOUT;
}

/* --- flows as the library knows them --- */

static void set_tuple(struct nf_conntrack *out, const struct flow *flow)
{
	if (addr_is_ipv4(&flow->internal)) {
		nfct_set_attr_u8(out, ATTR_L3PROTO, AF_INET);
		nfct_set_attr_u32(out, ATTR_IPV4_SRC,
				  addr_to_ipv4(&flow->internal).s_addr);
		nfct_set_attr_u32(out, ATTR_IPV4_DST,
				  addr_to_ipv4(&flow->remote).s_addr);
	} else {
		nfct_set_attr_u8(out, ATTR_L3PROTO, AF_INET6);
		nfct_set_attr(out, ATTR_IPV6_SRC, flow->internal.bytes);
		nfct_set_attr(out, ATTR_IPV6_DST, flow->remote.bytes);
	}
	nfct_set_attr_u8(out, ATTR_L4PROTO, flow->protocol);
	nfct_set_attr_u16(out, ATTR_PORT_SRC, htons(flow->internal_port));
	nfct_set_attr_u16(out, ATTR_PORT_DST, htons(flow->remote_port));
}

static struct ip_addr get_addr(const struct nf_conntrack *from,
			       enum nf_conntrack_attr ipv4, enum nf_conntrack_attr ipv6)
{
	struct in_addr short_form;
	struct in6_addr long_form;
	const void *octets;

	if (nfct_get_attr_u8(from, ATTR_ORIG_L3PROTO) == AF_INET) {
		short_form.s_addr = nfct_get_attr_u32(from, ipv4);
		return addr_from_ipv4(short_form);
	}
	octets = nfct_get_attr(from, ipv6);
	if (!octets)
		return (struct ip_addr){{0}};
	memcpy(&long_form, octets, sizeof(long_form));
	return addr_from_ipv6(&long_form);
}

static uint16_t get_port(const struct nf_conntrack *from, enum nf_conntrack_attr field)
{
	return ntohs(nfct_get_attr_u16(from, field));
}

/* The one who sent the first packet is the one that was asked about. */
static bool is_begun_by(const struct nf_conntrack *found, const struct flow *flow)
{
	struct ip_addr source = get_addr(found, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC);

	return addr_equal(&source, &flow->internal) &&
	       get_port(found, ATTR_ORIG_PORT_SRC) == flow->internal_port;
}

/*
 * The kernel finds a flow by either of its directions. One that the host began is
 * answered to its external endpoint; one that the peer began, through a lease, was sent
 * there.
 */
static void read_flow(const struct nf_conntrack *found, struct flow *flow)
{
	bool begun = is_begun_by(found, flow);

	flow->external =
		begun ? get_addr(found, ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST)
		      : get_addr(found, ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST);
	flow->external_port =
		get_port(found, begun ? ATTR_REPL_PORT_DST : ATTR_ORIG_PORT_DST);
	/* A flow that a flow table carries says no time: it is in use. */
	flow->left_s = nfct_attr_is_set(found, ATTR_TIMEOUT) > 0
			       ? nfct_get_attr_u32(found, ATTR_TIMEOUT)
			       : 0;
}

/* Asked from the remote side: the other end, behind all translation. */
static void read_other_end(const struct nf_conntrack *found, struct flow *flow)
{
	bool begun = is_begun_by(found, flow);

	flow->remote = begun ? get_addr(found, ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC)
			     : get_addr(found, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC);
	flow->remote_port =
		get_port(found, begun ? ATTR_REPL_PORT_SRC : ATTR_ORIG_PORT_SRC);
}

/* Errors: -ENOENT: no such flow; -errno. */
static int get_flow(struct conntrack *conntrack, struct flow *flow,
		    void (*read)(const struct nf_conntrack *found, struct flow *flow))
{
	struct nf_conntrack *asked = nfct_new();
	struct nf_conntrack *found = nfct_new();
	struct nlmsghdr *request =
		start(conntrack, IPCTNL_MSG_CT_GET, 0, addr_is_ipv4(&flow->internal));
	int error = asked && found ? 0 : -ENOMEM;

	if (error == 0) {
		set_tuple(asked, flow);
		if (nfct_nlmsg_build(request, asked) < 0)
			error = -EINVAL;
	}
	if (error == 0)
		error = ask(conntrack, request, found);
	if (error == 0)
		read(found, flow);
	if (found)
		nfct_destroy(found);
	if (asked)
		nfct_destroy(asked);
	return error;
}

/* Errors: -ENOENT: no such flow any more; -errno. */
static int set_timeout(struct conntrack *conntrack, const struct flow *flow,
		       uint32_t timeout_s)
{
	struct nf_conntrack *asked = nfct_new();
	struct nlmsghdr *request = start(conntrack, IPCTNL_MSG_CT_NEW, NLM_F_ACK,
					 addr_is_ipv4(&flow->internal));
	int error = -EINVAL;

	if (!asked)
		return -ENOMEM;
	set_tuple(asked, flow);
	nfct_set_attr_u32(asked, ATTR_TIMEOUT, timeout_s);
	/* Not NLM_F_CREATE: a flow that nobody sent is none. */
	if (nfct_nlmsg_build(request, asked) >= 0)
		error = ask(conntrack, request, NULL);
	nfct_destroy(asked);
	return error;
}

/* A LAN host can make us ask as often as it likes. */
static void complain(struct conntrack *conntrack, int error)
{
	unsigned int held_back;

	if (!log_limit_pass(&conntrack->log_limit, clock_now_ms(), &held_back))
		return;
	log_warning("conntrack does not answer: %s; is the module nf_conntrack_netlink "
		    "there?",
		    strerror(-error));
}

/* --- the seam --- */

static int open_socket(struct conntrack *conntrack)
{
	const struct timeval wait = {.tv_usec = (suseconds_t)ANSWER_WAIT_MS * 1000};
	int fd;

	conntrack->mnl = netlink_open(NETLINK_NETFILTER, 0);
	if (!conntrack->mnl)
		return -errno;
	fd = mnl_socket_get_fd(conntrack->mnl);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		return -errno;
	return 0;
}

/* Ask for a flow that cannot be: the kernel says so when it understands us at all. */
static int probe(struct conntrack *conntrack)
{
	struct flow nobody = {
		.protocol = IPPROTO_UDP,
		.internal = addr_from_ipv4((struct in_addr){0}),
		.remote = addr_from_ipv4((struct in_addr){0}),
	};
	int error = get_flow(conntrack, &nobody, read_flow);

	return error == -ENOENT ? 0 : error;
}

int conntrack_open(struct conntrack **out)
{
	struct conntrack *conntrack = calloc(1, sizeof(*conntrack));
	int error;

	if (!conntrack)
		return -ENOMEM;
	error = open_socket(conntrack);
	if (error == 0)
		error = probe(conntrack);
	if (error < 0) {
		complain(conntrack, error);
		conntrack_close(conntrack);
		return error;
	}
	*out = conntrack;
	return 0;
}

void conntrack_close(struct conntrack *conntrack)
{
	if (!conntrack)
		return;
	netlink_close(conntrack->mnl);
	free(conntrack);
}

static bool find(struct conntrack *conntrack, struct flow *flow,
		 void (*read)(const struct nf_conntrack *found, struct flow *flow))
{
	int error = get_flow(conntrack, flow, read);

	if (error < 0 && error != -ENOENT)
		complain(conntrack, error);
	return error == 0;
}

bool conntrack_find(struct conntrack *conntrack, struct flow *flow)
{
	return find(conntrack, flow, read_flow);
}

/*
 * By the direction from the remote endpoint. Where that ends at the external endpoint
 * itself it is nobody's flow yet, but of a peer that was early.
 */
bool conntrack_is_taken(struct conntrack *conntrack, const struct flow *flow)
{
	struct flow back = {
		.protocol = flow->protocol,
		.internal = flow->remote,
		.internal_port = flow->remote_port,
		.remote = flow->external,
		.remote_port = flow->external_port,
	};

	return find(conntrack, &back, read_other_end) &&
	       !addr_equal(&back.remote, &flow->external) &&
	       (back.remote_port != flow->internal_port ||
		!addr_equal(&back.remote, &flow->internal));
}

/*
 * Each packet of the flow resets the time to what the kernel gives such flows, 120 s
 * for UDP: what is set here holds while nothing passes. So it is not what a PEER lease
 * rests on. That is its rule, by which the peer reaches the host, and the host leaves
 * with its port, when the kernel has forgotten the flow; this keeps the flow itself in
 * addition, as long as it can be kept.
 */
int conntrack_extend(struct conntrack *conntrack, const struct flow *flow,
		     uint32_t lifetime_s)
{
	struct flow now = *flow;
	int error = get_flow(conntrack, &now, read_flow);

	if (error == 0 && now.left_s < lifetime_s)
		error = set_timeout(conntrack, flow, lifetime_s);
	if (error < 0 && error != -ENOENT)
		complain(conntrack, error);
	return error;
}
