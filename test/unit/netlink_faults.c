/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/netlink_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"

#define LOST_MAX 65536
#define BATCH_BEGIN NLMSG_MIN_TYPE

static struct {
	enum fault_kind kind;
	size_t call; /* still to come, this one too */
	int error;
	bool happened;
	bool held;
	int answers_on; /* the kernel's refusal waits on this socket; -1 = none */
	uint32_t seq;	/* of what it refuses */
} plan = {.answers_on = -1};

void fault_arm(enum fault_kind kind, size_t call, int error)
{
	plan.kind = kind;
	plan.call = call;
	plan.error = error;
	plan.happened = false;
	plan.held = false;
	plan.answers_on = -1;
}

bool fault_disarm(void)
{
	plan.kind = FAULT_NONE;
	plan.answers_on = -1;
	return plan.happened;
}

bool fault_has_happened(void)
{
	return plan.happened;
}

void fault_hold(bool held)
{
	plan.held = held;
}

/*
 * What libnftables opens, unlike us, without FD_CLOEXEC: it takes a later answer for
 * the one that it was interrupted in, and ends the process. Nothing interrupts core
 * there.
 */
static bool is_spared(int fd)
{
	return plan.kind == FAULT_RECEIVE && plan.error == EINTR &&
	       (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
}

static bool is_due(int fd, bool sends)
{
	int domain = 0;
	socklen_t length = sizeof(domain);

	if (plan.kind == FAULT_NONE || plan.held || plan.happened ||
	    (plan.kind != FAULT_RECEIVE) != sends || is_spared(fd) ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 ||
	    domain != AF_NETLINK || --plan.call > 0)
		return false;
	plan.happened = true;
	return true;
}

/* A transaction is refused by the number of its first change. */
static uint32_t find_seq(const void *bytes, size_t length)
{
	struct nlmsghdr header;

	memcpy(&header, bytes, sizeof(header));
	if (header.nlmsg_type == BATCH_BEGIN && length > header.nlmsg_len)
		memcpy(&header, (const uint8_t *)bytes + NLMSG_ALIGN(header.nlmsg_len),
		       sizeof(header));
	return header.nlmsg_seq;
}

static ssize_t fail_send(int fd, const void *bytes, size_t length)
{
	if (plan.kind == FAULT_SEND) {
		errno = plan.error;
		return -1;
	}
	plan.answers_on = fd;
	plan.seq = find_seq(bytes, length);
	return (ssize_t)length;
}

static size_t write_refusal(int fd, void *out, size_t size)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} answer = {0};
	struct sockaddr_nl own = {0};
	socklen_t length = sizeof(own);

	(void)getsockname(fd, (struct sockaddr *)&own, &length);
	answer.header.nlmsg_len = sizeof(answer);
	answer.header.nlmsg_type = NLMSG_ERROR;
	answer.header.nlmsg_seq = plan.seq;
	answer.header.nlmsg_pid = own.nl_pid;
	answer.error.error = -plan.error;
	answer.error.msg.nlmsg_seq = plan.seq;
	plan.answers_on = -1;
	memcpy(out, &answer, size < sizeof(answer) ? size : sizeof(answer));
	return sizeof(answer);
}

static ssize_t fail_receive(int fd)
{
	static char lost[LOST_MAX];

	if (plan.error == ENOBUFS)
		(void)syscall(SYS_recvfrom, fd, lost, sizeof(lost), MSG_DONTWAIT, NULL,
			      NULL);
	errno = plan.error;
	return -1;
}

/*
 * --- in the place of the C library's ---
 *
 * The last two arguments of the two functions with six are read as variable ones, which
 * come the same way.
 */

ssize_t fault_call_sendto(int fd, const void *bytes, size_t length, int flags,
			  ...) __asm__("sendto");
ssize_t fault_call_send(int fd, const void *bytes, size_t length,
			int flags) __asm__("send");
ssize_t fault_call_sendmsg(int fd, const struct msghdr *message,
			   int flags) __asm__("sendmsg");
ssize_t fault_call_recvfrom(int fd, void *out, size_t size, int flags,
			    ...) __asm__("recvfrom");
ssize_t fault_call_recv(int fd, void *out, size_t size, int flags) __asm__("recv");
ssize_t fault_call_recvmsg(int fd, struct msghdr *message,
			   int flags) __asm__("recvmsg");

static ssize_t send_bytes(int fd, struct iovec bytes, int flags,
			  const struct sockaddr *to, socklen_t to_length)
{
	if (is_due(fd, true))
		return fail_send(fd, bytes.iov_base, bytes.iov_len);
	return syscall(SYS_sendto, fd, bytes.iov_base, bytes.iov_len, flags, to,
		       to_length);
}

static ssize_t receive_bytes(int fd, struct iovec room, int flags,
			     struct sockaddr *from, socklen_t *from_length)
{
	if (plan.answers_on == fd)
		return (ssize_t)write_refusal(fd, room.iov_base, room.iov_len);
	if (is_due(fd, false))
		return fail_receive(fd);
	return syscall(SYS_recvfrom, fd, room.iov_base, room.iov_len, flags, from,
		       from_length);
}

ssize_t fault_call_sendto(int fd, const void *bytes, size_t length, int flags, ...)
{
	const struct sockaddr *to;
	socklen_t to_length;
	va_list rest;

	va_start(rest, flags);
	to = va_arg(rest, const struct sockaddr *);
	to_length = va_arg(rest, socklen_t);
	va_end(rest);
	return send_bytes(fd, (struct iovec){(void *)(uintptr_t)bytes, length}, flags,
			  to, to_length);
}

ssize_t fault_call_send(int fd, const void *bytes, size_t length, int flags)
{
	return send_bytes(fd, (struct iovec){(void *)(uintptr_t)bytes, length}, flags,
			  NULL, 0);
}

/* libnftables sends its transactions so, and asks select() for answers. */
ssize_t fault_call_sendmsg(int fd, const struct msghdr *message, int flags)
{
	if (plan.kind == FAULT_SEND && is_due(fd, true)) {
		errno = plan.error;
		return -1;
	}
	return syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t fault_call_recvfrom(int fd, void *out, size_t size, int flags, ...)
{
	struct sockaddr *from;
	socklen_t *from_length;
	va_list rest;

	va_start(rest, flags);
	from = va_arg(rest, struct sockaddr *);
	from_length = va_arg(rest, socklen_t *);
	va_end(rest);
	return receive_bytes(fd, (struct iovec){out, size}, flags, from, from_length);
}

ssize_t fault_call_recv(int fd, void *out, size_t size, int flags)
{
	return receive_bytes(fd, (struct iovec){out, size}, flags, NULL, NULL);
}

ssize_t fault_call_recvmsg(int fd, struct msghdr *message, int flags)
{
	if (plan.answers_on == fd) {
		const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

		if (message->msg_name && message->msg_namelen >= sizeof(kernel))
			memcpy(message->msg_name, &kernel, sizeof(kernel));
		message->msg_namelen = sizeof(kernel);
		message->msg_flags = 0;
		message->msg_controllen = 0;
		return (ssize_t)write_refusal(fd, message->msg_iov[0].iov_base,
					      message->msg_iov[0].iov_len);
	}
	if (is_due(fd, false))
		return fail_receive(fd);
	return syscall(SYS_recvmsg, fd, message, flags);
}
