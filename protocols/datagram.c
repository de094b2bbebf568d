/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/datagram.h"

#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* 224.0.0.1 is for the link; a TTL of 1 makes sure that no router takes it further. */
#define MULTICAST_HOPS 1
/* Requests that all hosts send at once, after an announcement, wait here: the default
 * holds 256. The kernel cuts this to net.core.rmem_max. */
#define RECEIVE_BUFFER 1048576

union control {
	struct cmsghdr header;
	/* the larger one, and the hops */
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

/* Everything one recvmmsg() or sendmmsg() points to. */
struct vectors {
	struct mmsghdr headers[DATAGRAM_BATCH_MAX];
	struct iovec iovecs[DATAGRAM_BATCH_MAX];
	struct sockaddr_storage peers[DATAGRAM_BATCH_MAX];
	union control controls[DATAGRAM_BATCH_MAX];
};

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* EADDRNOTAVAIL is IPv4's word for an index that names no interface. */
static int set_multicast(int fd, int family, uint32_t ifindex)
{
	const struct ip_mreqn way = {.imr_ifindex = (int)ifindex};
	int error;

	if (family == AF_INET6)
		error = set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)ifindex);
	else
		error = setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &way, sizeof(way)) <
					0
				? -errno
				: 0;
	return error == -EADDRNOTAVAIL ? -ENODEV : error;
}

static int set_options(int fd, const struct datagram_port *port)
{
	const struct {
		int family; /* 0 = both */
		int level, name, value;
	} rows[] = {
		/* By index, not by name: an interface that was replaced meanwhile is
		 * not ours. */
		{0, SOL_SOCKET, SO_BINDTOIFINDEX, (int)port->ifindex},
		{0, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER},
		{0, SOL_SOCKET, SO_REUSEADDR, port->shared},
		{AF_INET, IPPROTO_IP, IP_PKTINFO, 1},
		/* Nothing for groups that only others on this machine joined. */
		{AF_INET, IPPROTO_IP, IP_MULTICAST_ALL, !port->shared},
		{AF_INET6, IPPROTO_IPV6, IPV6_MULTICAST_ALL, !port->shared},
		{AF_INET, IPPROTO_IP, IP_MULTICAST_TTL, MULTICAST_HOPS},
		{AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, 1},
		{AF_INET6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
		{AF_INET6, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, MULTICAST_HOPS},
	};
	int error = 0;

	for (size_t i = 0; error == 0 && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].family == 0 || rows[i].family == port->family)
			error = set_option(fd, rows[i].level, rows[i].name,
					   rows[i].value);
	return error == 0 ? set_multicast(fd, port->family, port->ifindex) : error;
}

static int bind_port(int fd, const struct datagram_port *port)
{
	struct ip_addr any = addr_from_ipv4((struct in_addr){0});
	struct sockaddr_storage address;
	socklen_t length;

	if (port->family == AF_INET6)
		any = addr_from_ipv6(&in6addr_any);
	length = addr_to_sockaddr(&any, port->port, &address);
	return bind(fd, (const struct sockaddr *)&address, length) < 0 ? -errno : 0;
}

/* Takes nothing in. */
static int set_deaf(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog filter = {.len = 1, .filter = &nothing};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0
		       ? -errno
		       : 0;
}

/* Of the sockets of a port. */
enum place { PLACE_FIRST, PLACE_SECOND, PLACE_SENDER };

static int open_bound(const struct datagram_port *port, enum place place, int *out)
{
	int fd = socket(port->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -errno;
	error = set_options(fd, port);
	if (error == 0 && (place != PLACE_FIRST || port->shared))
		error = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (error == 0 && place == PLACE_SENDER)
		error = set_deaf(fd);
	if (error == 0)
		error = bind_port(fd, port);
	if (error != 0) {
		close(fd);
		return error;
	}
	*out = fd;
	return 0;
}

int datagram_open(const struct datagram_port *port, int *out)
{
	/* Where another server on this port must be noticed SO_REUSEPORT comes later.
	 */
	return open_bound(port, PLACE_FIRST, out);
}

static int join4(int fd, const struct datagram_port *port, const struct ip_addr *group)
{
	const struct ip_mreqn request = {
		.imr_multiaddr = addr_to_ipv4(group),
		.imr_ifindex = (int)port->ifindex,
	};

	return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request,
			  sizeof(request)) < 0
		       ? -errno
		       : 0;
}

static int join6(int fd, const struct datagram_port *port, const struct ip_addr *group)
{
	struct ipv6_mreq request = {.ipv6mr_interface = port->ifindex};

	memcpy(&request.ipv6mr_multiaddr, group->bytes,
	       sizeof(request.ipv6mr_multiaddr));
	return setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request,
			  sizeof(request)) < 0
		       ? -errno
		       : 0;
}

int datagram_join(int fd, const struct datagram_port *port, const struct ip_addr *group)
{
	return port->family == AF_INET6 ? join6(fd, port, group)
					: join4(fd, port, group);
}

int datagram_open_second(int first, const struct datagram_port *port, int *out)
{
	/* Only now that the port is known to be ours does the first one share it. */
	int error = set_option(first, SOL_SOCKET, SO_REUSEPORT, 1);

	return error == 0 ? open_bound(port, PLACE_SECOND, out) : error;
}

int datagram_open_sender(const struct datagram_port *port, int *out)
{
	return open_bound(port, PLACE_SENDER, out);
}

int datagram_select(int first, const struct sock_fprog *choice,
		    const struct sock_fprog *filter)
{
	if (setsockopt(first, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, choice,
		       sizeof(*choice)) < 0 ||
	    setsockopt(first, SOL_SOCKET, SO_ATTACH_FILTER, filter, sizeof(*filter)) <
		    0)
		return -errno;
	return 0;
}

int datagram_select_first(int first)
{
	struct sock_filter zero = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	const struct sock_fprog choice = {.len = 1, .filter = &zero};
	const struct sock_fprog filter = {.len = 1, .filter = &all};

	return datagram_select(first, &choice, &filter);
}

static void prepare_receive(struct vectors *vectors, struct datagram_batch *batch)
{
	for (size_t i = 0; i < DATAGRAM_BATCH_MAX; i++) {
		vectors->iovecs[i] = (struct iovec){
			.iov_base = batch->list[i].bytes,
			.iov_len = DATAGRAM_SIZE_MAX,
		};
		vectors->headers[i].msg_hdr = (struct msghdr){
			.msg_name = &vectors->peers[i],
			.msg_namelen = sizeof(vectors->peers[i]),
			.msg_iov = &vectors->iovecs[i],
			.msg_iovlen = 1,
			.msg_control = &vectors->controls[i],
			.msg_controllen = sizeof(vectors->controls[i]),
		};
	}
}

static void read_way4(const struct cmsghdr *control, struct datagram *out)
{
	struct in_pktinfo info;

	if (control->cmsg_len < CMSG_LEN(sizeof(info)))
		return;
	memcpy(&info, CMSG_DATA(control), sizeof(info));
	out->ifindex = (uint32_t)info.ipi_ifindex;
	out->local = addr_from_ipv4(info.ipi_addr);
}

static void read_way6(const struct cmsghdr *control, struct datagram *out)
{
	struct in6_pktinfo info;

	if (control->cmsg_len < CMSG_LEN(sizeof(info)))
		return;
	memcpy(&info, CMSG_DATA(control), sizeof(info));
	out->ifindex = (uint32_t)info.ipi6_ifindex;
	out->local = addr_from_ipv6(&info.ipi6_addr);
}

/* Where a datagram came in, and to which of our addresses (NP-3, PCP-2). */
static void read_way(struct msghdr *header, struct datagram *out)
{
	out->ifindex = 0; /* no interface: nobody's */
	for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at;
	     at = CMSG_NXTHDR(header, at)) {
		if (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_PKTINFO)
			read_way4(at, out);
		else if (at->cmsg_level == IPPROTO_IPV6 &&
			 at->cmsg_type == IPV6_PKTINFO)
			read_way6(at, out);
	}
}

int datagram_receive(int fd, struct datagram_batch *batch)
{
	struct vectors vectors;
	int count;

	batch->count = 0;
	prepare_receive(&vectors, batch);
	count = recvmmsg(fd, vectors.headers, DATAGRAM_BATCH_MAX, MSG_DONTWAIT, NULL);
	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++) {
		struct msghdr *header = &vectors.headers[i].msg_hdr;
		struct datagram *out = &batch->list[i];

		out->length = (uint16_t)vectors.headers[i].msg_len;
		out->peer = addr_from_sockaddr(&vectors.peers[i]);
		out->peer_port = addr_get_sockaddr_port(&vectors.peers[i]);
		out->truncated = (header->msg_flags & MSG_TRUNC) != 0;
		read_way(header, out);
	}
	batch->count = (size_t)count;
	return 0;
}

/* One item of control; returns the octets it takes. */
static socklen_t write_item(struct cmsghdr *control, int level, int type,
			    const void *data, size_t size)
{
	control->cmsg_level = level;
	control->cmsg_type = type;
	control->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(control), data, size);
	return (socklen_t)CMSG_SPACE(size);
}

static socklen_t write_way4(struct cmsghdr *control, const struct datagram *from)
{
	const struct in_pktinfo info = {
		.ipi_ifindex = (int)from->ifindex,
		.ipi_spec_dst = addr_to_ipv4(&from->local),
	};

	return write_item(control, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
}

static socklen_t write_way6(struct cmsghdr *control, const struct datagram *from)
{
	struct in6_pktinfo info = {.ipi6_ifindex = from->ifindex};

	memcpy(&info.ipi6_addr, from->local.bytes, sizeof(info.ipi6_addr));
	return write_item(control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

static socklen_t write_hops(struct cmsghdr *control, const struct datagram *from)
{
	const int hops = from->hops;

	if (hops == 0)
		return 0;
	return addr_is_ipv4(&from->peer)
		       ? write_item(control, IPPROTO_IP, IP_TTL, &hops, sizeof(hops))
		       : write_item(control, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops,
				    sizeof(hops));
}

/* How it is to leave; returns the octets that takes. */
static socklen_t write_way(union control *control, const struct datagram *from)
{
	socklen_t length;

	memset(control, 0, sizeof(*control));
	length = addr_is_ipv4(&from->peer) ? write_way4(&control->header, from)
					   : write_way6(&control->header, from);
	return length + write_hops((struct cmsghdr *)(control->bytes + length), from);
}

/* An address of the link alone says nothing without the link. */
static socklen_t write_peer(struct sockaddr_storage *peer, const struct datagram *to)
{
	socklen_t length = addr_to_sockaddr(&to->peer, to->peer_port, peer);
	struct sockaddr_in6 in6;

	if (peer->ss_family != AF_INET6)
		return length;
	memcpy(&in6, peer, sizeof(in6));
	if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) ||
	    IN6_IS_ADDR_MC_LINKLOCAL(&in6.sin6_addr))
		in6.sin6_scope_id = to->ifindex;
	memcpy(peer, &in6, sizeof(in6));
	return length;
}

static void prepare_send(struct vectors *vectors, size_t i, struct datagram *from)
{
	union control *control = &vectors->controls[i];
	socklen_t peer_length = write_peer(&vectors->peers[i], from);
	socklen_t length = write_way(control, from);

	vectors->iovecs[i] =
		(struct iovec){.iov_base = from->bytes, .iov_len = from->length};
	vectors->headers[i].msg_hdr = (struct msghdr){
		.msg_name = &vectors->peers[i],
		.msg_namelen = peer_length,
		.msg_iov = &vectors->iovecs[i],
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = length,
	};
}

static bool goes_by(const struct datagram *datagram, const struct datagram_route *route)
{
	return !datagram->left && datagram->ifindex == route->ifindex &&
	       datagram->use == route->use &&
	       addr_is_ipv4(&datagram->peer) == (route->family == AF_INET);
}

struct datagram_outcome datagram_send(int fd, const struct datagram_route *route,
				      struct datagram_batch *batch)
{
	struct datagram_outcome outcome = {0};
	size_t places[DATAGRAM_BATCH_MAX] = {0};
	struct vectors vectors;
	unsigned int count = 0;
	unsigned int done = 0;

	for (size_t i = 0; i < batch->count; i++)
		if (goes_by(&batch->list[i], route)) {
			places[count] = i;
			prepare_send(&vectors, count++, &batch->list[i]);
		}
	while (done < count) {
		int sent = sendmmsg(fd, vectors.headers + done, count - done,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		/* An error is about the first of them alone; the others go on. */
		if (sent <= 0) {
			outcome.failed++;
			sent = 1;
		}
		for (int i = 0; i < sent; i++)
			batch->list[places[done++]].left = true;
	}
	outcome.stuck = count - done;
	return outcome;
}
