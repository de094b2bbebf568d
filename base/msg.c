/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/msg.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg_queue.h"

/* What the kernel may hold for a reader that is busy with a transaction; a bound, not
 * an allocation. */
#define MSG_SOCKET_BUFFER (1024 * 1024)
/* Longest pause of a reader. */
#define MSG_PAUSE_MAX_MS 100
/* What msg_deliver() answers when the peer has closed its end. */
#define MSG_PEER_GONE 1

/* Room for one descriptor; a second one makes the kernel set MSG_CTRUNC. */
union msg_control {
	struct cmsghdr header;
	char bytes[CMSG_LEN(sizeof(int))];
};

/* What was read and not yet handed over: the messages of some datagrams. */
struct msg_inbox {
	unsigned int count; /* datagrams */
	unsigned int next;  /* the one at hand */
	size_t offset;	    /* of the next message in it */
	uint8_t *slots;	    /* not touched, so not resident, before a burst comes */
	struct mmsghdr headers[MSG_BATCH_MAX];
	struct iovec iovecs[MSG_BATCH_MAX];
	union msg_control controls[MSG_BATCH_MAX];
	_Alignas(uint64_t) uint8_t body[MSG_BODY_MAX];
};

struct msg_channel {
	int fd;
	bool busy;    /* inside a handler's callback: free later */
	bool freed;   /* by its owner, while busy */
	bool ended;   /* nothing comes or goes any more */
	bool blocked; /* the peer reads slowly: wait until the socket is writable */
	unsigned int pause_ms;
	struct event *readable;
	struct event *writable;
	struct event *paused; /* reads in the place of `readable`, later */
	struct msg_handler handler;
	void *user;
	struct msg_queue queue;
	struct msg_inbox inbox;
};

/* The descriptor that came with a datagram, or -1. */
static int msg_steal_fd(struct msghdr *header)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(header);
	int fd = -1;

	if (control && control->cmsg_level == SOL_SOCKET &&
	    control->cmsg_type == SCM_RIGHTS &&
	    control->cmsg_len >= CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(control), sizeof(fd));
	header->msg_controllen = 0;
	return fd;
}

/* Of what nobody will be handed only the descriptors matter. */
static void msg_inbox_drop(struct msg_inbox *inbox)
{
	for (; inbox->next < inbox->count; inbox->next++) {
		int fd = msg_steal_fd(&inbox->headers[inbox->next].msg_hdr);

		if (fd >= 0)
			close(fd);
	}
	inbox->offset = 0;
}

static void msg_destroy(struct msg_channel *channel)
{
	if (channel->readable)
		event_free(channel->readable);
	if (channel->writable)
		event_free(channel->writable);
	if (channel->paused)
		event_free(channel->paused);
	msg_queue_fini(&channel->queue);
	msg_inbox_drop(&channel->inbox);
	free(channel->inbox.slots);
	free(channel);
}

static void msg_enter(struct msg_channel *channel)
{
	channel->busy = true;
}

static void msg_leave(struct msg_channel *channel)
{
	channel->busy = false;
	if (channel->freed)
		msg_destroy(channel);
}

/* Nothing more in either direction. Call between msg_enter() and msg_leave(). */
static void msg_end(struct msg_channel *channel, int error)
{
	channel->ended = true;
	event_del(channel->readable);
	event_del(channel->paused);
	event_del(channel->writable);
	msg_queue_clear(&channel->queue);
	if (channel->handler.ended)
		channel->handler.ended(channel->user, error);
}

static void msg_on_writable(evutil_socket_t fd, short what, void *user)
{
	struct msg_channel *channel = user;
	int error;

	(void)fd;
	(void)what;
	channel->blocked = false;
	error = msg_queue_send(&channel->queue, channel->fd);
	if (error == 0)
		return;
	if (error == -EAGAIN) {
		channel->blocked = true;
		event_add(channel->writable, NULL);
		return;
	}
	/* Of a peer that is gone the reading side learns, after its last messages. */
	if (error == -EPIPE || error == -ECONNRESET) {
		msg_queue_clear(&channel->queue);
		return;
	}
	msg_enter(channel);
	msg_end(channel, error);
	msg_leave(channel);
}

/* Errors: MSG_PEER_GONE, -errno. */
static int msg_inbox_check(const struct mmsghdr *datagram)
{
	if (datagram->msg_len == 0)
		return MSG_PEER_GONE;
	if (datagram->msg_hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EMSGSIZE;
	return 0;
}

/* The next message of the datagram at hand into `body`. Errors: -EBADMSG. */
static int msg_inbox_take(struct msg_inbox *inbox, struct msg_frame *frame)
{
	const uint8_t *at = inbox->slots + inbox->next * MSG_DATAGRAM_MAX;
	size_t left = inbox->headers[inbox->next].msg_len - inbox->offset;

	if (left < sizeof(*frame))
		return -EBADMSG;
	memcpy(frame, at + inbox->offset, sizeof(*frame));
	left -= sizeof(*frame);
	if (frame->sent > left || frame->sent > frame->length ||
	    frame->length > MSG_BODY_MAX)
		return -EBADMSG;
	memcpy(inbox->body, at + inbox->offset + sizeof(*frame), frame->sent);
	memset(inbox->body + frame->sent, 0, (size_t)(frame->length - frame->sent));
	inbox->offset += sizeof(*frame) + frame->sent;
	if (left > frame->sent)
		return 0;
	inbox->next++;
	inbox->offset = 0;
	return 0;
}

/* Hand over one message. A descriptor belongs to the first one of its datagram.
 * Errors: MSG_PEER_GONE, -errno. */
static int msg_deliver(struct msg_channel *channel)
{
	struct msg_inbox *inbox = &channel->inbox;
	struct mmsghdr *datagram = &inbox->headers[inbox->next];
	int error = inbox->offset == 0 ? msg_inbox_check(datagram) : 0;
	int fd = inbox->offset == 0 ? msg_steal_fd(&datagram->msg_hdr) : -1;
	struct msg_frame frame;

	if (error == 0)
		error = msg_inbox_take(inbox, &frame);
	if (error != 0) {
		if (fd >= 0)
			close(fd);
		return error;
	}
	return channel->handler.message(channel->user, frame.type, inbox->body,
					frame.length, fd);
}

/* The messages of one wake-up; none after the first error, or when it was freed. */
static int msg_deliver_batch(struct msg_channel *channel)
{
	struct msg_inbox *inbox = &channel->inbox;
	int error = 0;

	for (int i = 0; i < MSG_BATCH_MAX && inbox->next < inbox->count; i++) {
		error = msg_deliver(channel);
		if (error != 0 || channel->freed) {
			msg_inbox_drop(inbox);
			break;
		}
	}
	return error;
}

static void msg_reset_header(struct msg_inbox *inbox, unsigned int i)
{
	struct msghdr *header = &inbox->headers[i].msg_hdr;

	header->msg_control = &inbox->controls[i];
	header->msg_controllen = CMSG_LEN(sizeof(int));
	header->msg_flags = 0;
}

/* Read what is there. Errors: -errno; -EAGAIN: nothing. */
static int msg_receive(struct msg_channel *channel)
{
	struct msg_inbox *inbox = &channel->inbox;
	int count;

	for (unsigned int i = 0; i < inbox->count; i++)
		msg_reset_header(inbox, i);
	inbox->count = 0;
	inbox->next = 0;
	count = recvmmsg(channel->fd, inbox->headers, MSG_BATCH_MAX,
			 MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
	if (count >= 0)
		inbox->count = (unsigned int)count;
	/* ECONNRESET is said once, when the peer left something unread; its own last
	 * messages and the end of the stream follow. */
	else if (errno == EINTR || errno == ECONNRESET)
		return -EAGAIN;
	return count < 0 ? -errno : 0;
}

static bool msg_has_rest(const struct msg_channel *channel)
{
	return channel->inbox.next < channel->inbox.count;
}

static void msg_read(struct msg_channel *channel)
{
	const struct timeval at_once = {0};
	int error = msg_has_rest(channel) ? 0 : msg_receive(channel);

	if (error == -EAGAIN)
		return;
	msg_enter(channel);
	if (error == 0)
		error = msg_deliver_batch(channel);
	if (!channel->freed && channel->handler.drained)
		channel->handler.drained(channel->user);
	if (!channel->freed && error != 0)
		msg_end(channel, error == MSG_PEER_GONE ? 0 : error);
	/* Others have their turn before the rest has. */
	if (!channel->ended && msg_has_rest(channel))
		event_add(channel->paused, &at_once);
	msg_leave(channel);
}

static void msg_on_readable(evutil_socket_t fd, short what, void *user)
{
	struct msg_channel *channel = user;
	const struct timeval pause = {.tv_usec = channel->pause_ms * 1000L};

	(void)fd;
	(void)what;
	if (channel->pause_ms > 0 && !msg_has_rest(channel) &&
	    event_add(channel->paused, &pause) == 0)
		event_del(channel->readable);
	else
		msg_read(channel);
}

static void msg_on_paused(evutil_socket_t fd, short what, void *user)
{
	struct msg_channel *channel = user;

	(void)fd;
	(void)what;
	/* first: what is read may free the channel */
	event_add(channel->readable, NULL);
	msg_read(channel);
}

static int msg_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static void msg_init_inbox(struct msg_inbox *inbox)
{
	for (unsigned int i = 0; i < MSG_BATCH_MAX; i++) {
		inbox->iovecs[i].iov_base = inbox->slots + i * MSG_DATAGRAM_MAX;
		inbox->iovecs[i].iov_len = MSG_DATAGRAM_MAX;
		inbox->headers[i].msg_hdr.msg_iov = &inbox->iovecs[i];
		inbox->headers[i].msg_hdr.msg_iovlen = 1;
		msg_reset_header(inbox, i);
	}
}

struct msg_channel *msg_channel_new(struct event_base *base, int fd,
				    const struct msg_handler *handler, void *user)
{
	struct msg_channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->fd = fd;
	channel->handler = *handler;
	channel->user = user;
	channel->inbox.slots = malloc(MSG_BATCH_MAX * MSG_DATAGRAM_MAX);
	channel->readable =
		event_new(base, fd, EV_READ | EV_PERSIST, msg_on_readable, channel);
	channel->writable = event_new(base, fd, EV_WRITE, msg_on_writable, channel);
	channel->paused = event_new(base, -1, 0, msg_on_paused, channel);
	if (!channel->inbox.slots || !channel->readable || !channel->writable ||
	    !channel->paused || msg_set_nonblocking(fd) < 0) {
		msg_destroy(channel);
		return NULL;
	}
	msg_init_inbox(&channel->inbox);
	if (event_add(channel->readable, NULL) < 0) {
		msg_destroy(channel);
		return NULL;
	}
	return channel;
}

void msg_channel_free(struct msg_channel *channel)
{
	if (!channel || channel->freed)
		return;
	/* A last word that fits into the socket still goes out; nobody waits for it. */
	if (!channel->ended)
		(void)!msg_queue_send(&channel->queue, channel->fd);
	msg_queue_clear(&channel->queue);
	event_del(channel->readable);
	event_del(channel->paused);
	event_del(channel->writable);
	close(channel->fd);
	channel->freed = true;
	channel->ended = true;
	if (!channel->busy)
		msg_destroy(channel);
}

void msg_channel_set_pause(struct msg_channel *channel, unsigned int pause_ms)
{
	if (channel)
		channel->pause_ms =
			pause_ms < MSG_PAUSE_MAX_MS ? pause_ms : MSG_PAUSE_MAX_MS;
}

void msg_channel_flush(struct msg_channel *channel)
{
	/* What does not leave, and why, is seen when the turn ends. */
	if (channel && !channel->ended && !channel->blocked)
		(void)!msg_queue_send(&channel->queue, channel->fd);
}

int msg_channel_send_fd(struct msg_channel *channel, uint32_t type, const void *body,
			size_t length, int fd)
{
	int error;

	if (channel->ended)
		return -EPIPE;
	if (length > MSG_BODY_MAX)
		return -EMSGSIZE;
	if (channel->queue.count >= MSG_QUEUE_MAX)
		return -ENOBUFS;
	error = msg_queue_append(&channel->queue, type, body, length, fd);
	if (error < 0)
		return error;
	/* Runs after everything else that is ready in this turn of the loop. */
	if (!channel->blocked && channel->queue.count == 1)
		event_active(channel->writable, EV_WRITE, 0);
	return 0;
}

int msg_channel_send(struct msg_channel *channel, uint32_t type, const void *body,
		     size_t length)
{
	return msg_channel_send_fd(channel, type, body, length, -1);
}

/* Beyond net.core.[rw]mem_max where we may, up to it where not: slower, not wrong. */
static void msg_set_buffers(int fd)
{
	const int size = MSG_SOCKET_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

size_t msg_channel_get_queued(const struct msg_channel *channel)
{
	return channel->queue.count;
}

int msg_pair(int pair[2])
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       ends) < 0)
		return -errno;
	msg_set_buffers(ends[0]);
	msg_set_buffers(ends[1]);
	pair[0] = ends[0];
	pair[1] = ends[1];
	return 0;
}
