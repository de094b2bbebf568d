/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/datagram.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* 224.0.0.1 is for the link; a TTL of 1 makes sure that no router takes it further. */
#define MULTICAST_TTL 1
/* Requests that all hosts send at once, after an announcement, wait here: the default
 * holds 256. The kernel cuts this to net.core.rmem_max. */
#define RECEIVE_BUFFER 1048576

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
};

/* Everything one recvmmsg() or sendmmsg() points to. */
struct vectors {
	struct mmsghdr headers[DATAGRAM_BATCH_MAX];
	struct iovec iovecs[DATAGRAM_BATCH_MAX];
	struct sockaddr_storage peers[DATAGRAM_BATCH_MAX];
	union control controls[DATAGRAM_BATCH_MAX];
};

static int set_options(int fd, uint32_t ifindex)
{
	struct ip_mreqn multicast = {.imr_ifindex = (int)ifindex};
	const int device = (int)ifindex;
	const int buffer = RECEIVE_BUFFER;
	const int ttl = MULTICAST_TTL;
	const int on = 1;

	/* By index, not by name: an interface that was replaced meanwhile is not ours.
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &device, sizeof(device)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl)) < 0)
		return -errno;
	if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &multicast, sizeof(multicast)) <
	    0)
		/* The kernel's word for an index that names no interface. */
		return errno == EADDRNOTAVAIL ? -ENODEV : -errno;
	return 0;
}

int datagram_open_ipv4(uint32_t ifindex, uint16_t port, int *out)
{
	struct ip_addr any = addr_from_ipv4((struct in_addr){0});
	struct sockaddr_storage address;
	socklen_t length = addr_to_sockaddr(&any, port, &address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -errno;
	/* No SO_REUSEADDR: another server on this port must be noticed. */
	error = set_options(fd, ifindex);
	if (error == 0 && bind(fd, (const struct sockaddr *)&address, length) < 0)
		error = -errno;
	if (error != 0) {
		close(fd);
		return error;
	}
	*out = fd;
	return 0;
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

/* Where a datagram came in, by IP_PKTINFO (NP-3). Errors: false, the kernel does not
 * say. */
static bool read_way(struct msghdr *header, struct datagram *out)
{
	struct in_pktinfo info;

	for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at;
	     at = CMSG_NXTHDR(header, at)) {
		if (at->cmsg_level != IPPROTO_IP || at->cmsg_type != IP_PKTINFO ||
		    at->cmsg_len < CMSG_LEN(sizeof(info)))
			continue;
		memcpy(&info, CMSG_DATA(at), sizeof(info));
		out->ifindex = (uint32_t)info.ipi_ifindex;
		out->local = addr_from_ipv4(info.ipi_addr);
		return true;
	}
	return false;
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
		if (!read_way(header, out))
			out->ifindex = 0; /* no interface: nobody's */
	}
	batch->count = (size_t)count;
	return 0;
}

static void prepare_send(struct vectors *vectors, size_t i, struct datagram *from)
{
	struct in_pktinfo info = {
		.ipi_ifindex = (int)from->ifindex,
		.ipi_spec_dst = addr_to_ipv4(&from->local),
	};
	struct cmsghdr *control = &vectors->controls[i].header;

	memset(&vectors->controls[i], 0, sizeof(vectors->controls[i]));
	control->cmsg_level = IPPROTO_IP;
	control->cmsg_type = IP_PKTINFO;
	control->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(control), &info, sizeof(info));
	vectors->iovecs[i] =
		(struct iovec){.iov_base = from->bytes, .iov_len = from->length};
	vectors->headers[i].msg_hdr = (struct msghdr){
		.msg_name = &vectors->peers[i],
		.msg_namelen = addr_to_sockaddr(&from->peer, from->peer_port,
						&vectors->peers[i]),
		.msg_iov = &vectors->iovecs[i],
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(vectors->controls[i]),
	};
}

void datagram_send(int fd, uint32_t ifindex, struct datagram_batch *batch)
{
	struct vectors vectors;
	unsigned int count = 0;
	unsigned int done = 0;

	for (size_t i = 0; i < batch->count; i++)
		if (batch->list[i].ifindex == ifindex)
			prepare_send(&vectors, count++, &batch->list[i]);
	while (done < count) {
		int sent = sendmmsg(fd, vectors.headers + done, count - done,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		/* An error is about the first of them alone; the others go on. */
		done += sent > 0 ? (unsigned int)sent : 1;
	}
}
